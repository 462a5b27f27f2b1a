"""Makes a small network with TensorFlow's converter, in each of its types, and what LiteRT computes
of them: *.tflite and networks.npz.

    pip install tensorflow==2.21.0 ai-edge-litert==2.3.0; python tests/data/tflite/make_networks.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

FOLDER = Path(__file__).parent


def network() -> tf.keras.Model:
    """Blocks of MobileNets, a branch of another size, squeeze and excitation, two outputs."""
    layers = tf.keras.layers
    x = inputs = tf.keras.Input((18, 14, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    skip = x
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(gate))
    x = layers.Add()([layers.Conv2D(8, 1)(layers.Multiply()([x, gate])), skip])
    wide = x = layers.Conv2D(12, 3, dilation_rate=2, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2D(12, 3, padding="same")(layers.LeakyReLU(0.1)(x))
    up = layers.Conv2DTranspose(12, 2, strides=2, padding="valid")(x)
    up = layers.Cropping2D(((0, 1), (0, 1)))(up)
    joined = layers.Concatenate()([up, wide])
    boxes = layers.Reshape((9 * 7, 4))(layers.Conv2D(4, 1)(joined))
    x = layers.Flatten()(layers.AveragePooling2D(3)(joined))
    x = layers.Dense(10, activation="softmax")(x)
    return tf.keras.Model(inputs, [x, boxes])


def main() -> None:
    tf.keras.utils.set_random_seed(1)
    model = network()
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    images = random.uniform(-1, 1, (32, 18, 14, 3)).astype(np.float32)

    def convert(name: str) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if name != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if name == "int8":
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())

    results = {}
    for name in ("float", "float16", "dynamic", "int8"):
        data = convert(name)
        (FOLDER / f"{name}.tflite").write_bytes(data)
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        net = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
        net.allocate_tensors()
        (info,) = net.get_input_details()
        x = images[:1]
        if info["dtype"] == np.int8:
            scale, zero = info["quantization"]
            x = np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)
        net.set_tensor(info["index"], x)
        net.invoke()
        results[f"{name}.x"] = x
        for index, output in enumerate(net.get_output_details()):
            results[f"{name}.{index}"] = net.get_tensor(output["index"])
    np.savez_compressed(FOLDER / "networks.npz", **results)


if __name__ == "__main__":
    main()
