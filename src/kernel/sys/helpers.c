// SPDX-License-Identifier: GPL-2.0
/* Macros, inline functions and static initializers of the kernel. */
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "bindings.h"

#ifndef EXITPROF_dfl_wq
#define system_dfl_wq	system_unbound_wq
#endif

DEFINE_MUTEX(exitprof_vms_mutex);
DEFINE_MUTEX(exitprof_reading_mutex);

void exitprof_mutex_init(struct mutex *mutex)
{
	mutex_init(mutex);
}

void exitprof_mutex_lock(struct mutex *mutex)
{
	mutex_lock(mutex);
}

void exitprof_mutex_unlock(struct mutex *mutex)
{
	mutex_unlock(mutex);
}

struct work_struct exitprof_log_work;
struct delayed_work exitprof_suppressed_work;

void exitprof_init_work(work_func_t print_log, work_func_t print_suppressed)
{
	INIT_WORK(&exitprof_log_work, print_log);
	INIT_DELAYED_WORK(&exitprof_suppressed_work, print_suppressed);
}

/* Unbound, because a slow console may keep the worker busy for long. */
void exitprof_queue_log_work(void)
{
	queue_work(system_dfl_wq, &exitprof_log_work);
}

/* Does nothing if the work is queued already. */
void exitprof_queue_suppressed_work(u64 delay_ns)
{
	queue_delayed_work(system_dfl_wq, &exitprof_suppressed_work,
			   nsecs_to_jiffies(delay_ns));
}

void exitprof_cond_resched(void)
{
	cond_resched();
}

/* Returns early if the task is killed. */
void exitprof_wait(u64 ns)
{
	ktime_t timeout = ns_to_ktime(ns);

	set_current_state(TASK_KILLABLE);
	schedule_hrtimeout(&timeout, HRTIMER_MODE_REL);
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

unsigned int exitprof_possible_cpus(void)
{
	return num_possible_cpus();
}

unsigned int exitprof_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

void __percpu *exitprof_alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu(size, align);
}

void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu)
{
	return cpu < nr_cpu_ids ? per_cpu_ptr(ptr, cpu) : NULL;
}

/* The memory is zeroed. */
void *exitprof_alloc(size_t size, bool wait)
{
	return kzalloc(size, wait ? GFP_KERNEL_ACCOUNT :
				    GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
}

void exitprof_free(void *ptr)
{
	kfree(ptr);
}
