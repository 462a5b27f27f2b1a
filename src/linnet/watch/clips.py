"""Videos of visits, and pictures by the clock.

A ring buffer has the last seconds, so that a clip begins before its visit does. Where the source
sends H.264, which every browser plays, its packets are stored as they came; other pictures are
encoded, and only while a clip lasts. Clips are fragmented MP4: of one that is cut off in the middle
all but the last second plays.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .history import CLIP, TIMED
from .pipeline import Look, Watch
from .sources import Frame
from .store import Store, jpeg_of

MOST = 1 << 26  # bytes of the ring, and of what waits to be written
LONGEST = 120.0  # seconds of one clip
AWAY = 0.25  # of its height that a visitor moves, so that the clip goes on
SYNCED = 2.0  # seconds of a clip that a power cut may take, at most
ENCODERS = ("libx264", "libopenh264", "h264_v4l2m2m")
TICKS = 90_000  # of a second, in clips


class _Item(NamedTuple):
    """A packet of the source, or a picture to be encoded."""

    date: float  # seconds since 1970
    content: Any
    size: int  # bytes
    key: bool  # whether a clip may begin here
    times: tuple[int | None, int | None, Any] = (None, None, None)  # pts, dts and their unit


class Clips:
    """Records the visits of a watch until it is left; a context manager.

    seconds: how long before a visit, and after, a clip begins and ends. While a visitor stands
    still nothing is recorded; once it moves there is a clip again. ValueError if PyAV cannot
    encode.
    """

    def __init__(self, watch: Watch, store: Store, seconds: float) -> None:
        import av

        self._av: Any = av
        self.watch, self.store, self.seconds = watch, store, seconds
        self._encoder = next((n for n in ENCODERS if n in av.codecs_available), None)
        if self._encoder is None:
            raise ValueError(f"--record: this PyAV has none of {', '.join(ENCODERS)}")
        self._changed = threading.Condition()
        self._ring: deque[_Item] = deque()
        self._bytes = self._backlog = 0
        self._queue: deque[tuple[_Clip, _Item | None]] = deque()
        self._clip: _Clip | None = None
        self._stream: Any = None  # of the source, if its packets can be stored
        self._from, self._until = math.inf, -math.inf
        self._places: dict[int, tuple[float, float]] = {}  # of visits, where they were last busy
        self._recording = self._closing = self._failing = False
        self._thread = threading.Thread(target=self._run, name="linnet-clips", daemon=True)

    def __enter__(self) -> Clips:
        self._thread.start()
        self.watch.listeners.append(self._look)
        self.watch.sensors.append(self._frame)
        self.watch.source.tap = self._packet
        return self

    def __exit__(self, *ignored: object) -> None:
        self.watch.listeners.remove(self._look)
        self.watch.sensors.remove(self._frame)
        self.watch.source.tap = None
        with self._changed:
            self._end()
            self._closing = True
            self._changed.notify_all()
        self._thread.join(60)

    def _look(self, look: Look) -> None:
        """In the thread of events: until when to record."""
        for event in look.events:
            if event.kind == "began":
                self._places[event.visit.track] = (math.inf, math.inf)
            elif event.kind == "ended":
                self._places.pop(event.visit.track, None)
        began = [event.visit.began for event in look.events if event.kind != "ended"]
        for track in look.tracks:
            if track.id not in self._places or not track.present:
                continue
            _, x, y = track.path[-1]
            u, v = self._places[track.id]
            if not math.hypot(x - u, y - v) < AWAY * float(track.box[3] - track.box[1]):
                self._places[track.id] = x, y
                began.append(look.frame.date)
        with self._changed:
            if began:
                self._from = min(began) - self.seconds
                self._until, self._recording = look.frame.date + self.seconds, True
            elif look.frame.date > self._until:
                self._recording = False
                self._end()

    def _packet(self, stream: Any, packet: Any, date: float) -> None:
        """In the thread of the source, once the packet is decoded."""
        context = stream.codec_context
        if context.name != "h264" or context.pix_fmt not in ("yuv420p", "yuvj420p"):
            with self._changed:
                self._renew(None)
        elif packet.size:
            times = packet.pts, packet.dts, packet.time_base
            self._put(_Item(date, packet, packet.size, packet.is_keyframe, times), stream)

    def _frame(self, frame: Frame) -> None:
        """In the thread of the source. PyAV's picture is kept where there is one: the smallest."""
        if self._stream is None:
            content = frame if frame.native is None else frame.native
            self._put(_Item(frame.date, content, frame.luma.size * 3 // 2, True), None)

    def _put(self, item: _Item, stream: Any) -> None:
        with self._changed:
            self._renew(stream)
            if not self.watch.source.live:
                self._changed.wait_for(lambda: self._backlog < MOST // 2 or self._closing)
            self._ring.append(item)
            self._bytes += item.size
            self._forget(item.date - self.seconds - 1)
            if self._clip and item.key and item.date - self._clip.began > LONGEST:
                self._end()
                self._from = item.date
            if self._backlog > MOST:  # until the next visitor moves
                self._end()
                self._recording = False
            elif self._clip:
                self._enqueue(item)
            elif self._recording:
                self._begin()
            self._changed.notify_all()

    def _renew(self, stream: Any) -> None:
        """Forgets what another stream has sent: a camera may be opened anew."""
        if stream is not self._stream:
            self._end()
            self._ring.clear()
            self._bytes, self._stream = 0, stream

    def _forget(self, before: float) -> None:
        """Takes from the ring what no clip will begin with: all up to the last key picture before
        that date, and what is too much for memory.
        """
        while self._ring:
            after = next((i for i, item in enumerate(self._ring) if i and item.key), None)
            if after is None or (self._ring[after].date > before and self._bytes <= MOST):
                break
            for _ in range(after):
                self._bytes -= self._ring.popleft().size
        if self._bytes > MOST:  # no key picture for so long
            self._ring.clear()
            self._bytes = 0

    def _begin(self) -> None:
        """A clip, of what the ring has from a key picture on."""
        starts = [i for i, item in enumerate(self._ring) if item.key]
        if not starts:
            return
        first = max((i for i in starts if self._ring[i].date <= self._from), default=starts[0])
        began = self._ring[first].date
        self._clip = _Clip(self._av, self.store, began, self._stream, str(self._encoder))
        for item in list(self._ring)[first:]:
            self._enqueue(item)

    def _enqueue(self, item: _Item) -> None:
        if self._clip:
            self._queue.append((self._clip, item))
            self._backlog += item.size

    def _end(self) -> None:
        if self._clip:
            self._queue.append((self._clip, None))
            self._clip, self._from = None, math.inf

    def _run(self) -> None:
        """Writes, in a thread of its own: a slow card holds nobody up."""
        broken: _Clip | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                clip, item = self._queue.popleft()
                self._backlog -= item.size if item else 0
                self._changed.notify_all()
            if clip is broken:
                continue
            try:
                if item:
                    clip.write(item)
                else:
                    clip.finish()
                    self._failing = False
            except (OSError, sqlite3.Error, ValueError, self._av.error.FFmpegError) as error:
                broken = clip
                clip.discard()
                if not self._failing:
                    self.watch.say(f"{self.store.folder}: a clip could not be written: {error}")
                self._failing = True
                with self._changed:
                    if self._clip is clip:  # the next begins once a visitor moves
                        self._clip, self._recording = None, False


class _Clip:
    """A file, made as the first picture is written.

    The stream of the source, if its packets are to be stored, must be open while this is
    constructed.
    """

    def __init__(self, av: Any, store: Store, began: float, stream: Any, encoder: str) -> None:
        self._av, self._store, self.began, self._encoder = av, store, began, encoder
        self._file = _File()
        options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000"}
        self._output = av.open(self._file, "w", format="mp4", options=options)
        self._track = _copied(self._output, stream) if stream is not None else None
        self._packets = stream is not None
        # Not the picture's own, which another thread may be using.
        self._reformat = av.video.reformatter.VideoReformatter().reformat
        self._number: int | None = None
        self._last, self._first, self._ended = -1, 0, began

    def write(self, item: _Item) -> None:
        """OSError, FFmpegError or sqlite3.Error if it cannot be written."""
        if self._number is None:
            self._number, path = self._store.begin_medium(CLIP, self.began)
            self._file.open(path)
        for packet in self._packed(item):
            self._output.mux(packet)
        self._ended = max(self._ended, item.date)

    def _packed(self, item: _Item) -> Iterator[Any]:
        at = round((item.date - self.began) * TICKS)
        if not self._packets:
            yield from self._encoded(item.content, max(at, self._last + 1))
            return
        pts, dts, unit = item.times
        ticks = Fraction(unit or Fraction(1, TICKS)) * TICKS
        stamp = at if dts is None else round(dts * ticks)  # cameras leave them out at times
        if self._last < 0:
            self._first = stamp
        shift = 0 if pts is None or dts is None else round((pts - dts) * ticks)
        self._last = max(stamp - self._first, self._last + 1)
        packet = item.content
        packet.stream, packet.time_base = self._track, Fraction(1, TICKS)
        packet.dts, packet.pts = self._last, self._last + max(shift, 0)
        yield packet

    def _encoded(self, picture: Any, at: int) -> Iterator[Any]:
        if isinstance(picture, Frame):
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.rgb()), "rgb24")
        if self._track is None:
            # Every two seconds or so a picture that can be sought.
            options = {"preset": "superfast", "crf": "26", "tune": "zerolatency"}
            self._track = self._output.add_stream(
                self._encoder, rate=30, options=options if self._encoder == "libx264" else {}
            )
            context = self._track.codec_context
            context.width, context.height = picture.width & ~1, picture.height & ~1
            context.pix_fmt, context.time_base = "yuv420p", Fraction(1, TICKS)
            context.thread_count, context.gop_size = 1, 30  # the detector needs the other cores
        context = self._track.codec_context
        frame = self._reformat(picture, context.width, context.height, "yuv420p")
        self._last = frame.pts = at
        frame.time_base, frame.pict_type = Fraction(1, TICKS), 0
        yield from self._track.encode(frame)

    def finish(self) -> None:
        if self._number is None:
            return
        if not self._packets and self._track is not None:
            self._output.mux(self._track.encode())
        self._output.close()
        self._store.end_medium(self._number, self._ended, self._file.end())

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.end()
        if self._file.path:
            self._file.path.unlink(missing_ok=True)
        if self._number is not None:
            with contextlib.suppress(sqlite3.Error):  # else the store does it when opened again
                self._store.end_medium(self._number, None, 0)


def _copied(output: Any, stream: Any) -> Any:
    """A stream of the output for packets of another's."""
    if hasattr(output, "add_stream_from_template"):
        return output.add_stream_from_template(stream)
    return output.add_stream(template=stream)  # PyAV before 14


class _File:
    """What FFmpeg writes to: a file, on the disk after SYNCED seconds at the latest."""

    path: Path | None = None
    _handle: io.BufferedWriter | None = None
    _synced = 0.0
    _size = 0

    def open(self, path: Path) -> None:
        self.path, self._handle = path, open(path, "wb")  # noqa: SIM115
        self._synced = time.monotonic()

    def write(self, data: Any) -> int:
        if self._handle is None:
            raise OSError("the clip has no file")
        self._size += self._handle.write(data)
        self._handle.flush()
        if time.monotonic() - self._synced > SYNCED:
            os.fsync(self._handle.fileno())
            self._synced = time.monotonic()
        return len(data)

    def end(self) -> int:
        """Returns how many bytes there are."""
        handle, self._handle = self._handle, None
        if handle:
            with handle:
                handle.flush()
                os.fsync(handle.fileno())
        return self._size


class Timed:
    """Stores a picture every so many seconds; a listener of a Watch."""

    def __init__(self, watch: Watch, store: Store, seconds: float) -> None:
        self.store, self.seconds, self.say = store, seconds, watch.say
        self._next, self._failing = -math.inf, False

    def __call__(self, look: Look) -> None:
        time = look.frame.time
        if time < self._next:
            return
        late = time - self._next  # the next is not, unless pictures come too seldom
        self._next = time + self.seconds - (late if late < self.seconds else 0)
        date = look.frame.date
        try:
            data = jpeg_of(look.frame.rgb())
            number, path = self.store.begin_medium(TIMED, date)
            path.write_bytes(data)
            self.store.end_medium(number, date, len(data))
        except (OSError, sqlite3.Error) as error:
            if not self._failing:
                self.say(f"{self.store.folder}: a picture could not be stored: {error}")
            self._failing = True
            return
        self._failing = False
