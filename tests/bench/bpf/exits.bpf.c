// SPDX-License-Identifier: GPL-2.0
/*
 * The profiler's peer in BPF: exits and time by basic exit reason, on KVM's raw
 * tracepoints.  As cheap as BPF can: what begins at an exit is kept per CPU, and
 * is lost where a vCPU moves to another before it enters its guest again.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct exits {
	__u64 count;
	__u64 ns;
};

struct open {
	__u64 since;
	__u32 reason;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 80);
	__type(key, __u32);
	__type(value, struct exits);
} exits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct open);
} open SEC(".maps");

SEC("raw_tp/kvm_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0;
	struct open *last = bpf_map_lookup_elem(&open, &zero);

	if (!last)
		return 0;
	/* The first argument is the vCPU, with which its struct vcpu_vmx begins. */
	bpf_probe_read_kernel(&last->reason, sizeof(last->reason),
			      (void *)ctx->args[0] + EXIT_REASON);
	last->since = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/kvm_entry")
int on_entry(void *ctx)
{
	__u32 zero = 0;
	struct open *last = bpf_map_lookup_elem(&open, &zero);
	struct exits *slot;
	__u32 reason;

	if (!last || !last->since)
		return 0;
	reason = last->reason & 0xffff;
	slot = bpf_map_lookup_elem(&exits, &reason);
	if (slot) {
		slot->count++;
		slot->ns += bpf_ktime_get_ns() - last->since;
	}
	last->since = 0;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
