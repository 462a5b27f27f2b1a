"""What several tests need."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from linnet.graph import Graph, Node, Value

os.environ["LINNET_WISDOM"] = ""  # no test depends on what was measured on this machine before


# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def small() -> Graph:
    """A classifier of 2x9x11 to 7 classes with all that gets fused: bias, ReLU, pool, residual."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        scale = 1 / np.sqrt(np.prod(shape[1:]))  # keeps the values' size through the layers
        return np.asarray(random.normal(size=shape) * scale, np.float32)

    def conv(name: str, x: str, pad: int) -> Node:
        size = 2 * pad + 1
        attrs = {
            "kernel_shape": [size, size],
            "strides": [1, 1],
            "pads": [pad] * 4,
            "dilations": [1, 1],
            "group": 1,
        }
        return Node("Conv", name, [x, f"{name}.w", f"{name}.b"], [name], attrs)

    pool = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4}
    nodes = [
        conv("conv1", "data", 1),
        Node("Relu", "relu1", ["conv1"], ["relu1"]),
        Node("MaxPool", "pool1", ["relu1"], ["pool1"], pool),
        conv("conv2", "pool1", 0),
        Node("Add", "add", ["conv2", "pool1"], ["add"]),
        Node("Relu", "relu2", ["add"], ["relu2"]),
        Node("Flatten", "flat", ["relu2"], ["flat"], {"axis": 1}),
        Node("Gemm", "fc", ["flat", "fc.w", "fc.b"], ["fc"], {"transB": 1}),
        Node("Softmax", "prob", ["fc"], ["prob"], {"axis": 1}),
    ]
    initializers = {
        "conv1.w": weights(5, 2, 3, 3),
        "conv1.b": weights(5),
        "conv2.w": weights(5, 5, 1, 1),
        "conv2.b": weights(5),
        "fc.w": weights(7, 5 * 4 * 5),
        "fc.b": weights(7),
    }
    return Graph("small", nodes, initializers, [Value("data", (0, 2, 9, 11))], ["prob"])
