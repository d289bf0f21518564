#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stock-kvm.sh SOURCE HEADERS TREE MAKE...: builds KVM's modules, patched, for a kernel that a
# distribution has built: in TREE, a copy of its SOURCE, from the configuration and symbols of its
# HEADERS, by MAKE with the tools that built it. Only the kernel's Rust crates and KVM are compiled.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

[ $# -ge 4 ] || die "usage: $0 SOURCE HEADERS TREE MAKE..."
source=$1 headers=$2 tree=$3
kmake=("${@:4}" -C "$3" -j"$(nproc)")

version=$(version_of "$source")
release=$(cat "$headers/include/config/kernel.release")
patch_tree "$source" "$tree" "$version"
echo "${release#"$version"}" >"$tree/localversion"
cp "$headers/include/generated/utsversion.h" "$tree/debian-version.h"
cp -p "$headers"/{vmlinux,.config,Module.symvers} "$tree"
echo CONFIG_KVM_EXIT_PROFILER=y >>"$tree/.config"
"${kmake[@]}" olddefconfig
# Structures are as the configuration says: only this may differ.
changed=$(diff <(sort "$headers/.config") <(sort "$tree/.config") | grep '^[<>]' |
	grep -vE 'CONFIG_(KVM_EXIT_PROFILER|CC_VERSION_TEXT|OPENSSL_SUPPORTS_|MODULE_SIG_KEY_TYPE_)' || true)
[ -z "$changed" ] || die "the tools of today configure $release otherwise than its distribution did: $changed"
"${kmake[@]}" prepare modules_prepare
"${kmake[@]}" M=arch/x86/kvm modules
# For modules that use KVM: its symbols are those of the patched modules.
sed -i '\|\tarch/x86/kvm/|d' "$tree/Module.symvers"
cat "$tree/arch/x86/kvm/Module.symvers" >>"$tree/Module.symvers"
strip -d "$tree"/arch/x86/kvm/*.ko
