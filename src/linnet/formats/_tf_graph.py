"""TensorFlow's graphs made flat: functions inlined, names resolved, branches that are never taken
left out. Only what the wanted tensors depend on is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..text import nearest, short
from . import _schema
from ._tf_bodies import LOOPS, constant, is_map

_CHOICES = ("If", "StatelessIf")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MOST_OPS = 100_000  # functions that call functions may come to very many
_MOST_NODES = 500_000  # those included that nobody wants
_MOST_CALLS = 10_000
_MOST_STEPS = 10_000  # from a tensor to the one it is another name of
_MOST_DEPTH = 200
_MOST_COPIES = 100  # of a condition
_PASSED = ("Identity", "LogicalNot", "PlaceholderWithDefault")

# Of operators whose outputs have names of their own, in functions: which number each is.
_OUTPUTS = {
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "Merge": ("output", "value_index"),
    "Switch": ("output_false", "output_true"),
    "TopKV2": ("values", "indices"),
}
_OUTPUTS["FusedBatchNormV2"] = _OUTPUTS["FusedBatchNormV3"] = _OUTPUTS["FusedBatchNorm"]


class Ref(NamedTuple):
    """An output of an operator, by its number."""

    op: str
    number: int


class Op(NamedTuple):
    """An operator of the flat graph. after: of an operator without inputs, those that have to run
    before it.
    """

    name: str
    kind: str
    inputs: list[Ref]
    attrs: Mapping[str, Any]  # AttrValue
    after: Sequence[str] = ()


class _Scope:
    """The graph, or a function's body at one of its calls: nodes by name, arguments by name."""

    def __init__(
        self, prefix: str, nodes: Mapping[str, Any], function: Any = None, call: Any = None
    ) -> None:
        self.prefix = prefix
        self.nodes = nodes
        self.function = function
        self.args: dict[str, _Tensor] = {}
        self.ret: dict[str, str] = {}
        self.depth = 0
        if function is not None:
            scope, node = call
            self.depth = scope.depth + 1
            given = [name for name in node.input if not name.startswith("^")]
            given = given[1:] if node.op in _CHOICES else given
            args = function.signature.input_arg
            if len(given) != len(args):
                raise ValueError(
                    f"{short(function.signature.name)} is called with {len(given)} arguments, "
                    f"it has {len(args)}"
                )
            self.args = {arg.name: (scope, name) for arg, name in zip(args, given)}
            self.ret = {entry.key: entry.value for entry in function.ret}


_Tensor = tuple[_Scope, str]  # a name, and where it has its meaning


class FlatGraph:
    """The flat graph of a GraphDef, as far as it is asked for.

    `ops` are in no order. ValueError for what is not defined, or calls itself.
    """

    def __init__(self, graph: Any) -> None:
        self.ops: dict[str, Op] = {}
        self._functions = {f.signature.name: f for f in graph.library.function}
        self._root = _Scope("", _by_name(graph.node))
        self._bodies: dict[str, Mapping[str, Any]] = {}  # nodes by name, of functions
        self._scopes: dict[str, _Scope] = {}  # of calls, by their full names
        self._names = set(self._root.nodes)  # of nodes, in all scopes
        self._maps: dict[str, bool] = {}  # whether loops treat each image by itself

    def want(self, names: Iterable[str]) -> list[Ref]:
        """Where the named tensors come from, those in functions by the full names of their
        operators; all that they depend on is in `ops` afterwards.
        """
        return self._gather(self._located(name) for name in names)

    def _located(self, text: str) -> _Tensor:
        """The scope that a tensor's full name leads into, and its name there."""
        scope = self._root
        while (text.partition(":")[0]) not in scope.nodes:
            name = next((x for x in _beginnings(text) if x in scope.nodes), "")
            function = self._called(scope, scope.nodes[name]) if name else None
            if function is None:
                shown = nearest([scope.prefix + text], (scope.prefix + x for x in scope.nodes))
                raise ValueError(f"{short(scope.prefix + text)} is not defined anywhere{shown}")
            scope, text = self._enter(scope, scope.nodes[name], function), text[len(name) + 1 :]
        return scope, text

    def assignments(self, start: str) -> list[tuple[Ref, Ref]]:
        """(variable, value) of all assignments in the function that the node `start` calls, or that
        it waits for.
        """
        found = []
        seen: set[str] = set()
        pending = [(self._root, start)]
        while pending:
            scope, name = pending.pop()
            node = scope.nodes.get(name)
            if node is None or scope.prefix + name in seen:
                continue
            seen.add(scope.prefix + name)
            function = self._called(scope, node)
            if function is not None:
                inner = self._enter(scope, node, function)
                pending += [(inner, x) for x in inner.nodes]
            elif node.op in ("Assign", "AssignVariableOp") and len(node.input) > 1:
                variable, value = self._gather((scope, x) for x in node.input[:2])
                found.append((variable, value))
            else:
                pending += [(scope, x[1:]) for x in node.input if x.startswith("^")]
        return found

    def _gather(self, tensors: Iterable[_Tensor]) -> list[Ref]:
        pending: list[tuple[_Scope, Any]] = []
        wanted = [self._resolve(tensor, pending) for tensor in tensors]
        while pending:
            scope, node = pending.pop()
            name = scope.prefix + node.name
            if name in self.ops:
                continue
            if len(self.ops) >= _MOST_OPS:
                raise ValueError(f"its functions come to more than {_MOST_OPS} operators")
            given = [x for x in node.input if not x.startswith("^")]
            inputs = [self._resolve((scope, x), pending) for x in given]
            after = []
            for control in (x[1:] for x in node.input if not given and x[1:] in scope.nodes):
                if scope.nodes[control].op == "Identity":  # what a branch begins with
                    after.append(self._resolve((scope, control), pending).op)
            attrs = {entry.key: entry.value for entry in node.attr}
            self.ops[name] = Op(name, node.op, inputs, attrs, after)
        return wanted

    def _called(self, scope: _Scope, node: Any) -> Any:
        """The function that a node calls, or None. Of a loop over images one turn is a call."""
        if node.op in self._functions:
            return self._functions[node.op]
        key = "body" if node.op in LOOPS else "f" if node.op in CALLS else ""
        if node.op in _CHOICES:
            key = self._branch(scope, node)
        if not key:
            return None
        names = [entry.value.func.name for entry in node.attr if entry.key == key]
        if not names or names[0] not in self._functions:
            raise ValueError(f"node {short(node.name)} calls a function that is not there")
        function = self._functions[names[0]]
        if node.op not in LOOPS:
            return function
        loop = scope.prefix + node.name
        if loop not in self._maps:
            self._maps[loop] = is_map(node, scope.nodes, function, self._body(function))
        return function if self._maps[loop] else None

    def _branch(self, scope: _Scope, node: Any) -> str:
        """Which attribute has the branch that an If takes, as far as a constant tells, as where
        Keras asks whether it is training; else "".
        """
        text, keys = next(iter(node.input), ""), ("else_branch", "then_branch")
        for _ in range(_MOST_COPIES):
            name = text.partition(":")[0]
            source = scope.nodes.get(name)
            if source is None and name in scope.args:
                scope, text = scope.args[name]
            elif source is not None and source.op in _PASSED and source.input:
                text, keys = source.input[0], keys[::-1] if source.op == "LogicalNot" else keys
            else:
                value = constant(source)
                return "" if value is None else keys[bool(value)]
        return ""

    def _enter(self, scope: _Scope, node: Any, function: Any) -> _Scope:
        name = scope.prefix + node.name
        if name not in self._scopes:
            if scope.depth >= _MOST_DEPTH:
                raise ValueError(f"function {short(function.signature.name)} calls itself")
            if len(self._scopes) >= _MOST_CALLS:
                raise ValueError(f"functions are called more than {_MOST_CALLS} times")
            body = self._body(function)
            if len(self._names) + len(body) > _MOST_NODES:
                raise ValueError(f"its functions come to more than {_MOST_NODES} nodes")
            prefix = f"{name}/"
            while any(prefix + inner in self._names for inner in body):
                prefix = f"{prefix[:-1]}_/"  # what reads a call may be called as what is in it
            self._names.update(prefix + inner for inner in body)
            self._scopes[name] = _Scope(prefix, body, function, (scope, node))
        return self._scopes[name]

    def _body(self, function: Any) -> Mapping[str, Any]:
        key = function.signature.name
        if key not in self._bodies:
            kind, what = _schema.tensorflow("NodeDef"), f"function {short(key)}"
            nodes = (_schema.parse(kind, data, what) for data in function.node_def)
            self._bodies[key] = _by_name(nodes)
        return self._bodies[key]

    def _resolve(self, tensor: _Tensor, pending: list[tuple[_Scope, Any]]) -> Ref:
        """The operator that makes a tensor, through arguments and results of functions; it is
        pending then.
        """
        scope, text = tensor
        for _ in range(_MOST_STEPS):
            name, *rest = text.split(":")
            if name in scope.args and name not in scope.nodes:
                scope, text = scope.args[name]
                continue
            node = scope.nodes.get(name)
            if node is None:
                raise ValueError(f"{short(scope.prefix + text)} is not defined anywhere")
            function = self._called(scope, node)
            index = _number(node, rest, function)
            if function is None:
                pending.append((scope, node))
                return Ref(scope.prefix + node.name, index)
            scope = self._enter(scope, node, function)
            results = function.signature.output_arg
            if index >= len(results) or results[index].name not in scope.ret:
                raise ValueError(f"{short(text)}: the function has not so many results")
            text = scope.ret[results[index].name]
        raise ValueError(f"{short(tensor[1])} is defined by itself")


def _by_name(nodes: Iterable[Any]) -> dict[str, Any]:
    """ValueError for a name that is no text, which some protobufs let pass."""
    named = {}
    for node in nodes:
        if not all(isinstance(text, str) for text in (node.name, node.op, *node.input)):
            raise ValueError("a name is not valid UTF-8")
        named[node.name] = node
    return named


def _beginnings(name: str) -> Iterator[str]:
    """All that a path may begin with, the longest first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _number(node: Any, rest: Sequence[str], function: Any) -> int:
    """Of an output: "node", "node:1" or, in a function, "node:name:1"."""
    try:
        index = int(rest[-1]) if rest else 0
    except ValueError:
        raise ValueError(f"{short(':'.join([node.name, *rest]))} is no name of a tensor") from None
    if len(rest) == 2 and node.op not in (*CALLS, *LOOPS, *_CHOICES):
        args = [] if function is None else function.signature.output_arg
        names = [arg.name for arg in args] or list(_OUTPUTS.get(node.op, ()))
        index += names.index(rest[0]) if rest[0] in names else 0
    if not 0 <= index < 1 << 16:
        raise ValueError(f"{short(':'.join([node.name, *rest]))} is no name of a tensor")
    return index


def ordered(ops: Mapping[str, Op]) -> list[Op]:
    """In an order in which each comes after those it reads, but for what a loop hands on to its
    next turn; what is in a circle all the same comes last.
    """
    readers: dict[str, list[str]] = {}
    missing = {}
    for op in ops.values():
        needed = {ref.op for ref in op.inputs if not _hands_on(ops, op, ref)}.union(op.after)
        missing[op.name] = len(needed)
        for name in needed:
            readers.setdefault(name, []).append(op.name)
    ready = [name for name, count in missing.items() if not count]
    for name in ready:  # which grows
        for reader in readers.get(name, ()):
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    done = set(ready)
    return [ops[name] for name in ready] + [op for op in ops.values() if op.name not in done]


def _hands_on(ops: Mapping[str, Op], op: Op, ref: Ref) -> bool:
    return op.kind == "Merge" and ops[ref.op].kind == "NextIteration"


def dead(ops: Sequence[Op], constants: Mapping[str, Any]) -> tuple[set[Ref], dict[str, int]]:
    """What is never computed, as a Switch sends its input elsewhere; and of every Merge, which
    input it takes.

    constants: numbers of the operators that make some. Of a Switch whose condition is not among
    them, nothing is known.
    """
    never: set[Ref] = set()
    off: set[str] = set()
    taken: dict[str, int] = {}
    following = {op.name for op in ops if op.kind == "NextIteration"}
    known: dict[Ref, bool] = {
        Ref(name, 0): bool(np.asarray(value).all()) for name, value in constants.items()
    }
    for op in ops:
        lost = [ref in never or ref.op in off for ref in op.inputs]
        if op.kind == "Merge":
            alive = [index for index, gone in enumerate(lost) if not gone]
            if any(ref.op in following for ref in op.inputs):  # a loop, which may begin or not
                off.update([op.name] * any(lost))
            elif len(alive) == 1:
                taken[op.name] = alive[0]
            elif not alive:
                off.add(op.name)
            continue
        if any(lost) or any(name in off or Ref(name, 0) in never for name in op.after):
            off.add(op.name)
            continue
        if op.kind == "Switch" and len(op.inputs) == 2 and op.inputs[1] in known:
            never.add(Ref(op.name, 0 if known[op.inputs[1]] else 1))
        condition = known.get(op.inputs[0]) if op.inputs else None
        if condition is not None and op.kind in ("Identity", "PlaceholderWithDefault"):
            known[Ref(op.name, 0)] = condition
        elif condition is not None and op.kind == "LogicalNot":
            known[Ref(op.name, 0)] = not condition
    return never | {Ref(name, index) for name in off for index in range(2)}, taken
