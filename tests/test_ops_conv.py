"""Convolutions of one dimension and transposed ones as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

F4 = np.float32
RANDOM = np.random.default_rng(7)
SHAPE = (2, 6, 5, 7)


def transposed(weight, attrs, bias=True):
    constants = {"w": RANDOM.standard_normal(weight).astype(F4)}
    group = attrs.get("group", 1)
    if bias:
        constants["b"] = RANDOM.standard_normal(weight[1] * group).astype(F4)
    nodes = [
        ("ConvTranspose", "x,w,b" if bias else "x,w", "c", attrs),
        ("Relu", "c", "y", {}),
    ]
    return model(nodes, constants, SHAPE)


@pytest.mark.parametrize(
    ("weight", "attrs"),
    [
        ((6, 8, 2, 2), {"strides": [2, 2]}),
        ((6, 8, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((6, 9, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((6, 4, 3, 3), {}),
        ((6, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((6, 4, 3, 2), {"pads": [2, 0, 1, 1]}),
        ((6, 5, 3, 5), {"strides": [3, 1], "pads": [0, 2, 1, 1]}),
        ((6, 2, 3, 3), {"group": 3, "strides": [2, 3]}),
        ((6, 1, 4, 4), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((6, 3, 3, 3), {"dilations": [2, 3], "strides": [2, 1]}),
        ((6, 3, 2, 2), {"strides": [3, 3]}),
        ((6, 3, 3, 3), {"strides": [2, 2], "output_shape": [10, 14]}),
        ((6, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((6, 3, 5, 5), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((6, 3, 4, 4), {"strides": [2, 2], "auto_pad": "VALID"}),
        ((6, 3, 2, 2), {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
        ((6, 3, 2, 3), {"strides": [4, 4], "output_padding": [3, 2]}),
    ],
)
def test_transposed_convolutions(weight, attrs, tmp_path):
    agree(transposed(weight, attrs), tmp_path, SHAPE)
    agree(transposed(weight, attrs, bias=False), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("weight", "attrs", "said"),
    [
        ((5, 3, 3, 3), {}, "does not fit"),
        ((6, 3, 3, 3), {"group": 4}, "does not fit"),
        ((6, 3, 3, 3), {"kernel_shape": [2, 3]}, "kernel_shape"),
        ((6, 3, 3, 3), {"strides": [0, 1]}, "do not fit"),
        ((6, 3, 3, 3), {"pads": [9, 9, 9, 9]}, "do not fit"),
        ((6, 3, 3), {}, "2-D"),
    ],
)
def test_what_does_not_fit_is_refused(weight, attrs, said, tmp_path):
    proto = transposed(weight, attrs, bias=False)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "model.onnx")


VOLUME = (2, 4, 5, 7, 6)


def deep(weight, attrs, shape=VOLUME, bias=True):
    constants = {"w": RANDOM.standard_normal(weight).astype(F4)}
    if bias:
        constants["b"] = RANDOM.standard_normal(weight[0]).astype(F4)
    nodes = [("Conv", "x,w,b" if bias else "x,w", "c", attrs), ("Relu", "c", "y", {})]
    return model(nodes, constants, shape)


@pytest.mark.parametrize(
    ("weight", "attrs"),
    [
        ((3, 4, 1, 1, 1), {}),
        ((3, 4, 3, 3, 3), {}),
        ((3, 4, 3, 3, 3), {"pads": [1] * 6}),
        ((3, 4, 2, 3, 2), {"pads": [1, 0, 1, 0, 2, 0]}),
        ((3, 4, 3, 3, 3), {"pads": [1] * 6, "strides": [2, 2, 2]}),
        ((3, 4, 3, 2, 1), {"strides": [1, 3, 2]}),
        ((3, 4, 1, 2, 2), {"strides": [2, 3, 1]}),
        ((3, 4, 2, 3, 2), {"dilations": [3, 2, 2], "pads": [0, 1, 1, 1, 2, 0]}),
        ((6, 2, 3, 3, 3), {"group": 2, "pads": [1] * 6}),
        ((4, 1, 3, 3, 3), {"group": 4, "strides": [1, 2, 2], "pads": [1] * 6}),
        ((3, 4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2, 2]}),
    ],
)
def test_volumes(weight, attrs, tmp_path):
    agree(deep(weight, attrs), tmp_path, VOLUME)
    agree(deep(weight, attrs, bias=False), tmp_path, VOLUME)


def test_a_network_of_volumes(tmp_path):
    constants = {
        "w": RANDOM.standard_normal((6, 3, 3, 3, 3)).astype(F4) / 9,
        **{name: RANDOM.uniform(0.5, 1, 6).astype(F4) for name in "smv"},
        "b": RANDOM.standard_normal(6).astype(F4),
        "f": RANDOM.standard_normal((5, 6)).astype(F4),
    }
    nodes = [
        ("Conv", "x,w", "c", {"pads": [1] * 6}),
        ("BatchNormalization", "c,s,b,m,v", "n", {}),
        ("Relu", "n", "r", {}),
        ("MaxPool", "r", "p", {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
        ("GlobalAveragePool", "p", "g", {}),
        ("Flatten", "g", "t", {}),
        ("Gemm", "t,f", "y", {"transB": 1}),
    ]
    agree(model(nodes, constants, (2, 3, 8, 10, 12)), tmp_path, (2, 3, 8, 10, 12))


@pytest.mark.parametrize(
    ("weight", "attrs", "said"),
    [
        ((3, 5, 3, 3, 3), {}, "does not fit"),
        ((3, 4, 3, 3, 3), {"group": 2}, "does not fit"),
        ((3, 4, 3, 3, 3), {"strides": [1, 1]}, "three dimensions"),
        ((3, 4, 3, 3, 3), {"strides": [0, 1, 1]}, "fit"),
        ((3, 4, 3, 3, 3), {"pads": [1 << 40] * 6}, "fit"),
        ((3, 4, 3, 3, 3), {"pads": [1 << 19] * 6}, "too large"),
        ((3, 4, 6, 3, 3), {}, "kernel 6"),
        ((3, 4, 2, 2, 2, 2), {}, "3-D"),
    ],
)
def test_volumes_that_do_not_fit(weight, attrs, said, tmp_path):
    (tmp_path / "m.onnx").write_bytes(deep(weight, attrs, bias=False).SerializeToString())
    with pytest.raises(ValueError, match=rf"m\.onnx[^$]*{said}"):
        linnet.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"strides": [2], "pads": [1, 2]},
        {"dilations": [3], "group": 2, "kernel_shape": [3]},
        {"auto_pad": "SAME_UPPER", "strides": [2]},
    ],
)
def test_one_dimension(op, attrs, tmp_path):
    shape, group = (2, 6, 19), attrs.get("group", 1)
    weight = (8, 6 // group, 3) if op == "Conv" else (6, 8 // group, 3)
    constants = {"w": RANDOM.standard_normal(weight).astype(F4), "b": np.arange(8, dtype=F4)}
    nodes = [(op, "x,w,b", "c", attrs), ("Relu", "c", "y", {})]
    agree(model(nodes, constants, shape), tmp_path, shape)


def test_one_dimension_of_open_size(tmp_path):
    nodes = [
        ("Conv", "x,w", "c", {"pads": [1, 1]}),
        ("MaxPool", "c", "y", {"kernel_shape": [2], "strides": [2]}),
    ]
    proto = model(nodes, {"w": np.ones((4, 3, 3), F4)}, ("N", 3, "L"))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    net = linnet.load(tmp_path / "m.onnx")
    for size in (6, 11):
        np.testing.assert_array_equal(net(np.ones((2, 3, size), F4))[:, :, 1:-1], 9)


@pytest.mark.parametrize(
    ("weight", "attrs", "said"),
    [
        ((4, 3, 1, 1), {}, "weight does not fit"),
        ((4, 3, 3), {"pads": [1, 1, 1, 1]}, "one dimension"),
        ((4, 3, 3), {"kernel_shape": [4]}, "kernel_shape"),
    ],
)
def test_what_does_not_fit_one_dimension_is_refused(weight, attrs, said, tmp_path):
    proto = model([("Conv", "x,w", "y", attrs)], {"w": np.ones(weight, F4)}, (1, 3, 9))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "m.onnx")
