#!/usr/bin/env bash
# Makes the wasm32-unknown-unknown target available, whatever this machine can reach.
#
# 1. rustup can download it (any ordinary machine): done in seconds.
# 2. It cannot, but this is Debian or Ubuntu: install the distribution's rustc, cargo and Rust sources (kept in step with each
#    other), build the standard library for wasm32 once, put it into that toolchain's own sysroot, and link the toolchain into
#    rustup as "distro". About 70 seconds on two cores.
#
# Prints, as its last line, the toolchain to use: RUSTUP_TOOLCHAIN=<name>. FORCE_DISTRO=1 skips the first way.
set -euo pipefail
target=wasm32-unknown-unknown

has_std() { # has_std <rustc>: true where that compiler can already build for the target
  local lib
  lib="$("$1" --print sysroot)/lib/rustlib/$target/lib"
  compgen -G "$lib/libstd-*.rlib" >/dev/null
}

if [ -z "${FORCE_DISTRO:-}" ]; then
  if has_std rustc || { command -v rustup >/dev/null && timeout 120 rustup target add "$target" >&2 && has_std rustc; }; then
    toolchain="$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1 || true)"
    echo "RUSTUP_TOOLCHAIN=$toolchain"
    exit 0
  fi
fi

if ! command -v apt-get >/dev/null; then
  echo "rustup could not download the $target target and this is no Debian system" >&2
  exit 1
fi
if [ ! -x /usr/bin/rustc ] || ! has_std /usr/bin/rustc; then
  if [ "$(id -u)" != 0 ]; then
    echo "rustup could not download the $target target; run this once as root to build it from the distribution's packages" >&2
    exit 1
  fi
  apt-get update -qq >&2
  # The rust-lld of rust-web-llvm is a link to the lld of the LLVM it was built with.
  apt-get install -y -qq --no-install-recommends rustc-web cargo-web rust-web-src rust-web-llvm >&2
  apt-get install -y -qq --no-install-recommends "$(readlink /usr/bin/rust-lld)" >&2
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/src"
  : > "$work/src/lib.rs"
  printf '[package]\nname = "std-for-wasm"\nversion = "0.0.0"\nedition = "2024"\n' > "$work/Cargo.toml"
  # -Z build-std is nightly-only; the bootstrap switch allows it for this one build of the compiler's own sources.
  # Bitcode is embedded so that crates built with `lto` can use the result.
  (
    cd "$work"
    unset CARGO_TARGET_DIR
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS='-Cembed-bitcode=yes' \
      /usr/bin/cargo build --quiet --release -Z build-std=std,panic_abort --target "$target" >&2
  )
  lib="$(/usr/bin/rustc --print sysroot)/lib/rustlib/$target/lib"
  mkdir -p "$lib"
  find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libstd_for_wasm*' -exec cp {} "$lib/" \;
fi
if command -v rustup >/dev/null; then
  rustup toolchain link distro /usr >&2
  echo RUSTUP_TOOLCHAIN=distro
else
  echo RUSTUP_TOOLCHAIN=
fi
