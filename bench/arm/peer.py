"""Runs one image through a peer between the marks of counter.c: peer.py RUNTIME MODEL MARKS.so.

Runs inside the emulator, where linnet and the runtime are installed, through the runtime's adapter
of `linnet compare`.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np

from linnet import formats, passes
from linnet.compare import network, worker
from linnet.compare.runtimes import load_adapter, runtimes


def main() -> None:
    name, model, library = sys.argv[1:]
    marks = ctypes.PyDLL(library)
    graph = passes.canonicalize(formats.read(Path(model), None))
    with tempfile.TemporaryDirectory() as folder:
        network.export(graph, Path(folder))
        runtime = next(r for r in runtimes().values() if name == r.name)
        options = dict(next(iter(runtime.configurations.values())))
        module = importlib.import_module(runtime.module)
        adapter = load_adapter(runtime.adapter).Adapter(module, 1, options)
        run = adapter.load(worker.Network(folder, "network"), 1)
        image = np.random.default_rng(0).random((1, *graph.inputs[0].shape[1:]), dtype=np.float32)
        run(image)
        run(image)
        marks.begin()
        run(image)
        marks.end()


if __name__ == "__main__":
    main()
