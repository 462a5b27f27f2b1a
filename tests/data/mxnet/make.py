"""Make the reference data of MXNet: `MXNET_PYTHON tests/data/mxnet/make.py`, a Python with
`mxnet==1.9.1 numpy==1.23.5`.

`layers.npz` holds small networks as tests/packed.py has them: each its symbol as MXNet writes it,
`symbol`, its parameters, `p/arg:NAME`, inputs `x/NAME` and outputs `y0` ... The others are whole
files as MXNet writes them: a Module's checkpoint, the export of a Gluon block and what its
save_parameters writes; `files.npz` has their input and outputs.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

os.environ["MXNET_ONEDNN_ENABLED"] = os.environ["MXNET_MKLDNN_ENABLED"] = "0"
os.environ["MXNET_STORAGE_FALLBACK_LOG_VERBOSE"] = "0"

import mxnet as mx
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from packed import pack

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(7)
S = mx.sym
IMAGE = (2, 4, 6, 5)


def numbers(shape, positive=False):
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def windows():
    conv, pool = S.Convolution, S.Pooling
    yield "conv", IMAGE, lambda x: conv(x, kernel=(3, 2), num_filter=3, pad=(1, 0), stride=(2, 1))
    yield (
        "conv_dilated",
        IMAGE,
        lambda x: conv(
            x, kernel=(3, 3), num_filter=4, num_group=2, dilate=(2, 1), pad=(2, 1), no_bias=True
        ),
    )
    yield "conv_rows", (2, 4, 9), lambda x: conv(x, kernel=(3,), num_filter=2, stride=(2,))
    yield "conv_v1", IMAGE, lambda x: S.Convolution_v1(x, kernel=(3, 3), num_filter=2)
    deconv = S.Deconvolution
    yield (
        "deconv",
        IMAGE,
        lambda x: deconv(x, kernel=(3, 3), num_filter=2, stride=(2, 2), pad=(1, 1), adj=(1, 0)),
    )
    yield (
        "deconv_grouped",
        IMAGE,
        lambda x: deconv(
            x, kernel=(4, 4), num_filter=4, num_group=4, stride=(2, 2), pad=(1, 1), no_bias=False
        ),
    )
    yield (
        "deconv_target",
        IMAGE,
        lambda x: deconv(x, kernel=(3, 3), num_filter=2, stride=(2, 2), target_shape=(12, 9)),
    )
    yield "max", IMAGE, lambda x: pool(x, kernel=(3, 2), stride=(2, 2), pool_type="max")
    yield (
        "max_full",
        IMAGE,
        lambda x: pool(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"),
    )
    yield "average", IMAGE, lambda x: pool(x, kernel=(3, 3), pad=(1, 1), pool_type="avg")
    yield (
        "average_inside",
        IMAGE,
        lambda x: pool(
            x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg", count_include_pad=False
        ),
    )
    yield (
        "average_full",
        IMAGE,
        lambda x: pool(
            x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg", pooling_convention="full"
        ),
    )
    yield "sum", IMAGE, lambda x: pool(x, kernel=(3, 3), pad=(1, 1), pool_type="sum")
    yield "lp", IMAGE, lambda x: pool(x, kernel=(2, 2), stride=(2, 1), pool_type="lp", p_value=2)
    yield "lp_one", IMAGE, lambda x: pool(x, kernel=(3, 2), pool_type="lp", p_value=1)
    yield "max_rows", (2, 4, 9), lambda x: pool(x, kernel=(2,), stride=(2,), pool_type="max")
    for kind in ("max", "avg", "sum", "lp"):
        yield (
            f"global_{kind}",
            IMAGE,
            lambda x, kind=kind: pool(
                x, kernel=(3, 3), global_pool=True, pool_type=kind, p_value=2
            ),
        )
    yield "pool_v1", IMAGE, lambda x: S.Pooling_v1(x, kernel=(2, 2), stride=(2, 2), pool_type="max")
    yield "nearest", IMAGE, lambda x: S.UpSampling(x, scale=2, sample_type="nearest")
    yield (
        "nearest_joined",
        [(2, 2, 2, 3), (2, 1, 4, 6)],
        lambda a, b: S.UpSampling(a, b, scale=4, sample_type="nearest", num_args=2),
    )
    yield (
        "bilinear",
        IMAGE,
        lambda x: S.UpSampling(x, scale=2, sample_type="bilinear", num_filter=4),
    )
    yield "bilinear_size", IMAGE, lambda x: S.contrib.BilinearResize2D(x, height=9, width=7)
    yield "adaptive", IMAGE, lambda x: S.contrib.AdaptiveAvgPooling2D(x, output_size=(3, 1))
    yield "adaptive_one", IMAGE, S.contrib.AdaptiveAvgPooling2D


def layers():
    yield "fc", IMAGE, lambda x: S.FullyConnected(x, num_hidden=3)
    yield "fc_axis", IMAGE, lambda x: S.FullyConnected(x, num_hidden=3, flatten=False)
    yield "fc_bare", (2, 7), lambda x: S.FullyConnected(x, num_hidden=3, no_bias=True)
    yield "norm", IMAGE, S.BatchNorm
    yield "norm_gamma", IMAGE, lambda x: S.BatchNorm(x, fix_gamma=False, eps=2e-5)
    yield "norm_axis", IMAGE, lambda x: S.BatchNorm(x, fix_gamma=False, axis=3)
    yield "norm_v1", IMAGE, lambda x: S.BatchNorm_v1(x, fix_gamma=False)
    yield "instance_norm", IMAGE, S.InstanceNorm
    yield "layer_norm", (2, 3, 6), S.LayerNorm
    yield "layer_norm_axis", (2, 3, 6), lambda x: S.LayerNorm(x, axis=1, eps=1e-3)
    yield "group_norm", IMAGE, lambda x: S.GroupNorm(x, num_groups=2)
    for mode in ("instance", "channel", "spatial"):
        yield f"l2_{mode}", IMAGE, lambda x, mode=mode: S.L2Normalization(x, mode=mode)
    yield "lrn", IMAGE, lambda x: S.LRN(x, nsize=3, alpha=0.1, knorm=1.5)
    for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
        yield kind, IMAGE, lambda x, kind=kind: S.Activation(x, act_type=kind)
    for kind in ("leaky", "elu", "selu", "gelu", "prelu"):
        yield kind, IMAGE, lambda x, kind=kind: S.LeakyReLU(x, act_type=kind, slope=0.1)
    yield "rrelu", IMAGE, lambda x: S.LeakyReLU(x, act_type="rrelu")[0]
    yield "softmax_output", (2, 5), S.SoftmaxOutput
    yield "softmax_each", IMAGE, S.SoftmaxOutput
    yield "softmax_multi", IMAGE, lambda x: S.SoftmaxOutput(x, multi_output=True)
    yield "softmax_last", IMAGE, lambda x: S.SoftmaxOutput(x, preserve_shape=True)
    yield "softmax_instance", IMAGE, S.SoftmaxActivation
    yield "softmax_channel", IMAGE, lambda x: S.SoftmaxActivation(x, mode="channel")
    yield "softmax", IMAGE, lambda x: S.softmax(x, axis=1, temperature=2.0)
    yield "log_softmax", IMAGE, S.log_softmax
    yield "softmin", IMAGE, lambda x: S.softmin(x, axis=2)
    yield "logistic", (2, 5), S.LogisticRegressionOutput
    yield "linear", (2, 5), S.LinearRegressionOutput
    yield "dropout", (2, 5), lambda x: S.BlockGrad(S.Dropout(x, p=0.3)) * 2


def arithmetic():
    two = [IMAGE, IMAGE]
    yield "add_n", two, lambda a, b: S.add_n(a, b, a)
    for name in ("elemwise_add", "elemwise_sub", "elemwise_mul", "broadcast_maximum"):
        yield name, two, lambda a, b, name=name: getattr(S, name)(a, b)
    yield "div", two, lambda a, b: a / (b + 2)
    few = [IMAGE, (2, 4, 1, 1)]
    for name in ("add", "sub", "mul", "maximum", "minimum", "greater", "lesser_equal", "equal"):
        yield (
            f"broadcast_{name}",
            few,
            lambda a, b, name=name: getattr(S, f"broadcast_{name}")(a, b),
        )
    yield "scalars", IMAGE, lambda x: 3 / (5 - (x + 1.5) * 0.5 - 0.25) / 2
    yield "powers", IMAGE, lambda x: (x + 2) ** 3 + 2**x
    yield "limits", IMAGE, lambda x: S.minimum(S.maximum(x, -0.5), 0.25)
    yield "comparisons", IMAGE, lambda x: (x > 0.25) + (x <= 0) * 2 + (x == 0.5) + (x != 0.25)
    for name in (
        "abs",
        "exp",
        "square",
        "negative",
        "sign",
        "floor",
        "ceil",
        "round",
        "relu",
        "sigmoid",
        "trunc",
        "erf",
        "hard_sigmoid",
    ):
        yield name, IMAGE, lambda x, name=name: getattr(S, name)(x * 1.5)
    for name in ("log", "sqrt", "rsqrt", "reciprocal", "log2"):
        yield name, IMAGE, lambda x, name=name: getattr(S, name)(x + 2)
    yield "clip", IMAGE, lambda x: S.clip(x, -0.5, 0.25)
    yield "where", two, lambda a, b: S.where(a > 0, a, b)
    yield "batch_dot", [(2, 3, 4), (2, 5, 4)], lambda a, b: S.batch_dot(a, b, transpose_b=True)
    yield "dot", (2, 3), lambda x: S.dot(x, S.var("w", shape=(3, 4)))


def moves():
    yield "concat", [IMAGE, (2, 3, 6, 5)], S.Concat
    yield "concat_rows", [IMAGE, IMAGE], lambda a, b: S.concat(a, b, dim=2)
    yield "stack", [(2, 3), (2, 3)], lambda a, b: S.stack(a, b, axis=1)
    yield "split", IMAGE, lambda x: S.Group(list(S.SliceChannel(x, num_outputs=2)))
    yield "split_squeezed", IMAGE, lambda x: S.split(x, num_outputs=5, axis=3, squeeze_axis=True)[2]
    yield "flatten", IMAGE, S.Flatten
    codes = [(0, -1), (0, 2, -1, 0), (0, -4, 2, -1, -2), (0, -3, -2), (0, -4, -1, 2, -3), (-2, 1)]
    for index, shape in enumerate(codes):
        yield f"reshape{index}", IMAGE, lambda x, shape=shape: S.reshape(x, shape=shape)
    yield "reshape_reverse", IMAGE, lambda x: S.reshape(x, shape=(0, -1, 3, 0), reverse=True)
    yield "reshape_target", IMAGE, lambda x: S.Reshape(x, target_shape=(0, 0, 6), keep_highest=True)
    yield "transpose", IMAGE, lambda x: S.transpose(x, axes=(0, 2, 3, 1))
    yield "swap", IMAGE, lambda x: S.SwapAxis(x, dim1=1, dim2=3)
    yield "slice_axis", IMAGE, lambda x: S.slice_axis(x, axis=2, begin=1, end=-1)
    yield "slice_open", IMAGE, lambda x: S.slice_axis(x, axis=-1, begin=-3, end=None)
    yield (
        "slice",
        IMAGE,
        lambda x: S.slice(x, begin=(None, 1, 4, 0), end=(None, 3, 0, None), step=(1, 1, -2, 2)),
    )
    yield "slice_like", [IMAGE, (2, 3, 2, 4)], lambda a, b: S.slice_like(a, b, axes=(2, 3))
    yield "crop", IMAGE, lambda x: S.Crop(x, num_args=1, offset=(1, 2), h_w=(3, 2))
    yield "crop_like", [IMAGE, (2, 3, 2, 4)], lambda a, b: S.Crop(a, b, num_args=2, offset=(2, 1))
    yield (
        "crop_centre",
        [IMAGE, (2, 3, 3, 2)],
        lambda a, b: S.Crop(a, b, num_args=2, center_crop=True),
    )
    for mode in ("constant", "edge", "reflect"):
        yield (
            f"pad_{mode}",
            IMAGE,
            lambda x, mode=mode: S.Pad(
                x, mode=mode, pad_width=(0, 0, 0, 0, 1, 2, 0, 3), constant_value=0.5
            ),
        )
    yield "expand", (2, 5), lambda x: S.expand_dims(x, axis=1)
    yield "squeeze", (2, 1, 5, 1), lambda x: S.squeeze(x, axis=(1, 3))
    for name in ("mean", "sum", "max", "min", "prod"):
        yield name, IMAGE, lambda x, name=name: getattr(S, name)(x, axis=(2, 3), keepdims=True)
    yield "mean_exclude", IMAGE, lambda x: S.mean(x, axis=(0, 1), exclude=True)
    yield "norm_axes", IMAGE, lambda x: S.norm(x, axis=1)
    yield "argmax", IMAGE, lambda x: S.argmax(x, axis=1)
    yield "argmin", IMAGE, lambda x: S.argmin(x, axis=-1, keepdims=True)
    yield "tile", (2, 1, 3), lambda x: S.tile(x, reps=(1, 2, 2))
    yield "broadcast_axis", (2, 1, 3), lambda x: S.broadcast_axis(x, axis=1, size=4)
    yield "broadcast_to", (2, 1, 3), lambda x: S.broadcast_to(x, shape=(0, 4, 0))
    yield "depth_to_space", IMAGE, lambda x: S.depth_to_space(x, block_size=2)
    yield "space_to_depth", (2, 3, 4, 6), lambda x: S.space_to_depth(x, block_size=2)


def detectors():
    box = S.contrib

    def detected(x, codes, scores, **how):
        prior = box.MultiBoxPrior(x, sizes=(0.3, 0.5), ratios=(1, 2, 0.5), clip=True)
        scores = S.softmax(S.reshape(scores, shape=(0, 3, -1)) * 2, axis=1)
        return box.MultiBoxDetection(scores, S.Flatten(codes), prior, **how)

    def prior(x):  # with something of each image, which linnet's outputs have
        boxes = box.MultiBoxPrior(
            x, sizes=(0.3, 0.6), ratios=(1, 2, 0.5), offsets=(0.4, 0.6), steps=(0.2, 0.3)
        )
        nothing = S.sum(x, axis=(1, 2, 3), keepdims=True) * 0
        return S.broadcast_add(S.reshape(nothing, shape=(0, 1, 1)), boxes)

    yield "priors", (1, 2, 2, 3), prior
    each = RANDOM.permutation(288).reshape(2, 12, 3, 4) / 64  # no two of them alike
    shapes = [(2, 1, 3, 4), (2, 16, 3, 4), each.astype(np.float32)]
    yield "detection", shapes, detected
    yield (
        "detection_top",
        shapes,
        lambda *given: detected(
            *given, nms_topk=10, force_suppress=True, nms_threshold=0.3, threshold=0.2
        ),
    )


def case(shapes, made):
    mx.name.NameManager._current.value = mx.name.NameManager()
    shapes = [shapes] if isinstance(shapes[0], int) else shapes
    names = ["data"] if len(shapes) == 1 else [f"data{i}" for i in range(len(shapes))]
    symbol = made(*(S.var(name) for name in names))
    xs = {name: numbers(s) if isinstance(s, tuple) else s for name, s in zip(names, shapes)}
    given = {name: x.shape for name, x in xs.items()}
    found, _, states = symbol.infer_shape_partial(**given)
    args = {
        name: numbers(shape)
        for name, shape in zip(symbol.list_arguments(), found)
        if name not in names and not name.endswith("label")
    }
    aux = {
        name: numbers(shape, "var" in name)
        for name, shape in zip(symbol.list_auxiliary_states(), states)
    }
    bound = symbol.simple_bind(mx.cpu(), grad_req="null", **given)
    bound.copy_params_from(
        {k: mx.nd.array(v) for k, v in {**args, **xs}.items()},
        {k: mx.nd.array(v) for k, v in aux.items()},
        allow_extra_params=True,
    )
    text = json.loads(symbol.tojson())
    packed = {"symbol": json.dumps(text, separators=(",", ":"))}
    packed.update({f"p/arg:{name}": array for name, array in args.items()})
    packed.update({f"p/aux:{name}": array for name, array in aux.items()})
    packed.update({f"x/{name}": array for name, array in xs.items()})
    outputs = bound.forward(is_train=False)
    packed.update({f"y{i}": y.asnumpy() for i, y in enumerate(outputs)})
    return packed


def randomize(block):
    for name, parameter in block.collect_params().items():
        parameter.set_data(mx.nd.array(numbers(parameter.shape, "var" in name)))


def make_files():
    x = mx.nd.array(numbers((2, 3, 8, 6)))
    symbol = S.var("data")
    symbol = S.Convolution(symbol, kernel=(3, 3), num_filter=4, name="conv1")
    symbol = S.Activation(S.BatchNorm(symbol, fix_gamma=False, name="bn1"), act_type="relu")
    symbol = S.SoftmaxOutput(S.FullyConnected(symbol, num_hidden=3, name="fc1"), name="softmax")
    module = mx.mod.Module(symbol)
    module.bind([("data", x.shape)], for_training=False)
    module.init_params()
    args, aux = module.get_params()
    module.set_params(
        {k: mx.nd.array(numbers(v.shape)) for k, v in args.items()},
        {k: mx.nd.array(numbers(v.shape, "var" in k)) for k, v in aux.items()},
    )
    module.save_checkpoint(str(HERE / "module"), 3)
    module.forward(mx.io.DataBatch([x]), is_train=False)
    results = {"x": x.asnumpy(), "module": module.get_outputs()[0].asnumpy()}

    nn = mx.gluon.nn
    block = nn.HybridSequential(prefix="net_")
    with block.name_scope():
        block.add(nn.Conv2D(4, 3, padding=1, activation="relu"), nn.BatchNorm(), nn.MaxPool2D())
        block.add(nn.GlobalAvgPool2D(), nn.Dense(5))
    block.initialize()
    block.hybridize()
    block(x)
    randomize(block)
    results["gluon"] = block(x).asnumpy()
    block.export(str(HERE / "gluon"))
    block.save_parameters(str(HERE / "alone.params"))
    np.savez_compressed(HERE / "files.npz", **results)


if __name__ == "__main__":
    kinds = [windows, layers, arithmetic, moves, detectors]
    pack(HERE / "layers.npz", {n: case(*rest) for kind in kinds for n, *rest in kind()})
    make_files()
