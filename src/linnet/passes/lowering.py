"""Every node by its operator's rule: canonical operators, Affine and ZeroPad are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..graph import UNSUPPORTED, Graph, Node
from ..ops import OPERATORS
from ..ops._lowering import Call, Lowering, Refusal, as_it_is
from .fold import fold, foldable


def lower(graph: Graph) -> Graph:
    """Canonical operators, Affine and ZeroPad only; constants folded, padding explicit."""
    low = Lowering(graph)
    for node in graph.nodes:
        _visit(low, node)
    _connect_outputs(low)
    report(graph, low.problems)
    return replace(graph, nodes=low.nodes, initializers=low.constants)


def report(graph: Graph, problems: Sequence[str]) -> None:
    """ValueError with all problems there are, if any."""
    if not problems:
        return
    where = f"{graph.source}: " if graph.source else ""
    if len(problems) == 1:
        raise ValueError(where + problems[0])
    shown = [f"\n  {problem}" for problem in problems[:100]]
    if len(problems) > 100:
        shown.append(f"\n  and {len(problems) - 100} more")
    raise ValueError(f"{where}{len(problems)} problems{''.join(shown)}")


def _visit(low: Lowering, node: Node) -> None:
    inputs = [low.alias.get(name, name) for name in node.inputs]
    while inputs and not inputs[-1]:
        inputs.pop()
    try:
        operator = OPERATORS.get(node.op)
        if node.op == UNSUPPORTED and node.attrs["reason"]:
            raise Refusal(node.attrs["reason"])
        if operator is None and node.op != UNSUPPORTED:
            raise Refusal("the operator is not supported")
        if operator is None or low.failed.intersection(inputs):
            low.failed.update(node.outputs)
            return
        if not node.outputs[0] or any(name and low.used[name] for name in node.outputs[1:]):
            raise Refusal("only its first output is supported")
        call = Call(node, inputs, operator.bind(node.attrs))
        most = operator.inputs[1]
        if len(inputs) > most:
            raise Refusal(f"has {len(inputs)} inputs, at most {most} are expected")
        if foldable(low, operator, call):
            fold(low, operator, call)
        else:
            (operator.lower or as_it_is)(low, call)
    except Refusal as reason:
        low.problems.append(f"{node}: {reason}")
        low.failed.update(node.outputs)


def _connect_outputs(low: Lowering) -> None:
    """Give every graph output a node of its own that bears its name."""
    renamed: dict[str, str] = {}
    produced = {name for node in low.nodes for name in node.outputs}
    outputs = set(low.graph.outputs)
    for name in low.graph.outputs:
        value = low.alias.get(name, name)
        if name in low.failed:
            if not low.problems:
                low.problems.append(f"output '{name}' cannot be computed")
            continue
        if value in low.constants:
            low.problems.append(f"output '{name}' is a constant")
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
