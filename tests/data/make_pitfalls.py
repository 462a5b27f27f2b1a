"""Make `pitfalls.npz`: what is easily got wrong about TensorFlow, Keras and TFLite, as their own
exporters write it.

    pip install tensorflow==2.21.0 tf_keras==2.21.0 keras==3.15.1 ai-edge-litert==2.3.0
    python tests/data/make_pitfalls.py

Each case, as tests/packed.py has them, is a file (`file`, its name, and `model`, its bytes; of a
folder a zip), inputs `x/NAME`, and results `y/NAME` or, of formats whose outputs have no names that
anybody chose, `y/0` and so on. `types` are those of inputs that are not float32, `outputs` the
values to end at, `stages` the signature, `error` the largest difference as a share of the results'
rms. A case without results is refused, for the reason `refused`.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tf_keras.src import backend  # of sessions

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from packed import pack

v1 = tf.compat.v1
HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(15)
IMAGE = (1, 6, 8, 4)
CASES: dict[str, dict[str, Any]] = {}


def numbers(*shape: int, positive: bool = False) -> Any:
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def case(name: str, file: str, model: bytes, inputs: Any, results: Any, **more: str) -> None:
    types = {key: x.dtype.name for key, x in inputs.items() if x.dtype != np.float32}
    CASES[name] = {"file": file, "model": model, "types": json.dumps(types), **more}
    CASES[name].update({f"x/{key}": np.asarray(x) for key, x in inputs.items()})
    CASES[name].update({f"y/{key}": np.asarray(y) for key, y in results.items()})


def refused(name: str, file: str, model: bytes, reason: str) -> None:
    CASES[name] = {"file": file, "model": model, "refused": reason}


def zipped(folder: pathlib.Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in ("fingerprint.pb", "checkpoint"):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
    return file.getvalue()


# TensorFlow.


def frozen(session: Any, *names: str) -> bytes:
    graph = v1.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), list(names)
    )
    return bytes(graph.SerializeToString())


def keras_learning_phase(functions: bool) -> None:
    """Dropout and batch normalisation of a Keras model in a session, with the flag of training,
    whose branches are functions since TensorFlow 2.
    """
    layers = tf_keras.layers
    x = numbers(2, 6, 5, 3)
    (v1.enable_control_flow_v2 if functions else v1.disable_control_flow_v2)()
    with tf.Graph().as_default(), v1.Session() as session:
        backend.set_session(session)
        model = tf_keras.Sequential(
            [
                layers.Input((6, 5, 3), name="image"),
                layers.Conv2D(4, 3, padding="same", use_bias=False),
                layers.BatchNormalization(scale=False),
                layers.ReLU(6.0),
                layers.Dropout(0.5),
                layers.Flatten(),
                layers.Dense(3, activation="softmax", name="scores"),
            ]
        )
        randomize(model.layers)
        y = session.run(model.output, {model.input: x})
        data = frozen(session, model.output.op.name)
        node = model.input.op.name
        assert b"keras_learning_phase" in data
        assert (b"StatelessIf" in data or b"If" in data) is functions
    case(
        f"tf{1 + functions}_learning_phase", "frozen.pb", data, {node: x}, {model.output.op.name: y}
    )


def checkpoint() -> None:
    """A graph with what trains it, beside its checkpoint, with a moving average and summaries."""
    x = numbers(2, 5, 6, 3)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, 5, 6, 3], "image")
        labels = v1.placeholder(tf.int32, [None], "labels")
        kernel = v1.get_variable("kernel", initializer=numbers(3, 3, 3, 4), use_resource=False)
        bias = v1.get_variable("bias", initializer=numbers(4), use_resource=True)
        y = tf.nn.relu(tf.nn.conv2d(image, kernel, 2, "SAME") + bias)
        matrix = v1.get_variable("matrix", initializer=numbers(36, 3), use_resource=False)
        logits = tf.matmul(tf.reshape(y, [-1, 36]), matrix, name="logits")
        scores = tf.nn.softmax(logits, name="scores")
        loss = v1.losses.sparse_softmax_cross_entropy(labels, logits)
        v1.summary.scalar("loss", loss)
        v1.summary.merge_all()
        v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        session.run(v1.global_variables_initializer())
        results = session.run([y, scores], {image: x})
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            v1.train.Saver().save(session, str(path / "model.ckpt"))
            data = zipped(path)
        names = {y.op.name: results[0], "scores:0": results[1]}
        assert graph is session.graph
    case("tf_checkpoint", "model.ckpt.meta", data, {"image": x}, names, outputs=",".join(names))


def detector() -> None:
    """As the object detection API freezes one: a loop that resizes pictures of bytes, prior boxes
    of the image's size, and boxes sorted out in loops.
    """

    def resized(image: Any) -> Any:
        new = v1.image.resize_bilinear(tf.expand_dims(image, 0), [12, 12])
        return [tf.squeeze(new, 0), tf.shape(new)[1:]]

    def kept(boxes: Any) -> Any:
        chosen = tf.image.non_max_suppression(boxes[0], boxes[1][:, 0], 5)
        return tf.gather(boxes[0], chosen)

    x = RANDOM.integers(0, 256, (1, 9, 7, 3), np.uint8)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.disable_control_flow_v2()
        image = v1.placeholder(tf.uint8, [None, None, None, 3], "image_tensor")
        with v1.name_scope("Preprocessor"):
            floats = tf.cast(image, tf.float32)
            made, _ = v1.map_fn(resized, floats, dtype=[tf.float32, tf.int32])
            y = made * (2 / 255) - 1.0
        y = tf.nn.relu6(tf.nn.conv2d(y, numbers(3, 3, 3, 8), 2, "SAME"))
        boxes = tf.nn.conv2d(y, numbers(1, 1, 8, 8), 1, "SAME")
        boxes = tf.reshape(boxes, tf.stack([tf.shape(y)[0], -1, 1, 4]))
        boxes = tf.concat([tf.squeeze(boxes, [2])], 1, name="raw_boxes")
        scores = tf.nn.conv2d(y, numbers(1, 1, 8, 6), 1, "SAME")
        scores = tf.reshape(scores, tf.stack([tf.shape(y)[0], -1, 3]))
        scores = tf.identity(tf.concat([scores], 1), "raw_scores")
        with v1.name_scope("Postprocessor"):
            best = tf.nn.sigmoid(scores)[:, :, 1:]
            final = v1.map_fn(kept, [boxes, best], dtype=tf.float32)
            tf.identity(final, "detection_boxes")
        results = session.run([boxes, scores], {image: x})
        data = session.graph.as_graph_def().SerializeToString()
        v1.enable_control_flow_v2()
    named = dict(zip((boxes.op.name, scores.op.name), results))
    case("tf_detector", "frozen.pb", data, {"image_tensor": x}, named, outputs=",".join(named))


class Signed(tf.Module):
    """Two signatures, neither of which is the default."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(numbers(3, 3, 4, 3))

    @tf.function(input_signature=[tf.TensorSpec([None, *IMAGE[1:]], tf.float32, "image")])
    def features(self, image: Any) -> Any:
        return {"features": tf.nn.relu(tf.nn.conv2d(image, self.kernel, 2, "SAME"))}

    @tf.function(input_signature=[tf.TensorSpec([None, *IMAGE[1:]], tf.float32, "image")])
    def classify(self, image: Any) -> Any:
        return {"scores": tf.nn.softmax(tf.reduce_mean(self.features(image)["features"], [1, 2]))}


def signatures() -> None:
    net, x = Signed(), numbers(*IMAGE)
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    with tempfile.TemporaryDirectory() as folder:
        both = {"features": net.features, "classify": net.classify}
        tf.saved_model.save(net, folder, both, options)
        data = zipped(pathlib.Path(folder))
    for name in both:
        results = {key: np.asarray(y) for key, y in getattr(net, name)(x).items()}
        case(f"tf_signature_{name}", "saved", data, {"image": x}, results, stages=name)


class Detector(tf.Module):
    """The same of TensorFlow 2, where loops are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = [tf.Variable(numbers(3, 3, n, m)) for n, m in ((3, 8), (8, 4), (8, 3))]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")])
    def serve(self, image: Any) -> Any:
        y = tf.map_fn(lambda one: tf.image.resize(one, [12, 12]), tf.cast(image, tf.float32))
        y = tf.nn.relu6(tf.nn.conv2d(y * (2 / 255) - 1.0, self.kernels[0], 2, "SAME"))
        boxes = tf.reshape(tf.nn.conv2d(y, self.kernels[1], 2, "SAME"), [tf.shape(y)[0], -1, 4])
        scores = tf.reshape(tf.nn.conv2d(y, self.kernels[2], 2, "SAME"), [tf.shape(y)[0], -1, 3])
        best = tf.expand_dims(tf.nn.sigmoid(scores), 2)
        kept = tf.image.combined_non_max_suppression(tf.expand_dims(boxes, 2), best[..., 0], 3, 5)
        return {"raw_boxes": boxes, "raw_scores": scores, "detection_boxes": kept.nmsed_boxes}


def detector2() -> None:
    net, x = Detector(), RANDOM.integers(0, 256, (1, 9, 7, 3), np.uint8)
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(net, folder, net.serve, options)
        data = zipped(pathlib.Path(folder))
    results = {key: np.asarray(y) for key, y in net.serve(x).items() if key[:3] == "raw"}
    names = ",".join(results)
    case("tf2_detector", "saved", data, {"input_tensor": x}, results, outputs=names)


def defaults() -> None:
    """A SavedModel without the attributes that are TensorFlow's defaults."""
    x = numbers(*IMAGE)
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, *IMAGE[1:]], "data")
        scale = v1.get_variable("scale", initializer=numbers(4), use_resource=False)
        few = 2.0**-12  # a variance at which epsilon, 1e-4 by default, counts
        y = tf.raw_ops.FusedBatchNormV3(
            x=image, scale=scale, offset=numbers(4), mean=numbers(4), is_training=False,
            variance=np.float32([few, few / 2, 1, 2 * few]),
        ).y  # fmt: skip
        y = tf.nn.leaky_relu(y)
        session.run(v1.global_variables_initializer())
        results = {"y": session.run(y, {image: x})}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "saved")
            builder = v1.saved_model.Builder(str(path))
            info = v1.saved_model.build_tensor_info
            signature = v1.saved_model.build_signature_def({"data": info(image)}, {"y": info(y)})
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": signature}, strip_default_attrs=True
            )
            builder.save()
            data = zipped(path)
    case("tf_defaults", "saved", data, {"data": x}, results)


def channels_first() -> None:
    """Compiled, since TensorFlow's own kernels on a CPU have no such convolutions."""
    x, kernel, bias, matrix = numbers(2, 3, 6, 8), numbers(3, 3, 3, 4), numbers(4), numbers(8, 3)

    def network(image: Any) -> Any:
        y = tf.nn.conv2d(image, kernel, [1, 1, 2, 2], "SAME", "NCHW")
        y = tf.nn.relu(tf.nn.bias_add(y, bias, "NCHW"))
        y = tf.nn.max_pool2d(y, 3, 2, "SAME", "NCHW")
        return tf.matmul(tf.reshape(y[:, :, :, 1:], [-1, 8]), matrix)

    y = tf.function(network, jit_compile=True)(x)
    with tf.Graph().as_default() as graph:
        made = network(v1.placeholder(tf.float32, [None, 3, 6, 8], "x"))
        data = graph.as_graph_def().SerializeToString()
    case("tf_channels_first", "frozen.pb", data, {"x": x}, {made.op.name: y})


def other_graphs() -> None:
    """A number repeated, variables in slices, a loop that is no map."""
    x = numbers(*IMAGE)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, IMAGE, "x")
        y = image * v1.constant(0.75, shape=[4]) + v1.constant([0.5, 2.0], shape=[8, 4])
        results = {y.op.name: session.run(y, {image: x})}
        data = graph.as_graph_def().SerializeToString()
    case("tf_repeated", "frozen.pb", data, {"x": x}, results)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, 4], "x")
        parts = v1.fixed_size_partitioner(2)
        with v1.variable_scope("net", partitioner=parts, use_resource=False):
            kernel = v1.get_variable("kernel", [4, 2], initializer=v1.ones_initializer)
        y = tf.matmul(image, kernel)
        session.run(v1.global_variables_initializer())
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "saved")
            v1.saved_model.simple_save(session, str(path), {"x": image}, {"y": y})
            refused("tf_slices", "saved", zipped(path), "is stored in slices")
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        image = v1.placeholder(tf.float32, [None, 4], "x")
        v1.while_loop(lambda y: tf.reduce_max(y) < 9.0, lambda y: y * 2.0, [image])
        data = graph.as_graph_def().SerializeToString()
    v1.enable_control_flow_v2()
    refused("tf_loop", "frozen.pb", data, r"\(Exit\): the operator is not supported")


# Keras.


def randomize(layers: Any) -> None:
    for layer in layers:
        if hasattr(layer, "layers"):
            randomize(layer.layers)
            continue
        weights = layer.weights
        positive = ["variance" in getattr(w, "path", w.name) for w in weights]
        layer.set_weights([numbers(*w.shape, positive=p) for w, p in zip(weights, positive)])


def mobile(k: Any) -> Any:
    """MobileNet: zeros below and on the right, Relu6, and a head of a reshape and convolution."""
    layers = k.layers
    x = image = layers.Input((12, 10, 3), name="image")
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    x = layers.Conv2D(3, 1, padding="same")(layers.Dropout(0.001)(x))
    return image, layers.Activation("softmax")(layers.Reshape((3,))(x))


def residual(k: Any) -> Any:
    """ResNet: zeros on all sides, another epsilon, a pool behind zeros; Inception's without
    gamma.
    """
    layers = k.layers
    x = image = layers.Input((12, 10, 3), name="image")
    x = layers.Conv2D(4, 7, strides=2)(layers.ZeroPadding2D(((3, 3), (3, 3)))(x))
    x = layers.Activation("relu")(layers.BatchNormalization(epsilon=1.001e-5)(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(((1, 1), (1, 1)))(x))
    y = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3, padding="same")(x))
    y = layers.AveragePooling2D(3, 1, padding="same")(layers.Add()([x, y]))
    y = layers.Concatenate(axis=-1)([y, x])
    return image, layers.Dense(3, activation="softmax")(layers.Flatten()(y))


def gated(k: Any) -> Any:
    """MobileNetV3: hard functions in pieces, squeeze and excitation with a gate of 1x1."""
    layers = k.layers

    def hard_sigmoid(x: Any) -> Any:
        return layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)

    x = image = layers.Input((6, 8, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same")(layers.Rescaling(2.0, -1.0)(x))
    x = layers.Multiply()([x, hard_sigmoid(x)])
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    gate = hard_sigmoid(layers.Conv2D(4, 1)(layers.Conv2D(2, 1, activation="relu")(gate)))
    x = layers.Multiply()([x, gate])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return image, layers.Conv2D(2, 1, activation="hard_sigmoid")(x)


def first(k: Any) -> Any:
    """Channels first, flattened before a matrix. No image is as wide as it has channels: along the
    width Keras 3 adds the bias then (keras/src/backend/tensorflow/numpy.py, add).
    """
    layers = k.layers
    x = image = layers.Input((3, 8, 10), name="image")
    how: dict[str, Any] = {"data_format": "channels_first"}
    x = layers.Conv2D(4, 3, strides=2, padding="same", **how)(layers.ZeroPadding2D(1, **how)(x))
    x = layers.ReLU()(layers.BatchNormalization(axis=1)(x))
    x = layers.MaxPooling2D(2, **how)(x)
    return image, layers.Dense(3)(layers.Flatten(**how)(x))


def named(k: Any) -> Any:
    """So long a list of names that it is stored in parts."""
    x = image = k.layers.Input((3,), name="image")
    for index in range(160):
        x = k.layers.Activation("linear", name=f"{'linear_' * 60}{index}")(x)
    return image, k.layers.Dense(2)(x)


def keras_files() -> None:
    for k, version in ((tf_keras, 2), (keras, 3)):
        for make in (mobile, residual, gated, first, named):
            k.backend.clear_session()
            model = k.Model(*make(k))
            randomize(model.layers)
            x = numbers(2, *model.input_shape[1:])
            call = tf.function(lambda x, m=model: m(x, training=False), jit_compile=True)
            y = np.asarray(call(x) if make is first else model(x, training=False))
            for suffix in (".h5",) if make is named else (".h5", ".keras"):
                with tempfile.TemporaryDirectory() as folder:
                    path = pathlib.Path(folder, f"model{suffix}")
                    model.save(path)
                    data = path.read_bytes()
                name = f"keras{version}_{make.__name__}_{suffix[1:]}"
                case(name, f"model{suffix}", data, {"image": x}, {"0": y})


class Doubled(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def keras_refusals() -> None:
    """Code, layers of one's own, weights without a model."""
    for k, version in ((tf_keras, 2), (keras, 3)):
        k.backend.clear_session()
        layers = k.layers
        code = "Lambda.*holds code, which is not run"
        made = {"lambda": (layers.Lambda(lambda x: x * 2), code)}
        if version == 3:
            made["custom"] = (Doubled(), "Doubled.*layers of this class are not supported")
        for name, (layer, reason) in made.items():
            model = k.Sequential([layers.Input((3, 2)), layer])
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "model.keras")
                model.save(path)
                refused(f"keras{version}_{name}", path.name, path.read_bytes(), reason)
                path = path.with_name("model.weights.h5")
                model.save_weights(path)
                data = path.read_bytes()
        reason = "without the model's configuration"
        refused(f"keras{version}_weights", "model.weights.h5", data, reason)


# TensorFlow Lite.


def lite_functions() -> Any:
    """(name, shape of the input, function)."""
    k, nn, raw = numbers, tf.nn, tf.raw_ops
    yield "same_even", IMAGE, lambda x: nn.conv2d(x, k(3, 3, 4, 5), 2, "SAME")
    yield "average_same", (1, 5, 7, 4), lambda x: nn.avg_pool2d(x, 3, 2, "SAME")
    yield "average_padded", IMAGE, padded_average
    yield "depthwise", IMAGE, lambda x: nn.depthwise_conv2d(x, k(3, 3, 4, 2), [1, 1, 1, 1], "SAME")
    yield (
        "depthwise_dilated",
        (1, 9, 11, 4),
        lambda x: nn.relu6(
            nn.depthwise_conv2d(x, k(3, 3, 4, 1), [1, 1, 1, 1], "SAME", dilations=[2, 2]) + k(4)
        ),
    )
    yield (
        "space_to_batch",
        (1, 7, 9, 4),
        lambda x: tf.batch_to_space(
            nn.conv2d(tf.space_to_batch(x, [2, 2], [[2, 3], [2, 3]]), k(3, 3, 4, 2), 1, "VALID"),
            [2, 2],
            [[0, 1], [0, 1]],
        ),
    )
    yield "transposed", (1, 3, 4, 2), transposed
    yield "relu_n1_to_1", IMAGE, lambda x: tf.maximum(-1.0, tf.minimum(x * k(4) * 2 + x, 1.0))
    yield "prelu", IMAGE, lambda x: nn.relu(x) - k(4) * nn.relu(-x)
    yield "pad_channels", IMAGE, lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 0], [0, 4]]) * 2
    yield "flatten", IMAGE, lambda x: tf.matmul(tf.reshape(x, [-1, 192]), k(192, 3))
    yield "batch_norm", IMAGE, lite_normalised
    yield "softmax_rows", IMAGE, lambda x: nn.softmax(tf.transpose(x, [0, 2, 3, 1]))
    yield "mean", IMAGE, lambda x: tf.reduce_mean(x, [1, 2], keepdims=True) * k(4)
    yield "hard_swish", IMAGE, lambda x: x * nn.relu6(x * 4 + 3) * (1 / 6)
    yield "slices", IMAGE, lambda x: tf.concat([x[:, 1:-1, ::2, -2], x[:, :4, 1::2, 0]], 1)
    yield "depth_to_space", IMAGE, lambda x: nn.depth_to_space(x, 2)
    yield "gelu", IMAGE, lambda x: nn.gelu(x, approximate=False)
    yield "broadcast", (1, 1, 1, 4), lambda x: tf.broadcast_to(x, [1, 3, 2, 4]) + k(3, 2, 4)
    yield "local_response", IMAGE, lambda x: nn.lrn(x, 1, 1.5, 0.25, 0.75)
    yield "channels_first", (1, 3, 6, 8), turned
    for kind in ("align_corners", "half_pixel_centers", "neither"):
        flag = {kind: True} if kind != "neither" else {}
        for name, op in (("nearest", raw.ResizeNearestNeighbor), ("linear", raw.ResizeBilinear)):
            resize = lambda x, op=op, flag=flag: op(images=x, size=[9, 5], **flag)  # noqa: E731
            yield f"{name}_{kind}", IMAGE, resize


def padded_average(x: Any) -> Any:
    return tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [1, 1], [0, 2], [0, 0]]), 3, 1, "VALID")


def transposed(x: Any) -> Any:
    return tf.nn.conv2d_transpose(x, numbers(3, 3, 5, 2), [1, 6, 7, 5], 2, "SAME")


def lite_normalised(x: Any) -> Any:
    y = tf.nn.conv2d(x, numbers(1, 1, 4, 4), 1, "VALID")
    ones = numbers(4, positive=True)
    return tf.nn.relu(tf.nn.batch_normalization(y, numbers(4), ones, numbers(4), numbers(4), 1e-3))


def turned(x: Any) -> Any:
    """A network of another framework: channels first, each convolution between two transposes."""
    for filters in (4, 2):
        y = tf.nn.conv2d(
            tf.transpose(x, [0, 2, 3, 1]), numbers(3, 3, x.shape[1], filters), 1, "SAME"
        )
        x = tf.nn.relu(tf.transpose(y, [0, 3, 1, 2]) + numbers(filters, 1, 1))
    return x


def network(x: Any) -> Any:
    """What is quantised: windows, a sum, a concatenation, a matrix."""
    x = tf.nn.relu6(tf.nn.conv2d(x, WEIGHTS["a"], 2, "SAME") + WEIGHTS["b"])
    y = tf.nn.depthwise_conv2d(x, WEIGHTS["c"], [1, 1, 1, 1], "SAME")
    x = tf.concat([x + y, tf.nn.max_pool2d(y, 3, 1, "SAME")], -1)
    return tf.matmul(tf.reduce_mean(x, [1, 2]), WEIGHTS["d"])


WEIGHTS = {"a": numbers(3, 3, 4, 16), "b": numbers(16), "c": numbers(3, 3, 16, 1)}
WEIGHTS["d"] = numbers(32, 64)


def converted(function: Any, shape: Any, kind: str = "float") -> bytes:
    traced = tf.function(function).get_concrete_function(tf.TensorSpec(shape, tf.float32, "x"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    ops = tf.lite.OpsSet
    if kind == "flex":
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS, ops.SELECT_TF_OPS]
    elif kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "sparse":
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if kind in ("int8", "uint8", "int16"):
        converter.representative_dataset = lambda: ([numbers(*shape)] for _ in range(16))
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
    if kind == "uint8":
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    if kind == "int16":
        way = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [way]
    return bytes(converter.convert())


def lite_case(name: str, data: bytes, x: Any, **more: str) -> None:
    # Its reference kernels; that of LRN leaves out the last channel of each window.
    resolver = OpResolverType.BUILTIN_REF
    if "local_response" in name:
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    net = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    net.allocate_tensors()
    (info,) = net.get_input_details()
    if info["dtype"] != np.float32:
        scale, zero = info["quantization"]
        limits = np.iinfo(info["dtype"])
        x = np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(info["dtype"])
    net.set_tensor(info["index"], x)
    net.invoke()
    made = [net.get_tensor(output["index"]) for output in net.get_output_details()]
    results = {str(index): y for index, y in enumerate(made)}
    case(f"tflite_{name}", "model.tflite", data, {info["name"]: x}, results, **more)


def lite() -> None:
    for name, shape, function in lite_functions():
        lite_case(name, converted(function, shape), numbers(*shape))
    errors = {"dynamic": "2e-2", "int8": "5e-2", "int16": "1e-2"}
    for kind in ("float16", "dynamic", "int8", "uint8", "int16"):
        error = errors.get(kind, "1e-5")
        lite_case(kind, converted(network, IMAGE, kind), numbers(*IMAGE), error=error)
    WEIGHTS["a"] = WEIGHTS["a"] * (RANDOM.random(WEIGHTS["a"].shape) < 0.2)
    WEIGHTS["d"] = WEIGHTS["d"] * (RANDOM.random(WEIGHTS["d"].shape) < 0.2)
    lite_case("sparse", converted(network, IMAGE, "sparse"), numbers(*IMAGE))
    strides = [1, 1, 1, 1]
    kernel = numbers(3, 3, 4)

    def dilated(x: Any) -> Any:
        return tf.nn.dilation2d(x, kernel, strides, "SAME", "NHWC", strides)

    flex = converted(dilated, IMAGE, "flex")
    refused("tflite_flex", "model.tflite", flex, r"FlexDilation2D\): the operator is not supported")


SETTINGS = {
    "max_detections": "i: 4",
    "max_classes_per_detection": "i: 1",
    "nms_score_threshold": "f: 0.1",
    "nms_iou_threshold": "f: 0.5",
    **{f"{axis}_scale": "f: 10" for axis in "yxhw"},
    "num_classes": "i: 2",
    "use_regular_nms": "b: false",
}
POSTPROCESS = 'name: "TFLite_Detection_PostProcess" ' + " ".join(
    f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in SETTINGS.items()
)


def lite_detector() -> None:
    """As the object detection API exports one: an operator of its own sorts the boxes out."""

    @tf.function(experimental_implements=POSTPROCESS)
    def postprocess(boxes: Any, scores: Any, anchors: Any) -> Any:
        one = tf.constant(0.0, tf.float32, [1, 4])
        return tf.constant(0.0, tf.float32, [1, 4, 4]), one, one, tf.constant(0.0, shape=[1])

    anchors = numbers(12, 4, positive=True)
    kernels = numbers(3, 3, 4, 4), numbers(3, 3, 4, 3)

    def net(x: Any) -> Any:
        boxes = tf.reshape(tf.nn.conv2d(x, kernels[0], 2, "SAME"), [1, 12, 4])
        scores = tf.reshape(tf.nn.sigmoid(tf.nn.conv2d(x, kernels[1], 2, "SAME")), [1, 12, 3])
        made = postprocess(boxes, scores, anchors)
        return dict(zip(("boxes", "classes", "scores", "count"), made))

    module = tf.Module()
    module.serve = tf.function(net, [tf.TensorSpec(IMAGE, tf.float32, "x")])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, module.serve)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.allow_custom_ops = True
        data = bytes(converter.convert())
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        details = Interpreter(file.name, experimental_preserve_all_tensors=True)
    operator = details._get_ops_details()[-1]
    assert operator["op_name"] == "TFLite_Detection_PostProcess"
    tensors = {t["index"]: t["name"] for t in details.get_tensor_details()}
    names = [tensors[index] for index in operator["inputs"][:2]]
    x = numbers(*IMAGE)
    boxes = tf.reshape(tf.nn.conv2d(x, kernels[0], 2, "SAME"), [1, 12, 4])
    scores = tf.reshape(tf.nn.sigmoid(tf.nn.conv2d(x, kernels[1], 2, "SAME")), [1, 12, 3])
    (name,) = (details.get_input_details()[0]["name"],)
    results = {"0": boxes.numpy(), "1": scores.numpy()}
    case("tflite_detector", "model.tflite", data, {name: x}, results, outputs=",".join(names))


def main() -> None:
    for make in (signatures, defaults, checkpoint, detector, detector2, channels_first):
        make()
    for functions in (False, True):
        keras_learning_phase(functions)
    other_graphs()
    keras_files()
    keras_refusals()
    lite()
    lite_detector()
    pack(HERE / "pitfalls.npz", CASES)
    shutil.rmtree(HERE / "__pycache__", ignore_errors=True)


if __name__ == "__main__":
    main()
