"""Parts of a graph that are computed or not, or several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Array, Graph, Node
from ..text import shape_text
from ._lowering import Call, Lowering, Mixes, Refusal, axis_of
from ._moving import joined, slice_of
from ._registry import Operator

# A body is a Graph whose inputs are all that it reads; the values around it that it names come
# last, in nodes as in bodies, and `captured` says how many there are. Meanings get a function.
Body = Callable[..., Sequence[Array]]


def if_(condition: Array, *captured: Array, then_branch: Body, else_branch: Body) -> Any:
    """The results of one body or the other."""
    return tuple((then_branch if condition.item() else else_branch)(*captured))


def loop(
    trips: Array | None,
    condition: Array | None,
    *values: Array,
    body: Body,
    captured: int = 0,
) -> Any:
    """Turns of a body, which says whether there is another; states after the last, then every
    other result of all turns.
    """
    count = len(values) - captured
    states, more = list(values[:count]), values[count:]
    going, turn, others = condition is None or bool(condition.item()), 0, []
    while going and (trips is None or turn < trips.item()):
        again, *results = body(np.array(turn), np.array(True), *states, *more)
        states, going, turn = results[:count], bool(again.item()), turn + 1
        others.append(results[count:])
    return (*states, *map(np.stack, zip(*others)))


def scan(
    *values: Array,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] = (),
    scan_input_directions: Sequence[int] = (),
    scan_output_axes: Sequence[int] = (),
    scan_output_directions: Sequence[int] = (),
    captured: int = 0,
) -> Any:
    """A turn of a body for each part of some values; states after the last, then every other
    result of all turns.
    """
    whole = len(values) - captured
    count = whole - num_scan_inputs
    states, more = list(values[:count]), values[whole:]
    parts = [
        np.flip(np.moveaxis(x, axis, 0), 0) if backwards else np.moveaxis(x, axis, 0)
        for x, axis, backwards in zip(
            values[count:whole],
            scan_input_axes or [0] * num_scan_inputs,
            scan_input_directions or [0] * num_scan_inputs,
        )
    ]
    others = []
    for items in zip(*parts):
        results = body(*states, *map(np.asarray, items), *more)
        states = list(results[:count])
        others.append(results[count:])
    stacked = []
    for index, items in enumerate(zip(*others)):
        backwards = index < len(scan_output_directions) and scan_output_directions[index]
        axis = scan_output_axes[index] if scan_output_axes else 0
        stacked.append(np.stack(items[::-1] if backwards else items, axis))
    return (*states, *stacked)


def _body(call: Call, name: str, inputs: int) -> Graph:
    """The body that an attribute holds, which takes so many inputs."""
    body = call.attrs[name]
    if not isinstance(body, Graph):
        raise Refusal(f"attribute '{name}' is not a graph")
    if len(body.inputs) != inputs:
        raise Refusal(f"its {name} takes {len(body.inputs)} inputs, it has {inputs}")
    return body


def _settle(low: Lowering, output: str, value: str) -> None:
    """An output is this value."""
    if not output:
        return
    if value in low.failed:
        low.failed.add(output)
    elif value in low.constants:
        low.constants[output] = low.constants[value]
    else:
        low.alias[output] = value


def lower_if(low: Lowering, call: Call) -> None:
    """One branch, where the condition depends on constants and sizes alone; else both, of which
    each result is chosen.
    """
    condition, captured = call.input(0), call.inputs[1:]
    branches = [_body(call, name, len(captured)) for name in ("then_branch", "else_branch")]
    if any(len(branch.outputs) != len(call.node.outputs) for branch in branches):
        raise Refusal("its branches have not as many results as it has")
    if condition in low.constants:
        _check_known(low, condition)
        branch = branches[0 if _truth(low, condition) else 1]
        for output, value in zip(call.node.outputs, low.inline(branch, captured, "")):
            _settle(low, output, value)
        return
    low.shape(condition)
    pairs = zip(*(low.inline(branch, captured, "") for branch in branches))
    for output, pair in zip(call.node.outputs, pairs):
        if not low.failed.isdisjoint(pair):
            low.failed.add(output)
        elif output:
            node = Node("Where", f"{call.node.name}.{output}", [condition, *pair], [output])
            low.visit(node)


def _check_known(low: Lowering, name: str) -> None:
    """A constant that is one whatever sizes are open."""
    if low.graph.example and name and name not in low.graph.initializers:
        raise Refusal("what it does depends on sizes that the model leaves open")


def _truth(low: Lowering, name: str) -> bool:
    array = low.constants[name]
    if array.size != 1:
        raise Refusal(f"its condition '{name}' is not a single truth value")
    return bool(array.item())


def _cost(body: Graph) -> int:
    """How many steps a turn counts for."""
    return 1 + _size(body) // 16


def _size(body: Graph) -> int:
    inner = (a for node in body.nodes for a in node.attrs.values() if isinstance(a, Graph))
    return len(body.nodes) + sum(map(_size, inner))


def lower_loop(low: Lowering, call: Call) -> None:
    """Unrolled, where constants and sizes say how often it runs."""
    captured = call.attrs["captured"]
    count = len(call.inputs) - 2 - captured
    body = _body(call, "body", len(call.inputs))
    if count < 0 or len(body.outputs) < len(call.node.outputs) + 1:
        raise Refusal("its body has not the inputs and results that it should")
    trips = None
    for name in call.inputs[:2]:
        _check_known(low, name)
    if call.input(0):
        (trips,) = low.constant(call.input(0), "number of turns").ravel().tolist() or [0]
    states, more = call.inputs[2 : 2 + count], call.inputs[2 + count :]
    going = _truth(low, call.input(1)) if call.input(1) in low.constants else not call.input(1)
    if call.input(1) and call.input(1) not in low.constants:
        raise Refusal("whether it runs depends on what is computed")
    kept: list[list[str]] = [[] for _ in body.outputs[1 + count :]]
    turn = 0
    while going and (trips is None or turn < trips):
        low.unroll(_cost(body))
        number = low.add_constant(f"{call.output}.turn{turn}", np.array(turn))
        truth = low.add_constant(f"{call.output}.going{turn}", np.array(True))
        again, *results = low.inline(body, [number, truth, *states, *more], f".{turn}")
        states = results[:count]
        for values, value in zip(kept, results[count:]):
            values.append(value)
        if not low.failed.isdisjoint([again, *results]):
            low.failed.update(call.node.outputs)
            return
        if again != truth:
            _check_known(low, again)
        if again not in low.constants:
            raise Refusal("whether it runs again depends on what is computed")
        going, turn = _truth(low, again), turn + 1
    _results(low, call, states, [(values, 0) for values in kept])


def lower_scan(low: Lowering, call: Call) -> None:
    """Unrolled: a turn for each part of an axis."""
    attrs = call.attrs
    inputs, whole = attrs["num_scan_inputs"], len(call.inputs) - attrs["captured"]
    count = whole - inputs
    body = _body(call, "body", len(call.inputs))
    if count < 0 or inputs < 1 or len(body.outputs) < len(call.node.outputs):
        raise Refusal("its body has not the inputs and results that it should")
    outputs = len(body.outputs) - count
    axes = call.ints("scan_input_axes") or [0] * inputs
    turned = call.ints("scan_input_directions") or [0] * inputs
    ends = call.ints("scan_output_axes") or [0] * outputs
    back = call.ints("scan_output_directions") or [0] * outputs
    if {len(axes), len(turned)} != {inputs} or {len(ends), len(back)} != {outputs}:
        raise Refusal("its axes or directions are not as many as its inputs or results")
    scanned = list(zip(call.inputs[count:whole], axes, turned))
    lengths = {_length(low, name, axis) for name, axis, _ in scanned}
    if len(lengths) != 1:
        raise Refusal(f"it goes through axes of {' and '.join(map(str, sorted(lengths)))}")
    (turns,) = lengths
    states, more = call.inputs[:count], call.inputs[whole:]
    kept: list[list[str]] = [[] for _ in range(outputs)]
    for turn in range(turns):
        low.unroll(_cost(body))
        items = []
        for index, (name, axis, backwards) in enumerate(scanned):
            place = turns - 1 - turn if backwards else turn
            items.append(_part(low, call, (name, axis), place, f"part{index}.{turn}"))
        results = low.inline(body, [*states, *items, *more], f".{turn}")
        states = results[:count]
        for values, value in zip(kept, results[count:]):
            values.append(value)
        if not low.failed.isdisjoint(results):
            low.failed.update(call.node.outputs)
            return
    stacks = [
        (values[::-1] if backwards else values, axis)
        for values, axis, backwards in zip(kept, ends, back)
    ]
    _results(low, call, states, stacks)


def _length(low: Lowering, name: str, axis: int) -> int:
    shape = low.constants[name].shape if name in low.constants else low.shape(name)
    axis = axis_of(axis, len(shape))
    if axis == 0 and name not in low.constants:
        if not low.fixed:
            raise Mixes("it goes through the batch")
        if not low.along_first:
            raise Refusal("how long axis 0 is is not known; the model leaves it open")
    return shape[axis]


def _part(low: Lowering, call: Call, of: tuple[str, int], place: int, step: str) -> str:
    """One place of an axis, which goes."""
    name, axis = of
    if name in low.constants:
        array = low.constants[name]
        low.spend(array.size // max(array.shape[axis], 1))
        return low.add_constant(f"{call.output}.{step}", array.take(place, axis))
    shape = low.shape(name)
    axis = axis_of(axis, len(shape))
    found = slice_of(low, call, name, [(axis, place, place + 1, 1)], f"{step}.cut")
    return low.reshape(call, found, (*shape[:axis], *shape[axis + 1 :]), step)


def _results(
    low: Lowering, call: Call, states: Sequence[str], kept: Sequence[tuple[list[str], int]]
) -> None:
    for output, value in zip(call.node.outputs, states):
        _settle(low, output, value)
    for output, (values, axis) in zip(call.node.outputs[len(states) :], kept):
        if output:
            _stack(low, call.of(output), values, axis)


def _stack(low: Lowering, call: Call, values: Sequence[str], axis: int) -> None:
    """Values of one shape along a new axis."""
    if not values:
        raise Refusal("has a result of no turns")
    constant = [name in low.constants for name in values]
    if all(constant):
        arrays = [low.constants[name] for name in values]
        low.spend(sum(array.size for array in arrays))
        low.constants[call.output] = np.stack(arrays, axis)
        return
    if any(constant):
        raise Refusal("a result is constant in some of its turns")
    shapes = {low.shape(name) for name in values}
    if len(shapes) != 1:
        raise Refusal(f"a result is {' and '.join(sorted(map(shape_text, shapes)))}")
    (shape,) = shapes
    axis = axis_of(axis, len(shape) + 1)
    if axis == 0 and not low.fixed:
        raise Mixes("its turns would be the batch")
    target = (*shape[:axis], len(values), *shape[axis:])
    wide = (1, 1, *shape) if axis == 0 else (*shape[:axis], 1, *shape[axis:])
    parts = [low.reshape(call, name, wide, f"turn{i}") for i, name in enumerate(values)]
    low.reshape(call, joined(low, call, parts, max(axis, 1), "turns"), target)


OPERATORS = (
    Operator("If", if_, lower_if, several=True, unrolls=True),
    Operator("Loop", loop, lower_loop, several=True, unrolls=True),
    Operator("Scan", scan, lower_scan, several=True, unrolls=True),
)
