"""Where pictures come from: cameras, streams, videos, folders of pictures.

PyAV, which is FFmpeg in Python, reads all but the Raspberry Pi's own camera: Debian has it for
32-bit ARM, it leaves pictures in the planes of their codec, so that the gate reads luma without any
conversion, and it gives the packets of a stream, which can be stored as they came.
"""

from __future__ import annotations

import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from ..folder import pictures
from ..preprocess import read_picture
from ..text import short

Array = npt.NDArray[np.uint8]

SIZE = (640, 480)  # that cameras are asked for: a person 20 m away is still some 40 pixels high
RATE = 15.0  # pictures a second that cameras are asked for, and that a folder has
MOST_PIXELS = 1 << 25  # of a picture
PATIENCE = 10.0  # seconds without a picture after which a stream is lost
DAMAGED = 250  # packets in a row that cannot be decoded, after which a video is given up
WAITS = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a lost camera is tried again


class Frame:
    """One picture.

    index: its number, counting those that were dropped.
    time: seconds on a clock that never jumps, from any origin; date: seconds since 1970.
    luma: uint8 [H, W], brightness, borrowed from the decoder. native: PyAV's picture, if the frame
    is made of one.
    """

    native: Any = None

    def __init__(
        self, index: int, time: float, date: float, luma: Array, rgb: Callable[[], Array]
    ) -> None:
        self.index, self.time, self.date, self.luma = index, time, date, luma
        self._make, self._rgb, self._making = rgb, None, threading.Lock()

    _rgb: Array | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.luma.shape[0], self.luma.shape[1]

    def rgb(self) -> Array:
        """uint8 [H, W, 3]; converted when first asked for, by any thread."""
        with self._making:
            if self._rgb is None:
                self._rgb = self._make()
            return self._rgb


class Source(ABC):
    """Pictures from one place.

    live: pictures come at their own pace and those that nobody takes are lost. tap: called with
    PyAV's stream, a packet of it that was decoded and its date, before the packet's pictures are
    yielded; of sources that have packets. began: when a video begins, in seconds since 1970, if not
    as the file says.
    """

    name: str
    live: bool
    began: float | None = None
    tap: Callable[[Any, Any, float], None] | None = None

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Opens the source and yields its pictures until it ends; OSError or ValueError, in a
        sentence that begins with the source's name, if it cannot be opened or fails.
        """


def open_source(text: str | os.PathLike[str], loop: bool = False) -> Source:
    """The source that a text means: `camera`, /dev/videoN, rtsp://..., a video's or a folder's
    path.

    loop: a video or folder begins again at its end, at the pace it was filmed: as a camera would.
    ValueError if there is no such thing.
    """
    name = os.fspath(text)
    if name == "camera" or name.startswith("/dev/") or re.match(r"(?i)(rtsps?|https?)://", name):
        if loop:
            raise ValueError(
                f"{short(shown(name))}: only videos and folders have an end to loop at"
            )
        camera = PiCamera() if name == "camera" and PiCamera.present() else None
        return camera or Video("/dev/video0" if name == "camera" else name, live=True)
    path = Path(name)
    if not path.exists():
        raise ValueError(
            f"{short(name)}: no such video, folder or camera; a source is camera, /dev/videoN, "
            "rtsp://..., or the path of a video or folder"
        )
    source = Folder(path) if path.is_dir() else Video(name, live=False)
    return Looped(source) if loop else source


def shown(url: str) -> str:
    """An address without its password."""
    return re.sub(r"(?<=//)[^/@]*@", "", url)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise ValueError(
            "videos and cameras need PyAV: pip install linnet[watch], or Debian's python3-av"
        ) from None
    # FFmpeg would print every damaged packet. At any other level a decoder's threads wait for the
    # GIL to log one, while whoever frees the decoder holds it and waits for them.
    try:
        av.logging.set_level(None)
    except TypeError:  # PyAV before 11 has no such level
        av.logging.set_level(av.logging.PANIC)
    return av


def _of_decoder(index: int, time: float, date: float, picture: Any) -> Frame:
    """The frame of a decoder's picture: a plane of luma is lent, others are converted."""
    name = picture.format.name
    bare = picture
    if not re.match(r"(yuvj?4\d\dp|nv12|nv21|gray)$", name):
        bare = picture.reformat(format="gray")
    plane = bare.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    luma = rows[: picture.height, : picture.width]
    frame = Frame(index, time, date, luma, lambda: picture.to_ndarray(format="rgb24"))
    frame.native = picture
    return frame


class Video(Source):
    """What FFmpeg opens: a file, a stream, or a camera of Video4Linux."""

    def __init__(self, url: str, live: bool) -> None:
        self.url, self.live, self.name = url, live, shown(url)

    def _open(self, av: Any) -> Any:
        options, kind = {}, None
        if self.url.startswith("/dev/"):
            kind = "v4l2"
            options = {"video_size": f"{SIZE[0]}x{SIZE[1]}", "framerate": f"{RATE:g}"}
        elif self.url.lower().startswith("rtsp"):
            options = {"rtsp_transport": "tcp"}
        timeout = (PATIENCE, PATIENCE) if self.live else None
        try:
            container = av.open(self.url, format=kind, options=options, timeout=timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._error(error) from None
        if not container.streams.video:
            container.close()
            raise ValueError(f"{short(self.name)}: holds no video")
        return container

    def _error(self, error: Exception) -> ValueError:
        reason = getattr(error, "strerror", None) or str(error)
        what = "cannot be opened as a video" if not self.live else "no picture"
        return ValueError(f"{short(self.name)}: {what}: {reason}")

    def frames(self) -> Iterator[Frame]:
        av = _av()
        container = self._open(av)
        try:
            yield from self._decode(av, container)
        finally:
            container.close()

    def _decode(self, av: Any, container: Any) -> Iterator[Frame]:
        stream = container.streams.video[0]
        # Frames in parallel come late; where decoders log, none may be at work when they are freed.
        parallel = not self.live and av.logging.get_level() is None
        stream.thread_type = "AUTO" if parallel else "SLICE"
        rate = float(stream.average_rate or 0) or RATE
        began, first = self.began, None
        filmed = _filmed(self.url, self.live, container) if began is None else began
        index, bad, reason = 0, 0, ""

        def tap(packet: Any) -> None:
            if self.tap is None:
                return
            date = time.time()
            if not self.live:
                at = 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
                date = filmed + max(at - (first or 0.0), 0.0)
            self.tap(stream, packet, date)

        for picture, error in _pictures(av, container, stream, tap):
            if picture is None:
                bad, reason = bad + 1, error
                if bad >= DAMAGED:
                    break
                continue
            bad = 0
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{short(self.name)}: pictures of more than {MOST_PIXELS} pixels")
            if self.live:
                moment, date = time.monotonic(), time.time()
            else:
                at = picture.time if picture.time is not None else index / rate
                first = at if first is None else first
                moment = max(at - first, 0.0)
                date = filmed + moment
            yield _of_decoder(index, moment, date, picture)
            index += 1
        if not index or bad >= DAMAGED:
            what = "no picture could be read" if not index else f"damaged after {index} pictures"
            raise ValueError(f"{short(self.name)}: {what}{f': {reason}' if reason else ''}")


def _pictures(
    av: Any, container: Any, stream: Any, tap: Callable[[Any], None]
) -> Iterator[tuple[Any, str]]:
    """Each picture, or None and what is wrong with a packet; every packet goes to the tap."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:  # the rest of the stream is unreadable
            yield from ((None, error.strerror or str(error)) for _ in range(DAMAGED))
            return
        if packet is None:
            return
        try:
            pictures = packet.decode()
        except av.error.FFmpegError as error:
            yield None, error.strerror or str(error)
            continue
        tap(packet)
        yield from ((picture, "") for picture in pictures)


def _filmed(url: str, live: bool, container: Any) -> float:
    """When a video begins, in seconds since 1970: as the file says, or when it was last written."""
    if live:
        return time.time()
    from datetime import datetime

    try:
        text = container.metadata.get("creation_time", "").replace("Z", "+00:00")
        return datetime.fromisoformat(re.sub(r"\.\d+", "", text)).timestamp()
    except ValueError:
        return os.stat(url).st_mtime


class Folder(Source):
    """Pictures of a folder and those below it, RATE a second, all of one size, in the order of
    their names, in which numbers count as such.
    """

    live = False

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    def frames(self) -> Iterator[Frame]:
        paths = pictures(self.path)
        paths.sort(key=lambda path: [(int(n or 0), t) for n, t in _PARTS.findall(path)])
        began = min(os.stat(path).st_mtime for path in paths)
        for index, path in enumerate(paths):
            pixels = read_picture(path)
            rgb = np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels
            weights = np.array([77, 150, 29], np.uint16)  # of luma, in 256ths
            luma = ((rgb @ weights) >> 8).astype(np.uint8)
            moment = index / RATE
            yield Frame(index, moment, began + moment, luma, rgb.view)


_PARTS = re.compile(r"(\d+)|(\D+)")


class Looped(Source):
    """A video that begins again at its end, at its own pace, as a camera."""

    live = True

    def __init__(self, source: Source) -> None:
        self.source, self.name = source, source.name

    def frames(self) -> Iterator[Frame]:
        offset, index = time.monotonic(), 0
        while True:
            last, self.source.tap = offset, self.tap
            began = self.source.began = time.time() - time.monotonic() + offset
            for frame in self.source.frames():
                frame.date, frame.index, frame.time = began + frame.time, index, offset + frame.time
                time.sleep(max(frame.time - time.monotonic(), 0))
                yield frame
                last, index = frame.time, index + 1
            offset = last + 1 / RATE


class PiCamera(Source):
    """The camera at the Raspberry Pi's own connector, by picamera2."""

    name = "camera"
    live = True

    @staticmethod
    def present() -> bool:
        try:
            from picamera2 import Picamera2  # type: ignore[import-not-found]
        except ImportError:
            return False
        return bool(Picamera2.global_camera_info())

    def frames(self) -> Iterator[Frame]:
        from picamera2 import Picamera2

        av = _av()
        width, height = SIZE
        try:
            camera = Picamera2()
            video = {"size": SIZE, "format": "YUV420"}
            camera.configure(camera.create_video_configuration(video, controls={"FrameRate": RATE}))
            camera.start()
        except RuntimeError as error:
            raise ValueError(f"camera: no picture: {error}") from None
        index = 0
        try:
            while True:
                # Luma in `height` rows, then both planes of colour; rows may be longer than wide.
                rows = camera.capture_array("main")
                planes = np.ascontiguousarray(rows[: height * 3 // 2, :width])
                picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                yield _of_decoder(index, time.monotonic(), time.time(), picture)
                index += 1
        finally:
            camera.stop()
            camera.close()


class Reader:
    """Takes pictures from a source in a thread of its own and hands over the newest.

    A live source never waits: a picture that was not taken is replaced, and a lost camera is tried
    again for ever. From any other source every picture is handed over, and its error or end as
    well.

    prepare: called with every picture in the thread, the dropped ones too; what it returns goes
    along. say: told in a sentence when a camera is lost and when it is back.
    """

    def __init__(
        self,
        source: Source,
        prepare: Callable[[Frame], Any],
        say: Callable[[str], None],
        rate: float | None = None,
    ) -> None:
        self.source, self.prepare, self.say = source, prepare, say
        self.dropped = self._count = 0
        self.pause = 1 / rate if rate else 0.0  # least seconds from one picture to the next
        self._changed = threading.Condition()
        self._newest: tuple[Frame, Any] | None = None
        self._ended, self._error = False, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="linnet-source", daemon=True)

    _error: BaseException | None

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.stop()
        self._thread.join(PATIENCE)

    def stop(self) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def take(self, timeout: float) -> tuple[Frame, Any] | None:
        """The newest picture, or None when there was none for `timeout` seconds.

        EOFError at the end; the source's own error if it is not live, or could not be opened at
        all.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._newest or self._ended or self._stop.is_set(), timeout
            )
            taken, self._newest = self._newest, None
            self._changed.notify_all()
            if taken is None and self._error is not None:
                raise self._error
            if taken is None and (self._ended or self._stop.is_set()):
                raise EOFError
            return taken

    def _run(self) -> None:
        try:
            if self.source.live:
                self._keep_open()
            else:
                for frame in self.source.frames():
                    if not self._put(frame):
                        break
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _keep_open(self) -> None:
        tries, seen = 0, False
        while not self._stop.is_set():
            try:
                for frame in self.source.frames():
                    if tries:
                        self.say(f"{self.source.name}: back")
                    tries, seen = 0, True
                    if not self._put(frame):
                        return
                reason = f"{self.source.name}: the stream ended"
            except (ValueError, OSError) as error:
                if not seen:
                    raise
                reason = str(error)
            wait = WAITS[min(tries, len(WAITS) - 1)]
            if not tries:
                self.say(f"{reason}; trying again until it is back")
            tries += 1
            self._stop.wait(wait)

    def _put(self, frame: Frame) -> bool:
        """Whether to go on."""
        if self.source.live and self.pause and self._early(frame.time):
            return not self._stop.is_set()
        if self.source.live:  # a camera that was opened again counts on
            frame.index = self._count
        self._count += 1
        prepared = self.prepare(frame)
        with self._changed:
            if not self.source.live:
                self._changed.wait_for(lambda: self._newest is None or self._stop.is_set())
            elif self._newest is not None:
                self.dropped += 1
            self._newest = frame, prepared
            self._changed.notify_all()
        return not self._stop.is_set()

    _next = 0.0

    def _early(self, moment: float) -> bool:
        """Whether a picture comes before the next is due; half a picture's time is no matter."""
        if moment < self._next - self.pause / 3:
            return True
        self._next = max(self._next + self.pause, moment) if moment - self._next < 1 else moment
        return False
