"""Which values of the two sides mean the same."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .numbers import error, like
from .sides import Side

SAME = 1e-3  # of the rms: whether what Caffe saved of a layer is what the layer computed


def paired(a: Side, b: Side) -> list[tuple[str, str]]:
    """Names of values that mean the same, in the order of `a`."""
    found: dict[str, str] = {}
    both = a.graph and b.graph
    for name in [*a.values, *(a.graph.aliases if a.graph else ())]:
        mine, other = a.own(name), b.own(name)
        if mine and other and (not both or _op(a, mine) == _op(b, other) or _whole(a, b, name)):
            found.setdefault(mine, other)

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


def _whole(a: Side, b: Side, name: str) -> bool:
    """Whether integers stand for a value: what limits it may be their range."""
    return any(side.of_integers(side.own(name)) for side in (a, b))


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
            v = like(v, u.shape)
            if error(u, v) > SAME >= error(y, v):
                mine = after[0].outputs[0]
        pairs.update({name: mine} if swap else {mine: name})
    return pairs
