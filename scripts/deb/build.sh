#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build.sh [VERSION]: builds Debian's packages of exitprof and of the modules (DKMS):
# build/deb/*.deb. VERSION is the project's by default.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

version=${1:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml")}
tree=$build/deb/source

# crates: what is linked into the tool, with copyrights and licenses.
crates() {
	local name version license file
	"$top/scripts/build/cargo.sh" tree --locked --package exitprof --edges normal --prefix none --format '{p} {l}' |
		sed 's/ (proc-macro)//; /(\//d' | sort -u | while read -r name version license; do
		printf '%s %s, %s\n\n' "$name" "${version#v}" "$license"
		for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-${version#v}"/{COPYING,COPYRIGHT,LICENSE,LICENCE}*; do
			[ ! -f "$file" ] || cat "$file"
		done
	done
}

"$top/scripts/build/deps.sh" deb
"$top/scripts/build/tool.sh" exitprof
rm -rf "$build/deb"
mkdir -p "$tree"
cp "$build/exitprof" "$top/Kbuild" "$top/Cargo.toml" "$tree"
ln -s "$top/src" "$top/patches" "$top/scripts" "$tree"
cp -r "$top/scripts/deb/debian" "$tree"
crates >"$tree/crates"
cat >"$tree/debian/changelog" <<END
kvm-exitprof ($version) unstable; urgency=medium

  * See the project's history.

 -- $(sed -n 's/^Maintainer: //p' "$tree/debian/control")  $(date -R -d "@$(stat -c %Y "$top/Cargo.toml")")
END

say "building packages: their log is build/deb/build.log"
cd "$tree"
logged "$build/deb/build.log" dpkg-buildpackage --build=binary --no-sign
logged "$build/deb/lintian.log" lintian --fail-on error,warning "$build"/deb/*.deb
say "build/deb: $(cd "$build/deb" && echo *.deb)"
