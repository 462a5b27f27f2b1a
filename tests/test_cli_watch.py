"""linnet watch: events as text and JSON, what it says of bad input, and how it stops."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from yards import RedBoxes, video

from linnet import cli
from linnet.cli import watch as command
from linnet.watch import Store


@pytest.fixture
def red(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector of what walks in the tests' yard."""
    monkeypatch.setattr(command, "_detector", lambda args: RedBoxes())


@pytest.fixture
def yard(tmp_path: Path) -> str:
    return str(video(tmp_path / "yard.mp4"))


@pytest.fixture(autouse=True)
def _signals():
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)]
    yield
    for name, handler in zip((signal.SIGTERM, signal.SIGINT), before):
        signal.signal(name, handler)


@pytest.mark.usefixtures("red")
def test_events_are_lines_json_and_rows(yard, tmp_path, capsys):
    zone = ["--zone", "gate:60,0,100,0,100,120,60,120"]
    folder = str(tmp_path / "events")
    assert cli.main(["watch", "--source", yard, *zone, "--events", folder]) == 0
    out, err = capsys.readouterr()
    lines = [line.split("  ", 1)[1] for line in out.splitlines()]
    assert lines == [
        "person 1 is there",
        "person 1 enters gate",
        "person 1 leaves gate",
        "person 1 was there for 3 s",
    ]
    assert err == "linnet: 60 pictures looked at, 0 dropped\n"
    assert cli.main(["watch", "--source", yard, *zone, "--events", folder, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["began", "entered", "left", "ended"]
    assert {event["id"] for event in events} == {2}
    store = Store(folder)
    assert [visit["id"] for visit in store.visits(zone="gate")] == [2, 1]
    store.close()


@pytest.mark.usefixtures("red")
def test_all_that_comes_of_it_at_once(yard, tmp_path, capsys, monkeypatch):
    folder = str(tmp_path / "events")
    monkeypatch.setattr("sys.stdin", io.StringIO("what the owl saw\n"))
    assert cli.main(["watch", "--set-password", "--events", folder]) == 0
    ends = ["--web", "127.0.0.1:0", "--record", "--snapshot-every", "2", "--mqtt", "127.0.0.1:1"]
    assert cli.main(["watch", "--source", yard, "--events", folder, *ends]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 2
    assert "the password is set" in err
    assert "the page is at http://127.0.0.1:" in err
    store = Store(folder)
    (visit,) = store.visits()
    assert len(visit["clips"]) == 1
    assert len(store.unsent()) == 2
    assert len(list((tmp_path / "events" / "pictures").iterdir())) == 3
    store.close()


@pytest.mark.usefixtures("red")
def test_the_bench_prints_stages(yard, capsys):
    assert cli.main(["watch", "--bench", yard]) == 0
    out = capsys.readouterr().out
    assert "60 pictures" in out
    assert "against the truth" not in out


@pytest.mark.usefixtures("red")
def test_the_bench_judges_with_and_without_the_gate(yard, tmp_path, capsys):
    pytest.importorskip("trackeval")
    truth = tmp_path / "truth.txt"
    truth.write_text(
        "".join(f"{i + 1},1,{5 * i - 56},60,12,30,1,person,1\n" for i in range(12, 41))
    )
    assert cli.main(["watch", "--bench", yard, "--truth", str(truth), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {"linnet", "linnet, no gate"} <= set(runs)
    assert runs["linnet"]["visit_recall"] == runs["linnet"]["visit_precision"] == 1
    assert runs["linnet"]["looks"] < runs["linnet, no gate"]["looks"] == 60


def test_it_stops_at_sigterm_with_the_shipped_detector(yard, tmp_path):
    command = [
        sys.executable,
        "-m",
        "linnet",
        "watch",
        "--source",
        yard,
        "--loop",
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--events", str(tmp_path / "events")], stderr=subprocess.PIPE, text=True
    )
    database = tmp_path / "events" / "events.sqlite"
    while not database.exists() and process.poll() is None:
        pass
    try:
        process.wait(1.5)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err.startswith("linnet: ")
    assert "pictures looked at" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "nothing.mp4"], "nothing.mp4': no such video, folder or camera"),
        (
            ["--source", "YARD", "--zone", "gate:0,0,640,0,640,480"],
            "outside the picture of 160x120",
        ),
        (["--source", "YARD", "--zone", "gate:1,2"], "at least three corners"),
        (["--source", "YARD", *["--zone", "g:0,0,9,0,9,9"] * 2], "two zones of the same name"),
        (["--source", "YARD", "--model", "digits"], "digits"),
        (["--source", "YARD", "--model", "a", "b", "c"], "--model takes a model"),
        (["--source", "YARD", "--labels", "SHORT"], "1 labels for 3 classes"),
        (["--source", "YARD", "--classes", "dog"], "dog"),
        (["--source", "YARD", "--truth", "t.txt"], "--truth is for --bench"),
        (["--source", "BAD"], "bad.mp4"),
        (["--source", "YARD", "--events", "YARD"], "yard.mp4"),
        (["--bench", "YARD", "--truth", "SHORT"], "line 1 is not picture,object"),
        (["--bench", "YARD", "--truth", "DOG"], "'dog', but the detector finds 'person'"),
        (["--get-model", "nothing"], "nothing"),
        (["--source", "YARD", "--web", "8080"], "--web needs --events DIR"),
        (["--source", "YARD", "--snapshot-every", "9"], "--snapshot-every needs --events DIR"),
        (["--source", "YARD", "--web", "99999"], "is not [HOST:]PORT"),
        (["--source", "YARD", "--web", "0.0.0.0:0", "--events", "NEW"], "needs a password"),
        (["--source", "YARD", "--mqtt", "hub/a/b"], "expected HOST or mqtt"),
        (["--source", "YARD", "--record", "0", "--events", "NEW"], "is not a positive number"),
        (["--export", "csv"], "--export needs --events DIR"),
        (["--export", "csv", "--events", "NEW"], "no events were stored there"),
        (["--export", "xml", "--events", "NEW"], "invalid choice: 'xml'"),
        ([], "--source"),
    ],
)
def test_bad_input_is_one_sentence(yard, tmp_path, capsys, options, message):
    (tmp_path / "labels.txt").write_text("person\n")
    (tmp_path / "bad.mp4").write_bytes(Path(yard).read_bytes()[:2000])
    files = {"YARD": yard, "SHORT": str(tmp_path / "labels.txt"), "BAD": str(tmp_path / "bad.mp4")}
    (tmp_path / "dog.txt").write_text("1,1,0,0,9,9,1,dog\n")
    files.update(NEW=str(tmp_path / "new"), DOG=str(tmp_path / "dog.txt"))
    assert cli.main(["watch", *(files.get(option, option) for option in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("linnet: error: ")
    assert err.count("\n") == 1
    assert message in err
