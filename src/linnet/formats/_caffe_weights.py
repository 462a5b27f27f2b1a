"""The weights of a caffemodel: which layer has which, and which layers share theirs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Shape
from . import _schema
from ._source import Source
from ._translator import Translator, Unsupported


def read(source: Source) -> dict[str, Sequence[Any]]:
    """{layer name: its BlobProtos}, in the file's order."""
    data = source.read()
    if data.startswith(b"\x89HDF"):
        raise ValueError(f"{source}: weights in HDF5 form are not supported, only binary protobuf")
    net = _schema.parse(_schema.caffe("TrainedParameter"), data, f"{source}: not a caffemodel")
    layers = layers_of(net, source)
    if not layers:
        raise ValueError(f"{source}: not a caffemodel (it has no layers)")
    weights: dict[str, Sequence[Any]] = {}
    for layer in layers:
        if layer.blobs:
            weights.pop(layer.name, None)  # a later one of the same name stands where it is
            weights[layer.name] = layer.blobs
    return weights


def layers_of(net: Any, source: Source) -> Sequence[Any]:
    """`layer` or `layers`; both have the same fields as far as they are read here, but for `type`
    and `param`.
    """
    if net.layer and net.layers:
        raise ValueError(f"{source}: has both 'layer' and 'layers'")
    if any(layer.HasField("layer") for layer in net.layers):
        raise ValueError(
            f"{source}: is of the form before 2014; Caffe's upgrade_net_proto tools convert it"
        )
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
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    found = tuple(blob.shape.dim) if blob.HasField("shape") else legacy

    def significant(dims: Shape) -> Shape:
        long = [i for i, size in enumerate(dims) if size != 1]
        return dims[long[0] : long[-1] + 1] if long else ()

    if significant(found) != significant(shape):
        raise Unsupported(f"{what} has shape {list(found)}, expected {list(shape)}")
    return _values(blob, math.prod(shape), what).reshape(shape)


def _values(blob: Any, count: int, what: str) -> Array:
    field = "double_data" if blob.double_data else "data"
    try:
        return _schema.floats(blob, field, _schema.caffe("BlobProtoUnpacked"), count)
    except ValueError as error:
        raise Unsupported(f"{what} {error}") from None
