"""A session and the file its weights are in: what becomes of one when the other changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import linnet
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value

DIGITS = Path(linnet.__file__).parent / "models" / "digits.onnx"


def conv_and_gemm() -> Graph:
    """Two layers of weights of some kilobytes."""
    random = np.random.default_rng(5)
    conv = {"kernel_shape": [3, 3], "pads": [1] * 4}
    nodes = [
        Node("Conv", "conv", ["x", "w"], ["c"], conv),
        Node("Relu", "relu", ["c"], ["r"]),
        Node("Flatten", "flat", ["r"], ["f"], {"axis": 1}),
        Node("Gemm", "fc", ["f", "v"], ["y"], {"transB": 1}),
    ]
    constants = {
        "w": random.standard_normal((24, 8, 3, 3)).astype(np.float32),
        "v": random.standard_normal((10, 24 * 12 * 12)).astype(np.float32),
    }
    return Graph("g", nodes, constants, [Value("x", (0, 8, 12, 12))], ["y"])


@pytest.fixture(params=["f32", "f16", "int8", "digits"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    if request.param == "digits":
        shutil.copy(DIGITS, path)
    else:
        save(conv_and_gemm(), path, weights=request.param)
    return path


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """One bit of each page."""
    data = np.fromfile(path, np.uint8)
    data[1000::4096] ^= 1
    with path.open("r+b") as file:
        file.write(data.tobytes())


def shift(path: Path) -> None:
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.write(data[4:] + data[:4])


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


CHILD = """
import sys
import numpy as np, linnet
sys.path.insert(0, {tests!r})
import test_weight_files
from pathlib import Path
path = Path({path!r})
net = linnet.load(path, threads=2)
x = np.random.default_rng(0).standard_normal((1, *net.inputs[0].shape[1:])).astype(np.float32)
before = net(x)
test_weight_files.{change}(path)
assert np.array_equal(net(x), before)  # packed already
try:
    for batch in (2, 3, 8, 33):
        np.testing.assert_allclose(net(np.repeat(x, batch, 0))[-1], before[0], 1e-3, 1e-2)
    names = [v.name for v in net.values]
    np.testing.assert_allclose(net.run(x, fetch=names)[-1], before, 1e-3, 1e-2)
    print("as before")
except RuntimeError as error:
    assert str(path) in str(error) and "has changed" in str(error), error
    assert np.array_equal(net(x), before)  # what could be computed still can
    print("refused")
"""


@pytest.mark.parametrize("change", [empty, halve, zero, flip, shift, remove, replace])
def test_a_file_that_changes_after_loading(path: Path, change: Callable[[Path], None]) -> None:
    """In a process of its own, since a signal would end this one."""
    tests = str(Path(__file__).parent)
    code = CHILD.format(tests=tests, path=str(path), change=change.__name__)
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if change in (remove, replace):  # the file that was opened is still there
        assert run.stdout == "as before\n"
