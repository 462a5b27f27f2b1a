"""Make `keras/keras1.npz`: files as Keras 1.2 wrote them, with inputs and results, as
tests/packed.py has them.

    pip install tensorflow==2.21.0 && pip install --no-deps keras==1.2.2 --target KERAS1
    PYTHONPATH=KERAS1 python tests/data/make_keras1.py

That Keras is of TensorFlow 1 and Python 3.5: what it calls is given its old names.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import os
import pathlib
import sys
import tempfile
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="tensorflow")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from packed import pack

v1 = tf.compat.v1
OLD_NAMES = {
    "batch_matmul": tf.matmul,
    "concat_v2": tf.concat,
    "mul": tf.multiply,
    "pack": tf.stack,
    "reverse_v2": tf.reverse,
    "select": v1.where,
    "unpack": tf.unstack,
}


def old_keras() -> Any:
    v1.disable_v2_behavior()
    v1.disable_resource_variables()
    for name, function in OLD_NAMES.items():
        setattr(v1, name, function)
    collections.Iterable = collections.abc.Iterable
    inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]
    keras = importlib.import_module("keras")
    importlib.import_module("keras.backend.tensorflow_backend").tf = v1
    return keras


keras = old_keras()
layers, models = keras.layers, keras.models
merge = layers.merge
HERE = pathlib.Path(__file__).parent / "keras"
RANDOM = np.random.default_rng(21)


def numbers(*shape: int, positive: bool = False) -> Any:
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def windows() -> Any:
    """Convolutions in their old names, and normalisation with its `running_std`."""
    c = layers
    x = image = c.Input((9, 8, 3), name="image")
    x = c.Convolution2D(4, 3, 3, border_mode="same", subsample=(2, 2), bias=False)(x)
    x = c.BatchNormalization(mode=0, axis=-1, epsilon=1e-2)(x)
    x = c.Activation("relu")(x)
    x = c.AtrousConvolution2D(4, 2, 2, atrous_rate=(2, 2), activation="tanh")(x)
    x = c.SeparableConvolution2D(5, 2, 2, border_mode="same", depth_multiplier=2)(x)
    return models.Model(image, c.GlobalAveragePooling2D()(x))


def merged() -> Any:
    """Merges of every kind, padding in its three forms, pools."""
    c = layers
    image = c.Input((6, 8, 3), name="image")
    a = c.ZeroPadding2D((1, 2))(image)
    a = c.MaxPooling2D((2, 3), strides=(1, 2), border_mode="valid")(a)
    a = c.Convolution2D(4, 1, 1)(a)
    b = c.Convolution2D(4, 1, 1, activation="hard_sigmoid")(
        c.AveragePooling2D((2, 3), (1, 2), border_mode="same")(c.ZeroPadding2D((0, 1, 2, 1))(image))
    )
    b = c.Cropping2D(((0, 0), (0, 1)))(b)
    y = [merge([a, b], mode=mode) for mode in ("sum", "mul", "ave", "max")]
    y = merge(y, mode="concat", concat_axis=-1)
    return models.Model(image, c.UpSampling2D((2, 1))(y))


def sequence() -> Any:
    """A Sequential, whose configuration is a list, of rows; Dropout's p."""
    c = layers
    model = models.Sequential()
    model.add(c.Convolution1D(4, 3, border_mode="same", input_shape=(10, 3), subsample_length=2))
    model.add(c.LeakyReLU(0.2))
    model.add(c.MaxPooling1D(pool_length=2, stride=1))
    model.add(c.Dropout(0.5))
    model.add(c.SpatialDropout1D(0.5))
    model.add(c.ZeroPadding1D(1))
    model.add(c.Flatten())
    model.add(c.Dense(6, init="he_normal", W_regularizer="l2"))
    model.add(c.PReLU())
    model.add(c.Reshape((2, 3)))
    model.add(c.Permute((2, 1)))
    model.add(c.Flatten())
    model.add(c.Dense(3, activation="softmax", bias=False))
    return model


def branches() -> Any:
    """A Sequential that begins with a Merge of two, shared with nothing."""
    c = layers
    parts = []
    for filters in (2, 3):
        part = models.Sequential()
        part.add(c.Convolution2D(filters, 3, 3, border_mode="same", input_shape=(5, 6, 3)))
        parts.append(part)
    model = models.Sequential()
    model.add(c.Merge(parts, mode="concat", concat_axis=-1))
    model.add(c.Flatten())
    model.add(c.Dense(3))
    return model


def larger() -> Any:
    """Transposed, with the shape it makes; a network of its own in it, called twice."""
    c = layers
    inner_image = c.Input((3, 4, 2))
    inner = models.Model(inner_image, c.Convolution2D(2, 3, 3, border_mode="same")(inner_image))
    image = c.Input((3, 4, 2), name="image")
    x = c.ELU(0.5)(inner(inner(image)))
    x = c.Deconvolution2D(
        3, 3, 3, output_shape=(None, 6, 8, 3), subsample=(2, 2), border_mode="same"
    )(x)
    return models.Model(image, c.ThresholdedReLU(0.25)(x))


def channels_first() -> Any:
    """Without convolutions, whose kernels are another matter on Theano."""
    c = layers
    image = c.Input((3, 6, 8), name="image")
    x = c.MaxPooling2D((2, 2), dim_ordering="th")(image)
    x = c.BatchNormalization(axis=1)(x)
    return models.Model(image, c.Dense(3)(c.Flatten()(x)))


def theano() -> Any:
    image = layers.Input((3, 6, 8), name="image")
    return models.Model(image, layers.Convolution2D(2, 3, 3, dim_ordering="th")(image))


def main() -> None:
    cases = {}
    assert keras.__version__ == "1.2.2"
    for make in (windows, merged, sequence, branches, larger, channels_first, theano):
        model = make()
        for layer in model.layers:
            given = zip(layer.weights, layer.get_weights())
            layer.set_weights([numbers(*w.shape, positive="std" in v.name) for v, w in given])
        xs = [numbers(2, *shape[1:]) for shape in shapes(model)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "model.h5")
            model.save(path)
            cases[make.__name__] = {"model": path.read_bytes()}
        if make is not theano:
            cases[make.__name__].update({f"x/{index}": x for index, x in enumerate(xs)})
            cases[make.__name__]["y"] = model.predict(xs)
    pack(HERE / "keras1.npz", cases)


def shapes(model: Any) -> Any:
    given = model.input_shape
    return given if isinstance(given, list) else [given]


if __name__ == "__main__":
    main()
