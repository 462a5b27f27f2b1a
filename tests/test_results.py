"""The file with one line for each picture, and going on with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from linnet.results import Results, flat

TOP = {"prob": {"top": [{"index": 3, "label": 'a "b", ä', "value": 0.5}]}}
NAMES = ["1.jpg", 'q"\n,.jpg', "\udcff.jpg", "4.jpg", "5.jpg"]
ANSWERS: list[dict[str, Any]] = [{"outputs": TOP}, {"error": "no\nway"}, *[{"outputs": TOP}] * 3]
SETTLED = {"batch": 4, "columns": list(flat(TOP))}


def write(path: Path, names: list[str] = NAMES, until: int = 5, **how: Any) -> None:
    with Results(path, names, how.get("given", {"top": 5}), how.get("resume", False)) as file:
        file.settle(file.settled or SETTLED)
        for i in range(file.done, until):
            file.add([(names[i], ANSWERS[i])])
        if until == len(names):
            file.finish()


@pytest.fixture(params=[".jsonl", ".csv"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"r{request.param}"


def test_one_line_for_each_picture(tmp_path: Path):
    write(tmp_path / "r.jsonl")
    lines = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert found == [{"image": n, **a} for n, a in zip(NAMES, ANSWERS)] and "ä" in lines[0]
    write(tmp_path / "r.csv")
    with open(tmp_path / "r.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == NAMES and rows[1]["error"] == "no\nway"
    assert (
        rows[0]["label1"] == 'a "b", ä' and rows[1]["value1"] == "" and rows[4]["value1"] == "0.5"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.csv", "r.jsonl"]


def test_wherever_it_was_cut_it_becomes_the_same(path: Path):
    write(path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        write(path, resume=True)
        assert path.read_bytes() == whole
    path.write_bytes(whole[:100] + bytes(300))  # of a power cut
    write(path, resume=True)
    assert path.read_bytes() == whole


def test_it_goes_on_as_it_was_begun(path: Path):
    write(path, until=2)
    with Results(path, NAMES, {"top": 5}, True) as file:
        assert file.done == 2 and file.settled == SETTLED
    with pytest.raises(ValueError, match="begun with top 5, not 3"):
        write(path, resume=True, given={"top": 3})
    with pytest.raises(ValueError, match=r"is there already; --resume"):
        write(path)
    other = ["1.jpg", "2.jpg", *NAMES[2:]]
    with pytest.raises(ValueError, match=r"line 2 is of .*, expected '2.jpg'"):
        write(path, other, resume=True)
    with pytest.raises(ValueError, match="expected no more"):
        write(path, NAMES[:1], until=1, resume=True)
    before = path.read_bytes()
    with Results(path, NAMES, {"top": 5}, True), pytest.raises(ValueError, match="another process"):
        write(path, resume=True)
    assert path.read_bytes() == before


def test_pictures_may_be_added(path: Path):
    write(path, NAMES[:3], until=3)
    write(path, resume=True)
    longer = path.read_bytes()
    path.unlink()
    write(path)
    assert path.read_bytes() == longer


def test_what_is_no_result_is_not_gone_on_with(tmp_path: Path):
    for text in ("notes\n", '{"other": 1}\n', "[1]\n"):
        (tmp_path / "r.jsonl").write_text(text)
        with pytest.raises(ValueError, match="line 1 is not"):
            write(tmp_path / "r.jsonl", resume=True)
        assert (tmp_path / "r.jsonl").read_text() == text
    with pytest.raises(ValueError, match=r"written to \.csv or \.jsonl"):
        write(tmp_path / "r.txt")


def test_columns():
    two = {
        "a": {"values": [[1, 2], [3, 4]]},
        "b": {"shape": [2, 1], "min": 0, "max": 1, "mean": 0.5},
    }
    assert flat(two) == {
        **{f"a.value{i}": i + 1 for i in range(4)},
        **{"b.shape": "2x1", "b.min": 0, "b.max": 1, "b.mean": 0.5},
    }
    assert flat(TOP) == {"index1": 3, "label1": 'a "b", ä', "value1": 0.5}


def test_more_numbers_than_columns_are_refused(tmp_path: Path):
    with Results(tmp_path / "r.csv", ["a"], {}, False) as file:
        file.settle({"columns": ["value1"]})
        with pytest.raises(ValueError, match="2 numbers for 1 columns"):
            file.add([("a", {"outputs": {"y": {"values": [1, 2]}}})])
