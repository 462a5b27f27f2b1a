"""What the page of `linnet watch` costs, with a viewer and with none.

    python bench/yard/page.py

Two watches of the same still yard of 640x480 pixels, one without a page and one with it, which a
viewer looks at by turns. A still yard, since there nothing else needs a picture in colour. Prints
CPU time of each as a part of a core, and the pictures a second that the viewer got.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import mean

import av
import numpy as np

ROUNDS, SECONDS = 4, 6.0
PORT = 18437


def still_yard(path: Path) -> None:
    """Three seconds in which only the sensor's noise moves."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 200, (15, 20, 3)).astype(np.float32)
    yard = coarse.repeat(32, axis=0).repeat(32, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for _ in range(45):
            noisy = np.clip(yard + random.normal(0, 2, yard.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode())


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds that a process has computed for."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Viewer(threading.Thread):
    """Asks for one picture after another, as the page does, while it is `looking`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.looking, self.pictures = threading.Event(), 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("localhost", PORT)
        with suppress(OSError, http.client.HTTPException):  # until the watch ends
            while True:
                self.looking.wait()
                connection.request("GET", "/api/live")
                connection.getresponse().read()
                self.pictures += 1


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "yard.mp4"
        still_yard(video)
        command = [sys.executable, "-m", "linnet", "watch", "--source", str(video), "--loop"]
        pages: list[list[str]] = [[], ["--web", str(PORT)]]
        watches = [
            subprocess.Popen(
                [*command, "--threads", "1", "--events", f"{folder}/{number}", *page],
                stderr=subprocess.DEVNULL,
            )
            for number, page in enumerate(pages)
        ]
        try:
            time.sleep(5)  # until the detector is loaded
            measure(watches)
        finally:
            for watch in watches:
                watch.terminate()
                watch.wait()


def measure(watches: list[subprocess.Popen[bytes]]) -> None:
    viewer = Viewer()
    viewer.start()
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    rate = 0.0
    for number in range(2 * ROUNDS):
        looking = bool(number % 2)
        (viewer.looking.set if looking else viewer.looking.clear)()
        time.sleep(0.5)
        before, pictures = [cpu(watch) for watch in watches], viewer.pictures
        time.sleep(SECONDS)
        spent = [(cpu(watch) - b) / SECONDS for watch, b in zip(watches, before)]
        found[looking].append(spent)
        rate = (viewer.pictures - pictures) / SECONDS
    bare = mean(without for without, _ in [*found[False], *found[True]])
    alone, seen = (mean(page - without for without, page in found[n]) for n in (False, True))
    print(f"without a page        {100 * bare:5.1f} % of a core")
    print(f"more for a page       {100 * alone:5.1f} %, with no viewer")
    print(f"more for a viewer too {100 * seen:5.1f} %, at {rate:.1f} pictures a second")


if __name__ == "__main__":
    main()
