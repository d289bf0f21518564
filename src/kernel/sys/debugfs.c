// SPDX-License-Identifier: GPL-2.0
/*
 * Files in debugfs.
 *
 * Opening a file makes its text, in pages of its own.  Reads use only these
 * pages.  So all reads see the same text, no large allocation is needed, and
 * removing a file does not wait for readers.  (Removing waits for tasks that
 * are opening the file, and an open file holds a reference to the module:
 * debugfs takes care of both.)
 */
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "bindings.h"

/* A page of text. */
struct chunk {
	struct list_head link;
	size_t len;
	char text[];
};

#define CHUNK_TEXT	(PAGE_SIZE - sizeof(struct chunk))

/* Append to @text.  Returns -ENOMEM if there is no memory. */
int exitprof_text_write(struct list_head *text, const char *bytes, size_t len)
{
	struct chunk *last;
	size_t part;

	while (len) {
		last = list_empty(text) ? NULL :
		       list_last_entry(text, struct chunk, link);
		if (!last || last->len == CHUNK_TEXT) {
			last = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
			if (!last)
				return -ENOMEM;
			last->len = 0;
			list_add_tail(&last->link, text);
		}
		part = min(len, CHUNK_TEXT - last->len);
		memcpy(last->text + last->len, bytes, part);
		last->len += part;
		bytes += part;
		len -= part;
	}
	return 0;
}

static void free_text(struct list_head *text)
{
	struct chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, text, link)
		kfree(chunk);
}

/* An open file: its text, and the position of the last read. */
struct reader {
	struct list_head text;
	struct list_head *at;
	loff_t pos;
};

static void *text_start(struct seq_file *to, loff_t *pos)
{
	struct reader *reader = to->private;

	/* Usually, a read continues where the last one ended. */
	if (reader->at && reader->pos == *pos)
		return reader->at;
	return seq_list_start(&reader->text, *pos);
}

static void *text_next(struct seq_file *to, void *link, loff_t *pos)
{
	struct reader *reader = to->private;

	reader->at = seq_list_next(link, &reader->text, pos);
	reader->pos = *pos;
	return reader->at;
}

static void text_stop(struct seq_file *to, void *link)
{
}

static int text_show(struct seq_file *to, void *link)
{
	const struct chunk *chunk = list_entry(link, struct chunk, link);

	seq_write(to, chunk->text, chunk->len);
	return 0;
}

static const struct seq_operations text_ops = {
	.start = text_start,
	.next = text_next,
	.stop = text_stop,
	.show = text_show,
};

static int text_open(struct inode *inode, struct file *file)
{
	const struct exitprof_file *ours = inode->i_private;
	struct reader *reader = __seq_open_private(file, &text_ops, sizeof(*reader));
	int r;

	if (!reader)
		return -ENOMEM;
	INIT_LIST_HEAD(&reader->text);
	r = ours->show(&reader->text, ours->private);
	if (r) {
		free_text(&reader->text);
		seq_release_private(inode, file);
	}
	return r;
}

static int text_release(struct inode *inode, struct file *file)
{
	struct seq_file *to = file->private_data;
	struct reader *reader = to->private;

	free_text(&reader->text);
	return seq_release_private(inode, file);
}

static const struct file_operations text_fops = {
	.owner = THIS_MODULE,
	.open = text_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = text_release,
};

/* The "unsafe" variant does not wait for readers of the file: see above. */
bool exitprof_make_file(const char *name, struct dentry *dir,
			const struct exitprof_file *file)
{
	return !IS_ERR(debugfs_create_file_unsafe(name, 0400, dir, (void *)file,
						  &text_fops));
}

/*
 * Returns NULL if debugfs cannot make the directory.  debugfs looks up @parent
 * with the credentials of the task, which may be any task that creates a VM,
 * and may lack the permission.
 */
struct dentry *exitprof_make_dir(const char *name, struct dentry *parent)
{
	struct cred *kernel = prepare_kernel_cred(&init_task);
	const struct cred *task;
	struct dentry *dir;

	if (!kernel)
		return NULL;
	task = override_creds(kernel);
	dir = debugfs_create_dir(name, parent);
	revert_creds(task);
	put_cred(kernel);
	return IS_ERR(dir) ? NULL : dir;
}

/* Remove a directory and its content.  Waits for tasks that open its files. */
void exitprof_remove(struct dentry *dir)
{
	debugfs_remove(dir);
}
