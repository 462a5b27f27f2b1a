"""The machine a comparison runs on, and whether it was fit to measure."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..machine import FIRMWARE, THROTTLED, board, cpuinfo, governor, read

OTHERS = 0.25  # CPUs that other processes may keep busy
SWAPPED = 1 << 20  # bytes of the whole machine: a page or two is no more than housekeeping
SLOWEST = 0.75  # of the highest clock seen: below, the times are not of one machine
MEMORY = Path("/proc/meminfo")
ENOUGH = 6 << 30  # bytes, for the largest runtimes with the largest networks


def describe() -> dict[str, Any]:
    """Processor or board, cores this process may use, memory in bytes, clock control, system."""
    info = cpuinfo()
    models = [info[key] for key in ("model name", "Model", "Hardware") if key in info]
    return {
        "cpu": board() or (models[0] if models else platform.processor()),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "governor": governor() or None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def memory_is_scarce() -> bool:
    """Whether less than half of the memory, and than ENOUGH, is left for the next process."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+)", read(MEMORY), re.M))
    if len(found) < 2:
        return False
    return 1024 * int(found["MemAvailable"]) < min(512 * int(found["MemTotal"]), ENOUGH)


class Watch:
    """Samples what spoils times while the cells take their turns; `root` stands for "/"."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.wall = self.others = 0.0
        self.swapped = 0  # bytes
        self.throttled = 0  # bits of THROTTLED
        self.hottest: float | None = None
        self.clocks: list[float] = []  # lowest and highest
        self._before = self._firmware()

    def state(self) -> dict[str, Any]:
        """What was seen, as plain data: `resume` of another process goes on from it."""
        names = ("wall", "others", "swapped", "throttled", "hottest", "clocks")
        return {name: getattr(self, name) for name in names}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what an earlier process has seen."""
        for name, value in state.items():
            setattr(self, name, value)

    @contextlib.contextmanager
    def turn(self, pid: int) -> Iterator[None]:
        """Watch while process `pid` works."""
        begin, busy, own, swapped = time.monotonic(), self._busy(), self._cpu(pid), self._swapped()
        yield
        # First the clock, which falls soon after the work ends. The CPUs at work have the highest.
        clocks = self._numbers("sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")
        self.wall += time.monotonic() - begin
        self.others += max(0.0, self._busy() - busy - (self._cpu(pid) - own))
        self.swapped += self._swapped() - swapped
        if clocks:
            seen = [*self.clocks, max(clocks) / 1000]
            self.clocks = [min(seen), max(seen)]
        for temperature in self._numbers("sys/class/thermal/thermal_zone*/temp"):
            self.hottest = max(self.hottest or 0.0, temperature / 1000)
        # Bits 0-3 say what holds the clock back now, bits 16-19 what has since the machine started.
        now = self._firmware()
        self.throttled |= (now | (now & ~self._before) >> 16) & 15

    def problems(self) -> list[str]:
        """Why the times are not to be trusted; empty if they are."""
        found = ["emulated"] if self._emulated() else []
        found += [text for bit, text in THROTTLED.items() if self.throttled >> bit & 1]
        others = self.others / self.wall if self.wall else 0.0
        if others > OTHERS:
            found.append(f"other processes kept {others:.1f} CPUs busy")
        if self.swapped > SWAPPED:
            found.append(f"the machine swapped {self.swapped / 1e6:.0f} MB")
        if self.clocks and self.clocks[0] < SLOWEST * self.clocks[1]:
            low, high = self.clocks
            found.append(f"the clock changed between {low:.0f} and {high:.0f} MHz")
        return found

    def facts(self) -> dict[str, Any]:
        """The verdict as data: clocks in MHz, temperature in degrees Celsius, bytes swapped."""
        problems = self.problems()
        return {
            "valid": not problems,
            "problems": problems,
            "other_cpus": round(self.others / self.wall, 3) if self.wall else None,
            "hottest": self.hottest,
            "clocks": self.clocks or None,
            "swapped": self.swapped,
            "throttled": [text for bit, text in THROTTLED.items() if self.throttled >> bit & 1],
        }

    def _firmware(self) -> int:
        """The Raspberry Pi's throttling bits; 0 on other machines."""
        text = read(self.root / FIRMWARE[1:])
        if not text and self.root == Path("/") and shutil.which("vcgencmd"):
            asked = ["vcgencmd", "get_throttled"]
            text = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        match = re.search(r"(?:0x)?([0-9a-fA-F]+)\s*$", text)
        return int(match[1], 16) if match else 0

    def _numbers(self, pattern: str) -> list[int]:
        """The numbers in the files that match; a sensor that does not answer is left out."""
        texts = (read(path).strip() for path in self.root.glob(pattern))
        return [int(text) for text in texts if text.isdecimal()]

    def _emulated(self) -> bool:
        """Whether this program for ARM runs on another processor."""
        arm = platform.machine().startswith(("arm", "aarch64"))
        return arm and "vendor_id" in read(self.root / "proc/cpuinfo")  # as x86 names its maker

    def _busy(self) -> float:
        """Seconds all CPUs together have worked since the machine started."""
        fields = read(self.root / "proc/stat").split("\n", 1)[0].split()[1:9]
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields)
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    def _cpu(self, pid: int) -> float:
        """Seconds the process has worked; 0 if it is gone."""
        fields = read(self.root / f"proc/{pid}/stat").rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def _swapped(self) -> int:
        """Bytes moved from and to swap since the machine started."""
        pages = map(int, re.findall(r"^pswp\w+ (\d+)", read(self.root / "proc/vmstat"), re.M))
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")
