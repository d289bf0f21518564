#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stock-kvm.sh SOURCE HEADERS MAKE...: builds KVM's modules in SOURCE, which is patched, for a
# kernel that a distribution has built from it: by its configuration and symbols, which are in
# HEADERS. MAKE has the tools that built it. Only the kernel's Rust crates and KVM are compiled.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

[ $# -ge 3 ] || die "usage: $0 SOURCE HEADERS MAKE..."
source=$1 headers=$2
kmake=("${@:3}" -C "$1" -j"$(nproc)")

release=$(cat "$headers/include/config/kernel.release")
echo "${release#"$(version_of "$source")"}" >"$source/localversion"
cp "$headers/include/generated/utsversion.h" "$source/debian-version.h"
cp -p "$headers"/{vmlinux,.config,Module.symvers} "$source"
echo CONFIG_KVM_EXIT_PROFILER=y >>"$source/.config"
"${kmake[@]}" olddefconfig
# Structures are as the configuration says: only this may differ.
changed=$(diff <(sort "$headers/.config") <(sort "$source/.config") | grep '^[<>]' |
	grep -vE 'CONFIG_(KVM_EXIT_PROFILER|CC_VERSION_TEXT|OPENSSL_SUPPORTS_|MODULE_SIG_KEY_TYPE_)' || true)
[ -z "$changed" ] || die "the tools of today configure $release otherwise than its distribution did: $changed"
"${kmake[@]}" prepare modules_prepare
"${kmake[@]}" M=arch/x86/kvm modules
# For modules that use KVM: its symbols are those of the patched modules.
sed -i '\|\tarch/x86/kvm/|d' "$source/Module.symvers"
cat "$source/arch/x86/kvm/Module.symvers" >>"$source/Module.symvers"
strip -d "$source"/arch/x86/kvm/*.ko
