#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Unpacks Debian packages, with all that they depend on, into the cache and
# prints the path of that root. Nothing is installed: what the emulated machines
# need must not touch, replace or remove what the machine that runs them has.
#
#	packages.sh [--backports | --release NAME] [--only] [PACKAGE...]
#	packages.sh --release NAME --sources	prints apt's sources of that release
#
#	--backports	newer ones, if Debian has them for this release
#	--release NAME	those of another release of Debian, and of its backports
#	--only		without what they depend on
#	PACKAGE		default: what goes into the emulated machines

set -euo pipefail
. "$(dirname "$0")/../common.sh"

release='' backports='' only='' sources=''
while [[ "${1:-}" == --* ]]; do
	case $1 in
	--backports) backports=1 ;;
	--release)
		release=$2
		shift
		;;
	--only) only=1 ;;
	--sources) sources=1 ;;
	*) die "unknown option $1" ;;
	esac
	shift
done
[ $# -gt 0 ] || set -- qemu-system-x86 cpuid busybox-static

# apt takes a second or two to answer. Its answer holds as long as its lists.
answer=$cache/answer-$(echo "$backports $release $only" "$@" | sha256sum | cut -c 1-16)
root=$(cat "$answer" 2> /dev/null || true)
if [ -d "$root" ] && [ ! "$sources" ] && [ "$answer" -nt /var/lib/apt/lists ]; then
	echo "$root"
	exit
fi

mkdir -p "$cache/apt"
tmp=$(mktemp -d "$cache/packages.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/debs/partial" "$tmp/root"

# Runs beside each other share apt's lists. They fetch packages side by side.
exec 8> "$cache/apt.lock"
flock 8

# An empty status file makes apt resolve as if nothing were installed at all.
: > "$tmp/status"
apt=(
	apt-get -qq -y
	-o Dir::State::status="$tmp/status"
	-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
	-o Dir::Cache::archives="$tmp/debs"
	-o APT::Install-Recommends=false
	-o APT::Sandbox::User=root
	-o Debug::NoLocking=true
)

install=(install)
[ ! "$only" ] || install=(download)

# resolve PACKAGE...: sets root, whose name is a hash of all the packages' file names (they
# hold the versions).
resolve() {
	"${apt[@]}" --print-uris "${install[@]}" "$@" 2> "$tmp/error" |
		awk '{ print $2, $3 }' | sort > "$tmp/list" || return
	root=$cache/packages-$(sha256sum < "$tmp/list" | cut -c 1-16)
}

# download PACKAGE...: fetches them. Fails if the mirror has newer ones by now.
download() {
	say "fetching $(awk '{ n += $2 } END { print NR " packages, " int(n / 1e6) " MB" }' "$tmp/list"): $*"
	(cd "$tmp/debs" && "${apt[@]}" --download-only "${install[@]}" "$@") 2> "$tmp/error"
}

# update NAME: has apt use package lists of the cache, and fetches them.
update() {
	say "fetching apt's package lists into the cache"
	mkdir -p "$cache/apt/$1/partial"
	apt+=(-o Dir::State::lists="$cache/apt/$1")
	"${apt[@]}" update 2> "$tmp/error" ||
		die "apt-get update failed; check the network and /etc/apt: $(< "$tmp/error")"
}

# mirror RELEASE: the mirror that apt has for it.
mirror() {
	# shellcheck disable=SC2016 # apt expands it
	"${apt[@]}" indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $1" | head -n 1
}

lists=lists
if [ "$backports$release" ]; then
	own=$(. /etc/os-release && echo "$VERSION_CODENAME")
	[ -n "$(mirror "$own")" ] || update lists
	mirror=$(mirror "$own")
	lists=${release:-$own}-backports
	printf 'deb %s %s main\n' "$mirror" "${release:-$own}" "$mirror" "$lists" > "$tmp/sources"
	[ ! "$sources" ] || {
		cat "$tmp/sources"
		exit
	}
	apt+=(
		-o Dir::Etc::SourceList="$tmp/sources" -o Dir::Etc::SourceParts=-
		-o Dir::State::lists="$cache/apt/$lists"
	)
	[ ! "$backports" ] || apt+=(-t "$lists")
fi

# The lists may be absent.
if ! resolve "$@"; then
	update "$lists"
	resolve "$@" || die "apt-get cannot find $*: $(< "$tmp/error")"
fi
flock -u 8

exec 7> "$cache/apt/${root##*/}.lock"
flock 7
if [ ! -d "$root" ]; then
	# Or out of date.
	if ! download "$@"; then
		flock 8
		update "$lists"
		{ resolve "$@" && download "$@"; } || die "apt-get cannot fetch $*: $(< "$tmp/error")"
		flock -u 8
	fi
	printf '%s\0' "$tmp"/debs/*.deb | xargs -0 -P "$(nproc)" -I{} dpkg-deb -x {} "$tmp/root"
	# Since Debian 13, programs and libraries are in /usr alone.
	for dir in bin sbin lib lib64; do
		[ -e "$tmp/root/$dir" ] || [ ! -d "$tmp/root/usr/$dir" ] || ln -s "usr/$dir" "$tmp/root/$dir"
	done
	chmod -R u+w,ug-s "$tmp/root"
	# Renamed when complete. Where there is one by now, it is as good.
	mv -T "$tmp/root" "$root" 2> "$tmp/error" || [ -d "$root" ] ||
		die "cannot create $root: $(< "$tmp/error")"
fi
echo "$root" | tee "$tmp/answer"
mv "$tmp/answer" "$answer"
