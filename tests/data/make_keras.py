"""Make the reference data of Keras: `python tests/data/make_keras.py`, with TensorFlow 2.21, Keras
3.15 and tf_keras 2.21.

`layers2.npz` and `layers3.npz` hold small models of Keras 2 and 3 as tests/packed.py has them: each
its configuration, `config`, its weights, `w/LAYER/0` and so on, inputs `x0` ... and the output `y`.
The others are whole files, as Keras writes them, of one model; `files.npz` has its input and
outputs.
"""

from __future__ import annotations

import gzip
import os
import pathlib
import sys
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tf_keras

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from packed import pack

HERE = pathlib.Path(__file__).parent / "keras"
RANDOM = np.random.default_rng(11)


def numbers(shape, positive=False):
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def cases(k, version):
    """(name, shapes of inputs, layers one after the other or a function of the inputs)."""
    layers = k.layers
    yield "conv_valid", [(6, 5, 3)], [layers.Conv2D(4, (3, 2), activation="relu")]
    yield "conv_same_even", [(6, 8, 3)], [layers.Conv2D(2, 3, strides=2, padding="same")]
    yield "conv_dilated", [(9, 8, 2)], [layers.Conv2D(2, 3, dilation_rate=(2, 1), padding="same")]
    yield "conv_grouped", [(5, 5, 4)], [layers.Conv2D(6, 3, groups=2, use_bias=False)]
    yield "conv_rows", [(9, 3)], [layers.Conv1D(4, 3, strides=2, padding="same")]
    yield "conv_causal", [(7, 2)], [layers.Conv1D(3, 3, dilation_rate=2, padding="causal")]
    yield "depthwise", [(6, 5, 3)], [layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")]
    yield "separable", [(7, 5, 2)], [layers.SeparableConv2D(3, 3, depth_multiplier=2)]
    yield "separable_rows", [(7, 2)], [layers.SeparableConv1D(3, 3, padding="same")]
    yield "transposed", [(3, 4, 2)], [layers.Conv2DTranspose(3, 3, strides=2, padding="same")]
    yield "transposed_valid", [(3, 4, 2)], [layers.Conv2DTranspose(3, 2, strides=3)]
    yield (
        "transposed_more",
        [(3, 4, 2)],
        [layers.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=0)],
    )
    yield "transposed_rows", [(4, 2)], [layers.Conv1DTranspose(3, 3, strides=2, padding="same")]
    yield "max_pool", [(5, 7, 2)], [layers.MaxPooling2D(3, strides=2, padding="same")]
    yield "average_pool", [(5, 7, 2)], [layers.AveragePooling2D((3, 2), strides=2, padding="same")]
    yield "pad_average", [(4, 4, 2)], [layers.ZeroPadding2D(1), layers.AveragePooling2D(3, 1)]
    yield "pool_rows", [(7, 2)], [layers.MaxPooling1D(3, 2), layers.AveragePooling1D(2, 1, "same")]
    yield "global_average", [(4, 5, 3)], [layers.GlobalAveragePooling2D()]
    yield "global_max", [(4, 5, 3)], [layers.GlobalMaxPooling2D(keepdims=True)]
    yield "global_rows", [(6, 3)], [layers.GlobalAveragePooling1D()]
    yield "padding", [(3, 4, 2)], [layers.ZeroPadding2D(((0, 1), (2, 1)))]
    yield "padding_rows", [(4, 2)], [layers.ZeroPadding1D((1, 2))]
    yield "cropping", [(5, 6, 2)], [layers.Cropping2D(((1, 0), (2, 1)))]
    yield "nearest", [(3, 4, 2)], [layers.UpSampling2D((2, 3))]
    yield "bilinear", [(3, 4, 2)], [layers.UpSampling2D(2, interpolation="bilinear")]
    yield "repeated", [(4, 2)], [layers.UpSampling1D(3)]
    yield "resizing", [(4, 6, 2)], [layers.Resizing(6, 4)]
    yield "resizing_nearest", [(4, 6, 2)], [layers.Resizing(7, 3, interpolation="nearest")]
    yield "dense", [(5,)], [layers.Dense(4, activation="softmax")]
    yield "dense_axes", [(3, 4)], [layers.Dense(2, activation="elu")]
    yield "flatten_dense", [(3, 4, 2)], [layers.Flatten(), layers.Dense(3, use_bias=False)]
    yield "flatten_first", [(2, 3, 4)], [layers.Flatten(data_format="channels_first")]
    yield "batch_norm", [(4, 5, 3)], [layers.BatchNormalization()]
    yield "batch_norm_bare", [(4, 3)], [layers.BatchNormalization(scale=False, epsilon=1.001e-5)]
    yield "batch_norm_scale", [(4, 5, 3)], [layers.BatchNormalization(center=False)]
    yield "batch_norm_first", [(3, 4, 5)], [layers.BatchNormalization(axis=1)]
    yield "layer_norm", [(4, 6)], [layers.LayerNormalization()]
    yield "layer_norm_axes", [(3, 4)], [layers.LayerNormalization(axis=[1, 2], scale=False)]
    yield "group_norm", [(3, 4, 6)], [layers.GroupNormalization(3)]
    yield "normalization", [(3, 2)], [layers.Normalization(mean=[1, 2], variance=[4, 9])]
    yield "rescaling", [(3, 4, 1)], [layers.Rescaling(1 / 127.5, offset=-1)]
    yield "relu6", [(3, 9)], [layers.ReLU(0.5, negative_slope=0.25)]
    yield "leaky", [(3, 9)], [layers.LeakyReLU(0.1)]
    yield "prelu", [(3, 4, 2)], [layers.PReLU(shared_axes=[1, 2])]
    yield "softmax", [(3, 4, 2)], [layers.Softmax(axis=1)]
    for name in ("hard_sigmoid", "swish", "selu", "softplus", "softsign", "tanh", "exponential"):
        yield name, [(3, 5)], [layers.Activation(name)]
    yield "reshape", [(3, 4, 2)], [layers.Reshape((-1, 4)), layers.Permute((2, 1))]
    yield "repeat", [(3,)], [layers.RepeatVector(2)]
    yield "training", [(6,)], [layers.Dropout(0.5), layers.GaussianNoise(1.0)]
    two = [(3, 4, 2), (3, 4, 2)]
    yield "add", two, lambda a, b: layers.Add()([a, b, a])
    yield "subtract", two, lambda a, b: layers.Subtract()([a, b])
    yield "multiply", two, lambda a, b: layers.Multiply()([a, b])
    yield "average", two, lambda a, b: layers.Average()([a, b])
    yield "maximum", two, lambda a, b: layers.Maximum()([a, b])
    yield "concatenate", [(3, 4, 2), (3, 4, 1)], lambda a, b: layers.Concatenate()([a, b])
    yield "concatenate_rows", two, lambda a, b: layers.Concatenate(axis=1)([a, b])
    yield "squeeze", [(3, 4, 2), (1, 1, 2)], lambda a, b: layers.Multiply()([a, b])
    yield "functions", [(3, 4)], lambda a: (a * 2.0 + 3.0) / 4.0 - a
    if version == 3:
        for name in ("hard_silu", "relu6", "mish", "log_softmax", "leaky_relu"):
            yield name, [(3, 5)], [layers.Activation(name)]
    else:
        yield "frozen", [(4, 4, 2)], frozen(k)


def frozen(k):
    """A model in the model, of which one layer is frozen: weights of it come last."""
    inner = k.Sequential(
        [
            k.layers.Conv2D(2, 1, input_shape=(4, 4, 2)),
            k.layers.BatchNormalization(),
            k.layers.Conv2D(2, 1),
        ]
    )
    inner.layers[0].trainable = False
    return [inner, k.layers.Conv2D(3, 1)]


def model_of(k, shapes, made):
    inputs = [k.layers.Input(shape) for shape in shapes]
    if callable(made):
        return k.Model(inputs, made(*inputs))
    if len(shapes) == 1 and RANDOM.integers(2):
        return k.Sequential([inputs[0], *made])
    x = inputs[0]
    for layer in made:
        x = layer(x)
    return k.Model(inputs, x)


def randomize(layers):
    for layer in layers:
        if hasattr(layer, "layers"):
            randomize(layer.layers)
            continue
        weights = layer.weights
        positive = ["variance" in getattr(w, "path", w.name) for w in weights]
        layer.set_weights([numbers(w.shape, p) for w, p in zip(weights, positive)])


def stored(layer):
    """The weights of a layer in the order in which its file has them."""
    return [np.asarray(w) for w in [*layer.trainable_weights, *layer.non_trainable_weights]]


def make_layers(k, version, cases=cases, what="layers"):
    packed = {}
    for name, shapes, made in cases(k, version):
        k.backend.clear_session()
        model = model_of(k, shapes, made)
        randomize(model.layers)
        xs = [numbers((2, *shape)) for shape in shapes]
        case = packed[name] = {"config": model.to_json()}
        for layer in model.layers:
            for index, weight in enumerate(stored(layer)):
                case[f"w/{layer.name}/{index}"] = weight
        case.update({f"x{index}": x for index, x in enumerate(xs)})
        case["y"] = np.asarray(model(xs if len(xs) > 1 else xs[0], training=False))
    pack(HERE / f"{what}{version}.npz", packed)


def shared(k):
    """A model called twice within another, branches, and layers of the same class."""
    layers = k.layers
    x = image = layers.Input((8, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    inner = k.Sequential(
        [
            layers.Input((8, 6, 4)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
        ],
        name="twice",
    )
    x = layers.Add(name="sum")([inner(x), x])
    x = inner(x)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    x = layers.GlobalAveragePooling2D()(x)
    scores = layers.Dense(3, activation="softmax", name="scores")(x)
    size = layers.Dense(1, name="size")(x)
    return k.Model(image, [scores, size])


def make_files():
    x = numbers((2, 8, 6, 3))
    results = {"x": x}
    for k, version in ((tf_keras, 2), (keras, 3)):
        k.backend.clear_session()
        model = shared(k)
        randomize(model.layers)
        model.save(HERE / f"shared{version}.h5")
        model.save(HERE / f"shared{version}.keras")
        scores, size = model(x, training=False)
        results[f"scores{version}"], results[f"size{version}"] = (
            np.asarray(scores),
            np.asarray(size),
        )
    np.savez_compressed(HERE / "files.npz", **results)
    for file in HERE.glob("*.keras"):
        compressed(file)
    for file in HERE.glob("*.h5"):
        file.with_suffix(".h5.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
        file.unlink()


def compressed(file):
    """The same archive, with its members compressed."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    make_layers(tf_keras, 2)
    make_layers(keras, 3)
    make_files()
