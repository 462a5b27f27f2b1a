"""The networks that benches run: layers of well-known ones, random weights, described once.

    python bench/models.py FOLDER [NAME ...]            writes them, or those named, as ONNX files
    python bench/models.py FOLDER --matrix              those that `make matrix` runs
        --formats onnx,caffe,mxnet,tensorflow,tflite    in other formats too, by the runtimes
                                                        themselves; `--setup` installs them
        --check                                         only compares what is there

Weights are scaled so that values neither vanish nor explode, and are the same every time.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from linnet import core
from linnet.compare.bench import WorkerError
from linnet.compare.processes import SetupError
from linnet.graph import Graph, Node, Shape, Value

Array = np.ndarray[Any, Any]
IMAGENET = (3, 224, 224)


class Network:
    """A graph being drawn. Each method adds a layer that reads a value and returns its result."""

    def __init__(self, name: str, *shape: int) -> None:
        self.graph = Graph(name, [], {}, [Value("data", (0, *shape))], [])
        self.shapes: dict[str, Shape] = {"data": (0, *shape)}
        self.random = np.random.default_rng(0)

    def node(self, op: str, *inputs: str | Array, **attrs: Any) -> str:
        """Any operator; arrays become constants of the graph, "" is an absent input."""
        graph, output = self.graph, f"{op.lower()}{len(self.graph.nodes) + 1}"
        names, known = [], []
        for index, value in enumerate(inputs):
            names.append(value if isinstance(value, str) else f"{output}.{index}")
            known.append(
                (self.shapes[value] if value else None) if isinstance(value, str) else value
            )
            if not isinstance(value, str):
                graph.initializers[names[-1]] = value
        graph.nodes.append(Node(op, output, names, [output], attrs))
        self.shapes[output] = core.infer_shape(op, attrs, known)
        graph.outputs = [output]
        return output

    def channels(self, x: str) -> int:
        return self.shapes[x][1]

    def weights(self, *shape: int) -> tuple[Array, Array]:
        scale = math.sqrt(2 / math.prod(shape[1:]))
        w = (self.random.standard_normal(shape) * scale).astype(np.float32)
        return w, np.zeros(shape[0], np.float32)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def conv(
        self,
        x: str,
        k: int,
        side: int | tuple[int, int],
        *,
        stride: int = 1,
        pad: int | None = None,
        group: int = 1,
        relu: bool = True,
    ) -> str:
        """Padded to keep its input's size unless `pad` says otherwise."""
        sides = side if isinstance(side, tuple) else (side, side)
        pads = [s // 2 if pad is None else pad for s in sides]
        window = {
            "kernel_shape": [*sides],
            "strides": [stride, stride],
            "pads": [*pads, *pads],
            "dilations": [1, 1],
            "group": group,
        }
        y = self.node("Conv", x, *self.weights(k, self.channels(x) // group, *sides), **window)
        return self.relu(y) if relu else y

    def depthwise(
        self, x: str, side: int, *, stride: int = 1, relu: bool = False, pad: int | None = None
    ) -> str:
        k = self.channels(x)
        return self.conv(x, k, side, stride=stride, pad=pad, group=k, relu=relu)

    def clip(self, x: str) -> str:
        """ReLU6."""
        return self.node("Clip", x, np.array(0, np.float32), np.array(6, np.float32))

    def part(self, x: str, first: int, end: int) -> str:
        """Channels of a value."""
        return self.node("Slice", x, *(np.array([n], np.int64) for n in (first, end, 1, 1)))

    def shuffle(self, x: str, groups: int) -> str:
        """Channels of the groups by turns."""
        _, c, h, w = self.shapes[x]
        cut = np.array([0, groups, c // groups, h * w], np.int64)
        x = self.node("Transpose", self.node("Reshape", x, cut), perm=[0, 2, 1, 3])
        return self.node("Reshape", x, np.array([0, c, h, w], np.int64))

    def pool(self, x: str, side: int, stride: int, *, pad: int = 0, ceil: bool = False) -> str:
        window = {"kernel_shape": [side, side], "strides": [stride, stride], "pads": [pad] * 4}
        return self.node("MaxPool", x, **window, dilations=[1, 1], ceil_mode=int(ceil))

    def average(self, x: str, side: int, stride: int, *, pad: int = 0, ceil: bool = False) -> str:
        """Windows in the padding count as many numbers as others."""
        window = {"kernel_shape": [side, side], "strides": [stride, stride], "pads": [pad] * 4}
        return self.node("AveragePool", x, **window, ceil_mode=int(ceil), count_include_pad=1)

    def normalized(self, x: str) -> str:
        """Local response normalization over five channels."""
        return self.node("LRN", x, size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def mean(self, x: str) -> str:
        return self.node("GlobalAveragePool", x)

    def fc(self, x: str, k: int, *, relu: bool = False) -> str:
        if len(self.shapes[x]) > 2:
            x = self.node("Flatten", x, axis=1)
        y = self.node("Gemm", x, *self.weights(k, self.channels(x)), transB=1)
        return self.relu(y) if relu else y

    def add(self, x: str, y: str, *, relu: bool = True) -> str:
        z = self.node("Add", x, y)
        return self.relu(z) if relu else z

    def concat(self, *parts: str) -> str:
        return self.node("Concat", *parts, axis=1)

    def softmax(self, x: str) -> str:
        return self.node("Softmax", x, axis=1)


def study(n: Network) -> None:
    """The network of the 2017 study: linnet's digit model without its training."""
    x = n.pool(n.conv("data", 16, 7, pad=0), 2, 2)
    x = n.pool(n.conv(x, 48, 6, pad=0), 3, 3)
    n.softmax(n.fc(n.fc(n.conv(x, 96, 5, pad=0), 128), 848))


def lenet5(n: Network) -> None:
    x = n.pool(n.conv("data", 20, 5, pad=0, relu=False), 2, 2)
    x = n.pool(n.conv(x, 50, 5, pad=0, relu=False), 2, 2)
    n.fc(n.fc(x, 500, relu=True), 10)


def cifar10_quick(n: Network) -> None:
    """Caffe's example."""
    x = n.relu(n.pool(n.conv("data", 32, 5, relu=False), 3, 2, ceil=True))
    x = n.average(n.conv(x, 32, 5), 3, 2, ceil=True)
    x = n.average(n.conv(x, 64, 5), 3, 2, ceil=True)
    n.softmax(n.fc(n.fc(x, 64), 10))


def large_kernels(n: Network) -> None:
    x = n.pool(n.conv("data", 12, 7, pad=0), 2, 2)
    x = n.pool(n.conv(x, 40, 6, pad=0), 3, 3)
    n.fc(n.fc(n.conv(x, 80, 5, pad=0), 128), 848)


def alexnet(n: Network) -> None:
    _alexnet(n, group=1)


def caffenet(n: Network) -> None:
    """AlexNet as it was, on two halves of the channels, normalized after pooling."""
    n.softmax(_alexnet(n, group=2, after=n.normalized))


def _alexnet(n: Network, group: int, after: Callable[[str], str] = str) -> str:
    x = after(n.pool(n.conv("data", 96, 11, stride=4, pad=0), 3, 2))
    x = after(n.pool(n.conv(x, 256, 5, group=group), 3, 2))
    x = n.conv(n.conv(x, 384, 3), 384, 3, group=group)
    x = n.pool(n.conv(x, 256, 3, group=group), 3, 2)
    return n.fc(n.fc(n.fc(x, 4096, relu=True), 4096, relu=True), 1000)


def network_in_network(n: Network) -> None:
    x = n.conv(n.conv(n.conv("data", 192, 5), 160, 1), 96, 1)
    x = n.conv(n.conv(n.conv(n.pool(x, 2, 2), 192, 5), 192, 1), 192, 1)
    x = n.conv(n.conv(n.conv(n.pool(x, 2, 2), 192, 3), 192, 1), 10, 1)
    n.mean(x)


def _vgg(n: Network, layers: tuple[int, ...]) -> str:
    x = "data"
    for channels, count in zip((64, 128, 256, 512, 512), layers):
        for _ in range(count):
            x = n.conv(x, channels, 3)
        x = n.pool(x, 2, 2)
    return x


def vgg11(n: Network) -> None:
    """On small images, with small layers after the last pool."""
    n.fc(n.fc(_vgg(n, (1, 1, 2, 2, 2)), 512, relu=True), 100)


def vgg16(n: Network) -> None:
    x = _vgg(n, (2, 2, 3, 3, 3))
    n.softmax(n.fc(n.fc(n.fc(x, 4096, relu=True), 4096, relu=True), 1000))


def _residual(n: Network, x: str, k: int, stride: int) -> str:
    """Two 3x3 convolutions and what goes around them."""
    y = n.conv(n.conv(x, k, 3, stride=stride), k, 3, relu=False)
    same = n.shapes[x] == n.shapes[y]
    return n.add(y, x if same else n.conv(x, k, 1, stride=stride, relu=False))


def _bottleneck(n: Network, x: str, k: int, stride: int) -> str:
    y = n.conv(n.conv(n.conv(x, k, 1), k, 3, stride=stride), 4 * k, 1, relu=False)
    same = n.shapes[x] == n.shapes[y]
    return n.add(y, x if same else n.conv(x, 4 * k, 1, stride=stride, relu=False))


def _resnet(n: Network, block: Callable[..., str], counts: tuple[int, ...]) -> None:
    x = n.pool(n.conv("data", 64, 7, stride=2), 3, 2, pad=1)
    for stage, count in enumerate(counts):
        for index in range(count):
            x = block(n, x, 64 << stage, 2 if stage and not index else 1)
    n.softmax(n.fc(n.mean(x), 1000))


def resnet20(n: Network) -> None:
    """Of small images."""
    x = n.conv("data", 16, 3)
    for channels in (16, 32, 64):
        for index in range(3):
            x = _residual(n, x, channels, 2 if channels > 16 and not index else 1)
    n.fc(n.mean(x), 10)


def resnet18(n: Network) -> None:
    _resnet(n, _residual, (2, 2, 2, 2))


def resnet50(n: Network) -> None:
    _resnet(n, _bottleneck, (3, 4, 6, 3))


def squeezenet(n: Network) -> None:
    def fire(x: str, squeeze: int, expand: int) -> str:
        x = n.conv(x, squeeze, 1)
        return n.concat(n.conv(x, expand, 1), n.conv(x, expand, 3))

    x = n.pool(n.conv("data", 64, 3, stride=2, pad=0), 3, 2, ceil=True)
    x = n.pool(fire(fire(x, 16, 64), 16, 64), 3, 2, ceil=True)
    x = n.pool(fire(fire(x, 32, 128), 32, 128), 3, 2, ceil=True)
    x = fire(fire(fire(fire(x, 48, 192), 48, 192), 64, 256), 64, 256)
    n.softmax(n.node("Flatten", n.mean(n.conv(x, 1000, 1)), axis=1))


def googlenet(n: Network) -> None:
    """Without its normalization."""

    def inception(
        x: str, one: int, three: tuple[int, int], five: tuple[int, int], pool: int
    ) -> str:
        return n.concat(
            n.conv(x, one, 1),
            n.conv(n.conv(x, three[0], 1), three[1], 3),
            n.conv(n.conv(x, five[0], 1), five[1], 5),
            n.conv(n.pool(x, 3, 1, pad=1), pool, 1),
        )

    x = n.pool(n.conv("data", 64, 7, stride=2), 3, 2, ceil=True)
    x = n.pool(n.conv(n.conv(x, 64, 1), 192, 3), 3, 2, ceil=True)
    x = inception(x, 64, (96, 128), (16, 32), 32)
    x = n.pool(inception(x, 128, (128, 192), (32, 96), 64), 3, 2, ceil=True)
    x = inception(x, 192, (96, 208), (16, 48), 64)
    x = inception(x, 160, (112, 224), (24, 64), 64)
    x = inception(x, 128, (128, 256), (24, 64), 64)
    x = inception(x, 112, (144, 288), (32, 64), 64)
    x = n.pool(inception(x, 256, (160, 320), (32, 128), 128), 3, 2, ceil=True)
    x = inception(x, 256, (160, 320), (32, 128), 128)
    n.softmax(n.fc(n.mean(inception(x, 384, (192, 384), (48, 128), 128)), 1000))


def _mobilenet1(n: Network) -> str:
    x = n.conv("data", 32, 3, stride=2)
    layers = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for k, stride in [*layers, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        x = n.conv(x, n.channels(x), 3, stride=stride, group=n.channels(x))
        x = n.conv(x, k, 1)
    return x


def mobilenet1(n: Network) -> None:
    n.softmax(n.fc(n.mean(_mobilenet1(n)), 1000))


def mobilenet_ssd(n: Network) -> None:
    """The trunk of a detector: MobileNet v1 and four smaller maps behind it, without the heads."""
    x = _mobilenet1(n)
    for k, squeezed in ((512, 256), (256, 128), (256, 128), (128, 64)):
        x = n.conv(n.conv(x, squeezed, 1), k, 3, stride=2)


def mobilenet2(n: Network) -> None:
    x = n.conv("data", 32, 3, stride=2)
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    for factor, k, count, stride in [*stages, (6, 160, 3, 2), (6, 320, 1, 1)]:
        for index in range(count):
            wide = n.channels(x) * factor
            y = n.conv(x, wide, 1) if factor > 1 else x
            y = n.conv(y, wide, 3, stride=1 if index else stride, group=wide)
            y = n.conv(y, k, 1, relu=False)
            x = n.add(x, y, relu=False) if index else y
    n.softmax(n.fc(n.mean(n.conv(x, 1280, 1)), 1000))


def _squeeze(n: Network, x: str, k: int) -> str:
    """Squeeze and excitation."""
    gate = n.conv(n.conv(n.mean(x), k, 1), n.channels(x), 1, relu=False)
    return n.node("Mul", x, n.node("HardSigmoid", gate, alpha=1 / 6, beta=0.5))


def mobilenet3(n: Network) -> None:
    """MobileNet v3 large."""

    def act(x: str, hard: bool) -> str:
        return n.node("HardSwish", x) if hard else n.relu(x)

    # Window, expanded channels, channels, squeezed ones, whether HardSwish, stride.
    layers = [(3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1)]
    layers += [(5, 72, 40, 24, 0, 2), *[(5, 120, 40, 32, 0, 1)] * 2, (3, 240, 80, 0, 1, 2)]
    layers += [(3, 200, 80, 0, 1, 1), *[(3, 184, 80, 0, 1, 1)] * 2, (3, 480, 112, 120, 1, 1)]
    layers += [(3, 672, 112, 168, 1, 1), (5, 672, 160, 168, 1, 2), *[(5, 960, 160, 240, 1, 1)] * 2]
    x = act(n.conv("data", 16, 3, stride=2, relu=False), True)
    for side, wide, k, squeezed, hard, stride in layers:
        y = act(n.conv(x, wide, 1, relu=False), bool(hard)) if wide != n.channels(x) else x
        y = act(n.depthwise(y, side, stride=stride), bool(hard))
        y = n.conv(_squeeze(n, y, squeezed) if squeezed else y, k, 1, relu=False)
        x = n.add(x, y, relu=False) if n.shapes[x] == n.shapes[y] else y
    x = n.mean(act(n.conv(x, 960, 1, relu=False), True))
    n.softmax(n.fc(act(n.fc(x, 1280), True), 1000))


def shufflenet2(n: Network) -> None:
    """ShuffleNet v2, once as wide."""
    x = n.pool(n.conv("data", 24, 3, stride=2), 3, 2, pad=1)
    for k, count in ((116, 4), (232, 8), (464, 4)):
        x = _shuffled_stage(n, x, k, count)
    n.softmax(n.fc(n.mean(n.conv(x, 1024, 1)), 1000))


def _shuffled_stage(n: Network, x: str, k: int, count: int) -> str:
    half = k // 2
    for index in range(count):
        left = n.conv(n.depthwise(x, 3, stride=2), half, 1) if not index else n.part(x, 0, half)
        y = x if not index else n.part(x, half, k)
        y = n.depthwise(n.conv(y, half, 1), 3, stride=1 if index else 2)
        x = n.shuffle(n.concat(left, n.conv(y, half, 1)), 2)
    return x


def efficientnet_lite0(n: Network) -> None:
    x = n.clip(n.conv("data", 32, 3, stride=2, relu=False))
    # Factor, channels, how many, stride, window.
    stages = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)]
    for factor, k, count, stride, side in [
        *stages,
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ]:
        for index in range(count):
            y = n.clip(n.conv(x, n.channels(x) * factor, 1, relu=False)) if factor > 1 else x
            y = n.clip(n.depthwise(y, side, stride=1 if index else stride))
            y = n.conv(y, k, 1, relu=False)
            x = n.add(x, y, relu=False) if index else y
    n.softmax(n.fc(n.mean(n.clip(n.conv(x, 1280, 1, relu=False))), 1000))


def yolo_fastest2(n: Network) -> None:
    """YOLO-Fastest v2: six maps of offsets, objects and classes, here in one row."""

    def head(x: str) -> str:
        for _ in range(2):
            x = n.conv(n.depthwise(x, 5, relu=True), n.channels(x), 1, relu=False)
        return x

    x = n.pool(n.conv("data", 24, 3, stride=2), 3, 2, pad=1)
    x = _shuffled_stage(n, x, 48, 4)
    fine = _shuffled_stage(n, x, 96, 8)
    coarse = _shuffled_stage(n, fine, 192, 4)
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    sizes = np.array(n.shapes[fine][2:], np.int64)
    larger = n.node("Resize", coarse, "", "", sizes, axes=[2, 3], nearest_mode="floor", **settings)
    parts = []
    for level in (n.concat(larger, fine), coarse):
        x = n.conv(level, 72, 1)
        boxes, classes = head(x), head(x)
        for y, k in ((boxes, 12), (classes, 3), (classes, 80)):
            parts.append(n.node("Flatten", n.conv(y, k, 1, relu=False), axis=1))
    n.concat(*parts)


def nanodet(n: Network) -> None:
    """NanoDet-m: classes and offsets of three levels, with ReLU in place of its leaky one."""

    def sized(x: str, like: str) -> str:
        sizes = np.array(n.shapes[like][2:], np.int64)
        return n.node("Resize", x, "", "", sizes, axes=[2, 3], mode="linear")

    x = n.pool(n.conv("data", 24, 3, stride=2), 3, 2, pad=1)
    levels = []
    for k, count in ((116, 4), (232, 8), (464, 4)):
        x = _shuffled_stage(n, x, k, count)
        levels.append(x)
    levels = [n.conv(x, 96, 1, relu=False) for x in levels]
    for to, of in ((1, 2), (0, 1), (1, 0), (2, 1)):
        levels[to] = n.add(levels[to], sized(levels[of], levels[to]), relu=False)
    heads = []
    for x in levels:
        y = n.conv(n.depthwise(x, 3, relu=True), 96, 1)
        y = n.conv(n.depthwise(y, 3, relu=True), 96, 1)
        heads.append(n.node("Flatten", n.conv(y, 112, 1, relu=False), axis=1))
    n.concat(*heads)


def densenet121(n: Network) -> None:
    def normalized(x: str) -> str:
        """A batch normalisation that follows no convolution, and what reads it."""
        return n.depthwise(x, 1, relu=True)

    x = n.pool(n.conv("data", 64, 7, stride=2), 3, 2, pad=1)
    for stage, count in enumerate((6, 12, 24, 16)):
        if stage:
            x = n.average(n.conv(normalized(x), n.channels(x) // 2, 1, relu=False), 2, 2)
        for _ in range(count):
            y = n.conv(n.conv(normalized(x), 128, 1), 32, 3, relu=False)
            x = n.concat(x, y)
    n.softmax(n.fc(n.mean(normalized(x)), 1000))


def _grouped(n: Network, x: str, k: int, stride: int, *, wide: int, group: int) -> str:
    """A bottleneck whose 3x3 convolution has groups, and `wide` channels."""
    y = n.conv(n.conv(x, wide, 1), wide, 3, stride=stride, group=group)
    y = n.conv(y, k, 1, relu=False)
    same = n.shapes[x] == n.shapes[y]
    return n.add(y, x if same else n.conv(x, k, 1, stride=stride, relu=False))


def resnext50(n: Network) -> None:
    """32 groups, which have 4 channels in the first stage."""
    x = n.pool(n.conv("data", 64, 7, stride=2), 3, 2, pad=1)
    for stage, count in enumerate((3, 4, 6, 3)):
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = _grouped(n, x, 256 << stage, stride, wide=128 << stage, group=32)
    n.softmax(n.fc(n.mean(x), 1000))


def regnet_x400(n: Network) -> None:
    x = n.conv("data", 32, 3, stride=2)
    for k, count in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for index in range(count):
            x = _grouped(n, x, k, 1 if index else 2, wide=k, group=k // 16)
    n.softmax(n.fc(n.mean(x), 1000))


def inception3(n: Network) -> None:
    def chain(x: str, *layers: tuple[int, int | tuple[int, int]]) -> str:
        for k, side in layers:
            x = n.conv(x, k, side)
        return x

    def pooled(x: str, k: int) -> str:
        return n.conv(n.average(x, 3, 1, pad=1), k, 1)

    x = n.conv(n.conv(n.conv("data", 32, 3, stride=2, pad=0), 32, 3, pad=0), 64, 3)
    x = n.pool(n.conv(n.conv(n.pool(x, 3, 2), 80, 1), 192, 3, pad=0), 3, 2)
    for k in (32, 64, 64):
        third = chain(x, (64, 1), (96, 3), (96, 3))
        x = n.concat(n.conv(x, 64, 1), chain(x, (48, 1), (64, 5)), third, pooled(x, k))
    y = n.conv(chain(x, (64, 1), (96, 3)), 96, 3, stride=2, pad=0)
    x = n.concat(n.conv(x, 384, 3, stride=2, pad=0), y, n.pool(x, 3, 2))
    for k in (128, 160, 160, 192):
        second = chain(x, (k, 1), (k, (1, 7)), (192, (7, 1)))
        third = chain(x, (k, 1), (k, (7, 1)), (k, (1, 7)), (k, (7, 1)), (192, (1, 7)))
        x = n.concat(n.conv(x, 192, 1), second, third, pooled(x, 192))
    y = n.conv(chain(x, (192, 1), (192, (1, 7)), (192, (7, 1))), 192, 3, stride=2, pad=0)
    x = n.concat(n.conv(n.conv(x, 192, 1), 320, 3, stride=2, pad=0), y, n.pool(x, 3, 2))
    for _ in range(2):
        forks = [n.conv(x, 384, 1), chain(x, (448, 1), (384, 3))]
        ends = [n.conv(y, 384, side) for y in forks for side in ((1, 3), (3, 1))]
        x = n.concat(n.conv(x, 320, 1), *ends, pooled(x, 192))
    n.softmax(n.fc(n.mean(x), 1000))


NETWORKS: dict[str, tuple[Callable[[Network], None], tuple[int, ...]]] = {
    "study": (study, (1, 88, 88)),
    "LeNet-5": (lenet5, (1, 28, 28)),
    "CIFAR-10-quick": (cifar10_quick, (3, 32, 32)),
    "large kernels": (large_kernels, (1, 96, 80)),
    "AlexNet": (alexnet, (3, 227, 227)),
    "NiN": (network_in_network, (3, 32, 32)),
    "VGG-11": (vgg11, (3, 64, 64)),
    "ResNet-20": (resnet20, (3, 32, 32)),
    "CaffeNet": (caffenet, (3, 227, 227)),
    "VGG-16": (vgg16, IMAGENET),
    "ResNet-18": (resnet18, IMAGENET),
    "ResNet-50": (resnet50, IMAGENET),
    "SqueezeNet": (squeezenet, IMAGENET),
    "GoogLeNet": (googlenet, IMAGENET),
    "MobileNet-v1": (mobilenet1, IMAGENET),
    "MobileNet-v2": (mobilenet2, IMAGENET),
    "MobileNet-SSD": (mobilenet_ssd, (3, 300, 300)),
    "MobileNet-v3": (mobilenet3, IMAGENET),
    "ShuffleNet-v2": (shufflenet2, IMAGENET),
    "EfficientNet-lite0": (efficientnet_lite0, IMAGENET),
    "YOLO-Fastest-v2": (yolo_fastest2, (3, 352, 352)),
    "NanoDet": (nanodet, (3, 320, 320)),
    "DenseNet-121": (densenet121, IMAGENET),
    "ResNeXt-50": (resnext50, IMAGENET),
    "RegNet-X-400MF": (regnet_x400, IMAGENET),
    "Inception-v3": (inception3, (3, 299, 299)),
}


# Those of `make matrix`.
MATRIX = ["study", "LeNet-5", "CIFAR-10-quick", "CaffeNet", "SqueezeNet", "GoogLeNet", "ResNet-18"]
MATRIX += ["VGG-11", "MobileNet-v1", "MobileNet-v2", "MobileNet-SSD"]


def make(name: str) -> Graph:
    """A network of NETWORKS, canonical."""
    draw, shape = NETWORKS[name]
    network = Network(name, *shape)
    draw(network)
    return network.graph


def named(text: str) -> Graph | Path:
    """What a bench is to run: a network of NETWORKS, or else a file."""
    return make(text) if text in NETWORKS else Path(text)


def main() -> int:
    from model_files import FORMATS, difference, write  # which lies beside

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path)
    add("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}")
    add("--matrix", action="store_true", help=f"those of the study's matrix: {', '.join(MATRIX)}")
    add("--formats", default="onnx", help=f"of {', '.join(FORMATS)} (default: onnx)")
    add("--setup", action="store_true", help="first install the runtimes that write them")
    add("--check", action="store_true", help="write nothing: compare the files with the networks")
    add("--list", action="store_true", help="write nothing: print the names of the ONNX files")
    args = parser.parse_args()
    formats = args.formats.split(",")
    for kind, unknown in (
        ("network", set(args.names) - NETWORKS.keys()),
        ("format", set(formats) - set(FORMATS)),
    ):
        if unknown:
            parser.error(f"no {kind} {min(unknown)!r}")
    names = args.names or (MATRIX if args.matrix else NETWORKS)
    paths = {name: args.folder / name.lower().replace(" ", "-") for name in names}
    if args.list:
        print(*(f"{path}.onnx" for path in paths.values()))
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name, path in paths.items():
        graph = make(name)
        for format_ in formats:
            try:
                if not args.check:
                    write(graph, path, format_, setup=args.setup)
                reason = difference(graph, path, format_)
            except (SetupError, WorkerError, ValueError) as error:
                reason = str(error)
            wrong += bool(reason)
            print(f"{name}, {format_}: {f'FAILED: {reason}' if reason else 'equal'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
