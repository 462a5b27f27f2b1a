"""Caffe models (https://github.com/BVLC/caffe, version 1.0) to a Graph.

The network is what Caffe builds from the prototxt in its TEST phase, in the form of 2015 (`layer`),
2014 (`layers`) or 2013 (a `layer` in each of `layers`); the weights are those of the caffemodel's
layers of the same names. Layers that only training and scoring need (losses, Accuracy) are left
out. A blob that several layers write in place has its last writer's value under its name, but an
input keeps its own. A field that is neither known nor known not to matter is an error, as it is in
Caffe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import LONGEST_AXIS, Graph, Layer, Shape
from ..preprocess import PREPROCESS
from . import (
    _caffe_boxes,
    _caffe_forks,
    _caffe_functions,
    _caffe_layers,
    _caffe_places,
    _caffe_windows,
)
from ._caffe_binary import carried
from ._caffe_layers import layer_type, passes_on
from ._caffe_mean import record
from ._caffe_text import Network, parse
from ._caffe_v0 import is_old, upgraded
from ._caffe_weights import Rule, Weighted, layers_of
from ._source import Source
from ._translator import MissingOperator, Unsupported

_RULES = {
    **_caffe_layers.RULES,
    **_caffe_functions.RULES,
    **_caffe_windows.RULES,
    **_caffe_places.RULES,
    **_caffe_forks.RULES,
    **_caffe_boxes.RULES,
}
_SINKS = ("Accuracy", "HDF5Output", "Silence")  # and every loss
_STATE = ": they keep a state from one step of a sequence to the next, linnet's networks have none"
_REGIONS = ": regions that a network finds in an image, and of each its own part, are not supported"
_DETECTIONS = ": leave this layer out, its bottoms are outputs then, and find the boxes yourself"
_FINDERS = (
    "RegionOutput",
    "YoloDetectionOutput",
    "YoloV3DetectionOutput",
)
_INSTEAD = {  # what else there is to say of layers that are not supported
    **dict.fromkeys(("LSTM", "RNN", "LSTMUnit", "Lstm"), _STATE),
    **dict.fromkeys(_FINDERS, _DETECTIONS),
    **dict.fromkeys(("Proposal", "ROIAlign"), _REGIONS),
    **dict.fromkeys(
        ("BatchReindex", "Filter"), ": which images are left depends on what they hold"
    ),
}
_TRAIN = 0  # of caffe.proto's Phase
_TRANSFORM = "transform_param."


def read(
    prototxt: Source,
    caffemodel: Source | None = None,
    *,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Shape],
) -> Graph:
    """The graph of a prototxt with the weights of a caffemodel, or of a caffemodel that holds both.

    stages: of the network's state, beside those the prototxt says. shapes: of inputs by name,
    instead of the prototxt's, 0 where that counts.
    ValueError if a file is damaged. What is wrong with single layers is
    left in the graph for passes.canonicalize to report together.
    """
    try:
        if prototxt.suffix == ".caffemodel":
            caffemodel = prototxt
            network = carried(caffemodel)
        else:
            network = parse(prototxt.read(), str(prototxt))
        return _Reader(prototxt, network, caffemodel, stages, shapes).graph
    except UnicodeDecodeError:
        raise ValueError(f"{caffemodel}: a name is not valid UTF-8") from None


def _included(layer: Any, level: int, stages: set[str]) -> bool:
    """Whether the layer exists in the TEST phase, at this level, with these stages."""

    def met(rule: Any) -> bool:
        return (
            not (rule.HasField("phase") and rule.phase == _TRAIN)
            and not (rule.HasField("min_level") and level < rule.min_level)
            and not (rule.HasField("max_level") and level > rule.max_level)
            and stages.issuperset(rule.stage)
            and stages.isdisjoint(rule.not_stage)
        )

    if layer.include:
        return any(map(met, layer.include))
    return not any(map(met, layer.exclude))


def _fields(paths: Sequence[str]) -> str:
    what = "a field that is" if len(paths) == 1 else "fields that are"
    return f"has {what} not known: {', '.join(path[:100] for path in dict.fromkeys(paths))}"


def _of_rules(paths: Sequence[str]) -> list[str]:
    """Those of a layer that is left out which may be why: no settings of what it would compute."""
    setting = re.compile(r"\w+_param($|\.)")
    return [path for path in paths if not setting.match(path)]


class _Reader(Weighted):
    """One translation, from the parsed files to `graph`."""

    def __init__(
        self,
        source: Source,
        network: Network,
        caffemodel: Source | None,
        stages: Sequence[str],
        given: Mapping[str, Shape],
    ) -> None:
        net = network.net
        self.source = source
        self.given = given  # shapes of inputs
        self.unknown: dict[int, list[str]] = {}  # fields by the layer's id
        self.untold: dict[int, list[str]] = {}  # those of its transform_param
        self.current: dict[str, str] = {}  # blob to the value it holds at this point
        self.tops: list[str] = []  # every layer's values
        self.read: set[str] = set()  # those that a layer has read
        self.silenced: set[str] = set()  # those that are not wanted
        self.declared: set[str] = set()  # inputs

        state = {*net.state.stage, *stages}
        every = list(layers_of(net, source))
        every = upgraded(every) if any(map(is_old, every)) else every
        layers = [layer for layer in every if _included(layer, net.state.level, state)]
        super().__init__(
            net.name, source, (blob for layer in layers for blob in layer.top), layers, caffemodel
        )
        self._unknown_fields(network, every, layers)
        self.names.update(net.input)
        writers = [layer for layer in layers if not _does_nothing(layer)]
        self.writes = Counter(blob for layer in writers for blob in layer.top)  # still to come
        self._net_inputs(net)
        scored: set[str] = set()
        for layer in layers:
            kind = layer_type(layer)
            if _scores(kind):
                scored.update(self.current.get(blob, blob) for blob in layer.bottom)
                if kind == "Silence":
                    self.silenced.update(self.current.get(blob, blob) for blob in layer.bottom)
            elif _does_nothing(layer):
                values = [self.current.get(blob, blob) for blob in layer.top]
                self.graph.layers.append(Layer(layer.name, kind, values))
            else:
                self._layer(layer, kind)
        if self.weights is None and self.weighted:
            names = ", ".join(sorted(self.weighted)[:8])
            self.problem(f"layers with weights ({names}) need the .caffemodel as well")
        graph = self.graph
        # Labels: nothing but a loss or a score reads them.
        graph.inputs = [v for v in graph.inputs if v.name in self.read or v.name not in scored]
        graph.outputs = [name for name in self.tops if name not in self.read | self.silenced]
        self.settle(graph.outputs)
        # A layer's name is one for its blob, too: what it computes in place has no other.
        graph.aliases = {layer.name: layer.values[0] for layer in graph.layers if layer.values}
        self._preprocess(layers)
        if not graph.outputs:
            raise ValueError(f"{source}: not a network (it has no layers that compute something)")

    def _unknown_fields(
        self, network: Network, every: Sequence[Any], layers: Sequence[Any]
    ) -> None:
        """Note those of the layers; report those of no layer that is translated."""
        if network.unknown:
            self.problem(f"the network {_fields(network.unknown)}")
        kept = {id(layer) for layer in layers}
        for layer, unknown in zip(every, network.unknown_in_layers):
            kind = layer_type(layer)
            paths = [path for path in unknown if not path.startswith(_TRANSFORM)]
            self.untold[id(layer)] = [path for path in unknown if path not in paths]
            if id(layer) in kept and not _scores(kind) and kind != "Input":
                self.unknown[id(layer)] = paths
                continue
            left_out = kind != "Input" or id(layer) not in kept
            if wrong := _of_rules(paths) if left_out else paths:
                self.problem(f"layer '{layer.name}' ({kind}) {_fields(wrong)}")

    def _net_inputs(self, net: Any) -> None:
        shapes = [list(shape.dim) for shape in net.input_shape]
        if not shapes:
            dims = list(net.input_dim)
            shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        if len(shapes) != len(net.input) or (net.input_dim and len(net.input_dim) % 4):
            raise ValueError(
                f"{self.source}: {len(net.input)} 'input' and {len(shapes)} shapes "
                "(input_shape, or four input_dim each)"
            )
        for blob, dims in zip(net.input, shapes):
            self._declare(blob, dims)

    def _preprocess(self, layers: Sequence[Any]) -> None:
        """Note how pictures become the input, if there is a single one and its layer says so."""
        if len(self.graph.inputs) != 1:
            return
        name, shape, _ = self.graph.inputs[0]
        for layer in layers:
            inside = layer_type(layer) in ("Input", "MemoryData") and name in layer.top
            if inside and layer.HasField("transform_param") and shape[1:2] in ((1,), (3,)):
                text = record(layer, shape[1], self.untold[id(layer)], self.source)
                self.graph.metadata[PREPROCESS] = text

    def _declare(self, blob: str, dims: list[int]) -> None:
        if blob in self.current:
            raise ValueError(f"{self.source}: the input '{blob}' is defined twice")
        self.batch = self.batch or (dims[0] if dims else 0)
        alone = dims[:1] != [self.batch]  # its first axis is not the batch
        given = self.given.get(blob, ())
        if len(given) == len(dims):
            dims = [n or size for n, size in zip(given, dims)]
        if not dims or not 1 <= min(dims) <= max(dims) < LONGEST_AXIS:
            raise ValueError(f"{self.source}: the input '{blob}' has the shape {dims}")
        self.current[blob] = blob
        self.declared.add(blob)
        self.input(blob, dims)
        if alone:
            self.shapes[blob] = tuple(dims)

    def _layer(self, layer: Any, kind: str) -> None:
        if kind == "Input":
            shapes = [list(shape.dim) for shape in layer.input_param.shape]
            if len(shapes) not in (1, len(layer.top)):
                raise ValueError(
                    f"{self.source}: layer '{layer.name}' (Input) has {len(shapes)} shapes"
                )
            for index, blob in enumerate(layer.top):
                self.writes[blob] -= 1
                self._declare(blob, shapes[index % len(shapes)])
            return
        if kind == "MemoryData" and not self.unknown[id(layer)] and self._memory_data(layer):
            return
        inputs = [self.current.get(blob, "") for blob in layer.bottom]
        outputs = []
        for blob in layer.top:
            # The blob's last writer gets its name, unless that is an input's.
            self.writes[blob] -= 1
            last = self.writes[blob] == 0 and blob not in self.declared
            outputs.append(blob if last else self.names.fresh(f"{blob}.{layer.name}"))
        with self.attempt(kind, layer.name, [value for value in inputs if value], outputs):
            self._translate(layer, kind, inputs, outputs)
        self.graph.layers.append(Layer(layer.name, kind, outputs))
        self.tops += outputs
        self.read.update(inputs)
        self.current.update(zip(layer.top, outputs))

    def _memory_data(self, layer: Any) -> bool:
        """Images and labels that a program hands over, as it does those of an Input; their sizes
        have to be there.
        """
        param = layer.memory_data_param
        image = [param.batch_size, param.channels, param.height, param.width]
        if 0 in image:
            return False
        for blob, dims in zip(layer.top, (image, image[:1])):
            self.writes[blob] -= 1
            self._declare(blob, dims)
        return True

    def _translate(self, layer: Any, kind: str, inputs: list[str], outputs: list[str]) -> None:
        if kind.endswith("Data"):
            tops = " ".join(f'top: "{blob}"' for blob in layer.top[:1])
            raise Unsupported(
                "reads a data set; instead, write an Input layer with the shape of the images: "
                f'layer {{ name: "{layer.name}" type: "Input" {tops} input_param '
                "{ shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }; with the transform_param in it, "
                "it says how pictures become the input"
            )
        if kind == "Python":
            name = f"{layer.python_param.module}.{layer.python_param.layer}"
            raise MissingOperator(f"layers written in Python are not supported ({name})")
        if kind not in _RULES:
            reason = "layers of this type are not supported"
            raise MissingOperator(reason + _INSTEAD.get(kind, ""))
        if self.unknown[id(layer)]:
            raise Unsupported(_fields(self.unknown[id(layer)]))
        for blob, value in zip(layer.bottom, inputs):
            if not value:
                raise Unsupported(f"no layer before it produces its bottom '{blob}'")
        for blob in layer.top:
            if blob in self.current and blob not in layer.bottom:
                raise Unsupported(f"its top '{blob}' is already produced by another layer")
        rule = _RULES[kind]
        fits = [
            least <= len(blobs) <= most
            for (least, most), blobs in ((rule.bottoms, inputs), (rule.tops, outputs))
        ]
        if not all(fits) or (rule.pairs and len(inputs) != len(outputs)):
            wanted = "as many tops as bottoms" if rule.pairs else _counts(rule)
            raise Unsupported(
                f"has {len(inputs)} bottoms and {len(outputs)} tops, expected {wanted}"
            )
        rule.translate(self, layer, inputs, outputs)


def _does_nothing(layer: Any) -> bool:
    """Whether it passes its input on in place: it is not there at all then."""
    return passes_on(layer, layer_type(layer)) and layer.top == layer.bottom


def _scores(kind: str) -> bool:
    """Whether layers of this type are there for training and scoring only."""
    return kind in _SINKS or kind.endswith("Loss")


def _counts(rule: Rule) -> str:
    texts = [str(a) if a == b else f"{a} to {b}" for a, b in (rule.bottoms, rule.tops)]
    return f"{texts[0]} and {texts[1]}"
