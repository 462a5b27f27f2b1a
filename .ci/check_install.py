"""Check an installation from outside the source tree: its model runs, its import is quick."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

IMPORT_SECONDS = 0.15  # at most, beyond NumPy's own
MEASURE = """
import time
import numpy
begin = time.perf_counter()
import linnet
print(time.perf_counter() - begin)
"""


def python(code: str, folder: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


RUN = """
import pathlib, numpy, linnet
net = linnet.load(pathlib.Path(linnet.__file__).parent / "models" / "digits.onnx")
(x,) = (numpy.zeros((3, *v.shape[1:]), numpy.float32) for v in net.inputs)
y = net(x)
assert y.shape == (3, *net.outputs[0].shape[1:]), y.shape
assert numpy.allclose(y.sum(axis=1), 1, atol=1e-5), y
print(linnet.show_config())
"""

with tempfile.TemporaryDirectory() as folder:
    os.environ.pop("PYTHONPATH", None)
    print(python(RUN, folder), end="")
    best = min(float(python(MEASURE, folder)) for _ in range(7))
print(f"import linnet: {best:.3f} s beyond NumPy, at most {IMPORT_SECONDS} allowed")
sys.exit(best > IMPORT_SECONDS)
