"""Sums of products, of values and constants, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("bchw->bhwc", (2, 3, 4, 5)),
        ("bchw->bc", (2, 3, 4, 5)),
        ("bchw->bwc", (2, 3, 4, 5)),
        ("...ij->...ji", (2, 3, 4, 5)),
        ("ij->ji", (3, 4)),
    ],
)
def test_one_value(equation, shape, tmp_path):
    agree(model([("Einsum", "x", "y", {"equation": equation})], {}, shape), tmp_path, shape)


@pytest.mark.parametrize(
    ("equation", "shape", "constant"),
    [
        ("bij,jk->bik", (2, 4, 5), (5, 3)),
        ("bij , kj -> bki", (2, 4, 5), (3, 5)),
        ("bchw,kc->bkhw", (2, 3, 4, 5), (6, 3)),
        ("bhid,hdk->bhik", (2, 3, 4, 5), (3, 5, 2)),
        ("bhid,hkd->bihk", (2, 3, 4, 5), (3, 2, 5)),
        ("bij,ij->b", (2, 4, 5), (4, 5)),
        ("...c,cd", (2, 4, 5), (5, 3)),
        ("bnd,d->bn", (2, 4, 5), (5,)),
    ],
)
def test_value_and_constant(equation, shape, constant, tmp_path):
    nodes = [("Einsum", "x,m", "y", {"equation": equation})]
    agree(model(nodes, {"m": random(*constant)}, shape), tmp_path, shape)
    first, then = equation.replace(" ", "").split("->")[0].split(",")
    turned = equation.replace(" ", "").replace(f"{first},{then}", f"{then},{first}")
    if "->" in turned:
        nodes = [("Einsum", "m,x", "y", {"equation": turned})]
        agree(model(nodes, {"m": random(*constant)}, shape), tmp_path, shape)


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("bhid,bhjd->bhij", (2, 3, 4, 5)),
        ("bhid,bhjd->bihj", (2, 3, 17, 5)),
        ("bij,bkj->bki", (2, 4, 5)),
        ("bij,bij->bi", (2, 4, 5)),
        ("bij,bij->bij", (2, 4, 5)),
        ("ij,kj->ik", (4, 5)),
    ],
)
def test_two_values(equation, shape, tmp_path):
    nodes = [("Sigmoid", "x", "s", {}), ("Einsum", "x,s", "y", {"equation": equation})]
    agree(model(nodes, {}, shape), tmp_path, shape, bound=2e-5)


@pytest.mark.parametrize(
    ("shape", "perm"),
    [((2, 4, 5), (0, 2, 1)), ((2, 3, 4, 5), (0, 1, 3, 2)), ((2, 2, 3, 4, 5), (0, 1, 2, 4, 3))],
)
def test_matrices_that_are_both_computed(shape, perm, tmp_path):
    nodes = [
        ("Sigmoid", "x", "s", {}),
        ("Transpose", "s", "t", {"perm": perm}),
        ("MatMul", "x,t", "a", {}),
        ("Softmax", "a", "p", {}),
        ("MatMul", "p,x", "y", {}),
    ]
    agree(model(nodes, {}, shape), tmp_path, shape, bound=2e-5)


@pytest.mark.parametrize(
    ("equation", "shape", "said"),
    [
        ("bii->bi", (2, 4, 4), "a diagonal"),
        ("bij,bjk->bik", (2, 4, 5), "axes 'j' are"),
        ("bij,bkj->ik", (2, 4, 5), "the batch"),
        ("bij->bk", (2, 4, 5), "a result that no input has"),
        ("bij.->b", (2, 4, 5), "is not one"),
        ("bi->b", (2, 4, 5), "does not fit an input of 3 axes"),
    ],
)
def test_what_is_refused(equation, shape, said, tmp_path):
    names = "x,x" if "," in equation else "x"
    proto = model([("Einsum", names, "y", {"equation": equation})], {}, ("N", *shape[1:]))
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)
