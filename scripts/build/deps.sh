#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# deps.sh [deb]: installs the Debian packages that are missing for building, emulating and
# checking; or for making Debian packages and testing these. Never removes or replaces one.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

packages=(
	make gcc libc6-dev clang cpio kmod xz-utils lz4 patch perl ca-certificates
	# the emulated machine
	isolinux syslinux-common xorriso
)
# The demo of 7.3 runs on QEMU; whatever else there is may need Bochs.
[ "${EMULATOR:-}:$kernel_name" = any:7.3 ] ||
	packages+=(bochs bochsbios bochs-term vgabios shellcheck git)
# The kernel 6.1 and its module. Later kernels have their tools in root.sh.
[ "$kernel_name" != kernel ] || packages+=(
	flex bison bc libelf-dev libssl-dev llvm lld
	rustc rust-src rustfmt rust-clippy bindgen libclang-dev
)
[ "${1:-}" != deb ] || packages=(debhelper dh-dkms dpkg-dev fakeroot lintian mmdebstrap)

installed=$(dpkg-query -Wf '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
	grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || die "this is not a Debian system: install what these packages hold: ${missing[*]}"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${root[@]}" apt-get -qq update
"${root[@]}" apt-get -qq install -y --no-remove --no-install-recommends "${missing[@]}" >/dev/null ||
	die "apt-get could not install ${missing[*]}: install them by hand"
