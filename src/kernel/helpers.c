// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot say in Linux 6.1: parameters, work items, and the macros
 * and inline functions that the module needs of the kernel.
 */
#include <linux/cpumask.h>
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
	int r = kstrtobool(val, &wanted);

	if (!r && wanted)
		exitprof_report();
	return r;
}

static const struct kernel_param_ops report_ops = {
	.set = set_report,
};

module_param_cb(report, &report_ops, NULL, 0200);
__MODULE_PARM_TYPE(report, "bool");
MODULE_PARM_DESC(report, "Write 1 to have the exits by reason put into the log");

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

unsigned int exitprof_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu)
{
	return cpu < nr_cpu_ids ? per_cpu_ptr(ptr, cpu) : NULL;
}

/* A number for the VM of @vcpu that no other VM has while it lives. */
u64 exitprof_vm_id(const struct kvm_vcpu *vcpu)
{
	return (unsigned long)vcpu->kvm;
}
