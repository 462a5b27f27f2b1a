"""Resize and Upsample as files say them: read, made canonical, run, written and read again."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import agree, model

import linnet
from linnet import interpret, ops
from linnet.graph import Graph, Node, Value

RANDOM = np.random.default_rng(5)
SHAPE = (2, 3, 8, 10)


def between_layers(op, opset, constants, attrs, inputs):
    """Where the core has the image with channels last."""
    constants = {**constants, "w": RANDOM.standard_normal((6, 3, 2, 2)).astype(F4)}
    nodes = [
        ("Conv", "x,w", "c", {}),
        (op, ",".join(["c", *inputs]), "d", attrs),
        ("Relu", "d", "y", {}),
    ]
    return model(nodes, constants, SHAPE, opset=opset)


F4, I8 = np.float32, np.int64
FORMS = {
    "upsample 7": ("Upsample", 7, {}, {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}, []),
    "upsample 9": ("Upsample", 9, {"s": F4([1, 1, 2, 2])}, {"mode": "linear"}, ["s"]),
    "resize 10": ("Resize", 10, {"s": F4([1, 1, 1.5, 0.6])}, {"mode": "linear"}, ["s"]),
    "resize 11": (
        "Resize",
        11,
        {"r": F4([]), "s": F4([1, 1, 2, 2])},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        ["r", "s"],
    ),
    "sizes 13": (
        "Resize",
        13,
        {"n": I8([2, 6, 9, 4])},
        {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"},
        ["", "", "n"],
    ),
    "crop 13": (
        "Resize",
        13,
        {"r": F4([0, 0, 0.2, 0.1, 1, 1, 0.8, 1.3]), "n": I8([2, 6, 5, 6])},
        {
            "mode": "linear",
            "coordinate_transformation_mode": "tf_crop_and_resize",
            "extrapolation_value": 3.0,
        },
        ["r", "", "n"],
    ),
    "axes 18": (
        "Resize",
        18,
        {"n": I8([4, 3])},
        {"mode": "linear", "axes": [3, 2], "antialias": 1},
        ["", "", "n"],
    ),
    "one axis 18": (
        "Resize",
        18,
        {"s": F4([2.5])},
        {"axes": [-1], "nearest_mode": "ceil"},
        ["", "s"],
    ),
    "fit 18": (
        "Resize",
        18,
        {"n": I8([16, 16])},
        {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
        ["", "", "n"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_agree_with_onnx_runtime(form, tmp_path):
    agree(between_layers(*FORMS[form]), tmp_path, SHAPE, operators="Conv Resize Relu")


@pytest.mark.parametrize(
    ("attrs", "constants", "said"),
    [
        ({}, {"s": F4([1, 2, 2, 2])}, "only height and width"),
        ({}, {"s": F4([1, 1, 0.01, 2])}, "size of an axis"),
        ({}, {"s": F4([1, 1, np.nan, 2])}, "not 4 numbers"),
        ({}, {"s": F4([1, 1, 1e9, 1e9])}, "size of an axis"),
        ({"mode": "sharp"}, {"s": F4([1, 1, 2, 2])}, "mode is not supported: sharp"),
        ({"axes": [2, 2]}, {"s": F4([2, 2])}, "axes"),
        ({"axes": [2, 3]}, {"s": F4([1, 1, 2, 2])}, "not 2 numbers"),
    ],
)
def test_what_cannot_be_resized_is_refused(attrs, constants, said, tmp_path):
    proto = between_layers("Resize", 18, constants, attrs, ["", "s"])
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(tmp_path / "model.onnx")


def test_numbers_far_from_a_pixel_do_not_depend_on_it():
    x = np.ones((1, 1, 6, 6))
    x[0, 0, 0, 0] = np.nan
    y = ops.resize.resize(x, scales=np.array([1, 1, 2, 2]), mode="linear")
    assert np.isnan(y[0, 0, :2, :2]).all() and np.isfinite(y[0, 0, 3:]).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners"])
def test_integers_between_others_are_exact_sums_rounded_once(dtype, coordinates):
    """Where shares are multiples of 1/2048, floor(sum + 1/2) of the numbers between."""
    info = np.iinfo(dtype)
    x = RANDOM.integers(info.min, info.max + 1, (1, 2, 5, 3)).astype(dtype)
    x[0, 1, ::2], x[0, 1, 1::2] = info.max, info.min
    sizes = np.array([20, 6] if coordinates == "half_pixel" else [17, 9])
    how = {"sizes": sizes, "axes": (2, 3), "coordinate_transformation_mode": coordinates}
    y = ops.resize.resize(x, mode="linear", **how)
    real = ops.resize.resize(x.astype(np.float64), mode="linear", **how)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.floor(real + 0.5))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_integers_are_resized_as_such(mode):
    """Without reals around them, too; what is defined for reals alone is refused."""
    x = RANDOM.integers(0, 256, SHAPE).astype(np.uint8)
    node = Node("Resize", "y", ["x", "", "s"], ["y"], {"mode": mode, "axes": [2, 3]})
    graph = Graph("net", [node], {"s": F4([1.7, 0.6])}, [Value("x", SHAPE, x.dtype)], ["y"])
    np.testing.assert_array_equal(linnet.load(graph)(x), interpret.run(graph, {"x": x})["y"])
    node.attrs |= {"mode": "linear", "antialias": 1}
    with pytest.raises(ValueError, match="integers are resized"):
        linnet.load(graph)


GRIDS = {
    "linear": {"mode": "linear"},
    "nearest": {"mode": "nearest", "padding_mode": "border"},
    "cubic": {"mode": "cubic", "padding_mode": "reflection"},
    "corners": {"mode": "linear", "padding_mode": "reflection", "align_corners": 1},
    "cubic zeros": {"mode": "cubic", "align_corners": 1},
}


@pytest.mark.parametrize("case", GRIDS)
def test_places_between_numbers(case, tmp_path):
    """Computed from the image, against ONNX Runtime; some beyond its borders."""
    nodes = [
        ("Slice", "x,first,end,axis", "two", {}),
        ("Transpose", "two", "z", {"perm": [0, 2, 3, 1]}),
        ("GridSample", "x,z", "y", GRIDS[case]),
    ]
    constants = {"first": np.array([0]), "end": np.array([2]), "axis": np.array([1])}
    agree(model(nodes, constants, (2, 3, 5, 6), opset=20), tmp_path, (2, 3, 5, 6), bound=1e-4)
