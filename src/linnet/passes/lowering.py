"""Every node by its operator's rule: canonical operators, Affine and ZeroPad are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import scalars
from ..graph import UNSUPPORTED, Graph, Node
from ..ops import OPERATORS
from ..ops._lifting import lifted
from ..ops._lowering import (
    Call,
    Lowering,
    Missing,
    MissingOperator,
    Mixes,
    OperatorsMissing,
    Refusal,
    as_it_is,
    of_constants,
)
from ..ops._registry import Operator
from ..text import listed
from .constant_output import constant_output
from .fold import fold, foldable
from .integers import keep_integers
from .layout import turn
from .sizes import is_unrolled
from .unused import remove_unused


def lower(graph: Graph, memory_limit: int | None = None) -> Graph:
    """Canonical operators, Affine and ZeroPad only; constants folded, padding explicit."""
    alone = graph.batchless
    if not alone and scalars.recorded(graph.metadata).intersection(v.name for v in graph.inputs):
        alone, graph = True, _of_first_axes(graph, 1)  # one number for all images
    low = _lowered(graph, alone, memory_limit)
    hint = advice(_ends(low)) if low.missing else ""
    if low.problems and not low.missing and not alone:
        low.constants.clear()  # which may be large
        low.products.clear()
        fixed = _lowered(graph, True, memory_limit)
        if not fixed.problems and not fixed.missing:
            graph, low = _of_first_axes(graph, 1), fixed
        elif len(low.problems) == low.mixing:  # what is left is the reason
            low = fixed
        if fixed.problems or fixed.missing:
            hint = _size_wanted(graph, memory_limit)
    report(graph, low.problems, list(low.missing.values()), hint)
    moved = {**low.alias, **{name: to for name, to in low.computed.items() if to != name}}
    own = graph.names()
    aliases = {**graph.aliases, **{name: moved[name] for name in moved if name in own}}
    aliases.update(low.renamed)
    here = {low.renamed.get(name, name) for name in low.scalars} | scalars.recorded(graph.metadata)
    metadata = {**graph.metadata, **scalars.record(here & (own | {*graph.outputs}))}
    return replace(
        graph, nodes=low.nodes, initializers=low.constants, aliases=aliases, metadata=metadata
    )


def _of_first_axes(graph: Graph, size: int) -> Graph:
    """The graph with first axes of a size where the file leaves them open."""
    inputs = [v._replace(shape=(v.shape[0] or size, *v.shape[1:])) for v in graph.inputs]
    return replace(graph, inputs=inputs)


def _size_wanted(graph: Graph, memory_limit: int | None) -> str:
    """What to say if the graph would do with first axes of a known size, that are no batches."""
    sized = _of_first_axes(graph, _EXAMPLE)
    wanted = {v.name: v.shape for v, old in zip(sized.inputs, graph.inputs) if v != old}
    if not wanted or is_unrolled(graph):
        return ""
    low = _lowered(sized, True, memory_limit)
    if low.problems or low.missing:
        return ""
    return (
        f"what to do: the first axis of {listed(wanted)} is not a batch, and the model leaves its "
        f"size open; give it, as in shapes={wanted} or convert --shapes"
    )


class _Lowering(Lowering):
    """One that goes through the nodes."""

    def visit(self, node: Node) -> None:
        _visit(self, node)

    def inline(self, body: Graph, arguments: Sequence[str], suffix: str) -> list[str]:
        return _inline(self, body, arguments, suffix)


def _lowered(graph: Graph, fixed: bool, memory_limit: int | None) -> Lowering:
    low = _Lowering(graph, fixed, memory_limit)
    for node in graph.nodes:
        _visit(low, replace(node, inputs=list(node.inputs)))
    _connect_outputs(low)
    keep_integers(low)
    return low


def _inline(low: Lowering, body: Graph, arguments: Sequence[str], suffix: str) -> list[str]:
    if id(body) not in low.bodies:
        for problem in body.sort():
            raise Refusal(problem)
        low.bodies[id(body)] = remove_unused(body)
    body = low.bodies[id(body)]
    names = dict(zip((value.name for value in body.inputs), arguments))
    for name, array in body.initializers.items():  # the same in every turn
        key = (f"body {id(body.initializers[name])}", name)
        if key not in low.derived:
            low.derived[key] = low.add_constant(name, array)
        names[name] = low.derived[key]

    def renamed(name: str) -> str:
        if name and name not in names:
            names[name] = low.names.fresh(f"{name}{suffix}")
        return names.get(name, "")

    nodes = [
        replace(
            node,
            name=f"{node.name}{suffix}",
            inputs=list(map(renamed, node.inputs)),
            outputs=list(map(renamed, node.outputs)),
        )
        for node in body.nodes
    ]
    outputs = list(map(renamed, body.outputs))
    low.used.update(name for node in nodes for name in node.inputs)
    low.used.update(outputs)
    for node in nodes:
        _visit(low, node)
    return [low.alias.get(name, name) for name in outputs]


_EXAMPLE = 256  # of a first axis


def advice(ends: Sequence[str] = ()) -> str:
    """What to do about missing operators; `ends`: the last values that do not depend on them."""
    names = f" (outputs=[{listed(ends)}])" if ends else ""
    return (
        "what to do: export the model without these operators, or end it before them"
        f"{names} and compute the rest elsewhere; docs/operators.md lists those that linnet has"
    )


def _ends(low: Lowering) -> list[str]:
    """The values that missing operators read and that can be computed."""
    missing = {kind for kind, _ in low.missing}
    wanted = [
        name
        for node in low.graph.nodes
        if node.attrs.get("op", node.op) in missing and low.failed.issuperset(node.outputs)
        for name in node.inputs
    ]
    given = {value.name for value in low.graph.inputs}
    known = low.shapes.keys() - given - low.failed
    return [name for name in dict.fromkeys(wanted) if name in known]


def report(
    graph: Graph,
    problems: Sequence[str],
    missing: Sequence[Missing] = (),
    hint: str = "",
) -> None:
    """ValueError with all problems there are, if any, and a hint what to do about them."""
    problems = [*map(str, missing), *problems]
    if not problems:
        return
    where = f"{graph.source}: " if graph.source else ""
    after = f"\n  {hint}" if hint else ""
    kind = OperatorsMissing if missing else ValueError
    if len(problems) == 1:
        raise kind(where + problems[0] + after)
    most = max(100, len(missing))
    shown = [f"\n  {problem}" for problem in problems[:most]]
    if len(problems) > most:
        shown.append(f"\n  and {len(problems) - most} more")
    raise kind(f"{where}{len(problems)} problems{''.join(shown)}{after}")


def _visit(low: Lowering, node: Node) -> None:
    if node.op == UNSUPPORTED and not node.outputs:
        low.problems.append(node.attrs["reason"])
        return
    inputs = [low.alias.get(name, name) for name in node.inputs]
    while inputs and not inputs[-1]:
        inputs.pop()
    try:
        operator = OPERATORS.get(node.op)
        if node.op == UNSUPPORTED and node.attrs["reason"]:
            kind = MissingOperator if node.attrs.get("missing") else Refusal
            raise kind(node.attrs["reason"])
        if operator is None and node.op != UNSUPPORTED:
            raise MissingOperator("the operator is not supported")
        failed = low.failed.intersection(inputs)
        if operator is None or failed:
            _after_failures(low, node, operator, failed)
            return
        more = any(name and low.used[name] for name in node.outputs[1:])
        if not operator.several and (more or not node.outputs[0]):
            raise Refusal("only its first output is supported")
        call = Call(node, inputs, operator.bind(node.attrs))
        most = operator.inputs[1]
        if len(inputs) > most:
            raise Refusal(f"has {len(inputs)} inputs, at most {most} are expected")
        if foldable(low, operator, call):
            fold(low, operator, call)
        else:
            _apply(low, operator, call)
    except MissingOperator as reason:
        first = Missing(node, str(reason))
        low.missing.setdefault((first.op, first.reason), first).count += 1
        low.failed.update(node.outputs)
    except Refusal as reason:
        low.mixing += isinstance(reason, Mixes)
        low.problems.append(f"{node}: {reason}")
        low.failed.update(node.outputs)


def _apply(low: Lowering, operator: Operator, call: Call) -> None:
    """The operator's rule; lifted where axis 0 is none that it may touch and need not be kept."""
    rule, before = operator.lower or as_it_is, low.mark()
    try:
        if operator.lift is not None and low.scalars.intersection(call.inputs):
            raise Refusal("its inputs have no axes")
        turn(low, rule, call)
    except MissingOperator:
        raise
    except Refusal:
        if operator.lift is None or not low.along_first:
            raise
        low.undo(before)
        lifted(low, call, rule, operator.lift)
    _keep_scalar(low, operator, call)


def _keep_scalar(low: Lowering, operator: Operator, call: Call) -> None:
    """What is computed of values without axes has none if the operator means so: rules, which see
    one axis, need not know.
    """
    given = [name for name in call.inputs if name in low.shapes]
    name = low.alias.get(call.output, call.output)
    if operator.several or operator.unrolls or low.shapes.get(name) != (1,) or name in low.scalars:
        return
    if not given or not low.scalars.issuperset(given):
        return
    numbers = [
        np.ones((), low.dtypes[name]) if name in low.shapes else low.constants.get(name)
        for name in call.inputs
    ]
    if operator.compute(numbers, call.attrs)[0].ndim:
        return
    if name == call.output:
        low.scalars.add(name)
    else:
        del low.alias[call.output]
        low.reshape(call, name, ())


def _after_failures(low: Lowering, node: Node, operator: Operator | None, failed: set[str]) -> None:
    """A node whose inputs are not all known: whether linnet had its operator can be told still."""
    low.failed.update(node.outputs)
    if operator is None:
        return
    others = set(filter(None, node.inputs)) - failed
    if node.op == "Shape" or (failed <= low.sizes and others <= low.constants.keys()):
        low.sizes.update(node.outputs)
    elif operator.lower is of_constants:
        of_constants(low, Call(node, node.inputs, {}))


def _connect_outputs(low: Lowering) -> None:
    """Give every graph output a node of its own that bears its name."""
    renamed = low.renamed
    values = {name: low.ready(low.alias.get(name, name)) for name in low.graph.outputs}
    produced = {name for node in low.nodes for name in node.outputs}
    outputs = set(low.graph.outputs)
    for name in low.graph.outputs:
        value = values[name]
        if name in low.failed:
            if not low.problems and not low.missing:
                low.problems.append(f"output '{name}' cannot be computed")
            continue
        if value in low.constants:
            constant_output(low, name, low.constants[value])
        elif value in produced and value not in outputs and value not in renamed:
            renamed[value] = name
        elif value != name:  # an input, or an output under a second name: copy it
            target = low.target(low.shapes[value], f"{name}.shape")
            low.nodes.append(Node("Reshape", name, [value, target], [name], {}))
        elif value not in produced:
            low.problems.append(f"output '{name}' is an input")
    for node in low.nodes:
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        node.outputs = [renamed.get(name, name) for name in node.outputs]
