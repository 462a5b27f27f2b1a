"""What TensorFlow's operators on images mean: convolutions, pools, normalisation, other sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _channels_last as nhwc
from ._channels_last import Kernel
from ._tf_op import Step
from ._translator import Unsupported


def _padding(step: Step) -> Any:
    padding = step.text("padding", "", "SAME", "VALID", "EXPLICIT")
    explicit = step.integers("explicit_paddings")
    if padding != "EXPLICIT":
        return padding
    if len(explicit) != 8:
        raise Unsupported(f"its explicit_paddings are {explicit}")
    first = 2 if step.channels_last() else 4
    top, bottom, left, right = explicit[first : first + 4]
    if sum(map(abs, explicit)) != top + bottom + left + right or min(explicit) < 0:
        raise Unsupported(f"its explicit_paddings are {explicit}")
    return [top, left, bottom, right]


def _weights(step: Step, index: int, rank: int = 4) -> tuple[str, tuple[int, ...]]:
    shape = step.shape(index)
    if len(shape) != rank or 0 in shape:
        raise Unsupported(f"its weights have the shape {list(shape)}")
    return step.input(index), shape


def conv(step: Step) -> None:
    name, shape = _weights(step, 1)
    axes = "HWCM" if step.op.kind.startswith("Depthwise") else "HWIO"
    strides, dilations = step.spatial("strides"), step.spatial("dilations")
    padding = _padding(step)
    block = step.reader.blocks.get(step.x)
    if block:
        # A convolution of every block-th pixel is one with holes in it.
        if padding != "VALID" or strides != [1, 1] or dilations != [1, 1]:
            raise Unsupported(
                "between SpaceToBatchND and BatchToSpaceND only convolutions without padding, "
                "strides and dilations are supported"
            )
        dilations = block

    def rule(x: str, y: str) -> None:
        kernel = Kernel(name, shape, axes)
        nhwc.conv(step.reader, x, y, kernel, strides=strides, dilations=dilations, padding=padding)

    step.between(rule, first=False)
    if block:
        step.reader.blocks[step.y] = block


def _transposed(step: Step) -> None:
    """The gradient of a convolution: sizes of the result, weights, what is convolved."""
    name, shape = _weights(step, 1)
    strides, padding = step.spatial("strides"), _padding(step)
    if step.spatial("dilations") != [1, 1]:
        raise Unsupported("a transposed convolution with dilations is not supported")
    sizes = step.constant(0, "size")
    rank = 2 if sizes.size == 2 else 4
    last = step.channels_last()
    wanted = sizes.reshape(-1).tolist()
    wanted = wanted if rank == 2 else wanted[1:3] if last else wanted[2:4]
    if len(wanted) != 2 or not all(isinstance(n, int) for n in wanted):
        raise Unsupported("its size is computed from one that the model leaves open")

    def rule(x: str, y: str) -> None:
        kernel = Kernel(name, shape, "HWOI")
        nhwc.transposed_conv(
            step.reader, x, y, kernel, strides=strides, padding=padding, sizes=wanted
        )

    step.inputs = [step.input(2)]
    step.between(rule, first=False)


def _pool(step: Step) -> None:
    op = "MaxPool" if step.op.kind.startswith("Max") else "AveragePool"
    window, strides, padding = step.spatial("ksize"), step.spatial("strides"), _padding(step)

    def rule(x: str, y: str) -> None:
        nhwc.pool(step.reader, op, x, y, window=window, strides=strides, padding=padding)

    step.between(rule, first=False)


def _batch_norm(step: Step) -> None:
    if step.flag("is_training", True):
        raise Unsupported("is_training is set: export the graph for inference")
    names = [step.input(index) for index in range(1, 5)]
    epsilon = step.number("epsilon", 1e-4)

    def rule(x: str, y: str) -> None:
        step.add("BatchNormalization", [x, *names], y, epsilon=epsilon)

    step.between(rule, first=True)


def _bias(step: Step) -> None:
    bias = step.input(1)
    rank = len(step.shape())
    if not step.channels_last() and rank > 2:
        axes = step.make("axes", np.arange(1, rank - 1))
        bias = step.add("Unsqueeze", [bias, axes], step.fresh("bias"))
    step.add("Add", [step.x, bias])


def _resize(step: Step) -> None:
    mode = "linear" if step.op.kind == "ResizeBilinear" else "nearest"
    coordinates = "asymmetric"
    if step.flag("align_corners"):
        coordinates = "align_corners"
    if step.flag("half_pixel_centers"):
        if coordinates == "align_corners":
            raise Unsupported("align_corners and half_pixel_centers are both set")
        coordinates = "half_pixel"
    sizes = step.ints(1, "size")
    if len(sizes) != 2:
        raise Unsupported(f"its size is {sizes}")
    nhwc.resize(step.reader, step.x, step.y, sizes=sizes, mode=mode, coordinates=coordinates)


def _blocks(step: Step) -> None:
    size = step.integer("block_size", 0)

    def rule(x: str, y: str) -> None:
        nhwc.blocks(step.reader, step.op.kind, x, y, size)

    step.between(rule, first=False)


def _local_response(step: Step) -> None:
    radius, bias = step.integer("depth_radius", 5), step.number("bias", 1)
    alpha, beta = step.number("alpha", 1), step.number("beta", 0.5)
    nhwc.local_response(
        step.reader, step.x, step.y, radius=radius, bias=bias, alpha=alpha, beta=beta
    )


def _block_shape(step: Step) -> list[int]:
    block = step.ints(1, "block shape")
    if len(step.shape()) != 4 or len(block) not in (1, 2) or min(block) < 1:
        raise Unsupported(f"its block shape is {block}, of {len(step.shape())} axes")
    return [*block, 1][:2]


def _space_to_batch(step: Step) -> None:
    """The padding alone: what follows is done on the image as a whole, `Reader.blocks`."""
    block = _block_shape(step)
    if step.x in step.reader.blocks:
        raise Unsupported("one SpaceToBatchND after the other is not supported")
    pads = _borders(step, step.input(2), len(step.ints(1, "block shape")))
    _bordered(step, pads)
    step.reader.blocks[step.y] = block


def _borders(step: Step, table: str, axes: int) -> str:
    """A table [[before, behind], ...] of the axes after the batch as a Pad's list of all axes."""
    flat = step.add("Transpose", [table], step.fresh("turned"), perm=[1, 0])
    zero, end = step.make("zeros", np.zeros((2, 1))), step.make("rest", np.zeros((2, 3 - axes)))
    zero, end = (step.add("Cast", [x], step.fresh("zero"), to=7) for x in (zero, end))
    flat = step.add("Cast", [flat], step.fresh("long"), to=7)
    whole = step.add("Concat", [zero, flat, end], step.fresh("all"), axis=1)
    return step.add("Reshape", [whole, step.make("shape", [-1])], step.fresh("pads"))


def _batch_to_space(step: Step) -> None:
    """The cropping alone."""
    block = _block_shape(step)
    if step.reader.blocks.get(step.x) != block:
        raise Unsupported("is not after a SpaceToBatchND of the same blocks")
    pads = _borders(step, step.input(2), len(step.ints(1, "block shape")))
    crops = step.add("Neg", [pads], step.fresh("crops"))
    _bordered(step, crops)


def _bordered(step: Step, pads: str) -> None:
    """An image with other borders, which may depend on sizes that are open."""
    step.add("Pad", [step.x, pads])
    n, *_, channels = step.shape()
    step.reader.shapes.setdefault(step.y, (n, 0, 0, channels))


RULES: dict[str, Callable[[Step], None]] = {
    "AvgPool": _pool,
    "BatchToSpaceND": _batch_to_space,
    "BiasAdd": _bias,
    "Conv2D": conv,
    "Conv2DBackpropInput": _transposed,
    "DepthToSpace": _blocks,
    "DepthwiseConv2dNative": conv,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "LRN": _local_response,
    "MaxPool": _pool,
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "SpaceToBatchND": _space_to_batch,
    "SpaceToDepth": _blocks,
}
