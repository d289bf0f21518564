// SPDX-License-Identifier: GPL-2.0
/* Where a vCPU of VMX keeps its exit reason: for a kernel without BTF. */
#include <linux/kbuild.h>
#include <linux/kvm_host.h>
#include "vmx/vmx.h"

void offset(void);

void offset(void)
{
	BUILD_BUG_ON(offsetof(struct vcpu_vmx, vcpu));
	OFFSET(EXIT_REASON, vcpu_vmx, exit_reason);
}
