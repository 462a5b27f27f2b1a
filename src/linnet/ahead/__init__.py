"""Networks compiled ahead: a model and its weights as code for a CPU, which need not be this one.

`plan` decides everything, `write` prints and compiles what came of it; docs/compile.md.
"""

from __future__ import annotations

import keyword
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..formats import Given, PathLike
from ..graph import Graph
from ..model import Shapes
from ..model import build as build_model
from ..preprocess import Preprocess, merged, recorded
from ..text import shape_text, short
from . import build, camera, makefile, network, printed, wheel
from .network import Network
from .targets import target as known_target
from .targets import tools

EMITS = ("static", "shared", "c", "python")
MOST_BATCH, MOST_THREADS = 4096, 1024
_OTHERS = {"numpy", *getattr(sys, "stdlib_module_names", ())}  # modules, from Python 3.10 on


def plan(
    model: Given,
    weights: Given | None,
    name: str,
    target: str = "native",
    batches: Sequence[int] = (1,),
    *,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    outputs: Sequence[str] = (),
    arithmetic: str | None = None,
    threads: int = 1,
    weights_file: bool = False,
    frame: camera.Frame | None = None,
    top: int = 0,
    preprocess: Preprocess | Mapping[str, Any] | None = None,
    problems: Sequence[str] = (),
    **options: Any,
) -> tuple[Network, _core.GraphBuilder]:
    """A model, as for `linnet.load`, planned for a target, and its graph in the core.

    `options`: algorithm, strict and weights_dtype as for `linnet.load`; wisdom, the file with what
    `linnet tune` measured on the target. ValueError says all that is in the way of compiling it,
    after `problems`, what is already known. frame: what the input is made of, as the model's
    record or `preprocess` says; top: how many of the first output's scores are given, and where
    they are, instead of all.
    """
    found = known_target(target)
    problems = list(problems)
    if not batches or len(set(batches)) != len(batches) or max(batches) > MOST_BATCH:
        problems.append(
            f"batches are {short(batches)}, expected different sizes up to {MOST_BATCH}"
        )
        batches = (1,)  # what else is in the way
    if not 1 <= threads <= MOST_THREADS:
        problems.append(f"threads are {threads}, expected 1 to {MOST_THREADS}")
        threads = 1
    graph, metadata = None, dict[str, str]()
    try:
        graph, metadata = build_model(
            model, weights, stages, shapes, outputs=outputs, arithmetic=arithmetic
        )
    except ValueError as error:
        problems.append(str(error))
    if isinstance(graph, Graph):
        sizes = ", ".join(f"{v.name} is {shape_text(v.shape)}" for v in graph.inputs)
        problems.append(
            f"the model's steps depend on sizes that it leaves open: give them by shapes; {sizes}"
        )
    record = None
    try:
        record = recorded(merged(metadata, preprocess)) if frame else None
    except ValueError as error:
        problems.append(str(error))
    if not isinstance(graph, _core.GraphBuilder):
        raise ValueError("; ".join(problems))
    title = Path(os.fsdecode(model)).name if isinstance(model, (str, os.PathLike)) else name
    given = {key: value for key, value in options.items() if value is not None}
    planned = network.plan(
        graph,
        name,
        title,
        target=found,
        batches=batches,
        options={"threads": threads, **given},
        weights_file=weights_file,
        problems=problems,
        objections=partial(camera.objections, frame, record, top, batches),
    )
    return camera.attach(planned, frame, record, top), graph


def expected(planned: Network, graph: _core.GraphBuilder, options: Mapping[str, Any]) -> list[Any]:
    """What a session of the same plan, without other libraries, gives on this CPU for the test's
    input; of what a detector finds in several images nothing.
    """
    batch = planned.programs[0]["batch"]
    session = _core.Session(graph, threads=planned.threads, blas="none", nnpack="none", **options)
    inputs = [printed.sample(value, batch) for value in planned.inputs]
    if planned.front:
        frame, record = planned.front
        inputs = [record(frame.picture(inputs[0]))]
    results = session.run(inputs, [], None)
    if planned.top:
        results = [*camera.best(results[0], planned.top), *results[1:]]
    whole = (result.size == v.count(batch) for v, result in zip(planned.outputs, results))
    return [r if as_is or batch == 1 else r[:0] for r, as_is in zip(results, whole)]


def measured(planned: Network) -> dict[str, int]:
    """Bytes of code and, about, of stack that a network takes; it is compiled for that."""
    tool = tools(planned.target)
    with tempfile.TemporaryDirectory(prefix="linnet.") as folder:
        joined = build.compile_all(planned, tool, Path(folder))
        sizes = build.sizes(joined, tool)
        stack = build.stack(Path(folder))
    return {"code": sizes["text"] + sizes["data"] - planned.weights_inside, "stack": stack}


def write(
    planned: Network, results: Sequence[np.ndarray[Any, Any]], folder: PathLike, emit: str
) -> tuple[list[Path], dict[str, int]]:
    """Writes a network to a folder: the files, and bytes of its code by kind. Nothing is left half
    written. RuntimeError names a compiler that is missing.
    """
    if emit not in EMITS:
        raise ValueError(f"emit is {short(emit)}, expected {', '.join(EMITS)}")
    target = Path(os.fsdecode(folder)).resolve()
    if not target.is_dir():
        raise ValueError(f"{target}: there is no such folder")
    name = planned.name
    source = target / makefile.source(name)
    if emit == "c" and source.exists() and not (source / "compiled/program.h").is_file():
        raise ValueError(f"{source} is there, and not the code of a network: it is left as it is")
    files = {
        f"{name}.h": printed.header(planned),
        f"{name}_selftest.c": printed.selftest(planned, results),
    }
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target) as work:
        made = Path(work) / "made"
        made.mkdir()
        for file, text in files.items():
            (made / file).write_text(text, encoding="utf-8")
        if planned.weights_file:
            (made / f"{name}.bin").write_bytes(planned.weights)
        if emit == "c":
            makefile.write(planned, made)
        else:
            tool = tools(planned.target)
            inside = Path(work) / "build"
            inside.mkdir()
            joined = build.compile_all(planned, tool, inside)
            sizes = build.sizes(joined, tool)
            if emit == "static":
                build.archive(joined, made / f"lib{name}.a", tool)
            else:
                build.shared(joined, made / f"lib{name}.so", tool)
            if emit == "python":
                _only_a_wheel(planned, made)
        written = []
        for path in sorted(made.iterdir()):
            end = target / path.name
            if end.is_dir():
                shutil.rmtree(end)  # it is of a network, see above
            path.replace(end)
            written.append(end)
    return written, sizes


def _only_a_wheel(planned: Network, folder: Path) -> None:
    """A wheel in place of the files in a folder, a library among them."""
    files = list(folder.iterdir())
    machine = planned.target.architecture or platform.machine()
    wheel.write(planned, folder / f"lib{planned.name}.so", folder, machine)
    for file in files:
        file.unlink()


def c_name(path: str) -> tuple[Path, str]:
    """Folder and name of what `-o` says."""
    file = Path(path)
    return file.parent, file.name


def objections(path: str, target: str, emit: str) -> list[str]:
    """What is in the way of writing a network to a path, whatever it is."""
    folder, name = c_name(path)
    found = []
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        found.append(f"the name {short(name)} is not one of C: letters, digits and _")
    if name.lower().startswith("linnet"):
        found.append(f"the name {short(name)} begins with linnet, as the code's own do")
    if emit == "python" and (keyword.iskeyword(name) or name in _OTHERS):
        found.append(f"the name {short(name)} is another module's or a word of Python")
    if not folder.is_dir():
        found.append(f"{folder}: there is no such folder")
    if emit != "c":
        try:
            tools(known_target(target))
        except RuntimeError as error:
            found.append(str(error))
    return found
