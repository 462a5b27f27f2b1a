#!/bin/bash
# build.sh OUT CC SYSROOT MAKE_SETTING...: compiles both flavours of OpenBLAS from Debian's source package.
#
# OUT/liblinnet-openblas-master.so splits a threaded product as OpenBLAS does by itself; liblinnet-openblas-dl.so splits it
# over its first dimension only, as the branch "optimized_for_deeplearning" of 2015 did. Both have sonames of their own,
# export the single-precision interface alone, and so can live in one process with any other OpenBLAS. They are linked
# against SYSROOT ("" for the host), whose libc is the oldest they will run on.
#   build.sh out arm-linux-gnueabihf-gcc sysroot TARGET=ARMV7
#   build.sh out gcc "" TARGET=PRESCOTT DYNAMIC_ARCH=1 "DYNAMIC_LIST=HASWELL SKYLAKEX"
# A build cut short goes on with the flavour it was at. OUT/source is taken as it is if it is there.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
out=$(realpath -m "$1") cc=$2 sysroot=${3:+$(realpath "$3")}
shift 3
wanted="$cc $* $(cat "$0" | cksum)"
[ "$(cat "$out/.built" 2>/dev/null)" = "$wanted" ] && exit

settings=(NO_LAPACK=1 NOFORTRAN=1 NO_AFFINITY=1 ONLY_CBLAS=1 NUM_THREADS=64 HOSTCC=gcc "CC=$cc" "$@")
# The kernels of the other precisions are left out, except that DYNAMIC_ARCH does not compile without them.
[[ " $* " == *" DYNAMIC_ARCH=1 "* ]] || settings+=(BUILD_SINGLE=1 BUILD_DOUBLE=0 BUILD_COMPLEX=0 BUILD_COMPLEX16=0)

mkdir -p "$out"
if [ "$(cat "$out/.wanted" 2>/dev/null)" != "$wanted" ]; then
  rm -f "$out"/*.so "$out/.built"
  echo "$wanted" > "$out/.wanted"
fi
if [ ! -d "$out/source" ]; then
  . "$here/../sysroot/apt.sh"
  (private_apt "$out/apt" "$(dpkg --print-architecture)" bookworm
   cd "$out/apt" && apt-get -qq source --download-only openblas
   mkdir -p "$out/source.part" && tar -xf openblas_*.orig.tar.* --strip-components=1 -C "$out/source.part"
   mv "$out/source.part" "$out/source")
  rm -rf "$out/apt"
fi

link=(-shared -s -Wl,-Bsymbolic -Wl,-z,noexecstack -Wl,-z,defs "-Wl,--version-script=$out/exports")
headers=
if [ -n "$sysroot" ]; then
  link+=("--sysroot=$sysroot")
  # A cross compiler looks in its own libc before the sysroot's.
  for lib in "$sysroot"/usr/lib/*-linux-gnu* "$sysroot"/lib/*-linux-gnu*; do link+=("-L$lib"); done
  for include in "$sysroot"/usr/include/*-linux-gnu* "$sysroot"/usr/include; do headers+=" -isystem $include"; done
fi
echo '{ global: cblas_s*; cblas_is*; openblas_*; blas_thread_shutdown_; local: *; };' > "$out/exports"

rm -rf "$out/tree"
for flavour in master dl; do
  name=liblinnet-openblas-$flavour.so
  [ -e "$out/$name" ] && continue
  own=("CFLAGS=$headers")
  [ $flavour = dl ] && own=(USE_SIMPLE_THREADED_LEVEL3=1 "CFLAGS=$headers -DGEMM_THREAD=gemm_thread_m")
  tree=$out/tree
  if [ -d "$tree" ]; then # the other flavour's: these two settings are read here alone
    rm -f "$tree"/libopenblas*.a "$tree"/interface/*.o "$tree"/driver/level3/*.o
  else
    cp -a "$out/source" "$tree"
  fi
  if ! make -C "$tree" -j"${JOBS:-$(nproc)}" MAKE_NB_JOBS=-1 "${settings[@]}" "${own[@]}" libs > "$out/$flavour.log" 2>&1; then
    tail -20 "$out/$flavour.log" >&2
    exit 1
  fi
  # Of an archive that several processes filled, in an order of its own: two builds are the same bytes.
  rm -rf "$tree/objects" && mkdir "$tree/objects"
  (cd "$tree/objects" && ${cc%gcc}ar x ../libopenblas.a)
  (export LC_ALL=C; $cc "${link[@]}" -Wl,-soname,$name "$tree"/objects/*.o -lpthread -lm -o "$out/$name.part")
  mv "$out/$name.part" "$out/$name"
done
cp "$out/source/LICENSE" "$out/LICENSE.openblas"
rm -rf "$out/tree"
echo "$wanted" > "$out/.built"
ls -l "$out"/*.so
