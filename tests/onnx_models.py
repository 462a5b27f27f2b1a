"""Models of a few nodes, and what ONNX Runtime makes of them."""

from __future__ import annotations

import numpy as np
import pytest

import linnet
from linnet import formats, interpret, passes
from linnet.formats.onnx_write import save

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(nodes, constants, shape, *, opset=18, outputs=("y",)):
    """With the input x; nodes are (operator, inputs, outputs, attributes). Outputs whose names end
    in "places" are int64.
    """
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(op, inputs.split(","), results.split(","), **attrs)
            for op, inputs, results, attrs in nodes
        ],
        "test",
        [onnx.helper.make_tensor_value_info("x", FLOAT, shape)],
        [
            onnx.helper.make_tensor_value_info(
                name, INT64 if name.endswith("places") else FLOAT, None
            )
            for name in outputs
        ],
        [
            onnx.numpy_helper.from_array(np.asarray(array), name)
            for name, array in constants.items()
        ],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
    )


def agree(proto, folder, shape, *, bound=1e-5, operators=None):
    """The file read, made canonical and interpreted; run; written, read by the core and run."""
    path, again = folder / "model.onnx", folder / "again.onnx"
    path.write_bytes(proto.SerializeToString())
    x = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    theirs = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    graph = passes.canonicalize(formats.read(path))
    if operators is not None:
        assert [node.op for node in graph.nodes] == operators.split()
    save(graph, again)
    sessions = [linnet.load(path), linnet.load(again), linnet.load(path, algorithm="direct-ref")]
    every = [list(interpret.run(graph, {"x": x}).values())]
    every += [net.run(x) for net in sessions]
    for ours in every:
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert a.shape == b.shape
            scale = max(1.0, float(np.sqrt(np.mean(np.square(b, dtype=np.float64)))))
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale)
