"""The machine a comparison runs on, and whether it was fit to measure."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OTHERS = 0.25  # CPUs that other processes may keep busy
THROTTLED = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}


def describe() -> dict[str, Any]:
    """Processor, cores this process may use, memory in bytes, kernel."""
    info = _text(Path("/proc/cpuinfo"))
    model = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.*)$", info, re.M)
    return {
        "cpu": model[1].strip() if model else platform.processor(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
    }


class Watch:
    """Samples what spoils times while the cells take their turns; `root` stands for "/"."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.wall = self.others = 0.0
        self.throttled = 0
        self.hottest: float | None = None
        self.clocks: list[float] = []
        self.swapped = self._swapped()

    @contextlib.contextmanager
    def turn(self, pid: int) -> Iterator[None]:
        """Watch while process `pid` works."""
        begin, busy, own = time.monotonic(), self._busy(), self._cpu(pid)
        yield
        self.wall += time.monotonic() - begin
        self.others += max(0.0, self._busy() - busy - (self._cpu(pid) - own))
        # Raspberry Pi: bits 0-3 say what holds the clock back now.
        state = _text(self.root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        self.throttled |= int(state.strip() or "0", 16) & 15
        for zone in self.root.glob("sys/class/thermal/thermal_zone*/temp"):
            with contextlib.suppress(ValueError):
                self.hottest = max(self.hottest or 0.0, int(_text(zone)) / 1000)
        for clock in self.root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"):
            with contextlib.suppress(ValueError):
                self.clocks.append(int(_text(clock)) / 1000)

    def problems(self) -> list[str]:
        """Why the times are not to be trusted; empty if they are."""
        found = ["emulated"] if self._emulated() else []
        found += [text for bit, text in THROTTLED.items() if self.throttled >> bit & 1]
        others = self.others / self.wall if self.wall else 0.0
        if others > OTHERS:
            found.append(f"other processes kept {others:.1f} CPUs busy")
        if self._swapped() > self.swapped:
            found.append("the machine swapped")
        return found

    def facts(self) -> dict[str, Any]:
        """The verdict as data: clocks in MHz, temperature in degrees Celsius."""
        problems = self.problems()
        return {
            "valid": not problems,
            "problems": problems,
            "other_cpus": round(self.others / self.wall, 3) if self.wall else None,
            "hottest": self.hottest,
            "clocks": [min(self.clocks), max(self.clocks)] if self.clocks else None,
        }

    def _emulated(self) -> bool:
        """Whether this program for ARM runs on another processor."""
        arm = platform.machine().startswith(("arm", "aarch64"))
        return arm and "vendor_id" in _text(self.root / "proc/cpuinfo")  # as x86 names its maker

    def _busy(self) -> float:
        """Seconds all CPUs together have worked since the machine started."""
        fields = _text(self.root / "proc/stat").split("\n", 1)[0].split()[1:9]
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields)
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    def _cpu(self, pid: int) -> float:
        """Seconds the process has worked; 0 if it is gone."""
        fields = _text(self.root / f"proc/{pid}/stat").rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def _swapped(self) -> int:
        return sum(map(int, re.findall(r"^pswp\w+ (\d+)", _text(self.root / "proc/vmstat"), re.M)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
