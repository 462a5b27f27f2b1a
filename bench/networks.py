"""How much measuring with `linnet tune` gains over the estimate, on whole networks.

    python bench/networks.py --threads 1,4 --batch 1,16 --isa avx512

The networks have the layers of well-known ones and random weights; the constants of the estimate
are not fitted to them. Both ways run in turns; a gain of 1.10 means that the estimate's choices
take 10 % longer. Measurements go to a temporary file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from linnet import _core, tune


class Network:
    """A chain of layers, with a residual where asked for."""

    def __init__(self, name: str, *shape: int) -> None:
        self.name = name
        self.builder = _core.GraphBuilder(name)
        self.builder.input("data", [0, *shape])
        self.value, self.count, self.random = "data", 0, np.random.default_rng(0)

    def _node(self, op: str, weights: list[Any], **attributes: Any) -> Network:
        self.count += 1
        name = f"{op.lower()}{self.count}"
        inputs = [self.value]
        for i, array in enumerate(weights):
            inputs.append(array if isinstance(array, str) else f"{name}.{i}")
            if not isinstance(array, str):
                self.builder.initializer(inputs[-1], array)
        self.builder.node(op, name, inputs, [name], attributes)
        self.value = name
        return self

    def _weights(self, *shape: int) -> list[Any]:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        w = (self.random.standard_normal(shape) * scale).astype(np.float32)
        return [w, np.zeros(shape[0], np.float32)]

    def conv(self, k: int, side: int, *, pad: int = 0, stride: int = 1) -> Network:
        channels = self.builder.shape(self.value)[1]
        return self._node(
            "Conv",
            self._weights(k, channels, side, side),
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[pad] * 4,
            dilations=[1, 1],
            group=1,
        )

    def relu(self) -> Network:
        return self._node("Relu", [])

    def pool(self, side: int, stride: int) -> Network:
        return self._node(
            "MaxPool",
            [],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[0] * 4,
            dilations=[1, 1],
            ceil_mode=0,
        )

    def mean(self) -> Network:
        return self._node("GlobalAveragePool", [])

    def fc(self, k: int) -> Network:
        shape = self.builder.shape(self.value)
        if len(shape) > 2:
            self._node("Flatten", [], axis=1)
        inputs = int(np.prod(shape[1:]))
        return self._node("Gemm", self._weights(k, inputs), transB=1, alpha=1.0, beta=1.0)

    def block(self, k: int, stride: int = 1) -> Network:
        """Two 3x3 convolutions and what goes around them."""
        source = shortcut = self.value
        if stride > 1:
            shortcut = self.conv(k, 1, stride=stride).value
            self.value = source
        self.conv(k, 3, pad=1, stride=stride).relu().conv(k, 3, pad=1)
        return self._node("Add", [shortcut]).relu()


def lenet() -> Network:
    n = Network("LeNet-5", 1, 28, 28).conv(20, 5).pool(2, 2).conv(50, 5).pool(2, 2)
    return n.fc(500).relu().fc(10)


def large_kernels() -> Network:
    n = Network("large kernels", 1, 96, 80).conv(12, 7).relu().pool(2, 2)
    n.conv(40, 6).relu().pool(3, 3).conv(80, 5).relu()
    return n.fc(128).fc(848)


def alexnet() -> Network:
    n = Network("AlexNet", 3, 227, 227).conv(96, 11, stride=4).relu().pool(3, 2)
    n.conv(256, 5, pad=2).relu().pool(3, 2).conv(384, 3, pad=1).relu().conv(384, 3, pad=1).relu()
    n.conv(256, 3, pad=1).relu().pool(3, 2)
    return n.fc(4096).relu().fc(4096).relu().fc(1000)


def network_in_network() -> Network:
    n = Network("NiN", 3, 32, 32).conv(192, 5, pad=2).relu().conv(160, 1).relu().conv(96, 1).relu()
    n.pool(2, 2).conv(192, 5, pad=2).relu().conv(192, 1).relu().conv(192, 1).relu().pool(2, 2)
    n.conv(192, 3, pad=1).relu().conv(192, 1).relu().conv(10, 1).relu()
    return n.mean()


def vgg() -> Network:
    n = Network("VGG-11", 3, 64, 64)
    for channels, layers in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        for _ in range(layers):
            n.conv(channels, 3, pad=1).relu()
        n.pool(2, 2)
    return n.fc(512).relu().fc(100)


def resnet() -> Network:
    n = Network("ResNet-20", 3, 32, 32).conv(16, 3, pad=1).relu()
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        n.block(channels, stride).block(channels).block(channels)
    return n.mean().fc(10)


NETWORKS = (lenet, large_kernels, alexnet, network_in_network, vgg, resnet)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=numbers, default=[1])
    parser.add_argument("--batch", type=numbers, default=[1, 16])
    parser.add_argument("--isa", default="", help="one of the CPU's; the best by default")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for make in NETWORKS:
        network = make()
        network.builder.output(network.value)
        with tempfile.TemporaryDirectory() as folder:
            tuning = tune.tune(
                network.builder,
                threads=arguments.threads,
                batches=arguments.batch,
                cache=str(Path(folder) / "wisdom.txt"),
                isa=arguments.isa,
            )
        print(f"{network.name}\n  " + "\n  ".join(tuning.lines()[:-1]), flush=True)
        found[network.name] = tuning.to_dict()
    gains = [plan["estimated"] / plan["tuned"] for t in found.values() for plan in t["plans"]]
    print(f"{len(gains)} plans, largest gain {max(gains):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
