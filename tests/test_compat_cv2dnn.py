"""linnet.compat.cv2dnn against what OpenCV's own module makes of the same (data/make_cv2dnn.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_models import weights_file
from packed import unpack

import linnet
from linnet import digits
from linnet.compat import cv2dnn

DATA = Path(__file__).parent / "data"
DIGITS = (str(DATA / "digits.prototxt"), str(DATA / "digits.caffemodel"))
STORED = dict(np.load(DATA / "cv2dnn.npz"))
NOTES = json.loads(STORED.pop("notes").tobytes())


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(NOTES["blobs"])))
def test_blobs_are_opencvs(index: int) -> None:
    name, how = NOTES["blobs"][index]
    expected, blob = STORED[f"blob{index}"], cv2dnn.blobFromImage(STORED[name], **how)
    assert blob.dtype == expected.dtype and blob.flags.c_contiguous
    if name == "floats":
        np.testing.assert_allclose(blob, expected, 1e-5, 1e-5)
    else:
        np.testing.assert_array_equal(blob, expected)  # to the last bit


def test_blobs_of_several_pictures() -> None:
    picture = STORED["colour"]
    blob = cv2dnn.blobFromImages([picture, picture[:5]], 0.5, (6, 4), (1, 2, 3))
    for one, alone in zip(blob, (picture, picture[:5])):
        expected = cv2dnn.blobFromImage(alone, 0.5, (6, 4), (1, 2, 3))[0]
        np.testing.assert_array_equal(one, expected)
    assert cv2dnn.blobFromImages(picture[None]).shape == (1, 3, 13, 17)
    assert cv2dnn.blobFromImages([picture], size=None, mean=None).shape == (1, 3, 13, 17)
    assert cv2dnn.blobFromImages([picture, picture[:5]]).shape == (2, 3, 13, 17)


def test_pictures_come_back() -> None:
    pictures = cv2dnn.imagesFromBlob(cv2dnn.blobFromImages([STORED["floats"]] * 2))
    np.testing.assert_array_equal(pictures, [STORED["floats"]] * 2)
    (grey,) = cv2dnn.imagesFromBlob(cv2dnn.blobFromImage(STORED["grey"]))
    np.testing.assert_array_equal(grey, STORED["grey"])


@pytest.mark.parametrize(
    ("image", "how", "said"),
    [
        ("colour", {"size": (5, 0)}, r"size is \(5, 0\)"),
        ("colour", {"size": (5.5, 5)}, r"size is \(5.5, 5\)"),
        ("colour", {"size": (5,)}, r"size is \(5,\)"),
        ("colour", {"mean": (1, 2, 3, 4, 5)}, "mean has 5 numbers"),
        ("colour", {"ddepth": 6}, "ddepth is 6"),
        ("colour", {"ddepth": 0, "scalefactor": 2}, "without scalefactor"),
        ("colour", {"ddepth": 0, "mean": 1}, "without scalefactor and mean"),
        ("floats", {"ddepth": 0}, "made of bytes"),
        (None, {}, "expected bytes or floats"),
        (np.zeros((3, 4, 2), np.uint8), {}, "2 channels"),
        (np.zeros((3, 4), np.int16), {}, "int16"),
        (np.zeros((0, 4), np.uint8), {}, r"uint8 \[0, 4, 1\]"),
    ],
)
def test_pictures_that_are_none(image: Any, how: dict[str, Any], said: str) -> None:
    with pytest.raises(cv2dnn.error, match=said):
        cv2dnn.blobFromImage(STORED[image] if isinstance(image, str) else image, **how)


def test_pictures_that_do_not_fit() -> None:
    with pytest.raises(cv2dnn.error, match="no pictures"):
        cv2dnn.blobFromImages([])
    with pytest.raises(cv2dnn.error, match="picture 1 has 1 channels"):
        cv2dnn.blobFromImages([STORED["colour"], STORED["grey"]])
    with pytest.raises(cv2dnn.error, match="the blob is uint8 of 4 axes"):
        cv2dnn.imagesFromBlob(np.zeros((1, 3, 2, 2), np.uint8))


# --- boxes ----------------------------------------------------------------------------------------


def test_boxes_are_kept_as_opencv_keeps_them() -> None:
    for boxes, scores, how, expected in NOTES["boxes"]:
        kept = cv2dnn.NMSBoxes(boxes, scores, *how)
        assert np.array_equal(kept, expected)
        assert kept == () if not expected else kept.dtype == np.int32
        if boxes:
            arrays = np.array(boxes), np.array(scores, np.float32)
            assert np.array_equal(cv2dnn.NMSBoxes(*arrays, *how), expected)


def test_boxes_of_classes_are_kept_as_opencv_keeps_them() -> None:
    for (boxes, scores, how, _), (classes, expected) in zip(NOTES["boxes"], NOTES["classes"]):
        kept = cv2dnn.NMSBoxesBatched(boxes, scores, classes, *how)
        assert np.array_equal(kept, expected)
    with pytest.raises(cv2dnn.error, match="1 boxes and 2 classes"):
        cv2dnn.NMSBoxesBatched([[0, 0, 1, 1]], [1], [0, 1], 0.5, 0.5)


def test_boxes_that_are_none() -> None:
    for boxes, scores in (
        ([[0, 0, 1, 1]], []),
        ([[0, 0, 1, 1]], [1, 2]),
        ([[0, 0, 1]] * 4, [1] * 3),
    ):
        with pytest.raises(ValueError):
            cv2dnn.NMSBoxes(boxes, scores, 0.5, 0.5)
    for how in ((-1, 0.5), (0.5, -1), (0.5, 0.5, 0)):
        with pytest.raises(cv2dnn.error, match="must not be negative"):
            cv2dnn.NMSBoxes([[0, 0, 1, 1]], [1], *how)


# --- networks -------------------------------------------------------------------------------------


def network(*given: Any) -> cv2dnn.Net:
    return cv2dnn.readNetFromCaffe(*(given or [NOTES["network"]["text"].encode()]))


def test_layers_are_named_as_in_opencv() -> None:
    net, expected = network(), NOTES["network"]
    assert list(net.getLayerNames()) == expected["names"]
    assert list(net.getUnconnectedOutLayersNames()) == expected["last"]
    assert net.getUnconnectedOutLayers().tolist() == expected["numbers"]
    assert [net.getLayer(name).type for name in net.getLayerNames()] == expected["types"]
    assert net.getLayer(2).name == "relu" and net.getLayerId("relu") == 2
    assert net.getLayerId("nix") == -1
    assert net.getLayersCount("Dropout") == 2 and "Power" in net.getLayerTypes()
    names = net.getLayerNames()  # the words that scripts find outputs with
    assert [names[i - 1] for i in net.getUnconnectedOutLayers()] == expected["last"]


def test_values_are_those_of_opencv() -> None:
    net = network()
    net.setInput(STORED["x"])
    net.setInput(STORED["z"], "z", 0.5, (1, 2, 3))
    np.testing.assert_allclose(net.forward(), STORED["last"], 1e-6)
    for name in net.getLayerNames():  # also what a later layer has written over
        np.testing.assert_allclose(net.forward(name), STORED[f"of_{name}"], 1e-6, 1e-6)
    results = net.forward(net.getUnconnectedOutLayersNames())
    assert isinstance(results, tuple)
    for name, array in zip(net.getUnconnectedOutLayersNames(), results):
        np.testing.assert_allclose(array, STORED[f"of_{name}"], 1e-6, 1e-6)
    first, second = net.forwardAndRetrieve(["parts"])[0]
    np.testing.assert_allclose(first, STORED["of_parts"], 1e-6)
    np.testing.assert_allclose(second, STORED["second"], 1e-6)


@pytest.mark.parametrize("index", range(len(NOTES["detectors"])))
def test_boxes_are_found_as_opencv_finds_them(index: int) -> None:
    net = network(NOTES["detectors"][index].encode())
    for name, shape in (("cells", (2, 1, 4, 5)), ("image", (2, 3, 40, 60))):
        net.setInput(np.zeros(shape, np.float32), name)
    for name in ("loc", "conf"):
        net.setInput(STORED[f"{name}{index}"], name)
    expected = STORED[f"found{index}"]
    assert expected.shape[2] > 0 and expected[..., 2].any() == (index != 3)
    np.testing.assert_allclose(net.forward(), expected, 1e-5, 1e-6)


def test_the_usual_script() -> None:
    """A file of two names, a blob, forward, and the time it took."""
    picture = (digits.held_out(88).images[3, 0] * 255).round().astype(np.uint8)
    net = cv2dnn.readNet(*DIGITS[::-1])
    net.setPreferableBackend(cv2dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2dnn.DNN_TARGET_CPU)
    net.setInput(cv2dnn.blobFromImage(picture, 1 / 255, (88, 88)))
    out = net.forward()
    expected = linnet.load(*DIGITS)(np.float32(picture)[None, None] / 255)
    np.testing.assert_allclose(out, expected, 1e-4, 1e-6)
    ticks, layers = net.getPerfProfile()
    assert 0 < ticks < 60e9 and len(layers) == 0
    net.setInput(np.stack([picture[None]] * 3), "data", 1 / 255)  # bytes, and another batch
    np.testing.assert_allclose(net.forward("prob"), np.repeat(expected, 3, 0), 1e-4, 1e-6)


def test_files_in_every_form() -> None:
    model, weights = (Path(name).read_bytes() for name in DIGITS)
    nets = [
        cv2dnn.readNetFromCaffe(*DIGITS),
        cv2dnn.readNetFromCaffe(*map(Path, DIGITS)),
        cv2dnn.readNetFromCaffe(model, bytearray(weights)),
        cv2dnn.readNetFromCaffe(*(np.frombuffer(data, np.uint8) for data in (model, weights))),
        cv2dnn.readNet(*DIGITS),
        cv2dnn.readNet(weights, model),
        cv2dnn.readNet("caffe", weights, model),
        cv2dnn.readNetFromCaffe(DIGITS[0]),  # without weights: it has layers still
        cv2dnn.readNet(DIGITS[1]),  # which carry the network
    ]
    assert {net.getLayerNames() for net in nets} == {nets[0].getLayerNames()}
    nets[-2].setInput(np.zeros((1, 1, 88, 88), np.float32))
    with pytest.raises(cv2dnn.error, match=r"need the \.caffemodel"):
        nets[-2].forward()
    data = digits.MODEL.read_bytes()
    for net in (
        cv2dnn.readNetFromONNX(data),
        cv2dnn.readNet(str(digits.MODEL)),
        cv2dnn.readNet("onnx", data),
    ):
        assert net.getUnconnectedOutLayersNames() == ("prob",)
        net.setInput(np.zeros((1, 1, 88, 88), np.float32))
        assert net.forward("onnx_node!conv1").shape == net.forward("conv1").shape


@pytest.mark.parametrize("name", ["yolo", "region"])
def test_boxes_of_darknet_are_a_table(name: str) -> None:
    case = unpack(DATA / "darknet" / "layers.npz")[name]
    net = cv2dnn.readNetFromDarknet(case["cfg"].encode(), case["weights"])
    names = net.getLayerNames()
    last = [names[number - 1] for number in net.getUnconnectedOutLayers()]
    expected = case[f"y/{last[0]}"]
    for x, y in ((case["x"][:1], expected[0]), (case["x"], expected)):
        net.setInput(x)
        (boxes,) = net.forward(last)
        assert boxes.shape == y.shape
        np.testing.assert_allclose(boxes, y, 1e-4, 1e-5)


def test_a_network_takes_the_size_of_its_input() -> None:
    """Whatever its file says; only what is asked for has to fit, or to be there at all."""
    text = """input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 1 }
        layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 } }
        layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
        layer { name: "y" type: "Unheard" bottom: "f" top: "y" }"""
    net = network(text.encode())
    for shape in ((1, 3, 4, 5), (2, 3, 4, 5), (2, 3, 7, 3)):
        x = np.random.default_rng(1).random(shape, np.float32)
        net.setInput(x)
        rows = np.maximum(x[:, :, 1:], x[:, :, :-1])
        expected = np.maximum(rows[..., 1:], rows[..., :-1]).reshape(len(x), -1)
        np.testing.assert_array_equal(net.forward("f"), expected)
    with pytest.raises(cv2dnn.error, match=r"'y' \(Unheard\): layers of this type"):
        net.forward()
    np.testing.assert_array_equal(net.forward("f"), expected)


def test_an_onnx_model_of_any_size() -> None:
    onnx_models = pytest.importorskip("onnx_models")
    model = onnx_models.model([("Relu", "x", "y", {})], {}, ["N", 2, "h", "w"])
    net = cv2dnn.readNetFromONNX(model.SerializeToString())
    for shape in ((1, 2, 3, 4), (2, 2, 5, 3)):
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        net.setInput(x)
        np.testing.assert_array_equal(net.forward(), np.maximum(x, 0))


@pytest.mark.parametrize("field", ["layer", "layers"])
def test_weights_are_replaced(field: str) -> None:
    """As the networks that colour pictures want it; whatever form the caffemodel has."""
    text = """input: "x" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c"
                convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
        layer { name: "y" type: "Scale" bottom: "c" top: "y" }"""
    x, w = STORED["x"][:, :2, :3, :3], np.float32([[1, 2], [3, -1]])
    net = network(text.encode(), weights_file({"c": [w.reshape(2, 2, 1, 1)]}, field=field))
    net.setInput(x)
    with pytest.raises(cv2dnn.error, match=r"'y' \(Scale\): has no weights"):
        net.forward()
    net.getLayer(net.getLayerId("y")).blobs = [np.full([1, 2], 2.5)]
    once = np.einsum("nchw,kc->nkhw", x, w)
    np.testing.assert_allclose(net.forward(), 2.5 * once, 1e-5, 1e-6)
    np.testing.assert_array_equal(net.getLayer("y").blobs, [[[2.5, 2.5]]])
    np.testing.assert_array_equal(net.getLayer("c").blobs[0].reshape(2, 2), w)
    net.getLayer("c").blobs = [2 * w.reshape(2, 2, 1, 1)]
    np.testing.assert_allclose(net.forward(), 5 * once, 1e-5, 1e-6)
    alone = network(text.encode())
    assert alone.getLayer("c").blobs == []
    for name in "cy":
        alone.getLayer(name).blobs = net.getLayer(name).blobs
    alone.setInput(x)
    np.testing.assert_allclose(alone.forward(), 5 * once, 1e-5, 1e-6)
    for other in (cv2dnn.readNetFromONNX(str(digits.MODEL)), cv2dnn.readNet(DIGITS[1])):
        with pytest.raises(cv2dnn.error, match="only of a prototxt's layers"):
            other.getLayer(1).blobs = [w]


def test_what_goes_wrong_is_an_error() -> None:
    net = network()
    with pytest.raises(cv2dnn.error, match="setInput was not called for x, z"):
        net.forward()
    with pytest.raises(cv2dnn.error, match="no input 'q'; there are x, z"):
        net.setInput(STORED["x"], "q")
    with pytest.raises(cv2dnn.error, match="no layer 'nix'"):
        net.forward("nix")
    with pytest.raises(cv2dnn.error, match="no layer 99"):
        net.getLayer(99)
    of_training = b'layer { name: "d" type: "Data" top: "d" } layer { type: "ReLU" bottom: "d" }'
    of_training += b'layer { name: "y" type: "ReLU" bottom: "d" top: "y" }'
    assert network(of_training).getLayerNames() == ("d", "y")
    with pytest.raises(cv2dnn.error, match="no input ''; there are none"):
        network(of_training).setInput(STORED["x"])
    net.setInput(STORED["x"][0])
    net.setInput(STORED["z"], "z")
    with pytest.raises(cv2dnn.error, match="expected 4 sizes"):
        net.forward()
    for call in (cv2dnn.Net().forward, cv2dnn.Net().getUnconnectedOutLayers):
        with pytest.raises(cv2dnn.error, match="the network is empty"):
            call()
    assert cv2dnn.Net().empty() and not net.empty()
    with pytest.raises(cv2dnn.error, match=r"nix\.prototxt"):
        cv2dnn.readNetFromCaffe("nix.prototxt", "nix.caffemodel")
    with pytest.raises(cv2dnn.error, match="not a network in Caffe's text form"):
        cv2dnn.readNetFromCaffe(b"layer { nix")
    assert issubclass(cv2dnn.error, ValueError)


def test_a_program_that_has_opencv_catches_its_error() -> None:
    program = """import sys, types
cv2 = sys.modules["cv2"] = types.ModuleType("cv2")
cv2.error = type("error", (Exception,), {})
from linnet.compat import cv2dnn
try:
    cv2dnn.readNetFromCaffe("nix.prototxt")
except cv2.error as problem:
    print(problem)
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "nix.prototxt" in run.stdout
