"""Transposed convolutions as files say them, against ONNX Runtime."""

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
