"""linnet run on many pictures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from linnet import cli

pytest.importorskip("PIL.Image", reason="the image extra is not installed")
DIGITS = Path(__file__).parent / "data" / "digits"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten digits and a broken file, in the folder p of the current one."""
    (tmp_path / "p").mkdir()
    for digit in range(10):
        shutil.copy(DIGITS / f"{digit}.png", tmp_path / "p" / f"{digit}.png")
    (tmp_path / "p" / "55.png").write_text("broken")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*options: str, status: int = 0) -> None:
    assert cli.main(["run", "digits", "p", "--threads", "1", *options]) == status


def best(lines: str) -> list[Any]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [
        f["outputs"]["prob"]["top"][0]["index"] if "outputs" in f else f["error"] for f in found
    ]


EXPECTED = [0, 1, 2, 3, 4, 5, "not a readable image: unknown format", 6, 7, 8, 9]


def test_a_line_for_each_picture(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]):
    run("--top", "2", "--batch", "4")
    lines = capfdbinary.readouterr().out.decode()
    assert best(lines) == EXPECTED
    run("--top", "2", "--batch", "4", "--out", "r.jsonl", "--readers", "3")
    assert (folder / "r.jsonl").read_text("utf-8") == lines
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"r.jsonl: 11 pictures, 11 of them now, 1 not readable") and err == b""


def test_parts_are_the_whole(folder: Path):
    run("--out", "r.jsonl", "--batch", "4")
    for part in "123":
        run("--out", f"r{part}.jsonl", "--shard", f"{part}/3", "--batch", "4")
    parts = [(folder / f"r{part}.jsonl").read_bytes() for part in "123"]
    assert b"".join(parts) == (folder / "r.jsonl").read_bytes()


def test_csv(folder: Path):
    run("--out", "r.csv", "--top", "1", "--fetch", "prob")
    with open(folder / "r.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [int(row["index1"]) if row["index1"] else row["error"] for row in rows]
    assert found == EXPECTED and rows[0]["label1"] == "digit 0"
    assert list(rows[0]) == ["image", "error", "index1", "label1", "value1"]


def test_values(folder: Path):
    run("--out", "r.jsonl", "--values", "--fetch", "fc1")
    first = json.loads((folder / "r.jsonl").read_text("utf-8").splitlines()[0])
    assert len(first["outputs"]["fc1"]["values"]) == 128


def test_it_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]):
    run("--out", "r.jsonl", "--batch", "4")
    whole = (folder / "r.jsonl").read_bytes()
    run("--out", "r.jsonl", status=2)
    assert "r.jsonl: is there already" in capsys.readouterr().err
    (folder / "r.jsonl").write_bytes(whole[: len(whole) // 2])
    run("--out", "r.jsonl", "--batch", "4", "--resume", "--json")
    data = json.loads(capsys.readouterr().out)
    assert data["pictures"] == 11 and 4 < data["new"] < 8
    assert (folder / "r.jsonl").read_bytes() == whole
    run("--out", "r.jsonl", "--resume")
    assert "11 pictures, all there already" in capsys.readouterr().out


def test_a_run_that_is_stopped_is_gone_on_with_alike(folder: Path, monkeypatch: pytest.MonkeyPatch):
    run("--out", "whole.jsonl", "--batch", "3", "--scale", "1/200", "--mean", "3")
    begun = cli.many.results.Results.add
    monkeypatch.setattr(cli.many, "_WRITTEN", 0.0)

    def stopped(file: Any, answers: Any) -> None:
        begun(file, answers)
        if file.done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli.many.results.Results, "add", stopped)
    how = ["--out", "r.jsonl", "--scale", "1/200", "--mean", "3"]
    run(*how, "--batch", "3", status=130)
    assert (folder / "r.jsonl.run").exists()
    monkeypatch.setattr(cli.many.results.Results, "add", begun)
    run("--out", "r.jsonl", "--resume", status=2)
    run(*how, "--resume")  # with the batch that it was begun with
    assert (folder / "r.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    assert not (folder / "r.jsonl.run").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["digits", "--out", "r.csv", "--fill", "zeros"], "--out is for a folder of pictures"),
        (["digits", "p", "--fill", "zeros"], "--fill is not for 'p'"),
        (["digits", "p", "--resume"], "--resume needs --out"),
        (["digits", "p", "--shared-folder"], "--shared-folder is for --scheduler"),
        (["digits", "p", "--shard", "3/2"], "3/2 is not one of 2 parts"),
        (["digits", "p", "--batch", "0"], "'0' is not a positive number"),
        (["digits", "*.jpg"], "*.jpg: there are no such files"),
        (["digits", "p", "--out", "r.txt"], "written to .csv or .jsonl"),
        (["digits", "p", "--labels", "few.txt"], "2 labels for 848 classes"),
        (["digits", "p", "--size", "9"], "size is 9x9, but the model takes 88x88"),
        (["p", "--fill", "zeros"], "p: "),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(
    folder: Path, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    (folder / "few.txt").write_text("a\nb\n")
    assert cli.main(["run", *argv]) == 2
    out, err = capsys.readouterr()
    assert said in err and err.count("\n") == 1 and out == ""


def test_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(cli.many.time, "monotonic", lambda: now)
    progress = cli.many.Progress(total=12_000, before=2_000)
    now += 59
    progress.add([("a", {})] * 2500)
    assert capsys.readouterr().err == ""
    now += 41
    progress.add([("b", {"error": "no"})] * 2500)
    said = "7,000 of 12,000, 50.0 images/s, 1 min 40 s left, 2,500 not readable"
    assert capsys.readouterr().err.split("\n")[0].rstrip() == said
