"""Print what a wheel's user needs to know: tag, size, and of every ELF file its ABI and needs.

Usage: wheel_report.py WHEEL MEGABYTES. Fails if the wheel needs more of a system than its C and C++
libraries, or weighs more than MEGABYTES without its model.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SYSTEM = re.compile(
    r"(libc|libm|libpthread|libdl|librt|libgcc_s|libstdc\+\+|ld-linux[\w-]*)\.so\.\d+"
)


def main() -> int:
    wheel, limit = Path(sys.argv[1]), float(sys.argv[2]) * 1e6
    wrong = []
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        archive.extractall(folder)
        models = sum(i.compress_size for i in archive.infolist() if i.filename.endswith(".onnx"))
        size = wheel.stat().st_size
        print(
            f"{wheel.name}\n  {size / 1e6:.2f} MB, {(size - models) / 1e6:.2f} MB without the model"
        )
        if size - models > limit:
            wrong.append(f"more than {limit / 1e6:.0f} MB")
        for path in sorted(Path(folder).rglob("*.so*")):
            run = subprocess.run(
                ["readelf", "-dAhV", path], capture_output=True, text=True, check=True
            )
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run.stdout)
            versions = {
                tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d[\d.]*)", run.stdout)
            }
            facts = dict(
                re.findall(
                    r"(Machine|Tag_CPU_arch|Tag_FP_arch|Tag_Advanced_SIMD_arch|Tag_ABI_VFP_args):\s*(.*)",
                    run.stdout,
                )
            )
            newest = ".".join(map(str, max(versions))) if versions else "none"
            print(f"  {path.relative_to(folder)}")
            print(f"    {', '.join(facts.values())}; glibc {newest}; needs {' '.join(needed)}")
            wrong += [f"{path.name} needs {name}" for name in needed if not SYSTEM.fullmatch(name)]
    for what in wrong:
        print(f"wrong: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
