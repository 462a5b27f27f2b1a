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


COMPUTED = {
    "each image's": ((2, 3, 4, 5), [("Transpose", "x", "z", {"perm": [0, 1, 3, 2]})]),
    "one for all": (
        (2, 3, 4, 5),
        [("ReduceMean", "x,first", "m", {}), ("Transpose", "m", "z", {"perm": [0, 1, 3, 2]})],
    ),
    "broadcast": (
        (2, 3, 4, 5),
        [("Reshape", "x,deep", "d", {}), ("Transpose", "d", "z", {"perm": [0, 1, 2, 4, 3]})],
    ),
    "of three axes": ((2, 4, 5), [("Transpose", "x", "z", {"perm": [0, 2, 1]})]),
    "without a batch": ((4, 5), [("Transpose", "x", "z", {"perm": [1, 0]})]),
    "more axes": (
        (3, 4),
        [("Reshape", "x,matrices", "d", {}), ("Transpose", "d", "z", {"perm": [0, 2, 1]})],
    ),
    "vector": ((4, 5), [("ReduceMean", "x,batch", "z", {"keepdims": 0})]),
}
CONSTANTS = {
    "first": np.array([1]),
    "batch": np.array([0]),
    "deep": np.array([2, 1, 3, 4, 5]),
    "matrices": np.array([1, 3, 4]),
}


@pytest.mark.parametrize("case", COMPUTED)
def test_computed_times_computed(case, tmp_path):
    shape, nodes = COMPUTED[case]
    wanted = {name for _, names, _, _ in nodes for name in names.split(",")}
    constants = {name: CONSTANTS[name] for name in CONSTANTS.keys() & wanted}
    x = "d" if case == "broadcast" else "x"
    agree(model([*nodes, ("MatMul", f"{x},z", "y", {})], constants, shape), tmp_path, shape)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", ["", ",c"])
def test_computed_gemm(turned, bias, tmp_path):
    nodes = [
        ("Relu" if turned else "Transpose", "x", "z", {} if turned else {"perm": [1, 0]}),
        ("Gemm", f"x,z{bias}", "y", {"transB": turned, "alpha": 0.5, "beta": 2.0}),
    ]
    constants = {"c": matrix(4, 4)} if bias else {}
    agree(model(nodes, constants, (4, 5)), tmp_path, (4, 5))


def test_free_batch_of_computed_products(tmp_path):
    path = tmp_path / "model.onnx"
    nodes = [("Transpose", "x", "z", {"perm": [0, 2, 1]}), ("MatMul", "x,z", "y", {})]
    path.write_bytes(model(nodes, {}, ("n", 4, 70)).SerializeToString())
    net = linnet.load(path)
    for batch in (1, 3):
        x = matrix(batch, 4, 70)
        np.testing.assert_allclose(net(x), x @ np.swapaxes(x, 1, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Relu", "x", "z", {}), ("MatMul", "x,z", "y", {})], "do not fit each other"),
        ([("Flatten", "x", "z", {}), ("MatMul", "x,z", "y", {})], "only matrices of each image"),
        ([("Flatten", "x", "z", {}), ("Gemm", "z,z", "y", {})], "without a batch"),
    ],
)
def test_computed_products_that_do_not_fit(nodes, said, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model(nodes, {}, ("n", 3, 5)).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)
