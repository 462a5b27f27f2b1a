"""Makes a network of two LSTMs with TensorFlow's converter, and what LiteRT computes of one call
after another: lstm.tflite and recurrent.npz.

    pip install tensorflow==2.21.0 tf_keras==2.21.0; python tests/data/tflite/make_recurrent.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

FOLDER = Path(__file__).parent
RANDOM = np.random.default_rng(3)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return (RANDOM.integers(-16, 17, shape) / 16).astype(np.float32)


def main() -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input((5, 3), batch_size=1, name="x"),
            layers.LSTM(4, return_sequences=True),
            layers.LSTM(3),
            layers.Dense(2),
        ]
    )
    for layer in model.layers:
        layer.set_weights([numbers(w.shape) for w in layer.weights])
    data = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (FOLDER / "lstm.tflite").write_bytes(data)
    net = tf.lite.Interpreter(model_content=data)
    net.allocate_tensors()
    x, found = numbers((1, 5, 3)), []
    for _ in range(3):
        net.set_tensor(net.get_input_details()[0]["index"], x)
        net.invoke()
        found.append(net.get_tensor(net.get_output_details()[0]["index"]))
    np.savez_compressed(FOLDER / "recurrent.npz", x=x, y=np.stack(found))


if __name__ == "__main__":
    main()
