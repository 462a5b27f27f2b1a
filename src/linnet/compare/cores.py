"""What OpenBLAS calls the CPUs it has kernels for."""

from __future__ import annotations

import platform
import re
import sys


def openblas_target(cpuinfo: str) -> str:
    """OpenBLAS's name (TARGET) for the kernels this CPU should have."""
    core = openblas_core(cpuinfo)
    if core == "Haswell" and "AuthenticAMD" in cpuinfo:
        return "ZEN"
    if core:
        return core.upper()
    if platform.machine() == "x86_64":
        return "SANDYBRIDGE" if re.search(r"^flags\s*:.*\bavx\b", cpuinfo, re.M) else "CORE2"
    if sys.maxsize < 1 << 32:
        return "ARMV7"
    part = re.search(r"^CPU part\s*:\s*(\w+)", cpuinfo, re.M)
    cores = {"0xd03": "CORTEXA53", "0xd07": "CORTEXA57", "0xd08": "CORTEXA72"}
    return cores.get(part[1].lower() if part else "", "ARMV8")


def openblas_core(cpuinfo: str) -> str | None:
    """OPENBLAS_CORETYPE for this CPU: on one newer than itself, OpenBLAS falls back to SSE3."""
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.M)
    flags = set(match[1].split()) if match else set()
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None
