"""How a TFLite file says that pictures become its input, and what its classes are called."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tflite_models import Op, Tensor, flat, model

import linnet
from linnet import Preprocess, formats

PICTURE = np.random.default_rng(7).integers(0, 256, (4, 5, 3), dtype=np.uint8)
MEAN, STD = np.float32([127.5]), np.float32([127.5])
LABELS = "background\ntench\ngoldfish ö"


def tensor(
    mean: Any = None, std: Any = None, image: Mapping[int, Any] | None = None, *files: Any
) -> dict[int, Any]:
    """A TensorMetadata. files: name and type of each."""
    table: dict[int, Any] = {}
    if image is not None:
        table[3] = {0: ("B", 2), 1: dict(image)}
    if mean is not None or std is not None:
        options = {i: v for i, v in enumerate((mean, std)) if v is not None}
        table[4] = [{0: ("B", 2), 1: {}}, {0: ("B", 1), 1: options}]
    if files:
        table[6] = [{0: name, 2: ("b", kind)} for name, kind in files]
    return table


def described(
    inputs: list[dict[int, Any]],
    outputs: list[dict[int, Any]],
    shape: tuple[int, ...] = (1, 4, 5, 3),
    dtype: str = "float32",
    metadata: bytes | None = None,
    **packed: str,
) -> bytes:
    """A model that does nothing, with metadata, and files behind it."""
    data = metadata or flat({3: [{2: inputs, 3: outputs}]}, b"M001")
    tensors = {"x": Tensor(shape, dtype=dtype), "y": Tensor(shape)}
    # The last buffer is the metadata's: the model has no constants, and its first one is empty.
    more = {
        4: [{}, {0: np.frombuffer(data, np.uint8)}],
        6: [{0: "min_runtime_version", 1: ("I", 0)}, {0: "TFLITE_METADATA", 1: ("I", 1)}],
    }
    file = model(tensors, [Op("CAST", ["x"], ["y"])], ["x"], ["y"], more)
    if not packed:
        return file
    archive = io.BytesIO(file)
    with zipfile.ZipFile(archive, "a") as contents:
        for name, text in packed.items():
            contents.writestr(f"{name}.txt", text)
    return archive.getvalue()


def record(data: bytes) -> Preprocess | None:
    graph = formats.read(data)
    text = graph.metadata.get("linnet.preprocess")
    return None if text is None else Preprocess.parse(text)


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        (tensor(MEAN, STD), Preprocess(mean=127.5, scale=1 / 127.5)),
        (tensor(MEAN, STD, {}), Preprocess(mean=127.5, scale=1 / 127.5)),
        (tensor(MEAN, STD, {0: ("b", 1)}), Preprocess(mean=127.5, scale=1 / 127.5)),
        (
            tensor(np.float32([1, 2, 3]), np.float32([4, 5, 8]), {}),
            Preprocess(mean=(1, 2, 3), scale=(1 / 4, 1 / 5, 1 / 8)),
        ),
        (tensor(image={}), Preprocess()),
        (tensor(), None),
    ],
)
def test_mean_and_deviation(metadata: dict[int, Any], wanted: Preprocess | None) -> None:
    found = record(described([metadata], [{}]))
    assert found == (wanted and Preprocess(mean=wanted.mean, scale=wanted.scale, layout="nhwc"))


def test_the_session_takes_pictures() -> None:
    net = linnet.load(described([tensor(MEAN, STD, {})], [{}]))
    np.testing.assert_allclose(net.run_image(PICTURE)[0], PICTURE / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("dtype", "less"), [("uint8", 0), ("int8", 128)])
def test_bytes_are_the_pixels(dtype: str, less: int) -> None:
    """Whatever the reals are that they stand for."""
    net = linnet.load(described([tensor(MEAN, STD, {})], [{}], dtype=dtype))
    x = net.prepare(PICTURE)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x[0].astype(int), PICTURE.astype(int) - less)


def test_what_is_no_picture_has_no_record() -> None:
    assert record(described([tensor(MEAN, STD)], [{}], shape=(1, 60))) is None
    assert record(described([tensor(MEAN, STD)], [{}], shape=(1, 4, 5, 2))) is None
    assert record(described([tensor(MEAN, STD)] * 2, [{}])) is None
    assert record(described([], [])) is None
    assert record(described([tensor(MEAN, STD)], [{}], metadata=b"\0" * 4 + b"M002")) is None


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (tensor(np.float32([1, 2]), STD), "mean is not known: "),
        (tensor(MEAN, np.float32([0])), "scale is not known: "),
        (tensor(MEAN, np.float32([np.nan])), "scale is not known: "),
        (tensor(MEAN, None), "scale is not known: "),
        (tensor(np.float32([]), np.float32([])), "mean is not known: .*; scale is not known"),
    ],
)
def test_numbers_that_are_wrong_are_told_when_needed(metadata: dict[int, Any], said: str) -> None:
    net = linnet.load(described([metadata], [{}]))
    with pytest.raises(ValueError, match=said):
        net.run_image(PICTURE)


def test_labels_are_in_the_archive_behind() -> None:
    outputs = [tensor(None, None, None, ("notes.txt", 1), ("labels.txt", 2), ("more.txt", 2))]
    data = described([{}], outputs, labels=LABELS, more="x", notes="y")
    assert linnet.load(data).labels == LABELS.splitlines()
    # Labels of what the numbers are, not of their places; a file that is not there.
    for files in ([("labels.txt", 3)], [("lost.txt", 2)], [("../labels.txt", 2)]):
        data = described([{}], [tensor(None, None, None, *files)], labels=LABELS)
        assert linnet.load(data).labels == []
    assert linnet.load(described([{}], outputs)).labels == []


def test_large_labels_are_left_out() -> None:
    data = described([{}], [tensor(None, None, None, ("labels.txt", 2))], labels="x" * (5 << 20))
    assert linnet.load(data).labels == []


def test_damaged_metadata_is_told_when_needed() -> None:
    """The model runs, whatever the bytes."""
    whole = described([tensor(MEAN, STD, {})], [tensor(None, None, None, ("a.txt", 2))], a="b\nc")
    place = whole.index(b"M001") - 4
    size = len(
        flat({3: [{2: [tensor(MEAN, STD, {})], 3: [tensor(None, None, None, ("a.txt", 2))]}]})
    )
    choice, told = random.Random(3), 0
    for _ in range(400):
        at = choice.choice(
            [choice.randrange(place, place + size), choice.randrange(place + size, len(whole))]
        )
        damaged = whole[:at] + bytes([choice.randrange(256)]) + whole[at + 1 :]
        try:
            graph = formats.read(damaged)
            Preprocess.parse(graph.metadata.get("linnet.preprocess", "{}"))
        except ValueError as error:
            told += "preprocess: " in str(error)
    assert told > 20
