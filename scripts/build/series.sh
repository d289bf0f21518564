# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0
#
# Kernels' sources, and the patch series in them. Sourced after common.sh, never run.

# series_of VERSION: the folder of the series for a kernel, such as 6.1 or 6.1.192.
series_of() {
	local series
	series=$top/patches/$(cut -d. -f1,2 <<<"$1")
	[ -d "$series" ] || die "there are no patches for Linux $1, only for" "$(cd "$top/patches" && echo [0-9]*)"
	echo "$series"
}

# version_of KDIR: the version of a kernel's source, such as 6.1.192.
version_of() {
	make -s -C "$1" kernelversion
}

key() {
	sha256sum | cut -c1-12
}

# One build of a kernel at a time.
lock_kernels() {
	exec 9>"$cache/kernel.lock"
	flock -n 9 || {
		say "waiting for another build of a kernel"
		flock 9
	}
}

# source_of TARBALL: the directory for its files.
source_of() {
	# Packed into a package, it keeps its time.
	echo "$cache/source-$(stat -c '%s %Y' "$1" | key)"
}

# unpacked TARBALL [OPTION...]: that directory with its files, which nobody changes. tar gets
# the options.
unpacked() {
	local source
	source=$(source_of "$1")
	[ -d "$source" ] || {
		say "unpacking $(basename "$1")"
		rm -rf "$source.part"
		mkdir "$source.part"
		tar --strip-components=1 -xf "$1" -C "$source.part" "${@:2}"
		mv "$source.part" "$source"
	}
	echo "$source"
}

# is_patched TREE VERSION: whether the tree was built with the series as it is.
is_patched() {
	[ -e "$1/patched" ] && diff -rq "$(series_of "$2")" "$1/series" >/dev/null
}

# patch_tree SOURCE TREE VERSION: puts what the series touches, or the one before, back
# to what SOURCE has, with new times, for make; and applies the series. However far a run
# got, the next starts here.
patch_tree() {
	local series file patch
	series=$(series_of "$3")
	rm -f "$2/patched"
	{
		cat "$series"/*.patch
		cat "$2"/series/*.patch 2>/dev/null || true
	} | sed -n 's|^+++ b/||p' | sort -u | while read -r file; do
		rm -f "$2/$file"
		[ ! -e "$1/$file" ] || cp "$1/$file" "$2/$file"
	done
	rm -rf "$2/series"
	cp -r "$series" "$2/series"
	while read -r patch; do
		patch -d "$2" -p1 -f --fuzz=0 --no-backup-if-mismatch -r - -s <"$series/$patch" ||
			die "$series/$patch does not apply to $(basename "$1")"
	done <"$series/series"
}

# mark_patched TREE: it is built.
mark_patched() {
	touch "$1/patched"
}
