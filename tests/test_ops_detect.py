"""Boxes that stay of many that overlap, in graphs; layers of them are in test_problems.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import linnet
from linnet import formats, interpret, passes
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value
from linnet.ops.detect import rows_of

BOXES, CLASSES = 30, 4
PRIORS = {
    "num_classes": CLASSES,
    "keep_top_k": 12,
    "nms_threshold": 0.4,
    "confidence_threshold": 0.3,
    "code_type": "CENTER_SIZE",
}


def detector(**attrs: Any) -> Graph:
    random = np.random.default_rng(1)
    corners = np.sort(random.random((BOXES, 2, 2)), 1).reshape(1, 1, -1)
    variances = np.full((1, 1, 4 * BOXES), 0.2)
    prior = np.concatenate([corners, variances], 1).astype(np.float32)
    attrs = {**PRIORS, **attrs}
    own = 1 if attrs.get("share_location", 1) else CLASSES
    inputs = [Value("loc", (0, 4 * BOXES * own)), Value("conf", (0, BOXES * CLASSES))]
    node = Node("DetectionOutput", "d", ["loc", "conf", "prior"], ["found"], attrs)
    return Graph("g", [node], {"prior": prior}, inputs, ["found"])


def given(graph: Graph, images: int) -> dict[str, Any]:
    random = np.random.default_rng(2)
    loc = random.standard_normal((images, *graph.inputs[0].shape[1:])).astype(np.float32)
    conf = random.random((images, *graph.inputs[1].shape[1:]), np.float32)
    return {"loc": loc, "conf": conf}


def agree(graph: Graph, feed: dict[str, Any], folder: Any) -> Any:
    """The meaning, the canonical form's, the core's and that of a file written and read again."""
    want = interpret.run(graph, feed)["found"]
    canonical = passes.canonicalize(graph)
    save(canonical, folder / "again.onnx")
    assert [node.op for node in formats.read(folder / "again.onnx").nodes] == [
        node.op for node in canonical.nodes
    ]
    for got in (
        interpret.run(canonical, feed)["found"],
        linnet.load(graph, threads=2).run(None, feed)[0],
        linnet.load(folder / "again.onnx", isa="scalar").run(None, feed)[0],
    ):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, 1e-5, 1e-5)
    return want


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"share_location": 0, "code_type": "CORNER", "background_label_id": -1},
        {"code_type": "CORNER_SIZE", "clip": 1, "top_k": 5},
        {"variance_encoded_in_target": 1, "eta": 0.8, "keep_top_k": -1},
        {"confidence_threshold": 1.0},
    ],
)
def test_detection_output(attrs: dict[str, Any], tmp_path: Any) -> None:
    """Of more images than run at once, each row with its image's number."""
    graph = detector(**attrs)
    found = agree(graph, given(graph, 19), tmp_path)
    assert found.shape[:2] == (1, 1) and found.shape[3] == 7
    if attrs.get("confidence_threshold") == 1.0:
        assert found.shape[2] == 0
    else:
        images, counts = np.unique(found[0, 0, :, 0], return_counts=True)
        np.testing.assert_array_equal(images, np.arange(19))
        assert counts.max() <= 12 or attrs.get("keep_top_k") == -1
        assert (np.diff(found[0, 0, :, 2])[np.diff(found[0, 0, :, 0]) == 0] <= 0).all()


def test_scores_that_are_no_numbers_find_nothing() -> None:
    graph = detector()
    feed = given(graph, 2)
    feed["conf"][0] = np.nan
    feed["loc"][1, :8] = np.nan
    found = linnet.load(graph).run(None, feed)[0]
    assert (found[..., 0] == 1).all() and found.shape[2] > 0


def test_the_session_says_that_the_number_of_rows_is_open() -> None:
    net = linnet.load(detector())
    assert net.outputs[0].shape == (1, 1, None, 7)
    with pytest.raises(ValueError, match="depends on what is found"):
        net(*given(detector(), 1).values(), out=np.zeros((1, 1, 12, 7), np.float32))


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"code_type": "MIDDLE"}, "code_type 'MIDDLE'"),
        ({"num_classes": 0}, "0 classes"),
        ({"nms_threshold": -0.5}, "nms_threshold"),
        ({"eta": 0.0}, "eta"),
        ({"num_classes": 5}, "120 scores are not those of 30 priors"),
        ({"share_location": 0, "num_classes": 4, "keep_top_k": 1 << 21}, "boxes are not supported"),
    ],
)
def test_what_cannot_be(attrs: dict[str, Any], said: str) -> None:
    graph = detector()
    graph.nodes[0].attrs.update(attrs)
    with pytest.raises(ValueError, match=said):
        linnet.load(graph)


def test_what_is_found_is_an_output_only() -> None:
    graph = detector()
    graph.nodes.append(Node("Relu", "r", ["found"], ["y"]))
    graph.outputs = ["y"]
    with pytest.raises(ValueError, match="has to be an output of the model"):
        linnet.load(graph)


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("most", [3, 50])
def test_non_max_suppression(center: int, most: int, tmp_path: Any) -> None:
    limits = {"most": np.array([most]), "overlap": np.float32([0.3]), "least": np.float32([0.4])}
    names = ["boxes", "scores", *limits]
    node = Node("NonMaxSuppression", "n", names, ["found"], {"center_point_box": center})
    inputs = [Value("boxes", (0, 25, 4)), Value("scores", (0, 3, 25))]
    graph = Graph("g", [node], limits, inputs, ["found"])
    random = np.random.default_rng(most)
    boxes = random.random((5, 25, 4), np.float32)
    feed = {"boxes": boxes, "scores": random.random((5, 3, 25), np.float32)}
    found = agree(graph, feed, tmp_path)
    assert found.dtype == np.int64 and set(found[:, 0]) == set(range(5))
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from onnx_models import onnx

    make = onnx.helper.make_tensor_value_info
    proto = onnx.helper.make_graph(
        [onnx.helper.make_node("NonMaxSuppression", names, ["found"], center_point_box=center)],
        "n",
        [make(name, 1, feed[name].shape) for name in feed],
        [make("found", 7, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in limits.items()],
    )
    opset = [onnx.helper.make_opsetid("", 11)]
    model = onnx.helper.make_model(proto, opset_imports=opset, ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(found, session.run(None, feed)[0])


def test_rows_of_places_and_of_boxes() -> None:
    y = np.zeros((2, 2, 7))
    y[0, 1, 0] = -1
    assert rows_of(y).shape == (1, 1, 3, 7) and rows_of(y)[0, 0, :, 0].tolist() == [0, 1, 1]
    assert rows_of(np.int64(y[:, :, :3])).shape == (3, 3)


def test_no_boxes_leave_zeros() -> None:
    """TFLite's end of a detector where nothing is sure enough."""
    attrs = dict.fromkeys(("y_scale", "x_scale", "h_scale", "w_scale"), 10.0)
    attrs |= {"max_detections": 3, "max_classes_per_detection": 2, "num_classes": 2}
    attrs |= {"nms_score_threshold": 0.9, "nms_iou_threshold": 0.5}
    anchors = np.ones((5, 4), np.float32)
    inputs = [Value("boxes", (0, 5, 4)), Value("scores", (0, 5, 2))]
    node = Node("DetectionPostProcess", "p", ["boxes", "scores", "anchors"], list("abcd"), attrs)
    net = linnet.load(Graph("g", [node], {"anchors": anchors}, inputs, list("abcd")))
    scores = np.full((2, 5, 2), 0.5, np.float32)
    scores[1, 2] = 0.9, 0.95  # exactly the least that counts
    boxes, classes, found, count = net(np.zeros((2, 5, 4), np.float32), scores)
    assert boxes.shape == (2, 6, 4) and count.tolist() == [0, 1]
    np.testing.assert_allclose(found, [[0] * 6, [0.95, 0.9, 0, 0, 0, 0]], 1e-6)
    np.testing.assert_array_equal(classes[1], [1, 0, 0, 0, 0, 0])
    assert not boxes[0].any() and not boxes[1, 2:].any()


def yolo(
    maps: list[Any], sizes: Any, masks: list[list[int]], stride: list[int]
) -> list[list[float]]:
    """What MobileNet-YOLO's layer finds of an image: [class from 1, score, box] of every pair of
    box and class, less those that overlap by 0.4 or more with a pair before.
    """

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    pairs = []
    for x, mask, step in zip(maps, masks, stride):
        side = x.shape[-1]
        for (row, column), (k, number) in (
            (cell, which) for cell in np.ndindex(side, side) for which in enumerate(mask)
        ):
            tx, ty, tw, th, sure, *classes = x.reshape(len(mask), -1, side, side)[k, :, row, column]
            middle = (column + sigmoid(tx)) / side, (row + sigmoid(ty)) / side
            size = np.exp([tw, th]) * sizes[number] / (side * step)
            for c, score in enumerate(sigmoid(np.array(classes)) * sigmoid(sure)):
                if score > 0.2:
                    pairs.append([c + 1, score, *(middle - size / 2), *(middle + size / 2)])
    pairs.sort(key=lambda pair: -pair[1])
    stay: list[Any] = []
    for pair in pairs:
        box = np.array(pair[2:])
        for other in (np.array(one[2:]) for one in stay):
            sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
            both = np.prod(np.maximum(sides, 0))
            areas = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])
            if both / (areas - both) >= 0.4:
                break
        else:
            stay.append(pair)
    return stay


def test_yolo_of_caffe() -> None:
    random = np.random.default_rng(5)
    masks, stride, sizes = [[2, 3], [0, 1]], [16, 8], random.integers(5, 40, (4, 2))
    maps = [random.standard_normal((2, 2 * 8, side, side)).astype(np.float32) for side in (3, 6)]
    text = "".join(
        f'input: "m{i}" input_shape {{ dim: 2 dim: 16 dim: {m.shape[2]} dim: {m.shape[2]} }} '
        for i, m in enumerate(maps)
    )
    text += (
        'layer { name: "y" type: "Yolov3DetectionOutput" bottom: "m0" bottom: "m1" top: "y" '
        "yolov3_detection_output_param { num_classes: 3 num_box: 2 mask_group_num: 2 "
        "confidence_threshold: 0.2 nms_threshold: 0.4 "
    )
    for name, values in (
        ("biases", sizes.ravel()),
        ("mask", np.ravel(masks)),
        ("anchors_scale", stride),
    ):
        text += "".join(f"{name}: {value} " for value in values)
    found = linnet.load((text + "} }").encode())(*maps)
    want = [
        [image, *pair]
        for image in range(2)
        for pair in yolo([m[image].astype(np.float64) for m in maps], sizes, masks, stride)
    ]
    assert len(want) > 10
    np.testing.assert_allclose(found[0, 0], want, 1e-4, 1e-5)
