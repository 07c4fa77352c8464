#!/bin/bash
# Fills build/aarch64-sysroot with Debian's arm64 libraries, as the aarch64 preset needs them. The machine's own package
# system is not touched: apt works on a state of its own, and the packages are only unpacked. Ends with 77 without network.
set -eu
root=$(cd -P -- "$(dirname -- "$0")/.." && pwd)
sysroot=$root/build/aarch64-sysroot
packages=(libfmt-dev libfmt9 libspdlog-dev libspdlog1.10 libxxhash-dev libxxhash0 libssl-dev libssl3 zlib1g zlib1g-dev
  nlohmann-json3-dev libgtest-dev libgmock-dev googletest librapidcheck-dev)
wanted="${packages[*]}"
[ "$(cat "$sysroot/complete" 2>/dev/null)" = "$wanted" ] && exit 0

rm -rf "$sysroot"
mkdir -p "$sysroot/apt/lists/partial" "$sysroot/apt/cache/archives/partial"
: >"$sysroot/apt/status"
apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State=$sysroot/apt"
  -o "Dir::State::status=$sysroot/apt/status" -o "Dir::Cache=$sysroot/apt/cache" -o APT::Sandbox::User=)
if ! "${apt[@]}" update || ! (cd "$sysroot/apt/cache" && "${apt[@]}" download "${packages[@]}"); then
  echo "SKIPPED: Debian's arm64 packages can't be fetched (no network?)"
  exit 77
fi
for package in "$sysroot"/apt/cache/*.deb; do dpkg-deb -x "$package" "$sysroot"; done
rm -rf "$sysroot/apt"
printf '%s\n' "$wanted" >"$sysroot/complete"
