#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kernels.sh: prints the kernels that can be built on this machine, the default first. 6.1
# takes a rustc that Debian has in its release 12 only. Others bring their tools: see root.sh.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
case $release$("$RUSTC" --version 2>/dev/null || true) in
bookworm* | *"rustc 1.6"[23].*) echo 6.1 6.12 7.3 ;;
*) echo 7.3 6.12 ;;
esac
