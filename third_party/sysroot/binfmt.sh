#!/bin/bash
# binfmt.sh SYSROOT QEMU CPU COMMAND...: runs COMMAND where programs of the sysroot's architecture start by themselves.
#
# Registers the emulator with the kernel inside a namespace that ends with COMMAND: no root, no trace on the host. Needs
# Linux 6.7 or later. In there a process is root, so what it writes belongs to the caller.
set -euo pipefail
sysroot=$(realpath "$1") qemu=$(command -v "$2") cpu=$3
shift 3
case $(basename "$qemu") in
  qemu-arm) class='\x01' machine='\x28\x00' ;;
  qemu-aarch64) class='\x02' machine='\xb7\x00' ;;
esac
# An ELF header: class, little endian, version; executable or shared; machine. P: the program sees its name as it was
# called; F: the emulator is found whatever the program's root.
magic='\x7fELF'$class'\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'$machine
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
export QEMU_LD_PREFIX=$sysroot QEMU_CPU=$cpu
exec unshare --user --map-root-user --mount sh -c '
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
  echo ":emulated:M::$1:$2:$3:PF" > /proc/sys/fs/binfmt_misc/register || exit
  shift 3
  exec "$@"' sh "$magic" "$mask" "$qemu" "$@"
