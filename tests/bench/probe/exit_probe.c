// SPDX-License-Identifier: GPL-2.0
/*
 * The profiler's peer in C, which needs no patch: exits and cycles by basic exit
 * reason, by probes on KVM's tracepoints.  For VMX only, and only for the KVM
 * whose headers it is built with, as it reads the reason out of struct vcpu_vmx.
 *
 * Cycles are from exit to entry.  What begins at an exit is kept per CPU.  So its
 * cycles are lost where the vCPU moves to another CPU, or another vCPU runs on
 * this one, before it enters its guest again; and where nobody ran here until it
 * is back from there, they are too many.
 */
#include <linux/cpufeature.h>
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include "trace.h"
#include "vmx/vmx.h"

/* Reasons that are not below it share the last. */
#define REASONS 80

struct exits {
	u64 count;
	u64 cycles;
};

/* What a CPU has counted. */
struct book {
	/* The vCPU that has left its guest here, or NULL. */
	struct kvm_vcpu *vcpu;
	/* Where it was counted, and when. */
	struct exits *last;
	u64 since;
	struct exits exits[REASONS];
};

static DEFINE_PER_CPU(struct book, books);

/* Tracepoints call both with preemption disabled. */
static void on_exit(void *data, struct kvm_vcpu *vcpu, u32 isa)
{
	struct book *book = this_cpu_ptr(&books);
	u32 reason = min_t(u32, to_vmx(vcpu)->exit_reason.basic, REASONS - 1);
	struct exits *exits = &book->exits[reason];

	exits->count++;
	book->vcpu = vcpu;
	book->last = exits;
	book->since = rdtsc();
}

static void on_entry(void *data, struct kvm_vcpu *vcpu, bool force_immediate_exit)
{
	struct book *book = this_cpu_ptr(&books);

	if (book->vcpu != vcpu)
		return;
	book->vcpu = NULL;
	book->last->cycles += rdtsc() - book->since;
}

/* REASON COUNT CYCLES lines. */
static int exit_probe_show(struct seq_file *file, void *data)
{
	unsigned int reason;
	int cpu;

	for (reason = 0; reason < REASONS; reason++) {
		struct exits sum = {};

		for_each_possible_cpu(cpu) {
			struct exits *exits = &per_cpu(books, cpu).exits[reason];

			sum.count += exits->count;
			sum.cycles += exits->cycles;
		}
		if (sum.count)
			seq_printf(file, "%u %llu %llu\n", reason, sum.count, sum.cycles);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(exit_probe);

static struct dentry *file;

static int __init exit_probe_init(void)
{
	int ret;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return -ENODEV;
	ret = register_trace_kvm_entry(on_entry, NULL);
	if (ret)
		return ret;
	ret = register_trace_kvm_exit(on_exit, NULL);
	if (ret) {
		unregister_trace_kvm_entry(on_entry, NULL);
		tracepoint_synchronize_unregister();
		return ret;
	}
	file = debugfs_create_file("exit_probe", 0400, NULL, NULL, &exit_probe_fops);
	return 0;
}
module_init(exit_probe_init);

static void __exit exit_probe_exit(void)
{
	debugfs_remove(file);
	unregister_trace_kvm_exit(on_exit, NULL);
	unregister_trace_kvm_entry(on_entry, NULL);
	tracepoint_synchronize_unregister();
}
module_exit(exit_probe_exit);

MODULE_DESCRIPTION("Exits of KVM guests by reason, by probes on tracepoints");
MODULE_LICENSE("GPL");
