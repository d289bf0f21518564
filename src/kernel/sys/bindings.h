/* SPDX-License-Identifier: GPL-2.0 */
/* Input of bindgen: the kernel's headers, and the module's own C functions. */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/workqueue.h>
#include <asm/kvm_exit_profiler.h>
#include <asm/tsc.h>

/* Flags of a sample, in a form that bindgen understands. */
static const u64 exitprof_sample_nested = KVM_EXIT_SAMPLE_NESTED;
static const u64 exitprof_sample_reflected = KVM_EXIT_SAMPLE_REFLECTED;
static const u64 exitprof_sample_code = KVM_EXIT_SAMPLE_CODE;

struct dentry;

/* params.c: parameters, and the lock under which they are written. */
extern bool exitprof_log;
extern bool exitprof_recording;
extern bool exitprof_phases;
extern bool exitprof_per_vcpu;
extern bool exitprof_histograms;
extern int exitprof_scope;
extern u32 exitprof_details;
extern int exitprof_code;

void exitprof_param_lock(void);
void exitprof_param_unlock(void);

/* Defined in Rust.  params.c calls them when a parameter is written. */
void exitprof_recording_changed(void);
int exitprof_parse_details(const char *names, size_t len, u32 *kinds);
size_t exitprof_print_details(u32 kinds, char *names, size_t len);
void exitprof_report(bool by_vcpu);
void exitprof_reset(void);

/* debugfs.c: files whose text show() makes when they are opened. */
struct exitprof_file {
	int (*show)(struct list_head *text, void *private);
	void *private;
};

struct dentry *exitprof_make_dir(const char *name, struct dentry *parent);
bool exitprof_make_file(const char *name, struct dentry *dir,
			const struct exitprof_file *file);
void exitprof_remove(struct dentry *dir);
int exitprof_text_write(struct list_head *text, const char *bytes, size_t len);

/* helpers.c: macros, inline functions, and statically initialized objects. */
extern struct mutex exitprof_vms_mutex;
extern struct mutex exitprof_reading_mutex;
extern struct work_struct exitprof_log_work;
extern struct delayed_work exitprof_suppressed_work;

void exitprof_init_work(work_func_t print_log, work_func_t print_suppressed);
void exitprof_mutex_init(struct mutex *mutex);
void exitprof_mutex_lock(struct mutex *mutex);
void exitprof_mutex_unlock(struct mutex *mutex);
void exitprof_preempt_disable(void);
void exitprof_preempt_enable(void);
unsigned int exitprof_online_cpus(void);
unsigned int exitprof_possible_cpus(void);
unsigned int exitprof_next_possible_cpu(int cpu);
void __percpu *exitprof_alloc_percpu(size_t size, size_t align);
void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu);
void *exitprof_alloc(size_t size, bool wait);
void exitprof_free(void *ptr);
void exitprof_queue_log_work(void);
void exitprof_queue_suppressed_work(u64 delay_ns);
void exitprof_cond_resched(void);
void exitprof_wait(u64 ns);
