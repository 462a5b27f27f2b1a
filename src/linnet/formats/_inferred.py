"""A translation that knows the shapes of its values, and numbers that are computed from them.

Sources such as TensorFlow and Keras do not say what shape a value has, but what is emitted for
convolutions and the like depends on it. Nothing is decided with it: passes.canonicalize computes
all of this again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from ..graph import UNSUPPORTED, Array, Node, Shape
from ..ops import OPERATORS
from ..ops._lowering import BATCH, settled
from ._translator import Translator, Unsupported

_MOST_COMPUTED = 1 << 12  # numbers; shapes are a few
_MOST_AXES = 8
_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError)

Sizes = list[Any]  # of axes


class _Given(NamedTuple):
    """What is known of a node's inputs, and its attributes."""

    shapes: list[Shape]
    values: list[Array | None]
    attrs: Mapping[str, Any]

    def ints(self, index: int) -> list[int]:
        """An input that is a list of integers; TypeError if it is not known."""
        value = self.values[index]
        if value is None or value.dtype.kind not in "iu" or value.ndim != 1:
            raise TypeError
        return [int(n) for n in value]


class Inferred(Translator):
    """A Translator whose `shapes` are known wherever they can be, 0 where a size is open.

    values: small constants, those computed from shapes too; BATCH stands for an open size.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.values: dict[str, Array] = {}
        self.failed: set[str] = set()  # values that depend on a problem already told

    @contextmanager
    def attempt(
        self, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> Iterator[None]:
        with super().attempt(op, name, inputs, outputs):
            yield
        if self.graph.nodes and self.graph.nodes[-1].op == UNSUPPORTED:
            self.failed.update(outputs)

    def shape(self, name: str) -> Shape:
        """Shape of an activation or a constant; Unsupported if it is not known."""
        shape = self.known_shape(name)
        if shape is None:
            reason = f"the shape of its input '{name}' is not known"
            raise Unsupported("" if name in self.failed else reason)
        return shape

    def value(self, name: str) -> Array | None:
        """A constant, or None if `name` is none that is known."""
        found = self.graph.initializers.get(name)
        return self.values.get(name) if found is None else found

    def _small(self, name: str) -> Array | None:
        """The same, but for those that may be far larger than what the file holds of them."""
        found = self.value(name) if name else None
        return None if found is None or found.size > _MOST_COMPUTED else found

    def known_shape(self, name: str) -> Shape | None:
        """The shape of an activation or a constant."""
        value = self.value(name)
        return self.shapes.get(name) if value is None else value.shape

    def add(self, name: str, op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        """Append a node; the shapes of its outputs are known if those of its inputs are."""
        self.graph.nodes.append(Node(op, name or outputs[0], inputs, outputs, attrs))
        given = [self._small(x) for x in inputs]
        if op == "Shape":
            self._shape_of(inputs[0], outputs[0], attrs)
        elif all(v is not None for x, v in zip(inputs, given) if x):
            self._compute(op, attrs, inputs, given, outputs)
        known = [self.known_shape(x) if x else () for x in inputs]
        rule = _RULES.get(op)
        if rule is None or any(shape is None for shape in known):
            return
        shapes = [shape for shape in known if shape is not None]
        with suppress(*_FAILURES):  # canonicalize tells
            made = rule(_Given(shapes, given, attrs))
            for output, shape in zip(outputs, made if isinstance(made, list) else [made]):
                if output not in self.values and len(shape) <= _MOST_AXES:
                    self.shapes[output] = tuple(max(int(n), 0) for n in shape)

    def _shape_of(self, x: str, y: str, attrs: Mapping[str, Any]) -> None:
        shape = self.known_shape(x)
        if shape is not None:
            sizes = np.empty(len(shape), object)
            sizes[:] = [n or BATCH for n in shape]
            self.values[y] = settled(sizes[attrs.get("start", 0) : attrs.get("end")])

    def _compute(
        self,
        op: str,
        attrs: Mapping[str, Any],
        inputs: Sequence[str],
        given: Sequence[Array | None],
        outputs: Sequence[str],
    ) -> None:
        operator = OPERATORS.get(op)
        if operator is None or operator.folds is None:
            return
        with suppress(*_FAILURES), np.errstate(all="ignore"):
            bound = operator.bind(attrs)
            if operator.folds(*given, **bound) <= _MOST_COMPUTED:
                results = operator.compute(given, bound)
                known = zip(outputs, map(settled, results))
                self.values.update((y, v) for y, v in known if v.size <= _MOST_COMPUTED)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape of what is computed element by element of values of these shapes."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(max(axis) if max(axis) > 1 or 0 not in axis else 0 for axis in zip(*padded))


def _same(given: _Given) -> Shape:
    return given.shapes[0]


def _broadcast(given: _Given) -> Shape:
    return broadcast(given.shapes)


def _transpose(given: _Given) -> Shape:
    (shape,) = given.shapes
    return tuple(shape[axis] for axis in given.attrs.get("perm") or range(len(shape))[::-1])


def _reshape(given: _Given) -> Shape:
    shape, target = given.shapes[0], given.values[1]
    if target is None:
        return _of_rank(given.shapes[1])
    return reshaped(shape, target.tolist())


def _of_rank(shape: Shape) -> Shape:
    """Open sizes, as many as a list of them has that is not known."""
    if len(shape) != 1 or not 0 < shape[0] <= _MOST_AXES:
        raise TypeError
    return (0,) * shape[0]


def reshaped(shape: Shape, target: Sequence[Any]) -> Shape:
    """`shape` after a Reshape to `target`, where BATCH is an open size and one may be -1."""
    sizes = [
        0 if n is BATCH else shape[axis] if n == 0 and axis < len(shape) else int(n)
        for axis, n in enumerate(target)
    ]
    if -1 in sizes:
        rest = [n for n in sizes if n != -1]
        inside, outside = math.prod(filter(None, shape)), math.prod(filter(None, rest))
        fits = shape.count(0) == rest.count(0) and inside % outside == 0
        sizes[sizes.index(-1)] = inside // outside if fits else 0
    return tuple(sizes)


def _flatten(given: _Given) -> Shape:
    (shape,) = given.shapes
    axis = given.attrs.get("axis", 1)
    return tuple(0 if 0 in part else math.prod(part) for part in (shape[:axis], shape[axis:]))


def _concat(given: _Given) -> Shape:
    sizes: Sizes = list(given.shapes[0])
    axis = given.attrs["axis"]
    along = [shape[axis] for shape in given.shapes]
    sizes[axis] = 0 if 0 in along else sum(along)
    return tuple(sizes)


def _slice(given: _Given) -> Shape:
    sizes: Sizes = list(given.shapes[0])
    starts, ends = given.ints(1), given.ints(2)
    axes = given.ints(3) if len(given.values) > 3 else range(len(starts))
    steps = given.ints(4) if len(given.values) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if sizes[axis]:
            last = None if step < 0 and end < -sizes[axis] else end
            sizes[axis] = len(range(sizes[axis])[slice(start, last, step)])
    return tuple(sizes)


def _split(given: _Given) -> Any:
    shape, axis = given.shapes[0], given.attrs.get("axis", 0)
    if len(given.values) > 1:
        parts = given.ints(1)
    else:
        count = given.attrs["num_outputs"]
        parts = [shape[axis] // count] * min(count, _MOST_COMPUTED)
    axis %= len(shape)
    return [(*shape[:axis], n, *shape[axis + 1 :]) for n in parts]


def _gather(given: _Given) -> Shape:
    shape, axis = given.shapes[0], given.attrs.get("axis", 0) % len(given.shapes[0])
    return (*shape[:axis], *given.shapes[1], *shape[axis + 1 :])


def _gather_nd(given: _Given) -> Shape:
    (shape, of), alike = given.shapes[:2], given.attrs.get("batch_dims", 0)
    return (*of[:-1], *shape[alike + of[-1] :])


def _top_k(given: _Given) -> Any:
    sizes: Sizes = list(given.shapes[0])
    sizes[given.attrs.get("axis", -1)] = given.ints(1)[0]
    return [tuple(sizes)] * 2


def _combined_suppression(given: _Given) -> Any:
    (images, *_), (*_, classes) = given.shapes[:2]
    rows = given.attrs["total"]
    if given.attrs["pad_per_class"]:
        rows = min(rows, given.attrs["each"] * classes)
    return [(images, rows, 4), (images, rows), (images, rows), (images,)]


def _padded_suppression(given: _Given) -> Any:
    most = (given.attrs["most"],)
    return [most, most, (1,)]


def _crop(given: _Given) -> Shape:
    (_, channels, *_), (boxes, _) = given.shapes[:2]
    return (boxes, channels, *given.attrs["size"])


def _squeeze(given: _Given) -> Shape:
    shape = given.shapes[0]
    if len(given.values) < 2:
        return tuple(n for n in shape if n != 1)
    axes = {axis % len(shape) for axis in given.ints(1)}
    return tuple(n for axis, n in enumerate(shape) if axis not in axes)


def _unsqueeze(given: _Given) -> Shape:
    shape = given.shapes[0]
    rank = len(shape) + len(given.ints(1))
    axes, old = {axis % rank for axis in given.ints(1)}, iter(shape)
    return tuple(1 if axis in axes else next(old) for axis in range(rank))


def _reduce(given: _Given) -> Shape:
    shape = given.shapes[0]
    axes = set(range(len(shape)))
    if len(given.values) > 1:
        axes = {axis % len(shape) for axis in given.ints(1)}
    if given.attrs.get("keepdims", 1):
        return tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    return tuple(n for axis, n in enumerate(shape) if axis not in axes)


def _place(given: _Given) -> Shape:
    shape, axis = given.shapes[0], given.attrs["axis"] % len(given.shapes[0])
    return (*shape[:axis], *shape[axis + 1 :])


def _matmul(given: _Given) -> Shape:
    a, b = given.shapes
    return (*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])


def _gemm(given: _Given) -> Shape:
    a, b = given.shapes[:2]
    return (a[given.attrs.get("transA", 0)], b[1 - given.attrs.get("transB", 0)])


def _pad(given: _Given) -> Shape:
    shape, pads = given.shapes[0], given.ints(1)
    rank = len(shape)
    return tuple(n and n + pads[axis] + pads[axis + rank] for axis, n in enumerate(shape))


def _tile(given: _Given) -> Shape:
    return tuple(n * count for n, count in zip(given.shapes[0], given.ints(1)))


def _expand(given: _Given) -> Shape:
    target = given.values[1]
    if target is None:
        return broadcast([given.shapes[0], _of_rank(given.shapes[1])])
    return broadcast([given.shapes[0], tuple(0 if n is BATCH else n for n in target.tolist())])


def _recurrence(given: _Given) -> Any:
    x, size = given.shapes[0], given.shapes[2][-1]
    directions = 2 if given.attrs.get("direction") == "bidirectional" else 1
    if given.attrs.get("layout"):
        return [(*x[:2], directions, size), *[(x[0], directions, size)] * 2]
    return [(x[0], directions, x[1], size), *[(directions, x[1], size)] * 2]


_UNCHANGED = """
    Abs BatchNormalization Cast Ceil Clip Cos Dropout Elu Erf Exp Floor Gelu GroupNormalization
    HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log
    LogSoftmax LpNormalization
    Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Swish
    Tanh
"""
_ELEMENT_BY_ELEMENT = """
    Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub
    Sum Where
"""
_RULES: dict[str, Callable[[_Given], Any]] = {
    **{name: _same for name in _UNCHANGED.split()},
    **{name: _broadcast for name in _ELEMENT_BY_ELEMENT.split()},
    **{name: _reduce for name in OPERATORS if name.startswith("Reduce")},
    "ArgMax": _place,
    "ArgMin": _place,
    "CombinedNonMaxSuppression": _combined_suppression,
    "Concat": _concat,
    "CropAndResize": _crop,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GRU": _recurrence,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "LSTM": _recurrence,
    "MatMul": _matmul,
    "Pad": _pad,
    "RNN": _recurrence,
    "PaddedNonMaxSuppression": _padded_suppression,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
