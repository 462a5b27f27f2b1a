"""Products with constant matrices as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet


def matrix(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def product(first, shape, factor, op="MatMul", **attrs):
    names = "x,m" if first else "m,x"
    return model([(op, names, "y", attrs)], {"m": matrix(*factor)}, shape)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((3, 5), (5, 7)),
        ((2, 4, 5), (5, 3)),
        ((2, 1, 5), (5, 1)),
        ((2, 3, 4, 5), (5, 6)),
        ((2, 3, 4, 5), (1, 1, 5, 6)),
        ((2, 3, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (1, 3, 5, 1)),
        ((2, 2, 3, 4, 5), (5, 6)),
        ((2, 2, 3, 4, 5), (2, 3, 5, 6)),
        ((2, 4, 5), (5,)),
        ((2, 3, 4, 5), (5,)),
    ],
)
def test_value_times_matrix(shape, factor, tmp_path):
    agree(product(True, shape, factor), tmp_path, shape)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((2, 4, 5), (3, 4)),
        ((2, 4, 1), (1, 4)),
        ((2, 3, 4, 5), (6, 4)),
        ((2, 3, 4, 5), (1, 6, 4)),
        ((2, 3, 4, 5), (3, 6, 4)),
        ((2, 2, 3, 4, 5), (6, 4)),
        ((2, 2, 3, 4, 5), (1, 2, 3, 6, 4)),
        ((2, 4, 5), (4,)),
        ((2, 3, 4, 5), (4,)),
        ((3, 5), (4, 3)),  # no batch
        ((2, 3, 5), (2, 4, 3)),
    ],
)
def test_matrix_times_value(shape, factor, tmp_path):
    agree(product(False, shape, factor), tmp_path, shape)


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (product(True, (2, 3, 4, 5), (2, 1, 5, 6)), "is not supported"),
        (product(True, (2, 3, 4, 5), (4, 6)), "is not supported"),
        (product(True, (2, 4, 5), (3, 5, 6)), "is not supported"),
        (product(False, (3, 5), (4, 3), "Gemm"), "the batch"),
    ],
)
def test_what_does_not_fit_is_refused(proto, said, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)


def test_computed_times_computed_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    nodes = [("Relu", "x", "a", {}), ("MatMul", "a,x", "y", {})]
    path.write_bytes(model(nodes, {}, (1, 4, 5)).SerializeToString())
    with pytest.raises(ValueError, match="do not fit each other"):
        linnet.load(path)
