"""Pools of one and three dimensions, of powers, with gaps, against ONNX Runtime."""

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


VOLUME = (2, 3, 7, 8, 9)
BLOCKS = [
    {"kernel_shape": [2, 3, 2]},
    {"kernel_shape": [3, 2, 3], "strides": [2, 3, 1], "pads": [1, 0, 1, 0, 1, 2]},
    {"kernel_shape": [3, 3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2, 2]},
    {"kernel_shape": [3, 2, 2], "strides": [2, 3, 2], "pads": [1, 1, 0, 1, 0, 1], "ceil_mode": 1},
]


@pytest.mark.parametrize(
    ("op", "more"),
    [
        ("MaxPool", {}),
        ("AveragePool", {}),
        ("AveragePool", {"count_include_pad": 1}),
        ("LpPool", {"p": 1}),
        ("LpPool", {"p": 2}),
    ],
)
@pytest.mark.parametrize("attrs", BLOCKS)
def test_three_dimensions(op, more, attrs, tmp_path):
    agree(model([(op, "x", "y", {**attrs, **more})], {}, VOLUME, opset=22), tmp_path, VOLUME)


def test_volumes_of_any_size(tmp_path):
    proto = model([("MaxPool", "x", "y", {"kernel_shape": [2, 2, 2]})], {}, (1, 2, None, 6, 6))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    net = linnet.load(tmp_path / "m.onnx")
    for depth in (3, 5):
        x = np.random.default_rng(depth).standard_normal((1, 2, depth, 6, 6)).astype("f4")
        wanted = np.lib.stride_tricks.sliding_window_view(x, (2, 2, 2), (2, 3, 4)).max((-3, -2, -1))
        np.testing.assert_array_equal(net(x), wanted)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(
    ("shape", "attrs", "operators"),
    [
        (SHAPE, {"kernel_shape": [2, 3], "dilations": [2, 3]}, "Conv"),
        (SHAPE, {"kernel_shape": [3, 2], "dilations": [2, 1], "pads": [1, 0, 2, 1]}, None),
        (
            SHAPE,
            {"kernel_shape": [2, 2], "dilations": [2, 3], "strides": [3, 2], "ceil_mode": 1},
            None,
        ),
        ((2, 5, 17), {"kernel_shape": [3], "dilations": [2], "pads": [1, 2]}, None),
        (VOLUME, {"kernel_shape": [2, 2, 3], "dilations": [2, 3, 1], "pads": [1] * 6}, None),
    ],
)
def test_averages_with_gaps(shape, attrs, operators, include, tmp_path):
    how = {**attrs, "count_include_pad": include}
    proto = model([("AveragePool", "x", "y", how)], {}, shape, opset=22)
    agree(proto, tmp_path, shape, operators=operators)


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize(
    "attrs", [*WINDOWS, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}]
)
def test_pools_of_powers(p, attrs, tmp_path):
    agree(model([("LpPool", "x", "y", {"p": p, **attrs})], {}, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 5, 17), SHAPE, VOLUME])
def test_of_all_of_a_channel(op, shape, tmp_path):
    agree(model([(op, "x", "y", {})], {}, shape), tmp_path, shape)


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
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [1 << 30, 1]}, "does not fit"),
        ("AveragePool", {"kernel_shape": [0, 2], "dilations": [2, 1]}, "do not fit"),
        ("LpPool", {"kernel_shape": [-3, 2]}, "do not fit"),
        (
            "AveragePool",
            {"kernel_shape": [9, 2], "dilations": [1 << 20, 1], "pads": [1 << 23, 0] * 2},
            "more memory",
        ),
    ],
)
def test_others_are_refused(op, attrs, said, tmp_path):
    (tmp_path / "m.onnx").write_bytes(model([(op, "x", "y", attrs)], {}, SHAPE).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "m.onnx")
