"""Pools of one dimension, and of powers, as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

SHAPE = (2, 5, 9, 12)
WINDOWS = [
    {"kernel_shape": [2, 3]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]},
]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("attrs", WINDOWS)
def test_one_dimension(op, attrs, tmp_path):
    rows = {name: value if name == "auto_pad" else value[1::2] for name, value in attrs.items()}
    agree(model([(op, "x", "y", rows)], {}, (2, 5, 17)), tmp_path, (2, 5, 17))


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize(
    "attrs", [*WINDOWS, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}]
)
def test_pools_of_powers(p, attrs, tmp_path):
    agree(model([("LpPool", "x", "y", {"p": p, **attrs})], {}, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("target", [[0, 5, 9, 12], [0, 5, 108], [0, 5, 3, 3, 12]])
def test_powers_of_channels(p, target, tmp_path):
    nodes = [("Reshape", "x,n", "r", {}), ("GlobalLpPool", "r", "y", {"p": p})]
    agree(model(nodes, {"n": np.array(target, np.int64)}, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("op", "attrs", "said"),
    [
        ("LpPool", {"kernel_shape": [2, 2], "p": 5}, "p=5"),
        ("GlobalLpPool", {"p": 3}, "p=3"),
        ("LpPool", {"kernel_shape": [2]}, "expected 2 integers"),
    ],
)
def test_other_powers_are_refused(op, attrs, said, tmp_path):
    (tmp_path / "m.onnx").write_bytes(model([(op, "x", "y", attrs)], {}, SHAPE).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "m.onnx")
