"""Makes operators.npz: what LiteRT computes of the models in tests/tflite_cases.py.

pip install ai-edge-litert==2.3.0; PYTHONPATH=tests python tests/data/tflite/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tflite_cases
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def main() -> None:
    results = {}
    for name, case in tflite_cases.every().items():
        # Its reference kernels, which are of one mind on every machine; ELU has none, and that of
        # LRN leaves out the last channel of each window, unlike TensorFlow. Numbers between
        # integers are XNNPACK's: the reference kernel of int8 knows scales to 1/1024 only, which
        # comes to whole pixels far from the first one.
        resolver = OpResolverType.BUILTIN_REF
        if name in ("ELU", "lrn"):
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if "_between_" in name:
            resolver = OpResolverType.AUTO
        net = Interpreter(model_content=case.model, experimental_op_resolver_type=resolver)
        net.allocate_tensors()
        for info, array in zip(net.get_input_details(), case.inputs):
            net.set_tensor(info["index"], array)
        net.invoke()
        for index, info in enumerate(net.get_output_details()):
            results[f"{name}.{index}"] = net.get_tensor(info["index"])
    np.savez_compressed(Path(__file__).with_name("operators.npz"), **results)


if __name__ == "__main__":
    main()
