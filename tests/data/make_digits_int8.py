"""Write the digit model in integers, and what ONNX Runtime computes of it.

    python tests/data/make_digits_int8.py

Runs in the environment of the tests, on 64-bit machines.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from linnet import cli
from linnet.digits import held_out

DATA = Path(__file__).resolve().parent
MODEL = DATA / "digits_int8.onnx"
IMAGES = 4


def main() -> None:
    options = ["--objective", "bytes", "--precisions", "int8"]
    assert cli.main(["quantize", "digits", *options, "-o", str(MODEL)]) == 0
    model = onnx.load(MODEL)
    made = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for name in made:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None)
        )
    as_defined = onnxruntime.SessionOptions()
    as_defined.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    net = onnxruntime.InferenceSession(model.SerializeToString(), as_defined)
    values = net.run(made, {"data": held_out(88).images[:IMAGES]})
    large = dict(zip(made, values))
    kept = {name: q for name, q in large.items() if q[0].size < 30_000}
    (prob,) = net.run(["prob"], {"data": held_out(88).images})
    np.savez_compressed(MODEL.with_suffix(".npz"), classes=prob.argmax(axis=1), **kept)


if __name__ == "__main__":
    main()
