"""Loops that treat every image by itself, as `tf.map_fn` makes them: detectors resize their
pictures so.

The loop reads from an array of tensors, into which a batch has been put, and writes into another,
whose tensors become a batch. Where axis 0 is not kept apart a graph runs for one image after the
other (docs/architecture.md), so one turn is all there is to compute: what it reads is the only
image, what it writes the only result. A batch of any other size does not fit what stands here for
them, and is refused. In TensorFlow 1 a loop is several operators, in TensorFlow 2 a function, of
which `_tf_graph` has made a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import _schema
from ._tf_bodies import number
from ._tf_graph import Op, Ref

Ops = Mapping[str, Op]
_MOST_COPIES = 100  # one after the other


def one_turn(ops: Ops, wanted: Iterable[Ref]) -> dict[str, Op]:
    """What the wanted tensors depend on, with one turn in place of each such loop. Others stay."""
    new = {name: _replaced(ops, op) for name, op in ops.items()}
    pending = [ref.op for ref in wanted]
    needed: dict[str, Op] = {}
    while pending:
        name = pending.pop()
        if name not in needed:
            needed[name] = new[name]
            pending += [*(ref.op for ref in new[name].inputs), *new[name].after]
    return needed


def _replaced(ops: Ops, op: Op) -> Op:
    """What stands for an operator of a loop over images."""
    if op.kind in ("TensorArrayReadV3", "TensorListGetItem"):
        batch = _batch_read(ops, op)
        attrs = {"num": _schema.tensorflow("AttrValue")(i=1)}
        return op if batch is None else Op(op.name, "Unpack", [batch], attrs)
    if op.kind in ("TensorArrayGatherV3", "TensorListStack"):
        result = _written(ops, op)
        return op if result is None else Op(op.name, "Pack", [result], {})
    if op.kind == "Enter" and "is_constant" in op.attrs and op.attrs["is_constant"].b:
        return Op(op.name, "Identity", op.inputs, {})
    return op


def _batch_read(ops: Ops, read: Op) -> Ref | None:
    """What was put into the array that a loop reads from in its turns, one after the other."""
    if len(read.inputs) != 3:
        return None
    if read.kind == "TensorListGetItem":
        whole = _at(ops, _copied(ops, read.inputs[0]), "TensorListFromTensor", 2)
        first = _is_number(ops, _copied(ops, read.inputs[1]), 0)
        return whole.inputs[0] if whole and first else None
    if not _is_turn(ops, read.inputs[1]):
        return None
    scatter = _at(ops, _entered(ops, read.inputs[2]), "TensorArrayScatterV3", 4)
    return None if scatter is None else scatter.inputs[2]


def _written(ops: Ops, gather: Op) -> Ref | None:
    """What a loop writes into an array in each turn, of which `gather` makes a batch."""
    if len(gather.inputs) < 2:
        return None
    if gather.kind == "TensorListStack":
        write = _at(ops, _copied(ops, gather.inputs[0]), "TensorListSetItem", 3)
        at_first = write is not None and _is_number(ops, _copied(ops, write.inputs[1]), 0)
        return write.inputs[2] if write and at_first else None
    leave = _at(ops, gather.inputs[-1], "Exit", 1)
    array = _variable(ops, leave.inputs[0], 0) if leave else None
    if array is None:
        return None
    first, following = array
    write = _at(ops, following, "TensorArrayWriteV3", 4)
    if write is None or first != Ref(gather.inputs[0].op, 1):
        return None
    same = _entered(ops, write.inputs[0]) == gather.inputs[0]
    inner = _at(ops, write.inputs[3], "Identity", 1)
    again = _variable(ops, inner.inputs[0], 1) if inner else None
    if not same or again != array or not _is_turn(ops, write.inputs[1]):
        return None
    return write.inputs[2]


def _is_turn(ops: Ops, ref: Ref) -> bool:
    """Whether a value within a loop counts its turns from 0."""
    inner = _at(ops, ref, "Identity", 1)
    counter = _variable(ops, inner.inputs[0], 1) if inner else None
    if counter is None:
        return False
    first, following = counter
    add = _at(ops, following, "Add", 2) or _at(ops, following, "AddV2", 2)
    return (
        add is not None
        and ref in add.inputs
        and _is_number(ops, first, 0)
        and any(_is_number(ops, x, 1) for x in add.inputs)
    )


def _variable(ops: Ops, ref: Ref, way: int) -> tuple[Ref, Ref] | None:
    """Of a loop's variable, by what comes out of its Switch this way: what it is first, and what it
    becomes in a turn.
    """
    switch = _at(ops, ref, "Switch", 2) if ref.number == way else None
    merge = _at(ops, switch.inputs[0], "Merge", 2) if switch else None
    enter = _at(ops, merge.inputs[0], "Enter", 1) if merge else None
    following = _at(ops, merge.inputs[1], "NextIteration", 1) if merge else None
    return (enter.inputs[0], following.inputs[0]) if enter and following else None


def _entered(ops: Ops, ref: Ref) -> Ref:
    """What a value within a loop is outside of it."""
    enter = _at(ops, ref, "Enter", 1)
    return ref if enter is None else enter.inputs[0]


def _copied(ops: Ops, ref: Ref) -> Ref:
    """What a value is a copy of."""
    for _ in range(_MOST_COPIES):
        copy = _at(ops, ref, "Identity", 1)
        if copy is None:
            break
        ref = copy.inputs[0]
    return ref


def _is_number(ops: Ops, ref: Ref, wanted: int) -> bool:
    op = _at(ops, ref, "Const", 0)
    if op is None or "value" not in op.attrs:
        return False
    return number(op.attrs["value"].tensor) == wanted


def _at(ops: Ops, ref: Ref, kind: str, inputs: int) -> Op | None:
    op = ops.get(ref.op)
    return op if op is not None and op.kind == kind and len(op.inputs) == inputs else None
