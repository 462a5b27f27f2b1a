"""Every algorithm on every instruction set and layout, against the NumPy reference.

The problems are the lines of problems.txt. Each algorithm states its largest error, relative to the
output's root mean square, in BOUNDS; an algorithm without an entry fails.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet import _core, ops

LINES = [
    line.strip()
    for line in (Path(__file__).parent / "problems.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
TYPES = ["f32", "f16", "int8", "uint8", "int16", "int32", "int64", "bool"]
LINES += [f"map {a}>{b} n1 c11h7w13 nchw t1" for a in TYPES for b in TYPES if a != b]
FORCED = os.environ.get("LINNET_ISA")
ISAS = [FORCED] if FORCED else _core.available_isas()

# Largest |error| / rms of the output. Sums of float products err by about 2e-6 here; what only
# moves or compares numbers is exact.
BOUNDS = {
    "depthwise": 1e-5,
    "strided-copy": 0,
    "cast": 0.0,
    "direct": 1e-5,
    "direct-ref": 1e-6,
    "fourier-8": 1e-4,
    "fourier-16": 1e-4,
    "winograd": 1e-4,
    "winograd-rows": 1e-4,
    "im2col-openblas": 1e-5,
    # NNPACK's, where LINNET_NNPACK or the system has one.
    "nnpack-auto": 1e-4,
    "nnpack-direct": 1e-5,
    "nnpack-ft16x16": 1e-4,
    "nnpack-ft8x8": 1e-4,
    "nnpack-implicit-gemm": 1e-5,
    "nnpack-wt8x8": 1e-4,
    "pool": 2e-6,
    "reduce": 2e-6,
    "place": 0.0,
    "gather": 0.0,
    "product": 1e-5,
    "sample": 1e-5,
    "detect": 1e-6,
    "regions": 1e-5,
    "resize": 2e-6,
    "elementwise": 2e-5,
    "integers": 0.0,
    "normalize": 2e-5,  # a softmax's sum; its largest value is many times the rms
    "reorder": 0.0,
}
# What the words of keys for functions mean; parameters that a function has not are 0.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": ops.map.add,
    "sub": ops.map.subtract,
    "mul": ops.map.multiply,
    "div": ops.map.divide,
    "max": ops.map.largest,
    "min": ops.map.smallest,
    "prelu": ops.map.prelu,
    "pow": ops.map.power,
    "sigmoid": lambda x, *_: ops.map.sigmoid(x),
    "tanh": lambda x, *_: ops.map.tanh(x),
    "exp": lambda x, *_: ops.map.exp(x),
    "sqrt": lambda x, *_: ops.map.sqrt(np.abs(x)),
    "reciprocal": lambda x, *_: ops.map.reciprocal(x),
    "softplus": lambda x, *_: ops.map.softplus(x),
    "swish": lambda x, *_: ops.map.swish(x),
    "hardswish": lambda x, *_: ops.map.hard_swish(x),
    "mish": lambda x, *_: ops.map.mish(x),
    "erf": lambda x, *_: ops.map.erf(x),
    "gelu": lambda x, *_: ops.map.gelu(x),
    "leaky": lambda x, a, _: ops.map.leaky_relu(x, alpha=a),
    "elu": lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), b * x),
    "hardsigmoid": lambda x, a, b: ops.map.hard_sigmoid(x, alpha=a, beta=b),
}
# Of int64: powers that are no integers are 0.
OF_INTEGERS: dict[str, Callable[..., Any]] = {
    "add": ops.map.add,
    "sub": ops.map.subtract,
    "mul": ops.map.multiply,
    "div": ops.map.divide,
    "max": ops.map.largest,
    "min": ops.map.smallest,
    "pow": lambda x, z: np.where((z >= 0) | (np.abs(x) == 1), np.power(x, np.abs(z)), 0),
    "neg": ops.map.negative,
    "abs": ops.map.absolute,
    "sign": ops.map.sign,
}
GUARD = 64  # floats before and after every buffer
SENTINEL = 0xA5  # bytes


ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7}
ONNX_TYPES |= {"bool": 9, "float16": 10}


def seed(key: str) -> np.random.Generator:
    return np.random.default_rng([ord(c) for c in key])


def hole(dtype: Any) -> Any:
    """What nobody may read: NaN, the largest integer or True."""
    kind = np.dtype(dtype).kind
    return np.nan if kind == "f" else True if kind == "b" else np.iinfo(dtype).max


def is_hole(array: Any) -> Any:
    return np.isnan(array) if array.dtype.kind == "f" else array == hole(array.dtype)


def padded(count: int, width: int) -> int:
    return -(-count // width) * width


def resized(p: dict[str, Any], x: Any) -> Any:
    """By NumPy, [N, C, H, W]."""
    return ops.resize.resize(
        x,
        roi=np.array(p["roi"], np.float64),
        scales=np.array(p["scales"]) if p["scales"][0] else None,
        sizes=None if p["scales"][0] else np.array(p["out"][1:]),
        axes=(2, 3),
        antialias=p["antialias"],
        coordinate_transformation_mode=ops.resize.COORDINATES[p["coordinates"]],
        cubic_coeff_a=p["cubic"],
        exclude_outside=p["exclude_outside"],
        extrapolation_value=p["outside"],
        mode=ops.resize.MODES[p["mode"]],
        nearest_mode=ops.resize.NEAREST[p["nearest"]],
    )


def to_layout(x: Any, layout: str, width: int, pitch: int = 0) -> Any:
    """[N, C, H, W] as the flat buffer of a layout.

    With a pitch, of images of so many channels of which x is a slice and the others are NaN or the
    largest integer; the buffer ends with the slice.
    """
    n, c, h, w = x.shape
    if layout == "nchw":
        y = np.full((n, pitch or c, h, w), hole(x.dtype), x.dtype)
        y[:, :c] = x
        return y.ravel()[: y.size - (y.shape[1] - c) * h * w]
    own = padded(c, width)
    y = np.full((n, h, w, pitch or own), hole(x.dtype), x.dtype)
    y[..., :own] = 0
    y[..., :c] = x.transpose(0, 2, 3, 1)
    return y.ravel()[: y.size - (y.shape[3] - own)]


def from_layout(
    y: Any, shape: tuple[int, ...], layout: str, width: int, pitch: int = 0
) -> tuple[Any, Any, Any]:
    """The [N, C, H, W] array in a flat buffer, the padding lanes, which must be zero, and the
    other channels of the images it is a slice of."""
    n, c, h, w = shape
    own = c if layout == "nchw" else padded(c, width)
    y = np.r_[y, np.full(n * h * w * (pitch or own) - len(y), hole(y.dtype), y.dtype)]
    shapes = {"nchw": (n, -1, h, w), "nhwc": (n, h, w, -1)}
    y = y.reshape(shapes[layout])
    y = y.transpose(0, 2, 3, 1) if layout == "nchw" else y
    return y[..., :c].transpose(0, 3, 1, 2), y[..., c:own], y[..., own:]


def input_array(x: Any, p: dict[str, Any], width: int) -> Any:
    """[N, C, H, W] as the flat buffer of a problem's input."""
    if not p.get("steps"):
        return to_layout(x, p["in_layout"], width, p["in_pitch"])
    places = np.arange(p["n"])[:, None] * p["image"]
    for count, step in p["steps"]:
        places = (places[..., None] + np.arange(count) * step).reshape(p["n"], -1)
    y = np.full(places.max() + 1, hole(x.dtype), x.dtype)
    y[places] = x.reshape(p["n"], -1)
    return y


def layouts(word: str, planar: bool = False) -> list[str]:
    """A key's layout field in all combinations of layouts, pitches as they are."""
    source, _, target = word.partition(">")
    pitches = [side.partition("/")[1:] for side in (source, target or source)]
    return [
        f"{a}{''.join(pitches[0])}>{b}{''.join(pitches[1])}"
        for a in ("nchw", "nhwc")[: 1 if planar else 2]
        for b in ("nchw", "nhwc")
    ]


def guarded(values: Any, fill: Any) -> tuple[Any, Any]:
    """A copy of `values` inside a larger buffer full of `fill`: (buffer, the copy's view).

    The odd offset leaves the view aligned to a number and nothing more.
    """
    buffer = np.full(len(values) + 2 * GUARD + 1, fill, values.dtype)
    view = buffer[GUARD + 1 : GUARD + 1 + len(values)]
    view[:] = values
    return buffer, view


def operands(p: dict[str, Any]) -> dict[str, Any]:
    """Random inputs of a problem, [N, C, H, W], and its weights."""
    rng = seed(p["key"])
    random = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    values: dict[str, Any] = {"x": random(p["n"], *p["in"])}
    if p["kind"] == "reduce" and p["out_dtype"] != np.float32:
        values["x"] = np.round(4 * values["x"])  # some are equal
    elif p["in_dtype"] != np.float32 or p["out_dtype"] != np.float32:
        values["x"] = anything(rng, values["x"].shape, p["in_dtype"])
    if p.get("function") == "pow" and p["in_dtype"] == np.float32:
        values["x"] = np.abs(values["x"]) + np.float32(0.1)
    if p["kind"] == "conv":
        values["w"] = random(p["out"][0], p["in"][0] // p["group"], *p["kernel"])
    if p["kind"] == "matmul":
        values["w"] = random(p["out"][0], int(np.prod(p["in"])))
    if "w" in values:
        values["w"] = ops.quant.rounded(values["w"], p["weights"])
    if "w" in values and rng.random() < 0.8:
        values["b"] = random(p["out"][0])
    if p["kind"] == "detect":
        d = p["detect"]
        if d["priors"]:
            values["w"] = np.abs(random(p["in"][0], 8)) / np.float32(2)
        values["operand"] = rng.random((p["n"], *p["operand"]), np.float32)
    elif p["kind"] == "regions":
        values["operand"] = regions_of(rng, p)
    elif p["kind"] == "gather":
        rows = p["in"][1]
        images = 1 if p["operand_constant"] else p["n"]
        values["operand"] = rng.integers(-rows, rows, (images, *p["operand"]), p["operand_dtype"])
    elif p["binary"] and p["in_dtype"] == np.int64:
        images = 1 if p["operand_constant"] else p["n"]
        values["operand"] = anything(rng, (images, *p["operand"]), np.dtype(np.int64))
        if p["function"] == "pow":
            values["operand"] = values["operand"] % 7 - 1
    elif p["binary"]:
        values["operand"] = random(1 if p["operand_constant"] else p["n"], *p["operand"])
    return values


def regions_of(rng: np.random.Generator, p: dict[str, Any]) -> Any:
    """Some of an image that there is not, beyond the image, or turned round."""
    _, h, w = p["in"]
    z = np.empty((p["n"], *p["operand"]), np.float32)
    z[..., 0] = rng.integers(-1, p["images"] + 1, z.shape[:-1])
    z[..., 1:3] = rng.uniform(-2, (w, h), (*z.shape[:-1], 2))
    z[..., 3:] = z[..., 1:3] + rng.uniform(-2, (w, h), (*z.shape[:-1], 2))
    z[..., 1:] /= p["scale"]
    return z


def anything(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Numbers of a type over its whole range; of floats, all that casts treat differently."""
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    size = 10.0 ** rng.uniform(-9, 20 if dtype.itemsize > 2 else 4.8, shape)
    with np.errstate(over="ignore"):
        x = (size * rng.choice([-1, 1], shape)).astype(dtype)
    odd = [np.nan, np.inf, -np.inf, -0.0, 0.5, -0.5, 127.5, 128, 255.5, -128.5, -129, 65504, 65520]
    odd += [2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, 32767.5]
    places = rng.permutation(x.size)[: len(odd)]
    with np.errstate(over="ignore"):
        x.ravel()[places] = np.array(odd, dtype)[: len(places)]
    return x


def expected(p: dict[str, Any], v: dict[str, Any], unlimited: bool = False) -> Any:
    """What the problem means, in float64 or, if it is not of floats alone, its type; `unlimited`
    without a clip, whose results may be far smaller than the sums that they come from.
    """
    if p["kind"] == "reduce" and p["out_dtype"] != np.float32:
        last, least = divmod(p["reduction"] - 7, 2)  # after what becomes a number of the same type
        if p["top"] > 1:
            how = {"axis": 1 + p["axes"].index(True), "top": p["top"], "smallest": least}
            return ops.gather.top_places(v["x"], **how)
        function = ops.OPERATORS["ArgMin" if least else "ArgMax"].meaning
        return function(v["x"], axis=1 + p["axes"].index(True), select_last_index=last)
    if p["kind"] == "gather":
        v["operand"] = np.broadcast_to(v["operand"], (p["n"], *p["operand"]))
    if p["kind"] == "gather" and p["elements"]:
        return ops.gather.gather_elements(v["x"], v["operand"], axis=2)
    if p["kind"] == "gather":
        return ops.gather.gather_rows(v["x"], v["operand"].reshape(p["n"], -1))
    if p["kind"] == "regions":
        names = ("bins", "images", "samples", "scale", "offset")
        how = {name: p[name] for name in names}
        mode = ops.regions.MODES[p["mode"]]
        return ops.regions.regions(
            v["x"].astype(np.float64), v["operand"][:, :, 0], mode=mode, **how
        )
    if p["kind"] == "detect":
        of = {name: int(a) if type(a) is bool else a for name, a in p["detect"].items()}
        del of["priors"]
        places = int(p["out_dtype"] != np.float32)
        y = ops.detect.detections(
            v["x"], v["operand"][:, :, 0], v.get("w"), rows=p["out"][0], places=places, **of
        )
        return y[:, :, None]
    if p["in_dtype"] != p["out_dtype"]:
        with np.errstate(over="ignore"):
            return ops.map.cast(v["x"], to=ONNX_TYPES[p["out_dtype"].name])
    if p["in_dtype"] != np.float32 and p.get("function"):
        return OF_INTEGERS[p["function"]](v["x"], *([v["operand"]] if p["binary"] else []))
    if p["in_dtype"] != np.float32:
        return v["x"]
    v = {name: a.astype(np.float64) for name, a in v.items()}
    x, kind = v["x"], p["kind"]
    if kind == "sample":
        how = (
            ("nearest", "linear", "cubic")[p["mode"]],
            ("zeros", "border", "reflection")[p["beyond"]],
        )
        return ops.resize.grid_sample(
            x, v["operand"], mode=how[0], padding_mode=how[1], align_corners=p["corners"]
        )
    if kind == "product":
        return ops.matmul.matmul(x, v["operand"])
    windows = {name: p[name] for name in ("strides", "pads", "dilations") if name in p}
    if kind == "pool" and not p["average"]:
        return ops.pool.max_pool(x, kernel_shape=p["kernel"], ceil_mode=p["ceil_mode"], **windows)
    if kind == "pool":
        del windows["dilations"]
        return ops.pool.average_pool(
            x,
            kernel_shape=p["kernel"],
            ceil_mode=p["ceil_mode"],
            count_include_pad=p["count_include_pad"],
            **windows,
        )
    if kind == "reduce":
        axes = tuple(axis + 1 for axis in range(3) if p["axes"][axis])
        return list(ops.reduce.REDUCTIONS.values())[p["reduction"]](x, axes, keepdims=True)
    if kind == "resize":
        return resized(p, x)
    if kind == "normalize":
        if p["function"] == "lrn":
            alpha, beta, bias = p["numbers"]
            return ops.normalize.lrn(x, alpha=alpha, beta=beta, bias=bias, size=p["size"])
        return ops.normalize.softmax(x, axis=p["axis"])
    y = x
    if kind == "conv":
        y = ops.conv.conv(x, v["w"], v.get("b"), group=p["group"], **windows)
    if kind == "matmul":
        y = ops.matmul.gemm(x.reshape(p["n"], -1), v["w"], v.get("b"), transB=1)
        y = y.reshape(p["n"], -1, 1, 1)
    if p["function"]:
        y = FUNCTIONS[p["function"]](y, *([v["operand"]] if p["binary"] else p["parameters"]))
    elif p["binary"]:
        y = y + v["operand"]
    if not unlimited:
        y = np.clip(y, p["low"], p["high"])
    if max(p["pool"]) > 1:
        y = ops.pool.max_pool(y, kernel_shape=p["pool"], strides=p["pool"])
    return FUNCTIONS[p["then"]](y, *p["parameters"]) if p["then"] else y


@functools.lru_cache(maxsize=1)  # one problem after the other, each by all who can
def solved(key: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """A problem, its operands and what it means."""
    p = _core.parse_problem(key)
    v = operands(p)
    for array in v.values():
        array.flags.writeable = False
    return p, v, expected(p, v)


def cases() -> list[tuple[str, str, str]]:
    """(problem key, algorithm, isa) of every combination that is not refused, and of one ISA for
    algorithms that do not depend on it but for the padding."""
    found = []
    for line in LINES:
        head, word, threads = line.rsplit(" ", 2)
        for layout in layouts(word, planar=" steps" in head):
            key = _core.parse_problem(f"{head} {layout} {threads}")["key"]
            for isa in ISAS:
                for algorithm in _core.algorithms():
                    if not _core.refusal(key, algorithm, isa):
                        found.append((key, algorithm, isa))
    return found


CASES = cases()


@pytest.mark.parametrize("line", LINES)
def test_key_is_canonical(line: str) -> None:
    assert _core.parse_problem(line)["key"] == line


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "conv",
        "conv f33 n1 c1h1w1 k1r1x1 nhwc t1",
        "conv f32 n0 c1h1w1 k1r1x1 nhwc t1",
        "conv f32 n1 c1h1w1 k1r2x2 nhwc t1",
        "conv f32 n1 c4h4w4 k3r1x1 g2 nhwc t1",
        "conv f32 n1 c4h4w4 k4r3x3 wf16 nhwc t1",
        "conv f32 n1 c4h4w4 k4r1x1 wint8 g2 nhwc t1",
        "matmul f32 n1 c4h4w4 k4 w nhwc t1",
        "pool f32 n1 c4h4w4 r2x2 max wf16 nhwc t1",
        "pool f32 n1 c4h4w4 r2x2p0,2,0,0 max nhwc t1",
        "pool f32 n1 c4h4w4 r2x2p0,0,2,0 average pads nchw t1",
        "pool f32 n1 c4h4w4 r2x2d2 average nchw t1",
        "conv f32 n1 c99999999999h1w1 k1r1x1 nhwc t1",
        "conv f32 n1 c1h1w1 k1r1x1 nhwc",
        "conv f32 n1 c1h1w1 k1r1x1 nhwc t1 relu",
        "conv f32 n1 c1h1w1 k1r1x1 add add nhwc t1",
        "map f32 n1 c1h1 relu nhwc t1",
        "map f32 n1 c4h4w4 add z3x1x1 nchw t1",
        "move f32 n1 c4h4w4 k3 nchw t1",
        "move f32 n1 c4h4w4 at2 nchw t1",
        "move f32 n1 c4h4w4 k7 at4 nchw t1",
        "move f32 n1 c4h4w4 steps64:3x1,4x4 nchw t1",
        "move f32 n1 c4h4w4 steps64:4x1,16x4 nhwc t1",
        "move f32 n1 c4h4w4 steps64 nchw t1",
        "map f32 n1 c4h4w4 k8 relu nchw t1",
        "reduce f32 n1 c4h4w4 sum nchw t1",
        "reduce f32 n1 c4h4w4 sum of nchw t1",
        "reduce f32 n1 c4h4w4 median ofc nchw t1",
        "reduce f32>int64 n1 c4h4w4 firstmax ofc top5 nchw t1",
        "reduce f32>int64 n1 c4h4w4 lastmax ofc top2 nchw t1",
        "reduce f32 n1 c4h4w4 sum ofc top2 nchw t1",
        "gather f32 n1 c4h4w4 rows2 nchw t1",
        "product f32 n1 c4h4w4 nchw t1",
        "product int8 n1 c4h4w4 by3 nchw t1",
        "gather f32 n1 c4h4w4 rows2 byf32 nchw t1",
        "gather f32 n1 c4h4w4 byint64 nchw t1",
        "detect f32 n1 c4h4w4 k2 classes2 score0 overlap1 nchw t1",
        "detect f32 n1 c4h1w4 k2 score0 overlap1 nchw t1",
        "detect f32 n1 c4h1w4 k2 classes2 together3 score0 overlap1 nchw t1",
        "detect f32 n1 c4h1w4 k2 classes2 score-inf overlap1 nchw t1",
        "detect f16 n1 c4h1w4 k2 classes2 score0 overlap1 nchw t1",
        "resize f32 n1 c4h4w4 linear nchw t1",
        "resize f32 n1 c4h4w4 to8x8 nchw t1",
        "resize f32 n1 c4h4w4 to8x8 linear scale2 nchw t1",
        "resize f32 n1 c4h4w4 to8x8 linear scale-1,-1 nchw t1",
        "resize f32 n1 c4h4w4 to2x2 linear scale1e-9,1e-9 antialias nchw t1",
        "resize f32 n1 c4h4w4 to8x8 linear tf_crop_and_resize nchw t1",
    ],
)
def test_bad_key_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="problem"):
        _core.parse_problem(bad)


@pytest.mark.parametrize(("key", "algorithm", "isa"), CASES)
def test_problem(key: str, algorithm: str, isa: str) -> None:
    p, v, want = solved(key)
    layer = _core.Layer(key, algorithm, isa, v.get("w"), v.get("b"))
    # What lies around an input must not be read into a result: it is NaN.
    x_buffer, x = guarded(input_array(v["x"], p, layer.width), hole(p["in_dtype"]))
    operand = None
    if "operand" in v:
        flat = to_layout(v["operand"], p["out_layout"], layer.width, p["operand_pitch"])
        _, operand = guarded(flat, np.nan)
    dtype = p["out_dtype"]
    y_buffer, y = guarded(np.empty(layer.y_count, dtype), 0)
    y_buffer.view(np.uint8)[:] = SENTINEL
    y[:] = hole(dtype)

    before = x_buffer.copy()
    layer.run(x, operand, y)

    np.testing.assert_array_equal(x_buffer, before, "the input was changed")
    shape = (p["n"], *p["out"])
    got, lanes, others = from_layout(y, shape, p["out_layout"], layer.width, p["out_pitch"])
    assert is_hole(others).all(), "wrote outside its slice"
    if p["kind"] == "move" and p["out"] != p["in"]:  # the other channels stay as they were
        first, end = p["first"], p["first"] + p["in"][0]
        assert is_hole(np.delete(got, range(first, end), 1)).all(), "wrote other channels"
        got = got[:, first:end]
        if end < p["out"][0]:
            assert is_hole(lanes).all(), "wrote padding lanes"
            lanes = np.zeros(0)
    if BOUNDS[algorithm] == 0:
        np.testing.assert_array_equal(got, want)
    else:
        error = np.abs(got - want).max() / max(np.sqrt(np.mean(want**2)), 1e-30)
        assert error <= BOUNDS[algorithm]
    if dtype not in (np.int8, np.uint8):  # behind bytes there may be anything
        assert not lanes.any(), "padding lanes are not zero"
    outside = np.r_[y_buffer[: GUARD + 1], y_buffer[GUARD + 1 + len(y) :]]
    outside = outside.view(np.uint8)
    assert (outside == SENTINEL).all(), "wrote outside the output"


def test_weights_are_rounded_by_output_channel_whatever_their_shape() -> None:
    key = "matmul f32 n1 c13h3w5 k31 wint8 nhwc t1"
    p = _core.parse_problem(key)
    v = operands(p)
    results = []
    for shape in ((31, 195), (31 * 195,), (31, 13, 3, 5)):
        layer = _core.Layer(key, "direct", ISAS[0], v["w"].reshape(shape))
        y = np.empty(layer.y_count, np.float32)
        layer.run(to_layout(v["x"], "nhwc", layer.width), None, y)
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_every_algorithm_runs_somewhere() -> None:
    """Every algorithm accepts problems on every ISA; every line runs on a fast one if there is."""
    ran = Counter((algorithm, isa) for _, algorithm, isa in CASES)
    integers = {a for a in _core.algorithms() if a.startswith("integer-")}  # test_integers.py
    rest = set(_core.algorithms()) - integers
    here = [a for a in rest if _core.find_nnpack()[0] or not a.startswith("nnpack")]
    assert all(ran[a, isa] > 0 for a in here for isa in ISAS), ran
    assert set(BOUNDS) == rest


def test_threads_do_not_change_results() -> None:
    """A split over threads computes each output the same way."""
    for line in LINES:
        head = line.rsplit(" ", 1)[0]
        results = []
        for threads in (1, 4):
            key = f"{head} t{threads}"
            p = _core.parse_problem(key)
            v = operands(_core.parse_problem(line))
            for algorithm in ("direct", "pool", "elementwise"):
                if _core.refusal(key, algorithm, ISAS[0]):
                    continue
                layer = _core.Layer(key, algorithm, ISAS[0], v.get("w"), v.get("b"))
                x = input_array(v["x"], p, layer.width)
                operand = v.get("operand")
                if operand is not None:
                    operand = to_layout(operand, p["out_layout"], layer.width, p["operand_pitch"])
                y = np.zeros(layer.y_count, np.float32)
                layer.run(x, operand, y)
                results.append(y)
        if len(results) == 2:
            np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
