// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot say in Linux 6.1: parameters, work items, and the macros
 * and inline functions that the module needs of the kernel.
 */
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

#include "bindings.h"

MODULE_VERSION(EXITPROF_VERSION);

bool exitprof_log = true;
module_param_named(log, exitprof_log, bool, 0644);
MODULE_PARM_DESC(log, "Log guests' queries of the leaves, within bounds (default Y)");

static int set_sampling(const char *val, const struct kernel_param *kp)
{
	int r = param_set_bool(val, kp);

	if (!r)
		exitprof_sampling_changed();
	return r;
}

static const struct kernel_param_ops sampling_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_sampling,
	.get = param_get_bool,
};

bool exitprof_sampling = true;
module_param_cb(sampling, &sampling_ops, &exitprof_sampling, 0644);
__MODULE_PARM_TYPE(sampling, "bool");
MODULE_PARM_DESC(sampling, "Record VM exits; if not, the leaves answer what was recorded (default Y)");

static int set_report(const char *val, const struct kernel_param *kp)
{
	bool wanted;
	int r = 0;

	if (sysfs_streq(val, "vcpu")) {
		exitprof_report(true);
	} else {
		r = kstrtobool(val, &wanted);
		if (!r && wanted)
			exitprof_report(false);
	}
	return r;
}

static const struct kernel_param_ops report_ops = {
	.set = set_report,
};

module_param_cb(report, &report_ops, NULL, 0200);
__MODULE_PARM_TYPE(report, "string");
MODULE_PARM_DESC(report, "Write 1 to have the exits by reason put into the log, or vcpu, by vCPU");

bool exitprof_per_vcpu = true;
module_param_named(per_vcpu, exitprof_per_vcpu, bool, 0444);
MODULE_PARM_DESC(per_vcpu, "Count each vCPU's exits, too (default Y)");

bool exitprof_distributions = true;
module_param_named(distributions, exitprof_distributions, bool, 0444);
MODULE_PARM_DESC(distributions, "Count how the cycles of exits are distributed, too (default Y)");

/* Their numbers are those of the leaf protocol; 0 is none. */
static const char *const scopes[] = { "off", "host", "vm", "vcpu" };
int exitprof_scope = 1;

static int set_scope(const char *val, const struct kernel_param *kp)
{
	int scope = __sysfs_match_string(scopes, ARRAY_SIZE(scopes), val);

	if (scope < 0)
		return scope;
	/* When the module is loaded, per_vcpu may come later: see register(). */
	if (scope > 1 && !exitprof_per_vcpu)
		return -EINVAL;
	WRITE_ONCE(exitprof_scope, scope);
	return 0;
}

static int get_scope(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", scopes[exitprof_scope]);
}

static const struct kernel_param_ops scope_ops = {
	.set = set_scope,
	.get = get_scope,
};

module_param_cb(scope, &scope_ops, NULL, 0644);
__MODULE_PARM_TYPE(scope, "string");
MODULE_PARM_DESC(scope, "Whose exits guests read: host (default), vm or vcpu (the reader's own), or off");

void exitprof_param_lock(void)
{
	kernel_param_lock(THIS_MODULE);
}

void exitprof_param_unlock(void)
{
	kernel_param_unlock(THIS_MODULE);
}

DECLARE_WORK(exitprof_log_work, exitprof_print_log);
DECLARE_DELAYED_WORK(exitprof_suppressed_work, exitprof_print_suppressed);

/* On an unbound CPU, for a slow console may hold the worker for long. */
void exitprof_queue_log_work(void)
{
	queue_work(system_unbound_wq, &exitprof_log_work);
}

/* Runs @delay_ms after the first call since it ran last. */
void exitprof_queue_suppressed_work(unsigned int delay_ms)
{
	queue_delayed_work(system_unbound_wq, &exitprof_suppressed_work,
			   msecs_to_jiffies(delay_ms));
}

void exitprof_cond_resched(void)
{
	cond_resched();
}

void exitprof_preempt_disable(void)
{
	preempt_disable();
}

void exitprof_preempt_enable(void)
{
	preempt_enable();
}

unsigned int exitprof_online_cpus(void)
{
	return num_online_cpus();
}

unsigned int exitprof_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu)
{
	return cpu < nr_cpu_ids ? per_cpu_ptr(ptr, cpu) : NULL;
}

/* Zeroed. */
void *exitprof_alloc(size_t size, bool wait)
{
	return kzalloc(size, wait ? GFP_KERNEL_ACCOUNT :
				    GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
}

void exitprof_free(void *ptr)
{
	kfree(ptr);
}

/* Pairs with KVM's release: another CPU may have attached it just now. */
void *exitprof_profile(const struct kvm_vcpu *vcpu)
{
	return smp_load_acquire(&vcpu->arch.exit_profile);
}

/* The vCPUs of the VM of @vcpu that are online, by index, and then NULL. */
const struct kvm_vcpu *exitprof_vm_vcpu(const struct kvm_vcpu *vcpu, int index)
{
	if (index >= atomic_read(&vcpu->kvm->online_vcpus))
		return NULL;
	return kvm_get_vcpu(vcpu->kvm, index);
}

/* A number for the VM of @vcpu that no other VM has while it lives. */
u64 exitprof_vm_number(const struct kvm_vcpu *vcpu)
{
	return (unsigned long)vcpu->kvm;
}

u32 exitprof_vm_pid(const struct kvm_vcpu *vcpu)
{
	return vcpu->kvm->userspace_pid;
}

u32 exitprof_vcpu_id(const struct kvm_vcpu *vcpu)
{
	return vcpu->vcpu_id;
}

/* As KVM's debugfs has it, <pid>-<fd>; <pid> if the VM is not there. */
void exitprof_vm_name(const struct kvm_vcpu *vcpu, char *name)
{
	struct dentry *dir = vcpu->kvm->debugfs_dentry;

	if (IS_ERR_OR_NULL(dir))
		snprintf(name, EXITPROF_VM_NAME, "%u", exitprof_vm_pid(vcpu));
	else
		snprintf(name, EXITPROF_VM_NAME, "%pd", dir);
}

static DEFINE_MUTEX(vcpus_lock);

void exitprof_vcpus_lock(void)
{
	mutex_lock(&vcpus_lock);
}

void exitprof_vcpus_unlock(void)
{
	mutex_unlock(&vcpus_lock);
}

/*
 * Files in debugfs.  Whoever removes one waits for those who read it, with KVM's
 * lock of profilers held if it is a vCPU's: showing must not wait for that.
 */
DEFINE_SHOW_ATTRIBUTE(exitprof_host);
DEFINE_SHOW_ATTRIBUTE(exitprof_vcpus);
DEFINE_SHOW_ATTRIBUTE(exitprof_text);
DEFINE_SHOW_ATTRIBUTE(exitprof_vm);
DEFINE_SHOW_ATTRIBUTE(exitprof_vcpu);

static int reset_set(void *unused, u64 value)
{
	if (value != 1)
		return -EINVAL;
	exitprof_reset();
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(reset_fops, NULL, reset_set, "%llu\n");

static int sampling_get(void *unused, u64 *value)
{
	*value = READ_ONCE(exitprof_sampling);
	return 0;
}

static int sampling_set(void *unused, u64 value)
{
	if (value > 1)
		return -EINVAL;
	exitprof_param_lock();
	WRITE_ONCE(exitprof_sampling, value);
	exitprof_sampling_changed();
	exitprof_param_unlock();
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(sampling_fops, sampling_get, sampling_set, "%llu\n");

static struct dentry *root;

void exitprof_make_dir(void)
{
	root = debugfs_create_dir("kvm_exitprof", NULL);
}

void exitprof_make_files(void)
{
	debugfs_create_file("exits", 0400, root, NULL, &exitprof_host_fops);
	debugfs_create_file("vcpus", 0400, root, NULL, &exitprof_vcpus_fops);
	debugfs_create_file("profile", 0400, root, NULL, &exitprof_text_fops);
	debugfs_create_file_unsafe("reset", 0200, root, NULL, &reset_fops);
	debugfs_create_file_unsafe("sampling", 0600, root, NULL, &sampling_fops);
}

void exitprof_remove_dir(void)
{
	debugfs_remove(root);
}

/*
 * The directory of a VM; NULL if there is none, an error if an earlier VM still
 * has one of that name.  KVM's lock keeps those away who remove it.
 */
static struct dentry *find_vm(u64 number, const char *name)
{
	struct dentry *dir = debugfs_lookup(name, root), *file;
	u64 owner = 0;

	if (!dir)
		return NULL;
	file = debugfs_lookup("exits", dir);
	if (file) {
		owner = (unsigned long)d_inode(file)->i_private;
		dput(file);
	}
	dput(dir);
	return owner == number ? dir : ERR_PTR(-EEXIST);
}

static struct dentry *make_vm(const struct kvm *kvm, const char *name)
{
	struct dentry *dir = debugfs_create_dir(name, root), *file;

	file = debugfs_create_file("exits", 0400, dir, (void *)kvm,
				   &exitprof_vm_fops);
	if (!IS_ERR(file))
		return dir;
	/* It could not be found again. */
	debugfs_remove(dir);
	return file;
}

static void vcpu_dir_name(char *name, size_t size, u32 id)
{
	snprintf(name, size, "vcpu%u", id);
}

/* Makes a directory for @vcpu, if KVM has one for the VM. */
void exitprof_add_vcpu(const struct kvm_vcpu *vcpu, void *profile)
{
	char name[EXITPROF_VM_NAME];
	struct dentry *dir;

	if (IS_ERR_OR_NULL(vcpu->kvm->debugfs_dentry))
		return;
	exitprof_vm_name(vcpu, name);
	dir = find_vm(exitprof_vm_number(vcpu), name);
	if (!dir)
		dir = make_vm(vcpu->kvm, name);
	vcpu_dir_name(name, sizeof(name), vcpu->vcpu_id);
	dir = debugfs_create_dir(name, dir);
	debugfs_create_file("exits", 0400, dir, profile, &exitprof_vcpu_fops);
}

/* Removes it, and then the VM's if it has no other. */
void exitprof_remove_vcpu(u64 number, const char *vm, u32 id)
{
	struct dentry *dir = find_vm(number, vm);
	char name[EXITPROF_VM_NAME];

	if (IS_ERR_OR_NULL(dir))
		return;
	vcpu_dir_name(name, sizeof(name), id);
	debugfs_lookup_and_remove(name, dir);
	/* A directory's links are two, and one for each directory in it. */
	if (d_inode(dir)->i_nlink == 2)
		debugfs_remove(dir);
}

void *exitprof_seq_private(const struct seq_file *to)
{
	return to->private;
}
