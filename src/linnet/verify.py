"""Two models layer by layer: where they begin to differ, and why they might.

Each side is a model in any format linnet imports, or what some runtime saved of one: an .npz file
with an array for each value it computed, or an .npy file with the output. Layers of the two are
brought together by the names of the values they compute and, where two models share few names, by
the order of their operators and shapes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core, core
from .graph import Graph, Node
from .ops.quant import rounded
from .session import Session
from .text import count, shape_text, table

Array = npt.NDArray[Any]

# Of the rms. Rounding alone stays below 1e-4 for networks of usual depth.
TOLERANCE = 1e-3
# What rounding the weights of a whole network to these types is allowed to change.
ROUNDED_TOLERANCE = {"f32": TOLERANCE, "f16": 1e-2, "int8": 1e-1}
MOST_IMAGES = 16  # whose values are kept and compared layer by layer


@dataclass
class Side:
    """One of the two: the values it computed of the first images, in order; the graph if it is a
    model; and of all images the class, where an output is a list of classes.
    """

    name: str
    values: dict[str, Array]
    graph: Graph | None = None
    outputs: list[str] = field(default_factory=list)
    classes: dict[str, Array] = field(default_factory=dict)

    def producer(self, value: str) -> Node | None:
        nodes = self.graph.nodes if self.graph else []
        return next((node for node in nodes if value in node.outputs), None)


class Difference(NamedTuple):
    """One value that both sides have.

    error: largest |a - b| relative to the rms of a's value; of a softmax, whose rms says little,
    as it is.
    """

    value: str
    other: str  # its name in the second
    op: str  # of the node that computes it; empty if no side is a model
    shape: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Verification:
    """The outcome. first: the first value beyond the tolerance, if any, with a likely cause.

    images: how many there are, where the last value in common is a list of classes; same_class: of
    how many both find the same; correct: of how many each finds the true one. None where that is
    not known.
    """

    names: tuple[str, str]
    tolerance: float
    differences: tuple[Difference, ...]
    first: Difference | None
    cause: str
    images: int | None = None
    same_class: int | None = None
    correct: tuple[int, ...] | None = None

    @property
    def passed(self) -> bool:
        return self.first is None

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "models": list(self.names),
            "passed": self.passed,
            "tolerance": self.tolerance,
            "values": [d._asdict() for d in self.differences],
            "first": self.first.value if self.first else None,
            "cause": self.cause or None,
            "images": self.images,
            "same_class": self.same_class,
            "correct": list(self.correct) if self.correct else None,
        }
        return data

    def lines(self) -> list[str]:
        renamed = any(d.value != d.other for d in self.differences)
        header = [
            "value",
            *(["in the second"] if renamed else []),
            "op",
            "shape",
            "max |a-b| / rms",
        ]
        rows = []
        for d in self.differences:
            name = [d.value, d.other] if renamed else [d.value]
            mark = "  <- first" if d is self.first else ""
            rows.append([*name, d.op, shape_text((0, *d.shape[1:])), f"{d.error:.2g}{mark}"])
        text = [f"{self.names[0]} against {self.names[1]}", "", *table(header, rows), ""]
        if self.images:
            text.append(f"same class for {self.same_class} of {count(self.images, 'image')}")
        if self.images and self.correct:
            points = [f"{n} ({100 * n / self.images:.2f} %)" for n in self.correct]
            change = 100 * (self.correct[1] - self.correct[0]) / self.images
            text.append(f"right class: {points[0]} against {points[1]}, {change:+.2f} points")
        if self.first is None:
            worst = max(d.error for d in self.differences)
            return [*text, f"PASSED: at most {worst:.2g} of rms, allowed {self.tolerance:g}"]
        text.append(f"first difference: '{self.first.value}'; likely cause: {self.cause}")
        bad = sum(not d.error <= self.tolerance for d in self.differences)
        total = count(len(self.differences), "value")
        return [*text, f"FAILED: {bad} of {total} beyond {self.tolerance:g} of rms"]


def run_model(
    name: str, graph: Graph, inputs: Mapping[str, Array], weights_dtype: str | None = None
) -> Side:
    """Every value of a canonical graph on these inputs, computed by linnet."""
    net = Session(_core.Session(core.build(graph), weights_dtype=weights_dtype or ""))
    names = [node.outputs[0] for node in graph.nodes]
    first = {key: x[:MOST_IMAGES] for key, x in inputs.items()}
    values = dict(zip(names, net.run(names, first)))
    results = dict(zip(graph.outputs, net.run(None, dict(inputs))))
    return Side(name, values, graph, list(graph.outputs), _best(results))


def saved(name: str, values: Mapping[str, Array]) -> Side:
    """What a runtime saved.

    ValueError if an array is not a batch of numbers.
    """
    for key, array in values.items():
        if array.dtype.kind not in "fiu" or array.ndim < 2 or not len(array):
            raise ValueError(f"{name}: '{key}' is not a batch of numbers, N x ...")
    floats = {
        key: array if array.dtype == np.float32 else array.astype(np.float64)
        for key, array in values.items()
    }
    first = {key: array[:MOST_IMAGES] for key, array in floats.items()}
    return Side(name, first, classes=_best(floats))


def round_weights(graph: Graph, dtype: str) -> Graph:
    """The graph with the weights that `linnet.load(..., weights_dtype=dtype)` works with."""
    initializers = dict(graph.initializers)
    nodes = []
    for node in graph.nodes:
        kernel = initializers.get(node.inputs[1]) if node.op in ("Conv", "Gemm") else None
        if (
            kernel is not None
            and node.attrs.get("group", 1) == 1
            and kernel.shape[2:] in ((), (1, 1))
        ):
            name = f"{node.inputs[1]} as {dtype}"
            initializers[name] = rounded(kernel, dtype)
            nodes.append(replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]]))
        else:
            nodes.append(node)
    return replace(graph, nodes=nodes, initializers=initializers)


def _best(values: Mapping[str, Array]) -> dict[str, Array]:
    """The index of the largest number of each image, of values that are lists of classes."""
    return {
        name: y.reshape(len(y), -1).argmax(axis=1)
        for name, y in values.items()
        if y.ndim > 1 and y.shape[1] > 1 and math.prod(y.shape[2:]) == 1
    }


def verify(
    a: Side,
    b: Side,
    *,
    tolerance: float = TOLERANCE,
    inputs: Mapping[str, Array] | None = None,
    classes: Array | None = None,
) -> Verification:
    """Compare two sides that were given the same inputs; `a` is the one that is right.

    inputs: what `a` was computed from, if known, to find out whether `b` was given other ones.
    classes: the true class of each image.
    ValueError if they have nothing in common, or the batches differ.

    The cause is a guess: from what the graphs say of the first value that differs, from what change
    would make its numbers right, and from what other input would have given them.
    """
    pairs = _pairs(a, b)
    if not pairs:
        raise ValueError(
            f"{a.name} and {b.name} have no value in common: "
            f"{_some(a.values)} against {_some(b.values)}"
        )
    for mine, other in pairs:
        if len(a.values[mine]) != len(b.values[other]):
            raise ValueError(
                f"'{mine}' has {len(a.values[mine])} images in {a.name}, "
                f"{len(b.values[other])} in {b.name}"
            )
    differences = []
    for mine, other in pairs:
        u, v = a.values[mine], _like(b.values[other], a.values[mine].shape)
        node = a.producer(mine) or b.producer(other)
        op = node.op if node else ""
        error = _error(u, v) * (_rms(u) if op == "Softmax" else 1)
        differences.append(Difference(mine, other, op, u.shape, error))
    first = next((d for d in differences if not d.error <= tolerance), None)
    cause = ""
    if first is not None:
        cause = _Cause(a, b, dict(pairs), first, tolerance=tolerance, inputs=inputs).find()
    known = [(a.classes[m], b.classes[o]) for m, o in pairs if m in a.classes and o in b.classes]
    if not known:
        if classes is not None:
            raise ValueError("no value of both is a list of classes, N x C")
        return Verification((a.name, b.name), tolerance, tuple(differences), first, cause)
    best = known[-1]
    if len(best[0]) != len(best[1]):
        raise ValueError(f"{len(best[0])} images in {a.name}, {len(best[1])} in {b.name}")
    same = int(np.count_nonzero(best[0] == best[1]))
    correct = None
    if classes is not None:
        if classes.shape != best[0].shape or classes.dtype.kind not in "iu":
            raise ValueError(
                f"the true classes are not {len(best[0])} integers, one for each image"
            )
        correct = tuple(int(np.count_nonzero(found == classes)) for found in best)
    return Verification(
        (a.name, b.name),
        tolerance,
        tuple(differences),
        first,
        cause,
        len(best[0]),
        same,
        correct,
    )


def _some(names: Mapping[str, Array]) -> str:
    shown = [f"'{name}'" for name in list(names)[:4]]
    return ", ".join(shown) + (", ..." if len(names) > 4 else "") if shown else "nothing"


def _pairs(a: Side, b: Side) -> list[tuple[str, str]]:
    """Names of values that mean the same, in the order of `a`."""
    found = {
        name: name
        for name in a.values
        if name in b.values and (not a.graph or not b.graph or _op(a, name) == _op(b, name))
    }

    def add(mine: str, other: str) -> None:
        if mine not in found and other not in found.values():
            found[mine] = other

    if a.graph and b.graph:
        keys = [[(_op(side, v), x.shape[1:]) for v, x in side.values.items()] for side in (a, b)]
        names = list(a.values), list(b.values)
        matcher = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False)
        for i, j, size in matcher.get_matching_blocks():
            for k in range(size):
                add(names[0][i + k], names[1][j + k])
    elif a.graph or b.graph:
        found = _in_place(a, b, found) if a.graph else _in_place(b, a, found, swap=True)
    ends = [side.outputs or list(side.values) for side in (a, b)]
    if len(ends[0]) == len(ends[1]) and (a.graph or b.graph):
        for mine, other in zip(*ends):
            add(mine, other)
    elif not found and len(b.values) == 1:  # an output saved under another name, or none
        add(ends[0][-1], ends[1][0])
    return [(name, found[name]) for name in a.values if name in found]


def _op(side: Side, value: str) -> str:
    node = side.producer(value)
    return node.op if node else ""


def _in_place(
    model: Side, saved: Side, found: Mapping[str, str], *, swap: bool = False
) -> dict[str, str]:
    """Caffe computes activations in place: what it saved of a layer may be what comes after."""
    assert model.graph
    pairs = {}
    for name in found:
        mine, v = name, saved.values[name]
        after = [n for n in model.graph.nodes if n.op == "Relu" and n.inputs == [name]]
        if after and after[0].outputs[0] not in found:
            u, y = model.values[name], model.values[after[0].outputs[0]]
            v = _like(v, u.shape)
            if _error(u, v) > TOLERANCE >= _error(y, v):
                mine = after[0].outputs[0]
        pairs.update({name: mine} if swap else {mine: name})
    return pairs


def _like(v: Array, shape: tuple[int, ...]) -> Array:
    """`v`, channels first if it was channels last, and without or with axes of 1."""
    if v.shape == shape or v.size != math.prod(shape) or len(v) != shape[0]:
        return v
    if v.ndim == 4 and len(shape) == 4 and v.transpose(0, 3, 1, 2).shape == shape:
        return v.transpose(0, 3, 1, 2)
    if [n for n in v.shape[1:] if n > 1] == [n for n in shape[1:] if n > 1]:
        return v.reshape(shape)
    return v


def _rms(u: Array) -> float:
    return float(np.sqrt(np.mean(np.square(u, dtype=np.float64))))


def _error(u: Array, v: Array) -> float:
    """Largest difference relative to the rms of u; infinite where they do not compare."""
    if u.shape != v.shape or not np.array_equal(np.isfinite(u), np.isfinite(v)):
        return math.inf
    with np.errstate(invalid="ignore"):  # infinities of both
        largest = float(np.max(np.abs(u - v), where=np.isfinite(u), initial=0.0))
    if largest == 0:
        return 0.0
    rms = _rms(u[np.isfinite(u)])
    return largest / rms if rms > 0 else math.inf


class _Cause:
    """Looks for what explains the first difference: in the graphs, in the numbers, in the input."""

    def __init__(
        self,
        a: Side,
        b: Side,
        pairs: Mapping[str, str],
        first: Difference,
        *,
        tolerance: float,
        inputs: Mapping[str, Array] | None,
    ) -> None:
        self.a, self.b, self.pairs, self.first = a, b, pairs, first
        self.tolerance, self.inputs = tolerance, inputs
        self.u = a.values[first.value]
        self.v = _like(b.values[first.other], self.u.shape)

    def find(self) -> str:
        for causes in (self._graphs(), self._numbers(), self._inputs()):
            if found := next(causes, None):
                return found
        if self.first.error < 0.05:
            return "rounding: lower precision, or sums of very different terms"
        if next(iter(self.pairs)) == self.first.value and not (self.a.graph and self.b.graph):
            return "other input data or preprocessing, or other weights"
        return "unknown; the values before it agree"

    def same(self, u: Array, v: Array) -> bool:
        return _error(u, v) <= max(self.tolerance, 1e-4)

    # What two graphs say.

    def _graphs(self) -> Iterator[str]:
        mine, other = self.a.producer(self.first.value), self.b.producer(self.first.other)
        if mine is None or other is None:
            return
        assert self.a.graph and self.b.graph
        if mine.op == other.op == "Concat":
            parts = [self.pairs.get(name, name) for name in mine.inputs]
            if parts != other.inputs and sorted(parts) == sorted(other.inputs):
                yield "the same values are concatenated in another order"
        start, chain = _chain(self.a.graph, self.first.value, self.pairs)
        begin, links = _chain(self.b.graph, self.first.other, self.pairs.values())
        if chain != links:
            yield (
                f"{self.a.name} has {'+'.join(chain)}, {self.b.name} has {'+'.join(links)}: an "
                "operator is missing, or another one"
            )
        if start in self.pairs and self.pairs[start] != begin:
            yield f"it is computed from '{start}' in {self.a.name}, '{begin}' in {self.b.name}"
        yield from _attributes(mine, other)
        if mine.op in ("Conv", "Gemm") and other.op == mine.op:
            yield from self._weights(mine, other)

    def _weights(self, mine: Node, other: Node) -> Iterator[str]:
        assert self.a.graph and self.b.graph
        w = self.a.graph.initializers[mine.inputs[1]]
        z = self.b.graph.initializers[other.inputs[1]]
        if w.shape != z.shape:
            if w.T.shape == z.shape and np.array_equal(w.T, z):
                yield "weights transposed"
            yield f"weights of shape {list(w.shape)} against {list(z.shape)}"
            return
        if not np.array_equal(w, z):
            yield from self._changed_weights(w, z, mine)
        c = [node.inputs[2] if len(node.inputs) > 2 else "" for node in (mine, other)]
        e, f = (
            side.graph.initializers[name] if name and side.graph else np.zeros(len(w), w.dtype)
            for side, name in zip((self.a, self.b), c)
        )
        if not np.array_equal(e, f):
            if not f.any():
                yield f"no bias in {self.b.name}"
            if not e.any():
                yield f"no bias in {self.a.name}"
            if not _close(e, f):
                yield "other biases"

    def _changed_weights(self, w: Array, z: Array, node: Node) -> Iterator[str]:
        if w.ndim == 4:
            if _close(w[:, ::-1], z):
                yield "input channels in reverse order (BGR against RGB)"
            if _close(w[..., ::-1, ::-1], z):
                yield "kernels rotated by 180 degrees (convolution against correlation)"
            if w.shape[2] == w.shape[3] and _close(w.swapaxes(2, 3), z):
                yield "height and width of the kernels swapped"
            if w.shape[0] == w.shape[1] and _close(w.swapaxes(0, 1), z):
                yield "weights transposed: input and output channels swapped"
        else:
            if w.shape[0] == w.shape[1] and _close(w.T, z):
                yield "weights transposed"
            for c, h, width in self._flattened(node):
                if _close(w.reshape(-1, c, h, width).transpose(0, 2, 3, 1).reshape(w.shape), z):
                    yield "columns in the order height, width, channel: flattened channels last"
                if _close(w.reshape(-1, h, width, c).transpose(0, 3, 1, 2).reshape(w.shape), z):
                    yield "columns in the order channel, height, width: flattened channels first"
        scale = float(np.vdot(w, z) / max(float(np.vdot(w, w)), 1e-30))
        if abs(scale - 1) > 1e-3 and _close(w * scale, z):
            yield f"weights times {scale:.6g}: input of another scale, or a folded factor"
        rows = np.abs(w.reshape(len(w), -1)).max(axis=1).reshape(-1, *[1] * (w.ndim - 1))
        change = np.abs(w - z)
        for bound, what in (
            (np.maximum(np.abs(w) * 2.0**-10, 2.0**-24), "float16"),
            (np.abs(w) * 2.0**-7, "bfloat16"),
            (rows * (0.51 / 127), "int8"),
        ):
            if (change <= bound).all():
                yield f"precision: weights rounded to {what}"
                return
        yield "other weights"

    def _flattened(self, node: Node) -> list[tuple[int, int, int]]:
        """The images [C, H, W] that the input of a fully connected layer may be made of."""
        before = self.a.producer(node.inputs[0])
        if before is None or before.op not in ("Flatten", "Reshape"):
            return []
        source = self.a.values.get(before.inputs[0])
        return [] if source is None or source.ndim != 4 else [source.shape[1:]]

    # What the numbers say.

    def _numbers(self) -> Iterator[str]:
        u, v = self.u, self.v
        if u.shape != v.shape:
            yield from self._shapes(u, v)
            return
        broken = ~np.isfinite(v) & np.isfinite(u)
        if broken.any():
            yield (
                f"{self.b.name} has infinities or NaN there ({int(broken.sum())}): overflow, as of "
                "float16, or uninitialized memory"
            )
        if not np.isfinite(u).all() or not np.isfinite(v).all():
            return
        for x, y, side in ((u, v, self.b.name), (v, u, self.a.name)):
            if self.same(x, np.maximum(y, 0)):
                yield f"an activation (ReLU) is missing in {side}"
            if x.ndim == 2 and x.min() >= 0 and self.same(x, _softmax(y)):
                yield f"a softmax is missing in {side}"
        if u.ndim == 4:
            if self.same(u, v[:, ::-1]):
                yield "channels in reverse order (BGR against RGB)"
            if u.shape[2] == u.shape[3] and self.same(u, v.swapaxes(2, 3)):
                yield "height and width swapped"
            if self.same(u, v[..., ::-1]):
                yield "images mirrored"
            last = v.reshape(len(v), *u.shape[2:], u.shape[1]).transpose(0, 3, 1, 2)
            if self.same(u, last):
                yield "values in the order height, width, channel: channels last read as first"
            yield from self._borders(u, v)
        axes = tuple(i for i in range(u.ndim) if i != 1)
        shift = np.mean(v - u, axis=axes, keepdims=True)
        if v.size >= 4 * shift.size and self.same(u, v - shift):
            yield "a constant for each channel: a bias, or the mean subtracted from the input"
        scale = float(np.vdot(u, v) / max(float(np.vdot(u, u)), 1e-30))
        if scale != 0 and self.same(u, v / scale):
            yield f"a factor of {scale:.6g}: another scale of the input or of the weights"

    def _shapes(self, u: Array, v: Array) -> Iterator[str]:
        text = f"shape {list(u.shape)} against {list(v.shape)}"
        if u.ndim == v.ndim == 4 and u.shape[1] == v.shape[1]:
            if max(abs(m - n) for m, n in zip(u.shape[2:], v.shape[2:])) == 1:
                yield f"{text}: one rounds up (ceil, as Caffe's pools), or padding"
            yield f"{text}: stride, padding or kernel"
        if sorted(u.shape[1:]) == sorted(v.shape[1:]):
            yield f"{text}: axes in another order"
        yield text

    def _borders(self, u: Array, v: Array) -> Iterator[str]:
        if min(u.shape[2:]) < 4:
            return
        for rows, columns in ((1, 1), (1, 0), (0, 1)):
            h, w = u.shape[2] - rows, u.shape[3] - columns
            here, there = (slice(rows, None), slice(columns, None)), (slice(h), slice(w))
            for x, y in ((here, there), (there, here)):
                if self.same(u[(..., *x)], v[(..., *y)]):
                    yield (
                        "shifted by a pixel: padding at the other side (SAME pads at the end), or "
                        "windows that begin elsewhere"
                    )
        bad = np.abs(u - v) > self.tolerance * max(_rms(u), 1e-30)
        edge = max(1, min(u.shape[2:]) // 4)
        if not bad[:, :, edge:-edge, edge:-edge].any():
            yield "only the borders differ: padding, or what an average's divisor counts of it"

    # What another input would have given.

    def _inputs(self) -> Iterator[str]:
        models = [side for side in (self.a, self.b) if side.graph]
        if len(models) != 1 or self.inputs is None or self.u.shape != self.v.shape:
            return
        if self.first.value != next(iter(self.pairs)):  # what came before is right
            return
        (model,) = models
        assert model.graph
        name, saved, other = (
            (self.first.value, self.v, self.b)
            if model is self.a
            else (self.first.other, self.u, self.a)
        )
        given = {key: x[:MOST_IMAGES] for key, x in self.inputs.items()}
        for what, change in _INPUTS.items():
            changed = {key: change(x) for key, x in given.items()}
            if any(changed[key].shape != x.shape for key, x in given.items()):
                continue
            if all(np.array_equal(changed[key], x) for key, x in given.items()):
                continue
            again = run_model(model.name, model.graph, changed).values[name]
            if self.same(again, saved) or self.same(np.maximum(again, 0), saved):
                yield f"preprocessing: {other.name} was given the input {what}"


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


_ATTRIBUTES = {
    "ceil_mode": "one pool rounds its size up (ceil, as Caffe's) and the other down",
    "count_include_pad": "padding counts in one average's divisor and not in the other's",
    "pads": "padding {} against {} (top, left, bottom, right)",
}


def _attributes(mine: Node, other: Node) -> Iterator[str]:
    if mine.op != other.op:
        yield f"{mine.op} against {other.op}"
        return
    for key in sorted(mine.attrs.keys() | other.attrs.keys()):
        a, b = mine.attrs.get(key), other.attrs.get(key)
        if a != b and (a or b):
            yield _ATTRIBUTES.get(key, f"{key} {{}} against {{}}").format(a, b)


def _close(w: Array, z: Array) -> bool:
    return _error(w, z) <= 1e-5


def _softmax(y: Array) -> Array:
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


_INPUTS: dict[str, Callable[[Array], Array]] = {
    "with channels in reverse order (BGR against RGB)": lambda x: x[:, ::-1].copy(),
    "255 times as large": lambda x: x * x.dtype.type(255),
    "255 times smaller": lambda x: x / x.dtype.type(255),
    "as 2 x - 1": lambda x: 2 * x - 1,
    "as x - 0.5": lambda x: x - x.dtype.type(0.5),
    "as x / 127.5 - 1": lambda x: x / x.dtype.type(127.5) - 1,
    "with height and width swapped": lambda x: x.swapaxes(-1, -2).copy(),
    "upside down": lambda x: x[..., ::-1, :].copy(),
    "mirrored": lambda x: x[..., ::-1].copy(),
}
