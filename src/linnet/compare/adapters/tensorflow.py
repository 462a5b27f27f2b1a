"""TensorFlow, from the CPU wheel: one traced function over constants, channels last.

Images arrive channels last, TensorFlow's own layout on a CPU, prepared before the clock starts. A
flatten therefore sees height, width, channel; the weights of the fully connected layer behind it
are permuted to that order once, at load. Those weights are handed to the function with each call:
as constants of its graph they would be copied some thirty times before it first runs, which takes
half a minute and 4 GB for 60 million of them, and would make no call faster. Weights of
convolutions are constants, which oneDNN reorders once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["tensorflow-cpu==2.21.0"],
    "import": "tensorflow",
    "bits": 64,
}
PI = "the same on a 64-bit system; no full TensorFlow for 32 bits"
ON_BLAS: dict[str, Any] = {
    "what": "TensorFlow",
    "on_pi": PI,
    "impossible": "TensorFlow calls no BLAS: Eigen and oneDNN are compiled into it",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tf-vanilla": {
        "what": "TensorFlow without oneDNN, graph mode; an analogue of the study's C (-Os)",
        "on_pi": PI,
        "env": {"TF_ENABLE_ONEDNN_OPTS": "0"},
        "library": "Eigen",
        "kernels": "Eigen",
    },
    "tf-optimized": {
        "what": "TensorFlow with oneDNN, graph mode; an analogue of the study's D (NEON flags)",
        "on_pi": PI,
        "env": {"TF_ENABLE_ONEDNN_OPTS": "1"},
        "library": "Eigen, oneDNN",
        "kernels": "oneDNN",
    },
}


class Value(NamedTuple):
    """A tensor in flight; order is the [C, H, W] a flattened one came from, else None."""

    tensor: Any
    order: list[int] | None = None


class Adapter:
    def __init__(self, tensorflow: Any, threads: int, options: dict[str, Any]) -> None:
        self.tf, self.library = tensorflow, options["library"]
        self.tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.tf.config.threading.set_inter_op_parallelism_threads(1)

    def prepare(self, x: Any) -> Any:
        return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        forward, tf = self.traced(network, batch, self.outside), self.tf
        return lambda x: forward(tf.constant(x))[0].numpy()

    def write(self, network: Network, files: list[str]) -> None:
        graph = self.traced(network, 1, self.tf.constant).graph.as_graph_def()
        with open(files[0], "wb") as file:
            file.write(graph.SerializeToString())

    def outside(self, array: Any) -> Any:
        """A tensor outside of the graph that is traced."""
        with self.tf.init_scope():
            return self.tf.constant(array)

    def traced(self, network: Network, batch: int, matrix: Callable[[Any], Any]) -> Any:
        """One function of images, traced: that belongs to loading, not to the first call.

        matrix: makes tensors of the weights of fully connected layers.
        """
        tf = self.tf
        shape = [batch, *channels_last(network.shapes[network.input])]

        # Nothing here is Python's control flow, and reading it as that takes seconds.
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
        def forward(x: Any) -> Any:
            values = {network.input: Value(x)}
            for node in network.nodes:
                values[node.outputs[0]] = apply(tf, network, node, values, matrix)
            return [channels_first(tf, values[network.output]).tensor]

        return forward.get_concrete_function()


def channels_last(shape: list[int]) -> list[int]:
    return [*shape[1:], shape[0]] if len(shape) == 3 else shape


def channels_first(tf: Any, value: Value) -> Value:
    """The tensor in the order of the ONNX graph."""
    if value.order is not None:
        c, h, w = value.order
        value = Value(tf.reshape(value.tensor, [value.tensor.shape[0], h, w, c]))
        return Value(
            tf.reshape(tf.transpose(value.tensor, [0, 3, 1, 2]), [value.tensor.shape[0], -1])
        )
    if len(value.tensor.shape) == 4:
        return Value(tf.transpose(value.tensor, [0, 3, 1, 2]))
    return value


def apply(
    tf: Any,
    network: Network,
    node: Node,
    values: dict[str, Value],
    matrix: Callable[[Any], Any],
) -> Value:
    """One node; ValueError if TensorFlow has no equal."""
    weights = [network.weights[v] for v in node.inputs if v in network.weights]
    value = values[node.inputs[0]]
    x = value.tensor
    if node.op == "Conv":
        _, strides, (top, left, bottom, right), dilations = node.window()
        pads = [[0, 0], [top, bottom], [left, right], [0, 0]]
        padding = pads if any((top, left, bottom, right)) else "VALID"
        if node.attrs.get("group", 1) == x.shape[3] > 1 and weights[0].shape[1] == 1:
            w = weights[0].reshape(x.shape[3], -1, *weights[0].shape[2:]).transpose(2, 3, 0, 1)
            steps = [1, *strides, 1]  # alike in both directions, or TensorFlow says it cannot
            y = tf.nn.depthwise_conv2d(x, tf.constant(w), steps, padding, dilations=dilations)
        else:
            w = weights[0].transpose(2, 3, 1, 0)
            y = tf.nn.conv2d(x, tf.constant(w), strides, padding, dilations=dilations)
        return Value(tf.nn.bias_add(y, tf.constant(weights[1])) if len(weights) > 1 else y)
    if node.op in ("MaxPool", "AveragePool"):
        return Value(pool(tf, network, node, x))
    if node.op in ("GlobalMaxPool", "GlobalAveragePool"):
        reduce = tf.reduce_max if node.op == "GlobalMaxPool" else tf.reduce_mean
        return Value(reduce(x, [1, 2], keepdims=True))
    if node.op == "Gemm":
        w = weights[0]
        if value.order is not None:
            w = w.reshape(-1, *value.order).transpose(0, 2, 3, 1).reshape(len(w), -1)
        y = tf.matmul(x, matrix(numpy.ascontiguousarray(w.T)))
        return Value(tf.nn.bias_add(y, tf.constant(weights[1])) if len(weights) > 1 else y)
    if node.op == "LRN":
        attrs = node.lrn()
        if attrs["size"] % 2 == 0:
            raise ValueError(f"{node.outputs[0]}: TensorFlow has no LRN over an even size")
        scale = attrs["alpha"] / attrs["size"]
        return Value(tf.nn.lrn(x, attrs["size"] // 2, attrs["bias"], scale, attrs["beta"]))
    if node.op == "Concat" and not weights:
        parts = [plain(tf, values[name]).tensor for name in node.inputs]
        axis = [0, 3, 1, 2][node.attrs["axis"]] if len(x.shape) == 4 else node.attrs["axis"]
        return Value(tf.concat(parts, axis))
    if node.op == "Relu":
        return Value(tf.nn.relu(x), value.order)
    if node.op == "Add":
        if not weights:
            a, b = value, values[node.inputs[1]]
            if a.order != b.order:
                a, b = plain(tf, a), plain(tf, b)
            if len(a.tensor.shape) != len(b.tensor.shape):
                raise ValueError(f"{node.outputs[0]}: broadcasting over different ranks")
            return Value(a.tensor + b.tensor, a.order)
        value, rank = plain(tf, value), len(x.shape)
        w = weights[0].reshape((1,) * (rank - weights[0].ndim) + weights[0].shape)
        return Value(value.tensor + tf.constant(w.transpose(0, 2, 3, 1) if rank == 4 else w))
    if node.op == "Softmax":
        value, axis = plain(tf, value), node.attrs.get("axis", 1)
        return Value(tf.nn.softmax(value.tensor, [0, 3, 1, 2][axis] if len(x.shape) == 4 else axis))
    if node.op == "Flatten" and len(x.shape) == 4:
        shape = network.shapes[node.inputs[0]]
        return Value(tf.reshape(x, [x.shape[0], int(numpy.prod(shape))]), shape)
    if node.op in ("Flatten", "Reshape"):
        shape = [x.shape[0], *network.shapes[node.outputs[0]]]
        y = tf.reshape(channels_first(tf, value).tensor, shape)
        return Value(tf.transpose(y, [0, 2, 3, 1]) if len(shape) == 4 else y)
    raise ValueError(f"{node.outputs[0]}: the TensorFlow adapter has no {node.op}")


def plain(tf: Any, value: Value) -> Value:
    """The value with a flattened one back in the graph's order (rank 4 stays channels last)."""
    return channels_first(tf, value) if value.order is not None else value


def pool(tf: Any, network: Network, node: Node, x: Any) -> Any:
    """Pooling with explicit padding: pads, ceil mode and what an average counts are the graph's."""
    kernel, strides, (top, left, bottom, right), dilations = node.window()
    shape, out = network.shapes[node.inputs[0]][1:], network.shapes[node.outputs[0]][1:]
    begins, pads = [top, left], []
    for i, end in enumerate((bottom, right)):
        reach = (out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
        pads.append([begins[i], max(end, reach - begins[i] - shape[i])])
    # Padding SAME is a row and a column at the end at most, which count nowhere.
    same = all(
        o == -(-i // s) and not begin and end <= 1
        for i, o, s, (begin, end) in zip(shape, out, strides, pads)
    )
    if same and dilations == [1, 1] and (node.op == "MaxPool" or not any((bottom, right))):
        own = tf.nn.max_pool2d if node.op == "MaxPool" else tf.nn.avg_pool2d
        return own(x, kernel, strides, "SAME")
    padding = [[0, 0], *pads, [0, 0]]
    padded = any(map(any, pads))
    if node.op == "MaxPool":
        x = tf.pad(x, padding, constant_values=-numpy.inf) if padded else x
        return (
            tf.nn.pool(x, kernel, "MAX", strides, "VALID", dilations=dilations)
            if dilations != [1, 1]
            else tf.nn.max_pool2d(x, kernel, strides, "VALID")
        )
    y = tf.nn.avg_pool2d(tf.pad(x, padding) if padded else x, kernel, strides, "VALID")
    if (
        padded
    ):  # scale by what ONNX divides by: padding counts if asked for, what ceil mode adds never
        ones = numpy.zeros([shape[i] + sum(pads[i]) for i in (0, 1)], numpy.float32)
        counted = (bottom, right) if node.attrs.get("count_include_pad") else None
        spans = [
            slice(0, begins[i] + shape[i] + counted[i])
            if counted
            else slice(begins[i], begins[i] + shape[i])
            for i in (0, 1)
        ]
        ones[tuple(spans)] = 1
        count = [
            [
                ones[
                    i * strides[0] : i * strides[0] + kernel[0],
                    j * strides[1] : j * strides[1] + kernel[1],
                ].sum()
                for j in range(out[1])
            ]
            for i in range(out[0])
        ]
        y *= tf.constant(
            kernel[0] * kernel[1] / numpy.array(count, numpy.float32)[None, :, :, None]
        )
    return y
