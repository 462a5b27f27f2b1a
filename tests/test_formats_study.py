"""The study's network from files of MXNet, ncnn and Darknet: what its ONNX file gives."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from mxnet_files import params, symbol

import linnet
from linnet import digits, formats, passes
from linnet.graph import Graph

BOUND = 1e-5  # of the rms of the logits


@pytest.fixture(scope="module")
def study() -> Graph:
    return passes.canonicalize(formats.read(digits.MODEL))


@pytest.fixture(scope="module")
def wanted(study: Graph) -> tuple[Any, Any]:
    """Some digits, and their logits."""
    x = np.random.default_rng(0).random((3, 1, 88, 88), np.float32)
    net = linnet.load(study, threads=1)
    logits = study.nodes[-1].inputs[0]
    return x, net.run([logits], {net.inputs[0].name: x})[0]


def arrays(graph: Graph) -> list[tuple[Any, Any]]:
    """Weights and biases of each layer that has them."""
    pairs = [n.inputs[1:3] for n in graph.nodes if n.op in ("Conv", "Gemm")]
    return [(graph.initializers[w], graph.initializers[b]) for w, b in pairs]


def close(got: Any, wanted: Any) -> None:
    rms = np.sqrt((wanted.astype(np.float64) ** 2).mean())
    assert np.abs(got.reshape(wanted.shape) - wanted).max() <= BOUND * rms


def mxnet(graph: Graph) -> tuple[list[Any], dict[str, Any]]:
    """Nodes of a symbol, and parameters."""
    nodes: list[Any] = [("null", "data", {}, [])]
    stored: dict[str, Any] = {}
    before, weights = "data", iter(arrays(graph))
    for index, node in enumerate(graph.nodes):
        name, attrs, inputs = f"n{index}", node.attrs, [before]
        settings: dict[str, Any] = {}
        op = {"Conv": "Convolution", "Gemm": "FullyConnected", "MaxPool": "Pooling"}.get(node.op)
        if op in ("Convolution", "FullyConnected"):
            for what, array in zip(("weight", "bias"), next(weights)):
                stored[f"arg:{name}_{what}"] = array
                nodes.append(("null", f"{name}_{what}", {}, []))
                inputs.append(f"{name}_{what}")
            count = stored[f"arg:{name}_bias"].size
            key = "num_filter" if op == "Convolution" else "num_hidden"
            settings = {key: count}
        if op in ("Convolution", "Pooling"):
            settings["kernel"] = tuple(attrs["kernel_shape"])
            settings["stride"] = tuple(attrs.get("strides", (1, 1)))
            settings["pad"] = tuple(attrs.get("pads", (0, 0))[:2])
        if op == "Pooling":
            settings["pool_type"] = "max"
        if node.op == "Relu":
            op, settings = "Activation", {"act_type": "relu"}
        if node.op == "Flatten":
            op = "Flatten"
        if node.op == "Softmax":
            op = "SoftmaxOutput"
            nodes.append(("null", "label", {}, []))
            inputs.append("label")
        assert op is not None, node.op
        nodes.append((op, name, settings, inputs))
        before = name
    return nodes, stored


def logits_of(net: Any, name: str, x: Any) -> Any:
    return net.run([name], {net.inputs[0].name: x})[0]


@pytest.mark.parametrize("form", ["1.9.1", "gluon", "0.8"])
def test_mxnet(study: Graph, wanted: tuple[Any, Any], form: str) -> None:
    nodes, stored = mxnet(study)
    if form == "gluon":  # an export ends before the softmax, and puts shapes beside parameters
        nodes = [(op, f"net0_{n}" if n != "data" else n, s, [f"net0_{i}" if i != "data" else i
                  for i in ins]) for op, n, s, ins in nodes[:-2]]  # fmt: skip
        stored = {f"arg:net0_{key[4:]}": array for key, array in stored.items()}
        nodes = [
            (op, n, {"__shape__": str(stored[f"arg:{n}"].shape)} if f"arg:{n}" in stored else s, i)
            for op, n, s, i in nodes
        ]
    text, version = symbol(*nodes), 2
    if form == "0.8":
        found = json.loads(text)
        for node in found["nodes"]:
            node["param"] = node.pop("attrs")
            node["inputs"] = [entry[:2] for entry in node["inputs"]]
            node["backward_source_id"] = -1
        found["heads"] = [head[:2] for head in found["heads"]]
        del found["attrs"]
        text, version = json.dumps(found).encode(), 0
    net = linnet.load(text, params(stored, version), threads=1)
    x, logits = wanted
    last = len(nodes) - 1 if form == "gluon" else len(nodes) - 3
    close(logits_of(net, f"{nodes[last][1]}_output", x), logits)


def test_ncnn(study: Graph, wanted: tuple[Any, Any]) -> None:
    lines, data = ["Input data 0 1 data 0=88 1=88 2=1"], b""
    before, weights = "data", iter(arrays(study))
    for index, node in enumerate(study.nodes):
        name, settings = f"n{index}", ""
        kind = {"Conv": "Convolution", "Gemm": "InnerProduct", "MaxPool": "Pooling", "Relu": "ReLU"}
        sides = node.attrs.get("kernel_shape", [0])
        strides = node.attrs.get("strides", [1])
        if node.op in ("Conv", "Gemm"):
            w, b = next(weights)
            data += bytes(4) + w.tobytes() + b.tobytes()
            settings = f"0={b.size} 1=1 2={w.size}"
            if node.op == "Conv":
                settings = f"0={b.size} 1={sides[0]} 3={strides[0]} 5=1 6={w.size}"
        elif node.op == "MaxPool":
            settings = f"0=0 1={sides[0]} 2={strides[0]} 5=1"
        elif node.op == "Softmax":
            settings = "0=0 1=1"
        lines.append(f"{kind.get(node.op, node.op)} {name} 1 1 {before} {name} {settings}")
        before = name
    text = f"7767517\n{len(lines)} {len(lines)}\n" + "\n".join(lines) + "\n"
    net = linnet.load(text.encode(), data, threads=1)
    x, logits = wanted
    for image, row in zip(x, logits):
        close(logits_of(net, f"n{len(study.nodes) - 2}", image), row)


def test_darknet(study: Graph, wanted: tuple[Any, Any]) -> None:
    text, data = "[net]\nwidth=88\nheight=88\nchannels=1\n", struct.pack("<3iq", 0, 2, 5, 0)
    weights = iter(arrays(study))
    nodes = study.nodes
    last = ""
    count = 0
    for node, after in zip(nodes, nodes[1:]):
        activation = "relu" if after.op == "Relu" else "linear"
        sides = node.attrs.get("kernel_shape", [0])
        strides = node.attrs.get("strides", [1])
        if node.op in ("Conv", "Gemm"):
            w, b = next(weights)
            data += b.tobytes() + w.tobytes()
            section = f"[connected]\noutput={b.size}\n"
            if node.op == "Conv":
                section = (
                    f"[convolutional]\nfilters={b.size}\nsize={sides[0]}\nstride={strides[0]}\n"
                )
            text += f"{section}activation={activation}\n"
        elif node.op == "MaxPool":
            text += f"[maxpool]\nsize={sides[0]}\nstride={strides[0]}\npadding=0\n"
        else:
            continue
        last = f"{'connected' if node.op == 'Gemm' else 'convolutional'}_{count}"
        count += 1
    net = linnet.load((text + "[softmax]\n").encode(), data, threads=1)
    x, logits = wanted
    close(logits_of(net, last, x), logits)
