"""What readers of sources that keep channels first share, as MXNet, Darknet and ncnn do.

Images are [N, C, H, W], as ONNX has them, and so are weights. A file may leave sizes of its input
open, 0; where a fully connected layer allows only some, `fitting` finds out which.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Graph, Shape, Value
from ..ops._window import explicit_pads, output_size
from ..text import short
from ._inferred import Inferred
from ._source import Source
from ._translator import Unsupported

_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError)
_LARGEST_SIDE = 4096  # of an image whose size is looked for
_HALVED = [(256, 320), (448, 384), (64, 192)]  # open sizes, of which nothing has to be cut
_ALIKE = ("Add", "Concat", "Max", "Min", "Mul", "Sub", "Sum")  # of inputs that are equally large


class Misfit(NamedTuple):
    """A layer that takes so many numbers of each image of `x`, whose size is open."""

    x: str
    wanted: int


class ChannelsFirst(Inferred):
    """An Inferred that knows windows; `misfit` is the first layer whose weights an open size may
    not fit.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.misfit: Misfit | None = None
        self.cuts: set[str] = set()  # values cut to the size of others, which is open

    def add(self, name: str, op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        super().add(name, op, inputs, outputs, **attrs)
        rule, shape = _WINDOWS.get(op), self.known_shape(inputs[0]) if inputs else None
        if rule is not None and shape is not None:
            with suppress(*_FAILURES):  # canonicalize tells
                self.shapes[outputs[0]] = rule(self, shape, inputs, attrs)

    def numbers(self, x: str) -> int | None:
        """How many an image has, None if its size is open."""
        shape = self.known_shape(x)
        return None if shape is None or 0 in shape[1:] else math.prod(shape[1:])

    def takes(self, x: str, wanted: int) -> None:
        """Unsupported if an image of `x` has not `wanted` numbers; an open size is noted."""
        found = self.numbers(x)
        if found is None:
            self.misfit = self.misfit or Misfit(x, wanted)
        elif found != wanted:
            raise Unsupported(f"has weights for {wanted} numbers, its input has {found}")


class Step:
    """One layer being translated: the values it reads, and those it makes.

    A rule adds nodes by `part` and returns the last one's value, or a list of them, which `by`
    makes the layer's.
    """

    def __init__(
        self, reader: ChannelsFirst, name: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self.reader = reader
        self.name = name
        self.inputs = list(inputs)
        self.outputs = list(outputs)

    def input(self, index: int) -> str:
        if index >= len(self.inputs):
            raise Unsupported(f"has {len(self.inputs)} inputs, expected {index + 1} at least")
        return self.inputs[index]

    @property
    def x(self) -> str:
        return self.input(0)

    def shape(self, index: int = 0) -> Shape:
        """Of an input, 0 where a size is open."""
        return self.reader.shape(self.input(index))

    def image(self, index: int = 0) -> Shape:
        """The same, which has four axes."""
        shape = self.shape(index)
        if len(shape) != 4:
            raise Unsupported(f"its input has {len(shape)} axes, expected an image")
        return shape

    def part(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """A value on the way to the layer's."""
        name = self.reader.names.fresh(f"{self.outputs[0]}.{op.lower()}")
        self.reader.add(name, op, list(inputs), [name], **attrs)
        return name

    def constant(self, what: str, values: Any) -> str:
        """Name of a new constant; reals become float32, integers int64."""
        array = np.asarray(values)
        kind = np.int64 if array.dtype.kind in "iu" else np.float32
        return self.reader.constant(f"{self.outputs[0]}.{what}", array.astype(kind, copy=False))

    def number(self, value: float, what: str = "number") -> str:
        return self.constant(what, np.float32(value))

    def integers(self, what: str, values: Sequence[int]) -> str:
        if any(abs(n) > LONGEST_AXIS for n in values):
            raise Unsupported(f"{short(list(values))} are too large")
        return self.constant(what, np.array(values, np.int64))

    def by(self, rule: Callable[[Any], str | list[str]]) -> None:
        """Make what a rule returns the layer's outputs."""
        try:
            made = rule(self)
        except _FAILURES as error:  # whatever a rule takes for granted
            raise Unsupported(f"its settings do not fit what it reads ({error})") from None
        self._finish([made] if isinstance(made, str) else made)

    def _finish(self, values: Sequence[str]) -> None:
        if len(values) < len(self.outputs):
            raise Unsupported(f"has {len(self.outputs)} outputs, expected {len(values)}")
        reader = self.reader
        for value, output in zip(values, self.outputs):
            last = reader.graph.nodes[-1] if reader.graph.nodes else None
            if last is None or last.outputs != [value] or value in self.inputs:
                reader.add(
                    self.name if output == self.outputs[0] else output,
                    "Identity",
                    [value],
                    [output],
                )
                continue
            last.name, last.outputs = self.name, [output]
            if value in reader.cuts:
                reader.cuts.add(output)
            if value in reader.shapes:
                reader.shapes[output] = reader.shapes.pop(value)
            if value in reader.values:
                reader.values[output] = reader.values.pop(value)

    # What several formats have.

    def reshaped(self, x: str, target: Sequence[int]) -> str:
        return self.part("Reshape", [x, self.integers("shape", target)])

    def regrouped(self, x: str, parts: Sequence[int | list[int]]) -> str:
        """`x` with axes that are numbers, -1 for what is left, or lists of axes of it joined."""
        shape, sizes = self.reader.shape(x), []
        for index, part in enumerate(parts):
            if isinstance(part, list):
                size = math.prod(shape[axis] for axis in part)
                sizes.append(0 if part == [index] else size or -1)
            else:
                sizes.append(part)
        if sizes.count(-1) > 1:
            self.known(x)
            raise Unsupported(f"{list(shape)} cannot become {list(parts)}")
        return self.reshaped(x, sizes)

    def whole_windows(
        self,
        sizes: Sequence[int],
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
    ) -> None:
        """Unsupported if, rounded up, the last window has none of the image: these sources have it
        still, ONNX drops it. pads: [top, left, bottom, right], or those of rows.
        """
        for i, (n, k, stride) in enumerate(zip(sizes, kernel, strides)):
            room = n + pads[i] + pads[i + len(sizes)] - k
            if n and room > 0 and -(-room // stride) * stride >= n + pads[i]:
                raise Unsupported("its last window lies outside the image")

    def cut(self, x: str, axis: int, begin: int, end: int, *, step: int = 1) -> str:
        """What is left of an axis from `begin` to `end`."""
        what = zip(("begins", "ends", "axes", "steps"), (begin, end, axis, step))
        return self.part("Slice", [x, *(self.integers(key, [value]) for key, value in what)])

    def cut_like(self, x: str, other: str, axis: int, begin: int = 0) -> str:
        """As much of an axis as another value has of it when the model is loaded."""
        size = self.part("Shape", [other], start=axis, end=axis + 1)
        first = self.integers("begin", [begin])
        end = self.part("Add", [size, first]) if begin else size
        y = self.part("Slice", [x, first, end, self.integers("axes", [axis])])
        shape = list(self.reader.shape(x))
        shape[axis] = self.reader.shape(other)[axis]
        self.reader.shapes[y] = tuple(shape)
        if not shape[axis]:
            self.reader.cuts.add(y)
        return y

    def clipped(self, x: str, low: float, high: float) -> str:
        return self.part("Clip", [x, self.number(low, "low"), self.number(high, "high")])

    def scaled(self, x: str, scale: Array, shift: Array | None, axis: int = 1) -> str:
        """Along an axis: times `scale`, plus `shift`, as that of float64."""
        rank = len(self.reader.shape(x))
        wide = [-1 if i == axis % rank else 1 for i in range(rank)]
        y = self.part("Mul", [x, self.constant("scale", scale.reshape(wide))])
        return (
            y
            if shift is None
            else self.part("Add", [y, self.constant("shift", shift.reshape(wide))])
        )

    def normalized(self, x: str, arrays: Sequence[Array], epsilon: float) -> str:
        """Channels by arrays of scale, bias, running mean and variance."""
        names = ("scale", "bias", "mean", "variance")
        inputs = [x, *(self.constant(what, array) for what, array in zip(names, arrays))]
        return self.part("BatchNormalization", inputs, epsilon=float(epsilon))

    def shuffled(self, x: str, group: int) -> str:
        """Channels of all groups in turn: the first of each, the second of each, ..."""
        shape = self.reader.shape(x)
        if len(shape) != 4 or group < 1 or shape[1] % group:
            raise Unsupported(f"{group} groups do not fit {list(shape)}")
        each = [group, shape[1] // group]
        if 0 not in shape[1:]:
            y = self.reshaped(x, [0, *each, *shape[2:]])
            y = self.part("Transpose", [y], perm=[0, 2, 1, 3, 4])
            return self.reshaped(y, [0, *shape[1:]])
        # Height and width keep their places.
        y = self.reshaped(self.part("Transpose", [x], perm=[0, 2, 3, 1]), [0, 0, 0, *each])
        y = self.reshaped(self.part("Transpose", [y], perm=[0, 1, 2, 4, 3]), [0, 0, 0, shape[1]])
        return self.part("Transpose", [y], perm=[0, 3, 1, 2])

    def known(self, x: str) -> Shape:
        """The shape of a value that leaves nothing open but the batch."""
        shape = self.reader.shape(x)
        if 0 in shape[1:]:
            raise Unsupported(
                "depends on the size of the input, which the file leaves open; give it, as in "
                "shapes={" + repr(self.reader.graph.inputs[0].name) + ": (1, 3, 224, 224)}"
            )
        return shape


def fitting(read: Callable[[Mapping[str, Shape]], ChannelsFirst]) -> Graph:
    """The graph that `read` makes with given shapes of inputs.

    Where a fully connected layer has weights for some sizes of an open image alone: the square that
    fits or, if several do, an open size with those as examples of it.
    """
    reader = read({})
    graph, misfit = reader.graph, reader.misfit
    opened = [value for value in graph.inputs if 0 in value.shape[1:]]
    if misfit is None or reader.failed or len(opened) != 1:
        return replace(graph, sizes=_HALVED) if _only_halved(reader) else graph
    (value,) = opened
    found = _of_squares(reader, value, misfit.x)
    first = _least(lambda side: found(side) >= misfit.wanted)
    if first is None or found(first) != misfit.wanted:
        reader.problem(
            f"the layer that takes {misfit.wanted} numbers fits no square image: give the size of "
            f"the input, as in shapes={{'{value.name}': ...}}"
        )
        return graph
    beyond = _least(lambda side: found(side) > misfit.wanted, first)
    last = (beyond or first + 1) - 1
    if first == last:
        return read({value.name: _square(value, first)}).graph
    sizes = (last, first, (first + last) // 2)
    return replace(graph, sizes=[(n, n) for n in sizes])


def _square(value: Value, side: int) -> Shape:
    return (value.shape[0], *(n or side for n in value.shape[1:]))


def _of_squares(reader: ChannelsFirst, value: Value, x: str) -> Callable[[int], int]:
    """How many numbers `x` has, by the side of the image that is its input; 0 of one that a window
    is larger than.
    """
    needed, nodes = {x}, []
    for node in reversed(reader.graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            nodes.append(node)

    def found(side: int) -> int:
        again = ChannelsFirst("", "", ())
        again.graph.initializers = reader.graph.initializers
        again.shapes[value.name] = _square(value, side)
        for node in reversed(nodes):
            again.add(node.name, node.op, node.inputs, node.outputs, **node.attrs)
        return again.numbers(x) or 0

    return found


def _only_halved(reader: ChannelsFirst) -> bool:
    """Whether values are cut to the size of others before both are put together, as in a pyramid
    of features: sizes that can be halved often need no cut, and with others the two do not fit.
    """
    nodes = reader.graph.nodes
    cut = {name: [node for node in nodes if name in node.inputs] for name in reader.cuts}
    return bool(cut) and all(
        node.op == "Slice" or (node.op in _ALIKE and len(node.inputs) > 1)
        for readers in cut.values()
        for node in readers
    )


def _least(true: Callable[[int], bool], low: int = 1) -> int | None:
    """The smallest side from `low` on that this is true of, as it is of all that are larger."""
    high = low
    while not true(high):
        low, high = high + 1, high * 2
        if high > _LARGEST_SIDE:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle) else (middle + 1, high)
    return low


def beside(model: Source, names: Callable[[str], tuple[str, str]], what: str) -> Source:
    """The file with the weights that lies beside a model's; by that one's name, how it begins and a
    pattern of how it ends. ValueError if there is none, or several.
    """
    found = []
    if model.path is not None:
        begin, end = names(model.path.name)
        pattern = re.sub(r"[\[\]*?]", "?", begin) + end
        found = sorted(path for path in model.path.parent.glob(pattern) if path.is_file())
    if len(found) != 1:
        more = f"; beside it are {', '.join(path.name for path in found[:5])}" if found else ""
        raise ValueError(f"{model}: its weights are in another file, {what}: give it, too{more}")
    return Source(found[0], "weights")


def _conv(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    kernel = reader.shape(inputs[1])
    return (shape[0], kernel[0], *_counts(shape[2:], {**attrs, "kernel_shape": kernel[2:]}))


def _spread(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    kernel = reader.shape(inputs[1])
    count = len(shape) - 2
    ones, zeros = [1] * count, [0] * count
    pads = attrs.get("pads", zeros * 2)
    sizes = zip(
        shape[2:],
        kernel[2:],
        attrs.get("strides", ones),
        attrs.get("dilations", ones),
        attrs.get("output_padding", zeros),
        pads[:count],
        pads[count:],
    )
    made = [n and s * (n - 1) + d * (k - 1) + 1 + more - a - b for n, k, s, d, more, a, b in sizes]
    return (shape[0], kernel[1] * attrs.get("group", 1), *made)


def _pool(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    return (*shape[:2], *_counts(shape[2:], attrs))


def _counts(sizes: Shape, attrs: Mapping[str, Any]) -> list[int]:
    count, kernel = len(sizes), attrs["kernel_shape"]
    how = {key: attrs.get(key, [1] * count) for key in ("strides", "dilations")}
    pads = attrs.get("pads", [0] * 2 * count)
    if "auto_pad" in attrs:
        pads = explicit_pads(attrs["auto_pad"], pads, sizes, kernel=kernel, **how)
    return [
        n
        and output_size(
            n,
            kernel[i],
            how["strides"][i],
            (pads[i], pads[i + count]),
            dilation=how["dilations"][i],
            ceil_mode=bool(attrs.get("ceil_mode")),
        )
        for i, n in enumerate(sizes)
    ]


def _whole(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    return (*shape[:2], *(1 for _ in shape[2:]))


def _resize(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    made = list(shape)
    axes = attrs.get("axes") or range(len(shape))
    for axis, n in zip(axes, reader.value(inputs[3]) if len(inputs) > 3 else ()):  # type: ignore[arg-type]
        made[axis] = int(n)
    if len(inputs) == 3:
        for axis, scale in zip(axes, reader.value(inputs[2])):  # type: ignore[arg-type]
            made[axis] = int(np.floor(made[axis] * float(scale)))
    return tuple(made)


def _deeper(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    block = attrs["blocksize"]
    return (shape[0], shape[1] * block * block, *(n // block for n in shape[2:]))


def _wider(reader: Inferred, shape: Shape, inputs: list[str], attrs: Mapping[str, Any]) -> Shape:
    block = attrs["blocksize"]
    return (shape[0], shape[1] // (block * block), *(n * block for n in shape[2:]))


_WINDOWS: dict[str, Callable[..., Shape]] = {
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _spread,
    "DepthToSpace": _wider,
    "GlobalAveragePool": _whole,
    "GlobalLpPool": _whole,
    "GlobalMaxPool": _whole,
    "LpPool": _pool,
    "MaxPool": _pool,
    "Resize": _resize,
    "SpaceToDepth": _deeper,
}
