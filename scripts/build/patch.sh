#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# patch.sh SOURCE: applies the patch series to a kernel's source, all of it or
# nothing.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

[ $# = 1 ] || die "usage: $0 SOURCE"
source=$1
[ ! -e "$1/source" ] || source=$1/source
[ -e "$source/arch/x86/kvm/vmx/vmx.c" ] || die "$1 is not a kernel's source: set KDIR to one"
version=$(version_of "$source")
folder=$(series_of "$version")

mapfile -t series <"$folder/series"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# A copy of the files that the series touches, to try on.
copy() {
	rm -rf "$tmp/try"
	mkdir "$tmp/try"
	sed -n 's|^[-+]\{3\} [ab]/||p' "${series[@]/#/$folder/}" | sort -u | while read -r file; do
		[ ! -e "$source/$file" ] || install -D -m 644 "$source/$file" "$tmp/try/$file"
	done
}

apply() { # DIRECTORY OPTION... <PATCH
	local dir=$1
	shift
	patch -d "$dir" -p1 -f --fuzz=0 --no-backup-if-mismatch -r - "$@" >"$tmp/output"
}

copy
applied=1
for ((i = ${#series[@]} - 1; i >= 0; i--)); do
	apply "$tmp/try" -R <"$folder/${series[i]}" || { applied=0 && break; }
done
if [ $applied = 1 ]; then
	say "$source has the series already"
	exit
fi

[ ! -e "$source/arch/x86/include/asm/kvm_exit_profiler.h" ] ||
	die "$source has another version of the series, or a part of it: take that back first (patch -R)"

copy
for patch in "${series[@]}"; do
	apply "$tmp/try" <"$folder/$patch" || {
		cat "$tmp/output" >&2
		die "$patch does not apply to $source ($version), and nothing was changed:" \
			"patches/README.md says which kernels were tried"
	}
done
for patch in "${series[@]}"; do
	apply "$source" <"$folder/$patch"
	say "applied $patch"
done
