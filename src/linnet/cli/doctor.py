"""linnet doctor"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

import linnet

from .. import digits, machine
from ..ops import supported
from .result import Result

_LINES = textwrap.TextWrapper(100, initial_indent="  ", subsequent_indent="      ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it prints."""
    parser.add_argument(
        "--operators", action="store_true", help="the operators that linnet has, and their limits"
    )


def run(args: argparse.Namespace) -> Result:
    """Facts about the machine, a self-test, and the one piece of advice that matters most."""
    if args.operators:
        return _operators()
    data: dict[str, Any] = {
        "board": machine.board() or "unknown",
        "cpu": machine.cpu_model(),
        "features": _features(),
        "machine": f"{platform.machine()} kernel, {8 * np.dtype(np.intp).itemsize}-bit programs",
        "cores": f"{os.cpu_count()}, {len(os.sched_getaffinity(0))} of them allowed",
        "governor": machine.governor() or "unknown",
        "throttled": _throttled(),
        "load": round(os.getloadavg()[0], 2),
        "glibc": platform.libc_ver()[1] or "unknown",
        "python": platform.python_version(),
    }
    try:
        data.update(linnet.show_config())
        if not getattr(sys, "frozen", False):  # a bundled program would start itself
            data["import_ms"] = _import_ms()
        data["self-test"] = _self_test()
    except (RuntimeError, ValueError, MemoryError, OSError) as error:
        message = f"linnet cannot run here: {error}"
        return Result(
            {**data, "error": message}, [*str(linnet.Config(data)).splitlines(), "", message], 1
        )
    data["advice"] = _advice(data)
    return Result(data, str(linnet.Config(data)).splitlines())


def _operators() -> Result:
    lines: list[str] = []
    data: dict[str, Any] = {}
    for family, text, rows in supported.rows():
        lines += ["", f"{family}: {text}"]
        for row in rows:
            data.update({name: row.supported for name in row.operators})
            lines += _LINES.wrap(f"{', '.join(row.operators)}: {row.supported}")
    return Result(data, lines[1:])


def _features() -> list[str]:
    """What the kernel says this CPU has of the instructions that matter to a network."""
    match = re.search(r"(?mi)^(?:flags|features)\s*:(.*)$", machine.read("/proc/cpuinfo"))
    known = r"sse4_2|f16c|fma|avx.*|amx_.*|neon|vfpv4|half|asimd.*|fphp|i8mm|bf16|sve.*"
    return [flag for flag in (match[1].split() if match else []) if re.fullmatch(known, flag)]


def _throttled() -> str:
    """What a Raspberry Pi's firmware has held against its clock, now or since it was started."""
    text = machine.read(machine.FIRMWARE).strip()
    if not re.fullmatch(r"(0x)?[0-9a-f]{1,8}", text):
        return "unknown"
    bits = int(text, 16)
    found = [f"{cause} now" for i, cause in machine.THROTTLED.items() if bits >> i & 1]
    found += [
        f"{cause} before"
        for i, cause in machine.THROTTLED.items()
        if bits >> i & 0x10001 == 1 << 16
    ]
    return ", ".join(found) or "no"


def _import_ms() -> float:
    """What `import linnet` takes beyond `import numpy`, in a fresh interpreter."""
    code = (
        "import numpy, time; t = time.perf_counter(); import linnet; print(time.perf_counter() - t)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["import linnet fails"])[-1])
    return round(float(done.stdout) * 1e3, 1)


def _self_test() -> str:
    """The shipped model by its usual algorithms and by plain loops; RuntimeError if they differ."""
    net = linnet.load(digits.MODEL)
    x = np.random.default_rng(0).random((1, *(n or 1 for n in net.inputs[0].shape[1:])), np.float32)
    (fast,) = net.run(x, fetch=["fc2"])
    (plain,) = linnet.load(digits.MODEL, algorithm="direct-ref").run(x, fetch=["fc2"])
    error = float(np.abs(fast - plain).max() / np.sqrt(np.mean(plain**2)))
    if not error < 1e-4:
        raise RuntimeError(f"its kernels compute wrong results (relative error {error:.2g})")
    return f"passed, relative error {error:.1g}"


def _advice(data: Mapping[str, Any]) -> str:
    if data["isa"] != data["isas"][0]:
        return f"LINNET_ISA holds linnet to {data['isa']}; unset it to use {data['isas'][0]}."
    if data["isa"] == "scalar":
        return "This build has no vector kernels for this CPU: expect it to be slow."
    if platform.machine() in ("aarch64", "armv8l", "x86_64") and np.dtype(np.intp).itemsize == 4:
        return "The kernel is 64-bit, Python is 32-bit: a 64-bit Python would be faster."
    if "under-voltage" in data["throttled"]:
        return "The power supply is too weak: a Raspberry Pi 3 needs 5.1 V and 2.5 A."
    if data["throttled"] not in ("no", "unknown"):
        return "The CPU has been too hot for its full clock: it needs a heat sink or more air."
    if data["governor"] not in ("performance", "unknown"):
        return "For steady times: cpupower frequency-set --governor performance."
    if data["load"] > 0.5 * data["threads"]:
        return f"Other programs are running (load {data['load']}): times will vary."
    if data["threads"] < len(os.sched_getaffinity(0)):
        return f"A cgroup limits this process to the time of {data['threads']} cores."
    return "Nothing to improve."
