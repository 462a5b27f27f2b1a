"""Visits on disk: what is stored stays, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from yards import picture, until

from linnet.watch import History, Store, Visit
from linnet.watch.history import DATABASE
from linnet.watch.store import PICTURES, SCHEMA, Recorder, jpeg_of

JPEG = jpeg_of(picture((50, 90)))


def visit(number: int, began: float = 1e9, **fields) -> Visit:
    given = {"ended": began + 5, "zones": [("gate", began + 1, began + 2)], **fields}
    path = [(0.0, 10.0, 90.0), (5.0, 60.0, 90.0)]
    return Visit(number, 1, "person", 0.9, began, began + 5, (1.0, 2.0, 3.0, 4.0), path, **given)


def save(store: Store, *args, jpeg: bytes | None = JPEG, **fields) -> None:
    store.save(visit(*args, **fields).to_dict(), "cam", jpeg)


def pictures(folder: Path) -> set[str]:
    return {f"{PICTURES}/{path.name}" for path in (folder / PICTURES).iterdir()}


def test_what_was_saved_is_found(tmp_path):
    store = Store(tmp_path / "events")
    for number, label in ((1, "person"), (2, "cat")):
        made = visit(number, 1e9 + number)
        made.label = label
        store.save(made.to_dict(), "cam", JPEG)
    assert store.next_id == 3
    first, second = store.visits()
    assert (first["id"], second["id"]) == (2, 1)
    assert second["zones"] == [{"zone": "gate", "entered": 1e9 + 2, "left": 1e9 + 3}]
    assert second["path"] == [[0.0, 10.0, 90.0], [5.0, 60.0, 90.0]]
    assert (tmp_path / "events" / second["snapshot"]).read_bytes() == JPEG
    assert [v["id"] for v in store.visits(label="cat")] == [2]
    assert [v["id"] for v in store.visits(zone="gate", until=1e9 + 2)] == [1]
    assert store.visits(zone="door") == store.visits(since=2e9) == []
    store.close()


def test_a_later_state_and_picture_replace_those_before(tmp_path):
    store = Store(tmp_path)
    save(store, 1, ended=None)
    save(store, 1, ended=None, jpeg=None)
    (stored,) = store.visits()
    assert stored["ended"] is None
    assert stored["snapshot"] in pictures(tmp_path)
    other = jpeg_of(picture((90, 90)))
    save(store, 1, jpeg=other)
    (stored,) = store.visits()
    assert stored["ended"] == 1e9 + 5
    assert pictures(tmp_path) == {stored["snapshot"]}
    assert (tmp_path / stored["snapshot"]).read_bytes() == other
    store.close()


def test_a_store_that_was_cut_off_is_mended(tmp_path):
    store = Store(tmp_path)
    save(store, 1, ended=None, zones=[("gate", 1e9, None)])
    store.close()
    (tmp_path / PICTURES / "00000009-1.jpg").write_bytes(b"without a row")
    (tmp_path / PICTURES / "00000010-1.part").write_bytes(b"half")
    store = Store(tmp_path)
    (stored,) = store.visits()
    assert stored["ended"] == stored["seen"] == stored["zones"][0]["left"]
    assert pictures(tmp_path) == {stored["snapshot"]}
    store.close()


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from test_watch_store import Store, save
store = Store(sys.argv[1])
first = store.next_id
for number in range(first, first + 100000):
    save(store, number, ended=None)
    save(store, number)
    print(number, flush=True)
"""


def test_nothing_stored_is_lost_by_a_kill_at_any_moment(tmp_path):
    """Killed while it writes, after other times each; what it said it had stored is there."""
    random = np.random.default_rng(0)
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path), *sys.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(int(random.integers(1, 12)))]
            time.sleep(float(random.uniform(0, 0.02)))
            process.send_signal(signal.SIGKILL)
            said += [int(line) for line in process.stdout.read().split()]
        store = Store(tmp_path)
        found = {v["id"]: v for v in store.visits(most=100000)}
        assert set(said) <= set(found)
        assert all(v["ended"] is not None for v in found.values())
        assert pictures(tmp_path) == {v["snapshot"] for v in found.values()}
        check = sqlite3.connect(tmp_path / DATABASE)
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check.close()
        store.close()


def test_retention_by_age(tmp_path):
    store = Store(tmp_path, days=1)
    now = 1e9 + 10 * 86400
    for number in range(4):
        save(store, number + 1, now - 86400 * number - 100)
    assert store.trim(now) == 3
    assert [v["id"] for v in store.visits()] == [1]
    assert len(pictures(tmp_path)) == 1
    store.close()


def test_retention_by_size_deletes_the_oldest_and_gives_space_back(tmp_path):
    store = Store(tmp_path, bytes=200_000)
    for number in range(120):
        save(store, number + 1, 1e9 + number)
    save(store, 500, 1e9 - 1, ended=None)  # goes on, so it stays
    assert store.size() > 200_000
    assert store.trim() > 0
    assert store.size() <= 200_000
    numbers = [v["id"] for v in store.visits()]
    assert numbers[0] == 120
    assert 500 in numbers
    assert sorted(numbers[:-1]) == list(range(min(numbers), 121))
    on_disk = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert on_disk < 260_000
    assert store.trim() == 0
    store.close()


def test_a_full_database_changes_nothing_and_works_again(tmp_path):
    store = Store(tmp_path)
    save(store, 1)
    pages = store._pragma("page_count")
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    long = [(float(i), 1.0, 2.0) for i in range(5000)]
    made = visit(2)
    made.path = long
    with pytest.raises(sqlite3.Error, match="full"):
        store.save(made.to_dict(), "cam", JPEG)
    assert [v["id"] for v in store.visits()] == [1]
    assert len(pictures(tmp_path)) == 1
    store._database.execute("PRAGMA max_page_count = 100000")
    store.save(made.to_dict(), "cam", JPEG)
    assert [v["id"] for v in store.visits()] == [2, 1]
    store.close()


def test_the_recorder_waits_for_a_full_disk_and_loses_nothing(tmp_path, monkeypatch):
    full = True
    write = Store._write

    def try_to(path, data):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(Store, "_write", staticmethod(try_to))
    monkeypatch.setattr("linnet.watch.store.RETRY", 0.02)
    said: list[str] = []
    store = Store(tmp_path)
    recorder = Recorder(store, "cam", said.append)
    for number in range(1, 6):
        recorder.put(visit(number, 1e9 + number, ended=None, picture=picture((20, 90))))
        recorder.put(visit(number, 1e9 + number))
    until(lambda: said)
    full = False
    until(lambda: len(store.visits()) == 5)
    assert recorder.close() == 0
    assert [v["id"] for v in store.visits()] == [5, 4, 3, 2, 1]
    assert all(v["snapshot"] and v["ended"] for v in store.visits())
    assert len(said) == 2
    assert "cannot be stored" in said[0]
    assert "No space left" in said[0]
    assert "stored again" in said[1]
    store.close()


def test_the_recorder_says_how_many_it_could_not_store(tmp_path, monkeypatch):
    def fail(*args):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "save", fail)
    store = Store(tmp_path)
    recorder = Recorder(store, "cam", lambda text: None)
    recorder.put(visit(1))
    assert recorder.close() == 1
    store.close()


def test_one_process_writes_to_a_folder(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="another process stores events there"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be used"):
        Store(tmp_path / "file")
    (tmp_path / DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match="not a database"):
        Store(tmp_path)
    os.remove(tmp_path / DATABASE)
    later = sqlite3.connect(tmp_path / DATABASE)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(ValueError, match="later version"):
        Store(tmp_path)


def test_a_folder_of_the_first_version_is_taken_over(tmp_path):
    database = sqlite3.connect(tmp_path / DATABASE)
    database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = 1; COMMIT;")
    database.execute("INSERT INTO visits VALUES (7, 'cam', 'cat', 1, 5, 6, 6, '[]', '[]', NULL, 0)")
    database.commit()
    database.close()
    with pytest.raises(ValueError, match="an earlier version"):
        History(tmp_path)
    store = Store(tmp_path)
    assert [v["id"] for v in store.visits()] == [7]
    assert store.drawn() == {}
    assert [v["id"] for v in History(tmp_path).visits()] == [7]
    store.close()


def test_events_are_stored_with_their_visit_or_not_at_all(tmp_path, monkeypatch):
    store = Store(tmp_path, outbox=True)
    store.save(visit(1).to_dict(), "cam", JPEG, ["a", "b"])
    monkeypatch.setattr(Store, "_upsert", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.save(visit(2).to_dict(), "cam", JPEG, ["c"])
    assert [event for _, event in store.unsent()] == ["a", "b"]
    store.sent(store.unsent()[0][0])
    assert [event for _, event in store.unsent()] == ["b"]
    monkeypatch.setattr("linnet.watch.store.MOST_UNSENT", 1)
    store._database.execute("INSERT INTO outbox (event) VALUES ('d')")
    store.trim()
    assert [event for _, event in store.unsent()] == ["d"]
    store.close()


def test_drawn_zones_are_kept(tmp_path):
    store = Store(tmp_path)
    store.draw({"gate": [(0, 0), (1, 0), (0.5, 1)], "door": [(0, 0), (1, 0), (1, 1)]})
    store.draw({"gate": [(0, 0), (1, 0), (0.5, 0.5)]})
    store.close()
    assert History(tmp_path).drawn() == {"gate": [(0, 0), (1, 0), (0.5, 0.5)]}


def test_what_is_no_folder_of_events_has_no_history(tmp_path):
    with pytest.raises(ValueError, match="no events were stored there"):
        History(tmp_path)
    (tmp_path / DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match="not a database"):
        History(tmp_path)


def test_visits_are_json(tmp_path):
    store = Store(tmp_path)
    save(store, 1)
    assert json.loads(json.dumps(store.visits()))[0]["label"] == "person"
    store.close()
