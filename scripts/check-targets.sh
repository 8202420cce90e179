#!/usr/bin/env bash
# Type-checks the crates for the build targets that Debian has a Rust standard library for, without rustup: Debian's
# rustc-web and the foreign libstd-rust-web-dev packages, unpacked into a private directory. The host's apt is only read.
# musl and riscv64 have no such package in Debian 12; where rustup has them, `cargo check --target` does the same.
#
#   scripts/check-targets.sh [CACHE_DIRECTORY]
#
# A target whose packages can't be had is named; the exit status is 1 when a check fails or no target could be checked.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A targets=(
  [arm64]=aarch64-unknown-linux-gnu
  [ppc64el]=powerpc64le-unknown-linux-gnu
  [s390x]=s390x-unknown-linux-gnu
)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/aiodio-ltp/check-targets}
root=$cache/root
host=$(dpkg --print-architecture)
mirror=$(apt-cache policy | grep -oE 'https?://[^ ]+/debian( |$)' | head -1 | tr -d ' ')
security=$(apt-cache policy | grep -oE 'https?://[^ ]+/debian-security( |$)' | head -1 | tr -d ' ')
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

# One apt directory per architecture: a broken index of one must not take the others with it.
apt_for() {
  local architecture=$1 state=$cache/apt-$1
  shift
  apt-get -qq -o Dir="$state" -o Dir::State="$state" -o Dir::Cache="$state" -o Dir::State::status="$state/status" \
    -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::trustedparts=/etc/apt/trusted.gpg.d \
    -o APT::Sandbox::User=root "$@"
}

# fetch ARCHITECTURE PACKAGE[=VERSION]...: unpacks the packages below $root
fetch() {
  local architecture=$1 state=$cache/apt-$1
  shift
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/debs"
  : >"$state/status"
  {
    echo "deb $mirror $suite main"
    [ -z "$security" ] || echo "deb $security $suite-security main"
  } >"$state/sources.list"
  apt_for "$architecture" update >"$state/log" 2>&1 &&
    (cd "$state/debs" && apt_for "$architecture" download "$@") >>"$state/log" 2>&1 &&
    for deb in "$state"/debs/*.deb; do dpkg -x "$deb" "$root" || return 1; done &&
    rm -rf "$state/debs"
}

if [ -z "$mirror" ]; then
  echo "check-targets: apt knows no Debian mirror: run apt-get update first" >&2
  exit 1
fi
version=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: //p')
mkdir -p "$root"
if [ ! -e "$cache/host-$version" ]; then
  series=$(printf '%s' "$version" | grep -oE '^[0-9]+\.[0-9]+')
  # The compiler's driver is linked to an LLVM that comes as a package of its own.
  llvm=$(apt-cache show "libstd-rust-web-$series=$version" | grep -oE 'libllvm[0-9]+' | head -1)
  fetch "$host" "rustc-web=$version" "libstd-rust-web-$series=$version" "libstd-rust-web-dev=$version" $llvm || {
    echo "check-targets: rustc-web $version can't be had:" >&2
    tail -3 "$cache/apt-$host/log" >&2
    exit 1
  }
  touch "$cache/host-$version"
fi

export RUSTC=$root/usr/bin/rustc
LD_LIBRARY_PATH=$(find "$root/usr/lib" \( -name 'librustc_driver-*.so' -o -name 'libLLVM.so.*' \) -printf '%h:')
export LD_LIBRARY_PATH
# A directory of its own: another compiler's artifacts are of no use to either.
export CARGO_TARGET_DIR=$cache/target
checked=0
for architecture in "${!targets[@]}"; do
  target=${targets[$architecture]}
  if [ ! -e "$cache/$architecture-$version" ]; then
    if ! fetch "$architecture" "libstd-rust-web-dev=$version"; then
      echo "check-targets: $target not checked, its libstd-rust-web-dev $version can't be had:" >&2
      tail -1 "$cache/apt-$architecture/log" >&2
      continue
    fi
    touch "$cache/$architecture-$version"
  fi
  cargo check --quiet --workspace --target "$target"
  echo "check-targets: $target ok"
  checked=$((checked + 1))
done
[ "$checked" -gt 0 ]
