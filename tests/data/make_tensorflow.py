"""Make the reference data of TensorFlow: `python tests/data/make_tensorflow.py`, with TensorFlow
2.21.

`graphs.npz` holds small frozen graphs as tests/packed.py has them: each its GraphDef, `graph`, its
inputs by their names, `x/NAME`, and its outputs, `y/NAME`. The folders are SavedModels of
TensorFlow 1 and 2; `saved.npz` has their inputs and outputs.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from packed import pack

v1 = tf.compat.v1
raw = tf.raw_ops
HERE = pathlib.Path(__file__).parent / "tensorflow"
RANDOM = np.random.default_rng(12)
IMAGE = (2, 6, 8, 3)
ONE, TWO = [1, 1, 1, 1], [1, 2, 2, 1]


def numbers(*shape, positive=False):
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def windows():
    """(name, shape of the input, function)."""
    k = numbers
    yield "conv_same", IMAGE, lambda x: tf.nn.conv2d(x, k(3, 3, 3, 4), 2, "SAME")
    yield (
        "conv_explicit",
        IMAGE,
        lambda x: tf.nn.conv2d(x, k(3, 3, 3, 2), 2, [[0, 0], [0, 1], [2, 1], [0, 0]]),
    )
    yield (
        "conv_dilations",
        IMAGE,
        lambda x: tf.nn.conv2d(x, k(3, 3, 3, 2), 1, "SAME", dilations=[2, 1]),
    )
    yield "conv_groups", (2, 5, 5, 4), lambda x: tf.nn.conv2d(x, k(3, 3, 2, 6), 1, "VALID")
    yield (
        "depthwise",
        IMAGE,
        lambda x: raw.DepthwiseConv2dNative(
            input=x, filter=k(3, 3, 3, 2), strides=TWO, padding="SAME"
        ),
    )
    yield (
        "transposed",
        (2, 3, 4, 2),
        lambda x: tf.nn.conv2d_transpose(x, k(3, 3, 5, 2), [2, 6, 7, 5], 2, "SAME"),
    )
    yield (
        "transposed_shape",
        (2, 3, 4, 2),
        lambda x: tf.nn.conv2d_transpose(
            x, k(2, 2, 3, 2), tf.stack([tf.shape(x)[0], 6, 8, 3]), 2, "VALID"
        ),
    )
    yield "max_pool", IMAGE, lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME")
    yield "average_pool", IMAGE, lambda x: tf.nn.avg_pool2d(x, (3, 2), (2, 3), "SAME")
    yield (
        "pad_average",
        IMAGE,
        lambda x: tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [1, 1], [0, 2], [0, 0]]), 3, 1, "VALID"),
    )
    yield (
        "batch_norm",
        IMAGE,
        lambda x: (
            raw.FusedBatchNormV3(
                x=x,
                scale=k(3),
                offset=k(3),
                mean=k(3),
                variance=k(3, positive=True),
                is_training=False,
            ).y
        ),
    )
    yield (
        "batch_norm_apart",
        IMAGE,
        lambda x: tf.nn.batch_normalization(x, k(3), k(3, positive=True), k(3), k(3), 1e-3),
    )
    yield "bias", IMAGE, lambda x: tf.nn.relu6(tf.nn.bias_add(x * 8, k(3)))
    yield "local_response", IMAGE, lambda x: tf.nn.lrn(x, 1, 1.5, 0.25, 0.75)
    for kind in ("align_corners", "half_pixel_centers", "neither"):
        flag = {kind: True} if kind != "neither" else {}
        for name, op in (("nearest", raw.ResizeNearestNeighbor), ("linear", raw.ResizeBilinear)):
            yield (
                f"{name}_{kind}",
                IMAGE,
                lambda x, op=op, flag=flag: op(images=x, size=[9, 5], **flag),
            )
    yield "resize_shape", IMAGE, lambda x: tf.image.resize(x, tf.shape(x)[1:3] * 2)
    yield "depth_to_space", (2, 2, 3, 8), lambda x: tf.nn.depth_to_space(x, 2)
    yield "space_to_depth", IMAGE, lambda x: tf.nn.space_to_depth(x, 2)
    yield "space_to_batch", (2, 7, 8, 2), space_to_batch
    yield (
        "space_to_batch_shape",
        (2, 7, 8, 2),
        lambda x: v1.nn.convolution(x, k(3, 3, 2, 3), "SAME", dilation_rate=[3, 2]),
    )


def space_to_batch(x):
    x = tf.space_to_batch(x, [2, 2], [[2, 3], [2, 2]])
    x = tf.nn.relu(tf.nn.conv2d(x, numbers(3, 3, 2, 3), 1, "VALID") + numbers(3))
    return tf.batch_to_space(x, [2, 2], [[0, 1], [1, 0]])


def arithmetic():
    k = numbers
    yield "binary", IMAGE, lambda x: (x + k(3)) * k(6, 8, 1) - 2.0 / (x * x + 1.0)
    yield "minimum", IMAGE, lambda x: tf.minimum(tf.maximum(x, -0.5), k(3))
    yield "unary", (2, 9), lambda x: tf.math.rsqrt(tf.exp(x) + tf.square(x)) + tf.sign(tf.abs(x))
    yield "logarithms", (2, 9), lambda x: tf.math.log1p(tf.abs(x)) + tf.math.expm1(x)
    yield "activations", (2, 9), lambda x: tf.nn.leaky_relu(tf.nn.elu(x), 0.3) + tf.nn.softplus(x)
    yield "clip", (2, 9), lambda x: tf.clip_by_value(x, -0.25, 0.5)
    yield "no_nan", (2, 9), lambda x: tf.math.divide_no_nan(x, tf.nn.relu(x))
    yield "differences", IMAGE, lambda x: tf.math.squared_difference(x, k(3))
    yield "floor_div", (2, 9), lambda x: tf.math.floordiv(x, 0.25)
    yield "select", (2, 9), lambda x: tf.where(x > 0.25, x * 2, x - 1)
    yield "sum_of_all", (2, 9), lambda x: tf.add_n([x, x * 2, x * x])
    yield "mean", IMAGE, lambda x: tf.reduce_mean(x, [1, 2])
    yield "max", IMAGE, lambda x: tf.reduce_max(x, -1, keepdims=True)
    yield "sums", IMAGE, lambda x: tf.reduce_sum(x, [2]) + tf.reduce_min(x, [2])
    yield "softmax", IMAGE, tf.nn.softmax
    yield "log_softmax", (2, 9), tf.nn.log_softmax
    yield "l2_norm", (2, 9), lambda x: tf.math.l2_normalize(x, 1)
    yield "matmul", (2, 5), lambda x: tf.matmul(x, k(4, 5), transpose_b=True) + k(4)
    yield "batch_matmul", (2, 3, 5), lambda x: tf.matmul(x, k(5, 2))
    yield (
        "fake_quant",
        (2, 9),
        lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -0.53, 0.71, 4),
    )
    yield (
        "fake_quant_args",
        (2, 9),
        lambda x: tf.quantization.fake_quant_with_min_max_args(x, -0.4, 0.9, narrow_range=True),
    )


def moves():
    yield "flatten", IMAGE, lambda x: tf.reshape(x, [tf.shape(x)[0], -1])
    yield (
        "flatten_product",
        IMAGE,
        lambda x: tf.reshape(x, [-1, tf.shape(x)[1] * tf.shape(x)[2], 3]),
    )
    yield "transpose", IMAGE, lambda x: tf.transpose(x, [0, 3, 1, 2])
    yield "squeeze", (2, 1, 5, 1), lambda x: tf.expand_dims(tf.squeeze(x, [1, 3]), -1)
    yield "concat", IMAGE, lambda x: tf.concat([x, x * 2, x[..., :1]], -1)
    yield "concat_rows", IMAGE, lambda x: tf.concat([x, x * 2], 1)
    yield "stack", (2, 5), lambda x: tf.stack([x, x * 2], 1)
    yield "unstack", (2, 3, 5), lambda x: tf.unstack(x, axis=1)[2]
    yield "split", IMAGE, lambda x: [tf.split(x, 3, -1)[i] for i in (0, 2)]
    yield "split_sizes", IMAGE, lambda x: tf.split(x, [3, -1], 2)[1]
    yield "slices", IMAGE, lambda x: x[:, 1:-1, ::2, -1]
    yield "slices_back", IMAGE, lambda x: x[:, ::-1, tf.newaxis, 5:1:-2]
    yield "slices_rest", IMAGE, lambda x: x[..., 2, tf.newaxis, 1:]
    yield "slice", IMAGE, lambda x: tf.slice(x, [0, 1, 2, 0], [-1, 3, -1, 2])
    yield "gather", IMAGE, lambda x: tf.gather(x, [2, 0], axis=-1)
    yield (
        "pad_value",
        IMAGE,
        lambda x: tf.pad(x, [[0, 0], [0, 1], [2, 0], [0, 0]], constant_values=0.5),
    )
    yield "pad_mirror", IMAGE, lambda x: tf.pad(x, [[0, 0], [2, 1], [0, 3], [0, 0]], "REFLECT")
    yield "tile", (2, 3, 2), lambda x: tf.tile(x, [1, 2, 1])
    yield "fill", (2, 3), lambda x: x + tf.fill([3], 0.5)
    yield (
        "flatten_keras",
        IMAGE,
        lambda x: tf.reshape(x, tf.stack([-1, tf.reduce_prod(tf.shape(x)[1:])])),
    )
    yield "cast", (2, 9), lambda x: tf.cast(tf.cast(x * 10, tf.int32), tf.float32)


def chosen():
    """What chooses among numbers, and boxes. Some overlap by just the limit."""
    best, gather_nd = tf.math.top_k, tf.gather_nd
    yield "top_k", (2, 3, 9), lambda x: list(best(x, 4))
    yield "gather_computed", (1, 5, 3), lambda x: tf.gather(x[0], tf.argsort(x[0, :, 1]))
    yield (
        "gather_batch",
        (2, 5, 3),
        lambda x: tf.gather(x, best(x[..., 1], 4)[1], axis=1, batch_dims=1),
    )
    yield "gather_nd", (1, 5, 3), lambda x: gather_nd(x[0], best(x[0], 2)[1])
    yield "gather_nd_first", (1, 5, 3), lambda x: gather_nd(x[0], best(x[0, :, 1], 4)[1][:, None])
    yield "gather_nd_constant", (1, 5, 3), lambda x: gather_nd(x[0], [[0, 1], [1, 2], [0, 1]])
    for name, size in (("crops", [3, 4]), ("crops_of_one", [1, 2])):
        yield name, (1, 6, 8, 3), lambda x, size=size: crops(x, size)
    for version in (4, 5):
        for name, overlap, most in (("", 0.5, 10), ("_all", 1.0, 30)):
            yield (
                f"suppression{version}{name}",
                (1, 24, 5),
                lambda x, how=(version, overlap, most): suppressed(x, *how),
            )
    for name, classes, how in (
        ("combined", 1, {"max_total_size": 9}),
        ("combined_own", 3, {"max_total_size": 20, "clip_boxes": False}),
        ("combined_pad", 1, {"max_total_size": 20, "pad_per_class": True}),
    ):
        yield name, (2, 12, 8, 3), lambda x, c=classes, how=how: combined(x, c, how)


def crops(x, size):
    """Parts of an image, some beyond it, of which one is turned."""
    boxes = tf.concat([x[0, :, 0, :2], x[0, :, 1, :2] + 0.75], -1)
    boxes = tf.concat([boxes, [[0, 0, 1, 1], [1, 1, 0.25, 0]]], 0)
    return tf.image.crop_and_resize(x, boxes, tf.zeros([8], tf.int32), size)


def boxes_of(x):
    """Corners in steps of 1/4, which overlap by simple fractions."""
    first = tf.floor((x[..., :2] + 1) * 4) / 4
    return tf.concat([first, first + tf.floor((x[..., 2:4] + 3) * 2) / 4], -1)


def suppressed(x, version, overlap, most):
    how = {
        "boxes": boxes_of(x[0]),
        "scores": x[0, :, 4],
        "max_output_size": most,
        "iou_threshold": overlap,
        "score_threshold": -0.5,
        "pad_to_max_output_size": True,
    }
    if version == 4:
        found = raw.NonMaxSuppressionV4(**how)
        more = tf.gather(x[0], found.selected_indices)
    else:
        found = raw.NonMaxSuppressionV5(**how, soft_nms_sigma=0.0)
        more = found.selected_scores
    return [found.selected_indices, more, tf.reshape(found.valid_outputs, [1])]


def combined(x, classes, how):
    """Boxes of one class, or of each its own."""
    boxes = tf.tile(boxes_of(x[..., 0])[:, :, None], [1, 1, classes, 1])
    boxes += numbers(classes, 1)
    scores = x[:, :, 4:7, 1] + tf.reshape(tf.range(36.0), [12, 3]) / 1024  # no two alike
    limits = {"iou_threshold": 0.5, "score_threshold": -0.25}
    return [*tf.image.combined_non_max_suppression(boxes, scores, 3, **limits, **how)]


def learning_phase(x):
    """Dropout as Keras left it in graphs of TensorFlow 1: both ways, of which one is taken."""
    training = v1.placeholder_with_default(False, [], "keras_learning_phase")
    return v1.cond(training, lambda: x * 3.0, lambda: x + 1.0)


def graph_of(shape, function, free):
    """A GraphDef with one input, and the values of its outputs."""
    x = numbers(*shape)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, [None if free else shape[0], *shape[1:]], "x")
        made = function(image)
        made = made if isinstance(made, list) else [made]
        outputs = [tf.identity(y, f"y{index}") for index, y in enumerate(made)]
        values = session.run(outputs, {image: x})
    data = graph.as_graph_def()
    data.ClearField("versions")
    for node in data.node:
        node.attr.pop("_output_shapes", None)
    results = {f"y/y{index}": np.asarray(value, np.float32) for index, value in enumerate(values)}
    return {"graph": data.SerializeToString(), "x/x": x, **results}


def make_graphs():
    cases = {}
    for name, shape, function in [*windows(), *arithmetic(), *moves(), *chosen()]:
        cases[name] = graph_of(shape, function, name != "transposed" and shape[0] > 1)
    v1.disable_control_flow_v2()
    cases["learning_phase"] = graph_of((2, 9), learning_phase, True)
    pack(HERE / "graphs.npz", cases)


class Net(tf.Module):
    """Functions that call functions, and variables."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(numbers(3, 3, 3, 4))
        self.bias = tf.Variable(numbers(4))
        self.unused = tf.Variable(numbers(2))

    @tf.function
    def block(self, x):
        return tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias)

    @tf.function(input_signature=[tf.TensorSpec([None, *IMAGE[1:]], tf.float32, "image")])
    def serve(self, image):
        y = self.block(image)
        return {"scores": tf.nn.softmax(tf.reduce_mean(y, [1, 2])), "map": self.block(y[..., :3])}


def make_saved():
    x = numbers(*IMAGE)
    net = Net()
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    tf.saved_model.save(net, str(HERE / "saved2"), net.serve, options)
    results = {f"{key}2": np.asarray(value) for key, value in net.serve(x).items()}
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, *IMAGE[1:]], "data")
        kernel = v1.get_variable("kernel", initializer=numbers(3, 3, 3, 2), use_resource=False)
        bias = v1.get_variable("bias", initializer=numbers(2), use_resource=True)
        y = tf.nn.sigmoid(tf.nn.conv2d(image, kernel, 2, "SAME") + bias)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(HERE / "saved1"), {"image": image}, {"y": y})
        results["y1"] = session.run(y, {image: x})
    np.savez_compressed(HERE / "saved.npz", x=x, **results)
    for folder in ("saved1", "saved2"):
        for extra in (HERE / folder).iterdir():
            if extra.name in ("assets", "fingerprint.pb"):
                shutil.rmtree(extra) if extra.is_dir() else extra.unlink()


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    make_saved()
    make_graphs()
