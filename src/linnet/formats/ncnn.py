"""ncnn models (https://github.com/Tencent/ncnn, release 20261020) to a Graph.

Two files: layers as text, `NAME.param`, and their weights, `NAME.bin`. ncnn has no batch: inputs
and outputs have the file's shapes, [C, H, W], [H, W] or [W], and within the graph 1 before them. An
input that the file gives no size for has the channels that its first layer has weights for; height
and width are open unless a fully connected layer allows a single square, or `shapes` says them.
Weights of float16, of int8 with scales, and of a table are the numbers they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..graph import BATCHLESS, LONGEST_AXIS, Array, Graph, Shape, Value
from ..graph import Layer as Group
from . import _ncnn_detect, _ncnn_layers, _ncnn_moves
from ._channels_first import ChannelsFirst, beside, fitting
from ._ncnn_call import Call, Rule, Settings, no_weights
from ._ncnn_files import Block, Layer, Weights, layers
from ._source import Source
from ._translator import MissingOperator, Unsupported

_RULES: dict[str, Rule] = {
    **_ncnn_layers.RULES,
    **_ncnn_moves.RULES,
    **_ncnn_detect.RULES,
}
_INTEGERS = ": the model computes with integers; load the one of float32 that it was made from"
_STATE = ": it keeps a state from one step of a sequence to the next, linnet's networks have none"
_FINDS = ": leave it out, its inputs are outputs then (outputs=), and find the boxes yourself"
_INSTEAD = {  # what else there is to say of layers that are not supported
    **dict.fromkeys(("Quantize", "Dequantize", "Requantize"), _INTEGERS),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _STATE),
    **dict.fromkeys(("Proposal", "YoloDetectionOutput", "ROIAlign", "PSROIPooling"), _FINDS),
}
# What hands on channels as they are, so that what reads it says how many there are.
_PASSING = ("Split", "ReLU", "Pooling", "Padding", "BinaryOp", "Dropout", "Noop", "Clip", "Interp")


def read(
    model: Source, weights: Source | None = None, *, shapes: Mapping[str, Shape] | None = None
) -> Graph:
    """The graph of a .param file with the weights of a .bin file, by default the one beside it.

    shapes: of inputs by name, 0 where a size is open. ValueError if a file is damaged. What is
    wrong with single layers is left in the graph for passes.canonicalize to report together.
    """
    found = layers(model)
    if weights is None:
        weights = beside(model, _beside, "NAME.bin")
    loaded, given = _loaded(found, Weights(weights)), dict(shapes or {})
    return fitting(lambda more: _Reader(model, loaded, {**given, **more}))


def _beside(name: str) -> tuple[str, str]:
    return name.removesuffix(".param"), ".bin"


class _Loaded(NamedTuple):
    """A layer's settings and weights; None where it is not known where these are."""

    settings: Settings
    weights: list[Array] | None


def _loaded(found: Sequence[Layer], file: Weights) -> list[_Loaded]:
    every = []
    lost = False
    for layer in found:
        rule, settings = _RULES.get(layer.kind), Settings(layer)
        blocks: list[Block] = []
        try:
            blocks = rule.weights(settings) if rule and not lost else []
        except Unsupported:
            lost = True
        lost = lost or (rule is None and layer.kind not in _BARE.split())
        wants = rule is not None and rule.weights is not no_weights
        every.append(_Loaded(settings, None if lost and wants else file.take(blocks)))
    return every


_BARE = """ArgMax Cast Input Packing Proposal PSROIPooling ROIAlign ROIPooling
YoloDetectionOutput"""  # those without a rule that have no weights


class _Reader(ChannelsFirst):
    """One translation, from the parsed files to `graph`."""

    def __init__(
        self,
        source: Source,
        loaded: Sequence[_Loaded],
        given: Mapping[str, Shape],
    ) -> None:
        found = [each.settings.layer for each in loaded]
        tops = [top for layer in found for top in layer.tops]
        super().__init__("", str(source), tops)
        if len(set(tops)) < len(tops):
            twice = next(top for top in tops if tops.count(top) > 1)
            raise ValueError(f"{source}: two layers make the blob '{twice}'")
        self.graph.metadata[BATCHLESS] = "{}"
        self.layers = found
        self.given = given
        read = {bottom for layer in found for bottom in layer.bottoms}
        self.inside: dict[str, str] = {}  # a blob's value with 1 before its axes
        ends = [
            top for layer in found if layer.kind != "Input" for top in layer.tops if top not in read
        ]
        for layer, each in zip(found, loaded):
            if layer.kind == "Input":
                for top in layer.tops[:1]:
                    self.inside[top] = top
                    with self.attempt("Input", layer.name, [], [top]):
                        self._input(layer, top)
                continue
            for top in layer.tops:
                self.inside[top] = self.names.fresh(f"{top}.batch") if top not in read else top
            self._layer(layer, each)
        for end in ends:
            self._output(end)
        self.graph.outputs = ends
        sizes = {value.name: value.shape[0] for value in self.graph.inputs}
        self.graph.metadata[BATCHLESS] = json.dumps(sizes)
        if not self.graph.outputs:
            raise ValueError(f"{source}: not a network (it has no layers that compute something)")

    def _input(self, layer: Layer, top: str) -> None:
        settings = Settings(layer)
        sizes = [settings.integer(key) for key in (2, 11, 1, 0)]
        shape = self.given.get(top) or tuple(n for n in sizes if n) or self._seen(top)
        if not shape or min(shape) < 0 or len(shape) > 3 or not shape[0]:
            raise Unsupported(
                f"the file does not say its shape: give shapes={{'{top}': (3, 224, 224)}}"
            )
        self.graph.inputs.append(Value(top, shape))
        self.shapes[top] = shape
        self.inside[top] = self.names.fresh(f"{top}.batch")
        self._turned(top, self.inside[top], shape, outward=False)

    def _turned(self, x: str, y: str, shape: Shape, outward: bool) -> None:
        """`y` is `x` with 1 before its axes, or without.

        By way of [H, W, C], which becomes [H, W, C, 1] whatever its height and width are.
        """
        count = len(shape)
        last = [*range(1, count), 0]  # the first axis goes behind all others
        back = [count, count - 1, *range(count - 1)]
        if outward:
            last, back = [axis + 1 for axis in last] + [0], [count - 1, *range(count - 1)]
        first = self.names.fresh(f"{x}.last")
        self.add(first, "Transpose", [x], [first], perm=last)
        grown = self.names.fresh(f"{x}.grown")
        sizes = [*(0,) * (count - 1), shape[0]] + [1] * (not outward)
        self.add(grown, "Reshape", [first, self._integers(f"{x}.grown.shape", sizes)], [grown])
        self.add(y, "Transpose", [grown], [y], perm=back)
        self.shapes[y] = shape if outward else (1, *shape)

    def _integers(self, hint: str, values: Sequence[int]) -> str:
        return self.constant(hint, np.array(values, np.int64))

    def _seen(self, top: str) -> Shape:
        """The shape that the weights of what reads an input ask for, () if nothing says it."""
        passed = {top}
        for layer in self.layers:
            if not layer.bottoms or layer.bottoms[0] not in passed:
                continue
            settings = Settings(layer)
            if layer.kind in ("Convolution", "ConvolutionDepthWise"):
                wide = settings.integer(1)
                area = wide * settings.integer(11, wide) * settings.integer(0)
                group = settings.integer(7, 1) if layer.kind != "Convolution" else 1
                count = settings.integer(6) * group
                fits = area > 0 and count > 0 and count % area == 0 and count < LONGEST_AXIS
                return (count // area, 0, 0) if fits else ()
            if layer.kind == "InnerProduct":
                count, outputs = settings.integer(2), settings.integer(0)
                return (count // outputs,) if outputs > 0 and count > 0 else ()
            if layer.kind in ("BatchNorm", "Scale", "Bias", "Normalize"):
                channels = settings.integer(3 if layer.kind == "Normalize" else 0)
                if channels > 0:
                    return (channels, 0, 0)
            if layer.kind in _PASSING:
                passed.update(layer.tops)
        return ()

    def _layer(self, layer: Layer, loaded: _Loaded) -> None:
        outputs = [self.inside[top] for top in layer.tops]
        inputs = [self.inside.get(bottom, bottom) for bottom in layer.bottoms]
        known = [self.inside[bottom] for bottom in layer.bottoms if bottom in self.inside]
        with self.attempt(layer.kind, layer.name, known, outputs):
            rule = _RULES.get(layer.kind)
            if rule is None:
                reason = "layers of this type are not supported"
                raise MissingOperator(reason + _INSTEAD.get(layer.kind, ""))
            for bottom, name in zip(layer.bottoms, inputs):
                if bottom not in self.inside:
                    raise Unsupported(f"no layer before it makes its input '{bottom}'")
                if name in self.failed:
                    raise Unsupported("")
            if loaded.weights is None:  # their place follows from what is told of a layer before
                raise Unsupported("")
            if not outputs:
                raise Unsupported("has no outputs")
            call = Call(self, loaded.settings, inputs, outputs, loaded.weights)
            call.by(rule.translate)
            left = call.settings.unread()
            if left:
                raise Unsupported(f"has a setting that is not known: {left[0]}")
        self.graph.layers.append(Group(layer.name, layer.kind, list(layer.tops)))

    def _output(self, end: str) -> None:
        inner = self.inside[end]
        with self.attempt("output", end, [inner], [end]):
            if inner in self.failed:
                raise Unsupported("")
            self._turned(inner, end, self.shape(inner)[1:], outward=True)
