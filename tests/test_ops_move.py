"""Parts of values, joined, cut out, taken apart: as files say them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet

F4, I8 = np.float32, np.int64
RANDOM = np.random.default_rng(6)
SHAPE = (2, 3, 8, 10)
WEIGHT = {"w": RANDOM.standard_normal((24, 3, 1, 1)).astype(F4)}


def after_a_layer(nodes, constants, opset=18, outputs=("y",)):
    nodes = [("Conv", "x,w", "c", {}), *nodes]
    return model(nodes, {**WEIGHT, **constants}, SHAPE, opset=opset, outputs=outputs)


def slices(**lists):
    return {name: I8(values) for name, values in lists.items()}


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([8], [16], [1], [1]),
        ([3], [20], [1], [1]),
        ([1, 2], [-1, 2**31 - 1], [2, 3], [1, 1]),
        ([0, 1], [8, 10], [-2, -1], [2, 3]),
        ([1, 0, 5], [23, 99, -1], [1, 2, 3], [7, 4, 2]),
        ([0], [2**63 - 1], [0], [1]),
        ([-5], [-2], [3], [2]),
        ([-1], [-(2**31)], [3], [-1]),
        ([20, -1], [2, 0], [1, 2], [-3, -2]),
        ([23, 3], [-(2**63), 1], [1, 3], [-1, -1]),
        ([0], [-99], [2], [-1]),
    ],
)
def test_slices(starts, ends, axes, steps, tmp_path):
    lists = slices(s=starts, e=ends, a=axes, t=steps)
    nodes = [("Slice", "c,s,e,a,t", "d", {}), ("Relu", "d", "y", {})]
    agree(after_a_layer(nodes, lists), tmp_path, SHAPE)


def test_slices_of_slices_and_of_views(tmp_path):
    lists = slices(s=[2], e=[7], a=[2], b=[3], t=[2], f=[0, 24, 80])
    nodes = [
        ("Slice", "c,s,e,a", "d", {}),
        ("Slice", "d,s,e,b,t", "e1", {}),
        ("Reshape", "c,f", "u", {}),
        ("Slice", "u,s,e,a", "v", {}),
        ("Relu", "e1", "y", {}),
        ("Relu", "v", "z", {}),
    ]
    agree(after_a_layer(nodes, lists, outputs=("y", "z")), tmp_path, SHAPE)


def test_slices_written_as_attributes(tmp_path):
    nodes = [("Slice", "c", "y", {"starts": [1, 2], "ends": [9, -1], "axes": [1, 3]})]
    agree(after_a_layer(nodes, {}, opset=9), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("attrs", "sizes", "opset", "parts"),
    [
        ({"axis": 1, "num_outputs": 3}, None, 18, 3),
        ({"axis": 1}, [8, 5, 11], 13, 3),
        ({"axis": -1}, [1, 9], 18, 2),
        ({"axis": 2, "split": [3, 5]}, None, 11, 2),
        ({"axis": 1}, None, 13, 2),
        ({"axis": 3, "num_outputs": 4}, None, 18, 4),
    ],
)
def test_splits(attrs, sizes, opset, parts, tmp_path):
    names = [f"p{i}" for i in range(parts)]
    constants = {} if sizes is None else {"n": I8(sizes)}
    nodes = [("Split", "c" if sizes is None else "c,n", ",".join(names), attrs)]
    nodes += [("Relu", name, f"y{i}", {}) for i, name in enumerate(names)]
    outputs = tuple(f"y{i}" for i in range(parts))
    agree(after_a_layer(nodes, constants, opset, outputs), tmp_path, SHAPE)


def test_a_split_whose_parts_are_not_all_used(tmp_path):
    nodes = [("Split", "c", "a,b,d", {"axis": 1, "num_outputs": 3}), ("Relu", "b", "y", {})]
    agree(after_a_layer(nodes, {}), tmp_path, SHAPE, operators="Conv Slice Relu")


@pytest.mark.parametrize("sizes", [[10, 0], [0, 10], [0, 10, 0]])
def test_empty_parts_are_joined_to_others(sizes, tmp_path):
    """As code for a share of the channels does where that is all of them."""
    parts = [f"p{i}" for i in range(len(sizes))]
    nodes = [
        ("Split", "c,n", ",".join(parts), {"axis": 3}),
        ("Relu", parts[sizes.index(10)], "r", {}),
        ("Concat", ",".join(p if n == 0 else "r" for p, n in zip(parts, sizes)), "y", {"axis": 3}),
    ]
    agree(after_a_layer(nodes, {"n": I8(sizes)}), tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("indices", "axis"),
    [
        (3, 1),
        ([2], 1),
        ([0, 2, 4], 1),
        ([5, 1, 1, 20], 1),
        ([[0, 1], [-1, 3]], 1),
        ([7, 0], 2),
        (-1, 3),
        ([3, 2, 1, 0], -1),
        ([*range(7, -1, -1)] * 9, 2),
    ],
)
def test_gathers(indices, axis, tmp_path):
    nodes = [("Gather", "c,i", "d", {"axis": axis}), ("Reshape", "d,n", "y", {})]
    agree(after_a_layer(nodes, {"i": I8(indices), "n": I8([0, -1])}), tmp_path, SHAPE)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concatenations_along_any_axis(axis, tmp_path):
    nodes = [
        ("Relu", "c", "r", {}),
        ("Concat", "r,c,r", "d", {"axis": axis}),
        ("Relu", "d", "y", {}),
    ]
    agree(after_a_layer(nodes, {}), tmp_path, SHAPE)


@pytest.mark.parametrize("parts", ["k,c", "c,k", "k,c,k,m,r,k", "c,r,m"])
@pytest.mark.parametrize(("batch", "axis"), [(1, 1), (1, 2), (1, -1), (2, 1)])
def test_concatenations_with_constants(parts, batch, axis, tmp_path):
    k, m = (RANDOM.standard_normal((batch, 24, 8, 10)).astype(F4) for _ in "km")
    k = k.take(range(3), axis)
    proto = model(
        [("Conv", "x,w", "c", {}), ("Relu", "c", "r", {}), ("Concat", parts, "y", {"axis": axis})],
        {**WEIGHT, "k": k, "m": m},
        (batch, *SHAPE[1:]),
    )
    agree(proto, tmp_path, (batch, *SHAPE[1:]))


def test_concatenations_with_constants_of_more_axes(tmp_path):
    nodes = [("Reshape", "c,n", "r", {}), ("Concat", "k,r", "y", {"axis": 3})]
    constants = {"n": I8([2, 2, 12, 8, 10]), "k": RANDOM.standard_normal((2, 2, 12, 5, 10))}
    constants["k"] = constants["k"].astype(F4)
    agree(after_a_layer(nodes, constants), tmp_path, SHAPE)


def test_concatenations_of_more_axes(tmp_path):
    nodes = [
        ("Reshape", "c,n", "r", {}),
        ("Concat", "r,r", "d", {"axis": 3}),
        ("Reshape", "d,m", "e", {}),
        ("Relu", "e", "y", {}),
    ]
    constants = {"n": I8([0, 2, 12, 8, 10]), "m": I8([0, 48, 8, 10])}
    agree(after_a_layer(nodes, constants), tmp_path, SHAPE)


MODES = ["constant", "edge", "reflect", "wrap"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "pads",
    [
        (0, 0, 3, 2, 0, 0, 0, 5),
        (0, 2, 0, 0, 0, 1, 0, 0),
        (0, 1, 2, 3, 0, 0, 1, 1),
        (0, -3, 2, -1, 0, -1, -2, 2),
        (0, 0, 0, 0, 0, 0, 0, -4),
        (0, 0, 0, 0, 0, 0, 0, 0),
    ],
)
def test_pads(mode, pads, tmp_path):
    constants = {"p": I8(pads), "v": F4(-1.5)}
    names = ["c,p,v", "c,p"] if mode == "constant" else ["c,p"]
    for inputs in names:
        nodes = [("Pad", inputs, "d", {"mode": mode}), ("Relu", "d", "y", {})]
        agree(after_a_layer(nodes, constants, 19), tmp_path, SHAPE)


@pytest.mark.parametrize("mode", MODES)
def test_pads_of_other_arrays(mode, tmp_path):
    for target, pads in (
        ([0, 3, 80], [0, 0, 40, 0, 0, 37]),
        ([0, 240], [0, 19, 0, 20]),
        ([0, 3, 2, 4, 10], [0, 1, 0, 2, 3, 0, 1, 1, 0, 2]),
    ):
        constants = {"n": I8(target), "p": I8(pads)}
        nodes = [("Reshape", "x,n", "r", {}), ("Pad", "r,p", "y", {"mode": mode})]
        agree(model(nodes, constants, SHAPE, opset=19), tmp_path, SHAPE)


def test_pads_of_a_list_of_axes(tmp_path):
    constants = {"p": I8([2, 1, 0, 3]), "v": F4(7), "a": I8([-1, 1])}
    agree(after_a_layer([("Pad", "c,p,v,a", "y", {})], constants), tmp_path, SHAPE)
    nodes = [("Pad", "c", "y", {"mode": "reflect", "pads": [0, 0, 1, 2, 0, 0, 3, 4]})]
    agree(after_a_layer(nodes, {}, opset=10), tmp_path, SHAPE)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(mode, tmp_path):
    nodes = [
        ("DepthToSpace", "c", "d", {"blocksize": 2, "mode": mode}),
        ("Relu", "d", "y", {}),
        ("SpaceToDepth", "d", "z", {"blocksize": 2}),
    ]
    agree(after_a_layer(nodes, {}, outputs=("y", "z")), tmp_path, SHAPE)
    nodes = [("SpaceToDepth", "x", "d", {"blocksize": 2}), ("Relu", "d", "y", {})]
    agree(model(nodes, {}, SHAPE), tmp_path, SHAPE)


def test_tiles(tmp_path):
    for counts in ([1, 2, 1, 3], [1, 1, 35, 1], [1, 1, 1, 1], [1, 32, 1, 2]):
        nodes = [("Tile", "c,n", "d", {}), ("Relu", "d", "y", {})]
        agree(after_a_layer(nodes, {"n": I8(counts)}), tmp_path, SHAPE)


def test_expansions(tmp_path):
    for axes, target in (
        ([2, 3], [1, 1, 9, 37]),
        ([1], [2, 5, 1, 1]),
        ([3], [12]),
        ([1], [1, 1, 1, 1]),
    ):
        nodes = [("ReduceSum", "c,a", "s", {}), ("Expand", "s,n", "d", {}), ("Relu", "d", "y", {})]
        constants = {"a": I8(axes), "n": I8(target)}
        agree(after_a_layer(nodes, constants), tmp_path, SHAPE)


def test_expansion_to_the_shape_of_another_value(tmp_path):
    nodes = [
        ("Shape", "c", "n", {}),
        ("ReduceSum", "c,a", "s", {}),
        ("Expand", "s,n", "y", {}),
    ]
    agree(after_a_layer(nodes, {"a": I8([1, 3])}), tmp_path, SHAPE)


def test_constants_are_tiled_and_expanded(tmp_path):
    weight = RANDOM.standard_normal((1, 3, 1, 1)).astype(F4)
    nodes = [
        ("Tile", "k,n", "t", {}),
        ("Conv", "x,t", "c", {}),
        ("Expand", "k,e", "u", {}),
        ("Conv", "x,u", "d", {}),
        ("Concat", "c,d", "y", {"axis": 1}),
    ]
    constants = {"k": weight, "n": I8([4, 1, 1, 1]), "e": I8([2, 3, 1, 1])}
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE, operators="Conv Conv Concat")


@pytest.mark.parametrize(
    ("nodes", "constants", "said"),
    [
        ([("Slice", "c,s,e,a", "y", {})], slices(s=[5], e=[5], a=[2]), "nothing is left"),
        ([("Slice", "c,s,e,a", "y", {})], slices(s=[5], e=[7], a=[4]), "axis 4 does not exist"),
        ([("Slice", "c,s,e,a,t", "y", {})], slices(s=[5], e=[7], a=[2], t=[0]), "a step is 0"),
        ([("Pad", "c,p", "y", {})], slices(p=[0, 0, 0, -4, 0, 0, 0, -6]), "nothing is left"),
        ([("Pad", "c,p", "y", {})], slices(p=[1, 0]), "do not fit"),
        (
            [("Pad", "c,p", "y", {"mode": "reflect"})],
            slices(p=[0, 0, 0, 10, 0, 0, 0, 0]),
            "larger than axis 3 of 10",
        ),
        ([("DepthToSpace", "c", "y", {"blocksize": 5})], {}, "blocksize 5"),
        ([("SpaceToDepth", "c", "y", {"blocksize": 3})], {}, "blocksize 3"),
        ([("Tile", "c,n", "y", {})], slices(n=[1, 1, 0, 1]), "repeats"),
        ([("Tile", "c,n", "y", {})], slices(n=[1, 1, 1 << 30, 1 << 30]), "too many"),
        ([("Expand", "c,n", "y", {})], slices(n=[1, 3, 8, 10]), "does not broadcast"),
        ([("Split", "c,n", "y,z", {"axis": 1})], slices(n=[20, 5]), "not 2 parts"),
        ([("Gather", "c,i", "y", {"axis": 1})], slices(i=[24]), "not those of axis 1"),
        (
            [("Concat", "x,c", "y", {"axis": 2})],
            {},
            "Nx3x8x10 and Nx24x8x10 differ in other axes than 2",
        ),
        (
            [("Concat", "k,c", "y", {"axis": 1})],
            {"k": np.zeros((1, 3, 8, 9), F4)},
            "Nx24x8x10 and 1x3x8x9 differ in other axes than 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(nodes, constants, said, tmp_path):
    (tmp_path / "model.onnx").write_bytes(after_a_layer(nodes, constants).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("shape", "lengths", "attrs"),
    [
        ((5, 2, 3), [5, 5], {}),
        ((5, 2, 3), [3, 3], {"batch_axis": 1, "time_axis": 0}),
        ((2, 5, 3), [4, 4], {"batch_axis": 0, "time_axis": 1}),
        ((2, 40), [40, 40], {"batch_axis": 0, "time_axis": 1}),
    ],
)
def test_sequences_are_turned_round(shape, lengths, attrs, tmp_path):
    nodes = [("ReverseSequence", "x,lengths", "y", attrs)]
    agree(model(nodes, {"lengths": np.array(lengths)}, shape), tmp_path, shape)


def test_sequences_of_several_lengths_are_refused(tmp_path):
    nodes = [("ReverseSequence", "x,lengths", "y", {"batch_axis": 0, "time_axis": 1})]
    path = tmp_path / "model.onnx"
    path.write_bytes(model(nodes, {"lengths": np.array([2, 3])}, (2, 5)).SerializeToString())
    with pytest.raises(ValueError, match="lengths that differ"):
        linnet.load(path)
