"""The weights of a caffemodel: which layer has which, and which layers share theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import UNSUPPORTED, Array, Shape
from . import _hdf5, _schema
from ._caffe_v0 import is_old
from ._source import Source
from ._translator import Translator, Unsupported


def read(source: Source) -> dict[str, Sequence[Any]]:
    """{layer name: its BlobProtos}, in the file's order."""
    if source.head(8) == _hdf5.MAGIC:
        return _of_hdf5(_hdf5.Hdf5(source.open(), str(source)))
    data = source.read()
    net = _schema.parse(_schema.caffe("TrainedParameter"), data, f"{source}: not a caffemodel")
    layers = [layer.layer if is_old(layer) else layer for layer in layers_of(net, source)]
    if not layers and _is_mean(data):
        raise ValueError(
            f"{source}: holds an image, likely the mean of those of training, and no weights; "
            "it is for --mean (in Python, linnet.formats.mean_image); give the .caffemodel"
        )
    if not layers:
        raise ValueError(f"{source}: not a caffemodel (it has no layers)")
    weights: dict[str, Sequence[Any]] = {}
    for layer in layers:
        if layer.blobs:
            weights.pop(layer.name, None)  # a later one of the same name stands where it is
            weights[layer.name] = layer.blobs
    return weights


def _of_hdf5(file: _hdf5.Hdf5) -> dict[str, Sequence[Any]]:
    """The same of Caffe's other form, whose datasets are data/LAYER/0, 1, ..."""
    weights: dict[str, Sequence[Any]] = {}
    for layer in file.names("data"):
        blobs: list[Any] = []
        while (array := file.array(f"data/{layer}/{len(blobs)}")) is not None:
            values = np.ascontiguousarray(array, np.float32)
            blobs.append(_schema.caffe("BlobProto")(data=[values.tobytes()]))
            blobs[-1].shape.dim.extend(values.shape)
        if blobs:
            weights[layer] = blobs
    if not weights:
        raise ValueError(f"{file.what}: holds no weights of Caffe's (data/LAYER/0)")
    return weights


def with_blobs(source: Source | None, blobs: Mapping[str, Sequence[Array]]) -> Source:
    """A caffemodel with other weights for some layers, by name."""
    data = source.read() if source else b""
    made = _schema.caffe("TrainedParameter")()
    old = _schema.parse(type(made), data, f"{source}: not a caffemodel").layers
    for name, arrays in blobs.items():
        layer = (made.layers if old else made.layer).add(name=name)
        for array in arrays:
            values = np.ascontiguousarray(array, np.float32)
            layer.blobs.add(data=[values.tobytes()]).shape.dim.extend(values.shape)
    # One message after the other is both in one, and of two layers the later one counts.
    changed = Source(data + made.SerializeToString(), "weights")
    changed.name = str(source) if source else changed.name
    return changed


def blobs_of(source: Source, layer: str) -> list[Array]:
    """The weights of a layer in a caffemodel, in the shapes they have there."""
    return [
        _array(blob, _shape(blob), f"{source}: blob {index} of '{layer}'")
        for index, blob in enumerate(read(source).get(layer, ()))
    ]


def _is_mean(data: bytes) -> bool:
    """Whether a file is one BlobProto, as Caffe keeps mean images (.binaryproto)."""
    try:
        blob = _schema.parse(_schema.caffe("BlobProto"), data, "")
    except ValueError:
        return False
    return bool(blob.data or blob.double_data) and (blob.HasField("width") or bool(blob.shape.dim))


def layers_of(net: Any, source: Source) -> Sequence[Any]:
    """`layer` or `layers`; both have the same fields as far as they are read here, but for `type`
    and `param`.
    """
    if net.layer and net.layers:
        raise ValueError(f"{source}: has both 'layer' and 'layers'")
    layers: Sequence[Any] = net.layer or net.layers
    return layers


class _Param(NamedTuple):
    """How a blob of a layer is shared: by name, if it has one."""

    name: str
    permissive: bool  # whether the number of values is all that has to agree


def _param(layer: Any, index: int) -> _Param:
    if index >= len(layer.param):
        return _Param("", False)
    if not isinstance(layer.param[index], str):
        return _Param(layer.param[index].name, bool(layer.param[index].share_mode))
    modes = layer.blob_share_mode
    return _Param(layer.param[index], index < len(modes) and bool(modes[index]))


_MOST_MADE = 1 << 24  # numbers


class Prior(NamedTuple):
    """Boxes around the pixels of a map: the layer's settings, the shapes of map and image."""

    param: Any
    shape: Shape
    image: Shape


class Weighted(Translator):
    """A translation of layers that may have weights."""

    def __init__(
        self,
        name: str,
        source: Source,
        names: Iterable[str],
        layers: Sequence[Any],
        caffemodel: Source | None,
    ) -> None:
        super().__init__(name, str(source), names)
        self.weights = None if caffemodel is None else read(caffemodel)
        self.file = str(caffemodel)
        self.budget = _MOST_MADE
        self.batch = 0  # of the first input, as the prototxt writes it
        # Of the values that say where a pool found its largest ones: how far apart its windows are,
        # which do not overlap, and the height and width that they cover.
        self.places: dict[str, tuple[list[int], Shape]] = {}
        self.priors: dict[str, Prior] = {}  # of the values that are boxes around pixels
        self.weighted: set[str] = set()  # layers that have asked for their weights
        # Of every name of a shared blob: who has it, and where in them.
        self._members: dict[str, list[tuple[str, int]]] = {}
        for layer in layers:
            for index in range(len(layer.param)):
                if shared := _param(layer, index).name:
                    self._members.setdefault(shared, []).append((layer.name, index))
        self._owners: dict[str, tuple[str, Shape]] = {}  # the first to ask for it, and its shape
        self._arrays: dict[tuple[str, Shape], Array] = {}
        self._constants: dict[tuple[int, bool], tuple[Array, str]] = {}

    def blobs(self, layer: Any, *shapes: Shape) -> list[Array]:
        """The layer's weights, one array for each of the shapes.

        A blob with a `param { name }` is one for all layers that name it, and holds the last copy
        in the file.
        """
        params = [_param(layer, index) for index in range(len(shapes))]
        if layer.name in self.weighted and not all(param.name for param in params):
            raise Unsupported("an earlier layer with weights has the same name")
        self.weighted.add(layer.name)
        if self.weights is None:
            raise Unsupported("")  # said once for all layers
        own = self.weights.get(layer.name)
        if own is None and not all(param.name for param in params):
            raise Unsupported(f"has no weights in {self.file}")
        if own is not None and len(own) != len(shapes):
            raise Unsupported(f"has {len(own)} blobs in {self.file}, expected {len(shapes)}")
        arrays = []
        for index, (param, shape) in enumerate(zip(params, shapes)):
            if own is not None:
                array = _array(own[index], shape, f"{self.file}: blob {index}")
            if param.name:
                array = self._shared(param, layer.name, shape)
            arrays.append(array)
        return arrays

    def sizes(self, name: str) -> Shape:
        """The shape of an activation with the batch that the prototxt says."""
        batch = self.graph.inputs[0].shape[0] if self.graph.inputs else 1
        return tuple(n or batch for n in self.shape(name))

    def trained(self, layer: Any) -> bool:
        """Whether the file may have weights for the layer, its own or shared ones."""
        own = self.weights is not None and layer.name in self.weights
        return own or any(_param(layer, index).name for index in range(len(layer.param)))

    def spend(self, count: int) -> None:
        """Before numbers are made that no file holds: a small one must not become large arrays."""
        self.budget -= count
        if self.budget < 0:
            raise Unsupported("the constants it stands for need too much memory")

    def part(
        self, layer: Any, op: str, inputs: Sequence[str], shape: Shape | None = None, **attrs: Any
    ) -> str:
        """A value on the way to the layer's, which `finish` makes of the last one.

        shape: where the core's rules, which are for canonical operators, do not say it.
        """
        name = self.names.fresh(f"{layer.name}.{op.lower()}")
        self.add(name, op, list(inputs), [name], **attrs)
        if shape is not None:
            self.shapes[name] = shape
        return name

    def number(self, layer: Any, what: str, value: float) -> str:
        """Name of a new constant of one number."""
        return self.constant(f"{layer.name}.{what}", np.float32(value))

    def integers(self, layer: Any, what: str, values: Sequence[int]) -> str:
        """Name of a new constant vector of integers."""
        return self.constant(f"{layer.name}.{what}", np.array(values, np.int64))

    def fixed(self, output: str, array: Array) -> None:
        """Make a layer's output a constant, the same for all images."""
        self.graph.initializers[output] = array
        self.shapes[output] = array.shape

    def settle(self, outputs: Sequence[str]) -> None:
        """Those outputs that are constants become values of each image, as the core wants it."""
        graph = self.graph
        fixed = set(graph.initializers)
        for node in graph.nodes:
            if node.op != UNSUPPORTED and fixed.issuperset(filter(None, node.inputs)):
                fixed.update(node.outputs)
        values = [value for value in graph.inputs if len(value.shape) > 1]
        for name in outputs:
            shape = self.shapes.get(name)
            if name not in fixed or not values or not shape or math.prod(shape) > self.budget:
                continue
            self.budget -= math.prod(shape)
            constant = self.names.fresh(f"{name}.constant")
            for node in graph.nodes:
                node.inputs = [constant if x == name else x for x in node.inputs]
                node.outputs = [constant if x == name else x for x in node.outputs]
            if name in graph.initializers:
                graph.initializers[constant] = graph.initializers.pop(name)
            # A product of zero and a number of each image, plus the constant.
            count = math.prod(shape)
            rank = len(values[0].shape)

            def integers(what: str, numbers: Sequence[int], owner: str = name) -> str:
                return self.constant(f"{owner}.{what}", np.array(numbers, np.int64))

            hints = ("same", "number", "zero", "flat", "vector", "wide")
            same, number, zero, flat, vector, wide = (
                self.names.fresh(f"{name}.{hint}") for hint in hints
            )
            sections = [
                integers("begins", [0] * (rank - 1)),
                integers("ends", [1] * (rank - 1)),
                integers("axes", range(1, rank)),
            ]
            limit = self.constant(f"{name}.limit", np.float32(0))
            zeros = self.constant(f"{name}.zeros", np.zeros((count, 1), np.float32))
            # An error if the image has another size than the one the constant is for.
            size = integers("size", [0, *values[0].shape[1:]])
            self.add(same, "Reshape", [values[0].name, size], [same])
            self.add(number, "Slice", [same, *sections], [number])
            self.add(zero, "Clip", [number, limit, limit], [zero])
            self.add(flat, "Flatten", [zero], [flat], axis=1)
            self.add(vector, "Reshape", [constant, integers("length", [count])], [vector])
            self.add(wide, "Gemm", [flat, zeros, vector], [wide], transB=1)
            self.add(name, "Reshape", [wide, integers("shape", [0, *shape[1:]])], [name])

    def finish(self, layer: Any, value: str, output: str, shape: Shape | None = None) -> None:
        """Make `value`, the last `part` or an input of the layer's, its output."""
        last = self.graph.nodes[-1] if self.graph.nodes else None
        known = shape or self.shapes.get(value)
        if last is not None and last.outputs == [value] and last.name == value:
            last.name, last.outputs = layer.name or output, [output]
            self.shapes.pop(value, None)
        else:
            self.add(layer.name, "Identity", [value], [output])
        if known is not None:
            self.shapes[output] = known

    def _shared(self, param: _Param, layer: str, shape: Shape) -> Array:
        owner, owned = self._owners.setdefault(param.name, (layer, shape))
        fits = math.prod(owned) == math.prod(shape) if param.permissive else owned == shape
        if not fits:
            raise Unsupported(
                f"shares '{param.name}' of shape {list(shape)} with layer '{owner}', where its "
                f"shape is {list(owned)}"
            )
        key = (param.name, shape)
        if key not in self._arrays:
            assert self.weights is not None
            places = {name: place for place, name in enumerate(self.weights)}
            copies = [
                (places[name], index)
                for name, index in self._members[param.name]
                if name in places and index < len(self.weights[name])
            ]
            if not copies:
                raise Unsupported(f"has no weights in {self.file}, nor has who shares them")
            place, index = max(copies)
            name = list(self.weights)[place]
            values = _values(
                self.weights[name][index],
                math.prod(shape),
                f"{self.file}: blob {index} of '{name}', which it shares,",
            )
            self._arrays[key] = values.reshape(shape)
        return self._arrays[key]

    def weight(self, hint: str, array: Array, transposed: bool = False) -> str:
        """Name of the constant for an array of `blobs`: one for all that share it."""
        key = (id(array), transposed)
        if key not in self._constants:
            values = np.ascontiguousarray(array.T) if transposed else array
            self._constants[key] = (array, self.constant(hint, values))
        return self._constants[key][1]


def _array(blob: Any, shape: Shape, what: str) -> Array:
    """A BlobProto's data in the shape it has to have; axes of 1 at its ends make no difference."""
    found = _shape(blob)

    def significant(dims: Shape) -> Shape:
        long = [i for i, size in enumerate(dims) if size != 1]
        return dims[long[0] : long[-1] + 1] if long else ()

    if significant(found) != significant(shape):
        raise Unsupported(f"{what} has shape {list(found)}, expected {list(shape)}")
    return _values(blob, math.prod(shape), what).reshape(shape)


def _shape(blob: Any) -> Shape:
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim) if blob.HasField("shape") else legacy


def _values(blob: Any, count: int, what: str) -> Array:
    field = "double_data" if blob.double_data else "data"
    try:
        return _schema.floats(blob, field, _schema.caffe("BlobProtoUnpacked"), count)
    except ValueError as error:
        raise Unsupported(f"{what} {error}") from None


class Rule(NamedTuple):
    """How a type of layer is translated, and how many bottoms and tops it may have."""

    translate: Callable[[Weighted, Any, list[str], list[str]], None]
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    pairs: bool = False  # whether it has a top for each bottom
