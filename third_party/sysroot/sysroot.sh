#!/bin/bash
# sysroot.sh DIR ARCH SUITE PACKAGE...: unpacks Debian packages of ARCH and what they depend on into DIR, to compile
# against and to run under qemu. Nothing is installed: no root, no chroot, no emulation, no trace on the host.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
dir=$(realpath -m "$1") arch=$2 suite=$3
shift 3
wanted="$arch $suite $*"
[ "$(cat "$dir/.packages" 2>/dev/null)" = "$wanted" ] && exit

. "$here/apt.sh"
apt=$dir.apt
rm -rf "$dir"
mkdir -p "$dir"
private_apt "$apt" "$arch" "$suite"
apt-get -qq -y --download-only install "$@" > /dev/null
for deb in "$apt"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" |
    tar -x -C "$dir" --keep-directory-symlink --no-same-owner --exclude='./usr/share/'{doc,man,locale}
done
# From trixie on libc is in /usr, and the links that lead there come with no package of these.
for lib in lib lib64; do
  [ -e "$dir/$lib" ] || [ ! -e "$dir/usr/$lib" ] || ln -s "usr/$lib" "$dir/$lib"
done
# Absolute links would lead out of the folder, and maintainer scripts, which never ran, make the links to the BLAS.
find "$dir" -type l -lname '/*' | while read -r link; do
  ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$dir$(readlink "$link")")" "$link"
done
for lib in "$dir"/usr/lib/*/{openblas-pthread,blas,lapack}/lib*.so.?; do
  folder=$(dirname "$lib") name=$(basename "$lib")
  [ ! -e "$lib" ] || [ -e "$folder/../$name" ] || ln -s "$(basename "$folder")/$name" "$folder/../$name"
done
echo "$wanted" > "$dir/.packages"
rm -rf "$apt"
echo "$(basename "$dir"): $arch $suite, $(du -sh "$dir" | cut -f1)"
