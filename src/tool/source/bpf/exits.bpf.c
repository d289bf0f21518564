// SPDX-License-Identifier: GPL-2.0
/*
 * Counts VM exits, and the time from each exit to the next entry, on KVM's tracepoints
 * kvm_exit and kvm_entry.  exitprof attaches it, and reads what it counts from memory that both
 * share: a system call that reads a map keeps kvm_exit from being counted on its CPU meanwhile.
 *
 * Each thread that runs a vCPU has counters of its own, which follow it from CPU to CPU. Only it
 * writes them, so they need no atomic instructions.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SLOTS 208 /* of reasons: enough for both instruction sets */
#define RANGES 8
#define BUCKETS 30
#define PROBES 16 /* places in which a thread's vCPU may be */
#define DETAILS 64 /* of a vCPU: a power of two */
#define WAYS 4 /* places in which a detail may be */

struct range {
	u32 first;
	u32 length;
};

/* What a detail is made of: the bits of a field. */
enum { NO_DETAIL, INFO1, INTR_INFO, PAGE /* of info2, and bits of info1 */ };
struct what {
	u32 field;
	u32 bits;
};

/* Times are in nanoseconds. */
struct tally {
	u64 exits;
	u64 ns; /* from exit to entry */
	u64 untimed; /* exits after which the thread did not enter the guest again */
};

/* The exits of a reason that have the same detail. Those with the fewest exits make room. */
struct detail {
	u64 key;
	u64 what; /* the slot of the reason, and 1 more; 0: the place is free */
	u64 exits;
	u64 ns;
	u64 error; /* exits that the key may have had before, at most */
};

struct vcpu {
	u64 thread; /* its process, in the upper half, and itself; 0: the place is free */
	u32 id; /* the vCPU's number in its VM */
	u32 ended; /* 1 if the thread has ended */
	u64 since; /* the time of the last exit, until the next entry; else 0 */
	u32 slot; /* the slot of its reason */
	u32 detail; /* the place of its detail; DETAILS if it has none */
	u64 missed; /* entries without an exit before */
	struct tally tallies[SLOTS];
	struct detail details[DETAILS];
};

struct histogram {
	u64 not_min; /* the complement of the minimum, so that 0 means none */
	u64 max;
	u64 buckets[BUCKETS];
};

/* memory.rs has the same types in Rust. */
_Static_assert(sizeof(struct vcpu) == 40 + 24 * SLOTS + 40 * DETAILS, "");
_Static_assert(sizeof(struct histogram) == 256, "");

#define SEC(name) __attribute__((section(name), used))
#define always_inline static inline __attribute__((always_inline))

/* As linux/bpf.h numbers them. */
enum { BPF_MAP_TYPE_ARRAY = 2, BPF_F_MMAPABLE = 1 << 10 };
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;

/* exitprof sets max_entries. */
#define SHARED_ARRAY(name, type_of_value)                 \
	struct {                                          \
		int (*type)[BPF_MAP_TYPE_ARRAY];          \
		int (*map_flags)[BPF_F_MMAPABLE];         \
		int (*max_entries)[1];                    \
		u32 *key;                                 \
		struct type_of_value *value;              \
	} name SEC(".maps")

/* A power of two of vCPUs, in a hash table by thread; and one for all that find no place. */
SHARED_ARRAY(vcpus, vcpu);
/* For each CPU, SLOTS of them. */
SHARED_ARRAY(histograms, histogram);

/* What exitprof knows, and the verifier takes for constants. */
const volatile u32 last_vcpu = 0; /* the number of places, less one */
const volatile u32 reason_bits = 0; /* the bits of exit_reason that are the reason */
const volatile u32 other_slot = 0;
const volatile struct what details_of[SLOTS] = {}; /* exits, by slot */
const volatile struct range ranges[RANGES] = {}; /* of reasons, whose slots follow each other */

/*
 * The fields of kvm_exit.  exitprof gives the loader their places in this kernel, which it
 * reads from the tracepoint's own description, as the kernel's types.
 */
struct trace_event_raw_kvm_exit {
	u32 exit_reason;
	u64 info1;
	u64 info2;
	u32 intr_info;
	u32 vcpu_id;
} __attribute__((preserve_access_index));

always_inline struct vcpu *place(u32 index)
{
	return bpf_map_lookup_elem(&vcpus, &index);
}

/* Keeps the compiler from moving writes. CPUs with KVM do not move them either. */
#define barrier() asm volatile("" ::: "memory")

/* Thread numbers follow each other, so their low bits spread threads well. */
#define for_each_place(index, number, thread)                                     \
	for (number = 0, index = (u32)thread & last_vcpu; number < PROBES;        \
	     number++, index = (index + 1) & last_vcpu)

/* The vCPU of the running thread: its own place, or a free one that becomes its own. */
always_inline struct vcpu *find(u64 thread, u32 id)
{
	u32 index, number;
	struct vcpu *vcpu;

	for_each_place(index, number, thread) {
		vcpu = place(index);
		if (!vcpu)
			return 0;
		if (vcpu->thread == thread && vcpu->id == id && !vcpu->ended)
			return vcpu;
	}
	for_each_place(index, number, thread) {
		vcpu = place(index);
		if (!vcpu)
			return 0;
		/* Another thread may be faster. */
		if (!vcpu->thread && !__sync_val_compare_and_swap(&vcpu->thread, 0, thread)) {
			vcpu->id = id;
			return vcpu;
		}
	}
	return 0;
}

always_inline u32 slot_of(u32 reason)
{
	u32 before = 0;

	for (u32 i = 0; i < RANGES; i++) {
		u32 index = reason - ranges[i].first;

		if (index < ranges[i].length)
			return before + index;
		before += ranges[i].length;
	}
	return other_slot;
}

/* The binary logarithm, rounded down, of a number that is less than 2^32; 0 for 0. */
always_inline u32 log2(u32 n)
{
	u32 log = 0;

#pragma clang loop unroll(full)
	for (u32 bits = 16; bits; bits >>= 1) {
		if (n >> bits) {
			log += bits;
			n >>= bits;
		}
	}
	return log;
}

/* Adds the time of an exit to its histogram. Interrupts are off where KVM enters a guest. */
always_inline void distribute(u32 slot, u64 ns)
{
	u32 key = bpf_get_smp_processor_id() * SLOTS + slot;
	struct histogram *histogram = bpf_map_lookup_elem(&histograms, &key);
	u32 bucket = ns >> 32 ? BUCKETS - 1 : log2(ns);

	if (!histogram)
		return;
	if (bucket > BUCKETS - 1)
		bucket = BUCKETS - 1;
	histogram->buckets[bucket]++;
	if (~histogram->not_min > ns)
		histogram->not_min = ~ns;
	if (histogram->max < ns)
		histogram->max = ns;
}

/* After the last exit, if it has no time yet, the thread does not enter its guest any more. */
always_inline void close(struct vcpu *vcpu)
{
	u32 slot = vcpu->slot;

	if (vcpu->since && slot < SLOTS)
		vcpu->tallies[slot].untimed++;
	vcpu->since = 0;
}

/* Counts an exit by its detail, and returns its place. */
always_inline u32 count_detail(struct vcpu *vcpu, u32 slot, u64 key)
{
	u32 hash = ((u32)key ^ (u32)(key >> 32) ^ slot << 24) * 0x9e3779b1;
	u32 set = (hash >> 16) * WAYS & (DETAILS - 1);
	u32 least = set;
	u64 fewest = ~0ULL;
	struct detail *detail;

	for (u32 way = 0; way < WAYS; way++) {
		u32 index = set + way & (DETAILS - 1);
		u64 exits;

		detail = &vcpu->details[index];
		if (detail->key == key && detail->what == slot + 1) {
			detail->exits++;
			return index;
		}
		exits = detail->exits + detail->error;
		if (exits < fewest) {
			fewest = exits;
			least = index;
		}
	}
	detail = &vcpu->details[least & (DETAILS - 1)];
	/* Who reads it meanwhile must not take it for the old one. */
	detail->what = 0;
	barrier();
	detail->key = key;
	detail->exits = 1;
	detail->ns = 0;
	detail->error = fewest;
	barrier();
	detail->what = slot + 1;
	return least;
}

/* Returns 1: after 0, others who use kvm_exit by perf events would not see the exit. */
SEC("tracepoint/kvm/kvm_exit")
int on_exit(struct trace_event_raw_kvm_exit *exit)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 slot = slot_of(exit->exit_reason & reason_bits);
	struct vcpu *vcpu = find(thread, exit->vcpu_id);
	u64 key;
	u32 bits;

	if (slot >= SLOTS)
		return 1;
	if (!vcpu) {
		vcpu = place(last_vcpu + 1);
		if (vcpu) {
			__sync_fetch_and_add(&vcpu->tallies[slot].exits, 1);
			__sync_fetch_and_add(&vcpu->tallies[slot].untimed, 1);
		}
		return 1;
	}
	close(vcpu);
	vcpu->tallies[slot].exits++;
	vcpu->slot = slot;
	vcpu->detail = DETAILS;
	bits = details_of[slot].bits;
	switch (details_of[slot].field) {
	case INFO1:
		vcpu->detail = count_detail(vcpu, slot, exit->info1 & bits);
		break;
	case INTR_INFO:
		vcpu->detail = count_detail(vcpu, slot, exit->intr_info & bits);
		break;
	case PAGE:
		key = (exit->info2 & ~0xfffULL) | (exit->info1 & bits);
		vcpu->detail = count_detail(vcpu, slot, key);
		break;
	}
	vcpu->since = bpf_ktime_get_ns();
	return 1;
}

SEC("raw_tp/kvm_entry")
int on_entry(void *context)
{
	u64 now = bpf_ktime_get_ns(), ns;
	u64 thread = bpf_get_current_pid_tgid();
	u32 index, number, slot, place_of_detail, known = last_vcpu + 1;
	struct vcpu *vcpu;

	for_each_place(index, number, thread) {
		vcpu = place(index);
		if (!vcpu)
			return 0;
		if (vcpu->thread != thread || vcpu->ended)
			continue;
		if (vcpu->since)
			goto found;
		known = index;
	}
	vcpu = place(known);
	if (vcpu && known <= last_vcpu)
		vcpu->missed++;
	return 0;

found:
	slot = vcpu->slot;
	if (slot >= SLOTS)
		return 0;
	/* CPUs' clocks may differ by a little. */
	ns = now > vcpu->since ? now - vcpu->since : 0;
	vcpu->tallies[slot].ns += ns;
	place_of_detail = vcpu->detail;
	if (place_of_detail < DETAILS)
		vcpu->details[place_of_detail].ns += ns;
	vcpu->since = 0;
	distribute(slot, ns);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_thread_end(void *context)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 index, number;

	for_each_place(index, number, thread) {
		struct vcpu *vcpu = place(index);

		if (!vcpu)
			return 0;
		if (vcpu->thread != thread || vcpu->ended)
			continue;
		close(vcpu);
		/* Last: then exitprof may free the place. */
		barrier();
		vcpu->ended = 1;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
