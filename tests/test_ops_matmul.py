"""Products with constant matrices as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

RANDOM = np.random.default_rng(14)


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 2, 5, 7), (2, 3, 2, 5, 7), (4, 7)])
def test_matrices_on_the_right(shape, tmp_path):
    for leading in ((), (1,) * (len(shape) - 2)):
        matrix = RANDOM.standard_normal((*leading, 7, 6)).astype(np.float32)
        nodes = [("MatMul", "x,w", "y", {})]
        agree(model(nodes, {"w": matrix}, shape), tmp_path, shape)


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 2, 5, 7), (2, 3, 2, 5, 7)])
def test_matrices_on_the_left(shape, tmp_path):
    matrix = RANDOM.standard_normal((6, 5)).astype(np.float32)
    agree(model([("MatMul", "w,x", "y", {})], {"w": matrix}, shape), tmp_path, shape)


@pytest.mark.parametrize(
    ("order", "matrix", "said"),
    [
        ("x,w", (6, 6), "does not fit"),
        ("w,x", (5, 6), "does not fit"),
        ("x,w", (2, 7, 6), r"only \[N, C\] times a matrix"),
        ("x,w", (7,), r"only \[N, C\] times a matrix"),
    ],
)
def test_what_does_not_fit_is_refused(order, matrix, said, tmp_path):
    nodes = [("MatMul", order, "y", {})]
    proto = model(nodes, {"w": np.ones(matrix, np.float32)}, (1, 5, 7))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "m.onnx")
