"""What Linux says of the machine. A file that is not there is an empty one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Of a Raspberry Pi's firmware: bits of what holds the clock back now; 16 bits on, of what has.
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
THROTTLED = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}


def read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def temperature() -> float | None:
    """Degrees Celsius of the hottest part that tells."""
    zones = Path("/sys/class/thermal").glob("thermal_zone*/temp")
    found = [int(text) / 1000 for zone in zones if (text := read(zone).strip()).isdecimal()]
    return max(found, default=None)


def cpuinfo() -> dict[str, str]:
    """The first value of every key of /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in read("/proc/cpuinfo").splitlines():
        key, _, text = line.partition(":")
        found.setdefault(key.strip(), text.strip())
    return found


def board() -> str:
    """The name of a board, empty for other machines."""
    return read("/proc/device-tree/model").strip("\0\n ")


def cpu_model() -> str:
    """What Linux calls this CPU, and on a board that board's name."""
    info = cpuinfo()
    names = [info[key] for key in ("model name", "Model") if info.get(key)]
    return ", ".join(names) or "unknown"


def available_memory() -> int:
    """Bytes that this process could still use: what the kernel can free, within its cgroups."""
    found = re.search(r"^MemAvailable:\s*(\d+)", read("/proc/meminfo"), re.MULTILINE)
    least = min(int(found[1]) << 10 if found else 1 << 30, sys.maxsize)
    for line in read("/proc/self/cgroup").splitlines():
        _, kinds, path = (line + "::").split(":", 2)
        if kinds == "":
            root, limit, used = Path("/sys/fs/cgroup"), "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            root = Path("/sys/fs/cgroup/memory")
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / path.rstrip(":").lstrip("/")
        for folder in (group, *group.parents):
            numbers = [read(folder / name).strip() for name in (limit, used)]
            if all(number.isdecimal() for number in numbers):
                least = min(least, max(int(numbers[0]) - int(numbers[1]), 0))
            if folder == root:
                break
    return least


def governor() -> str:
    return read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
