"""Reductions as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet
from linnet.ops.reduce import REDUCTIONS

SHAPE = (2, 3, 8, 10)
WEIGHT = np.random.default_rng(8).standard_normal((6, 3, 1, 1)).astype(np.float32)


def reduction(name, axes, opset=18, **attrs):
    nodes = [("Conv", "x,w", "c", {}), (f"Reduce{name}", "c,a" if opset >= 18 else "c", "y", attrs)]
    constants = {"w": WEIGHT, "a": np.array(axes, np.int64)}
    if opset < 18 and not (name == "Sum" and opset >= 13):
        del constants["a"]
        nodes[1] = (f"Reduce{name}", "c", "y", {"axes": axes, **attrs})
    elif opset < 18:
        nodes[1] = (f"Reduce{name}", "c,a", "y", attrs)
    return model(nodes, constants, SHAPE, opset=opset)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [[1], [2], [-1], [1, 3], [2, 3], [1, 2, 3]])
def test_every_function_over_any_axes(name, axes, tmp_path):
    agree(reduction(name, axes), tmp_path, SHAPE, bound=2e-5)
    if len(axes) < 3:
        agree(reduction(name, axes, keepdims=0), tmp_path, SHAPE, bound=2e-5)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_axes_written_as_attributes(name, tmp_path):
    agree(reduction(name, [1, -2], opset=13), tmp_path, SHAPE, bound=2e-5)
    agree(reduction(name, [3], opset=11), tmp_path, SHAPE, bound=2e-5)


@pytest.mark.parametrize("axes", [[1, 3, 5], [2, 4], [1, 2], [5], [1, 3, 4]])
def test_more_axes_than_an_image_has(axes, tmp_path):
    nodes = [("Reshape", "x,n", "r", {}), ("ReduceSum", "r,a", "y", {})]
    constants = {"n": np.array([0, 3, 2, 4, 5, 2], np.int64), "a": np.array(axes, np.int64)}
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("attrs", [{}, {"keepdims": 0}, {"select_last_index": 1}])
@pytest.mark.parametrize("six", [False, True])
def test_places(name, axis, attrs, six, tmp_path):
    nodes = [
        ("Floor", "x", "f", {}),  # many are equal
        ("Reshape", "f,n", "r", {}),
        (name, "r" if six else "f", "a", {"axis": axis, **attrs}),
        ("Cast", "a", "y", {"to": 1}),
    ]
    constants = {"n": np.array([0, 3, 2, 4, 5, 2], np.int64)} if six else {}
    agree(model(nodes[:1] + nodes[2 - six :], constants, SHAPE), tmp_path, SHAPE)


def test_places_of_what_is_no_number():
    x = np.float32([[[1, np.nan, 3, np.nan], [np.inf, 2, np.inf, -np.inf]]])
    nodes = [
        ("ArgMax", "x", "y", {"axis": 2}),
        ("ArgMin", "x", "z", {"axis": 2, "select_last_index": 1}),
    ]
    proto = model(nodes, {}, x.shape, outputs=("y", "z"))
    for output in proto.graph.output:
        output.type.tensor_type.elem_type = 7
    y, z = linnet.load(proto.SerializeToString()).run(x)
    assert y.dtype == np.int64
    assert (y.tolist(), z.tolist()) == ([[[1], [0]]], [[[3], [3]]])


@pytest.mark.parametrize(("axes", "said"), [([4], "axis 4"), ([0, -5], "axis -5")])
def test_what_does_not_fit_is_refused(axes, said, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(reduction("Sum", axes).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)


@pytest.mark.parametrize(
    "attrs", [{}, {"exclusive": 1}, {"reverse": 1}, {"reverse": 1, "exclusive": 1}]
)
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 5), 1), ((2, 3, 4), 1), ((2, 3, 4, 5), -1), ((4, 3), 0)]
)
def test_sums_so_far(shape, axis, attrs, tmp_path):
    nodes = [("CumSum", "x,axis", "y", attrs)]
    agree(model(nodes, {"axis": np.int64(axis)}, shape), tmp_path, shape)
