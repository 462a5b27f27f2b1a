"""Regions of images, as ONNX and Caffe's forks have them; single layers: test_problems.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import onnx, runtime

import linnet
from linnet import formats, interpret, passes
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value

IMAGES, REGIONS = (2, 8, 14, 17), 9


def rois(scale: float) -> Any:
    random = np.random.default_rng(3)
    corners = random.uniform(-1, (16, 13), (REGIONS, 2))
    corners = np.hstack([corners, corners + random.uniform(1, 9, (REGIONS, 2))]) / scale
    return corners.astype(np.float32)


def images() -> Any:
    return np.random.default_rng(4).standard_normal(IMAGES).astype(np.float32)


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize(
    "attrs",
    [
        {"output_height": 3, "output_width": 4, "sampling_ratio": 2, "spatial_scale": 0.25},
        {"output_height": 2, "output_width": 2},
        {"output_height": 5, "output_width": 1, "mode": "max", "spatial_scale": 0.5},
    ],
)
def test_roi_align(opset: int, attrs: dict[str, Any], tmp_path: Any) -> None:
    index = np.random.default_rng(1).integers(0, 2, REGIONS)
    feed = {"x": images(), "rois": rois(attrs.get("spatial_scale", 1)), "of": index}
    agree("RoiAlign", feed, attrs, opset, tmp_path)


def test_max_roi_pool(tmp_path: Any) -> None:
    index = np.random.default_rng(1).integers(0, 2, (REGIONS, 1))
    feed = {"x": images(), "rois": np.hstack([index, rois(0.125)]).astype(np.float32)}
    attrs = {"pooled_shape": [3, 5], "spatial_scale": 0.125}
    agree("MaxRoiPool", feed, attrs, 13, tmp_path)


def agree(op: str, feed: dict[str, Any], attrs: Any, opset: int, folder: Any) -> None:
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, list(feed), ["y"], **attrs)],
        "regions",
        [make(k, 7 if v.dtype == np.int64 else 1, v.shape) for k, v in feed.items()],
        [make("y", 1, None)],
    )
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    path, again = folder / "model.onnx", folder / "again.onnx"
    path.write_bytes(model.SerializeToString())
    (want,) = runtime.InferenceSession(path).run(None, feed)
    canonical = passes.canonicalize(formats.read(path))
    save(canonical, again)
    for got in (
        interpret.run(canonical, feed)["y"],
        linnet.load(path).run(None, feed)[0],
        linnet.load(again, isa="scalar", threads=2).run(None, feed)[0],
    ):
        np.testing.assert_allclose(got, want, 1e-4, 1e-5)


CAFFE = """input: "x" input_shape {{ dim: 2 dim: 8 dim: 14 dim: 17 }}
input: "rois" input_shape {{ dim: {count} dim: 5 }}
layer {{ name: "y" type: "{kind}" bottom: "x" bottom: "rois" top: "y" {how} }}"""


def caffe(kind: str, how: str, feed: dict[str, Any]) -> Any:
    text = CAFFE.format(kind=kind, how=how, count=len(feed["rois"]))
    return linnet.load(text.encode()).run(None, feed)[0]


def test_roi_pooling_of_caffe() -> None:
    """Whole pixels; of a region beyond the image zeros."""
    x = images()
    found = np.float32([[0, 0, 0, 7, 7], [1, 4, 8, 11, 15], [1, 500, 500, 600, 600]])
    how = "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }"
    y = caffe("ROIPooling", how, {"x": x, "rois": found})
    # Corners 0 to 3.5, rounded to 4: five pixels, of which the middle one is in both bins.
    want = [[x[0, :, i : i + 3, j : j + 3].max((1, 2)) for j in (0, 2)] for i in (0, 2)]
    np.testing.assert_array_equal(y[0], np.moveaxis(np.array(want), 2, 0))
    want = [[x[1, :, i : i + 3, j : j + 3].max((1, 2)) for j in (2, 4)] for i in (4, 6)]
    np.testing.assert_array_equal(y[1], np.moveaxis(np.array(want), 2, 0))
    assert y.shape == (3, 8, 2, 2) and not y[2].any()


def test_ps_roi_pooling_of_caffe() -> None:
    """Each bin has a channel of its own."""
    x = images()
    found = np.float32([[1, 0, 0, 15, 15], [0, 8, 0, 23, 7]])
    how = "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 2 }"
    y = caffe("PSROIPooling", how, {"x": x, "rois": found})
    assert y.shape == (2, 2, 2, 2)
    for region, (image, top, left, size) in enumerate(((1, 0, 0, (4, 4)), (0, 0, 4, (2, 4)))):
        for c, i, j in np.ndindex(2, 2, 2):
            plane = x[image, c * 4 + i * 2 + j]
            rows = slice(top + i * size[0], top + (i + 1) * size[0])
            part = plane[rows, left + j * size[1] : left + (j + 1) * size[1]]
            np.testing.assert_allclose(y[region, c, i, j], part.mean(), 1e-5)


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("ROIPooling", "roi_pooling_param { pooled_h: 0 pooled_w: 2 }", "bins are not supported"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 group_size: 3 }", "2 x 3 x 3 bins"),
        ("PSROIPooling", "", "0 x 0 x 0 bins"),
        (
            "ROIPooling",
            "roi_pooling_param { pooled_h: 9999 pooled_w: 2 }",
            "bins are not supported",
        ),
    ],
)
def test_what_cannot_be(kind: str, how: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        caffe(kind, how, {"rois": np.zeros((1, 5))})


@pytest.mark.parametrize("size", [(4, 5), (1, 3), (2, 1), (6, 7)])
def test_parts_in_other_sizes(size: tuple[int, int]) -> None:
    """Also beyond the image, of one pixel, and turned."""
    random = np.random.default_rng(9)
    x = random.standard_normal((2, 3, 6, 7)).astype(np.float32)
    boxes = (random.random((8, 4)) * 1.5 - 0.25).astype(np.float32)
    boxes[:3] = [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]
    which = np.arange(8) % 2
    node = Node("CropAndResize", "c", ["x", "boxes", "which"], ["y"], {"size": list(size)})
    inputs = [Value("x", x.shape), Value("boxes", (8, 4)), Value("which", (8,), np.dtype("int64"))]
    graph = Graph("g", [node], {}, inputs, ["y"])
    feed = {"x": x, "boxes": boxes, "which": which}
    (y,) = linnet.load(graph).run(None, feed)
    np.testing.assert_allclose(y, interpret.run(graph, feed)["y"], 1e-5, 1e-5)
    constant = Graph("g", [node], {"which": which}, inputs[:2], ["y"])
    np.testing.assert_array_equal(linnet.load(constant)(x, boxes), y)
    if size == (6, 7):
        np.testing.assert_allclose(y[:2], [x[0], x[1, :, ::-1, ::-1]], 1e-5, 1e-5)
    graph.nodes[0].attrs["extrapolation"] = 1.0
    with pytest.raises(ValueError, match="a value other than 0 beyond the image"):
        linnet.load(graph)
