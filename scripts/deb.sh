#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the Debian packages, and installs, upgrades and removes them in a fresh Debian 13,
# where DKMS builds the modules. KTAP on stdout. Takes root, to chroot.
#
#	deb.sh [list]	runs the tests, or prints their names
# shellcheck disable=SC2317 # the tests are called by their names
set -euo pipefail
. "$(dirname "$0")/common.sh"

tests=(packages_are_clean explains_other_kernels tool_is_complete builds_for_new_kernel
	builds_for_upgrade explains_other_source removes_all)
if [ "${1:-}" = list ]; then
	printf 'deb.%s\n' "${tests[@]}"
	exit
fi
root=$build/deb-root
mkdir -p "$build"

# in_root COMMAND...: runs it there, without a network.
in_root() {
	unshare --mount --net --pid --fork --kill-child --mount-proc --root "$root" \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# fresh_root DEB: a Debian 13 with what DEB depends on and the headers of its own kernel, which
# has no Rust. The kernel of backports is downloaded. All that is kept in the cache.
fresh_root() {
	local include base
	include=$(dpkg-deb -f "$1" Depends | sed 's/ ([^)]*)//g; s/, /,/g'),linux-headers-amd64
	base=$cache/debian13-$(sha256sum <<<"$include" | cut -c 1-12)
	exec 8>"$cache/debian13.lock"
	flock 8
	[ -d "$base" ] || {
		say "installing a Debian 13: about 5 minutes; log: $base.log"
		rm -rf "$base.part"
		logged "$base.log" mmdebstrap --variant=minbase --include="$include" --skip=cleanup/apt trixie \
			"$base.part" "$("$top/scripts/build/packages.sh" --release trixie --sources)"
		chroot "$base.part" apt-cache depends linux-headers-amd64/trixie-backports |
			sed -n 's/^ *Depends: linux-headers-\(7\.3.*\)/\1/p' >"$base.part/kernel"
		logged "$base.log" chroot "$base.part" apt-get -qqy --download-only -t trixie-backports install \
			linux-headers-amd64 "linux-modules-$(cat "$base.part/kernel")"
		mv "$base.part" "$base"
	}
	exec 8>&-
	say "copying it to $root"
	rm -rf "$root"
	cp -a "$base" "$root"
}

# kernel: the release of backports' kernel.
kernel() {
	cat "$root/kernel"
}

apt() {
	in_root apt-get -qqy -o Dpkg::Use-Pty=0 "$@"
}

# install_from DIR: the packages that are there.
install_from() {
	local packages=("$1"/*.deb)
	cp "${packages[@]}" "$root/var/tmp"
	apt install "${packages[@]/#*\///var/tmp/}"
}

# says WORDS: whether the output so far has them.
says() {
	grep -qF "$1" "$tmp/output" || {
		echo "it does not say: $1"
		return 1
	}
}

# status LINE...: whether this, and nothing else, is what DKMS has.
status() {
	in_root dkms status | tee "$tmp/status"
	diff - <([ $# = 0 ] || printf '%s\n' "$@") <"$tmp/status"
}

# kvm_is updates/dkms|kernel/arch/x86/kvm: whether modprobe takes KVM from there.
kvm_is() {
	local module file
	for module in kvm kvm-intel kvm-amd; do
		file=$(in_root modinfo -k "$(kernel)" -n "$module")
		[[ $file == /lib/modules/$(kernel)/$1/$module.ko* ]] || die "$module is $file"
	done
}

# Its modules are KVM with the contract, and the profiler, for that kernel.
modules_are_ours() {
	local module
	kvm_is updates/dkms
	for module in kvm kvm-intel kvm-amd kvm_exitprof; do
		[[ "$(in_root modinfo -k "$(kernel)" -F vermagic "$module")" == "$(kernel) "* ]]
	done
	xz -dc "$root/lib/modules/$(kernel)/updates/dkms/kvm.ko.xz" >"$tmp/kvm.ko"
	nm "$tmp/kvm.ko" | grep ' T kvm_register_exit_profiler$'
	[ "$(in_root modinfo -k "$(kernel)" -F version kvm_exitprof)" = "$version" ]
	in_root modprobe -S "$(kernel)" --show-depends kvm_exitprof | tee "$tmp/depends"
	grep -q 'updates/dkms/kvm.ko' "$tmp/depends"
}

packages_are_clean() {
	rm -rf "$build/deb-old"
	"$top/scripts/deb/build.sh" 0.0.1
	mv "$build/deb" "$build/deb-old"
	"$top/scripts/deb/build.sh"
}

# The kernel of Debian 13 keeps its KVM, and nothing fails.
explains_other_kernels() {
	fresh_root "$build"/deb-old/kvm-exitprof-dkms_*.deb
	install_from "$build/deb-old"
	says 'which keeps its KVM: it is built without CONFIG_RUST'
	says 'apt install -t trixie-backports linux-image-amd64 linux-headers-amd64'
	status 'kvm-exitprof/0.0.1: added'
	[ -z "$(find "$root"/lib/modules/*/updates -name '*.ko*' 2>/dev/null)" ]
}

tool_is_complete() {
	in_root exitprof --version
	in_root modprobe --showconfig | grep -x 'options kvm_exitprof scope=vm log=N'
	in_root dpkg -L exitprof | tee "$tmp/files"
	grep -q '/man1/exitprof-report\.1' "$tmp/files"
	for file in bash-completion/completions/exitprof zsh/vendor-completions/_exitprof \
		fish/vendor_completions.d/exitprof.fish exitprof/rules.yml exitprof/dashboard.json; do
		[ -s "$root/usr/share/$file" ]
	done
	[ -e "$root/usr/lib/systemd/system/exitprof-exporter.socket" ]
	grep -x 'ExecStart=/usr/bin/exitprof exporter .*' "$root/usr/lib/systemd/system/exitprof-exporter.service"
}

# That of backports gets ours when its headers are installed.
builds_for_new_kernel() {
	apt -t trixie-backports install linux-headers-amd64 "linux-modules-$(kernel)" ||
		{ tail -n 40 "$root/var/lib/dkms/kvm-exitprof/0.0.1/build/make.log" && return 1; }
	status "kvm-exitprof/0.0.1, $(kernel), x86_64: installed (Original modules exist)"
	modules_are_ours
}

builds_for_upgrade() {
	install_from "$build/deb"
	status "kvm-exitprof/$version, $(kernel), x86_64: installed (Original modules exist)"
	modules_are_ours
}

# KVM's source is another upload's: what there is stays.
explains_other_source() {
	local header
	header=$root/usr/src/linux-headers-$(kernel)/include/generated/utsversion.h
	sed -i.ours 's/Debian 7/Debian 0.7/' "$header"
	in_root sh -c 'dpkg-trigger --by-package=linux-source-7.3 /usr/src/linux-source-7.3.tar.xz; dpkg --configure -a'
	mv "$header.ours" "$header"
	says "nothing is built for Linux $(kernel), which keeps its KVM: it is Debian's 0.7.3"
	status "kvm-exitprof/$version, $(kernel), x86_64: installed (Original modules exist)"
}

removes_all() {
	apt purge exitprof kvm-exitprof-dkms
	status
	kvm_is kernel/arch/x86/kvm
	! in_root modprobe -S "$(kernel)" --show-depends kvm_exitprof || return
	! find "$root"/{etc,usr,var/lib/dkms} "$root"/lib/modules -name '*exitprof*' | grep .
}

[ "$(id -u)" = 0 ] || {
	echo "1..0 # SKIP takes root, to install packages in a chroot"
	exit
}
"$top/scripts/build/deps.sh" deb
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" "$root"' EXIT
as_tests deb "${tests[@]}"
