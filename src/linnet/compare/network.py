"""The compared network, written once for every runtime, and what it should answer.

Runtimes that read ONNX take the same file; the others build from `network.json` and `weights.npz`,
which `worker.Network` reads back. Both hold the canonical form, with the same weights. Of
the network in int8 there is the ONNX file alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import core, interpret
from ..digits import Labelled
from ..formats import onnx_write
from ..graph import Graph
from ..passes.unused import remove_unused
from ..prune import shrink
from ..quantize import Bytes, Times, quantize, samples
from ..quantize.choose import Progress

CHUNK = 8  # images evaluated at once in float64: bounds the memory of the reference
# How far from float64 logits may be, in terms of their rms. Winograd in float32 stays below,
# bfloat16 is far above.
TOLERANCE = 5e-4
# In int8, a sum near the middle of two integers becomes either, and later layers carry that on:
# some steps, each of a few per cent here.
INT8_TOLERANCE = 0.25


@dataclass(frozen=True)
class Expected:
    """Images [n, ...] float32 and what the network makes of each in float64: logits, output.

    tolerance: how far from them logits may be, in terms of their rms.
    """

    images: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float64]
    output: npt.NDArray[np.float64]
    tolerance: float = TOLERANCE


def logits_of(graph: Graph) -> str:
    """The value the final softmax reads; the output itself where no softmax ends the network."""
    last = graph.nodes[-1]
    return last.inputs[0] if last.op == "Softmax" else graph.outputs[0]


def export(graph: Graph, folder: Path, written: Graph | None = None) -> None:
    """Write a canonical graph with one input and one output to `folder` for all adapters.

    Two variants: "network" and "logits" (without the final softmax). ValueError for other graphs.
    written: what the ONNX files hold instead of it: the same network in int8.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        found = f"{len(graph.inputs)} and {len(graph.outputs)}"
        raise ValueError(f"compare needs a network with one input and one output, not {found}")
    if graph.inputs[0].dtype != "float32":
        name, dtype = graph.inputs[0].name, graph.inputs[0].dtype
        raise ValueError(f"compare needs a network whose input is float32; {name} is {dtype}")
    if not graph.nodes or graph.nodes[-1].outputs[0] != graph.outputs[0]:
        raise ValueError(f"the output {graph.outputs[0]} is not the result of the last operator")
    logits = logits_of(graph)
    count = len(graph.nodes) - (logits != graph.outputs[0])
    data: dict[str, Any] = {
        "input": graph.inputs[0].name,
        "network": {"output": graph.outputs[0], "nodes": len(graph.nodes)},
        "logits": {"output": logits, "nodes": count},
        "nodes": [
            {
                "op": n.op,
                "inputs": [v for v in n.inputs if v],
                "outputs": n.outputs,
                "attrs": n.attrs,
            }
            for n in graph.nodes
        ],
        "shapes": {name: shape[1:] for name, shape in core.shapes(graph).items()},
        "weights": list(graph.initializers),
    }
    (folder / "network.json").write_text(
        json.dumps(data, default=np.ndarray.tolist), encoding="utf-8"
    )
    np.savez(folder / "weights.npz", *graph.initializers.values())
    written = written or graph
    onnx_write.save(written, folder / "network.onnx", like=graph)
    part = remove_unused(replace(written, outputs=[logits]))
    onnx_write.save(part, folder / "logits.onnx", like=graph)


def export_variant(
    make: Callable[[], Graph], graph: Graph, folder: Path, images: npt.NDArray[np.float32]
) -> Expected | str:
    """Write what is made of a canonical graph to a new `folder`, as `export` does: what it answers
    to `images` in float64, or why it cannot be made.
    """
    try:
        made = make()
    except ValueError as error:
        return str(error)
    folder.mkdir()
    export(graph, folder, made)
    return expect(made, images, INT8_TOLERANCE if is_in_integers(made) else TOLERANCE)


def export_int8(
    graph: Graph,
    given: npt.NDArray[np.float32],
    folder: Path,
    images: npt.NDArray[np.float32],
) -> Expected | str:
    """Write a canonical graph in int8, calibrated on every second of the images `given`, and those
    images, to the new `folder`/int8; see `export_variant`.
    """
    expected = export_variant(lambda: in_int8(graph, given), graph, folder / "int8", images)
    if not isinstance(expected, str):
        np.save(folder / "int8" / "calibration.npy", given[::2])
    return expected


def in_int8(graph: Graph, images: npt.NDArray[np.float32]) -> Graph:
    """A canonical graph with every layer in int8 that can be, calibrated on every second image.

    It is what `linnet quantize --precisions int8 --objective bytes --max-loss 100%` writes, which
    takes no times and so is the same on every machine. ValueError if no layer can be in int8.
    """
    given = samples.from_arrays(graph, {graph.inputs[0].name: images})
    found = quantize(
        graph, given, lambda it, _: Bytes(it), max_loss=np.inf, precisions=("int8",)
    ).graph
    if not is_in_integers(found):
        raise ValueError("no layer of the network can be in int8")
    return found


def shrunk(graph: Graph, given: Labelled, threads: int, progress: Progress) -> Graph:
    """A canonical graph with fewer channels and bits, fitted to every second image.

    It is what `linnet shrink` writes here: within 1 % of accuracy, the fastest by times on this
    machine. ValueError if there is none.
    """
    found = shrink(
        graph,
        samples.from_arrays(graph, {graph.inputs[0].name: given.images}).labelled(given.labels),
        lambda make, feed: Times(make, feed, {"threads": threads}),
        progress=progress,
    )
    if not found.passed:
        raise ValueError("no smaller network is faster and loses at most 1 %")
    return found.graph


def is_in_integers(graph: Graph) -> bool:
    """Whether it rounds values to integers."""
    return any(node.op == "QuantizeLinear" for node in graph.nodes)


def expect(graph: Graph, images: npt.NDArray[np.float32], tolerance: float = TOLERANCE) -> Expected:
    """Evaluate the graph on `images` [n, ...] in float64 with the NumPy reference."""
    names = [logits_of(graph), graph.outputs[0]]
    parts = [
        interpret.run(graph, {graph.inputs[0].name: images[i : i + CHUNK]}, np.float64, names)
        for i in range(0, len(images), CHUNK)
    ]
    logits, output = (np.concatenate([part[name] for part in parts]) for name in names)
    return Expected(images, logits, output, tolerance)
