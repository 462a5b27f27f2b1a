"""What layers of Caffe's forks mean, as those published them; RULES is the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, LONGEST_AXIS, Shape
from ._caffe_functions import channels_of
from ._caffe_layers import normalized, reduced, reshaped
from ._caffe_weights import Rule, Weighted
from ._caffe_windows import CONVOLUTION, first_places, pinned
from ._translator import Unsupported

_INFERENCE = 1  # of BNMode


def _relu6(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    limits = [reader.number(layer, key, limit) for key, limit in (("min", 0), ("max", 6))]
    reader.add(layer.name, "Clip", inputs + limits, outputs)


def _mish(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """x * tanh(log(1 + exp(x)))"""
    reader.add(layer.name, "Mish", inputs, outputs)


def _permute(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Axes in another order; those not named follow as they are."""
    order, rank = list(layer.permute_param.order), len(reader.shape(inputs[0]))
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise Unsupported(f"order {order} is not one of {rank} axes")
    reader.add(layer.name, "Transpose", inputs, outputs, perm=order)
    if order[0] != 0:  # the batch is an axis like others then, as long as the prototxt says
        sizes = reader.sizes(inputs[0])
        reader.shapes[outputs[0]] = tuple(sizes[axis] for axis in order)


def _shuffle_channel(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Channels of all groups in turn: the first of each, the second of each, ..."""
    shape, group = reader.shape(inputs[0]), layer.shuffle_channel_param.group
    if len(shape) != 4 or not group or shape[1] % group:
        raise Unsupported(f"group {group} does not divide the channels of {list(shape)}")
    apart, turned = (reader.names.fresh(f"{outputs[0]}.{what}") for what in ("apart", "turned"))
    parts = [0, group, shape[1] // group, *shape[2:]]
    target = reader.constant(f"{apart}.shape", np.array(parts, np.int64))
    reader.add(apart, "Reshape", [inputs[0], target], [apart])
    reader.add(turned, "Transpose", [apart], [turned], perm=[0, 2, 1, 3, 4])
    reshaped(reader, layer, [turned], outputs, list(shape))


def _bn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The BN of forks: SegNet's is folded to a factor and a summand for each channel when its mode
    is INFERENCE; others have these and the running mean and variance.
    """
    param = layer.bn_param
    c = channels_of(reader, inputs[0])
    folded = param.bn_mode == _INFERENCE
    if param.HasField("bn_mode") and not folded:
        raise Unsupported("bn_mode: LEARN (statistics of the batch) is not supported")
    blobs = [blob.ravel() for blob in reader.blobs(layer, *[(1, c, 1, 1)] * (2 if folded else 4))]
    mean, variance = (np.zeros(c), np.ones(c)) if folded else blobs[2:]
    normalized(
        reader,
        layer,
        inputs,
        outputs,
        scale=blobs[0],
        bias=blobs[1],
        mean=mean,
        variance=variance,
        epsilon=0.0 if folded else param.eps,
    )


def _axpy(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The first bottom, a number per channel of each image, times the second, plus the third."""
    factor, x, y = inputs
    product = reader.names.fresh(f"{outputs[0]}.product")
    reader.add(product, "Mul", [x, factor], [product])
    reader.add(layer.name, "Add", [product, y], outputs)


def _normalize(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Divided by the root of the sum of squares, of each pixel or each image, times a scale."""
    param = layer.norm_param
    x, shape = inputs[0], reader.shape(inputs[0])
    c = channels_of(reader, x)
    (scale,) = reader.blobs(layer, () if param.channel_shared else (c,))
    axes = range(1, len(shape) if param.across_spatial else 2)
    square = reduced(reader, layer, "SumSquare", x, axes)
    total = reader.part(layer, "Add", [square, reader.number(layer, "eps", param.eps)])
    y = reader.part(layer, "Div", [x, reader.part(layer, "Sqrt", [total])], shape)
    wide = scale.reshape(-1, *(1,) * (len(shape) - 2)) if scale.ndim else scale
    y = reader.part(layer, "Mul", [y, reader.constant(f"{layer.name}.scale", wide)])
    reader.finish(layer, y, outputs[0])


def image_shape(reader: Weighted, x: str) -> Shape:
    shape = reader.shape(x)
    if len(shape) != 4:
        raise Unsupported(f"its input has {len(shape)} axes; expected an image")
    return shape


def _interp(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Bilinear, with the corners of input and output in the same places; negative pads crop."""
    param = layer.interp_param
    x, shape = inputs[0], image_shape(reader, inputs[0])
    begin, end = param.pad_beg, param.pad_end
    if begin > 0 or end > 0:
        raise Unsupported(f"pad_beg {begin} and pad_end {end} are not 0 or negative")
    if param.shrink_factor < 1 or param.zoom_factor < 1:
        raise Unsupported("shrink_factor and zoom_factor have to be positive")
    left = [n + begin + end for n in shape[2:]]
    if min(left) < 1:
        raise Unsupported(f"pad_beg {begin} and pad_end {end} leave nothing of the image")
    factors = param.HasField("shrink_factor") or param.HasField("zoom_factor")
    if len(inputs) == 2:
        sizes = list(image_shape(reader, inputs[1])[2:])
    elif factors:
        shrunk = [(n - 1) // param.shrink_factor + 1 for n in left]
        sizes = [n + (n - 1) * (param.zoom_factor - 1) for n in shrunk]
    else:
        sizes = [param.height, param.width]
    if not 1 <= min(sizes) <= max(sizes) < LONGEST_AXIS:
        raise Unsupported(f"height and width {sizes} have to be positive")
    if len(inputs) == 2 or factors:
        for value in inputs:
            x = pinned(reader, layer, value) if value == inputs[0] else x
    if begin or end:
        sections = [
            reader.integers(layer, what, values)
            for what, values in (
                ("begins", [-begin] * 2),
                ("ends", [n + end for n in shape[2:]]),
                ("axes", [2, 3]),
            )
        ]
        x = reader.part(layer, "Slice", [x, *sections])
    target = reader.integers(layer, "sizes", sizes)
    how = {"mode": "linear", "coordinate_transformation_mode": "align_corners", "axes": [2, 3]}
    y = reader.part(layer, "Resize", [x, "", "", target], (*shape[:2], *sizes), **how)
    reader.finish(layer, y, outputs[0])


def _upsample(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Every pixel becomes `scale` pixels a side; with a second bottom only the one where a pool
    found it, and the others zero.
    """
    param = layer.upsample_param
    shape = image_shape(reader, inputs[0])
    scale = [
        getattr(param, key) if param.HasField(key) else param.scale
        for key in ("scale_h", "scale_w")
    ]
    sizes = [n * s for n, s in zip(shape[2:], scale)]
    if not 1 <= min(sizes) <= max(sizes) < LONGEST_AXIS:
        raise Unsupported(f"scale {scale} of {shape[2]}x{shape[3]} is not supported")
    if len(inputs) == 2:
        sizes = [
            getattr(param, key) if param.HasField(key) else n - getattr(param, cut)
            for n, key, cut in zip(sizes, ("upsample_h", "upsample_w"), ("pad_out_h", "pad_out_w"))
        ]
        if reader.places.get(inputs[1]) != (scale, tuple(sizes)):
            raise Unsupported(
                f"its second bottom has to be that of a MAX pool of {sizes[0]}x{sizes[1]} with "
                f"kernel and stride {scale}"
            )
        _back_to_places(reader, layer, inputs, outputs, scale)
        return
    if any(param.HasField(key) for key in ("upsample_h", "upsample_w", "pad_out_h", "pad_out_w")):
        raise Unsupported("upsample_h, upsample_w and pad_out are for a second bottom, of places")
    scales = reader.constant(f"{layer.name}.scales", np.array([1, 1, *scale], np.float32))
    reader.add(layer.name, "Upsample", [inputs[0], scales], outputs)
    reader.shapes[outputs[0]] = (*shape[:2], *sizes)


def _back_to_places(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], scale: list[int]
) -> None:
    """What a pool found goes where it found it: each place of a window in turn, side by side as
    channels, then every one to its place.
    """
    x, where = inputs
    batch, c, high, wide = shape = reader.shape(x)
    if reader.shape(where) != shape:
        raise Unsupported(f"its bottoms have shapes {list(shape)} and {list(reader.shape(where))}")
    _, size = reader.places[where]
    first = first_places(reader, layer, shape[2:], scale, size[1])
    off = reader.part(layer, "Sub", [where, first])
    phases = []
    for begin in np.ndindex(*scale):
        place = reader.number(layer, "place", begin[0] * size[1] + begin[1])
        gap = reader.part(layer, "Sub", [off, place])
        gap = reader.part(layer, "Abs", [reader.part(layer, "Sign", [gap])])  # 0 where it is here
        here = reader.part(layer, "Sub", [reader.number(layer, "one", 1), gap], shape)
        phases.append(reader.part(layer, "Mul", [x, here]))
    split = (batch, *scale, c, high, wide)
    y = reader.part(layer, "Concat", phases, axis=1)
    y = reader.part(layer, "Reshape", [y, reader.integers(layer, "parts", split)], split)
    order = [0, 3, 4, 1, 5, 2]
    y = reader.part(layer, "Transpose", [y], tuple(split[axis] for axis in order), perm=order)
    target = (batch, c, high * scale[0], wide * scale[1])
    y = reader.part(layer, "Reshape", [y, reader.integers(layer, "shape", target)], target)
    if target[2:] != size:
        sections = [
            reader.integers(layer, what, values)
            for what, values in (("begins", [0, 0]), ("ends", size), ("axes", [2, 3]))
        ]
        y = reader.part(layer, "Slice", [y, *sections])
    reader.finish(layer, y, outputs[0], (batch, c, *size))


def _reorg(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The pixels of each square of `stride` a side become channels; `reverse` undoes it.

    Darknet's loops take the numbers of an image of C channels for one of C / stride^2 channels,
    `stride` times as high and wide, and what they make of it again for C channels.
    """
    param = layer.reorg_param
    batch, c, high, wide = shape = image_shape(reader, inputs[0])
    s = param.stride
    fits = 0 < s < LONGEST_AXIS and c % (s * s) == 0
    if not fits or (not param.reverse and (high % s or wide % s)):
        raise Unsupported(f"stride {s} does not divide {list(shape)}")
    # Channel = (row in the square, column in it, channel of the wide image).
    split, order = [c // (s * s), high, s, wide, s], [0, 3, 5, 1, 2, 4]
    target = [batch, c * s * s, high // s, wide // s]
    if param.reverse:
        split, order = [s, s, c // (s * s), high, wide], [0, 3, 4, 1, 5, 2]
        target = [batch, c // (s * s), high * s, wide * s]
    x = reader.part(
        layer,
        "Reshape",
        [inputs[0], reader.integers(layer, "parts", [batch, *split])],
        (batch, *split),
    )
    turned = [(batch, *split)[axis] for axis in order]
    x = reader.part(layer, "Transpose", [x], tuple(turned), perm=order)
    reshaped(reader, layer, [x], outputs, target)


def _region_yolo(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """What Darknet's layers `region`, with do_softmax, and `yolo` make of an anchor's channels (as
    OpenVINO's pages define it): places x and y, and whether it holds something, become parts of
    one, and so do classes; or these become probabilities, and all numbers of an image one row.
    """
    param = layer.region_yolo_param
    batch, c, high, wide = shape = image_shape(reader, inputs[0])
    count = param.num if param.do_softmax else len(param.mask) or param.num
    size = param.coords + 1 + param.classes
    if param.coords < 2 or not param.classes or c != count * size:
        raise Unsupported(
            f"{count} anchors of {param.coords} places and {param.classes} classes do not fit "
            f"{c} channels"
        )
    axes = (layer.flatten_param.axis, layer.flatten_param.end_axis)
    if param.do_softmax and axes not in ((1, -1), (1, 3)):
        raise Unsupported(f"axes {axes[0]} to {axes[1]} cannot be joined, only 1 to 3")
    x = reader.names.fresh(f"{layer.name}.anchors")
    reshaped(reader, layer, inputs, [x], [batch, count, size, high, wide])

    def part(begin: int, end: int, *operators: str) -> str:
        known = (batch, count, end - begin, high, wide)
        cut = (("begins", [begin]), ("ends", [end]), ("axes", [2]))
        y = reader.part(layer, "Slice", [x, *(reader.integers(layer, *a) for a in cut)], known)
        for op in operators:
            y = reader.part(layer, op, [y], known, **({"axis": 2} if op == "Softmax" else {}))
        return y

    parts = [part(0, 2, "Sigmoid")]
    if param.coords > 2:
        parts.append(part(2, param.coords))
    if param.do_softmax:
        parts.append(part(param.coords, param.coords + 1, "Sigmoid"))
        parts.append(part(param.coords + 1, size, "Softmax"))
    else:
        parts.append(part(param.coords, size, "Sigmoid"))
    y = reader.part(layer, "Concat", parts, (batch, count, size, high, wide), axis=2)
    target = [batch, c * high * wide] if param.do_softmax else list(shape)
    reshaped(reader, layer, [y], outputs, target)


def _regions(reader: Weighted, inputs: list[str]) -> tuple[int, int]:
    """How many regions there are, and channels of an image."""
    rois = [n for n in reader.shape(inputs[1])[1:] if n != 1]
    if rois != [5]:
        raise Unsupported(f"its regions have shape {list(reader.shape(inputs[1]))}, not 5 numbers")
    return reader.sizes(inputs[1])[0], image_shape(reader, inputs[0])[1]


def _flat_regions(reader: Weighted, layer: Any, rois: str, count: int) -> str:
    if len(reader.shape(rois)) == 2:
        return rois
    return reader.part(
        layer, "Reshape", [rois, reader.integers(layer, "rois", [-1, 5])], (count, 5)
    )


def _roi_pooling(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Of regions [regions, 5] of Fast R-CNN: the largest pixel of each bin."""
    param = layer.roi_pooling_param
    count, channels = _regions(reader, inputs)
    bins = [param.pooled_h, param.pooled_w]
    rois = _flat_regions(reader, layer, inputs[1], count)
    scale = {"pooled_shape": bins, "spatial_scale": param.spatial_scale}
    reader.add(layer.name, "MaxRoiPool", [inputs[0], rois], outputs, **scale)
    reader.shapes[outputs[0]] = (count, channels, *bins)


def _ps_roi_pooling(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Of R-FCN: the mean of each bin, of a channel of its own."""
    param = layer.psroi_pooling_param
    count, channels = _regions(reader, inputs)
    side = param.group_size
    if not side or channels != param.output_dim * side * side:
        raise Unsupported(f"{param.output_dim} x {side} x {side} bins are not {channels} channels")
    rois = _flat_regions(reader, layer, inputs[1], count)
    scale = {"group_size": side, "spatial_scale": param.spatial_scale}
    reader.add(layer.name, "PSRoiPool", [inputs[0], rois], outputs, **scale)
    reader.shapes[outputs[0]] = (count, param.output_dim, side, side)


def _ctc_greedy_decoder(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]
) -> None:
    """Of scores [T, N, classes] the best class of each step, but for blanks and what repeats the
    step before: [N, T, 1, 1], with -1 behind the last (OpenVINO's CTCGreedyDecoder). A sequence has
    its first step, and others up to the first of its indicators [T, N] that is 0.

    How many are kept up to a step is a product with a triangle of ones. It is the place of what is
    kept there, found by comparison with all places.
    """
    param = layer.ctc_decoder_param
    scores, indicators = (reader.sizes(x) for x in inputs)
    if len(scores) != 3 or (*indicators, 1, 1)[:4] != (*scores[:2], 1, 1):
        raise Unsupported(f"scores {list(scores)} and indicators {list(indicators)} do not fit")
    steps, n, classes = scores
    each, square = (n, steps), (n, steps, steps)
    reader.spend(4 * n * steps**2)

    def part(op: str, names: Sequence[str], shape: Shape = each, **attrs: Any) -> str:
        return reader.part(layer, op, names, shape, **attrs)

    def number(value: float) -> str:
        return reader.number(layer, "number", value)

    def integers(*values: int) -> str:
        return reader.integers(layer, "integers", values)

    def array(values: Any) -> str:
        return reader.constant(f"{layer.name}.array", np.asarray(values, np.float32))

    def differs(x: str, y: str, shape: Shape = each) -> str:  # 1, or 0 where they are equal
        return part("Sign", [part("Abs", [part("Sub", [x, y], shape)], shape)], shape)

    def but(x: str, shape: Shape = each) -> str:
        return part("Sub", [number(1), x], shape)

    x = part("Transpose", inputs[:1], (n, steps, classes), perm=[1, 0, 2])
    best = part("Cast", [part("ArgMax", [x], axis=2, keepdims=0)], to=ELEMENT_TYPES["float32"])
    best = part("Add", [best, number(1)])
    blank = param.blank_index if param.blank_index >= 0 else classes - 1
    kept = differs(best, number(blank + 1))
    if param.ctc_merge_repeated:
        before = part("Pad", [best, integers(0, 1, 0, 0)], (n, steps + 1))
        before = part("Slice", [before, integers(0), integers(steps), integers(1)])
        kept = part("Mul", [kept, differs(best, before)])
    triangle = np.triu(np.ones((steps, steps)))
    there = part("Reshape", [inputs[1], integers(steps, n)], (steps, n))
    there = part("Transpose", [there], perm=[1, 0])
    first = (np.arange(steps) > 0)[:, None]
    over = part("MatMul", [but(differs(there, number(0))), array(triangle * first)])
    kept = part("Mul", [kept, but(part("Sign", [over]))])
    place = part("Mul", [part("MatMul", [kept, array(triangle)]), kept])
    column = (n, steps, 1)
    wide = [part("Reshape", [value, integers(*column)], column) for value in (place, best)]
    here = but(differs(wide[0], array(np.arange(steps) + 1), square), square)
    y = part("ReduceSum", [part("Mul", [here, wide[1]], square), integers(1)], keepdims=0)
    y = part("Sub", [y, number(1)])
    y = part("Reshape", [y, integers(n, steps, 1, 1)], (n, steps, 1, 1))
    reader.finish(layer, y, outputs[0])


RULES: dict[str, Rule] = {
    "Axpy": Rule(_axpy, (3, 3)),
    "BN": Rule(_bn),
    "CTCGreedyDecoder": Rule(_ctc_greedy_decoder, (2, 2)),
    "ConvolutionDepthwise": CONVOLUTION,
    "DepthwiseConvolution": CONVOLUTION,
    "Interp": Rule(_interp, (1, 2)),
    "Mish": Rule(_mish),
    "Normalize": Rule(_normalize),
    "Permute": Rule(_permute),
    "PSROIPooling": Rule(_ps_roi_pooling, (2, 2)),
    "ReLU6": Rule(_relu6),
    "ROIPooling": Rule(_roi_pooling, (2, 2)),
    "RegionYolo": Rule(_region_yolo),
    "Reorg": Rule(_reorg),
    "ShuffleChannel": Rule(_shuffle_channel),
    "Upsample": Rule(_upsample, (1, 2)),
}
