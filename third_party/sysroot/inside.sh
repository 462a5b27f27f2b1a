#!/bin/bash
# inside.sh SYSROOT QEMU CPU COMMAND...: runs COMMAND with nothing around it but the sysroot and this folder.
#
# QEMU is "" where the sysroot is of this machine's architecture; else see binfmt.sh. All happens in a namespace of its own,
# whose root writes as the caller; /tmp is empty and ends with COMMAND. The network and pip's settings are the host's.
set -euo pipefail
sysroot=$(realpath "$1") qemu=$2 cpu=$3
shift 3
enter='
  root=$1; shift
  mkdir -p "$root"/{proc,dev,sys,tmp,root,etc} "$root$PWD"
  for place in /proc /dev /sys "$PWD"; do mount --rbind "$place" "$root$place"; done
  mount -t tmpfs none "$root/tmp"
  for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || { mkdir -p "$root${file%/*}"; touch "$root$file"; mount --bind "$file" "$root$file"; }
  done
  # The libraries of the emulator itself; those of the sysroot are in folders of another name.
  if [ -n "$QEMU" ]; then
    for place in /lib64 {,/usr}/lib/$(uname -m)-linux-gnu; do mkdir -p "$root$place"; mount --bind "$place" "$root$place"; done
  fi
  unset QEMU_LD_PREFIX
  export HOME=/root PATH=/usr/bin:/bin
  exec /usr/sbin/chroot "$root" sh -c "cd \"\$0\" && exec \"\$@\"" "$PWD" "$@"'
export QEMU=$qemu
if [ -n "$qemu" ]; then
  exec "$(dirname "$0")/binfmt.sh" "$sysroot" "$qemu" "$cpu" bash -c "$enter" bash "$sysroot" "$@"
fi
exec unshare --user --map-root-user --mount bash -c "$enter" bash "$sysroot" "$@"
