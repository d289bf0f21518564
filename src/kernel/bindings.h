/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the kernel's headers whose contracts the module is bound
 * to, and its own C part.
 */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/workqueue.h>
#include <asm/kvm_exit_profiler.h>
#include <asm/tsc.h>

/* Called by helpers.c, defined in Rust. */
void exitprof_sampling_changed(void);
void exitprof_report(void);
void exitprof_print_log(struct work_struct *work);
void exitprof_print_suppressed(struct work_struct *work);

/* Defined in helpers.c. */
extern bool exitprof_log;
extern bool exitprof_sampling;
extern struct work_struct exitprof_log_work;
extern struct delayed_work exitprof_suppressed_work;

void exitprof_param_lock(void);
void exitprof_param_unlock(void);
unsigned int exitprof_next_possible_cpu(int cpu);
void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu);
u64 exitprof_vm_id(const struct kvm_vcpu *vcpu);
void exitprof_queue_log_work(void);
void exitprof_queue_suppressed_work(unsigned int delay_ms);
void exitprof_cond_resched(void);
