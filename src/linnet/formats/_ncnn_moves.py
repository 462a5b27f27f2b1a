"""What ncnn's layers mean that move, join and compare numbers, by its sources: RULES is the table
of them. Axes are counted as ncnn does where a setting has them, without the 1 that is before them.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import LONGEST_AXIS
from ._ncnn_call import Call, Rule, Settings
from ._ncnn_files import Block
from ._ncnn_layers import padded
from ._translator import MissingOperator, Unsupported

_REST = -233  # as a size: what is left; as an axis of a Reshape: there is none
_ORDERS = ("WHC", "HWC", "WCH", "CWH", "HCW", "CHW")  # of Permute, the innermost axis first
_PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
_TURNED = {7: "Sub", 8: "Div", 9: "Pow"}
_UNARY = {
    0: "Abs",
    1: "Neg",
    2: "Floor",
    3: "Ceil",
    5: "Sqrt",
    7: "Exp",
    8: "Log",
    9: "Sin",
    10: "Cos",
    15: "Reciprocal",
    16: "Tanh",
    18: "Round",
}
_REDUCTIONS = (
    "Sum",
    "L1",
    "SumSquare",
    "Mean",
    "Max",
    "Min",
    "Prod",
    "L1",
    "L2",
    "LogSum",
    "LogSumExp",
)


def _softmax(call: Call) -> str:
    axis, sound = call.settings.integer(0), call.settings.integer(1)
    if not sound and axis != 0:
        raise Unsupported("is of an old form, which ncnn itself refuses: convert the model again")
    return call.part("Softmax", [call.x], axis=call.axis(axis))


def _concat(call: Call) -> str:
    axis = call.axis(call.settings.integer(0))
    return call.part("Concat", call.inputs, axis=axis) if len(call.inputs) > 1 else call.x


def _slice(call: Call) -> list[str]:
    axis, count = call.axis(call.settings.integer(1)), len(call.outputs)
    size, sizes, points = call.shape()[axis], call.settings.integers(0), call.settings.integers(2)
    if not size:
        size = call.known(call.x)[axis]
    if points:
        ends = [n + size if n < 0 else n for n in points] + [size]
        sizes = [end - begin for begin, end in zip([0, *ends], ends)]
    parts, begin = [], 0
    if len(sizes) != count:
        raise Unsupported(f"has {count} parts, and sizes {sizes}")
    for index, part in enumerate(sizes):
        end = begin + ((size - begin) // (count - index) if part == _REST else part)
        if not begin < end <= size:
            raise Unsupported(f"sizes {sizes} do not cut {size}")
        parts.append(call.cut(call.x, axis, begin, end))
        begin = end
    return parts


def _crop(call: Call) -> str:
    get, shape = call.settings.integer, call.shape()
    starts, ends, axes = (call.settings.integers(key) for key in (9, 10, 11))
    first = {3: get(0), 2: get(1), 1: get(2)}  # where to begin with width, height, channels
    sizes, behind = {3: get(3), 2: get(4), 1: get(5)}, {3: get(6), 2: get(7), 1: get(8)}
    if starts:
        axes = axes or list(range(len(starts)))
        if not len(starts) == len(ends) == len(axes):
            raise Unsupported(f"starts {starts}, ends {ends}, axes {axes}")
        y = call.x
        for begin, end, axis in zip(starts, ends, axes):
            last = LONGEST_AXIS if end == _REST else end
            y = call.cut(y, call.axis(axis), 0 if begin == _REST else begin, last)
        return y
    if call.dims != 3 or _REST in first.values() or min(*first.values(), *behind.values()) < 0:
        raise Unsupported(f"offsets {list(first.values())} of {call.dims} axes are not supported")
    y, like = call.x, len(call.inputs) > 1
    if not like and not any([*sizes.values(), *behind.values()]):
        raise Unsupported("does not say how large its result is")
    if like and len(call.shape(1)) != 4:
        raise Unsupported(f"to the size of a value of {len(call.shape(1)) - 1} axes")
    for axis, begin in first.items():
        if like:
            if shape[axis] != call.shape(1)[axis] or not shape[axis]:
                y = call.cut_like(y, call.input(1), axis, begin)
            continue
        whole = call.known(y)[axis]
        end = whole - behind[axis]
        if sizes[axis] != _REST:
            end = min(end, begin + sizes[axis])
        if not 0 <= begin < end <= whole:
            raise Unsupported(f"{begin} to {end} of {whole}")
        y = call.cut(y, axis, begin, end) if (begin, end) != (0, whole) else y
    return y


def _padding(call: Call) -> str:
    get, fill = call.settings.integer, call.settings.real(5)
    top, bottom, left, right, front, behind = (get(key) for key in (0, 1, 2, 3, 7, 8))
    mode = {0: "constant", 1: "edge", 2: "reflect"}.get(get(4), "")
    if not mode or min(top, bottom, left, right, front, behind) < 0 or get(6):
        raise Unsupported(
            f"pads {[top, bottom, left, right, front, behind]} of type {get(4)}, or of each channel"
        )
    if call.dims == 3 and not (front or behind):
        return padded(call, call.x, [top, left, bottom, right], fill, mode)
    if mode != "constant" and (front or behind):
        raise Unsupported(f"channels of type {get(4)} are not supported")
    sides = [(front, behind), (top, bottom), (left, right)][3 - min(call.dims, 3) :]
    if call.dims > 3 or (call.dims < 3 and (front or behind)):
        raise Unsupported(f"of {call.dims} axes is not supported")
    begins, ends = ([0, *side] for side in zip(*sides))
    names = [call.integers("pads", begins + ends)]
    names += [call.number(fill, "fill")] if mode == "constant" else []
    return call.part("Pad", [call.x, *names], mode=mode)


def _reshape(call: Call) -> str:
    get = call.settings.integer
    wanted = [get(key, _REST) for key in (2, 11, 1, 0)]
    if get(3):
        raise Unsupported("with permute is not supported")
    if wanted[1] != _REST or wanted[3] == _REST:
        raise Unsupported(f"to {wanted} is not supported")
    wanted = [n for n in (wanted[0], wanted[2], wanted[3]) if n != _REST]
    parts: list[int | list[int]] = [[0]]
    for place, size in enumerate(wanted):
        away = len(wanted) - place  # 1 is the width, which is the last
        if size == 0:
            # What ncnn calls channels is the first of three axes, a height that of two.
            source = call.dims + 1 - away
            parts.append([source] if source > 0 else 1)
        elif size == -1 or size > 0:
            parts.append(size)
        else:
            raise Unsupported(f"to {wanted} is not supported")
    return call.regrouped(call.x, parts)


def _flatten(call: Call) -> str:
    return call.part("Flatten", [call.x], axis=1) if call.dims > 1 else call.x


def _permute(call: Call) -> str:
    kind = call.settings.integer(0)
    if call.dims == 2 and kind in (0, 1):
        perm = [0, 2, 1] if kind else [0, 1, 2]
    elif call.dims == 3 and 0 <= kind < len(_ORDERS):
        perm = [0, *("CHW".index(axis) + 1 for axis in _ORDERS[kind][::-1])]
    else:
        raise Unsupported(f"order {kind} of {call.dims} axes is not supported")
    return call.part("Transpose", [call.x], perm=perm) if perm != sorted(perm) else call.x


def _binary(call: Call) -> str:
    kind, scalar, number = (
        call.settings.integer(0),
        call.settings.integer(1),
        call.settings.real(2),
    )
    op = _TURNED.get(kind) or (_PAIRS[kind] if 0 <= kind < len(_PAIRS) else None)
    if op is None:
        raise MissingOperator(f"the operation {kind} is not supported")
    if scalar:
        inputs = [call.x, call.number(number, "b")]
    else:
        inputs = [call.x, call.input(1)]
        dims = max(len(call.shape(i)) for i in (0, 1)) - 1
        inputs = [_widened(call, i, dims) for i in (0, 1)]
    return call.part(op, inputs[::-1] if kind in _TURNED else inputs)


def _widened(call: Call, index: int, dims: int) -> str:
    """An input as one of `dims` axes: its own are the first ones, unless the sizes say that a
    single one is the last.
    """
    x, shape = call.input(index), call.shape(index)
    own, other = len(shape) - 1, call.shape(1 - index)
    if own == dims:
        return x
    if dims > 3 or own > 2 or (own == 1 and 0 in other[1:2]):
        raise Unsupported(f"{list(shape[1:])} beside {list(other[1:])} is not supported")
    if own == 1 and shape[1] != other[1]:
        return call.reshaped(x, [0, *(1,) * (dims - 1), shape[1]])
    return call.reshaped(x, [0] * (own + 1) + [1] * (dims - own))


def _unary(call: Call) -> str:
    kind = call.settings.integer(0)
    if kind in _UNARY:
        return call.part(_UNARY[kind], [call.x])
    if kind == 4:
        return call.part("Mul", [call.x, call.x])
    if kind == 6:
        return call.part("Reciprocal", [call.part("Sqrt", [call.x])])
    if kind == 17:
        return call.part("Mul", [call.part("Log", [call.x]), call.number(1 / math.log(10))])
    if kind == 19:
        whole = call.part("Floor", [call.part("Abs", [call.x])])
        return call.part("Mul", [call.part("Sign", [call.x]), whole])
    raise MissingOperator(f"the operation {kind} is not supported")


def _eltwise(call: Call) -> str:
    kind, factors = call.settings.integer(0), call.settings.reals(1)
    if kind not in (0, 1, 2) or len(factors) not in (0, len(call.inputs)):
        raise Unsupported(f"its op_type is {kind}, with {len(factors)} coefficients")
    terms = list(call.inputs)
    for index, factor in enumerate(factors if kind == 1 else []):
        if factor != 1:
            terms[index] = call.part("Mul", [terms[index], call.number(factor)])
    y = terms[0]
    for term in terms[1:]:
        y = call.part(("Mul", "Add", "Max")[kind], [y, term])
    return y


def _reduction(call: Call) -> str:
    get, axes = call.settings.integer, call.settings.integers(3)
    kind, whole, keeps, sound = get(0), get(1, 1), get(4), get(5)
    factor = call.settings.real(2, 1)
    if not 0 <= kind < len(_REDUCTIONS) or (factor != 1 and kind not in (0, 3)):
        raise Unsupported(f"its operation is {kind}, its coefficient {factor:g}")
    if not whole and axes and not sound:
        raise Unsupported("is of an old form, which ncnn itself refuses: convert the model again")
    chosen = sorted({call.axis(axis) for axis in axes}) if not whole else []
    chosen = chosen or list(range(1, call.dims + 1))
    names = [call.x, call.integers("axes", chosen)]
    every = len(chosen) == call.dims
    y = call.part(f"Reduce{_REDUCTIONS[kind]}", names, keepdims=int(bool(keeps) or every))
    if every and not keeps and call.dims > 1:
        y = call.part("Flatten", [y], axis=1)  # to an axis of one
    return y if factor == 1 else call.part("Mul", [y, call.number(factor)])


def _shuffle(call: Call) -> str:
    group, back = call.settings.integer(0, 1), call.settings.integer(1)
    channels = call.image()[1]
    if group < 1 or channels % group:
        raise Unsupported(f"{group} groups of {channels} channels")
    return call.shuffled(call.x, channels // group if back else group)


def _pixel_shuffle(call: Call) -> str:
    block, mode = call.settings.integer(0, 1), call.settings.integer(1)
    call.image()
    how = {0: "CRD", 1: "DCR"}
    if mode not in how or block < 1:
        raise Unsupported(f"its upscale_factor is {block}, its mode {mode}")
    return call.part("DepthToSpace", [call.x], blocksize=block, mode=how[mode])


def _reorg(call: Call) -> str:
    """The pixels of each square become channels, next to each other of one channel in mode 0."""
    stride, mode = call.settings.integer(0, 1), call.settings.integer(1)
    _, channels, high, wide = call.known(call.x) if len(call.image()) == 4 else (0, 0, 0, 0)
    if stride < 1 or high % stride or wide % stride or mode not in (0, 1):
        raise Unsupported(f"stride {stride} of {high}x{wide}, mode {mode}")
    split = [0, channels, high // stride, stride, wide // stride, stride]
    order = [0, 1, 3, 5, 2, 4] if mode == 0 else [0, 3, 5, 1, 2, 4]
    y = call.part("Transpose", [call.reshaped(call.x, split)], perm=order)
    return call.reshaped(y, [0, channels * stride * stride, high // stride, wide // stride])


def _expand_dims(call: Call) -> str:
    axes = call.settings.integers(3)
    if any(call.settings.integer(key) for key in (0, 1, 2, 11)) or not axes:
        raise Unsupported("without axes is not supported")
    rank = call.dims + len(axes)
    return call.part(
        "Unsqueeze", [call.x, call.integers("axes", [call.axis(a, rank) for a in axes])]
    )


def _squeeze(call: Call) -> str:
    """Axes of one; others stay."""
    axes, shape = [call.axis(axis) for axis in call.settings.integers(3)], call.shape()
    flags = {
        call.dims: call.settings.integer(0),
        call.dims - 1: call.settings.integer(1),
        call.dims - 2: call.settings.integer(2),
    }
    axes = axes or [axis for axis, flag in flags.items() if flag and axis > 0]
    gone = [axis for axis in axes if shape[axis] == 1]
    if len(gone) == call.dims:
        gone = gone[1:]
    return call.part("Squeeze", [call.x, call.integers("axes", gone)]) if gone else call.x


def _tile(call: Call) -> str:
    axis, tiles, repeats = call.settings.integer(0), call.settings.integer(1, 1), [1] * call.dims
    given = call.settings.integers(2)
    if given:
        repeats[max(0, call.dims - len(given)) :] = given
    else:
        repeats[call.axis(axis) - 1] = tiles
    if len(repeats) != call.dims or min(repeats) < 1:
        raise Unsupported(f"tiles {tiles}, repeats {given} of {call.dims} axes")
    return call.part("Tile", [call.x, call.integers("repeats", [1, *repeats])])


def _data(settings: Settings) -> list[Block]:
    sizes = [settings.integer(key) for key in (2, 11, 1, 0)]
    return [Block(math.prod(n for n in sizes if n), settings.integer(21, 1) == 0)]


def _memory_data(call: Call) -> str:
    sizes = [n for n in (call.settings.integer(key) for key in (2, 11, 1, 0)) if n]
    if not sizes or min(sizes) < 0:
        raise Unsupported(f"its shape is {sizes}")
    array = np.asarray(call.weights[0], np.float32).reshape(1, *sizes)
    return call.reader.constant(f"{call.outputs[0]}.data", array)


def _matmul(call: Call) -> str:
    order = list(range(len(call.shape(1))))
    second = call.input(1)
    if call.settings.integer(0):
        second = call.part("Transpose", [second], perm=[*order[:-2], order[-1], order[-2]])
    return call.part("MatMul", [call.x, second])


RULES: dict[str, Rule] = {
    "BinaryOp": Rule(_binary),
    "Concat": Rule(_concat),
    "Crop": Rule(_crop),
    "Eltwise": Rule(_eltwise),
    "ExpandDims": Rule(_expand_dims),
    "Flatten": Rule(_flatten),
    "MatMul": Rule(_matmul),
    "MemoryData": Rule(_memory_data, _data),
    "Padding": Rule(_padding, lambda settings: [Block(settings.integer(6))]),
    "Permute": Rule(_permute),
    "PixelShuffle": Rule(_pixel_shuffle),
    "Reduction": Rule(_reduction),
    "Reorg": Rule(_reorg),
    "Reshape": Rule(_reshape),
    "ShuffleChannel": Rule(_shuffle),
    "Slice": Rule(_slice),
    "Softmax": Rule(_softmax),
    "Squeeze": Rule(_squeeze),
    "Tile": Rule(_tile),
    "UnaryOp": Rule(_unary),
}
