"""What networks can be compiled for, and the compilers that do it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from typing import NamedTuple

from .. import _core
from ..text import short


class Target(NamedTuple):
    """A kind of CPU. `isa`, `outline`, `architecture` and `cpuinfo` are as the core takes them."""

    name: str
    compiler: str  # begins the names of the tools
    isa: str
    outline: str
    architecture: str
    cpuinfo: str = ""

    @property
    def package(self) -> str:
        """Debian's name of what has the compiler."""
        return f"g++-{self.compiler[:-1]}".replace("_", "-") if self.compiler else "g++"


_ARMHF = ("arm-linux-gnueabihf-", "neon_vfpv4", "neon_vfpv4", "armv7l")
_AARCH64 = ("aarch64-linux-gnu-", "neon", "neon", "aarch64")
_OUT_OF_ORDER = ("aarch64-linux-gnu-", "neon", "neon_intrinsics", "aarch64")
_DOT = ("aarch64-linux-gnu-", "neon_dot", "neon_dot", "aarch64")
_X86 = "x86_64-linux-gnu-"
TARGETS = {
    target.name: target
    for target in (
        Target("armhf-a53", *_ARMHF, "CPU part : 0xd03"),
        Target("armhf-a7", *_ARMHF, "CPU part : 0xc07"),
        Target("aarch64-a53", *_AARCH64, "CPU part : 0xd03"),
        Target("aarch64-a72", *_OUT_OF_ORDER, "CPU part : 0xd08"),
        Target("aarch64-a76", *_DOT, "CPU part : 0xd0b"),
        Target("x86-64-avx2", _X86, "avx2", "avx2", "x86_64"),
        Target("x86-64-avx512", _X86, "avx512", "avx512_intrinsics", "x86_64"),
        Target("x86-64-avx512vnni", _X86, "avx512", "avx512", "x86_64"),
        Target("native", "", "", "", ""),
    )
}

# How each instruction set is compiled for, as cpp/kernels/isas.cmake has it.
FLAGS: Mapping[str, str] = {
    "scalar": "-fno-tree-vectorize -fno-tree-slp-vectorize",
    "avx2": "-mavx2 -mfma -mf16c -mtune=haswell",
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c "
    "-mprefer-vector-width=512 -mtune=skylake-avx512",
    "neon": "-mtune=cortex-a53 -fno-schedule-insns",
    "neon_vfpv4": "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard -marm -mtune=cortex-a53",
}
# And, on top of that, its dot products.
DOT_FLAGS: Mapping[str, str] = {
    "neon": "-march=armv8.2-a+dotprod -mtune=cortex-a55",
    "neon_vfpv4": "-march=armv8.2-a+dotprod -mfpu=auto -mtune=cortex-a55",
}
# What code around the kernels is compiled for.
BASELINE: Mapping[str, str] = {
    "neon_vfpv4": "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard",
}


def target(name: str) -> Target:
    """The target of that name; ValueError lists them."""
    if name not in TARGETS:
        raise ValueError(f"target is {short(name)}, expected {', '.join(TARGETS)}")
    found = TARGETS[name]
    if name == "native":
        found = found._replace(isa=_core.default_isa())
    return found


class Tools(NamedTuple):
    """Compilers and what takes object files apart."""

    cc: str
    cxx: str
    ar: str
    objcopy: str
    size: str


def tools(target: Target) -> Tools:
    """The tools there are for a target; RuntimeError says which package has those missing."""
    prefix = target.compiler
    if prefix == f"{platform.machine()}-linux-gnu-":
        prefix = ""
    names = [prefix + tool for tool in ("gcc", "g++", "ar", "objcopy", "size")]
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        raise RuntimeError(
            f"there is no {missing[0]}: on Debian and Ubuntu, 'apt-get install {target.package}'"
        )
    return Tools(*names)
