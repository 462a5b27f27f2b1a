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
        ([POOL, ("Cast", "places", "y", {"to": 1})], "which only a MaxUnpool reads"),
        ([("MaxPool", "x", "y,z places", {"kernel_shape": [2, 2]})], "only its first output"),
    ],
)
def test_what_is_refused(nodes, said, tmp_path):
    path = tmp_path / "model.onnx"
    outputs = ("y", "z places") if len(nodes) == 1 else ("y",)
    path.write_bytes(model(nodes, {}, (1, 2, 4, 4), outputs=outputs).SerializeToString())
    with pytest.raises(ValueError, match=said):
        linnet.load(path)
