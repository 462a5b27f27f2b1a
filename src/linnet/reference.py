"""What every operator means, in NumPy: slow, obviously correct, the oracle of the tests.

Operators follow the ONNX operator specification (opset 22), images are [N, C, H, W], pads are [top,
left, bottom, right]. Everything is computed in the precision of its arguments; `run` uses float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from .graph import Graph, Node

Array = npt.NDArray[Any]
Pair = Sequence[int]


def quantize(w: Array) -> tuple[Array, Array]:
    """float32 weights as int8 and one float32 scale for each index of axis 0: w is about q * scale.

    The scale of a row is its largest magnitude / 127, or 1 for a row of next to nothing; q is
    rounded to nearest even. This is DequantizeLinear's meaning of int8 without a zero point.
    ValueError if w is not finite.
    """
    if not np.isfinite(w).all():
        raise ValueError("has infinities or NaN")
    rows = w.reshape(len(w), -1)
    scale = np.abs(rows).max(axis=1).astype(np.float32) / np.float32(127)
    scale[scale < np.finfo(np.float32).tiny] = 1
    q = np.rint(rows / scale[:, None]).astype(np.int8)
    return q.reshape(w.shape), scale


def rounded(w: Array, dtype: str) -> Array:
    """The float32 weights that a layer has when they are kept as "f32", "f16" or "int8"."""
    if dtype == "int8":
        q, scale = quantize(w)
        return (q.reshape(len(w), -1) * scale[:, None]).reshape(w.shape)
    return w.astype(np.float16 if dtype == "f16" else np.float32).astype(np.float32)


def output_size(
    size: int, kernel: int, stride: int, pads: Pair, *, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """How many windows fit along one axis of length `size` with `pads` (before, after).

    With `ceil_mode` a last window may reach beyond the padding, but one that would start there is
    dropped (Caffe's pooling layer; ONNX since opset 19). ValueError if none fits.
    """
    room = size + sum(pads) - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise ValueError(
            f"kernel {kernel} with dilation {dilation} does not fit {size} + pads {list(pads)}"
        )
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + pads[0]:
        count -= 1
    return count


def _windows(
    x: Array,
    fill: float,
    kernel: Pair,
    *,
    strides: Pair,
    pads: Pair = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Array:
    """View of [N, C, H, W] as [N, C, OH, OW, R, S]; what is outside the image holds `fill`."""
    widths, counts = [(0, 0), (0, 0)], []
    for axis in (0, 1):
        size, begin, end = x.shape[2 + axis], pads[axis], pads[2 + axis]
        count = output_size(
            size,
            kernel[axis],
            strides[axis],
            (begin, end),
            dilation=dilations[axis],
            ceil_mode=ceil_mode,
        )
        reach = (count - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        widths.append((begin, max(end, reach - begin - size)))
        counts.append(count)
    x = np.pad(x, widths, constant_values=fill)
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel))
    windows = sliding_window_view(x, span, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return windows[:, :, : counts[0], : counts[1]]


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    group: int = 1,
) -> Array:
    """Cross-correlation of x [N, C, H, W] with w [K, C/group, R, S], plus b [K]: [N, K, OH, OW]."""
    if w.shape[0] % group or x.shape[1] != w.shape[1] * group:
        raise ValueError(f"weights {w.shape} with group {group} do not fit the input {x.shape}")
    windows = _windows(x, 0, w.shape[2:], strides=strides, pads=pads, dilations=dilations)
    filters, channels = w.shape[0] // group, w.shape[1]
    y = np.empty((len(x), w.shape[0], *windows.shape[2:4]), np.result_type(x, w))
    for image, out in zip(windows, y):  # one at a time: tensordot copies the windows it is given
        for g in range(group):
            k = slice(g * filters, (g + 1) * filters)
            c = slice(g * channels, (g + 1) * channels)
            out[k] = np.tensordot(w[k], image[c], axes=((1, 2, 3), (0, 3, 4)))
    return y if b is None else y + b.reshape(-1, 1, 1)


def max_pool(
    x: Array,
    kernel: Pair,
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Array:
    """Largest value of each window; padding never wins."""
    how = {"strides": strides, "pads": pads, "dilations": dilations}
    return np.asarray(_windows(x, -np.inf, kernel, **how, ceil_mode=ceil_mode).max((-2, -1)))


def average_pool(
    x: Array,
    kernel: Pair,
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0, 0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """Mean of each window over the image's pixels or, with `count_include_pad`, padding included.

    What `ceil_mode` adds beyond the padding never counts (as in Caffe, and in ONNX since opset 19).
    """
    top, left, bottom, right = pads
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    edge = ((0, 0), (0, 0), (top, bottom), (left, right))
    counted = np.pad(counted, edge, constant_values=1 if count_include_pad else 0)
    count = _windows(counted, 0, kernel, strides=strides, ceil_mode=ceil_mode)
    total = _windows(x, 0, kernel, strides=strides, pads=pads, ceil_mode=ceil_mode)
    # The padded ones may have a last window that the image drops as it starts in the padding.
    count = count[:, :, : total.shape[2], : total.shape[3]]
    return np.asarray(total.sum((-2, -1)) / count.sum((-2, -1)))


def global_average_pool(x: Array) -> Array:
    return np.asarray(x.mean((2, 3), keepdims=True))


def global_max_pool(x: Array) -> Array:
    return np.asarray(x.max((2, 3), keepdims=True))


def gemm(a: Array, b: Array, c: Array | None = None) -> Array:
    """Fully connected layer: a [N, in], b [out, in] (ONNX's transB=1), c [out]: [N, out]."""
    y = a @ b.T
    return y if c is None else y + c


def relu(x: Array) -> Array:
    """Negative values become 0; NaN stays."""
    return np.asarray(np.maximum(x, 0))


def softmax(x: Array, axis: int = 1) -> Array:
    """exp(x) scaled to the sum 1 along `axis`; x is shifted by its maximum lest it overflow."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """ONNX Reshape: 0 keeps the axis, one -1 is inferred."""
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def conv_fused(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Pair = (1, 1),
    pads: Pair = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    group: int = 1,
    residual: Array | None = None,
    relu: bool = False,
    pool: Mapping[str, Any] | None = None,
) -> Array:
    """One fused convolution: bias, then `residual` added, then ReLU, then max pooling.

    `pool` holds the keyword arguments of max_pool.
    """
    y = conv(x, w, b, strides=strides, pads=pads, dilations=dilations, group=group)
    if residual is not None:
        y = y + residual
    if relu:
        y = np.maximum(y, 0)
    return y if pool is None else max_pool(y, **pool)


def _conv_node(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    names = ("strides", "pads", "dilations", "group")
    return conv(x, w, b, **{name: node.attrs[name] for name in names if name in node.attrs})


def _max_pool_node(node: Node, x: Array) -> Array:
    names = ("strides", "pads", "dilations", "ceil_mode")
    arguments = {name: node.attrs[name] for name in names if name in node.attrs}
    return max_pool(x, node.attrs["kernel_shape"], **arguments)


def _average_pool_node(node: Node, x: Array) -> Array:
    names = ("strides", "pads", "ceil_mode", "count_include_pad")
    arguments = {name: node.attrs[name] for name in names if name in node.attrs}
    return average_pool(x, node.attrs["kernel_shape"], **arguments)


# One row per canonical operator: node, then its inputs, to its output.
_OPERATORS: dict[str, Callable[..., Array]] = {
    "Conv": _conv_node,
    "MaxPool": _max_pool_node,
    "AveragePool": _average_pool_node,
    "GlobalAveragePool": lambda node, x: global_average_pool(x),
    "GlobalMaxPool": lambda node, x: global_max_pool(x),
    "Gemm": lambda node, a, b, c=None: gemm(a, b, c),
    "Relu": lambda node, x: relu(x),
    "Add": lambda node, x, y: x + y,
    "Concat": lambda node, *parts: np.concatenate(parts, node.attrs["axis"]),
    "Softmax": lambda node, x: softmax(x, node.attrs.get("axis", -1)),
    "Flatten": lambda node, x: x.reshape(len(x), -1),
    "Reshape": lambda node, x, shape: reshape(x, shape.tolist()),
}


def run(
    graph: Graph,
    feeds: Mapping[str, Array],
    dtype: npt.DTypeLike = np.float64,
    fetch: Sequence[str] | None = None,
) -> dict[str, Array]:
    """Evaluate a canonical graph in `dtype`: {name: array} of its outputs, or of the values in
    `fetch`.
    """
    values = {name: np.asarray(array, dtype) for name, array in feeds.items()}
    for name, array in graph.initializers.items():
        values[name] = array if array.dtype.kind == "i" else array.astype(dtype)
    for node in graph.nodes:
        arguments = [values[name] if name else None for name in node.inputs]
        values[node.outputs[0]] = _OPERATORS[node.op](node, *arguments)
    return {name: values[name] for name in (graph.outputs if fetch is None else fetch)}
