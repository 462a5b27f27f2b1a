"""Pictures from files, folders and cameras that come and go."""

from __future__ import annotations

import subprocess
import sys
import time

import av
import numpy as np
import pytest
from PIL import Image
from yards import HEIGHT, RATE, WIDTH, Pictures, picture, video, walk

from linnet.watch import Frame, Source, open_source
from linnet.watch.sources import Folder, Looped, Reader, Video, shown


class Camera(Source):
    """Live; fails after `each` pictures, and `broken` times when it is opened again."""

    name, live = "camera 1", True

    def __init__(self, each: int = 5, broken: int = 0) -> None:
        self.each, self.broken, self.opened = each, broken, 0

    def frames(self):
        self.opened += 1
        if 1 < self.opened <= 1 + self.broken:
            raise ValueError("camera 1: no picture: unplugged")
        for index in range(self.each):
            time.sleep(0.002)
            yield Frame(index, time.monotonic(), time.time(), picture()[..., 0], picture)
        raise OSError("camera 1: no picture: cut")


def take(reader: Reader, count: int) -> list[Frame]:
    found: list[Frame] = []
    while len(found) < count:
        taken = reader.take(5.0)
        assert taken is not None
        found.append(taken[0])
    return found


def test_a_video_has_its_pictures_times_and_luma(tmp_path):
    source = open_source(video(tmp_path / "walk.mp4", count=30))
    assert isinstance(source, Video)
    assert not source.live
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([i / RATE for i in range(30)])
    assert frames[0].date == pytest.approx((tmp_path / "walk.mp4").stat().st_mtime)
    assert frames[0].size == (HEIGHT, WIDTH)
    rgb = frames[20].rgb()
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(rgb.astype(int) - walk(20)).mean() < 16
    luma = walk(20) @ [0.299, 0.587, 0.114] * 219 / 255 + 16
    assert np.abs(frames[20].luma - luma).mean() < 8


def test_a_damaged_video_gives_what_can_be_read(tmp_path):
    data = bytearray(video(tmp_path / "walk.avi", count=60).read_bytes())
    random = np.random.default_rng(0)
    for place in random.integers(6000, len(data) - 4000, 60):
        data[place] ^= 0xFF
    (tmp_path / "bad.avi").write_bytes(data)
    assert 20 < len(list(open_source(tmp_path / "bad.avi").frames())) <= 60


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_what_is_no_video_is_refused(tmp_path, size):
    data = video(tmp_path / "walk.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:size])
    with pytest.raises(ValueError, match=r"cut\.mp4': (cannot be opened as a video|no picture)"):
        list(open_source(tmp_path / "cut.mp4").frames())


CLOSED = """
import sys
from itertools import islice
from linnet.watch import open_source
for count in range(1, 31):
    frames = open_source(sys.argv[1]).frames()
    assert len(list(islice(frames, count))) == count
    frames.close()
"""


def test_a_video_is_closed_while_threads_decode_it(tmp_path):
    path = str(tmp_path / "yard.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(60):
            made = av.VideoFrame.from_ndarray(walk(index), format="rgb24")
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    # In a process of its own: what could hang holds the GIL.
    subprocess.run([sys.executable, "-c", CLOSED, path], check=True, timeout=60)


def test_a_folder_is_in_the_order_of_numbers(tmp_path):
    (tmp_path / "more").mkdir()
    for index in range(12):
        name = f"more/{index}.ppm" if index > 9 else f"{index}.png"  # as for `linnet run`
        Image.fromarray(picture((10 * index, 90))).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    source = open_source(tmp_path)
    assert isinstance(source, Folder)
    frames = list(source.frames())
    assert len(frames) == 12
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb(), picture((10 * index, 90)))
    assert np.abs(frames[3].luma - picture((30, 90)) @ [0.299, 0.587, 0.114]).max() < 2


def test_a_folder_without_pictures_and_a_picture_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="there are no pictures"):
        list(open_source(tmp_path).frames())
    (tmp_path / "1.jpg").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"1\.jpg: not a readable image"):
        list(open_source(tmp_path).frames())


def test_what_is_no_source_is_said(tmp_path):
    with pytest.raises(ValueError, match="no such video, folder or camera"):
        open_source(tmp_path / "nothing.mp4")
    with pytest.raises(ValueError, match="only videos and folders"):
        open_source("rtsp://host/stream", loop=True)
    with pytest.raises(ValueError, match="'/dev/video97': no picture"):
        list(open_source("/dev/video97").frames())


def test_a_password_is_not_shown():
    assert shown("rtsp://user:secret@host:554/live") == "rtsp://host:554/live"
    assert "secret" not in open_source("rtsp://user:secret@host/live").name


def test_a_reader_hands_over_every_picture_of_a_video_and_its_end():
    with Reader(Pictures(count=25), lambda frame: frame.index, print) as reader:
        taken = []
        with pytest.raises(EOFError):
            while True:
                found = reader.take(5.0)
                assert found is not None
                taken.append(found[1])
                time.sleep(0.001)
    assert taken == list(range(25))


def test_a_reader_drops_what_nobody_takes_and_never_queues():
    class Fast(Camera):
        def frames(self):
            for index in range(100000):
                time.sleep(0.0005)
                yield Frame(index, time.monotonic(), time.time(), picture()[..., 0], picture)

    with Reader(Fast(), lambda frame: None, print) as reader:
        take(reader, 1)
        before = reader._count
        while reader._count < before + 20:
            time.sleep(0.001)
        newest = reader._count
        assert take(reader, 1)[0].index >= newest - 1
        assert reader.dropped >= 18


def test_a_camera_that_is_lost_is_opened_again_with_a_word(monkeypatch):
    monkeypatch.setattr("linnet.watch.sources.WAITS", (0.01,))
    said: list[str] = []
    camera = Camera(each=3, broken=2)
    with Reader(camera, lambda frame: None, said.append) as reader:
        while camera.opened < 12:
            reader.take(1.0)
        frames = take(reader, 2)
    assert frames[1].index > frames[0].index
    assert said[:3] == [
        "camera 1: no picture: cut; trying again until it is back",
        "camera 1: back",
        "camera 1: no picture: cut; trying again until it is back",
    ]


def test_a_camera_that_never_was_there_is_an_error():
    class Gone(Camera):
        def frames(self):
            raise ValueError("camera 1: no picture: not there")
            yield

    reader = Reader(Gone(), lambda frame: None, print)
    with reader, pytest.raises(ValueError, match="not there"):
        reader.take(5.0)


def test_a_reader_stops_while_it_waits(monkeypatch):
    monkeypatch.setattr("linnet.watch.sources.WAITS", (60.0,))
    camera = Camera(each=1)
    with Reader(camera, lambda frame: None, lambda text: None) as reader:
        take(reader, 1)
    assert not reader._thread.is_alive()
    with Reader(Pictures(count=1000), lambda frame: None, print) as reader:
        take(reader, 1)  # the source waits for the next to be taken
    assert not reader._thread.is_alive()


def test_a_loop_goes_on_counting_at_the_videos_pace(monkeypatch):
    slept: list[float] = []
    clock = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    frames = []
    for frame in Looped(Pictures(count=10)).frames():
        frames.append(frame)
        if len(frames) == 25:
            break
    assert [frame.index for frame in frames] == list(range(25))
    steps = np.diff([frame.time for frame in frames])
    assert (steps > 0.05).all()
    assert (steps < 0.11).all()
    assert sum(slept) == pytest.approx(frames[-1].time - 100)


def test_pictures_come_no_faster_than_asked():
    class Steady(Camera):
        def frames(self):
            for index in range(300):
                yield Frame(index, index / 30, 0.0, picture()[..., 0], picture)

    seen: list[float] = []
    with Reader(
        Steady(), lambda frame: seen.append(frame.time), lambda text: None, rate=10
    ) as reader:
        while reader._count < 290 and len(seen) < 98:
            reader.take(0.05)
    assert 95 <= len(seen) <= 105
