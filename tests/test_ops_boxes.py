"""The ends of TensorFlow's detectors in graphs; their results are held against TensorFlow's and
LiteRT's in test_formats_tensorflow.py and test_formats_tflite.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret
from linnet.graph import Graph, Node, Value

PADDED = {"most": 11, "overlap": 0.3, "score": 0.2}
COMBINED = {"each": 2, "total": 9, "overlap": 0.3, "score": 0.2}


def boxes(*shape: int) -> Any:
    corners = np.random.default_rng(3).random((*shape, 4), np.float32)
    corners[..., 2:] += corners[..., :2]
    return corners


def scores(*shape: int) -> Any:
    count = int(np.prod(shape))
    order = np.random.default_rng(4).permutation(count).reshape(shape)
    return (order / np.float32(count)).astype(np.float32)


def of(op: str, shapes: tuple[Any, Any], attrs: Any, outputs: list[str]) -> Graph:
    inputs = [Value(name, shape) for name, shape in zip("xs", shapes)]
    return Graph("g", [Node(op, "n", ["x", "s"], list(outputs), attrs)], {}, inputs, outputs)


def agree(graph: Graph, x: Any, s: Any) -> list[Any]:
    found = linnet.load(graph).run(None, {"x": x, "s": s})
    for got, want in zip(found, interpret.run(graph, {"x": x, "s": s}).values()):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, 1e-6)
    return found


def test_what_is_found_can_be_read_on() -> None:
    graph = of("PaddedNonMaxSuppression", ((12, 4), (12,)), PADDED, ["at", "best", "n"])
    graph.nodes.append(Node("Gather", "kept", ["x", "at"], ["kept"], {"axis": 0}))
    graph.outputs.append("kept")
    x, s = boxes(12), scores(12)
    at, best, n, kept = agree(graph, x, s)
    assert 1 < n[0] < 11 and not at[n[0] :].any() and not best[n[0] :].any()
    np.testing.assert_array_equal(best[: n[0]], s[at[: n[0]]])
    np.testing.assert_array_equal(kept, x[at])


@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("how", [{}, {"pad_per_class": 1}, {"clip_boxes": 0}])
def test_boxes_of_all_classes(own: int, how: dict[str, int]) -> None:
    names = ["boxes", "best", "class", "n"]
    shapes = ((0, 12, own, 4), (0, 12, 3))
    graph = of("CombinedNonMaxSuppression", shapes, {**COMBINED, **how}, names)
    found, best, kind, n = agree(graph, boxes(2, 12, own), scores(2, 12, 3))
    assert found.shape == (2, 6 if how.get("pad_per_class") else 9, 4)
    assert (found.max() > 1) == ("clip_boxes" in how)
    assert (np.diff(best) <= 0).all() and (n == 6).all() and kind.max() == 2
    graph.outputs = names[3:]
    graph.nodes[0].outputs[:3] = ["", "", ""]
    np.testing.assert_array_equal(linnet.load(graph)(boxes(2, 12, own), scores(2, 12, 3)), n)


@pytest.mark.parametrize(
    ("op", "shapes", "attrs", "said"),
    [
        ("PaddedNonMaxSuppression", ((0, 4), (0,)), PADDED, "its boxes are no images"),
        ("PaddedNonMaxSuppression", ((9, 4), (8,)), PADDED, "its boxes are no images"),
        ("PaddedNonMaxSuppression", ((9, 4), (9,)), {**PADDED, "most": 0}, "0 boxes"),
        ("PaddedNonMaxSuppression", ((9, 4), (9,)), {**PADDED, "overlap": -1.0}, "overlap -1"),
        ("CombinedNonMaxSuppression", ((0, 9, 2, 4), (0, 9, 3)), COMBINED, "scores of classes"),
        (
            "CombinedNonMaxSuppression",
            ((0, 9, 1, 4), (0, 9, 3)),
            {**COMBINED, "total": 1 << 40},
            "1099511627776 boxes",
        ),
    ],
)
def test_what_cannot_be(op: str, shapes: Any, attrs: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        linnet.load(of(op, shapes, attrs, ["y"]))
