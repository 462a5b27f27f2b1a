"""Make `keras/first.keras`, as the first version with this format wrote it, and `first.npz`, its
input and output: `python tests/data/make_keras12.py`, with TensorFlow 2.12 and its Keras.
"""

from __future__ import annotations

import os
import pathlib
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from keras import Model, Sequential, layers

HERE = pathlib.Path(__file__).parent / "keras"


def main() -> None:
    random = np.random.default_rng(18)
    x = image = layers.Input((8, 6, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="one")(x)
    inner = Sequential([layers.Conv2D(4, 1), layers.BatchNormalization()], name="inner")
    x = layers.Add()([inner(x), layers.DepthwiseConv2D(3, padding="same")(x)])
    model = Model(image, layers.Dense(3, name="scores")(layers.Flatten()(x)))
    model.set_weights(
        [
            np.abs(w) if "variance" in variable.name else w
            for variable in model.weights
            for w in [random.integers(-16, 17, variable.shape) / 16]
        ]
    )
    file = HERE / "first.keras"
    model.save(file, save_format="keras_v3")
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    x = np.float32(random.integers(-16, 17, (2, 8, 6, 3)) / 16)
    np.savez_compressed(HERE / "first.npz", x=x, y=model(x, training=False))


if __name__ == "__main__":
    main()
