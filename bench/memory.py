"""How much memory loading a network and running it ten times takes at most, beside what it needs.

    python bench/memory.py                       ResNet-50, MobileNet-v2, AlexNet, VGG-16
    python bench/memory.py NAME_OR_FILE ...      networks of models.py, or files
    python bench/memory.py net.prototxt,net.caffemodel

Each runs in a process of its own, and what that takes beyond an interpreter that has imported
linnet counts. Needed are the packed weights and the values of the step that has the largest; the
ratio says how often these and 8 MB go into the peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from models import NETWORKS, make

import linnet
from linnet.formats import onnx_write
from linnet.model import build, needs
from linnet.options import core_options
from linnet.text import megabytes, table

USUAL = ["ResNet-50", "MobileNet-v2", "AlexNet", "VGG-16"]
RUNS = 10
SPARE = 8 << 20  # bytes, of code, tables and the caller's arrays


def status(key: str) -> int:
    """Bytes of this process, as VmRSS or, at most so far, VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10


def measure(files: list[str], options: dict[str, Any]) -> dict[str, float]:
    """Bytes and seconds of one model, in this process."""
    before = status("VmHWM")
    begin = time.perf_counter()
    net = linnet.load(*files, **options)
    loaded = time.perf_counter() - begin
    after_load = status("VmHWM")
    random = np.random.default_rng(0)
    for _ in range(RUNS):
        net(*(random.random((1, *v.shape[1:]), np.float32) for v in net.inputs))
    peak = status("VmHWM")
    return {
        "load": after_load - before,
        "peak": peak - before,
        "weights": net.weight_bytes,
        "arena": net.arena_bytes,
        "seconds": loaded,
    }


def row(name: str, files: list[str], options: dict[str, Any]) -> tuple[str, ...]:
    command = [sys.executable, __file__, "--child", json.dumps([files, options])]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    size = sum(Path(file).stat().st_size for file in files)
    graph, _ = build(files[0], files[1] if len(files) > 1 else None)
    values = needs(graph, 1, core_options(options))["values"]
    bound = found["weights"] + values + SPARE
    parts = (size, found["weights"], values, found["arena"], found["load"], found["peak"])
    ratios = (found["peak"] / bound, found["peak"] / size)
    return (
        name,
        *(megabytes(part) for part in parts),
        *(f"{ratio:.2f}" for ratio in ratios),
        f"{found['seconds']:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=USUAL, metavar="NAME_OR_FILE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa")
    parser.add_argument("--weights-dtype")
    parser.add_argument("--memory-limit")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(*json.loads(args.child))))
        return
    named = ("threads", "isa", "weights_dtype", "memory_limit")
    options = {name: getattr(args, name) for name in named if getattr(args, name)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            files = name.split(",")
            if name in NETWORKS:
                files = [str(Path(folder) / "network.onnx")]
                onnx_write.save(make(name), Path(files[0]))
            rows.append(row(name, files, options))
    header = ("network", "file", "weights", "values", "arena", "load", "peak")
    more = ("of needed", "of file", "load s")
    print("\n".join(table(header + more, rows, right=range(1, 10))))


if __name__ == "__main__":
    main()
