"""`linnet watch` at a camera in the network that is cut ten times and comes back: make live."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import av
from yards import HEIGHT, RATE, WIDTH, until, walk

from linnet.watch import History

CUTS = 10
PICTURES = 60  # in which somebody walks by once
PAUSE = 0.05  # seconds from one picture to the next, twice as fast as they were filmed


class Camera:
    """A server of an endless MPEG stream, one viewer at a time, that can be cut and come back."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._listening: socket.socket | None = None
        self._silent = False
        self.back()

    def back(self) -> None:
        self._cut = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, args=(self._listening, self._cut))
        self._thread.start()

    def cut(self, silent: bool = False) -> None:
        """silent: nothing comes any more, but the connection stays until the viewer gives up."""
        assert self._listening
        self._silent = silent
        self._cut.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _serve(self, listening: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while not cut.is_set():
                viewer, _ = listening.accept()
                with viewer, suppress(OSError):
                    viewer.recv(4096)
                    viewer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                    self._stream(viewer, cut)
                    if self._silent:
                        while viewer.recv(4096):
                            pass

    def _stream(self, viewer: socket.socket, cut: threading.Event) -> None:
        sent = io.BytesIO()
        with av.open(sent, "w", format="mpegts") as container:
            stream = container.add_stream("mpeg4", rate=RATE, options={"g": "5"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.bit_rate = 2_000_000
            index = 0
            while not cut.wait(PAUSE):
                picture = av.VideoFrame.from_ndarray(walk(index % PICTURES), format="rgb24")
                container.mux(stream.encode(picture))
                viewer.sendall(sent.getvalue())
                sent.seek(0)
                sent.truncate()
                index += 1


def open_files(process: subprocess.Popen[str]) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_a_camera_that_is_cut_ten_times_loses_no_event_and_no_file(tmp_path: Path) -> None:
    camera, folder = Camera(), tmp_path / "events"
    command = [sys.executable, str(Path(__file__).with_name("yard.py")), "--json"]
    command += ["--source", f"http://127.0.0.1:{camera.port}/", "--events", str(folder)]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)

    def came(least: int) -> None:
        until(lambda: out.read_text().count('"event": "began"') >= least, 60)

    def said(what: str, times: int) -> None:
        until(lambda: err.read_text().count(what) >= times, 60)

    try:
        came(1)
        files = open_files(process)
        for cut in range(1, CUTS + 1):
            came(cut)  # somebody, who is there when it is cut
            until(lambda: open_files(process) <= files)  # what is written is open for a moment
            camera.cut(silent=cut == CUTS // 2)
            said("trying again", cut)
            camera.back()
            said(": back", cut)
        came(CUTS + 1)
        until(lambda: open_files(process) <= files)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        camera.cut()
    events = [json.loads(line) for line in out.read_text().splitlines()]
    began = {event["id"] for event in events if event["event"] == "began"}
    ended = {event["id"]: event for event in events if event["event"] == "ended"}
    with closing(History(folder)) as history:
        stored = {visit["id"]: visit for visit in history.visits()}
        snapshots = [history.snapshot(number) for number in stored]
        assert all(path and path.exists() for path in snapshots)
    assert began == set(ended) == set(stored)
    assert all(abs(stored[n]["ended"] - event["ended"]) < 0.01 for n, event in ended.items())
