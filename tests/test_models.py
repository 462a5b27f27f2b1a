"""The shipped model and small Caffe networks, against what their own frameworks computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import linnet
from linnet import formats, passes
from linnet.graph import Value

DATA = Path(__file__).parent / "data"
DIGITS = Path(linnet.__file__).parent / "models" / "digits.onnx"
HELD_OUT_CORRECT = 352  # of 360

FIXTURES = sorted(path.stem for path in (DATA / "caffe").glob("*.prototxt"))
# Blobs that no canonical graph computes: the layer that follows is folded into their producer, or
# they only rename another blob.
FOLDED = {
    "batchnorm": {"conv1", "bn1"},
    "inner_product": {"drop"},
}

Array = npt.NDArray[np.float32]


def error(actual: Array, expected: Array) -> float:
    """Largest difference as a fraction of the root mean square of what is expected."""
    assert actual.shape == expected.shape
    rms = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
    return float(np.abs(actual - expected).max() / rms)


def enlarge(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """[n, 8, 8] to [n, 88, 88] as in bench/train_digits.py."""
    centre = (np.arange(88) + 0.5) / 11 - 0.5
    weights = np.maximum(0, 1 - np.abs(centre.clip(0, 7)[:, None] - np.arange(8)))
    return np.floor(weights @ images @ weights.T + 0.5).astype(np.uint8)


def tensor(images: npt.NDArray[np.uint8]) -> Array:
    """Grey images [n, h, w] as the model's input [n, 1, h, w]."""
    return images[:, None].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def caffe_digits() -> dict[str, npt.NDArray[Any]]:
    return dict(np.load(DATA / "digits_caffe.npz"))


def test_digits_accuracy() -> None:
    held_out = np.load(DIGITS.with_name("digits_heldout.npz"))
    x = tensor(enlarge(held_out["images"]))
    prob, features = linnet.load(DIGITS).run(x, fetch=["prob", "relu3"])
    assert prob.shape == (360, 848)
    np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-5)
    assert np.count_nonzero(prob.argmax(axis=1) == held_out["labels"]) == HELD_OUT_CORRECT
    # Within 0.3 points with int8 weights: one digit. The convolutions' weights are not rounded, so
    # what they computed serves again.
    graph = passes.canonicalize(formats.read(DIGITS))
    after = [node.op for node in graph.nodes].index("Flatten")
    graph.nodes, graph.inputs = graph.nodes[after:], [Value("relu3", (0, *features.shape[1:]))]
    net = linnet.load(graph, weights_dtype="int8")
    assert [layer.problem.count(" wint8 ") for layer in net.explain() if layer.macs] == [1, 1]
    rounded = net(features)
    right = np.count_nonzero(rounded.argmax(axis=1) == held_out["labels"])
    assert abs(right - HELD_OUT_CORRECT) <= 1


@pytest.mark.parametrize(("dtype", "most_bytes"), [("f16", 2.1e6), ("int8", 1.1e6)])
def test_digits_with_small_weights(
    dtype: str, most_bytes: float, tmp_path: Path, caffe_digits: dict[str, npt.NDArray[Any]]
) -> None:
    linnet.convert(DIGITS, None, tmp_path / "small.onnx", dtype)
    assert (tmp_path / "small.onnx").stat().st_size < most_bytes
    x = tensor(caffe_digits["inputs"])
    expected = linnet.load(DIGITS).run(x, fetch=["fc2"])[0]
    for net in (linnet.load(tmp_path / "small.onnx"), linnet.load(DIGITS, weights_dtype=dtype)):
        (logits,) = net.run(x, fetch=["fc2"])
        # The shipped weights are float16.
        assert error(logits, expected) < (1e-6 if dtype == "f16" else 0.05)
        np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


def test_digits_inputs_are_held_out(caffe_digits: dict[str, npt.NDArray[Any]]) -> None:
    held_out = np.load(DIGITS.with_name("digits_heldout.npz"))
    firsts = [int(np.flatnonzero(held_out["labels"] == digit)[0]) for digit in range(8)]
    np.testing.assert_array_equal(caffe_digits["inputs"], enlarge(held_out["images"][firsts]))


@pytest.mark.parametrize("path", sorted((DATA / "digits").glob("*.png")), ids=lambda p: p.stem)
def test_digits_pictures(path: Path) -> None:
    """Grey and RGB pictures of 88x88, 8x8 and 132x132 pixels, named by their digit."""
    pillow = pytest.importorskip("PIL.Image", reason="the test extra is not installed")
    with pillow.open(path) as picture:
        pixels = np.asarray(picture)
    prob = linnet.load(DIGITS).run_image(pixels)[0]
    assert prob.argmax() == int(path.stem[0])
    assert prob.max() > 0.9


@pytest.mark.parametrize("form", ["onnx", "caffe"])
def test_digits_matches_caffe(form: str, caffe_digits: dict[str, npt.NDArray[Any]]) -> None:
    if form == "onnx":
        net = linnet.load(DIGITS)
        names = {"conv1": "relu1", "conv2": "relu2", "conv3": "relu3"}
    else:
        net = linnet.load(DATA / "digits.prototxt", DATA / "digits.caffemodel")
        names = {}
    x = tensor(caffe_digits["inputs"])
    fc2, prob = net.run(x, fetch=["fc2", "prob"])
    assert error(fc2, caffe_digits["fc2"]) <= 1e-4
    assert error(prob, caffe_digits["prob"]) <= 1e-4
    assert (prob.argmax(axis=1) == caffe_digits["labels"]).all()

    blobs = ["conv1", "pool1", "conv2", "pool2", "conv3", "fc1"]
    values = net.run(x[:1], fetch=[names.get(blob, blob) for blob in blobs])
    errors = {b: error(v, caffe_digits[f"{b}_0"]) for b, v in zip(blobs, values)}
    assert {b: e for b, e in errors.items() if not e <= 1e-4} == {}


def test_digits_caffe_and_onnx_agree(caffe_digits: dict[str, npt.NDArray[Any]]) -> None:
    x = tensor(caffe_digits["inputs"])
    onnx = linnet.load(DIGITS)
    caffe = linnet.load(DATA / "digits.prototxt", DATA / "digits.caffemodel")
    for a, b in zip(onnx.run(x, fetch=["fc2", "prob"]), caffe.run(x, fetch=["fc2", "prob"])):
        assert error(a, b) <= 1e-5
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, float(np.abs(b).max()))


def test_digits_matches_onnxruntime() -> None:
    onnx = pytest.importorskip("onnx", reason="the test extra is not installed")
    ort = pytest.importorskip("onnxruntime", reason="the test extra is not installed")
    model = onnx.load(DIGITS)
    onnx.checker.check_model(model, full_check=True)
    model.graph.output.add().name = "fc2"
    peer = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = tensor(enlarge(np.load(DIGITS.with_name("digits_heldout.npz"))["images"][:64]))
    theirs = peer.run(["fc2", "prob"], {"data": x})
    ours = linnet.load(DIGITS).run(x, fetch=["fc2", "prob"])
    assert [error(a, b) <= 1e-4 for a, b in zip(ours, theirs)] == [True, True]


def test_digits_size() -> None:
    assert DIGITS.stat().st_size <= 2_100_000
    assert (DATA / "digits.caffemodel").stat().st_size <= 4_200_000


@pytest.mark.parametrize("name", FIXTURES)
def test_caffe_fixture(name: str) -> None:
    """Every blob of the network, at the batch size Caffe ran and at batch 1."""
    blobs = dict(np.load(DATA / "caffe" / f"{name}.npz"))
    net = linnet.load(DATA / "caffe" / f"{name}.prototxt", DATA / "caffe" / f"{name}.caffemodel")
    feed = {value.name: blobs.pop(value.name) for value in net.inputs}
    fetch = sorted(blobs.keys() - FOLDED.get(name, set()))
    assert {value.name for value in net.outputs} <= set(fetch)

    values = net.run(None, feed, fetch=fetch)
    errors = {b: error(v, blobs[b]) for b, v in zip(fetch, values)}
    assert {b: e for b, e in errors.items() if not e <= 1e-4} == {}

    last = net.run(None, {k: np.ascontiguousarray(v[-1:]) for k, v in feed.items()}, fetch=fetch)
    errors = {b: error(v, blobs[b][-1:]) for b, v in zip(fetch, last)}
    assert {b: e for b, e in errors.items() if not e <= 1e-4} == {}
