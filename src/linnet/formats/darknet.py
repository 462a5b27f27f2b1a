"""Darknet models (https://github.com/pjreddie/darknet and AlexeyAB's fork) to a Graph.

Two files: layers as text, `NAME.cfg`, and their weights, `NAME.weights`. Layers are called by their
type and number, as `convolutional_0`. The boxes that the layers `yolo` and `region` find are those
that OpenCV 4's dnn gives: of each image [boxes, 5 + classes] of centre, width and height as parts
of the image's, whether there is something, and the classes' probabilities: 0 where they are small,
or where a box that overlaps has a higher one. All boxes are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Graph, Shape, Value
from ..graph import Layer as Group
from ..preprocess import PREPROCESS, Preprocess
from ._boxes import regrouping
from ._channels_first import ChannelsFirst, Step, beside
from ._darknet_files import Section, Weights, sections
from ._source import Source
from ._translator import MissingOperator, Unsupported

_EPSILON = 1e-6  # what OpenCV adds to variances
_LEAK = 0.1
_LEAST_YOLO, _LEAST_REGION = 0.2, 0.001  # no larger a probability is 0 in OpenCV, by default
_MOST_BOXES = 1 << 20
_OVERLAP_REGION = 0.4  # OpenCV's, whatever the file says
_ACTIVATIONS = {
    "elu": "Elu",
    "gelu": "Gelu",
    "logistic": "Sigmoid",
    "mish": "Mish",
    "relu": "Relu",
    "selu": "Selu",
    "swish": "Swish",
    "tanh": "Tanh",
}
# Settings of training, and of how it is computed.
_HARMLESS = re.compile(
    r"learning_rate|momentum|decay|batch|subdivisions|absolute|jitter|random|rescore|truth_thresh|"
    r"ignore_thresh|iou_\w+|cls_normalizer|obj_normalizer|delta_normalizer|\w+_scale|bias_match|"
    r"max|beta_nms|nms_kind|max_delta|label_smooth_eps|counters_per_class|focal_loss|probability|"
    r"stopbackward|onlyforward|objectness_smooth|show_details|track_\w+|burnin_update|resize|type|"
    r"dropblock\w*"
)
_STATE = ": it keeps a state from one step of a sequence to the next, linnet's networks have none"
_INSTEAD = dict.fromkeys(("rnn", "lstm", "gru", "crnn", "conv_lstm"), _STATE)


def read(
    model: Source, weights: Source | None = None, *, shapes: Mapping[str, Shape] | None = None
) -> Graph:
    """The graph of a .cfg file with a .weights file, by default the one beside it.

    shapes: of the input, "data", instead of the file's. ValueError if a file is damaged. What is
    wrong with single layers is left in the graph for passes.canonicalize to report together.
    """
    found = sections(model)
    if weights is None:
        weights = beside(model, _beside, "NAME.weights")
    return _Reader(model, found, Weights(weights), shapes or {}).graph


def _beside(name: str) -> tuple[str, str]:
    return name.removesuffix(".cfg"), ".weights"


class _Reader(ChannelsFirst):
    """One translation, from the parsed files to `graph`."""

    def __init__(
        self,
        source: Source,
        found: Sequence[Section],
        weights: Weights,
        given: Mapping[str, Shape],
    ) -> None:
        self.layers = found[1:]
        self.weights = weights
        self.lost = False  # where the next weights are is not known
        self.made = [f"{layer.kind}_{index}" for index, layer in enumerate(self.layers)]
        super().__init__("", str(source), ["data", *self.made])
        net = found[0]
        try:
            sizes = [net.integer(key) for key in ("channels", "height", "width")]
        except Unsupported as error:
            raise ValueError(f"{source}: {error}") from None
        shape = given.get("data") or (0, *sizes)
        if len(shape) != 4 or min(shape[1:]) < 1:
            raise ValueError(f"{source}: its input has the shape {list(shape[1:])}")
        self.graph.inputs.append(Value("data", shape))
        self.shapes["data"] = (0, *shape[1:])
        self.graph.metadata[PREPROCESS] = Preprocess(scale=1 / 255).text()  # as Darknet loads them
        read: set[str] = set()
        for index, layer in enumerate(self.layers):
            read.update(self._layer(index, layer))
        self.graph.outputs = [name for name in self.made if name not in read]
        if not self.made:
            raise ValueError(f"{source}: not a network (it has no layers)")

    def _layer(self, index: int, layer: Section) -> list[str]:
        """The values that it reads."""
        output = self.made[index]
        before = self.made[index - 1] if index else "data"
        inputs = [before]
        try:
            inputs = self._sources(index, layer, before)
            wrong = None
        except Unsupported as error:
            wrong = error
        with self.attempt(layer.kind, output, inputs, [output]):
            if wrong is not None:
                raise wrong
            rule = _RULES.get(layer.kind)
            if rule is None:
                self.lost = self.lost or layer.kind not in _BARE
                reason = "layers of this type are not supported"
                raise MissingOperator(reason + _INSTEAD.get(layer.kind, ""))
            if any(name in self.failed for name in inputs):
                self.lost = True
                raise Unsupported("")
            call = _Call(self, layer, output, inputs)
            call.by(rule)
            left = [k for k in layer.settings if k not in layer.read and not _HARMLESS.fullmatch(k)]
            if left:
                raise Unsupported(f"has a setting that is not known: {left[0][:100]}")
        if output in self.failed and layer.kind in _WEIGHTED:
            self.lost = True
        self.graph.layers.append(Group(output, layer.kind, [output]))
        return inputs

    def _sources(self, index: int, layer: Section, before: str) -> list[str]:
        if layer.kind == "route":
            places = layer.integers("layers")
        elif layer.kind in ("shortcut", "scale_channels", "sam"):
            places = [index - 1, *layer.integers("from")]
        else:
            return [before]
        places = [index + place if place < 0 else place for place in places]
        if not places or not all(0 <= place < index for place in places):
            raise Unsupported("reads a layer that is not before it, or none")
        return [self.made[place] for place in places]


class _Call(Step):
    """A section, the values it reads and the one it makes."""

    def __init__(self, reader: _Reader, layer: Section, output: str, inputs: Sequence[str]) -> None:
        super().__init__(reader, output, inputs, [output])
        self.layer = layer
        self._file = reader

    def arrays(self, *counts: int) -> list[Array]:
        """The next weights of the file."""
        if self._file.lost:
            raise Unsupported("")
        return [self._file.weights.take(count) for count in counts]

    def activated(self, x: str, default: str = "") -> str:
        kind = self.layer.text("activation", default)
        if kind == "linear":
            return x
        if kind == "leaky":
            return self.part("LeakyRelu", [x], alpha=_LEAK)
        if kind == "relu6":
            return self.clipped(x, 0, 6)
        if kind == "hardtan":
            return self.clipped(x, -1, 1)
        if kind not in _ACTIVATIONS:
            raise Unsupported(f"its activation is '{kind[:40]}', which is not supported")
        return self.part(_ACTIVATIONS[kind], [x])


def _convolutional(call: _Call) -> str:
    get, channels = call.layer.integer, call.image()[1]
    filters, size, group = get("filters", 1), get("size", 1), get("groups", 1)
    strides = [get(f"stride_{axis}", get("stride", 1)) for axis in "yx"]
    pad = size // 2 if get("pad") else get("padding")
    normalizes, dilation = call.layer.flag("batch_normalize"), get("dilation", 1)
    for key in (
        "binary",
        "xnor",
        "flipped",
        "antialiasing",
        "share_index",
        "sway",
        "rotate",
        "stretch",
        "stretch_sway",
        "deform",
        "bin_output",
    ):
        if call.layer.flag(key):
            raise Unsupported(f"with {key} is not supported")
    least, most = min(filters, size, group, dilation, *strides), max(size, pad, dilation, *strides)
    if least < 1 or not 0 <= pad <= most < 1 << 16 or channels % group or filters % group:
        raise Unsupported(f"{filters} filters of size {size} in {group} groups of {channels}")
    bias, *rest = call.arrays(filters, *[filters] * 3 * normalizes)
    shape = (filters, channels // group, size, size)
    (weights,) = call.arrays(filters * (channels // group) * size * size)
    inputs = [call.x, call.constant("weight", weights.reshape(shape))]
    inputs += [] if normalizes else [call.constant("bias", bias)]
    y = call.part(
        "Conv",
        inputs,
        kernel_shape=[size] * 2,
        strides=strides,
        pads=[pad] * 4,
        dilations=[dilation] * 2,
        group=group,
    )
    if normalizes:
        y = call.normalized(y, [rest[0], bias, *rest[1:]], _EPSILON)
    return call.activated(y)


def _connected(call: _Call) -> str:
    count = call.layer.integer("output", 1)
    shape = call.known(call.x)
    wanted = int(np.prod(shape[1:], dtype=object))
    if count < 1:
        raise Unsupported(f"its output is {count}")
    normalizes = call.layer.flag("batch_normalize")
    bias, weights, *rest = call.arrays(count, count * wanted, *[count] * 3 * normalizes)
    x = call.part("Flatten", [call.x], axis=1) if len(shape) > 2 else call.x
    names = [call.constant("weight", weights.reshape(count, wanted))]
    names += [] if normalizes else [call.constant("bias", bias)]
    y = call.part("Gemm", [x, *names], transB=1)
    if normalizes:
        y = call.normalized(y, [rest[0], bias, *rest[1:]], _EPSILON)
    return call.activated(y)


def _batchnorm(call: _Call) -> str:
    count = call.shape()[1]
    bias, scale, mean, variance = call.arrays(*[count] * 4)
    return call.normalized(call.x, [scale, bias, mean, variance], _EPSILON)


def _maxpool(call: _Call) -> str:
    """With so many pixels of padding in all, the smaller half of them before the image."""
    get = call.layer.integer
    call.image()
    stride = get("stride", 1)
    strides = [get(f"stride_{axis}", stride) for axis in "yx"]
    size = get("size", stride)
    pad = get("padding", size - 1)
    if get("maxpool_depth") or get("antialiasing"):
        raise Unsupported("over channels, or with antialiasing, is not supported")
    if min(size, *strides) < 1 or not 0 <= pad < 1 << 16:
        raise Unsupported(f"size {size}, stride {strides}, padding {pad}")
    before = pad // 2
    return call.part(
        "MaxPool",
        [call.x],
        kernel_shape=[size] * 2,
        strides=strides,
        pads=[before] * 2 + [pad - before] * 2,
    )


def _avgpool(call: _Call) -> str:
    call.image()
    return call.part("GlobalAveragePool", [call.x])


def _route(call: _Call) -> str:
    groups, number = call.layer.integer("groups", 1), call.layer.integer("group_id")
    parts = []
    for index, x in enumerate(call.inputs):
        channels = call.image(index)[1]
        if groups < 1 or channels % groups or not 0 <= number < groups:
            raise Unsupported(f"part {number} of {groups} of {channels} channels")
        each = channels // groups
        parts.append(call.cut(x, 1, number * each, (number + 1) * each) if groups > 1 else x)
    return call.part("Concat", parts, axis=1) if len(parts) > 1 else parts[0]


def _shortcut(call: _Call) -> str:
    if call.layer.text("weights_type", "none") != "none":
        raise Unsupported("with weights is not supported")
    call.layer.text("weights_normalization")
    shapes = [call.image(index) for index in range(len(call.inputs))]
    if len(set(shapes)) > 1:
        raise Unsupported(f"of values of different shapes: {[list(s[1:]) for s in shapes]}")
    y = call.inputs[0]
    for x in call.inputs[1:]:
        y = call.part("Add", [y, x])
    return call.activated(y, "linear")


def _scale_channels(call: _Call) -> str:
    """The layer it names times the one before it, which has a number for each channel or pixel."""
    if call.layer.flag("scale_wh"):
        raise Unsupported("with scale_wh is not supported")
    return call.activated(call.part("Mul", [call.input(1), call.x]), "linear")


def _upsample(call: _Call) -> str:
    stride, scale = call.layer.integer("stride", 2), call.layer.real("scale", 1)
    call.image()
    if not 1 <= stride < 1 << 16:
        raise Unsupported(f"its stride is {stride}")
    scales = call.constant("scales", np.array([1, 1, stride, stride], np.float32))
    y = call.part(
        "Resize",
        [call.x, "", scales],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return y if scale == 1 else call.part("Mul", [y, call.number(scale)])


def _reorg(call: _Call) -> str:
    stride, back = call.layer.integer("stride", 1), call.layer.flag("reverse")
    if call.layer.flag("flatten") or call.layer.integer("extra"):
        raise Unsupported("with flatten or extra is not supported")
    steps = regrouping(call.image(), stride, back)
    y = call.reshaped(call.x, [0, *steps.split])
    return call.reshaped(call.part("Transpose", [y], perm=steps.order), [0, *steps.target])


def _softmax(call: _Call) -> str:
    if call.layer.integer("groups", 1) != 1 or call.layer.text("tree"):
        raise Unsupported("of groups or a tree is not supported")
    temperature, x = call.layer.real("temperature", 1), call.x
    call.layer.integer("spatial")
    if temperature <= 0:
        raise Unsupported(f"its temperature is {temperature:g}")
    if temperature != 1:
        x = call.part("Div", [x, call.number(temperature)])
    return call.part("Softmax", [x], axis=1)


def _identity(call: _Call) -> str:
    return call.x


def _yolo(call: _Call) -> str:
    """Boxes of the anchors that `mask` names, of sizes in pixels of the image."""
    get, anchors = call.layer.integer, call.layer.reals("anchors")
    mask, count = call.layer.integers("mask"), get("num", 1)
    mask = mask or list(range(min(count, len(anchors))))
    if len(anchors) % 2 or not all(0 <= place < len(anchors) // 2 for place in mask):
        raise Unsupported(f"{len(anchors)} numbers of anchors do not fit the mask {mask[:20]}")
    sizes = np.array(anchors).reshape(-1, 2)[mask]
    image = call.reader.graph.inputs[0].shape
    return _boxes(
        call,
        sizes / [image[3], image[2]],
        softmax=False,
        least=call.layer.real("thresh", _LEAST_YOLO),
        stretch=call.layer.real("scale_x_y", 1),
        raw=call.layer.flag("new_coords"),
        overlap=call.layer.real("nms_threshold"),
    )


def _region(call: _Call) -> str:
    """Boxes of all anchors, of sizes in cells."""
    anchors, count = call.layer.reals("anchors"), call.layer.integer("num", 1)
    if call.layer.integer("coords", 4) != 4 or call.layer.text("tree") or call.layer.text("map"):
        raise Unsupported("of other than four coordinates, or with a tree, is not supported")
    if call.layer.integer("classfix"):
        raise Unsupported("with classfix is not supported")
    if call.layer.flag("background") or len(anchors) != 2 * count:
        raise Unsupported(f"{len(anchors)} numbers of anchors do not fit {count}, or a background")
    high, wide = call.image()[2:]
    sizes = np.array(anchors).reshape(-1, 2) / [wide, high]
    call.layer.real("nms_threshold")
    return _boxes(
        call,
        sizes,
        least=call.layer.real("thresh", _LEAST_REGION),
        softmax=call.layer.flag("softmax"),
        stretch=1,
        raw=False,
        overlap=_OVERLAP_REGION,
    )


def _boxes(
    call: _Call,
    sizes: Array,
    *,
    least: float,
    softmax: bool,
    stretch: float,
    raw: bool,
    overlap: float,
) -> str:
    """[N, cells x anchors, 5 + classes]. sizes [anchors, 2]: width and height of each, as parts of
    the image. `raw`: the layer before it has made parts of one of all numbers. `overlap`: beyond
    it, the box with the lower probability of a class gets 0; 0 leaves all.
    """
    classes, (_, channels, high, wide) = call.layer.integer("classes", 20), call.image()
    count, each = len(sizes), classes + 5
    if classes < 1 or not count or channels != count * each:
        raise Unsupported(f"{count} anchors of {classes} classes do not fit {channels} channels")
    cells = high * wide
    if cells * count > _MOST_BOXES:
        raise Unsupported(f"{count} anchors for each of {high}x{wide} cells")
    x = call.reshaped(call.x, [0, count, each, cells])
    x = call.reshaped(call.part("Transpose", [x], perm=[0, 3, 1, 2]), [0, cells * count, each])

    def columns(begin: int, end: int, op: str = "", **attrs: int) -> str:
        y = call.cut(x, 2, begin, end)
        return call.part(op, [y], **attrs) if op else y

    gate = "" if raw else "Sigmoid"
    rows, columns_of = np.divmod(np.arange(cells), wide)
    places = np.stack([columns_of, rows], 1).repeat(count, 0)
    # (part - 1/2) * stretch + 1/2 of a cell
    at = (places + 0.5 - 0.5 * stretch) / [wide, high]
    by = np.broadcast_to(stretch / np.array([wide, high]), at.shape)
    centre = call.part("Mul", [columns(0, 2, gate), call.constant("cell", by[None])])
    centre = call.part("Add", [centre, call.constant("corner", at[None])])
    side = columns(2, 4, "" if raw else "Exp")
    side = call.part("Mul", [side, side]) if raw else side
    whole = np.tile(sizes * (4 if raw else 1), (cells, 1))[None]
    side = call.part("Mul", [side, call.constant("sizes", whole)])
    found = columns(4, 5, gate)
    kinds = columns(5, each, "Softmax", axis=2) if softmax else columns(5, each, gate)
    kinds = call.part("Mul", [kinds, found])
    over = call.part("Sub", [kinds, call.number(least, "least")])
    kinds = call.part("Mul", [kinds, call.part("Relu", [call.part("Sign", [over])])])
    if overlap:
        kept = call.part("Concat", [centre, side], axis=2)
        kept = _kept(call, kept, kinds, (cells * count, classes), score=least, overlap=overlap)
        kinds = call.part("Mul", [kinds, kept])
    return call.part("Concat", [centre, side, found, kinds], axis=2)


def _kept(call: _Call, boxes: str, kinds: str, shape: tuple[int, int], **limits: float) -> str:
    """[N, boxes, classes]: 1 where a box stays of those of a class that overlap, else 0.

    Detections says which stay, in the order of their probabilities. Sorted with all places there
    are, each just before its own, they push apart two places that else are neighbours.
    """
    places = shape[0] * shape[1]
    rows = places + 1
    if limits["overlap"] < 0 or places >= _MOST_BOXES:
        given = f"nms_threshold {limits['overlap']:g}"
        raise Unsupported(f"{given} of {shape[0]} boxes of {shape[1]} classes is not supported")
    how = {"rows": rows, "places": 1, "classes": shape[1], "centers": 1, **limits}
    y = call.part("Detections", [call.reshaped(boxes, [0, shape[0], 1, 4]), kinds], **how)
    y = call.part("Cast", [y], to=ELEMENT_TYPES["float32"])
    # Of [-1 if there is none, class, box] the place; what is left over comes last.
    y = call.part("Mul", [y, call.constant("counts", np.array([-places, 1.0, shape[1]]))])
    y = call.part("ReduceSum", [y, call.integers("axis", [2])], keepdims=0)
    first = call.constant("first", np.array([[[1.0], [0.0]]]))
    y = call.part("Mul", [call.reshaped(y, [0, 1, rows]), first])
    both = np.stack([np.full(rows, -0.5), np.arange(-1, places)])
    y = call.part("Add", [y, call.constant("places", both[None])])
    y = call.reshaped(y, [0, 2 * rows])
    for _ in range(2):  # the order, then the place of each in it
        y = call.part("TopPlaces", [y], axis=1, top=2 * rows, smallest=1)
        y = call.part("Cast", [y], to=ELEMENT_TYPES["float32"])
    before, after = call.cut(y, 1, rows, 2 * rows - 1), call.cut(y, 1, rows + 1, 2 * rows)
    between = call.part("Sub", [call.part("Sub", [after, before]), call.number(1, "next")])
    return call.reshaped(between, [0, *shape])


_RULES: dict[str, Callable[[_Call], str]] = {
    "avgpool": _avgpool,
    "batchnorm": _batchnorm,
    "connected": _connected,
    "conv": _convolutional,
    "convolutional": _convolutional,
    "cost": _identity,
    "dropout": _identity,
    "max": _maxpool,
    "maxpool": _maxpool,
    "region": _region,
    "reorg": _reorg,
    "route": _route,
    "sam": _scale_channels,
    "scale_channels": _scale_channels,
    "shortcut": _shortcut,
    "soft": _softmax,
    "softmax": _softmax,
    "upsample": _upsample,
    "yolo": _yolo,
}
_WEIGHTED = ("batchnorm", "connected", "conv", "convolutional")
_BARE = ("crop", "detection", "Gaussian_yolo", "reorg3d", "normalization", "local_avgpool", "empty")
