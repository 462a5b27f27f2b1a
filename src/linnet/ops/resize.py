"""Images, and other arrays, of other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node
from ._lowering import BATCH, Call, Lowering, Refusal, axis_of
from ._registry import Operator
from ._small import SMALL

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
MODES = ("nearest", "linear", "cubic")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
FITS = ("stretch", "not_larger", "not_smaller")
_SHARES = 2048  # parts of a pixel, in which integers of 8 bits are blended


def resize(
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] = (),
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    """Every number a weighted sum of numbers near its place, along one axis after the other.

    ONNX's Resize-19: `scales` or `sizes` of `axes` (by default all), `roi` their begins and ends.
    Integers of 8 bits between others are those of XNNPACK: see docs/numerics.md.
    """
    which = [axis % x.ndim for axis in axes] if len(axes) else list(range(x.ndim))
    if roi is None or not roi.size:
        roi = np.array([0] * len(which) + [1] * len(which))
    old = [x.shape[axis] for axis in which]
    new = _sizes(old, roi, scales, sizes, keep_aspect_ratio_policy)
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    outside = np.zeros((), bool)
    of_shares = x.dtype in (np.int8, np.uint8) and mode == "linear" and not (crop or antialias)
    y = np.asarray(x, np.int64 if of_shares else np.float64)
    for index, axis in enumerate(which):
        size, scale = new[index]
        part = (float(roi[index]), float(roi[index + len(which)]))
        places = _places(coordinate_transformation_mode, old[index], size, scale, part)
        pick = _Pick(
            old[index],
            mode,
            nearest_mode,
            min(scale, 1.0) if antialias else 1.0,
            cubic_coeff_a,
            bool(exclude_outside),
        )
        sums = [pick(float(place)) for place in places]
        if of_shares:
            y = _along(y, axis, [_in_shares(taps) for taps in sums])
        else:
            y = _along(y, axis, sums)
        if crop:
            beyond = (places < 0) | (places > old[index] - 1)
            outside = outside | beyond.reshape([-1] + [1] * (x.ndim - 1 - axis))
    if of_shares:
        all_shares = _SHARES ** len(which)
        y = (y + all_shares // 2) // all_shares
    return np.asarray(np.where(outside, extrapolation_value, y) if crop else y, x.dtype)


def of_bytes(node: Node) -> str:
    """How a Resize is defined for integers of 8 bits: "picks" them, "blends" them, "" if not."""
    attrs = node.attrs
    if attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return ""
    mode = attrs.get("mode", "nearest")
    return {"nearest": "picks", "linear": "" if attrs.get("antialias") else "blends"}.get(mode, "")


def _along(y: Array, axis: int, sums: Sequence[Sequence[tuple[int, float]]]) -> Array:
    """For each of `sums`, the numbers along `axis` that it names times their weights."""
    y = np.moveaxis(y, axis, 0)
    nothing = np.zeros(y.shape[1:], y.dtype)
    rows = [sum((weight * y[at] for at, weight in taps), nothing) for taps in sums]
    return np.moveaxis(np.array(rows, y.dtype).reshape(-1, *y.shape[1:]), 0, axis)


def _in_shares(taps: Sequence[tuple[int, float]]) -> list[tuple[int, int]]:
    """One or two numbers with weights that are whole numbers of parts, _SHARES together."""
    last = int(np.rint(np.float32(taps[-1][1]) * _SHARES))
    return [(taps[0][0], _SHARES - last), (taps[-1][0], last)]


def _sizes(
    old: Sequence[int], roi: Array, scales: Array | None, sizes: Array | None, fit: str
) -> list[tuple[int, float]]:
    """Size and scale of every axis."""
    if scales is not None and scales.size:
        parts = roi[len(old) :] - roi[: len(old)]
        return [
            (math.floor(n * part * float(s)), float(s)) for n, part, s in zip(old, parts, scales)
        ]
    if sizes is None:
        raise ValueError("needs scales or sizes")
    given = [int(n) for n in sizes]
    if fit == "stretch":
        return [(new, new / n) for n, new in zip(old, given)]
    scale = (min if fit == "not_larger" else max)(new / n for n, new in zip(old, given))
    return [(max(1, math.floor(scale * n + 0.5)), scale) for n in old]


def _places(coordinates: str, old: int, new: int, scale: float, part: tuple[float, float]) -> Array:
    """Where the numbers of the output lie in the input, of which `part` is cut out."""
    o = np.arange(new, dtype=np.float64)
    half_pixel = (o + 0.5) / scale - 0.5
    begin, end = part
    steps = o / (new - 1) if new > 1 else o + 0.5
    found = {
        "half_pixel": half_pixel,
        "half_pixel_symmetric": old / 2 * (1 - new / (scale * old)) + half_pixel,
        "pytorch_half_pixel": half_pixel if new > 1 else o - 0.5,
        "align_corners": steps * (old - 1) if new > 1 else o,
        "asymmetric": o / scale,
        "tf_half_pixel_for_nn": half_pixel + 0.5,
        "tf_crop_and_resize": (begin + steps * (end - begin)) * (old - 1),
    }
    return np.asarray(found[coordinates])


class _Pick(NamedTuple):
    """Which numbers of an axis one at a place is made of; those beyond the border are the border's.

    stretch: how much smaller the kernel of interpolation is than its distances; a: of cubic ones.
    """

    size: int
    mode: str
    nearest: str
    stretch: float
    a: float
    exclude_outside: bool

    def __call__(self, place: float) -> list[tuple[int, float]]:
        base = math.ceil(place) - 1
        if self.mode == "nearest":
            part = place - base
            second = {
                "round_prefer_floor": part > 0.5,
                "round_prefer_ceil": part >= 0.5,
                "floor": part == 1,
                "ceil": True,
            }[self.nearest]
            return [(self._inside(base + second), 1.0)]
        side = -math.floor(-(2 if self.mode == "cubic" else 1) / self.stretch)
        found = [
            (self._inside(at), self._weight(abs(self.stretch * (at - place))))
            for at in range(base + 1 - side, base + side + 1)
            if not self.exclude_outside or at == self._inside(at)
        ]
        normal = self.exclude_outside or self.stretch < 1
        total = sum(weight for _, weight in found) if normal else 1.0
        return [(at, weight / total) for at, weight in found]

    def _inside(self, at: int) -> int:
        return min(max(at, 0), self.size - 1)

    def _weight(self, distance: float) -> float:
        if self.mode == "linear":
            return max(0.0, 1 - distance)
        if distance <= 1:
            return (self.a + 2) * distance**3 - (self.a + 3) * distance**2 + 1
        if distance < 2:
            return self.a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        return 0.0


def upsample(x: Array, scales: Array, *, mode: str = "nearest") -> Array:
    """What Resize is, with sizes rounded down and coordinates from the first number's corner."""
    return resize(
        x,
        scales=scales,
        mode=mode,
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def lower_resize(low: Lowering, call: Call) -> None:
    """Of height and width, by constants."""
    attrs = dict(call.attrs)
    shape = low.shape(call.input(0))
    axes = [axis_of(axis, len(shape)) for axis in call.ints("axes")] or list(range(len(shape)))
    if len(shape) != 4 or len(set(axes)) != len(axes):
        raise Refusal(f"axes {axes} are not those of an image [N, C, H, W]")
    place = {axis: index for index, axis in enumerate(axes)}
    crop = attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
    corners = [0.0] * len(axes) + [1.0] * len(axes)
    if crop and call.input(1):
        corners = _reals(low, call.input(1), "crop", 2 * len(axes)) or corners
    scales = _reals(low, call.input(2), "scales", len(axes)) if call.input(2) else []
    sizes = []
    if not scales:
        given = low.constant(call.input(3), "scales or sizes")
        sizes = list(given.tolist())
        if given.ndim != 1 or given.dtype.kind not in "iO" or len(sizes) != len(axes):
            raise Refusal(f"its sizes are not {len(axes)} integers")
    for axis in (0, 1):
        if axis not in place:
            continue
        i = place[axis]
        kept = scales[i] == 1 if scales else sizes[i] in (shape[axis] or sizes[i], BATCH)
        if not kept or corners[i] != 0 or corners[i + len(axes)] != 1:
            raise Refusal("only height and width can be resized")
    inputs = [call.input(0), "", "", ""]
    spatial = [axis for axis in (2, 3) if axis in place]
    if scales:
        values = [scales[place[axis]] if axis in place else 1.0 for axis in (2, 3)]
        inputs[2] = low.add_constant(f"{call.output}.scales", np.array(values, np.float32))
    else:
        wanted = [sizes[place[axis]] if axis in place else shape[axis] for axis in (2, 3)]
        if not all(isinstance(n, int) for n in wanted):
            raise Refusal("a size depends on the batch")
        if len(spatial) < 2:
            attrs["keep_aspect_ratio_policy"] = "stretch"
        inputs[3] = low.add_constant(f"{call.output}.sizes", np.array(wanted, np.int64))
    if crop:
        values = [
            corners[place[axis] + side * len(axes)] if axis in place else float(side)
            for side in (0, 1)
            for axis in (2, 3)
        ]
        inputs[1] = low.add_constant(f"{call.output}.roi", np.array(values, np.float32))
    while not inputs[-1]:
        inputs.pop()
    attrs["axes"] = [2, 3]
    _emit(low, call, inputs, {k: v for k, v in attrs.items() if v != RESIZE.attributes[k]})


def _emit(low: Lowering, call: Call, inputs: list[str], attrs: dict[str, Any]) -> None:
    """The operator of the core; of the nearest of other types than 8-bit integers, as reals."""
    dtype = low.dtypes[inputs[0]]
    bytes_ = dtype.name in ("int8", "uint8") and of_bytes(replace(call.node, attrs=attrs))
    if attrs.get("mode", "nearest") != "nearest" or dtype not in SMALL or bytes_:
        low.emit(call, "Resize", inputs, attrs)
        return
    real = low.emit(call, "Cast", inputs[:1], {"to": ELEMENT_TYPES["float32"]}, "real")
    y = low.emit(call, "Resize", [real, *inputs[1:]], attrs, "resized")
    low.emit(call, "Cast", [y], {"to": ELEMENT_TYPES[dtype.name]})


def _reals(low: Lowering, name: str, what: str, count: int) -> list[float]:
    """A constant vector of `count` finite numbers, or of none."""
    array = low.numbers(name, what)
    if array.ndim != 1 or array.size not in (0, count) or not np.isfinite(array).all():
        raise Refusal(f"its {what} are not {count} numbers")
    return [float(value) for value in array]


def lower_upsample(low: Lowering, call: Call) -> None:
    """As a Resize."""
    mode = "linear" if call.attrs["mode"] in ("linear", "bilinear") else call.attrs["mode"]
    attrs = {"mode": mode, "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    node = replace(call.node, op="Resize")
    inputs = [call.input(0), "", call.input(1)]
    lower_resize(low, Call(node, inputs, RESIZE.bind(attrs)))


RESIZE = Operator("Resize", resize, lower_resize)


def _mirrored(at: Array, low: float, high: float) -> Array:
    """Places beyond `low` or `high` mirrored there until they are between them."""
    if high <= low:
        return np.full_like(at, low)
    turns, rest = np.divmod(np.where(at < low, low - at, at - high), high - low)
    near = (turns % 2 == 0) == (at < low)
    inside = (low <= at) & (at <= high)
    return np.where(inside, at, np.where(near, low + rest, high - rest))


def _taps(place: Array, size: int, mode: str, padding: str, corners: int) -> tuple[Array, Array]:
    """Numbers of an axis that places lie between, and their shares, [..., taps]."""
    low, high = (0, size - 1) if corners else (-0.5, size - 0.5)
    at = (place + 1) / 2 * (size - 1) if corners else ((place + 1) * size - 1) / 2
    known = np.abs(at) < 1e9
    at = np.where(known, at, 0)
    at = np.rint(at) if mode == "nearest" else at
    if padding == "border":
        at = np.where((at < low) | (at > high), np.clip(at, 0, size - 1), at)
    elif padding == "reflection":
        at = _mirrored(at, low, high)
    first = np.floor(at)
    t = at - first
    if mode == "nearest":
        numbers, shares = [at], [np.ones_like(at)]
    elif mode == "linear":
        numbers, shares = [first, first + 1], [1 - t, t]
    else:
        numbers, a = [first + i for i in range(-1, 3)], -0.75
        far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
        near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
        shares = [far[0], *near, far[1]]
    places, weights = np.stack(numbers, -1), np.stack(shares, -1) * known[..., None]
    if padding == "zeros":
        weights = np.where((places >= 0) & (places < size), weights, 0)
    elif padding == "reflection":
        places = np.trunc(_mirrored(places, low, high))
    return np.clip(places, 0, size - 1).astype(np.intp), weights


def grid_sample(
    x: Array,
    grid: Array,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Array:
    """Numbers between those of images [N, C, H, W], at the places [N, rows, columns, 2], x and y
    from -1 to 1.
    """
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(f"mode is {mode!r}")
    sizes = x.shape[:1:-1]
    (columns, u), (rows, v) = (
        _taps(grid[..., i], n, mode, padding_mode, align_corners) for i, n in enumerate(sizes)
    )
    images = np.arange(len(x)).reshape(-1, 1, 1, 1, 1)
    found = x[images, :, rows[..., :, None], columns[..., None, :]]  # [N, h, w, taps, taps, C]
    shares = (v[..., :, None] * u[..., None, :])[..., None]
    return np.asarray(np.moveaxis((found * shares).sum((3, 4)), -1, 1).astype(x.dtype))


def lower_grid_sample(low: Lowering, call: Call) -> None:
    """Of images, in every mode, at computed places."""
    mode = call.attrs["mode"]
    attrs = {**call.attrs, "mode": {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)}
    low.emit(call, "GridSample", call.inputs, attrs)


OPERATORS = (
    RESIZE,
    Operator("Upsample", upsample, lower_upsample),
    Operator("GridSample", grid_sample, lower_grid_sample),
)
