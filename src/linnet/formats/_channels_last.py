"""What windows and the like mean in sources that keep channels last: TensorFlow, Keras, TFLite.

A reader calls these on its own values, [N, H, W, C] or [N, W, C]: each adds ONNX's operator, which
has channels first, between two Transposes. passes.layout takes away those that meet. The shape of
the result is known afterwards, 0 where a size is open. `name` is the node's,
by default its result's. What does not fit raises Unsupported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from ..graph import LONGEST_AXIS, Node, Shape
from ._translator import Translator, Unsupported

# "SAME", "VALID" or explicit zeros: [top, left, bottom, right], [left, right] of rows.
Padding = Union[str, Sequence[int]]


class Kernel(NamedTuple):
    """Weights: the value's name, its shape, and what its axes are.

    Of a convolution "HWIO" or "OHWI", or "IHWO" with one input for each output (TFLite's
    depthwise); "HWCM" where each channel C has M filters of its own (TensorFlow's). Of a transposed
    one the same with O the channels of its result. "WIO" and so on for rows.
    """

    name: str
    shape: Shape
    axes: str

    def size(self, letters: str) -> list[int]:
        if len(self.shape) != len(self.axes):
            raise Unsupported(f"weights {list(self.shape)} are not of the form {self.axes}")
        return [self.shape[self.axes.index(letter)] for letter in letters]

    @property
    def window(self) -> list[int]:
        """Height and width, or the width."""
        return self.size("".join(letter for letter in self.axes if letter in "HW"))


def first(reader: Translator, x: str) -> str:
    """`x` with its channels first, of any rank."""
    rank = len(reader.shape(x))
    name = reader.names.fresh(f"{x}.turned")  # what comes of x beneath it is called x.nchw
    return _transpose(reader, x, name, [0, rank - 1, *range(1, rank - 1)])


def last(reader: Translator, x: str, y: str) -> None:
    """`y` is `x` with its first channels last."""
    _transpose(reader, x, y, [0, *range(2, len(reader.shape(x))), 1])


def conv(
    reader: Translator,
    x: str,
    y: str,
    kernel: Kernel,
    bias: str = "",
    *,
    name: str = "",
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    padding: Padding = "VALID",
) -> None:
    """A convolution. Its groups are as many as its kernel's inputs fit into the channels of `x`;
    each channel is one if the kernel says "HWCM".
    """
    shape, window = _image(reader, x, kernel.window), kernel.window
    strides, dilations = strides or [1] * len(window), dilations or [1] * len(window)
    channels, depthwise = shape[-1], "M" in kernel.axes
    inputs = 1 if depthwise else kernel.size("I")[0]
    if inputs < 1 or channels % inputs:
        raise Unsupported(f"weights {list(kernel.shape)} do not fit {channels} channels")
    if depthwise and kernel.size("C") != [channels]:
        raise Unsupported(f"weights {list(kernel.shape)} are not those of {channels} channels")
    if depthwise:
        target = reader.constant(f"{y}.filters", np.array([*window, -1, 1], np.int64))
        flat = reader.names.fresh(f"{y}.weights")
        reader.graph.nodes.append(Node("Reshape", flat, [kernel.name, target], [flat]))
        count = channels * kernel.size("M")[0]
        kernel = Kernel(flat, (*window, count, 1), kernel.axes.replace("CM", "OI"))
    (filters,) = kernel.size("O")
    weights = _reordered(reader, y, kernel, "OI")
    attrs = {"strides": list(strides), "dilations": list(dilations), "group": channels // inputs}
    attrs["kernel_shape"] = window
    values = [x, weights, *[bias] * bool(bias)]
    inner = _between(reader, "Conv", name or y, values, attrs, padding=padding)
    _settle(reader, inner, y, (shape[0], filters, *_sizes(shape[1:-1], attrs, padding)))


def transposed_conv(
    reader: Translator,
    x: str,
    y: str,
    kernel: Kernel,
    bias: str = "",
    *,
    name: str = "",
    strides: Sequence[int] = (),
    padding: Padding = "VALID",
    sizes: Sequence[int] = (),
) -> None:
    """A transposed convolution: what a convolution with these strides and this padding does to
    gradients. `sizes` are height and width of the result, by default TensorFlow's.
    """
    shape, window = _image(reader, x, kernel.window), kernel.window
    strides = strides or [1] * len(window)
    if kernel.size("I") != [shape[-1]]:
        raise Unsupported(f"weights {list(kernel.shape)} do not fit {shape[-1]} channels")
    (filters,) = kernel.size("O")
    weights = _reordered(reader, y, kernel, "IO")
    before, behind, more, made = [], [], [], []
    for i, (n, k, stride) in enumerate(zip(shape[1:-1], window, strides)):
        # How much the whole is larger than what is asked for. Of an open size, the default alone.
        surplus = k - stride if padding == "SAME" else min(k - stride, 0)
        if not isinstance(padding, str):
            surplus = padding[i] + padding[i + len(window)]
        if sizes:
            if not n:
                raise Unsupported("its result has a fixed size, its input an open one")
            surplus = stride * (n - 1) + k - sizes[i]
        cut = max(surplus, 0)
        before.append(padding[i] if not isinstance(padding, str) else cut // 2)
        if padding == "VALID":
            before[-1] = 0
        behind.append(cut - before[-1])
        more.append(max(-surplus, 0))
        made.append(stride * (n - 1) + k - surplus if n else 0)
    if min(*before, *behind, *(n + 1 for n in more)) < 0:
        raise Unsupported(f"its result cannot have the size {made}")
    attrs: dict[str, Any] = {"strides": list(strides), "kernel_shape": window}
    attrs.update(pads=before + behind, output_padding=more)
    values = [x, weights, *[bias] * bool(bias)]
    inner = _between(reader, "ConvTranspose", name or y, values, attrs)
    _settle(reader, inner, y, (shape[0], filters, *made))


def pool(
    reader: Translator,
    op: str,
    x: str,
    y: str,
    *,
    name: str = "",
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding = "VALID",
) -> None:
    """MaxPool, AveragePool or LpPool; the padding never counts."""
    shape = _image(reader, x, window)
    attrs: dict[str, Any] = {"kernel_shape": list(window), "strides": list(strides)}
    inner = _between(reader, op, name or y, [x], attrs, padding=padding)
    sizes = _sizes(shape[1:-1], {**attrs, "dilations": [1] * len(window)}, padding)
    _settle(reader, inner, y, (shape[0], shape[-1], *sizes))


def resize(
    reader: Translator,
    x: str,
    y: str,
    *,
    name: str = "",
    sizes: Sequence[int] | str = (),
    scales: Sequence[float] = (),
    mode: str = "linear",
    coordinates: str = "half_pixel",
) -> None:
    """Height and width as `sizes`, or a value of that name, or times `scales`; mode "linear" or
    "nearest".

    coordinates: "half_pixel", "align_corners" or, as before TensorFlow 2, "asymmetric".
    """
    shape = _image(reader, x, (0, 0))
    attrs: dict[str, Any] = {"axes": [2, 3], "mode": mode}
    attrs["coordinate_transformation_mode"] = coordinates
    if mode == "nearest":
        attrs["nearest_mode"] = "floor"
        if coordinates == "align_corners":
            attrs["nearest_mode"] = "round_prefer_ceil"
        elif coordinates == "half_pixel":
            attrs["coordinate_transformation_mode"] = "tf_half_pixel_for_nn"
    if isinstance(sizes, str):
        inputs, new = ["", "", sizes], [0, 0]
    elif sizes:
        if min(sizes) < 1:
            raise Unsupported(f"its result would have the size {list(sizes)}")
        inputs = ["", "", reader.constant(f"{y}.sizes", np.array(sizes, np.int64))]
        new = list(sizes)
    else:
        inputs = ["", reader.constant(f"{y}.scales", np.array(scales, np.float32))]
        new = [int(n * scale) for n, scale in zip(shape[1:3], scales)]
    inner = _between(reader, "Resize", name or y, [x, *inputs], attrs)
    _settle(reader, inner, y, (shape[0], shape[3], *new))


def blocks(reader: Translator, op: str, x: str, y: str, size: int, *, name: str = "") -> None:
    """DepthToSpace or SpaceToDepth, TensorFlow's order of channels."""
    n, high, wide, channels = _image(reader, x, (0, 0))
    if not 1 <= size < 1 << 15:
        raise Unsupported(f"its blocks have the size {size}")
    inner = _between(reader, op, name or y, [x], {"blocksize": size})
    new = (channels // size**2, high * size, wide * size)
    if op == "SpaceToDepth":
        new = (channels * size**2, high // size, wide // size)
    _settle(reader, inner, y, (n, *new))


def local_response(
    reader: Translator,
    x: str,
    y: str,
    *,
    name: str = "",
    radius: int,
    bias: float,
    alpha: float,
    beta: float,
) -> None:
    """LRN over 2 * radius + 1 channels; `alpha` is of their sum, where ONNX's is of their mean."""
    shape, size = _image(reader, x, (0, 0)), 2 * radius + 1
    if not 0 <= radius < 1 << 15:
        raise Unsupported(f"its radius is {radius}")
    attrs = {"size": size, "alpha": alpha * size, "beta": beta, "bias": bias}
    inner = _between(reader, "LRN", name or y, [x], attrs)
    _settle(reader, inner, y, (shape[0], shape[3], *shape[1:3]))


def _image(reader: Translator, x: str, window: Sequence[int]) -> Shape:
    shape = reader.shape(x)
    if len(shape) != len(window) + 2:
        raise Unsupported(
            f"its input has {len(shape)} axes, expected the batch, {len(window)} and channels"
        )
    return shape


def _between(
    reader: Translator,
    op: str,
    name: str,
    values: Sequence[str],
    attrs: dict[str, Any],
    *,
    padding: Padding = (),
) -> str:
    """The operator on the first of `values` with channels first: the name of its result."""
    auto = {"SAME": "SAME_UPPER", "VALID": "VALID"}
    if isinstance(padding, str):
        if padding not in auto:
            raise Unsupported(f"its padding is {padding!r}")
        attrs["auto_pad"] = auto[padding]
    elif padding:
        attrs["pads"] = list(padding)
    turned, inner = first(reader, values[0]), _fresh(reader, name)
    reader.graph.nodes.append(Node(op, name, [turned, *values[1:]], [inner], attrs))
    return inner


def _settle(reader: Translator, inner: str, y: str, shape: Sequence[int]) -> None:
    if max(shape) >= LONGEST_AXIS or min(shape) < 0:
        raise Unsupported(f"its result would be {list(shape)}")
    reader.shapes[inner] = tuple(shape)
    last(reader, inner, y)


def _sizes(sizes: Sequence[int], attrs: dict[str, Any], padding: Padding) -> list[int]:
    """Of the result of a window."""
    made = []
    for i, n in enumerate(sizes):
        key = ("kernel_shape", "strides", "dilations")
        kernel, stride, dilation = (attrs[name][i] for name in key)
        if min(kernel, stride, dilation) < 1:
            raise Unsupported(f"kernel {kernel}, stride {stride} and dilation {dilation}")
        if padding == "SAME":
            made.append(-(-n // stride))
            continue
        more = 0 if isinstance(padding, str) else padding[i] + padding[i + len(sizes)]
        room = n + more - dilation * (kernel - 1) - 1
        if n and room < 0:
            raise Unsupported(f"its window of {kernel} does not fit {n} numbers")
        made.append(room // stride + 1 if n else 0)
    return made


def _reordered(reader: Translator, y: str, kernel: Kernel, begin: str) -> str:
    """Name of the weights with their axes as ONNX has them: `begin`, then height and width."""
    target = begin + "".join(letter for letter in kernel.axes if letter in "HW")
    perm = [kernel.axes.index(letter) for letter in target]
    if perm == sorted(perm):
        return kernel.name
    name = reader.names.fresh(f"{y}.weights")
    reader.graph.nodes.append(Node("Transpose", name, [kernel.name], [name], {"perm": perm}))
    return name


def _transpose(reader: Translator, x: str, y: str, perm: list[int]) -> str:
    reader.graph.nodes.append(Node("Transpose", y, [x], [y], {"perm": perm}))
    shape = reader.shape(x)
    reader.shapes[y] = tuple(shape[axis] for axis in perm)
    return y


def _fresh(reader: Translator, name: str) -> str:
    return reader.names.fresh(f"{name}.nchw")
