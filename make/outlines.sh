#!/usr/bin/env bash
# Writes cpp/emit/outlines.inc: what the tables of kernels of all instruction sets have, asked of each, compiled as fast as
# can be and, for ARM, run by an emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags() { sed -n "s/.*set(LINNET_$1\b *\([^)]*\)).*/\1/p" <(tr '\n' ' ' < cpp/kernels/isas.cmake | sed 's/set(/\nset(/g'); }

# outlines COMPILER EMULATOR CPU DOT_CPU ISA...: of a CPU that runs instructions in order, and of one with dot products of bytes.
outlines() {
  local compiler=$1 emulator=$2 cpu=$3 dot_cpu=$4 list="" folder="$work/$1" baseline=""
  shift 4
  mkdir -p "$folder"
  for isa in "$@"; do
    list+="X($isa) "
    for family in direct depthwise pool map normalize cast peak reduce resize winograd fourier integer dot scheduled; do
      own=$([ $family = dot ] && flags "DOT_FLAGS_$isa" || true)
      # shellcheck disable=SC2046,SC2086
      "$compiler" -std=c++17 -w -O0 -fno-exceptions -fno-rtti $(flags "FLAGS_$isa") $own "-DLINNET_ISA=$isa" "-DLINNET_ISA_$isa" \
        -c "cpp/kernels/$family.cpp" -o "$folder/$family-$isa.o"
    done
  done
  if [ "$compiler" = arm-linux-gnueabihf-g++ ]; then baseline="-march=armv7-a -mfpu=neon-vfpv4 -Wno-psabi"; fi
  # shellcheck disable=SC2086
  "$compiler" -std=c++17 -w -O0 -static $baseline -Icpp "-DLINNET_ISAS=$list" cpp/kernels/dispatch.cpp cpp/kernels/cores.cpp cpp/emit/outline.cpp \
    cpp/tools/outlines.cpp "$folder"/*.o -o "$folder/outlines"
  if [ -n "$dot_cpu" ]; then
    LINNET_ISA=neon_vfpv4_dot $emulator -cpu "$dot_cpu" "$folder/outlines" | awk '$1 == "isa" {keep = $2 ~ /_dot$/; if (keep) print ""} keep && NF'
  fi
  $emulator ${cpu:+-cpu "$cpu"} "$folder/outlines"
}

{
  echo '// Written by make/outlines.sh; do not edit.'
  echo 'R"('
  outlines arm-linux-gnueabihf-g++ qemu-arm cortex-a7 max neon_vfpv4
  outlines aarch64-linux-gnu-g++ qemu-aarch64 cortex-a53 cortex-a76 neon
  outlines g++ "" "" "" avx512 avx2
  echo ')"'
} > "$work/outlines.inc"
cp "$work/outlines.inc" cpp/emit/outlines.inc
