/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the kernel's headers whose contracts the module is bound
 * to, and its own C part.
 */
#include <linux/errno.h>
#include <linux/kvm_host.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/workqueue.h>
#include <asm/kvm_exit_profiler.h>
#include <asm/tsc.h>

/* Called by helpers.c, defined in Rust. */
void exitprof_sampling_changed(void);
void exitprof_report(bool by_vcpu);
void exitprof_print_log(struct work_struct *work);
void exitprof_print_suppressed(struct work_struct *work);
int exitprof_host_show(struct seq_file *to, void *unused);
int exitprof_text_show(struct seq_file *to, void *unused);
void exitprof_reset(void);
int exitprof_vcpus_show(struct seq_file *to, void *unused);
int exitprof_vm_show(struct seq_file *to, void *unused);
int exitprof_vcpu_show(struct seq_file *to, void *unused);

/* Defined in helpers.c. */
extern bool exitprof_log;
extern bool exitprof_sampling;
extern bool exitprof_per_vcpu;
extern bool exitprof_distributions;
extern int exitprof_scope;
extern struct work_struct exitprof_log_work;
extern struct delayed_work exitprof_suppressed_work;

void exitprof_param_lock(void);
void exitprof_param_unlock(void);
void exitprof_preempt_disable(void);
void exitprof_preempt_enable(void);
unsigned int exitprof_online_cpus(void);
unsigned int exitprof_next_possible_cpu(int cpu);
void *exitprof_per_cpu_ptr(void __percpu *ptr, unsigned int cpu);
void *exitprof_alloc(size_t size, bool wait);
void exitprof_free(void *ptr);

enum {
	/* Where a vCPU has its profile. */
	EXITPROF_PROFILE = offsetof(struct kvm_vcpu, arch.exit_profile),
	/* Room for a VM's name. */
	EXITPROF_VM_NAME = 24,
};

void *exitprof_profile(const struct kvm_vcpu *vcpu);
const struct kvm_vcpu *exitprof_vm_vcpu(const struct kvm_vcpu *vcpu, int index);
u64 exitprof_vm_number(const struct kvm_vcpu *vcpu);
u32 exitprof_vm_pid(const struct kvm_vcpu *vcpu);
u32 exitprof_vcpu_id(const struct kvm_vcpu *vcpu);
void exitprof_vm_name(const struct kvm_vcpu *vcpu, char *name);
void exitprof_vcpus_lock(void);
void exitprof_vcpus_unlock(void);

void exitprof_make_dir(void);
void exitprof_make_files(void);
void exitprof_remove_dir(void);
void exitprof_add_vcpu(const struct kvm_vcpu *vcpu, void *profile);
void exitprof_remove_vcpu(u64 number, const char *vm, u32 id);
void *exitprof_seq_private(const struct seq_file *to);
void exitprof_queue_log_work(void);
void exitprof_queue_suppressed_work(unsigned int delay_ms);
void exitprof_cond_resched(void);
