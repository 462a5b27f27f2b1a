"""Make `conversions.npz`: one network as TensorFlow, Keras, TensorFlow Lite, tf2onnx and PyTorch
export it.

    pip install tensorflow==2.21.0 tf_keras==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx onnxscript \\
        torch==2.13.0
    python tests/data/make_conversions.py            # the digit model's structure, small
    python tests/data/make_conversions.py FOLDER     # the digit model itself, as files

The network is defined by its weights as PyTorch has them. `conversions.npz` holds, as
tests/packed.py does, the bytes of each file, `model`, by its name, those of a folder as a zip; its
case "network" has the weights, an input [N, 1, H, W] and the logits.
"""

from __future__ import annotations

import io
import os
import pathlib
import sys
import tempfile
import zipfile
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tf_keras
import torch
from onnx import numpy_helper
from tf_keras.src import backend  # of sessions
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from packed import pack

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = ROOT / "src" / "linnet" / "models" / "digits.onnx"
CONVOLUTIONS = (("conv1", 2), ("conv2", 3), ("conv3", 0))  # and the pool behind
SMALL = {"conv1": (4, 1, 7, 7), "conv2": (6, 4, 6, 6), "conv3": (8, 6, 5, 5)}
SMALL |= {"fc1": (16, 128), "fc2": (10, 16)}
Weights = dict[str, Any]


def small() -> tuple[int, Weights]:
    """The size of the input, and weights that take little room in a file."""
    random = np.random.default_rng(16)
    weights: Weights = {}
    for name, shape in SMALL.items():
        weights[f"{name}.weight"] = random.integers(-4, 5, shape) / 32
        weights[f"{name}.bias"] = random.integers(-4, 5, shape[0]) / 32
    return 64, {name: np.float32(array) for name, array in weights.items()}


def digits() -> tuple[int, Weights]:
    graph = onnx.load(DIGITS).graph
    names = (tensor.name.removesuffix("_f16").replace("_", ".") for tensor in graph.initializer)
    arrays = (np.float32(numpy_helper.to_array(tensor)) for tensor in graph.initializer)
    return 88, dict(zip(names, arrays))


class Torch(nn.Module):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        for name, array in weights.items():
            if name.endswith(".weight"):
                layer = nn.Conv2d if array.ndim == 4 else nn.Linear
                made = layer(array.shape[1], array.shape[0], *array.shape[2:3])
                setattr(self, name.removesuffix(".weight"), made)
        self.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})

    def logits(self, x: Any) -> Any:
        for name, pool in CONVOLUTIONS:
            x = torch.relu(getattr(self, name)(x))
            x = torch.max_pool2d(x, pool) if pool else x
        return self.fc2(self.fc1(torch.flatten(x, 1)))

    def forward(self, data: Any) -> Any:
        return torch.softmax(self.logits(data), 1)


def of_keras(k: Any, size: int, weights: Weights) -> Any:
    layers = k.layers
    x = data = layers.Input((size, size, 1), name="data")
    for name, pool in CONVOLUTIONS:
        filters, _, side, _ = weights[f"{name}.weight"].shape
        x = layers.Conv2D(filters, side, activation="relu", name=name)(x)
        x = layers.MaxPooling2D(pool)(x) if pool else x
    image = x.shape[1:]
    x = layers.Flatten()(x)
    x = layers.Dense(len(weights["fc1.bias"]), name="fc1")(x)
    x = layers.Dense(len(weights["fc2.bias"]), activation="softmax", name="fc2")(x)
    model = k.Model(data, x)
    for name in ("conv1", "conv2", "conv3", "fc1", "fc2"):
        kernel = weights[f"{name}.weight"]
        if name == "fc1":  # rows in the order of channels, height, width
            high, wide, channels = image
            turned = kernel.reshape(-1, channels, high, wide).transpose(2, 3, 1, 0)
            kernel = turned.reshape(-1, len(kernel)).T
        order = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
        model.get_layer(name).set_weights([kernel.transpose(order), weights[f"{name}.bias"]])
    return model


def of_tensorflow(folder: pathlib.Path, model: Any, keras3: Any, images: Any) -> None:
    """frozen.pb, SavedModels, files of Keras 2 and 3, and of TensorFlow Lite in four types."""
    tf.saved_model.save(model, str(folder / "saved"))
    keras3.export(str(folder / "exported"), verbose=False)
    for made, version in ((model, 2), (keras3, 3)):
        made.save(folder / f"keras{version}.h5")
        made.save(folder / f"keras{version}.keras")
    for kind in ("float", "float16", "dynamic", "int8"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if kind != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if kind == "int8":
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        (folder / f"{kind}.tflite").write_bytes(converter.convert())
    tf2onnx.convert.from_keras(model, opset=18, output_path=str(folder / "tf2onnx.onnx"))
    # A session last: models that were made before are of no use behind it.
    v1, trained = tf.compat.v1, model.get_weights()
    with tf.Graph().as_default(), v1.Session() as session:
        backend.set_session(session)
        again = tf_keras.models.clone_model(model)
        again.set_weights(trained)
        graph = v1.graph_util.convert_variables_to_constants(
            session, session.graph.as_graph_def(), [again.output.op.name]
        )
        (folder / "frozen.pb").write_bytes(graph.SerializeToString())


def of_torch(folder: pathlib.Path, model: Any, size: int) -> None:
    x = torch.zeros(2, 1, size, size)
    names: dict[str, Any] = {"input_names": ["data"], "output_names": ["prob"]}
    free = {"data": {0: "n"}, "prob": {0: "n"}}
    torch.onnx.export(
        model, (x,), str(folder / "torch.onnx"), dynamo=False, dynamic_axes=free, **names
    )
    torch.onnx.export(
        model,
        (x,),
        str(folder / "dynamo.onnx"),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
        **names,
    )


def zipped(folder: pathlib.Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.parent.name == "variables" or path.name == "saved_model.pb":
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
    return file.getvalue()


def main() -> None:
    size, weights = digits() if sys.argv[1:] else small()
    images = np.random.default_rng(17).integers(0, 256, (24, size, size, 1)) / np.float32(255)
    images = images.astype(np.float32)
    model = Torch(weights).eval()
    x = np.ascontiguousarray(images[:2].transpose(0, 3, 1, 2))
    with torch.no_grad():
        logits = model.double().logits(torch.from_numpy(x).double()).numpy()
    model = model.float()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(sys.argv[1] if sys.argv[1:] else temporary)
        folder.mkdir(exist_ok=True)
        both = [of_keras(k, size, weights) for k in (tf_keras, keras)]
        of_tensorflow(folder, *both, images)
        of_torch(folder, model, size)
        network = {**weights, "x": x, "logits": logits}
        if sys.argv[1:]:
            np.savez(folder / "network.npz", **network)
            return
        cases = {"network": network}
        for path in sorted(folder.iterdir()):
            data = zipped(path) if path.is_dir() else path.read_bytes()
            cases[path.name] = {"model": data}
        pack(pathlib.Path(__file__).with_name("conversions.npz"), cases)


if __name__ == "__main__":
    main()
