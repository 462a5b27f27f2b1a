"""Results of whole networks by several runtimes, as a table and a picture."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "bench"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("networks")


def cell(median: float | None, reason: str = "") -> dict[str, Any]:
    return {"median": median, "status": "ok" if median else "failed", "reason": reason}


DATA = {
    "settings": {"threads": 2, "batch": 1, "runtimes": ["linnet", "onnxruntime", "ncnn"]},
    "networks": {
        "VGG-16": {
            "problems": [],
            "runtimes": {"linnet": cell(100), "onnxruntime": cell(250), "ncnn": cell(700)},
        },
        "ResNet-18": {
            "problems": ["other programs took 12 % of the machine"],
            "runtimes": {"linnet": cell(20), "onnxruntime": cell(18), "ncnn": cell(None, "no Foo")},
        },
        "MobileNet-v3": {"problems": [], "runtimes": {"linnet": cell(None, "killed")}},
    },
}


def test_report(networks: Any) -> None:
    text = networks.report(DATA)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert lines["VGG-16"] == ["100.00", "250.00", "700.00", "onnxruntime", "2.50"]
    assert lines["ResNet-18"] == ["20.00", "18.00", "failed", "onnxruntime", "0.90"]
    assert lines["MobileNet-v3"][-2:] == ["-", "-"]
    assert "geometric mean of the well-known: 1.50, least 0.90" in text
    assert "ResNet-18, ncnn: no Foo" in text and "NOT VALID: other programs" in text


def test_chart(networks: Any) -> None:
    picture = networks.chart(DATA)
    svg = picture.svg()
    assert "2 threads, batch 1" in svg and "MobileNet-v3" not in svg
    for told in ("VGG-16, onnxruntime: 2.50", "VGG-16, ncnn: 7.00", "ResNet-18, onnxruntime: 0.90"):
        assert f"{told} times linnet" in svg
    marks = {shape.note: shape.at for shape in picture.shapes if hasattr(shape, "note")}
    left, right = (
        marks[f"{name} times linnet's time"][0]
        for name in ("ResNet-18, onnxruntime: 0.90", "VGG-16, onnxruntime: 2.50")
    )
    one = next(s for s in picture.shapes if getattr(s, "text", "") == "linnet").at[0]
    assert left < one < right
    assert marks["VGG-16, ncnn: 7.00 times linnet's time"][0] == 800  # the end, and the figure
    assert any(getattr(shape, "text", "") == "7.0x" for shape in picture.shapes)
    assert "linnet" in networks.chart({**DATA, "networks": {}}).svg()  # nothing was measured


def test_the_first_runtime_is_compared_with_the_others(networks: Any) -> None:
    runtimes = {"linnet-int8": cell(10), "onnxruntime-int8": cell(15), "linnet": cell(25)}
    data = {
        "settings": {**DATA["settings"], "runtimes": list(runtimes)},
        "networks": {"VGG-16": {"problems": [], "runtimes": runtimes}},
    }
    text, svg = networks.report(data), networks.chart(data).svg()
    line = next(line for line in text.splitlines() if line.startswith("VGG-16"))
    assert "over linnet-int8" in text and line.split()[-2:] == ["onnxruntime-int8", "1.50"]
    assert "int8, 2 threads" in svg and "VGG-16, linnet: 2.50 times linnet-int8" in svg


def test_int8_is_one_file_for_all(networks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PAUSE", 0.0)
    args = argparse.Namespace(
        runtimes=["linnet-int8", "linnet"], batch=2, threads=1, seconds=0.01, calls=3, interval=0.0
    )
    found = networks.measured(networks.make("LeNet-5"), args)["runtimes"]
    assert list(found) == ["linnet-int8", "linnet"]
    assert [cell["status"] for cell in found.values()] == ["ok", "ok"]
