"""Compiled networks against linnet-run, both for an emulated CPU: results must be the same bits.

compiled.py TARGET LINNET_RUN EMULATOR...
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import linnet
from linnet import ahead, digits
from linnet.ahead import printed, targets

DATA = Path(__file__).parents[1] / "tests" / "data"
MODELS = {"real": digits.MODEL, "whole": DATA / "digits_int8.onnx"}
PROGRAM = """
#include <stdio.h>
#include "net.h"
static NET_INPUT_0_TYPE x[NET_INPUT_0_COUNT];
static NET_OUTPUT_0_TYPE y[NET_OUTPUT_0_COUNT];
static unsigned char space[NET_ARENA + NET_ALIGNMENT];
int main(void) {
  const void* const inputs[] = {x};
  void* const outputs[] = {y};
  unsigned char* arena = space;
  while ((uintptr_t)arena % NET_ALIGNMENT) ++arena;
  if (fread(x, sizeof x, 1, stdin) != 1) return 1;
  net_run(inputs, outputs, arena);
  return fwrite(y, sizeof y, 1, stdout) != 1;
}
"""


def different(name: str, model: Path, target: str, run: list[str], emulator: list[str]) -> int:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        linnet.convert(model, None, folder / "net.onnx")
        network, graph = ahead.plan(folder / "net.onnx", None, "net", target, wisdom="")
        ahead.write(network, ahead.expected(network, graph, {}), folder, "static")
        (folder / "main.c").write_text(PROGRAM)
        compiler = targets.tools(network.target).cc
        command = [compiler, "-O1", "-static", "main.c", "libnet.a", "-lm", "-o", "main"]
        subprocess.run(command, cwd=folder, check=True)
        subprocess.run(["size", "main"], cwd=folder, check=True)
        x = printed.sample(network.inputs[0], 1)
        said = subprocess.run([*emulator, "./main"], cwd=folder, input=x.tobytes(), check=True,
                              stdout=subprocess.PIPE).stdout  # fmt: skip
        np.save(folder / "x.npy", x)
        command = [*run, "net.onnx", "x.npy", "--threads", "1", "--output", "y_"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "LINNET_WISDOM": ""})  # fmt: skip
        (file,) = folder.glob("y_*.npy")
        y = np.load(file).ravel()
        count = int((np.frombuffer(said, y.dtype) != y).sum())
        print(f"{name}, {target}: {count} of {y.size} numbers differ")
        return count


def main() -> int:
    target, run, *emulator = sys.argv[1:]
    command = [*emulator, str(Path(run).resolve())]
    return (
        sum(different(name, path, target, command, emulator) for name, path in MODELS.items()) > 0
    )


if __name__ == "__main__":
    sys.exit(main())
