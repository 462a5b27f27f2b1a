"""Check an installed wheel as its user would: licences, `linnet doctor`, what the README shows.

Runs with the Python that the wheel is installed for, in the repository's folder.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from examples import command_failures, python_failures  # noqa: E402

# What doctor may say of a machine on which other things run besides.
GOOD = r"Nothing to improve|Other programs are running|For steady times|The kernel is 64-bit"
LICENCES = {"LICENSE", "OpenBLAS.txt", "pybind11.txt"}


def main() -> int:
    import numpy

    scripts = sysconfig.get_path("scripts")
    wrong = ""
    held = {p.name for p in importlib.metadata.files("linnet") or () if "licenses" in p.parts}
    if not held >= LICENCES:
        wrong += f"no licences of {sorted(LICENCES - held)}\n"
    doctor = subprocess.run(
        [os.path.join(scripts, "linnet"), "doctor"], stdout=subprocess.PIPE, text=True, check=False
    )
    print(doctor.stdout)
    if doctor.returncode or not re.search(rf"^advice.*({GOOD})", doctor.stdout, re.M):
        wrong += "linnet doctor complains\n"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        shutil.copytree(ROOT / "tests" / "data", folder)
        os.chdir(folder)
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        wrong += python_failures(readme, "README.md") + command_failures(readme, folder, scripts)
    print(
        f"linnet {importlib.metadata.version('linnet')}, Python {platform.python_version()}, "
        f"NumPy {numpy.__version__}, {platform.machine()}: {wrong or 'README and doctor are right'}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
