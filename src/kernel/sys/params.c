// SPDX-License-Identifier: GPL-2.0
/* The module's parameters, which Rust in Linux 6.1 cannot declare. */
#include <linux/module.h>

#include "bindings.h"

MODULE_VERSION(EXITPROF_VERSION);

/* Used by set functions before its declaration as a parameter. */
bool exitprof_per_vcpu = true;

bool exitprof_log = true;
module_param_named(log, exitprof_log, bool, 0644);
MODULE_PARM_DESC(log, "Log guests' queries of leaves 0x4ffffffc-0x4fffffff, rate-limited (default Y)");

static int set_recording(const char *val, const struct kernel_param *kp)
{
	int r = param_set_bool(val, kp);

	if (!r)
		exitprof_recording_changed();
	return r;
}

static const struct kernel_param_ops recording_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_recording,
	.get = param_get_bool,
};

bool exitprof_recording = true;
module_param_cb(recording, &recording_ops, &exitprof_recording, 0644);
__MODULE_PARM_TYPE(recording, "bool");
MODULE_PARM_DESC(recording, "Record VM exits; if N, the counts so far stay readable (default Y)");

static int set_phases(const char *val, const struct kernel_param *kp)
{
	bool on;
	int r = kstrtobool(val ?: "Y", &on);

	/* At load, per_vcpu may be parsed later: see config.rs. */
	if (!r && on && !exitprof_per_vcpu)
		r = -EINVAL;
	if (r)
		return r;
	WRITE_ONCE(exitprof_phases, on);
	exitprof_recording_changed();
	return 0;
}

static const struct kernel_param_ops phases_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_phases,
	.get = param_get_bool,
};

bool exitprof_phases;
module_param_cb(phases, &phases_ops, &exitprof_phases, 0644);
__MODULE_PARM_TYPE(phases, "bool");
MODULE_PARM_DESC(phases, "Divide each vCPU's time into phases (default N)");

u32 exitprof_details;

static int set_details(const char *val, const struct kernel_param *kp)
{
	u32 kinds;
	int r = exitprof_parse_details(val, strlen(val), &kinds);

	/* At load, per_vcpu may be parsed later: see config.rs. */
	if (!r && kinds && !exitprof_per_vcpu)
		r = -EINVAL;
	if (r)
		return r;
	WRITE_ONCE(exitprof_details, kinds);
	exitprof_recording_changed();
	return 0;
}

static int get_details(char *buf, const struct kernel_param *kp)
{
	size_t len = exitprof_print_details(exitprof_details, buf, PAGE_SIZE - 1);

	buf[len++] = '\n';
	return len;
}

static const struct kernel_param_ops details_ops = {
	.set = set_details,
	.get = get_details,
};

module_param_cb(details, &details_ops, NULL, 0644);
__MODULE_PARM_TYPE(details, "string");
MODULE_PARM_DESC(details, "What tells exits of a reason apart: io,rdmsr,wrmsr,cpuid,cr,dr,exception,interrupt,hypercall,mmio,page_fault, msr or apic for several, all, or none (default)");

/* Indexed by the number in params.rs. */
static const char *const codes[] = { "off", "page", "exact" };
int exitprof_code;

static int set_code(const char *val, const struct kernel_param *kp)
{
	int code = __sysfs_match_string(codes, ARRAY_SIZE(codes), val);

	if (code < 0)
		return code;
	/* At load, per_vcpu may be parsed later: see config.rs. */
	if (code && !exitprof_per_vcpu)
		return -EINVAL;
	WRITE_ONCE(exitprof_code, code);
	exitprof_recording_changed();
	return 0;
}

static int get_code(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", codes[exitprof_code]);
}

static const struct kernel_param_ops code_ops = {
	.set = set_code,
	.get = get_code,
};

module_param_cb(code, &code_ops, NULL, 0644);
__MODULE_PARM_TYPE(code, "string");
MODULE_PARM_DESC(code, "How much to keep of the guest's instruction pointer: off (default), page, or exact");

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
MODULE_PARM_DESC(report, "Write 1 to log a table of exits by reason, or vcpu to log one by vCPU");

static int set_reset(const char *val, const struct kernel_param *kp)
{
	if (!sysfs_streq(val, "1"))
		return -EINVAL;
	exitprof_reset();
	return 0;
}

static const struct kernel_param_ops reset_ops = {
	.set = set_reset,
};

module_param_cb(reset, &reset_ops, NULL, 0200);
__MODULE_PARM_TYPE(reset, "string");
MODULE_PARM_DESC(reset, "Write 1 to restart all counters from zero");

module_param_named(per_vcpu, exitprof_per_vcpu, bool, 0444);
MODULE_PARM_DESC(per_vcpu, "Count exits by vCPU, too (default Y)");

bool exitprof_histograms = true;
module_param_named(histograms, exitprof_histograms, bool, 0444);
MODULE_PARM_DESC(histograms, "Keep minimum, maximum and histogram of the cycles of each reason (default Y)");

/* Indexed by the scope's number in the CPUID protocol; 0 is "off". */
static const char *const scopes[] = { "off", "host", "vm", "vcpu" };
int exitprof_scope = 1;

static int set_scope(const char *val, const struct kernel_param *kp)
{
	int scope = __sysfs_match_string(scopes, ARRAY_SIZE(scopes), val);

	if (scope < 0)
		return scope;
	/* At load, per_vcpu may be parsed later: see config.rs. */
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
MODULE_PARM_DESC(scope, "Whose exits a guest reads: host (all guests; default), vm (its own VM), vcpu (the vCPU that asks), or off (no answer)");

void exitprof_param_lock(void)
{
	kernel_param_lock(THIS_MODULE);
}

void exitprof_param_unlock(void)
{
	kernel_param_unlock(THIS_MODULE);
}
