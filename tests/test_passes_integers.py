"""8-bit integers that stand for reals: what moves them, and weights of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret, passes
from linnet.graph import Array, Graph, Node, Value

RANDOM = np.random.default_rng(5)
CONSTANTS = {
    "s": np.array(0.05, np.float32),
    "z": np.array(3, np.uint8),
    "t": np.array(0.03, np.float32),
    "e": np.array(0, np.uint8),
    "w": RANDOM.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8),
    "ws": np.linspace(0.002, 0.01, 6, dtype=np.float32),
    "wz": np.zeros(6, np.int8),
    "square": np.array([-1, 4, 2, 18], np.int64),
    "flat": np.array([-1, 144], np.int64),
    "from": np.array([1], np.int64),
    "to": np.array([3], np.int64),
    "axis": np.array([2], np.int64),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "ten": np.array(10, np.float32),
}
Step = tuple[str, str, str, dict[str, Any]]
FIRST: Step = ("DequantizeLinear", "x,s,z", "r", {})
LAST: Step = ("QuantizeLinear", "m,s,z", "y", {})
PADDED = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def graph(*steps: Step, outputs: str = "y", dtype: Any = np.uint8, **more: Array) -> Graph:
    nodes = [
        Node(op, y.partition(",")[0], x.split(","), y.split(","), dict(attrs))
        for op, x, y, attrs in steps
    ]
    inputs = [Value("x", (1, 4, 6, 6), np.dtype(dtype))]
    return Graph("net", nodes, {**CONSTANTS, **more}, inputs, outputs.split(","))


def canonical(net: Graph, dtype: Any = np.uint8) -> tuple[Graph, Counter[str]]:
    """The canonical form, which computes the same, and how often each operator is there."""
    x = RANDOM.integers(0, 256, (1, 4, 6, 6)).astype(dtype)
    form = passes.canonicalize(net)
    assert form.outputs == net.outputs
    expected, found = interpret.run(net, {"x": x}), interpret.run(form, {"x": x})
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-4)
    again = passes.canonicalize(form)
    assert [node.op for node in again.nodes] == [node.op for node in form.nodes]
    return form, Counter(node.op for node in form.nodes)


def produced_by(form: Graph, name: str) -> Node:
    return next(node for node in form.nodes if name in node.outputs)


def weights(form: Graph, layer: str = "Conv") -> Array | None:
    """The integers of the only layer of a kind, None where it has floats."""
    (node,) = (node for node in form.nodes if node.op == layer)
    if node.inputs[1] in form.initializers:
        return None
    made = produced_by(form, node.inputs[1])
    assert made.op == "DequantizeLinear" and made.attrs == {"axis": 0}
    return form.initializers[made.inputs[0]]


@pytest.mark.parametrize(
    "move",
    [
        ("Reshape", "r,square", "m", {}),
        ("Flatten", "r", "m", {}),
        ("Transpose", "r", "m", {"perm": [0, 2, 1, 3]}),
        ("Slice", "r,from,to,axis", "m", {}),
        ("Split", "r", "m,m2", {"axis": 3, "num_outputs": 2}),
        ("Concat", "r,r", "m", {"axis": 2}),
        ("MaxPool", "r", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalMaxPool", "r", "m", {}),
        ("Unsqueeze", "r,axis", "m", {}),
        ("DepthToSpace", "r", "m", {"blocksize": 2}),
        ("Gather", "r,from", "m", {"axis": 1}),
    ],
    ids=lambda step: step[0],
)
def test_moves_between_equal_scales_move_integers(move: Step):
    _, ops = canonical(graph(FIRST, move, LAST))
    assert not {"QuantizeLinear", "DequantizeLinear"} & ops.keys()


def test_reals_of_what_was_moved():
    """A DequantizeLinear sinks behind moves, too, where reals are read in the end."""
    move: Step = ("Reshape", "r,square", "m", {})
    form, _ = canonical(graph(FIRST, move, ("Softmax", "m", "y", {"axis": 1})))
    assert [node.op for node in form.nodes] == ["Reshape", "DequantizeLinear", "Softmax"]
    form, _ = canonical(graph(FIRST, move, LAST, outputs="m,y"))
    assert [node.op for node in form.nodes] == ["Reshape", "DequantizeLinear"]


def test_integers_are_made_before_moves():
    """A QuantizeLinear rises up to the layer that makes its numbers, once for all parts."""
    layer = ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0}), ("Conv", "r,k", "c", PADDED)
    steps: list[Step] = [FIRST, *layer, ("Reshape", "c,flat2", "m", {}), LAST]
    form, ops = canonical(graph(*steps, flat2=np.array([-1, 216], np.int64)))
    assert ops["QuantizeLinear"] == 1
    assert form.nodes[-1].op in ("Flatten", "Reshape") and form.nodes[-1].outputs == ["y"]
    parts: list[Step] = [
        ("Split", "c", "m,n", {"axis": 1, "num_outputs": 2}),
        LAST,
        ("QuantizeLinear", "n,s,z", "y2", {}),
    ]
    form, ops = canonical(graph(FIRST, *layer, *parts, outputs="y,y2"))
    assert ops["QuantizeLinear"] == 1 and ops["Slice"] == 2


def test_other_scales_are_rounded_to():
    _, ops = canonical(graph(FIRST, ("QuantizeLinear", "r,t,e", "y", {})))
    assert ops == {"DequantizeLinear": 1, "QuantizeLinear": 1}
    pool: Step = ("MaxPool", "r", "m", {"kernel_shape": [2, 2]})
    _, ops = canonical(graph(FIRST, pool, ("QuantizeLinear", "m,t,e", "y", {})))
    assert ops == {"MaxPool": 1, "DequantizeLinear": 1, "QuantizeLinear": 1}


def test_parts_of_a_concatenation_have_scales_of_their_own():
    steps: list[Step] = [
        FIRST,
        ("Relu", "r", "a", {}),
        ("QuantizeLinear", "a,t,e", "q", {}),
        ("DequantizeLinear", "q,t,e", "b", {}),
        ("Concat", "r,b", "m", {"axis": 1}),
        LAST,
    ]
    form, ops = canonical(graph(*steps))
    assert form.nodes[-1].op == "Concat" and form.nodes[-1].outputs == ["y"]
    assert form.nodes[-1].inputs[0] == "x"  # what has the scale already
    assert ops == {"DequantizeLinear": 2, "Relu": 1, "QuantizeLinear": 2, "Concat": 1}


def test_equal_pairs_go_but_outputs_stay():
    form, _ = canonical(graph(FIRST, ("QuantizeLinear", "r,s,z", "y", {})))
    assert [node.op for node in form.nodes] == ["DequantizeLinear", "QuantizeLinear"]
    more: list[Step] = [("DequantizeLinear", "q,s,z", "r2", {}), ("Relu", "r2", "y", {})]
    form, _ = canonical(graph(FIRST, ("QuantizeLinear", "r,s,z", "q", {}), *more))
    assert [node.op for node in form.nodes] == ["DequantizeLinear", "Relu"]
    assert form.aliases["q"] == "x"


def test_many_moves():
    """One after the other, of which there may be more than Python has room for calls."""
    names = ["a", *(f"m{i}" for i in range(1200)), "m"]
    turns: list[Step] = [
        ("MaxPool", a, b, {"kernel_shape": [1, 1]}) for a, b in zip(names, names[1:])
    ]
    form = passes.canonicalize(graph(FIRST, ("Relu", "r", "a", {}), *turns, LAST))
    assert Counter(node.op for node in form.nodes)["QuantizeLinear"] == 1


@pytest.mark.parametrize("last", ["Transpose", "Softmax"])
def test_more_axes_than_an_image_has(last: str):
    """A DequantizeLinear is of 4 axes at most; what has more is made before or behind."""
    wide = np.array([-1, 2, 2, 3, 2, 6], np.int64)
    order = {"perm": [0, 2, 1, 3, 5, 4]} if last == "Transpose" else {"axis": 1}
    steps: list[Step] = [("Reshape", "r,wide", "m", {}), (last, "m", "y", order)]
    _, ops = canonical(graph(FIRST, *steps, wide=wide))
    assert ops["DequantizeLinear"] == 1
    back: Step = ("Reshape", "y,square", "y2", {})
    _, ops = canonical(graph(FIRST, *steps, back, outputs="y2,y", wide=wide))
    assert ops["DequantizeLinear"] == (2 if last == "Transpose" else 1)
    rise: list[Step] = [("Relu", "r", "a", {}), ("Reshape", "a,wide", "m", {}), LAST]
    form, _ = canonical(graph(FIRST, *rise, wide=wide))
    assert form.nodes[-1].op == "Reshape"


def test_open_sizes():
    kernel: Step = ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0})
    steps: list[Step] = [FIRST, kernel, ("Conv", "r,k", "c", PADDED)]
    steps += [("MaxPool", "c", "m", {"kernel_shape": [2, 2]}), LAST]
    net = graph(*steps)
    net.inputs = [Value("x", (0, 4, 0, 0), np.dtype(np.uint8))]
    form = passes.canonicalize(net)
    assert [node.op for node in form.nodes][-2:] == ["QuantizeLinear", "MaxPool"]
    x = RANDOM.integers(0, 256, (2, 4, 7, 9)).astype(np.uint8)
    expected = interpret.run(net, {"x": x})["y"]
    np.testing.assert_array_equal(interpret.run(form, {"x": x})["y"], expected)
    gap = np.abs(linnet.load(net)(x).astype(int) - expected)
    assert gap.max() <= 1 and gap.mean() < 0.01


# Weights


def with_weights(w: Array, scale: Array, zero: Array, axis: int = 0, **layer: Any) -> Graph:
    op = layer.pop("op", "Conv")
    before: list[Step] = [("Reshape", "r,flat", "f", {})] if op == "Gemm" else []
    x = "f" if before else "r"
    steps: list[Step] = [("DequantizeLinear", "w,ws,wz", "k", {"axis": axis})]
    steps += [(op, f"{x},k", "m", layer), LAST]
    return graph(FIRST, *before, *steps, w=w, ws=scale, wz=zero)


def test_weights_stay_integers():
    w, scale = CONSTANTS["w"], CONSTANTS["ws"]
    form, ops = canonical(with_weights(w, scale, CONSTANTS["wz"], **PADDED))
    assert ops == {"DequantizeLinear": 2, "Conv": 1, "QuantizeLinear": 1}
    found = weights(form)
    assert found is not None
    np.testing.assert_array_equal(found, w)
    one = np.array(0.01, np.float32), np.array(0, np.int8)
    form, _ = canonical(with_weights(w, *one))
    assert form.initializers[produced_by(form, form.nodes[-2].inputs[1]).inputs[1]].shape == ()


@pytest.mark.parametrize("turned", [0, 1])
def test_weights_of_a_fully_connected_layer_turn(turned: int):
    w = RANDOM.integers(-127, 128, (144, 6)).astype(np.int8)
    w = w.T.copy() if turned else w
    axis = 0 if turned else 1
    net = with_weights(w, CONSTANTS["ws"], CONSTANTS["wz"], axis, op="Gemm", transB=turned)
    found = weights(canonical(net)[0], "Gemm")
    assert found is not None
    np.testing.assert_array_equal(found, w if turned else w.T)


def test_weights_without_a_sign():
    signed = CONSTANTS["w"]
    middle = (np.array(0.01, np.float32), np.array(128, np.uint8))
    found = weights(
        canonical(with_weights((signed.astype(int) + 128).astype(np.uint8), *middle))[0]
    )
    assert found is not None
    np.testing.assert_array_equal(found, signed)
    whole = np.arange(216).reshape(6, 4, 3, 3).astype(np.uint8)
    off = (np.array(0.01, np.float32), np.array(80, np.uint8))
    found = weights(canonical(with_weights(whole, *off))[0])  # up to 135
    assert found is not None
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, whole)


def test_scales_along_other_axes_make_floats():
    scale = np.linspace(0.01, 0.02, 4, dtype=np.float32)
    net = with_weights(CONSTANTS["w"], scale, np.zeros(4, np.int8), axis=1)
    assert weights(canonical(net)[0]) is None


def test_layers_of_reals_have_floats():
    kernel: Step = ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0})
    net = graph(kernel, ("Conv", "x,k", "y", {}), dtype=np.float32)
    assert weights(canonical(net, np.float32)[0]) is None
    both = graph(FIRST, ("Relu", "r", "a", {}), kernel, ("Conv", "a,k", "m", {}), LAST)
    assert weights(canonical(both)[0]) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_factors_behind_a_layer_are_in_its_scale(sign: int):
    steps: list[Step] = [
        FIRST,
        ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0}),
        ("Conv", "r,k", "c", {}),
        ("Mul", "c,factors", "d", {}),
        ("Add", "d,terms", "m", {}),
        LAST,
    ]
    factors = np.linspace(0.5, sign * 2, 6, dtype=np.float32).reshape(6, 1, 1)
    form, ops = canonical(graph(*steps, factors=factors, terms=factors + 1))
    if sign > 0:
        assert ops == {"DequantizeLinear": 2, "Conv": 1, "QuantizeLinear": 1}
        assert weights(form) is not None
    else:
        assert ops["Conv"] == 2


@pytest.mark.parametrize(("factor", "left"), [(0.25, None), (-0.25, "Conv"), (1e-38, "Mul")])
def test_a_factor_of_integers_is_in_their_scale(factor: float, left: str | None):
    """Or that of the integer it becomes, which has a sign."""
    steps: list[Step] = [
        FIRST,
        ("Mul", "r,six", "a", {}),
        ("Mul", "a,factor", "m", {}),
        ("QuantizeLinear", "m,t,e", "y", {}),
    ]
    _, ops = canonical(graph(*steps, factor=np.array(factor, np.float32)))
    assert set(ops) - {"QuantizeLinear", "DequantizeLinear"} == {left} - {None}


# Zeros around images


def padded(*steps: Step, zero: int = 3) -> Graph:
    between: list[Step] = [
        ("Pad", "r,pads", "p", {}),
        ("QuantizeLinear", "p,s,z", "q", {}),
        ("DequantizeLinear", "q,s,z", "r2", {}),
    ]
    return graph(FIRST, *between, *steps, LAST, z=np.array(zero, np.uint8))


def test_zeros_are_padding_of_layers():
    kernel: Step = ("DequantizeLinear", "w,ws,wz", "k", {"axis": 0})
    form, ops = canonical(padded(kernel, ("Conv", "r2,k", "m", PADDED)))
    assert ops == {"DequantizeLinear": 2, "Conv": 1, "QuantizeLinear": 1}
    assert form.nodes[-2].attrs["pads"] == [2, 3, 1, 2]


@pytest.mark.parametrize("zero", [0, 3])
def test_zeros_are_padding_of_pools_where_nothing_is_less(zero: int):
    pool = {"kernel_shape": [4, 4], "strides": [2, 2]}
    form, ops = canonical(padded(("MaxPool", "r2", "m", pool), zero=zero))
    if zero == 0:
        assert ops == {"MaxPool": 1}
    else:
        assert ops == {"DequantizeLinear": 2, "Conv": 1, "QuantizeLinear": 1, "MaxPool": 1}
        found = weights(form)
        assert found is not None and found.dtype == np.int8 and (found == 1).all()


# Limits


@pytest.mark.parametrize(
    ("limits", "scale", "goes"),
    [
        ("zero,six", np.float32(6 / 255), True),
        ("zero,ten", np.float32(6 / 255), True),
        ("zero,six", np.float32(0.03), False),
        ("six,ten", np.float32(6 / 255), False),
    ],
)
def test_limits_that_integers_have_go(limits: str, scale: np.float32, goes: bool):
    steps: list[Step] = [
        ("Conv", "x,k", "c", {}),
        ("Clip", f"c,{limits}", "m", {}),
        ("QuantizeLinear", "m,t,e", "y", {}),
    ]
    kernel = RANDOM.random((2, 4, 1, 1), np.float32) / 128
    net = graph(*steps, dtype=np.float32, k=kernel, t=np.array(scale))
    form, ops = canonical(net, np.float32)
    assert ops["Clip"] == (not goes)
    assert "m" not in form.aliases  # which has other numbers
    net.outputs.append("m")
    assert canonical(net, np.float32)[1]["Clip"] == 1


def test_limits_beyond_those_of_integers_change_nothing():
    steps: Sequence[Step] = [FIRST, ("Clip", "r,low,high", "m", {}), ("Softmax", "m", "y", {})]
    far = {"low": np.array(-0.15, np.float32), "high": np.array(12.6, np.float32)}
    form, ops = canonical(graph(*steps, **far))
    assert ops["Clip"] == 0 and form.aliases["m"] == "r"
    near = {**far, "high": np.array(12.5, np.float32)}
    assert canonical(graph(*steps, **near))[1]["Clip"] == 1


def test_nearest_pixels_are_picked_of_integers():
    sizes = np.array([1, 1, 2, 3], np.float32)
    net = graph(FIRST, ("Resize", "r,,sizes", "m", {"mode": "nearest"}), LAST, sizes=sizes)
    assert canonical(net)[1] == {"Resize": 1}


LINEAR: Step = ("Resize", "r,,sizes", "m", {"mode": "linear"})


def test_numbers_between_integers_are_integers_where_they_become_such():
    """Of the same scale; they are not rounded for anybody else, nor before they are blended."""
    sizes = np.array([1, 1, 2, 3], np.float32)
    x = RANDOM.integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
    net = graph(FIRST, LINEAR, LAST, sizes=sizes)
    form = passes.canonicalize(net)
    assert [node.op for node in form.nodes] == ["Resize"]
    gap = interpret.run(form, {"x": x})["y"].astype(int) - interpret.run(net, {"x": x})["y"]
    assert np.abs(gap).max() == 1 and (gap != 0).mean() < 0.1  # halves, which are even there
    kept = ["DequantizeLinear", "Resize", "QuantizeLinear"]
    others = [
        [FIRST, LINEAR, ("QuantizeLinear", "m,t,e", "y", {})],
        [FIRST, ("Resize", "r,,sizes", "m", {"mode": "linear", "antialias": 1}), LAST],
        [FIRST, ("Resize", "r,,sizes", "m", {"mode": "cubic"}), LAST],
    ]
    for steps in others:
        assert [node.op for node in canonical(graph(*steps, sizes=sizes))[0].nodes] == kept
    _, ops = canonical(graph(FIRST, LINEAR, LAST, outputs="y,m", sizes=sizes))
    assert ops == dict.fromkeys(kept, 1)
    made: list[Step] = [FIRST, ("Sigmoid", "r", "a", {}), ("Resize", "a,,sizes", *LINEAR[2:]), LAST]
    form, _ = canonical(graph(*made, sizes=sizes))
    assert [node.op for node in form.nodes] == [kept[0], "Sigmoid", *kept[1:]]
