"""Graphs whose inputs leave height, width or other sizes open.

Most canonical forms are the same whatever the size. So the form is made for several examples, and
what they have in common is that of the open graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from .. import core, machine, scalars
from ..graph import LONGEST_AXIS, Array, Graph, Shape
from ..ops import OPERATORS
from ..ops._lowering import OperatorsMissing
from ..text import short

# For axes of odd and of even number. The first two can be halved often; where the third fits as
# well, nothing may rest on whole halves: its halves are odd.
_SMALL = (32, 40)
_EXAMPLES = ((256, 320), (448, 384), (225, 299))


class SizesMatter(ValueError):
    """A graph has no one form for all sizes that it leaves open."""


def checked_shapes(shapes: Mapping[str, Sequence[int | None]] | None) -> dict[str, Shape]:
    """Shapes that someone has given, 0 where a size is open."""
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        raise ValueError(f"shapes is {short(shapes)}, expected sizes by name of input")
    for name, shape in shapes.items():
        if not isinstance(shape, (list, tuple)) or not all(
            n is None or (isinstance(n, int) and 0 < n < LONGEST_AXIS) for n in shape
        ):
            raise ValueError(f"shapes: {short(shape)} for {short(name)}, expected sizes")
    return {name: tuple(n or 0 for n in shape) for name, shape in shapes.items()}


def with_shapes(graph: Graph, shapes: Mapping[str, Shape]) -> Graph:
    """The graph with inputs of these shapes, as of `checked_shapes`."""
    known = {value.name: value for value in graph.inputs}
    for name, shape in shapes.items():
        if name not in known:
            raise ValueError(f"shapes: the model has no input {short(name)}")
        rank = len(known[name].shape)
        if len(shape) != rank:
            raise ValueError(f"shapes: {short(shape)} for '{name}', expected {rank} sizes")
        known[name] = known[name]._replace(shape=shape)
    return replace(graph, inputs=list(known.values()))


def is_open(graph: Graph) -> bool:
    return any(0 in value.shape[1:] for value in graph.inputs)


def is_unrolled(graph: Graph) -> bool:
    """Whether it has operators whose form depends on sizes by their nature."""
    return any(node.op in OPERATORS and OPERATORS[node.op].unrolls for node in graph.nodes)


def with_inputs(graph: Graph, shapes: Mapping[str, Shape], settings: Mapping[str, Array]) -> Graph:
    """The graph for inputs of these shapes, and of these values where they are integers without
    axes.
    """
    inputs = [v._replace(shape=shapes[v.name]) for v in graph.inputs if v.name in shapes]
    return replace(graph, inputs=inputs, initializers={**graph.initializers, **settings})


def with_scalars(graph: Graph) -> Graph:
    """The graph with an axis of size 1 for reals that are inputs without axes; integers may be
    sizes, which have to be known before.
    """
    names = {v.name for v in graph.inputs if not v.shape and v.dtype.kind == "f"}
    if not names:
        return graph
    inputs = [v._replace(shape=(1,)) if v.name in names else v for v in graph.inputs]
    metadata = {**graph.metadata, **scalars.record(names | scalars.recorded(graph.metadata))}
    return replace(graph, inputs=inputs, metadata=metadata)


def common_form(
    graph: Graph, canonicalize: Callable[[Graph, int], Graph], memory_limit: int | None = None
) -> Graph:
    """The canonical form of an open graph. SizesMatter if it depends on the sizes."""
    examples = graph.sizes or _EXAMPLES
    each = (memory_limit or machine.available_memory() // 2) // len(examples)
    if is_unrolled(graph):  # whose forms are large, and not one
        try:
            canonicalize(_with_sizes(graph, _SMALL), each)
        except OperatorsMissing:
            raise
        except ValueError:
            pass  # other sizes may fit
        raise SizesMatter(_refusal(graph, "the model"))
    try:
        forms = [canonicalize(_with_sizes(graph, sizes), each) for sizes in examples[:2]]
    except ValueError as error:
        sizes = " and ".join(map(str, examples[0]))
        raise type(error)(f"{error} (sizes that the model leaves open taken as {sizes})") from None
    with suppress(ValueError):  # it needs sizes that can be halved
        forms.append(canonicalize(_with_sizes(graph, examples[2]), each))
    common = replace(forms[0], inputs=graph.inputs, example=False)
    common.initializers = dict(common.initializers)
    alike = set.intersection(*(set(form.aliases.items()) for form in forms))
    common.aliases = {name: to for name, to in common.aliases.items() if (name, to) in alike}
    _keep_common(common, forms)
    return common


def _with_sizes(graph: Graph, sizes: tuple[int, int]) -> Graph:
    def size(shape: Shape) -> Shape:
        rest = (given or sizes[axis % 2] for axis, given in enumerate(shape[1:]))
        return (shape[0], *rest)

    inputs = [value._replace(shape=size(value.shape)) for value in graph.inputs]
    return replace(graph, inputs=inputs, example=True)


def _keep_common(common: Graph, forms: Sequence[Graph]) -> None:
    """Make the targets of Reshapes in `common` those that fit all forms."""
    if {len(form.nodes) for form in forms} != {len(common.nodes)}:
        raise SizesMatter(_refusal(common, "the model"))
    shapes: list[dict[str, Shape]] = []  # of each form, once they are needed
    settled: dict[str, dict[bytes, str]] = {}  # targets by their old names: the new ones
    names = common.names()
    for node, *others in zip(*(form.nodes for form in forms)):
        for same in others:
            alike = (node.op, node.inputs, node.outputs) == (same.op, same.inputs, same.outputs)
            if not alike or not _equal(node.attrs, same.attrs):
                raise SizesMatter(_refusal(common, str(node)))
        for index, name in enumerate(node.inputs):
            arrays = [form.initializers[name] for form in forms if name in form.initializers]
            if not arrays or all(_same(arrays[0], array) for array in arrays):
                continue
            target = None
            if (node.op, index) == ("Reshape", 1):
                shapes = shapes or [core.shapes(form) for form in forms]
                target = _target(arrays, [known[node.inputs[0]] for known in shapes])
            if target is None:
                raise SizesMatter(_refusal(common, str(node)))
            new = settled.setdefault(name, {})
            fresh = names.fresh(name) if new else name
            node.inputs[index] = new.setdefault(target.tobytes(), fresh)
            common.initializers[node.inputs[index]] = target


def _target(targets: Sequence[Array], inputs: Sequence[Shape]) -> Array | None:
    """A Reshape's target for all sizes: where they differ 0, which is the size the input has there,
    or else -1, which may be in one place.
    """
    if len({target.shape for target in targets}) > 1:
        return None
    merged = []
    for axis, sizes in enumerate(zip(*targets)):
        if len(set(sizes)) == 1:
            merged.append(sizes[0])
        else:
            kept = all(axis < len(x) and x[axis] == n for x, n in zip(inputs, sizes))
            merged.append(0 if kept else -1)
    return np.array(merged, np.int64) if merged.count(-1) <= 1 else None


def _same(a: Array, b: Array) -> bool:
    if a is b:
        return True
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    one, other = (np.ascontiguousarray(x).view(np.uint8) for x in (a, b))
    return np.array_equal(one, other)


def _equal(a: dict[str, object], b: dict[str, object]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)  # type: ignore[arg-type]


def _refusal(graph: Graph, what: str) -> str:
    where = f"{graph.source}: " if graph.source else ""
    return f"{where}{what} depends on the size of the input, which the model leaves open"
