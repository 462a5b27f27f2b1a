"""Matrices of frameworks, back-ends and models: run, cut short, planned, drawn and written."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from compared import ADAPTER, cells, parse, small_graph

from linnet.cli import compare
from linnet.compare import bench, heat, matrix, matrix_page, network, report
from linnet.compare.bench import Cell, Protocol, Row
from linnet.compare.machine import Watch
from linnet.compare.runtimes import Runtime
from linnet.formats.onnx_write import save

CELLS = {"caffe-atlas": (0.004, 0.03), "caffe-mkl": (0.002, 0.006), "tensorflow-mkl": ()}


def measured(model: str, threads: int) -> dict[str, Any]:
    """A run of three rows at batch 1 and 2, of which one cannot be and one cell is wrong."""
    rows = []
    for name, times in CELLS.items():
        framework, blas = name.split("-")
        runtime = Runtime(framework, Path("x.py"), {"kind": "here"}, {})
        found = cells(*times) or [Cell(1), Cell(1)]
        found[1].batch = 2
        for cell in found:
            cell.facts["libraries"] = [
                {"path": f"/c/lib{blas}.so", "sha256": 64 * "a", "borrowed": "yes"}
            ]
            if not times:
                cell.fail("error", "calls no <BLAS>")
        rows.append(Row(name, runtime, {"blas": blas}, found))
    if model == "b.onnx":
        rows[0].cells[1].fail("failed", "logits differ by 3, allowed 0.1")
    data = report.as_data(rows, model, Protocol([1, 2], threads, 1.0, 20), Watch())
    return {**data, "matrix": True}


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    return [measured(model, threads) for model in ("a.onnx", "b.onnx") for threads in (1, 2)]


def test_ratios_are_within_a_model_batch_and_number_of_threads(runs: list[Any]) -> None:
    found = {(e.row, e.model, e.batch, e.threads): e for e in matrix.entries(runs)}
    assert len(found) == 3 * 2 * 2 * 2
    assert found["caffe-atlas", "a", 1, 1].ratio == pytest.approx(2)
    assert found["caffe-atlas", "a", 2, 2].ratio == pytest.approx(5)
    assert found["caffe-mkl", "a", 2, 2].ratio == 1
    assert found["caffe-atlas", "b", 2, 1].ratio is None
    assert found["tensorflow-mkl", "a", 1, 1].blas == "mkl"


def test_text_says_what_was_found_and_why_not(runs: list[Any]) -> None:
    text = matrix.as_text(runs)
    lines = [line.split() for line in text.splitlines()]
    assert ["caffe-atlas", "15.00", "FAILED"] in lines and [
        "caffe-mkl",
        "*3.000",
        "*3.000",
    ] in lines
    assert "tensorflow-mkl: calls no <BLAS>" in text
    assert "caffe-atlas (b): logits differ by 3, allowed 0.1" in text
    assert not any(line[:1] == ["tensorflow-mkl"] for line in lines)
    assert "14 cells verified, of 4 combinations" in text and "2 FAILED" in text


def test_csv_has_every_cell_with_its_library(runs: list[Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(report.as_csv(runs))))
    assert len(lines) == 24
    assert (lines[0]["runtime"], lines[0]["blas"], lines[0]["threads"]) == ("caffe", "atlas", "1")
    assert lines[0]["blas_sha256"] == 64 * "a"


def test_heat_map_has_a_cell_for_each(runs: list[Any]) -> None:
    picture = heat.heat_map(runs)
    root = ElementTree.fromstring(picture.svg())
    tags = [element.tag.rsplit("}", 1)[-1] for element in root.iter()]
    assert tags.count("polygon") == 2 * (2 * 4 + 7)  # cells of shown rows, and the legend
    text = picture.svg()
    assert "caffe-atlas, a, batch 2: 5.00 times the fastest" in text
    assert "FAILED" in text and "tensorflow-mkl" not in text
    assert picture.png()[:4] == b"\x89PNG"
    assert heat.colour(1.0) == heat.COLOURS[0]
    assert heat.colour(1e9) == heat.colour(heat.SLOWEST) == heat.COLOURS[-1]


def test_page_can_be_filtered_and_needs_nothing_else(runs: list[Any]) -> None:
    page = matrix_page.as_html(runs)
    assert page.count("<tr data-framework") == 24
    assert 'data-blas="atlas"' in page and "calls no &lt;BLAS&gt;" in page
    assert set(re.findall(r'<select data-filter="(\w+)"', page)) == set(matrix_page.FILTERS)
    assert not re.search(r'(src|href)="', page) and 64 * "a" in page


def test_a_file_of_a_matrix_is_one_again(
    runs: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "m.json", tmp_path / "m.svg"
    path.write_text(report.as_json(runs))
    assert compare.run(parse("--merge", str(path), "-o", str(picture))) == 1  # one cell is wrong
    assert "14 cells verified" in capsys.readouterr().out
    assert "times the fastest" in picture.read_text()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: Any) -> list[str]:
    """Two models, and two rows of a runtime made of NumPy, which is quick to start."""
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "adapter.py").write_text(ADAPTER)
    runtime = Runtime("fake", tmp_path / "adapter.py", {"kind": "here", "import": "numpy"}, {})
    rows = {name: Row(name, runtime, {"kernels": name}) for name in ("one", "two")}
    monkeypatch.setattr(compare, "matrix_rows", lambda: rows)
    for name in ("a.onnx", "b.onnx"):
        save(small_graph(name), tmp_path / name)
    return [str(tmp_path / name) for name in ("a.onnx", "b.onnx")]


QUICK = ("--batches", "1,2", "--threads", "1,2", "--seconds", "0.02")


def test_a_matrix_cut_short_goes_on(small: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    output = tmp_path / "m.json"
    arguments = ("--matrix", *small, *QUICK, "-o", str(output))
    done, whole = [], bench.Bench._measure

    def until_the_sixth(self: bench.Bench, batch: int, *rest: Any) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        whole(self, batch, *rest)
        done.append(batch)

    monkeypatch.setattr(bench.Bench, "_measure", until_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        compare.run(parse(*arguments))
    kept = sorted((tmp_path / "cache" / "compare" / "unfinished").glob("*.json"))
    assert len(kept) == 3 and not output.exists()
    before = [json.loads(path.read_text())["batches"] for path in kept]
    monkeypatch.setattr(bench.Bench, "_measure", whole)
    assert compare.run(parse("--matrix", small[0], *QUICK, "--batches", "3")) == 0  # another one
    monkeypatch.setattr(bench.Bench, "_measure", lambda s, b, *r: (done.append(b), whole(s, b, *r)))
    assert compare.run(parse(*arguments)) == 0
    assert len(done) == 8  # none twice
    found = report.read(output)
    assert [(r["model"], r["protocol"]["threads"]) for r in found] == [
        (model, threads) for model in ("a.onnx", "b.onnx") for threads in (1, 2)
    ]
    assert matrix.is_matrix(found) and all(e.ratio for e in matrix.entries(found))
    times = {tuple(c["times"]) for r in found for row in r["rows"] for c in row["cells"]}
    for batches in before:
        for cell in (cell for cells_ in batches.values() for cell in cells_):
            assert tuple(round(t, 9) for t in cell["times"]) in times
    assert not (tmp_path / "cache" / "compare" / "unfinished").exists()


def test_a_plan_measures_nothing(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.run(parse("--matrix", *small, *QUICK, "--plan")) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[2][:3] == ["a.onnx", "8", "0"] and lines[4][:3] == ["together", "16", "0"]
    assert not (tmp_path / "cache" / "compare").exists()


def test_a_plan_grows_with_what_is_to_be_computed(small: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(matrix, "macs_per_second", lambda: 1e6)
    rows = list(compare.matrix_rows().values())
    graph = small_graph()
    assert matrix.macs(graph) == 4 * 9 * 8 * 7 + 5 * 48
    one, eight = (
        matrix.plan(graph, [Protocol([batch], 1, 1.0, 20)], rows, 2).seconds for batch in (1, 8)
    )
    assert one < eight


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--plan",), "--plan goes with --matrix"), (("--threads", "1,2"), "--threads goes with")],
)
def test_what_only_a_matrix_has(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare.run(parse(*arguments))


def test_one_perturbed_weight_of_any_model_fails(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    runtime = Runtime("fake", tmp_path / "adapter.py", {"kind": "here", "import": "numpy"}, {})
    rows = [Row("right", runtime, {}), Row("wrong", runtime, {"perturb": 0.2})]
    graph = small_graph()
    network.export(graph, tmp_path)
    images = np.random.default_rng(8).random((5, 1, 10, 9), np.float32)
    expected = network.expect(graph, images)
    bench.Bench(Protocol([1], 1, 0.02, 5), expected, tmp_path, lambda *_: None).measure(rows)
    assert [row.cells[0].status for row in rows] == ["ok", "failed"]
    data = report.as_data(rows, "a.onnx", Protocol([1], 1, 0.02, 5), Watch())
    assert "1 FAILED" in matrix.as_text([{**data, "matrix": True}])
