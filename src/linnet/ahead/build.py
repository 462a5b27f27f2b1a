"""Compiles a network's code by the target's compiler, outside any checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from . import printed
from .network import Network
from .targets import BASELINE, DOT_FLAGS, FLAGS, Tools

SOURCE = Path(__file__).parent.parent / "_source"  # in an installed package
COMMON = ["-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-ffunction-sections"]
COMMON += ["-fdata-sections", "-fno-asynchronous-unwind-tables", "-w", "-fstack-usage"]
CXX = ["-std=c++17", "-DLINNET_COMPILED", "-fno-threadsafe-statics", "-fno-rtti"]
PLAN = ["-std=c99", "-fvisibility=default"]  # what NAME.h declares a library exports
KERNELS = ["-fno-exceptions", "-fno-math-errno"]
# Results of integers are rounded one after the other, see cpp/kernels/isas.cmake.
UNCONTRACTED = ("integer", "dot", "scheduled")
# The files of kernels and what the table's members are called that come from each; the last two
# take the place of others, where the target has them.
FAMILIES = {
    "direct": "direct product gemv expand",
    "depthwise": "depthwise grouped",
    "pool": "max_pool_row average_pool_row max_pool_plane average_pool_plane",
    "map": "map",
    "normalize": "normalize",
    "resize": "resample integer_resample",
    "reduce": "reduce_rows reduce_all",
    "cast": "cast",
    "winograd": "winograd_input winograd_row winograd_output winograd_line_input winograd_line "
    "energy energies squares",
    "fourier": "fourier_input fourier_product fourier_output",
    "integer": "wide bytes widen depthwise_wide quantize dequantize look_up integer_add "
    "integer_multiply integer_max integer_average",
    "scheduled": "direct product gemv depthwise bytes depthwise_wide winograd_input winograd_row "
    "winograd_output",
    "dot": "bytes depthwise_bytes look_up",
}
# What algorithms call of others.
SHARED = (
    "compiled/program.cpp",
    "algorithms/direct_panels.cpp",
    "algorithms/repair.cpp",
    "algorithms/integer.cpp",
    "algorithms/resize.cpp",
    "problem/problem.cpp",
    "core/types.cpp",
)


class Unit(NamedTuple):
    """A file to be compiled, and how."""

    file: str
    text: str | None  # None: one that the package has
    flags: list[str]


def families(network: Network) -> list[str]:
    """The files of kernels that a network needs, those first that take the place of others."""
    members = {re.split(r"[.\[]", kernel)[0] for kernel in network.kernels}
    needed = [name for name, its in FAMILIES.items() if members & set(its.split())]
    scheduled = bool(network.numbers.get("ordered_vecs"))  # kernels in assembly
    has = {"scheduled": scheduled, "dot": bool(network.features)}
    needed = [name for name in needed if has.get(name, True)]
    return sorted(needed, key=["dot", "scheduled", *FAMILIES].index)


def needs(network: Network) -> list[str]:
    """What the CPU must have, as x86's /proc/cpuinfo names it."""
    flags = [flag[2:] for flag in FLAGS[network.isa].split()]
    found = [flag for flag in flags if flag.startswith(("avx", "fma", "f16c"))]
    if network.isa.startswith("avx512") and network.features:
        named = zip(("avx512_vnni", "avx512vbmi"), network.features.split(", "))
        found += [name for name, has in named if has == "true"]
    return found


def units(network: Network) -> list[Unit]:
    """All files of a network's code, without those of its plan."""
    isa = network.isa
    baseline = [*CXX, "-ffp-contract=off", *BASELINE.get(isa, "").split()]
    baseline += ["-DLINNET_THREADS"] if network.threads > 1 else []
    baseline += ["-DLINNET_CHAINS"] if network.chained else []
    found = []
    for family in families(network):
        flags = [*CXX, *KERNELS, f"-DLINNET_ISA={isa}", f"-DLINNET_ISA_{isa}", *FLAGS[isa].split()]
        if network.features:
            flags.append(f"-DLINNET_FEATURES={network.features}")
        if family in UNCONTRACTED:
            flags.append("-ffp-contract=off")
        if family == "dot":
            flags += DOT_FLAGS.get(isa, "").split()
        found.append(Unit(f"kernels_{family}.cpp", printed.kernels(network, family), flags))
    found.append(Unit("table.cpp", printed.table(network), baseline))
    files: dict[str, dict[str, str]] = {}
    known = printed.sources_of_codes(SOURCE)
    for code in network.codes:
        file, constant = known[code]
        files.setdefault(file, {})[code] = constant
    for file, constants in files.items():
        own = Path(file).name
        found.append(Unit(f"code_{own}", printed.codes(network, file, constants), baseline))
    shared = [*SHARED, *(["compiled/pool.cpp"] if network.threads > 1 else [])]
    found += [Unit(file, None, baseline) for file in shared if file not in files]
    return found


def compile_all(network: Network, tools: Tools, folder: Path) -> Path:
    """Compiles a network in a folder of its own: one object file, which exports the functions of
    NAME.h alone and has nothing that they do not need.
    """
    name = network.name
    include = ["-I", str(folder), "-I", str(SOURCE / "compiled"), "-I", str(SOURCE)]
    jobs, objects = [], []
    for unit in units(network):
        path = SOURCE / unit.file if unit.text is None else folder / unit.file
        if unit.text is not None:
            path.write_text(unit.text, encoding="utf-8")
        objects.append(folder / (unit.file.replace("/", "_") + ".o"))
        jobs.append([tools.cxx, *COMMON, *unit.flags, *include, "-c", path, "-o", objects[-1]])
    for file, text in plan_files(network).items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / f"{name}.bin").write_bytes(network.weights)
    plan = [*PLAN, *BASELINE.get(network.isa, "").split()]
    sources = [(f"{name}.c", plan), (f"{name}.S", [])]
    for file, flags in sources[: 1 if network.weights_file else 2]:
        objects.append(folder / f"{file}.o")
        jobs.append([tools.cc, *COMMON, *flags, *include, "-c", folder / file, "-o", objects[-1]])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: _run(job, folder), jobs))

    joined = folder / f"{name}.o"
    link, keep = link_flags(network.exports)
    _run([tools.cxx, *link, "-o", joined, *objects], folder)
    _run([tools.objcopy, *keep, joined], folder)
    return joined


def link_flags(exports: Sequence[str]) -> tuple[list[str], list[str]]:
    """What makes objects into one that has only what these functions need, and exports them alone;
    for the linker and for objcopy.
    """
    link = ["-r", "-nostdlib", "-Wl,--gc-sections", "-Wl,--force-group-allocation"]
    keep = [f"--keep-global-symbol={name}" for name in exports]
    # Nothing is ever thrown: tables for that would only want a library.
    keep += ["--remove-section=.ARM.ex*", "--remove-section=.rel.ARM.ex*"]
    keep += ["--remove-section=.comment", "--strip-unneeded"]
    return [*link, *(f"-Wl,-u,{name}" for name in exports)], keep


def plan_files(network: Network) -> dict[str, str]:
    """The files of a network's plan by their names, without its weights."""
    name = network.name
    files = {f"{name}.h": printed.header(network), f"{name}.c": printed.plan(network)}
    if not network.weights_file:
        files[f"{name}.S"] = printed.assembly(network, f"{name}.bin")
    return files


def sizes(object_file: Path, tools: Tools) -> dict[str, int]:
    """Bytes of an object file by its kinds of sections."""
    listing = _run([tools.size, object_file])
    names, numbers = (line.split() for line in listing.splitlines()[:2])
    return {name: int(number) for name, number in zip(names, numbers[:3])}


def stack(folder: Path) -> int:
    """Bytes of stack that a run takes at most, about, by what the compiler left in a folder: that
    of an algorithm, which calls others of it, and of a kernel.
    """
    deepest = {"code": 0, "kernels": 0, "rest": 0}
    for file in folder.glob("*.su"):
        frames = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
        used = sorted((int(f[1]) for f in frames if "prepare" not in f[0]), reverse=True)
        kind = file.name.split("_")[0]
        kind = kind if kind in deepest else "rest"
        deepest[kind] = max(deepest[kind], sum(used[: 2 if kind == "kernels" else 4]))
    return sum(deepest.values())


def archive(object_file: Path, target: Path, tools: Tools) -> None:
    target.unlink(missing_ok=True)
    _run([tools.ar, "rcsD", target, object_file])


def shared(object_file: Path, target: Path, tools: Tools) -> None:
    link = ["-shared", "-s", "-Wl,-z,noexecstack", f"-Wl,-soname,{target.name}"]
    _run([tools.cc, *link, "-o", target, object_file, "-lm"])


def _run(command: Sequence[object], folder: Path | None = None) -> str:
    arguments = [str(argument) for argument in command]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]}: {_first_error(done.stderr.splitlines())}")
    return done.stdout


def _first_error(lines: Iterable[str]) -> str:
    lines = list(lines)
    return next((line for line in lines if "error" in line), lines[0] if lines else "failed")
