"""What the numbers of a value that differs say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph import Array
from ..ops.map import relu
from ..ops.normalize import softmax
from .case import Case, Changes, explained
from .numbers import rms

IMAGES: Changes = {
    "channels in reverse order (BGR against RGB)": lambda v: v[:, ::-1],
    "height and width swapped": lambda v: v.swapaxes(2, 3),
    "images mirrored": lambda v: v[..., ::-1],
}


def causes(case: Case) -> Iterator[str]:
    u, v = case.u, case.v
    if u.shape != v.shape:
        yield _shapes(u, v)
        return
    broken = ~np.isfinite(v) & np.isfinite(u)
    if broken.any():
        yield (
            f"{case.b.name} has infinities or NaN there ({int(broken.sum())}): overflow, as of "
            "float16, or uninitialized memory"
        )
    if not np.isfinite(u).all() or not np.isfinite(v).all():
        return
    for x, y, side in ((u, v, case.b.name), (v, u, case.a.name)):
        if case.same(x, relu(y)):
            yield f"an activation (ReLU) is missing in {side}"
        if x.ndim == 2 and x.min() >= 0 and case.same(x, softmax(y, axis=1)):
            yield f"a softmax is missing in {side}"
    if u.ndim == 4:
        yield from explained(IMAGES, v, u, lambda changed, u: case.same(u, changed))
        last = v.reshape(len(v), *u.shape[2:], u.shape[1]).transpose(0, 3, 1, 2)
        if case.same(u, last):
            yield "values in the order height, width, channel: channels last read as first"
        yield from _borders(case, u, v)
    axes = tuple(i for i in range(u.ndim) if i != 1)
    shift = np.mean(v - u, axis=axes, keepdims=True)
    if v.size >= 4 * shift.size and case.same(u, v - shift):
        yield "a constant for each channel: a bias, or the mean subtracted from the input"
    scale = float(np.vdot(u, v) / max(float(np.vdot(u, u)), 1e-30))
    if scale != 0 and case.same(u, v / scale):
        yield f"a factor of {scale:.6g}: another scale of the input or of the weights"


def _shapes(u: Array, v: Array) -> str:
    text = f"shape {list(u.shape)} against {list(v.shape)}"
    if u.ndim == v.ndim == 4 and u.shape[1] == v.shape[1]:
        if max(abs(m - n) for m, n in zip(u.shape[2:], v.shape[2:])) == 1:
            return f"{text}: one rounds up (ceil, as Caffe's pools), or padding"
        return f"{text}: stride, padding or kernel"
    if sorted(u.shape[1:]) == sorted(v.shape[1:]):
        return f"{text}: axes in another order"
    return text


def _borders(case: Case, u: Array, v: Array) -> Iterator[str]:
    if min(u.shape[2:]) < 4:
        return
    for rows, columns in ((1, 1), (1, 0), (0, 1)):
        h, w = u.shape[2] - rows, u.shape[3] - columns
        here, there = (slice(rows, None), slice(columns, None)), (slice(h), slice(w))
        for x, y in ((here, there), (there, here)):
            if case.same(u[(..., *x)], v[(..., *y)]):
                yield (
                    "shifted by a pixel: padding at the other side (SAME pads at the end), or "
                    "windows that begin elsewhere"
                )
    bad = np.abs(u - v) > case.tolerance * max(rms(u), 1e-30)
    edge = max(1, min(u.shape[2:]) // 4)
    if not bad[:, :, edge:-edge, edge:-edge].any():
        yield "only the borders differ: padding, or what an average's divisor counts of it"
