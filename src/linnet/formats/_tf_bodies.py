"""Functions that TensorFlow 2 has in place of control flow: which bodies of loops treat every image
by itself, as those of `tf.map_fn` do (`_tf_loops` says what becomes of them); and constants that
choose between branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOOPS = ("StatelessWhile", "While")
_MOST_COPIES = 100  # one after the other
_PLACES = {("TensorListGetItem", 1), ("TensorListSetItem", 1)}  # which input says where in a list


def is_map(loop: Any, beside: Mapping[str, Any], body: Any, inner: Mapping[str, Any]) -> bool:
    """Whether each variable of a loop stays what it is, counts the turns, or is a list, empty at
    first, of which each turn writes one place; and whether turns are counted for nothing but that.

    loop, body: a NodeDef and the FunctionDef that it calls; beside, inner: the nodes by name that
    are beside the one and in the other.
    """
    returned = {entry.key: entry.value for entry in body.ret}
    names = [arg.name for arg in body.signature.input_arg]
    results = [returned.get(arg.name, "") for arg in body.signature.output_arg]
    first = [beside.get(_node(text)) for text in loop.input if not text.startswith("^")]
    if not len(names) == len(results) == len(first):
        return False
    counters, adds, writes = set(), set(), []
    for name, before, text in zip(names, first, results):
        base, node = _behind_identities(inner, text)
        if node is None and base == name:
            continue
        if node is None or before is None or not node.input:
            return False
        reads = [_node(x) for x in node.input]
        if node.op in ("Add", "AddV2") and constant(before) == 0:
            if reads[:1] != [name] or constant(inner.get(reads[-1])) != 1:
                return False
            counters.add(name)
            adds.add(node.name)
        elif node.op == "TensorListSetItem" and before.op == "TensorListReserve":
            if len(reads) != 3 or reads[0] != name:
                return False
            writes.append(reads[1])
        else:
            return False
    used = {
        (node.op, place)
        for node in inner.values()
        for place, text in enumerate(node.input)
        if _node(text) in counters and node.name not in adds
    }
    return counters.issuperset(writes) and used <= _PLACES


def number(tensor: Any) -> int | None:
    """The integer or truth value that a TensorProto holds, None if it is none."""
    given = [*tensor.int_val, *tensor.int64_val, *tensor.bool_val]
    if tensor.tensor_content:
        given = [int.from_bytes(tensor.tensor_content, "little")]
    single = tensor.dtype in (3, 9, 10) and not tensor.tensor_shape.dim and len(given) < 2
    return int((given or [0])[0]) if single else None


def _node(text: str) -> str:
    return text.partition(":")[0]


def _behind_identities(nodes: Mapping[str, Any], text: str) -> tuple[str, Any]:
    """What a value is a copy of: its name, and the node, None of an argument."""
    name, node = _node(text), nodes.get(_node(text))
    for _ in range(_MOST_COPIES):
        if node is None or node.op != "Identity" or not node.input:
            break
        name = _node(node.input[0])
        node = nodes.get(name)
    return name, node


def constant(node: Any) -> int | None:
    """The number or truth value of a Const, None if it is none."""
    if node is None or node.op != "Const":
        return None
    return next((number(entry.value.tensor) for entry in node.attr if entry.key == "value"), None)
