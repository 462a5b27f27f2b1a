"""What two graphs say of a value that differs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

import numpy as np

from ..graph import Array, Graph, Node
from ..ops.quant import dequantize_linear
from .case import Case, Changes, explained
from .numbers import error
from .quantized import weights as quantized_weights

ATTRIBUTES = {
    "ceil_mode": "one pool rounds its size up (ceil, as Caffe's) and the other down",
    "count_include_pad": "padding counts in one average's divisor and not in the other's",
    "pads": "padding {} against {} (top, left, bottom, right)",
}
KERNELS: Changes = {
    "input channels in reverse order (BGR against RGB)": lambda w: w[:, ::-1],
    "kernels rotated by 180 degrees (convolution against correlation)": lambda w: np.flip(
        w, (2, 3)
    ),
    "height and width of the kernels swapped": lambda w: w.swapaxes(2, 3),
    "weights transposed: input and output channels swapped": lambda w: w.swapaxes(0, 1),
}
MATRICES: Changes = {"weights transposed": lambda w: w.T}
# What the range of integers may stand for, and what makes integers.
RANGES = ("Relu", "Clip", "QuantizeLinear", "DequantizeLinear")
# How far rounding weights to a type moves them, from them and the largest of their row.
ROUNDINGS: dict[str, Callable[[Array, Array], Array]] = {
    "float16": lambda w, rows: np.maximum(np.abs(w) * 2.0**-10, 2.0**-24),
    "bfloat16": lambda w, rows: np.abs(w) * 2.0**-7,
    "int8": lambda w, rows: rows * (0.51 / 127),
}


def causes(case: Case) -> Iterator[str]:
    a, b = case.a, case.b
    mine, other = a.producer(case.first.value), b.producer(case.first.other)
    if mine is None or other is None or a.graph is None or b.graph is None:
        return
    if mine.op == other.op == "Concat":
        parts = [case.pairs.get(name, name) for name in mine.inputs]
        if parts != other.inputs and sorted(parts) == sorted(other.inputs):
            yield "the same values are concatenated in another order"
    start, chain = _chain(a.graph, case.first.value, case.pairs)
    begin, links = _chain(b.graph, case.first.other, case.pairs.values())
    if a.integers or b.integers:  # their range may stand for what limits a value
        chain, links = ([op for op in ops if op not in RANGES] for ops in (chain, links))
    if chain != links:
        yield (
            f"{a.name} has {'+'.join(chain)}, {b.name} has {'+'.join(links)}: an operator is "
            "missing, or another one"
        )
    if start in case.pairs and case.pairs[start] != begin:
        yield f"it is computed from '{start}' in {a.name}, '{begin}' in {b.name}"
    yield from _attributes(mine, other)
    if mine.op in ("Conv", "Gemm") and other.op == mine.op:
        yield from _weights(case, a.graph, b.graph, mine, other)


def _chain(graph: Graph, value: str, known: Container[str]) -> tuple[str, list[str]]:
    """The last known value before `value`, along first inputs, and the operators from there on."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    found: list[str] = []
    while value in made:
        found.append(made[value].op)
        value = made[value].inputs[0]
        if value in known:
            break
    return value, found[::-1]


def _attributes(mine: Node, other: Node) -> Iterator[str]:
    if mine.op != other.op:
        if mine.op not in RANGES and other.op not in RANGES:
            yield f"{mine.op} against {other.op}"
        return
    for key in sorted(mine.attrs.keys() | other.attrs.keys()):
        a, b = mine.attrs.get(key), other.attrs.get(key)
        if a != b and (a or b):
            yield ATTRIBUTES.get(key, f"{key} {{}} against {{}}").format(a, b)


def _constant(graph: Graph, name: str) -> Array | None:
    """Weights, which may be made of integers."""
    made = next((node for node in graph.nodes if name in node.outputs), None)
    if made is None or made.op != "DequantizeLinear":
        return graph.initializers.get(name)
    if any(part not in graph.initializers for part in made.inputs):
        return None
    q, scale, *zero = (graph.initializers[part] for part in made.inputs)
    return dequantize_linear(q, scale, *zero, axis=0)


def _weights(case: Case, a: Graph, b: Graph, mine: Node, other: Node) -> Iterator[str]:
    w, z = _constant(a, mine.inputs[1]), _constant(b, other.inputs[1])
    if w is None or z is None:
        return
    if w.shape != z.shape:
        if w.T.shape == z.shape and np.array_equal(w.T, z):
            yield "weights transposed"
        yield f"weights of shape {list(w.shape)} against {list(z.shape)}"
        return
    if not np.array_equal(w, z):
        yield from _changed_weights(case, w, z, mine)
    none = np.zeros(len(w), w.dtype)
    e = a.initializers[mine.inputs[2]] if len(mine.inputs) > 2 else none
    f = b.initializers[other.inputs[2]] if len(other.inputs) > 2 else none
    if not np.array_equal(e, f):
        if not f.any():
            yield f"no bias in {case.b.name}"
        if not e.any():
            yield f"no bias in {case.a.name}"
        if not _close(e, f):
            yield "other biases"


def _changed_weights(case: Case, w: Array, z: Array, node: Node) -> Iterator[str]:
    if w.ndim == 4:
        yield from explained(KERNELS, w, z, _close)
    else:
        yield from explained(MATRICES, w, z, _close)
        for c, h, width in _flattened(case, node):
            if _close(w.reshape(-1, c, h, width).transpose(0, 2, 3, 1).reshape(w.shape), z):
                yield "columns in the order height, width, channel: flattened channels last"
            if _close(w.reshape(-1, h, width, c).transpose(0, 3, 1, 2).reshape(w.shape), z):
                yield "columns in the order channel, height, width: flattened channels first"
    scale = float(np.vdot(w, z) / max(float(np.vdot(w, w)), 1e-30))
    if abs(scale - 1) > 1e-3 and _close(w * scale, z):
        yield f"weights times {scale:.6g}: input of another scale, or a folded factor"
    yield from quantized_weights(w, z)
    rows = np.abs(w.reshape(len(w), -1)).max(axis=1).reshape(-1, *[1] * (w.ndim - 1))
    for what, bound in ROUNDINGS.items():
        if (np.abs(w - z) <= bound(w, rows)).all():
            yield f"precision: weights rounded to {what}"
            return
    yield "other weights"


def _flattened(case: Case, node: Node) -> list[tuple[int, ...]]:
    """The images [C, H, W] that the input of a fully connected layer may be made of."""
    before = case.a.producer(node.inputs[0])
    if before is None or before.op not in ("Flatten", "Reshape"):
        return []
    source = case.a.values.get(before.inputs[0])
    return [] if source is None or source.ndim != 4 else [source.shape[1:]]


def _close(w: Array, z: Array) -> bool:
    return error(w, z) <= 1e-5
