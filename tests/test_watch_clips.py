"""Clips of visits: whole ones, those of a kill, and what is kept of them."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from yards import HEIGHT, RATE, WIDTH, Pictures, RedBoxes, picture, walk

from linnet.watch import History, Store, Watch, open_source
from linnet.watch import watch as watch_
from linnet.watch.clips import Clips, Timed, _File
from linnet.watch.history import CLIP, TIMED


def h264(path: Path, make=walk, count: int = 60, **options: str) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "10", **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(make(index), format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def recorded(source, folder: Path, seconds: float = 1.0, say=lambda text: None) -> Store:
    store = Store(folder)
    watch = Watch(source, RedBoxes(), store=store, say=say)
    with Clips(watch, store, seconds):
        for _ in watch.events():
            pass
    return store


def clips(store: History) -> list[Path]:
    rows = store._database.execute("SELECT id FROM media WHERE kind = ? ORDER BY began", [CLIP])
    return [store.medium(number, CLIP) for (number,) in rows]


def played(path: Path) -> tuple[str, list[float], list[np.ndarray]]:
    """Codec, times of the pictures and the pictures."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        name = container.streams.video[0].codec_context.name
    return name, [frame.time for frame in frames], [f.to_ndarray(format="rgb24") for f in frames]


def walker(pixels: np.ndarray) -> float | None:
    """Where the walker is, in pixels from the left."""
    found = RedBoxes()([pixels])[0][0]
    return float(found[0][2]) if len(found) else None


@pytest.mark.parametrize("bframes", ["0", "2"])
def test_packets_are_stored_as_they_came(tmp_path, bframes, monkeypatch):
    monkeypatch.setattr("linnet.watch.clips._Clip._encoded", None)
    source = h264(tmp_path / "yard.mp4", bf=bframes)
    store = recorded(open_source(source), tmp_path / "events")
    (path,) = clips(store)
    codec, times, pictures = played(path)
    assert codec == "h264"
    # From a second before the walker to a second after, and to the key picture before that.
    assert 4.5 < times[-1] - times[0] < 6.0
    assert np.allclose(np.diff(times)[:-1], 0.1, atol=1e-3)  # the last may lack a B picture
    places = [walker(pixels) for pixels in pictures]
    there = [place for place in places if place is not None]
    assert there == sorted(there)
    assert len(there) >= 30
    assert places[0] is None
    (visit,) = store.visits()
    assert [store.medium(n, CLIP) for n in visit["clips"]] == [path]
    store.close()


def test_other_pictures_are_encoded(tmp_path):
    store = recorded(Pictures(), tmp_path)
    (path,) = clips(store)
    codec, times, pictures = played(path)
    assert codec == "h264"
    assert np.allclose(np.diff(times), 0.1, atol=2e-3)
    there = [place for place in map(walker, pictures) if place is not None]
    assert there == sorted(there)
    assert len(there) >= 30
    store.close()


def test_nothing_is_recorded_of_what_stands(tmp_path):
    """A walker who stops in the middle for a minute and goes on: two clips, not one of a minute."""

    def stops(index: int) -> np.ndarray:
        place = min(index, 20) if index < 620 else index - 600
        return picture((5 * place - 30, 90)) if place < 45 else picture()

    store = recorded(Pictures(stops, 660), tmp_path)
    lengths = [played(path)[1][-1] for path in clips(store)]
    assert len(lengths) == 2
    assert max(lengths) < 8
    (visit,) = store.visits()
    assert len(visit["clips"]) == 2
    store.close()


def test_the_clips_of_a_loop_have_the_dates_of_its_visits(tmp_path):
    source = open_source(h264(tmp_path / "yard.mp4", lambda i: walk(12 + i), 50), loop=True)
    store = Store(tmp_path / "events")
    watch = Watch(source, RedBoxes(), store=store)
    began = time.time()
    watch.listeners.append(lambda look: look.frame.index > 70 and watch.stop())
    with Clips(watch, store, 1):
        for _ in watch.events():
            pass
    second, first = store.visits()
    assert began < first["began"] < second["began"] < time.time()
    assert len(first["clips"]) == len(second["clips"]) == 1
    assert first["clips"] != second["clips"]
    store.close()


def test_a_camera_that_was_opened_anew_has_a_clip_of_its_own(tmp_path):
    source = open_source(h264(tmp_path / "yard.mp4", lambda i: walk(12 + i), 25), loop=True)
    store = Store(tmp_path / "events")
    watch = Watch(source, RedBoxes(), store=store)
    watch.listeners.append(lambda look: look.frame.index > 40 and watch.stop())
    with Clips(watch, store, 5):
        for _ in watch.events():
            pass
    assert len(clips(store)) == 2
    for path in clips(store):
        assert len(played(path)[1]) >= 10
    store.close()


KILLED = """
import sys
sys.path[:0] = sys.argv[3:]
from test_watch_clips import Clips, Pictures, RedBoxes, Store, Watch, open_source, picture
import time
def slow(look):
    time.sleep(0.02)
    print(look.frame.index, flush=True)
moves = lambda i: picture((40 + i % 100, 90))
source = open_source(sys.argv[2]) if sys.argv[2] else Pictures(moves, 9999)
store = Store(sys.argv[1])
watch = Watch(source, RedBoxes(), store=store)
watch.listeners.append(slow)
with Clips(watch, store, 1):
    for event in watch.events():
        pass
"""


@pytest.mark.parametrize("packets", [True, False])
def test_a_kill_in_the_middle_of_a_clip_leaves_the_rest(tmp_path, packets):
    """And a second watch can go on in the same folder."""
    moves = lambda i: picture((40 + i % 100, 90))  # noqa: E731
    source = h264(tmp_path / "yard.mp4", moves, 400) if packets else ""
    folder = tmp_path / "events"
    command = [sys.executable, "-c", KILLED, str(folder), source, *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 80:
                break
        process.send_signal(signal.SIGKILL)
    store = Store(folder)
    assert store._database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    (path,) = clips(store)
    _, times, pictures = played(path)
    assert times[-1] > 5  # of eight seconds, all but the last and what waited to be written
    assert all(walker(pixels) is not None for pixels in pictures)
    (visit,) = store.visits()
    assert len(visit["clips"]) == 1
    store.close()
    recorded(Pictures(), folder).close()
    assert len(clips(History(folder))) == 2


def test_a_full_disk_is_told_once_and_the_next_clip_is_whole(tmp_path, monkeypatch):
    write, full = _File.write, [True]

    def writes(self, data):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(_File, "write", writes)
    said: list[str] = []
    store = Store(tmp_path)
    for free in (False, False, True):
        full[0] = not free
        watch = Watch(Pictures(), RedBoxes(), store=store, say=said.append)
        with Clips(watch, store, 1):
            assert len(list(watch.events())) == 2
    assert len(said) == 2
    assert "a clip could not be written" in said[0]
    (path,) = clips(store)
    assert len(played(path)[1]) > 40
    assert [p.name for p in (tmp_path / "clips").iterdir()] == [path.name]
    store.close()


def test_the_ring_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("linnet.watch.clips.MOST", 1_000_000)
    store = Store(tmp_path)
    watch = Watch(Pictures(lambda i: picture(), 300), RedBoxes(), store=store)
    with Clips(watch, store, 100) as made:
        for _ in watch.events():
            pass
        assert 900_000 < sum(item.size for item in made._ring) == made._bytes <= 1_000_000
    assert clips(store) == []
    store.close()


def test_clips_are_kept_within_a_budget_and_an_age(tmp_path):
    store = Store(tmp_path, days=1, media=100_000)
    now = 1e9
    for hour in range(30):
        number, path = store.begin_medium(CLIP, now - 3600 * hour)
        path.write_bytes(bytes(10_000))
        store.end_medium(number, now - 3600 * hour + 5, 10_000)
    assert store.trim(now) == 0
    assert len(clips(store)) == 9  # the last that were made
    assert len(list((tmp_path / "clips").iterdir())) == 9
    store.close()
    store = Store(tmp_path, days=1)
    store.trim(now + 2 * 86400)
    assert clips(store) == []
    store.close()


def test_pictures_by_the_clock(tmp_path):
    store = Store(tmp_path)
    watch = Watch(Pictures(count=60), RedBoxes(), store=store)
    watch.listeners.append(Timed(watch, store, 2))
    for _ in watch.events():
        pass
    rows = store._database.execute("SELECT id, began FROM media WHERE kind = ?", [TIMED]).fetchall()
    assert [began - 1e9 for _, began in rows] == pytest.approx([0, 2, 4])
    assert all(store.medium(number, TIMED).read_bytes()[:2] == b"\xff\xd8" for number, _ in rows)
    assert store.medium(rows[0][0], CLIP) is None
    store.close()


def test_events_in_python(tmp_path):
    """linnet.watch.watch, with the shipped detector."""
    source = h264(tmp_path / "yard.mp4", count=20)
    events = watch_(source, zones=["gate:0,0,9,0,9,9"], events=tmp_path / "events", record=2)
    assert list(events) == []
    assert History(tmp_path / "events").visits() == []
    with pytest.raises(ValueError, match="record needs"):
        next(watch_(source, record=2))
    with pytest.raises(ValueError, match="three corners"):
        next(watch_(source, zones=["gate:1,2"]))
