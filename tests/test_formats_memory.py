"""How much memory readers take: three times the file and 8 MB, with protobuf in pure Python."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from caffe_models import layer, weights_file
from mxnet_files import params, symbol
from tf_models import Builder
from tflite_models import Op, Tensor, constant
from tflite_models import model as tflite_model

import linnet
from linnet.formats import _schema

INPUTS, OUTPUTS = 1024, 3072
W = np.random.default_rng(0).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)

# Reads each model in turn, and prints how much more memory than before that took at most.
CHILD = """
import importlib, sys
from pathlib import Path
from linnet import core, formats, passes

def status(key):
    lines = Path("/proc/self/status").read_text().split("\\n")
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10

for files in map(str.split, sys.stdin):
    importlib.import_module("linnet.formats." + formats.recognise(formats.Source(files[0])).reader)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    graph = passes.canonicalize(formats.read(*files))
    print(status("VmHWM") - before, flush=True)
    del graph
"""


def darknet() -> tuple[str, bytes]:
    text = f"[net]\nwidth=1\nheight=1\nchannels={INPUTS}\n[connected]\noutput={OUTPUTS}\n"
    head = struct.pack("<3iq", 0, 2, 5, 0)
    return text + "activation=linear\n", head + bytes(4 * OUTPUTS) + W.tobytes()


def ncnn() -> tuple[str, bytes]:
    settings = f"0={OUTPUTS} 1=0 2={W.size}"
    text = f"7767517\n2 2\nInput x 0 1 x 0={INPUTS}\nInnerProduct y 1 1 x y {settings}\n"
    return text, struct.pack("<I", 0) + W.tobytes()


def functions() -> bytes:
    """A SavedModel of a node, and of functions that nobody calls, as Keras writes one for every way
    to call a layer.
    """
    builder = Builder().input(-1, 3).add("Relu", "y", "x")
    kind, stored = _schema.tensorflow("NodeDef"), []
    for index in range(50):
        node = kind(name=f"node{index}", op="Identity", input=[f"node{index - 1}:output:0"])
        for key in ("T", "_XlaScope", "_class"):
            node.attr.add(key=key).value.type = 1
        stored.append(node.SerializeToString())
    for index in range(800):
        made = builder.graph.library.function.add(node_def=stored)
        made.signature.name = f"function{index}"
    saved = _schema.tensorflow("SavedModel")()
    meta = saved.meta_graphs.add(graph_def=builder.graph)
    signature = meta.signature_def.add(key="serving_default").value
    for side, name in ((signature.inputs, "x"), (signature.outputs, "y")):
        side.add(key=name).value.name = f"{name}:0"
    return bytes(saved.SerializeToString())


def models() -> dict[str, tuple[str | bytes, ...]]:
    """Models of one large matrix, what their files hold, by the name of the first."""
    text = f'input: "x" input_shape {{ dim: 1 dim: {INPUTS} }}'
    text += layer("InnerProduct", settings=f"inner_product_param {{ num_output: {OUTPUTS} }}")
    dense = {"num_hidden": OUTPUTS, "no_bias": True}
    nodes = [("null", "data", {}, []), ("null", "w", {}, [])]
    net = symbol(*nodes, ("FullyConnected", "y", dense, ["data", "w"]))
    tensors = {"x": Tensor((1, INPUTS)), "y": Tensor((1, OUTPUTS)), "w": constant(W, "float32")}
    call = Op("FULLY_CONNECTED", ["x", "w"], ["y"], (8, {}))
    graph = Builder().input(-1, INPUTS).const("w", W.T).add("MatMul", "y", "x", "w")
    return {
        "a.prototxt": (text, weights_file({"y": [W, np.zeros(OUTPUTS, np.float32)]})),
        "b.tflite": (tflite_model(tensors, [call], ["x"], ["y"]),),
        "c.pb": (graph.data(),),
        "d-symbol.json": (net, params({"arg:w": W})),
        "e.cfg": darknet(),
        "f.param": ncnn(),
        "g.pb": (functions(),),
    }


def test_memory_of_reading(tmp_path: Path) -> None:
    given: list[str] = []
    sizes: dict[str, int] = {}
    for name, parts in models().items():
        paths = [tmp_path / name, tmp_path / f"{name}.weights"][: len(parts)]
        for path, data in zip(paths, parts):
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        given.append(" ".join(map(str, paths)))
        sizes[name] = sum(len(data) for data in parts)
    linnet.convert(*given[0].split(), tmp_path / "h.onnx")
    given.append(str(tmp_path / "h.onnx"))
    sizes["h.onnx"] = (tmp_path / "h.onnx").stat().st_size
    # What is freed goes back at once.
    environment: dict[str, Any] = {
        **os.environ,
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="\n".join(given),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peaks = dict(zip(sizes, map(int, done.stdout.split())))
    assert peaks.keys() == sizes.keys()
    for name, peak in peaks.items():
        assert peak <= 3 * sizes[name] + (8 << 20), name
