#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# config.sh KDIR [fix]: says what in the .config of a patched tree, or of its O=
# directory, keeps the module from being built for it; fixes it when told to.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

[ $# -ge 1 ] || die "usage: $0 KDIR [fix]"
kdir=$1 fix=${2:-}
[ -e "$kdir/.config" ] || die "$kdir has no .config: copy one there, such as /boot/config-$(uname -r)"
source=$kdir
[ ! -e "$kdir/source" ] || source=$kdir/source
[ -x "$source/scripts/config" ] || die "$source is not a kernel's source: set KDIR"
age=later kmake=("$top/scripts/build/make.sh" "$kdir") in_root=("$top/scripts/build/root.sh")
[[ "$(version_of "$source")" != 6.1.* ]] || age=6.1 kmake=(make -C "$kdir" "${kernel_tools[@]}") in_root=()

set_option() {
	"$source/scripts/config" --file "$kdir/.config" "$@"
}

is_set() {
	grep -qx "CONFIG_$1=[ym]" "$kdir/.config"
}

found=0
# obstacle OPTION WHY CONFIG_ARGUMENTS: OPTION must go, by scripts/config's ARGUMENTS.
obstacle() {
	echo "CONFIG_$1: $2"
	shift 2
	found=1
	[ -z "$fix" ] || set_option "$@"
}

while read -r kernels option why; do
	[ "$kernels" = all ] || [ "$kernels" = "$age" ] || continue
	! is_set "$option" || obstacle "$option" "$why" -d "$option"
done <<'END'
all MODVERSIONS the kernel cannot version Rust's symbols; RUST depends on its absence
6.1 GCC_PLUGINS would change layouts behind Rust's back; RUST depends on its absence
all CFI_CLANG RUST depends on its absence
all SHADOW_CALL_STACK RUST depends on its absence
6.1 X86_KERNEL_IBT 6.1 gives Rust code no ENDBR, so that calls into a module fault
6.1 WERROR 6.1's own Rust code has a warning about stable features
later KASAN is not for Rust beside C that gcc compiles; RUST depends on its absence
END

for option in RANDSTRUCT_FULL RANDSTRUCT_PERFORMANCE; do
	! is_set $option || obstacle $option "RUST depends on its absence" -d $option -e RANDSTRUCT_NONE
done

pahole=$("${in_root[@]}" "$source/scripts/pahole-version.sh" "${PAHOLE:-pahole}" 2>/dev/null || true)
if is_set DEBUG_INFO_BTF && { [ "${pahole:-0}" -lt 124 ] || is_set LTO_CLANG; }; then
	obstacle DEBUG_INFO_BTF "needs pahole 1.24 or later, and no LTO, to leave Rust out (package pahole)" \
		-d DEBUG_INFO_BTF
fi

for option in SYSTEM_TRUSTED_KEYS SYSTEM_REVOCATION_KEYS; do
	file=$(sed -n "s/^CONFIG_$option=\"\(.\+\)\"$/\1/p" "$kdir/.config")
	[ -z "$file" ] || [ -e "$source/$file" ] ||
		obstacle $option "\"$file\", the distribution's, is not here" --set-str $option ""
done

is_set KVM_INTEL || is_set KVM_AMD ||
	obstacle KVM_INTEL "without it and KVM_AMD there is nothing to profile" -e VIRTUALIZATION -m KVM -m KVM_INTEL -m KVM_AMD

if grep -qs KVM_EXIT_PROFILER "$source/arch/x86/kvm/Kconfig"; then
	is_set KVM_EXIT_PROFILER ||
		obstacle KVM_EXIT_PROFILER "without it our patches add nothing" -e KVM_EXIT_PROFILER
else
	die "$source lacks our patches, which bring CONFIG_KVM_EXIT_PROFILER: make patch KDIR=$source"
fi

if [ -z "$fix" ]; then
	if [ $found = 1 ]; then
		die "to have these fixed: make config KDIR=$kdir FIX=1"
	elif is_set RUST; then
		say "$kdir/.config has CONFIG_RUST=y"
		exit
	fi
	die "nothing else stands in the way of CONFIG_RUST: make config KDIR=$kdir FIX=1"
fi

set_option -e RUST
"${kmake[@]}" -s olddefconfig
is_set RUST || {
	"${kmake[@]}" -s rustavailable || true
	die "CONFIG_RUST was dropped again: see above, and \"make deps\" for the tools"
}
is_set KVM_EXIT_PROFILER || die "CONFIG_KVM_EXIT_PROFILER was dropped: it depends on KVM"
say "$kdir/.config has CONFIG_RUST=y and CONFIG_KVM_EXIT_PROFILER=y; build it with: ${kmake[*]}"
