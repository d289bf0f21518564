# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0
#
# KVM in a copy of its sources, to be changed and built as an external module of
# the kernel that it belongs to. Sourced after common.sh, never run.
. "$top/scripts/build/series.sh"

# copy_kvm KERNEL TO: copies KVM's sources and those headers that the series
# touches. Objects of an earlier run stay, for make to use again.
copy_kvm() {
	local source dir file
	source=$(realpath "$1")
	[ ! -e "$source/source" ] || source=$(realpath "$source/source")
	for dir in arch/x86/kvm virt/kvm; do
		(cd "$source" && find $dir -type f ! -name '*.o' ! -name '.*' ! -name '*.ko' ! -name '*.mod*')
	done | cat - <(series_headers) | while read -r file; do
		refresh "$source/$file" "$2/$file"
	done
}

# copy_unpatched KERNEL TO: copies them and takes the series back.
copy_unpatched() {
	local patch
	copy_kvm "$1" "$2"
	local series
	series=$(series_of "$(version_of "$1")")
	tac "$series/series" | while read -r patch; do
		change "$2" -R <"$series/$patch"
	done
	# Since 7.3, KVM's makefile looks for exports, but in the kernel's source, which is patched.
	sed -i "s#\$(srctree)/\(virt\|arch/x86\)/kvm#$2/\1/kvm#g" "$2/arch/x86/kvm/Makefile"
}

# change DIRECTORY [OPTION...] <PATCH
change() {
	patch -d "$1" -p1 -f --fuzz=0 --no-backup-if-mismatch -r - -s "${@:2}"
}

series_headers() {
	sed -n 's|^+++ b/\(arch/x86/include/.*\)|\1|p' "$top"/patches/*/*.patch | sort -u
}

# refresh FROM TO: copies a file that differs.
refresh() {
	cmp -s "$1" "$2" || install -D -m "$(stat -c %a "$1")" "$1" "$2"
}

# build_kvm KERNEL COPY [VARIABLE=VALUE...]: makes the modules.
build_kvm() {
	make_with "$1" "$2" "$2/arch/x86/kvm" modules "${@:3}"
}

# make_with KERNEL COPY DIR TARGET [VARIABLE=VALUE...]: makes it in DIR; the copy's headers
# come before the kernel's own.
make_with() {
	"$top/scripts/build/make.sh" "$1" M="$3" -j"$(nproc)" \
		NOSTDINC_FLAGS="-nostdinc -I$2/arch/x86/include -I$2/arch/x86/kvm" "${@:4}"
}
