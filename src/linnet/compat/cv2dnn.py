"""OpenCV 4's `cv2.dnn` on linnet, for programs that run Caffe, Darknet and ONNX models by it.

    from linnet.compat import cv2dnn          # instead of cv2.dnn
    net = cv2dnn.readNetFromCaffe("deploy.prototxt", "net.caffemodel")
    net.setInput(cv2dnn.blobFromImage(picture, 1.0, (300, 300), (104, 177, 123)))
    detections = net.forward()

Names, arguments, the order of results and the numbers in blobs are OpenCV's; OpenCV itself need not
be there. What goes wrong is `error`: cv2's, if that was imported before, and a ValueError.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from .. import load
from ..formats import Source, holds_weights
from ..formats import read as _read
from ..graph import Layer as _Layer
from ..text import short
from ._cv2_blobs import (
    CV_8U,
    CV_32F,
    Array,
    NMSBoxes,
    NMSBoxesBatched,
    Scalar,
    blobFromImage,
    blobFromImages,
    error,
    imagesFromBlob,
    reported,
    scalar,
)

if TYPE_CHECKING:
    from ..graph import Graph
    from ..session import Session

__all__ = [
    "CV_8U",
    "CV_32F",
    "NMSBoxes",
    "NMSBoxesBatched",
    "Net",
    "blobFromImage",
    "blobFromImages",
    "error",
    "imagesFromBlob",
    "readNet",
    "readNetFromCaffe",
    "readNetFromDarknet",
    "readNetFromONNX",
]

# Where OpenCV would compute; linnet computes on the CPU whatever is asked for.
DNN_BACKEND_DEFAULT = 0
DNN_BACKEND_HALIDE = 1
DNN_BACKEND_INFERENCE_ENGINE = 2
DNN_BACKEND_OPENCV = 3
DNN_BACKEND_VKCOM = 4
DNN_BACKEND_CUDA = 5
DNN_BACKEND_WEBNN = 6
DNN_BACKEND_TIMVX = 7
DNN_BACKEND_CANN = 8
DNN_TARGET_CPU = 0
DNN_TARGET_OPENCL = 1
DNN_TARGET_OPENCL_FP16 = 2
DNN_TARGET_MYRIAD = 3
DNN_TARGET_VULKAN = 4
DNN_TARGET_FPGA = 5
DNN_TARGET_CUDA = 6
DNN_TARGET_CUDA_FP16 = 7
DNN_TARGET_HDDL = 8
DNN_TARGET_NPU = 9
DNN_TARGET_CPU_FP16 = 10

_NODE = "onnx_node!"  # before the names of an ONNX model's nodes
_BOXES = ("region", "yolo")  # Darknet's layers of boxes

# A path, or what a file holds.
_Model = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Array]


def readNetFromCaffe(prototxt: _Model, caffeModel: _Model = "") -> Net:
    """A network of Caffe's, from two paths or what such files hold; `error` if one is damaged.

    What of it linnet cannot run, forward() says.
    """
    return _of_two(prototxt, caffeModel)


def readNetFromDarknet(cfgFile: _Model, darknetModel: _Model = "") -> Net:
    """A network of Darknet's, from its .cfg and .weights or what such files hold."""
    return _of_two(cfgFile, darknetModel)


def readNetFromONNX(onnxFile: _Model) -> Net:
    """A network from an .onnx file or what such a file holds."""
    return Net(_source(onnxFile))


def readNet(model: _Model, config: _Model = "", framework: _Model = "") -> Net:
    """A network of any format linnet reads, by its files in any order; or by the name of its
    framework and what its files hold.
    """
    if isinstance(model, str) and model in ("caffe", "onnx"):
        model, config = config, framework
    files = [_source(given) for given in (model, config) if not _is_none(given)]
    if len(files) == 2 and _is_weights(*files):
        files.reverse()
    return Net(*files)


class Net:
    """A network. It is made ready when forward() first meets the sizes of its inputs, and again
    when they change or other layers are asked for.
    """

    def __init__(self, *files: Source) -> None:
        """files: a model and its weights; none for an empty network."""
        self._files = files
        self._graph: Graph | None = None
        self._layers: list[_Layer] = []
        self._inputs: dict[str, Array] = {}
        self._session: Session | None = None
        self._wanted: dict[str, None] = {}  # the values that the session is for, in order
        self._values: set[str] = set()  # those that it has
        self._blobs: dict[str, list[Array]] = {}  # weights of layers, instead of the file's
        self._seconds = 0.0
        self._rows: dict[str, int] = {}  # of values with a row for each box that is found, at most
        self._tables: set[str] = set()  # those that have no axis for the image where it is one
        if files:
            with reported():
                graph = _read(*files)
            self._layers = _layers(graph)
            self._graph = graph
            self._rows = {
                node.outputs[0]: node.attrs["keep_top_k"]
                for node in graph.nodes
                if node.op == "DetectionOutput" and node.attrs["keep_top_k"] > 0
            }
            boxes = [layer for layer in self._layers if layer.type in _BOXES]
            self._tables = {value for layer in boxes for value in layer.values}

    def empty(self) -> bool:
        return not self._layers

    def setInput(
        self,
        blob: npt.ArrayLike,
        name: str = "",
        scalefactor: float = 1.0,
        mean: Scalar | None = (),
    ) -> None:
        """What an input is from now on, by default the first: (blob - mean) * scalefactor, where
        `mean` has a number for each channel, axis 1.
        """
        names = [value.name for value in self._opened().inputs]
        if not names or (name and name not in names):
            raise error(f"there is no input {short(name)}; there are {', '.join(names) or 'none'}")
        array = np.array(blob, np.float32, order="C", ndmin=1)
        if mean is not None and np.any(mean):
            means = scalar("mean", mean, array.shape[1] if array.ndim > 1 else 1)
            array -= means.reshape(-1, *(1,) * (array.ndim - 2))
        if scalefactor != 1:
            array *= np.float32(scalefactor)
        self._inputs[name or names[0]] = array

    def forward(self, outputName: str | Sequence[str] | None = None) -> Any:
        """The first value that a layer of this name makes, by default the last layer; a tuple of
        them for a list of names.
        """
        if outputName is not None and not isinstance(outputName, str):
            return tuple(self._run([self._value(name) for name in outputName]))
        return self._run([self._value(outputName or self._last().name)])[0]

    def forwardAndRetrieve(self, outBlobNames: Sequence[str]) -> list[list[Array]]:
        """All values of each of these layers."""
        layers = [self._found(name) for name in outBlobNames]
        arrays = iter(self._run([value for layer in layers for value in layer.values]))
        return [[next(arrays) for _ in layer.values] for layer in layers]

    def getLayerNames(self) -> tuple[str, ...]:
        """Of all layers but inputs; the first has the number 1."""
        return tuple(layer.name for layer in self._layers)

    def getUnconnectedOutLayers(self) -> npt.NDArray[np.int32]:
        """Numbers of the layers whose values no other layer takes."""
        made = {
            value: number for number, layer in enumerate(self._layers) for value in layer.values
        }
        last = sorted({made[name] for name in self._opened().outputs if name in made})
        return np.array(last, np.int32) + 1

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        return tuple(self._layers[number - 1].name for number in self.getUnconnectedOutLayers())

    def getLayerId(self, layer: str) -> int:
        """The number of a layer, -1 if there is none of this name."""
        names = self.getLayerNames()
        return names.index(layer) + 1 if layer in names else -1

    def getLayer(self, layerId: int | str) -> Layer:
        """A layer by its number or name."""
        return Layer(self, self._found(layerId))

    def getLayerTypes(self) -> tuple[str, ...]:
        return tuple(sorted({layer.type for layer in self._layers}))

    def getLayersCount(self, layerType: str) -> int:
        return sum(layer.type == layerType for layer in self._layers)

    def getPerfProfile(self) -> tuple[int, Array]:
        """How long the last forward() took, in ns, which are OpenCV's ticks (getTickFrequency), and
        no times of single layers, for which linnet has Session.profile.
        """
        return int(self._seconds * 1e9), np.empty(0)

    def setPreferableBackend(self, backendId: int) -> None:
        """Nothing: linnet computes on the CPU."""

    def setPreferableTarget(self, targetId: int) -> None:
        """Nothing: linnet computes on the CPU."""

    def enableFusion(self, fusion: bool) -> None:
        """Nothing: linnet fuses what does not change results."""

    def enableWinograd(self, useWinograd: bool) -> None:
        """Nothing: linnet takes what is fastest."""

    def _opened(self) -> Graph:
        if self._graph is None:
            raise error("the network is empty")
        return self._graph

    def _found(self, layer: int | str) -> _Layer:
        number = self.getLayerId(layer) if isinstance(layer, str) else int(layer)
        if not 0 < number <= len(self._layers):
            raise error(f"there is no layer {short(layer)}")
        return self._layers[number - 1]

    def _last(self) -> _Layer:
        self._opened()
        return self._layers[-1]

    def _value(self, name: str) -> str:
        """The first value of a layer, whose name may lack what OpenCV puts before a node's; or a
        value of this name.
        """
        for known in (name, _NODE + str(name)):
            if (number := self.getLayerId(known)) > 0:
                return self._layers[number - 1].values[0]
        if any(name in layer.values for layer in self._layers):
            return name
        raise error(f"there is no layer {short(name)}")

    def _run(self, wanted: list[str]) -> list[Array]:
        graph = self._opened()
        missing = [v.name for v in graph.inputs if v.name not in self._inputs]
        if missing:
            raise error(f"setInput was not called for {', '.join(missing)}")
        with reported():
            session = self._ready(wanted)
            begin = time.perf_counter()
            feed = {
                value.name: self._inputs[value.name].astype(value.dtype, copy=False)
                for value in session.inputs
            }
            results = session.run(wanted, feed)
            self._seconds = time.perf_counter() - begin
        # OpenCV has as many rows as there may be, those left of zeros.
        images = max(len(array) for array in feed.values())
        for index, name in enumerate(wanted):
            if name in self._rows:
                found = results[index]
                results[index] = np.zeros((1, 1, images * self._rows[name], 7), found.dtype)
                results[index][:, :, : found.shape[2]] = found
            elif name in self._tables and images == 1:
                results[index] = results[index][0]
        return results

    def _ready(self, wanted: list[str]) -> Session:
        """A session for the inputs as they are now that has all these values."""
        session = self._session
        if session is None or not self._fits(session):
            self._wanted = dict.fromkeys(wanted)
        elif self._values.issuperset(wanted):
            return session
        self._wanted.update(dict.fromkeys(wanted))
        self._session = None  # its memory is free before there is another
        self._session = self._made()
        self._values = {value.name for value in self._session.values}
        return self._session

    def _fits(self, session: Session) -> bool:
        return all(
            len(value.shape) == self._inputs[value.name].ndim
            and all(n in (None, m) for n, m in zip(value.shape, self._inputs[value.name].shape))
            for value in session.inputs
        )

    def _made(self) -> Session:
        """A new session for the inputs as they are now. What is not wanted is not in it, nor need
        linnet be able to compute it.
        """
        graph = self._opened()
        declared = graph.inputs
        given = {value.name: self._inputs[value.name].shape for value in declared}
        # Any number of images, unless the network is one that cannot have that.
        free = {value.name: (*value.shape[:1], *given[value.name][1:]) for value in declared}
        for sizes in (free, given):
            if not graph.nodes or any(v.shape != sizes[v.name] for v in declared):
                graph = _read(*self._given(), shapes=sizes)
            shapes = {name: [n or None for n in shape] for name, shape in sizes.items()}
            session = load(replace(graph, outputs=list(self._wanted)), shapes=shapes)
            if self._fits(session):
                break
        # The session has the weights; for another they are read again.
        self._graph = _without_weights(replace(graph, inputs=declared))
        return session

    def _given(self) -> tuple[Source, ...]:
        """The files, with the weights that a program has put in their place."""
        if not self._blobs:
            return self._files
        return self._files[0], _caffe_weights().with_blobs(self._weights(), self._blobs)

    def _weights(self) -> Source | None:
        """The caffemodel, if there is one."""
        model, *weights = self._files
        if not self._opened().layers or model.suffix == ".caffemodel":
            raise error("only of a prototxt's layers the weights can be seen and replaced")
        return weights[0] if weights else None


class Layer:
    """A layer of a network."""

    def __init__(self, net: Net, layer: _Layer) -> None:
        self._net = net
        self.name, self.type = layer.name, layer.type

    @property
    def blobs(self) -> list[Array]:
        """A Caffe layer's weights, float32, in their shapes in the caffemodel. Others may be put in
        their place, as those of networks that colour pictures have to be.
        """
        with reported():
            weights = self._net._weights()
            blobs: list[Array] = self._net._blobs.get(self.name, [])
            if self.name not in self._net._blobs and weights is not None:
                blobs = _caffe_weights().blobs_of(weights, self.name)
            return list(blobs)

    @blobs.setter
    def blobs(self, blobs: Sequence[npt.ArrayLike]) -> None:
        net = self._net
        with reported():
            net._weights()
            net._blobs[self.name] = [np.array(blob, np.float32) for blob in blobs]
        net._session, net._graph = None, _without_weights(net._opened())


def _caffe_weights() -> Any:
    """The module, with which comes protobuf; an ONNX model may do without."""
    from ..formats import _caffe_weights

    return _caffe_weights


def _without_weights(graph: Graph) -> Graph:
    return replace(graph, nodes=[], initializers={})


def _of_two(model: _Model, weights: _Model) -> Net:
    first = _source(model)
    return Net(first) if _is_none(weights) else Net(first, _source(weights, "weights"))


def _is_none(given: _Model) -> bool:
    return not isinstance(given, os.PathLike) and len(given) == 0


def _is_weights(first: Source, second: Source) -> bool:
    """Whether the first of two files holds weights: by name, else it is the larger one."""
    if first.path and second.path:
        return holds_weights(first.path) is not None
    return len(first.read()) > len(second.read())


def _source(given: _Model, what: str = "model") -> Source:
    with reported():
        return Source(given.tobytes() if isinstance(given, np.ndarray) else given, what)


def _layers(graph: Graph) -> list[_Layer]:
    """The layers that OpenCV has of a network: Caffe's own or, of an ONNX model, one for each node
    and each output.
    """
    if graph.layers:
        return [layer for layer in graph.layers if layer.values]
    layers = [_Layer(_NODE + node.name, node.op, node.outputs) for node in graph.nodes]
    return layers + [_Layer(name, "Identity", [name]) for name in graph.outputs]
