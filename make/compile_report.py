"""What compiling takes of a small board: memory, and which files need instructions of later boards.

As CMAKE_CXX_COMPILER_LAUNCHER, `compile_report.py LOG COMPILER ARGUMENT...` runs the compiler and
adds the most memory it held to LOG. `compile_report.py LOG` prints the log and fails if a file took
more than LIMIT, or if one outside cpp/kernels was compiled for more than ARMv6.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

LIMIT = 700  # MB: what a board with 1 GB has left beside its system


def launch(log: Path, command: list[str]) -> int:
    _, status, usage = os.wait4(subprocess.Popen(command).pid, 0)
    if "-c" in command:
        result = Path(command[command.index("-o") + 1]).absolute()
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{usage.ru_maxrss // 1024} {usage.ru_utime:.1f} {result}\n")
    return os.waitstatus_to_exitcode(status)


def report(log: Path) -> int:
    rows = [line.split(" ", 2) for line in log.read_text(encoding="utf-8").splitlines()]
    wrong = [] if rows else ["nothing was compiled"]
    for megabytes, seconds, path in sorted(rows, key=lambda row: -int(row[0])):
        name = path.split("/CMakeFiles/")[-1].replace(".dir/", ": ")
        attributes = subprocess.run(
            ["readelf", "-A", path], capture_output=True, text=True, check=True
        ).stdout
        found = re.findall(r"Tag_(?:CPU_arch|FP_arch|Advanced_SIMD_arch): (.*)", attributes)
        print(f"{megabytes:>5} MB {seconds:>6} s  {name}  {', '.join(found)}")
        if int(megabytes) > LIMIT:
            wrong.append(f"{name} takes more than {LIMIT} MB to compile")
        if not name.startswith("linnet_kernels_neon") and found[:1] != ["v6"]:
            wrong.append(f"{name} is not for ARMv6")
    for what in wrong:
        print(f"wrong: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    where = Path(sys.argv[1])
    sys.exit(launch(where, sys.argv[2:]) if len(sys.argv) > 2 else report(where))
