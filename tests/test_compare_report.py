"""Tables, files, charts and pages made of what a comparison has measured."""

from __future__ import annotations

import csv
import io
import json
import platform
from pathlib import Path
from xml.etree import ElementTree

import pytest
from compared import as_data, cells

from linnet.compare import chart, page, report, runtimes
from linnet.compare.bench import Cell, Protocol, Row
from linnet.compare.machine import Watch
from linnet.compare.runtimes import Runtime


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("fake", Path("adapter.py"), {"kind": "here", "import": "numpy"}, {})


def test_tables_mark_the_best_and_give_the_ratio(runtime: Runtime) -> None:
    rows = [
        Row("linnet", runtime, {}, cells(0.002, 0.003)),
        Row("b", runtime, {}, cells(0.004, 0.001)),
    ]
    rows[0].cells[1].facts["accuracy"] = 0.9915
    text = report.as_text([as_data(rows)])
    lines = [line.split() for line in text.splitlines()]
    assert ["linnet", "*2.000", "3.000", "99.15%"] in lines
    assert ["b", "4.000", "*1.000", "-"] in lines
    assert ["linnet", "*2.000", "±0%", "3.000", "±0%"] in lines
    assert ["b", "2.00x", "0.33x"] in lines


def rows_of_both(runtime: Runtime) -> list[Row]:
    """linnet-direct is its fastest row in float32; int8 gains one image and loses two of 200."""
    own, int8 = Runtime("linnet", runtime.adapter, {"kind": "here"}, {}), {"int8": "linnet"}
    rows = [
        Row("linnet", own, {}, cells(0.004, 0.004)),
        Row("linnet-direct", own, {}, cells(0.005, 0.003)),
        Row("b", runtime, {}, cells(0.001, 0.001)),
        Row("linnet-int8", own, int8, cells(0.002, 0.002)),
        Row("b-int8", runtime, int8, cells(0.008, 0.001)),
    ]
    for row, share in zip(rows, (0.98, 0.98, 0.98, 0.985, 0.97)):
        row.cells[0].facts["accuracy"] = share
    return rows


def test_int8_is_kept_apart_beside_linnet_s_best_in_float32(runtime: Runtime) -> None:
    run = as_data(rows_of_both(runtime))
    floats, integers = report.groups(run)
    assert [row["name"] for row in floats.rows] == ["linnet", "linnet-direct", "b"]
    names = ["linnet-direct, float32", "linnet-int8", "b-int8"]
    assert [row["name"] for row in integers.rows] == names
    text = report.as_text([run])
    lines = [line.split() for line in text[text.index("In int8: times") :].splitlines()]
    assert ["b-int8", "4.00x", "0.50x"] in lines
    assert ["linnet-direct,", "float32", "2.50x", "1.50x"] in lines
    assert ["linnet-direct,", "float32", "5.000", "3.000", "98.00%", "0.00%"] in lines
    assert ["linnet-int8", "*2.000", "2.000", "98.50%", "-0.50%"] in lines
    assert ["b-int8", "8.000", "*1.000", "97.00%", "1.00%"] in lines
    html = page.as_html([run])
    assert "In float32" in html and "In int8" in html and "linnet-int8's" in html


def test_a_smaller_network_is_no_row_of_the_others(runtime: Runtime) -> None:
    own = Runtime("linnet", runtime.adapter, {"kind": "here"}, {})
    rows = [*rows_of_both(runtime), Row("linnet-shrunk", own, {"smaller": True}, cells(0.0005))]
    rows[-1].cells[0].facts["accuracy"] = 0.975
    *others, group = report.groups(as_data(rows))
    assert all(row["name"] != "linnet-shrunk" for other in others for row in other.rows)
    names = ["linnet-direct, float32", "linnet-shrunk"]
    assert [row["name"] for row in group.rows] == names and group.subject == "linnet-shrunk"
    assert report.answers(group)[1] == [["98.00%", "0.00%"], ["97.50%", "0.50%"]]
    assert "In a smaller network" in page.as_html([as_data(rows)])


def test_int8_without_labels_or_float_rows(runtime: Runtime) -> None:
    rows = rows_of_both(runtime)[3:]
    for row in rows:
        row.cells[0].facts = {"agreement": 0.9}
    (group,) = report.groups(as_data(rows))
    assert group.baseline is None
    assert report.answers(group) == (["same class"], [["90.00%"], ["90.00%"]])
    rows[0].cells[0].facts = {"accuracy": 0.9}
    (group,) = report.groups(as_data(rows))
    assert report.answers(group) == (["accuracy", "loss"], [["90.00%", "-"], ["-", "-"]])


def test_int8_has_a_chart_below(runtime: Runtime) -> None:
    drawing = report.as_chart([as_data(rows_of_both(runtime))])
    alone = report.as_chart([as_data(rows_of_both(runtime)[:3])])
    assert drawing.height > alone.height + chart.LEAST_HEIGHT - 1
    svg = ElementTree.fromstring(drawing.svg())
    places = {
        text.text: float(text.get("y", 0)) for text in svg.iter("{http://www.w3.org/2000/svg}text")
    }
    assert places["linnet-direct"] < alone.height < places["linnet-direct, float32"]
    assert alone.height < places["linnet-int8"] < drawing.height
    titles = [text for text in places if text and text.startswith("net, 1 thread")]
    assert [title.rsplit(", ", 1)[1] for title in titles] == ["float32", "int8"]


def test_more_work_than_its_threads_is_noted(runtime: Runtime) -> None:
    greedy = Cell(1, times=[0.004], cpu=3.9, wall=1.0)
    rows = [Row("linnet", runtime, {}, cells(1.0)), Row("b", runtime, {}, [greedy])]
    assert report.reasons(as_data(rows)) == ["b: kept 3.9 CPUs busy, more than its threads"]


def test_data_is_json_in_milliseconds_per_image(runtime: Runtime) -> None:
    row = Row("linnet", runtime, {}, [Cell(4, times=[0.004, 0.008])])
    failed = Row("b", runtime, {}, [Cell(4, "failed", "wrong", difference=float("nan"))])
    protocol = Protocol([4], 2, float("inf"), 100)
    text = json.dumps(report.as_data([row, failed], "net", protocol, Watch()), allow_nan=False)
    data = json.loads(text)
    assert data["rows"][0]["cells"][0]["mean"] == pytest.approx(1.5)
    assert data["rows"][0]["cells"][0]["calls"] == 2
    assert data["rows"][1]["cells"][0]["status"] == "failed"
    assert data["protocol"]["threads"] == 2


def test_paths_in_data_say_nothing_of_the_user(runtime: Runtime) -> None:
    cache = runtimes.cache_folder()
    cell = Cell(1, facts={"libraries": [{"path": f"{cache}/compare/b.so"}, {"path": "/usr/b.so"}]})
    (row,) = as_data([Row("linnet", runtime, {}, [cell])])["rows"]
    assert [library["path"] for library in row["libraries"]] == ["compare/b.so", "/usr/b.so"]


def test_csv_has_a_line_per_cell(runtime: Runtime) -> None:
    failed = Cell(4, "failed", 'wrong, by "0.5"')
    rows = [Row("linnet", runtime, {}, [Cell(1, times=[0.004]), failed])]
    first, second = csv.DictReader(io.StringIO(report.as_csv([as_data(rows)])))
    assert (first["row"], first["batch"], first["status"]) == ("linnet", "1", "ok")
    assert float(first["median"]) == pytest.approx(4.0)
    assert (second["status"], second["reason"]) == ("failed", 'wrong, by "0.5"')
    assert second["median"] == ""


def test_chart_is_logarithmic_on_both_axes(runtime: Runtime) -> None:
    times = {1: 0.001, 10: 0.1, 100: 10.0}  # 1, 10, 100 ms per image: a straight line
    rows = [
        Row("a<b", runtime, {}, [Cell(n, times=[t]) for n, t in times.items()]),
        Row("none", runtime, {}, [Cell(n, "error", "absent") for n in times]),
    ]
    svg = ElementTree.fromstring(report.as_chart([as_data(rows)]).svg())
    name = "{http://www.w3.org/2000/svg}"
    dots = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in svg.iter(f"{name}circle")]
    (x0, y0), (x1, y1), (x2, y2) = dots[:3]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and x1 > x0
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2) and y1 < y0
    texts = [text.text for text in svg.iter(f"{name}text")]
    assert "a<b" in texts and "none: n/a" in texts


def test_chart_as_a_picture_has_every_line_where_the_drawing_has_it() -> None:
    image = pytest.importorskip("PIL.Image", "10.1", reason="Pillow is an extra")
    family = [chart.Line(name, [(1, y), (4, y)], name) for name, y in (("a", 1.0), ("b", 7.0))]
    drawing = chart.Chart("title", "x", "y", family)
    picture = image.open(io.BytesIO(drawing.png()))
    assert picture.size == (2 * drawing.width, 2 * drawing.height)
    svg = ElementTree.fromstring(drawing.svg())
    strokes = [p for p in svg.iter("{http://www.w3.org/2000/svg}path") if p.get("stroke")]
    colours = dict.fromkeys(stroke.get("stroke") for stroke in strokes)
    assert len(colours) == 2
    for stroke in strokes:
        x, y = stroke.get("d", "").lstrip("M").split("L")[0].split()
        found = picture.getpixel((round(2 * float(x)) + 20, round(2 * float(y))))
        wanted = tuple(bytes.fromhex(stroke.get("stroke", "")[1:]))
        assert all(abs(f - w) < 40 for f, w in zip(found, wanted)), stroke.attrib


def test_labels_of_a_chart_do_not_overlap() -> None:
    lines = [chart.Line(f"line {i}", [(1, 1 + i / 1e6)], "f") for i in range(60)]
    svg = ElementTree.fromstring(chart.Chart("", "", "", lines).svg())
    ends = sorted(
        float(text.get("y", ""))
        for text in svg.iter("{http://www.w3.org/2000/svg}text")
        if (text.text or "").startswith("line")
    )
    assert len(ends) == 60
    assert min(b - a for a, b in zip(ends, ends[1:])) >= 12
    assert ends[0] > 0 and ends[-1] < float(svg.get("viewBox", "").split()[3])


def test_html_is_one_file(runtime: Runtime) -> None:
    rows = [Row("linnet", runtime, {}, [Cell(1, times=[0.004]), Cell(2, "error", "<absent>")])]
    library = {"path": "/lib/libblas.so.3", "sha256": "5" * 64, "corename": "Haswell"}
    rows[0].cells[0].facts = {"version": "7", "libraries": [library], "accuracy": 0.9915}
    text = page.as_html([as_data(rows)])
    assert "<svg" in text
    assert "&lt;absent&gt;" in text and "<absent>" not in text
    for shown in ("4.000", "/lib/libblas.so.3", "5" * 64, "Haswell", "99.15%", platform.release()):
        assert shown in text
    for loaded in ("src=", "href=", "@import", "url("):
        assert loaded not in text


def test_regressions_of_linnet_alone_are_found(runtime: Runtime) -> None:
    own = Runtime("linnet", runtime.adapter, {"kind": "here"}, {})
    before = as_data([Row("linnet", own, {}, cells(1.0)), Row("b", runtime, {}, cells(1.0))])
    after = as_data([Row("linnet", own, {}, cells(1.04)), Row("b", runtime, {}, cells(9.0))])
    assert report.regressions(after, before, 0.05) == []
    (line,) = report.regressions(after, before, 0.03)
    assert line == "linnet at batch 1: 1000.000 -> 1040.000 ms per image (+4%)"
    lost = as_data([Row("linnet", own, {}, [Cell(1, "error", "gone")])])
    assert report.regressions(lost, before, 0.05) == ["linnet at batch 1: gone"]


def test_a_baseline_is_of_the_same_kind(runtime: Runtime, tmp_path: Path) -> None:
    path, run = tmp_path / "r.json", as_data([Row("linnet", runtime, {}, cells(1.0))])
    path.write_text(report.as_json([run, {**run, "date": "later"}, {**run, "model": "other"}]))
    assert report.baseline(path, report.kind(run))["date"] == "later"
    del run["protocol"]["interval_ms"]  # as files written before it was measured
    assert "each pass" not in report.title(run)
    waiting = report.kind(run)._replace(interval_ms=20.0)
    with pytest.raises(ValueError, match=r"; this is net, .*, 20 ms before each pass$"):
        report.baseline(path, waiting)
    with pytest.raises(
        ValueError, match=r"r.json is of net, 1 thread, .*; this is net, 2 threads, "
    ):
        report.baseline(path, report.kind(run)._replace(threads=2))
