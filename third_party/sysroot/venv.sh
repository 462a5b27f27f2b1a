#!/bin/bash
# venv.sh DIR SYSROOT [QEMU CPU]: a virtual environment over the Python of a sysroot whose interpreter runs by itself.
#
# DIR/bin/python is a script that starts the emulator, as $QEMU_CPU or else CPU, so pip, scripts' first lines and programs
# that run sys.executable again work as on the board, without registering the emulator with the kernel (which takes root).
# Without QEMU the sysroot is of this machine's architecture, and DIR/bin/python a copy that finds the sysroot's libraries.
set -euo pipefail
dir=$(realpath -m "$1") sysroot=$(realpath "$2")
qemu=${3:-} cpu=${4:-}
python=$(cd "$sysroot/usr/bin" && ls python3.*[0-9] | head -1)
rm -rf "$dir"
mkdir -p "$dir/bin" "$dir/lib/$python/site-packages"
cat > "$dir/pyvenv.cfg" <<CFG
home = $sysroot/usr/bin
include-system-site-packages = true
CFG
write() {
  printf '#!/bin/sh\n%s\n' "$2" > "$dir/bin/$1"
  chmod +x "$dir/bin/$1"
}
ln -s "$python" "$dir/bin/python3"
ln -s "$python" "$dir/bin/python"
if [ -z "$qemu" ]; then
  libraries=$(echo "$sysroot"/usr/lib/*-linux-gnu):$(echo "$sysroot"/lib/*-linux-gnu)
  cp "$sysroot/usr/bin/$python" "$dir/bin/$python"
  patchelf --set-interpreter "$(echo "$sysroot"/lib64/ld-linux-*)" --force-rpath --set-rpath "$libraries" "$dir/bin/$python"
  write pip "exec '$(command -v python3)' -m pip --python '$dir/bin/python' \"\$@\""
  exit
fi
emulate="exec $qemu -cpu \"\${QEMU_CPU:-$cpu}\" -L '$sysroot' -0"
write "$python" "$emulate '$dir/bin/$python' '$sysroot/usr/bin/$python' \"\$@\""
# The caller's pip works here. It takes a system for hard-float ARM only if the file sys.executable names is such a
# program, so it gets one, and the first lines of scripts are put right afterwards.
ln -s "$sysroot/usr/bin/$python" "$dir/bin/program"
write for-pip "$emulate '$dir/bin/program' '$sysroot/usr/bin/$python' \"\$@\""
write pip "'$(command -v python3)' -m pip --python '$dir/bin/for-pip' \"\$@\" || exit
grep -lI '^#!$dir/bin/program' '$dir'/bin/* | xargs -r sed -i '1s|program|python|'"

# Compiled once here: the emulated interpreter would take seconds of every start.
if [ -x "$(command -v "$python")" ]; then
  "$python" -m compileall -q -j0 "$sysroot/usr/lib/$python" "$sysroot/usr/lib/python3/dist-packages" > /dev/null 2>&1 || true
fi
