"""Pools and the way back to the places of their numbers, against ONNX Runtime."""

from __future__ import annotations

import pytest
from onnx_models import agree, model

import linnet

POOL = ("MaxPool", "x", "p,places", {"kernel_shape": [2, 2], "strides": [2, 2]})
UNPOOL = {"kernel_shape": [2, 2], "strides": [2, 2]}


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 3, 4, 6), (3, 2, 8, 2)])
def test_back_to_the_places(shape, tmp_path):
    nodes = [
        ("Relu", "x", "r", {}),
        ("MaxPool", "r", "p,places", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Sigmoid", "p", "s", {}),
        ("MaxUnpool", "s,places", "y", UNPOOL),
    ]
    agree(model(nodes, {}, shape), tmp_path, shape)


def test_windows_of_any_size(tmp_path):
    how = {"kernel_shape": [3, 2], "strides": [3, 2]}
    nodes = [("MaxPool", "x", "p,places", how), ("MaxUnpool", "p,places", "y", how)]
    agree(model(nodes, {}, (2, 2, 9, 4)), tmp_path, (2, 2, 9, 4))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 1]},
        {"kernel_shape": [2, 3], "dilations": [2, 1], "strides": [1, 2]},
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1},
    ],
)
def test_places_of_any_windows(attrs, order, tmp_path):
    nodes = [("MaxPool", "x", "y,places", {**attrs, "storage_order": order})]
    agree(model(nodes, {}, (2, 3, 7, 8), outputs=("y", "places")), tmp_path, (2, 3, 7, 8))
    nodes += [("Cast", "places", "z", {"to": 1})]
    agree(model(nodes, {}, (2, 3, 7, 8), outputs=("z",)), tmp_path, (2, 3, 7, 8))


def test_places_count_all_images(tmp_path):
    path = tmp_path / "model.onnx"
    proto = model([POOL], {}, ("N", 2, 4, 4), outputs=("p", "places"))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="how many"):
        linnet.load(path)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([POOL, ("MaxUnpool", "p,places", "y", {**UNPOOL, "strides": [1, 1]})], "not that of its"),
        ([POOL, ("Relu", "p", "q", {}), ("MaxUnpool", "x,places", "y", UNPOOL)], "does not fit"),
        (
            [
                ("MaxPool", "x", "p,places", {**UNPOOL, "strides": [1, 1]}),
                ("MaxUnpool", "p,places", "y", UNPOOL),
            ],
            "side by side",
        ),
        ([("MaxPool", "x", "y,z places", {"kernel_shape": [9, 9], "pads": [5] * 4})], "up to 64"),
    ],
)
def test_what_is_refused(nodes, said, tmp_path):
    path = tmp_path / "model.onnx"
    outputs = ("y", "z places") if len(nodes) == 1 else ("y",)
    path.write_bytes(model(nodes, {}, (1, 2, 4, 4), outputs=outputs).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)
