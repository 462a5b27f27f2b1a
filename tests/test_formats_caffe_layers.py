"""Layers of Caffe's forks, and Caffe's rarer ones, against their published definitions in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import formats, interpret, ops, passes
from linnet.formats import _schema

RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((2, 6, 5, 4)).astype(np.float32)
INPUT = 'input: "x" input_shape { dim: 1 dim: 6 dim: 5 dim: 4 }'


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def trained(*blobs: Any, name: str = "y") -> bytes | None:
    """The caffemodel of a layer."""
    if not blobs:
        return None
    net = _schema.caffe("TrainedParameter")()
    entry = net.layer.add(name=name)
    for array in blobs:
        entry.blobs.add(data=[array.tobytes()]).shape.dim.extend(array.shape)
    data: bytes = net.SerializeToString()
    return data


def check(
    kind: str,
    settings: str,
    expected: Any,
    *blobs: Any,
    bottoms: str = "x",
    x: Any = X,
    equal_nan: bool = False,
) -> None:
    """The layer computes `expected` of x: as a graph, and in the core."""
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    text = f'{of(x)} layer {{ name: "y" type: "{kind}" {names} top: "y" {settings} }}'
    same(text, trained(*blobs), x, [expected], equal_nan)


def of(x: Any) -> str:
    """An input of its shape, whatever the batch."""
    dims = " ".join(f"dim: {n}" for n in (1, *x.shape[1:]))
    return f'input: "x" input_shape {{ {dims} }}'


def same(
    text: str, weights: bytes | None, x: Any, expected: list[Any], equal_nan: bool = False
) -> None:
    """The outputs of a network are those, as a graph and in the core."""
    graph = passes.canonicalize(formats.read(text.encode(), weights))
    values = interpret.run(graph, {"x": x}).values()
    net = linnet.load(text.encode(), weights)
    for results in (list(values), net.run(None, {"x": x})):
        assert len(results) == len(expected)
        for found, right in zip(results, expected):
            assert found.shape == right.shape
            np.testing.assert_allclose(found, right, 1e-4, 1e-5, equal_nan)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ("order: 0 order: 2 order: 3 order: 1", (0, 2, 3, 1)),
        ("order: 0 order: 3", (0, 3, 1, 2)),
        ("", (0, 1, 2, 3)),
        ("order: 0 order: 1 order: 3 order: 2", (0, 1, 3, 2)),
        ("order: [0, 3, 2, 1]", (0, 3, 2, 1)),
    ],
)
def test_permute(settings: str, order: tuple[int, ...]) -> None:
    check("Permute", f"permute_param {{ {settings} }}", X.transpose(order))


@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_shuffle_channel(group: int) -> None:
    expected = X.reshape(2, group, -1, 5, 4).swapaxes(1, 2).reshape(X.shape)
    check("ShuffleChannel", f"shuffle_channel_param {{ group: {group} }}", expected)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (2, 0), (1, -3), (0.5, 4), (-1, 1)])
def test_power_of_one(scale: float, shift: float) -> None:
    check("Power", f"power_param {{ scale: {scale} shift: {shift} }}", shift + scale * X)


@pytest.mark.parametrize("coeffs", [(1, 1), (1, -1), (0.5, 2), (-1, 1, 3), (2, 0)])
def test_sums_with_coefficients(coeffs: tuple[float, ...]) -> None:
    settings = " ".join(f"coeff: {coeff}" for coeff in coeffs)
    bottoms = " ".join("x" for _ in coeffs)
    check("Eltwise", f"eltwise_param {{ {settings} }}", sum(coeffs) * X, bottoms=bottoms)


def test_relu6() -> None:
    check("ReLU6", "", np.clip(X, 0, 6))


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise"])
@pytest.mark.parametrize("settings", ["", "pad: 1", "stride: 2 pad: 1", "dilation: 2", "pad_w: 2"])
def test_depthwise_convolutions(kind: str, settings: str) -> None:
    w, b = normal(6, 1, 3, 3), normal(6)
    window: dict[str, Any] = {
        "": {},
        "pad: 1": {"pads": (1,) * 4},
        "stride: 2 pad: 1": {"pads": (1,) * 4, "strides": (2, 2)},
        "dilation: 2": {"dilations": (2, 2)},
        "pad_w: 2": {"pads": (0, 2, 0, 2)},
    }[settings]
    if settings == "dilation: 2":
        w = normal(6, 1, 2, 2)
    group = "group: 6" if kind == "DepthwiseConvolution" else ""
    settings += f" num_output: 6 kernel_size: {w.shape[2]} {group}"
    expected = ops.conv.conv(X, w, b, group=6, **window)
    check(kind, f"convolution_param {{ {settings} }}", expected, w, b)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (1, 6, 1, 1), (6, 1, 1)])
def test_bn_of_forks(shape: tuple[int, ...]) -> None:
    scale, shift, mean, variance = (normal(*shape) for _ in range(4))
    a, b, m = (v.reshape(6, 1, 1) for v in (scale, shift, mean))
    check("BN", "bn_param { bn_mode: INFERENCE }", X * a + b, scale, shift)
    v = (variance**2).reshape(6, 1, 1)
    expected = (X - m) / np.sqrt(v + 1e-3) * a + b
    settings = "bn_param { eps: 1e-3 frozen: true momentum: 0.9 }"
    check("BN", settings, expected, scale, shift, mean, variance**2)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (3, 2), (2, 3)])
def test_stochastic_pools_weigh_numbers_by_themselves(kernel: int, stride: int) -> None:
    """As pooling_layer.cu does where it is not trained: sum(x^2) / sum(x), or 0."""
    count = [-(-(n - kernel) // stride) + 1 for n in (5, 4)]
    for x in (X, np.maximum(X, 0), np.zeros_like(X), X * np.float32(1e-30)):
        expected = np.zeros((2, 6, *count))
        for i, j in np.ndindex(*count):
            window = x[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            total, square = (window.astype(float) ** p for p in (1, 2))
            total, square = total.sum((2, 3)), square.sum((2, 3))
            expected[:, :, i, j] = np.where(total > 0, square / np.where(total > 0, total, 1), 0)
        settings = f"pool: STOCHASTIC kernel_size: {kernel} stride: {stride}"
        check("Pooling", f"pooling_param {{ {settings} }}", expected, x=x)


def test_a_stochastic_pool_of_the_whole_image() -> None:
    x = np.maximum(X, 0)
    expected = (x**2).sum((2, 3), keepdims=True) / x.sum((2, 3), keepdims=True)
    check("Pooling", "pooling_param { pool: STOCHASTIC global_pooling: true }", expected, x=x)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("Permute", "permute_param { order: 4 }", "order [4, 0, 1, 2, 3] is not one of 4 axes"),
        ("Permute", "permute_param { order: 0 order: 0 }", "is not one of 4 axes"),
        ("ShuffleChannel", "shuffle_channel_param { group: 4 }", "group 4 does not divide"),
        ("ShuffleChannel", "shuffle_channel_param { group: 0 }", "group 0 does not divide"),
        ("BN", "bn_param { bn_mode: LEARN }", "statistics of the batch"),
        ("ReLU6", "relu6_param { }", "not known: relu6_param"),
        ("Tile", "tile_param { axis: 1 }", "tiles 0 is not 1 to"),
        ("Tile", "tile_param { tiles: 1000000 }", "tiles 1000000 is not 1 to"),
        ("Scale", 'bottom: "x" scale_param { axis: 1 }', "from axis 1 are not supported"),
        ("Axpy", "", "has 1 bottoms and 1 tops, expected 3 and 1"),
    ],
)
def test_settings_that_do_not_fit(kind: str, settings: str, said: str) -> None:
    text = f'{INPUT} layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {settings} }}'
    with pytest.raises(ValueError) as error:
        passes.canonicalize(formats.read(text.encode()))
    assert f"'y' ({kind}): " in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("tiles: 1", X),
        ("tiles: 3", np.tile(X, (1, 3, 1, 1))),
        ("axis: 1 tiles: 2", np.tile(X, (1, 2, 1, 1))),
        ("axis: -3 tiles: 2", np.tile(X, (1, 2, 1, 1))),
    ],
)
def test_tile(settings: str, expected: Any) -> None:
    check("Tile", f"tile_param {{ {settings} }}", expected)


def of_two(kind: str, settings: str, bottoms: str) -> tuple[Any, Any]:
    """The second bottom and the layer's result, by what the operators mean."""
    text = f'{INPUT} layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param '
    text += "{ global_pooling: true pool: AVE } }"
    text += 'layer { name: "f" type: "Flatten" bottom: "p" top: "f" }'
    text += 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }'
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    text += f'layer {{ name: "y" type: "{kind}" {names} top: "y" {settings} }}'
    graph = formats.read(text.encode())
    found = interpret.run(graph, {"x": X}, fetch=["p", "f", "r", "y"])
    return found, found["y"]


@pytest.mark.parametrize("axis", [0, -4])
@pytest.mark.parametrize("other", ["f", "r"])
def test_layers_of_two_bottoms(other: str, axis: int) -> None:
    found, y = of_two("Scale", f"scale_param {{ axis: {axis} }}", f"x {other}")
    wide = found[other].reshape(*found[other].shape, *(1,) * (4 - found[other].ndim))
    np.testing.assert_allclose(y, X * wide, rtol=1e-6)
    found, y = of_two("Bias", f"bias_param {{ axis: {axis} }}", f"x {other}")
    np.testing.assert_allclose(y, X + wide, rtol=1e-6)


def test_axpy() -> None:
    found, y = of_two("Axpy", "", "p x r")
    np.testing.assert_allclose(y, X * found["p"] + found["r"], rtol=1e-6)


def test_a_bias_for_every_channel_of_every_image() -> None:
    text = f'{INPUT} input: "b" input_shape {{ dim: 1 dim: 6 }}'
    text += (
        'layer { name: "y" type: "Bias" bottom: "x" bottom: "b" top: "y" bias_param { axis: 0 } }'
    )
    bias = normal(2, 6)
    (y,) = linnet.load(text.encode()).run(None, {"x": X, "b": bias})
    np.testing.assert_allclose(y, X + bias[:, :, None, None], rtol=1e-6)


# --- Caffe's own ----------------------------------------------------------------------------------


def test_prelu() -> None:
    slope = normal(6)
    check("PReLU", "", np.where(X < 0, X * slope[:, None, None], X), slope)
    expected = np.where(X < 0, X * slope[0], X)
    shared = "prelu_param { channel_shared: true filler { value: 0.1 } }"
    for shape in ((), (1,), (1, 1, 1, 1)):
        check("PReLU", shared, expected, slope[:1].reshape(shape))
    x, slope = normal(3, 7), normal(7)
    check("PReLU", "", np.where(x < 0, x * slope, x), slope, x=x)


def test_functions_of_every_number() -> None:
    e = np.expm1(np.minimum(X, 0))
    check("ELU", "", np.where(X < 0, e, X))
    check("ELU", "elu_param { alpha: 0.3 }", np.where(X < 0, 0.3 * e, X))
    check("BNLL", "", np.log1p(np.exp(X)))
    check("Threshold", "", (X > 0).astype(np.float32))
    check("Threshold", "threshold_param { threshold: 0.4 }", (X > 0.4).astype(np.float32))
    edge = np.float32([[[[0.25, 0.5, 0.75]]]])
    check("Threshold", "threshold_param { threshold: 0.5 }", np.float32([[[[0, 0, 1]]]]), x=edge)
    check("Swish", "", X / (1 + np.exp(-X)))
    check("Swish", "swish_param { beta: 1.5 }", X / (1 + np.exp(-1.5 * X)))
    check("Mish", "", X * np.tanh(np.log1p(np.exp(X))))


@pytest.mark.parametrize(
    ("settings", "base", "scale", "shift"),
    [
        ("", np.e, 1, 0),
        ("scale: 0.5 shift: -1", np.e, 0.5, -1),
        ("base: 2", 2, 1, 0),
        ("base: 0.5 scale: 3 shift: 0.25", 0.5, 3, 0.25),
        ("base: 10 scale: -0.3", 10, -0.3, 0),
    ],
)
def test_exp_and_log(settings: str, base: float, scale: float, shift: float) -> None:
    check("Exp", f"exp_param {{ {settings} }}", base ** (scale * X + shift))
    x = (np.abs(X) * 4 + 0.1 - shift) / scale  # what the logarithm is of is positive
    x = x.astype(np.float32)
    with np.errstate(invalid="ignore"):
        check("Log", f"log_param {{ {settings} }}", np.log(scale * x + shift) / np.log(base), x=x)


@pytest.mark.parametrize(
    "power", [2, 3, 4, 7, 10, 0.5, -1, -2, 0.25, 0.75, -0.75, 1.5, 2.0625, 0.1, -1.3, 33.5]
)
def test_power(power: float) -> None:
    x = np.exp(X / 8) if power > 10 else X
    with np.errstate(invalid="ignore"):
        expected = np.power(x.astype(np.float64), float(np.float32(power)))
        check("Power", f"power_param {{ power: {power} }}", expected, x=x, equal_nan=True)
        positive = np.abs(x) + 0.2
        expected = (0.5 + 1.25 * positive.astype(np.float64)) ** float(np.float32(power))
        settings = f"power_param {{ power: {power} scale: 1.25 shift: 0.5 }}"
        check("Power", settings, expected, x=positive)


def test_power_of_zero() -> None:
    x = np.float32([[[[0, 1, 4]]]])
    with np.errstate(divide="ignore"):
        check("Power", "power_param { power: 0.1 }", np.float32([[[[0, 1, 4**0.1]]]]), x=x)
    check("Power", "power_param { power: 0.75 }", np.float32([[[[0, 1, 4**0.75]]]]), x=x)
    x[..., 0] = np.inf
    check("Power", "power_param { power: 0 }", np.ones_like(x), x=x)
    check("Power", "power_param { power: 2 scale: 0 shift: 3 }", np.full_like(x, 9), x=x)


@pytest.mark.parametrize("beta", [0.75, 0.5, 1, 0.3, 0])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_lrn_within_a_channel(size: int, beta: float) -> None:
    pad = size // 2
    square = np.pad(X * X, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    total = sum(square[:, :, i : i + 5, j : j + 4] for i in range(size) for j in range(size))
    # Caffe's pools count the padding, and k is not looked at.
    expected = X * (1 + 0.7 * total / size**2) ** -beta
    settings = f"local_size: {size} alpha: 0.7 beta: {beta} k: 5 norm_region: WITHIN_CHANNEL"
    check("LRN", f"lrn_param {{ {settings} }}", expected)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("variance", [False, True])
def test_mvn(across: bool, variance: bool) -> None:
    axes = (1, 2, 3) if across else (2, 3)
    expected = X - X.mean(axes, keepdims=True)
    settings = f"across_channels: {str(across).lower()} normalize_variance: "
    settings += f"{str(variance).lower()} eps: 0.01"
    if variance:
        expected = expected / (np.sqrt((expected**2).mean(axes, keepdims=True)) + 0.01)
    check("MVN", f"mvn_param {{ {settings} }}", expected)
    if not (across or variance):
        check("MVN", "", (X - X.mean((2, 3), keepdims=True)) / X.std((2, 3), keepdims=True))


@pytest.mark.parametrize("axis", [2, 3, -1])
@pytest.mark.parametrize("coeff", [1, -0.5])
def test_reduction(axis: int, coeff: float) -> None:
    axes = tuple(range(axis % 4, 4))
    for name, expected in {
        "SUM": X.sum(axes),
        "ASUM": np.abs(X).sum(axes),
        "SUMSQ": (X**2).sum(axes),
        "MEAN": X.mean(axes),
    }.items():
        settings = f"operation: {name} axis: {axis} coeff: {coeff}"
        check("Reduction", f"reduction_param {{ {settings} }}", coeff * expected)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_arg_max_along_an_axis(axis: int) -> None:
    x = np.round(X)  # with equal numbers, of which Caffe takes the last
    place = x.shape[axis] - 1 - np.flip(x, axis).argmax(axis)
    expected = np.expand_dims(place, axis).astype(np.float32)
    check("ArgMax", f"argmax_param {{ axis: {axis} }}", expected, x=x)
    settings = f"argmax_param {{ axis: {axis} out_max_val: true }}"
    check("ArgMax", settings, x.max(axis, keepdims=True), x=x)


def test_reductions_of_many_axes() -> None:
    """Whose shapes the layers after them know."""
    x = normal(2, 3, 2, 4, 5)
    text = f"""{of(x)} layer {{ name: "a" type: "ArgMax" bottom: "x" top: "a"
            argmax_param {{ axis: 3 out_max_val: true }} }}
        layer {{ name: "y" type: "Flatten" bottom: "a" top: "y" flatten_param {{ axis: 2 }} }}"""
    same(text, None, x, [x.max(3).reshape(2, 3, 10)])
    text = text.replace("out_max_val: true", "")
    same(text, None, x, [x.argmax(3).reshape(2, 3, 10).astype(np.float32)])


def test_arg_max_of_images() -> None:
    for x in (X, normal(3, 9)):
        flat = x.reshape(len(x), -1)
        ones = (1,) * max(1, x.ndim - 2)
        place = flat.argmax(1).astype(np.float32)
        check("ArgMax", "", place.reshape(-1, 1, *ones), x=x)
        both = np.stack([place, flat.max(1)], 1).reshape(-1, 2, *ones)
        check("ArgMax", "argmax_param { out_max_val: true }", both, x=x)


@pytest.mark.parametrize(
    ("settings", "tops", "axis", "ends"),
    [
        ("", 3, 1, [2, 4, 6]),
        ("slice_point: 1 slice_point: 4", 3, 1, [1, 4, 6]),
        ("axis: 2 slice_point: 2", 2, 2, [2, 5]),
        ("axis: -1", 4, 3, [1, 2, 3, 4]),
        ("slice_dim: 3 slice_point: 3", 2, 3, [3, 4]),
        ("axis: 1", 1, 1, [6]),
    ],
)
def test_slice(settings: str, tops: int, axis: int, ends: list[int]) -> None:
    names = " ".join(f'top: "y{index}"' for index in range(tops))
    text = f'{of(X)} layer {{ name: "y" type: "Slice" bottom: "x" {names} '
    text += f"slice_param {{ {settings} }} }}"
    same(text, None, X, np.split(X, ends[:-1], axis))


def test_parts_are_put_together_again() -> None:
    """The shapes of parts and of wholes are known to the layers that follow."""
    text = f"""{of(X)}
        layer {{ name: "s" type: "Slice" bottom: "x" top: "a" top: "b"
                slice_param {{ axis: 2 slice_point: 2 }} }}
        layer {{ name: "c" type: "Concat" bottom: "b" bottom: "a" top: "c"
                concat_param {{ axis: 2 }} }}
        layer {{ name: "f" type: "InnerProduct" bottom: "c" top: "f"
                inner_product_param {{ num_output: 3 bias_term: false }} }}"""
    weight = normal(3, 120)
    turned = np.concatenate([X[:, :, 2:], X[:, :, :2]], 2).reshape(2, -1)
    same(text, trained(weight, name="f"), X, [turned @ weight.T])


@pytest.mark.parametrize(
    ("settings", "section"),
    [
        ("", (slice(None), slice(None), slice(0, 3), slice(0, 2))),
        ("offset: 1", (slice(None), slice(None), slice(1, 4), slice(1, 3))),
        ("offset: 2 offset: 0", (slice(None), slice(None), slice(2, 5), slice(0, 2))),
        ("axis: 3 offset: 1", (slice(None), slice(None), slice(None), slice(1, 3))),
        ("axis: 1 offset: [3, 2, 1]", (slice(None), slice(3, 6), slice(2, 5), slice(1, 3))),
        ("axis: 0 offset: [0, 2, 2, 1]", (slice(None), slice(2, 5), slice(2, 5), slice(1, 3))),
        ("axis: -2 offset: 1", (slice(None), slice(None), slice(1, 4), slice(1, 3))),
    ],
)
def test_crop(settings: str, section: tuple[slice, ...]) -> None:
    text = f"""{of(X)} input: "size" input_shape {{ dim: 1 dim: 3 dim: 3 dim: 2 }}
        layer {{ name: "y" type: "Crop" bottom: "x" bottom: "size" top: "y"
                crop_param {{ {settings} }} }}"""
    graph = passes.canonicalize(formats.read(text.encode()))
    (y,) = interpret.run(graph, {"x": X}).values()
    np.testing.assert_array_equal(y, X[section])
    net = linnet.load(text.encode())
    feeds = {"x": X, "size": normal(2, 3, 3, 2)}
    (found,) = net.run(None, {value.name: feeds[value.name] for value in net.inputs})
    np.testing.assert_array_equal(found, X[section])


def test_a_crop_follows_the_size_of_the_input() -> None:
    text = f"""{of(X)} layer {{ name: "p" type: "Pooling" bottom: "x" top: "p"
                pooling_param {{ kernel_size: 3 stride: 1 }} }}
        layer {{ name: "y" type: "Crop" bottom: "x" bottom: "p" top: "y"
                crop_param {{ offset: 1 }} }}"""
    x = normal(1, 6, 9, 8)
    net = linnet.load(text.encode(), shapes={"x": (1, 6, 9, 8)})
    np.testing.assert_array_equal(net(x), x[:, :, 1:-1, 1:-1])


def caffes_deconvolution(
    x: Any, w: Any, *, stride: Any, pad: Any, dilation: Any, group: int
) -> np.ndarray[Any, Any]:
    """Every number times its filter, added where the filter lies; the padding is cut off."""
    n, c, *size = x.shape
    filters, kernel = w.shape[1], w.shape[2:]
    full = [s * (a - 1) + d * (k - 1) + 1 for a, k, s, d in zip(size, kernel, stride, dilation)]
    y = np.zeros((n, group * filters, *full))
    for g, i, j, r, s in np.ndindex(group, *size, *kernel):
        part = slice(g * c // group, (g + 1) * c // group)
        at = (i * stride[0] + r * dilation[0], j * stride[1] + s * dilation[1])
        y[:, g * filters : (g + 1) * filters, at[0], at[1]] += x[:, part, i, j] @ w[part, :, r, s]
    return y[:, :, pad[0] : full[0] - pad[0], pad[1] : full[1] - pad[1]]


@pytest.mark.parametrize(
    ("settings", "kernel", "group", "changed"),
    [
        ("", (3, 3), 1, {}),
        ("stride: 2 pad: 1", (4, 4), 1, {"stride": (2, 2), "pad": (1, 1)}),
        ("stride: 2 pad: 1 group: 3", (3, 3), 3, {"stride": (2, 2), "pad": (1, 1)}),
        ("stride: 2 group: 6", (2, 2), 6, {"stride": (2, 2)}),
        (
            "stride_h: 3 stride_w: 1 pad_h: 0 pad_w: 2",
            (5, 3),
            1,
            {"stride": (3, 1), "pad": (0, 2)},
        ),
        ("dilation: 2 pad: 1 group: 2", (3, 2), 2, {"dilation": (2, 2), "pad": (1, 1)}),
        ("stride: 2 dilation: 3", (2, 2), 1, {"stride": (2, 2), "dilation": (3, 3)}),
    ],
)
def test_deconvolution(settings: str, kernel: Any, group: int, changed: Any) -> None:
    window = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), **changed}
    w, b = normal(6, 6 // group, *kernel), normal(6)
    settings += f" num_output: 6 kernel_h: {kernel[0]} kernel_w: {kernel[1]}"
    expected = caffes_deconvolution(X, w, group=group, **window)
    check("Deconvolution", f"convolution_param {{ {settings} }}", expected + b[:, None, None], w, b)
    settings += " bias_term: false"
    check("Deconvolution", f"convolution_param {{ {settings} }}", expected, w)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_deconvolution_that_was_never_trained(factor: int) -> None:
    """It interpolates: of a plane, all but the border is a plane again."""
    kernel, pad = 2 * factor - factor % 2, (factor - 1) // 2 + (factor + 1) % 2
    settings = f"kernel_size: {kernel} stride: {factor} pad: {pad} num_output: 6 group: 6 "
    settings += 'bias_term: false weight_filler { type: "bilinear" }'
    half = (kernel + 1) // 2
    centre = (kernel - 1) / (2 * half)
    line = [1 - abs(i / half - centre) for i in range(kernel)]
    w = np.broadcast_to(np.outer(line, line), (6, 1, kernel, kernel)).astype(np.float32)
    expected = caffes_deconvolution(
        X, w, stride=(factor,) * 2, pad=(pad,) * 2, dilation=(1, 1), group=6
    )
    check("Deconvolution", f"convolution_param {{ {settings} }}", expected)
    check("Deconvolution", f"convolution_param {{ {settings} }}", expected, w)
    settings = settings.replace("bias_term: false", "bias_filler { value: 0.5 }")
    check("Deconvolution", f"convolution_param {{ {settings} }}", expected + 0.5)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(4, 4), (7, 5), (8, 6), (3, 9)])
def test_pyramids_of_pools(size: tuple[int, int], pool: str) -> None:
    x = normal(2, 3, *size)
    levels = []
    for bins in (1, 2):
        y = np.empty((2, 3, bins, bins), np.float32)
        kernel = [-(-n // bins) for n in size]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, size)]
        for i, j in np.ndindex(bins, bins):
            begin = [a * k - p for a, k, p in zip((i, j), kernel, pad)]
            end = [min(b + k, n + p) for b, k, n, p in zip(begin, kernel, size, pad)]
            area = math.prod(e - b for b, e in zip(begin, end))
            part = x[:, :, max(begin[0], 0) : end[0], max(begin[1], 0) : end[1]]
            y[:, :, i, j] = part.max((2, 3)) if pool == "MAX" else part.sum((2, 3)) / area
        levels.append(y)
    flat = np.concatenate([y.reshape(2, -1) for y in levels], 1)
    check("SPP", f"spp_param {{ pyramid_height: 2 pool: {pool} }}", flat, x=x)
    check("SPP", f"spp_param {{ pyramid_height: 1 pool: {pool} }}", levels[0], x=x)


def test_what_is_silenced_is_no_output() -> None:
    text = f"""{of(X)} layer {{ name: "s" type: "Slice" bottom: "x" top: "a" top: "b" }}
        layer {{ name: "q" type: "Silence" bottom: "a" }}"""
    same(text, None, X, [X[:, 3:]])


# --- forks' -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize(spatial: bool, shared: bool) -> None:
    scale = normal(1 if shared else 6)
    norm = np.sqrt((X**2).sum((1, 2, 3) if spatial else 1, keepdims=True) + 0.5)
    settings = f"across_spatial: {str(spatial).lower()} channel_shared: {str(shared).lower()} "
    settings += 'eps: 0.5 scale_filler { type: "constant" value: 20 }'
    expected = X / norm * scale[:, None, None]
    check("Normalize", f"norm_param {{ {settings} }}", expected, scale)


@pytest.mark.parametrize(
    ("settings", "size", "crop"),
    [
        ("height: 9 width: 3", (9, 3), (0, 0)),
        ("zoom_factor: 3", (13, 10), (0, 0)),
        ("shrink_factor: 2", (3, 2), (0, 0)),
        ("shrink_factor: 2 zoom_factor: 4", (9, 5), (0, 0)),
        ("height: 4 width: 4 pad_beg: -1", (4, 4), (1, 0)),
        ("zoom_factor: 2 pad_beg: -1 pad_end: -2", (3, 1), (1, 2)),
        ("height: 1 width: 7", (1, 7), (0, 0)),
    ],
)
def test_interp(settings: str, size: tuple[int, int], crop: tuple[int, int]) -> None:
    x = X[:, :, crop[0] : 5 - crop[1], crop[0] : 4 - crop[1]]
    for axis, new in zip((2, 3), size):
        old = x.shape[axis]
        places = np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0)
        low = np.minimum(places.astype(int), old - 1)
        part = (places - low).reshape(-1, *(1,) * (3 - axis))
        x = x.take(low, axis) * (1 - part) + x.take(np.minimum(low + 1, old - 1), axis) * part
    check("Interp", f"interp_param {{ {settings} }}", x)


@pytest.mark.parametrize(
    ("settings", "high", "wide"),
    [("", 2, 2), ("scale: 3", 3, 3), ("scale_h: 1 scale_w: 4", 1, 4), ("scale: 1", 1, 1)],
)
def test_upsample(settings: str, high: int, wide: int) -> None:
    check("Upsample", f"upsample_param {{ {settings} }}", X.repeat(high, 2).repeat(wide, 3))


def darknets_reorg(x: Any, s: int, reverse: bool) -> np.ndarray[Any, Any]:
    """Its loops, word for word."""
    n, c, h, w = x.shape
    out_c = c // (s * s)
    flat, y = x.ravel(), np.empty(x.size, x.dtype)
    for b, k, j, i in np.ndindex(n, c, h, w):
        at = i + w * (j + h * (k + c * b))
        c2, offset = k % out_c, k // out_c
        w2, h2 = i * s + offset % s, j * s + offset // s
        other = w2 + w * s * (h2 + h * s * (c2 + out_c * b))
        if reverse:
            y[other] = flat[at]
        else:
            y[at] = flat[other]
    shape = (n, out_c, h * s, w * s) if reverse else (n, c * s * s, h // s, w // s)
    return y.reshape(shape)


@pytest.mark.parametrize(("shape", "stride"), [((2, 8, 4, 6), 2), ((1, 9, 3, 6), 3)])
def test_reorg(shape: tuple[int, ...], stride: int) -> None:
    x = normal(*shape)
    check("Reorg", f"reorg_param {{ stride: {stride} }}", darknets_reorg(x, stride, False), x=x)
    settings = f"reorg_param {{ stride: {stride} reverse: true }}"
    check("Reorg", settings, darknets_reorg(x, stride, True), x=x)


def regions(x: Any, anchors: int, coords: int, softmax: bool) -> Any:
    """Of each anchor: sigmoids, and what is not touched, one after the other."""
    n, c, h, w = x.shape
    y = x.reshape(n, anchors, c // anchors, h, w).copy()
    squashed = 1 / (1 + np.exp(-y))
    y[:, :, :2] = squashed[:, :, :2]
    y[:, :, coords:] = squashed[:, :, coords:]
    if softmax:
        e = np.exp(x.reshape(y.shape)[:, :, coords + 1 :])
        y[:, :, coords + 1 :] = e / e.sum(2, keepdims=True)
    return y.reshape((n, -1) if softmax else x.shape)


@pytest.mark.parametrize(
    ("settings", "anchors", "coords", "softmax"),
    [
        ("num: 2 anchors: 1.5 anchors: 2.5", 2, 4, True),
        ("num: 3 coords: 2", 3, 2, True),
        ("num: 9 do_softmax: false mask: [3, 4]", 2, 4, False),
        ("num: 2 do_softmax: false", 2, 4, False),
    ],
)
def test_region_yolo(settings: str, anchors: int, coords: int, softmax: bool) -> None:
    x = normal(2, anchors * (coords + 4), 3, 4)
    settings = f"region_yolo_param {{ classes: 3 {settings} }}"
    expected = regions(x, anchors, coords, softmax)
    check("RegionYolo", settings, expected, x=x)
    check("RegionYolo", f"{settings} flatten_param {{ axis: 1 end_axis: 3 }}", expected, x=x)


def prior_boxes(
    size: tuple[int, int], image: tuple[int, int], boxes: list[tuple[float, float]], **how: Any
) -> np.ndarray[Any, Any]:
    """boxes: width and height of each."""
    step = how.get("step", (image[0] / size[0], image[1] / size[1]))
    rows = []
    for i, j in np.ndindex(*size):
        y, x = (i + how.get("offset", 0.5)) * step[0], (j + how.get("offset", 0.5)) * step[1]
        for w, h in boxes:
            rows += [(x - w / 2) / image[1], (y - h / 2) / image[0]]
            rows += [(x + w / 2) / image[1], (y + h / 2) / image[0]]
    top = np.clip(rows, 0, 1) if how.get("clip") else np.array(rows)
    variance = how.get("variance", [0.1])
    return np.stack([top, np.resize(variance, top.size)])


def priors(settings: str, top: str = "prior") -> str:
    return f'''layer {{ name: "{top}" type: "PriorBox" bottom: "p" bottom: "x" top: "{top}"
        prior_box_param {{ {settings} }} }}'''


POOLED = """layer { name: "p" type: "Pooling" bottom: "x" top: "p"
    pooling_param { kernel_size: 2 stride: 2 } }"""


@pytest.mark.parametrize(
    ("settings", "boxes", "how"),
    [
        ("min_size: 2", [(2, 2)], {}),
        (
            "min_size: 2 max_size: 4.5 aspect_ratio: 2 variance: [0.1, 0.1, 0.2, 0.2]",
            [(2, 2), (3, 3), (2 * 2**0.5, 2**0.5), (2**0.5, 2 * 2**0.5)],
            {"variance": [0.1, 0.1, 0.2, 0.2]},
        ),
        (
            "min_size: [1, 3] aspect_ratio: [1, 4, 4] flip: false clip: true step: 1.5",
            [(1, 1), (2, 0.5), (3, 3), (6, 1.5)],
            {"clip": True, "step": (1.5, 1.5)},
        ),
        (
            "min_size: [1, 3] max_size: [4, 12] step_h: 2 step_w: 3 offset: 0 variance: 0.3",
            [(1, 1), (2, 2), (3, 3), (6, 6)],
            {"step": (2, 3), "offset": 0, "variance": [0.3]},
        ),
    ],
)
def test_prior_boxes(settings: str, boxes: list[tuple[float, float]], how: Any) -> None:
    pooled = X.reshape(2, 6, 5, 2, 2).max(-1)
    pooled = np.stack([pooled[:, :, i : i + 2].max(2) for i in (0, 2, 4)], 2)
    expected = prior_boxes((3, 2), (5, 4), boxes, **how)
    text = of(X) + POOLED + priors(settings)
    same(text, None, X, [np.broadcast_to(expected, (2, *expected.shape))])
    text += 'layer { name: "r" type: "ReLU" bottom: "p" top: "r" }' + priors("min_size: 3", "b")
    text += """layer { name: "y" type: "Concat" bottom: "b" bottom: "prior" top: "y"
        concat_param { axis: 2 } }"""
    both = np.concatenate([prior_boxes((3, 2), (5, 4), [(3, 3)]), expected], 1)
    same(text, None, X, [np.maximum(pooled, 0), np.broadcast_to(both, (2, *both.shape))])


def test_prior_boxes_are_those_of_the_size_asked_for() -> None:
    text = (of(X) + POOLED + priors("min_size: 2")).encode()
    boxes = linnet.load(text, shapes={"x": (1, 6, 7, 4)})(normal(1, 6, 7, 4))
    np.testing.assert_allclose(boxes[0], prior_boxes((4, 2), (7, 4), [(2, 2)]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"\(1, 6, 7\) for 'x', expected 4 sizes"):
        linnet.load(text, shapes={"x": (1, 6, 7)})
    net = linnet.load(text)
    with pytest.raises(ValueError, match="x6x5x4"):
        net(normal(1, 6, 7, 4))


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("Slice", 'top: "z" slice_param { axis: 0 }', "2 tops do not divide axis 0 of 1"),
        ("Slice", 'top: "z" slice_param { axis: 2 }', "2 tops do not divide axis 2 of 5"),
        ("Slice", 'top: "z" slice_param { slice_point: 6 }', "slice_point [6] does not cut axis 1"),
        ("Slice", 'top: "z" slice_param { slice_point: [1, 2] }', "into 2 parts"),
        ("Slice", 'top: "z" slice_param { axis: 1 slice_dim: 1 }', "both axis and slice_dim"),
        ("Slice", 'top: "z" slice_param { axis: 4 }', "axis 4 does not exist in 4 axes"),
        ("Crop", 'bottom: "x" crop_param { offset: 1 }', "offset 1 and 5 are more than axis 2 has"),
        ("Crop", 'bottom: "x" crop_param { offset: [0, 0, 0] }', "3 values of offset do not fit"),
        ("Crop", "", "has 1 bottoms and 1 tops, expected 2 and 1"),
        ("ELU", "elu_param { aplha: 1 }", "not known: elu_param.aplha"),
        ("Exp", "exp_param { base: -2 }", "base -2 is not positive"),
        ("Log", "log_param { base: 1 }", "base 1 has no logarithm"),
        ("Power", "power_param { power: 1e9 }", "to the power 1e+09 is not supported"),
        ("Power", "power_param { power: nan }", "to the power nan is not supported"),
        ("Reduction", "reduction_param { axis: -4 }", "over the batch"),
        ("Reduction", "", "over the batch"),
        ("ArgMax", "argmax_param { top_k: 0 }", "top_k 0 of 120 numbers, expected 1 to 64"),
        ("ArgMax", "argmax_param { top_k: 65 }", "top_k 65 of 120 numbers, expected 1 to 64"),
        ("ArgMax", "argmax_param { axis: 3 top_k: 5 }", "top_k 5 of 4 numbers"),
        ("Embed", "embed_param { num_output: 3 }", "input_dim 0 is not supported"),
        ("Embed", "embed_param { input_dim: 3 }", "num_output 0 or input_dim 3"),
        ("Im2col", "convolution_param { stride: 2 }", "its kernel is [0, 0]"),
        (
            "Im2col",
            "convolution_param { kernel_size: 4000 }",
            "the constants it stands for need too much memory",
        ),
        ("InnerProduct", "inner_product_param { num_output: 3 axis: 0 }", "axis 0 is not"),
        ("InnerProduct", "inner_product_param { num_output: 3 axis: 4 }", "axis 4 does not exist"),
        ("Scale", "scale_param { axis: 0 }", "for every image (axis 0)"),
        ("Scale", "scale_param { axis: 4 }", "axis 4 does not exist"),
        ("Scale", "scale_param { axis: 2 num_axes: 3 }", "3 axes from axis 2 on are not in 4"),
        ("Bias", "bias_param { num_axes: -2 }", "-2 axes from axis 1 on are not in 4"),
        ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 pad: 1 }", "nor is it in"),
        ("Pooling", 'top: "m" pooling_param { pool: STOCHASTIC kernel_size: 3 }', "has 2 tops"),
        ("ROIPooling", 'bottom: "x"', "regions have shape"),
        ("PSROIPooling", 'bottom: "x"', "regions have shape"),
        ("Proposal", 'bottom: "x"', "regions that a network finds"),
        ("Filter", 'bottom: "x"', "which images are left"),
        ("YoloDetectionOutput", "", "leave this layer out"),
        ("CTCGreedyDecoder", 'bottom: "x"', "scores [1, 6, 5, 4] and indicators [1, 6, 5, 4]"),
        ("ArgMax", "argmax_param { axis: 0 }", "over the batch"),
        ("SPP", "spp_param { }", "pyramid_height 0 of 4 axes"),
        ("SPP", "spp_param { pyramid_height: 3 }", "4 windows a side do not fit 5x4"),
        ("SPP", "spp_param { pyramid_height: 4000000000 }", "pyramid_height 4000000000"),
        ("LRN", "lrn_param { local_size: 4 norm_region: WITHIN_CHANNEL }", "no centre"),
        ("Deconvolution", "convolution_param { num_output: 4 kernel_size: 2 group: 3 }", "group 3"),
        (
            "Deconvolution",
            "convolution_param { num_output: 6 kernel_size: 1 pad: 3 }",
            "height and width [-1, -2]",
        ),
        (
            "Deconvolution",
            "convolution_param { num_output: 4000000000 kernel_size: 4 "
            'weight_filler { type: "bilinear" } }',
            "the constants it stands for need too much memory",
        ),
        (
            "Deconvolution",
            "convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 "
            'weight_filler { type: "bilinear" } }',
            "kernel of 2x3, expected a square",
        ),
        ("LSTM", "recurrent_param { num_output: 3 }", "keep a state"),
        ("DetectionOutput", "detection_output_param { num_classes: 3 }", "expected 3 to 4 and 1"),
        ("Yolov3DetectionOutput", "", "1 bottoms, 2 groups of 0 masks"),
        ("AnnotatedData", "", 'layer { name: "y" type: "Input" top: "y" input_param'),
        ("HDF5Data", "hdf5_data_param { source: 'a' }", "write an Input layer"),
        ("Upsample", 'bottom: "x"', "has to be that of a MAX pool of 10x8"),
        ("Upsample", "upsample_param { upsample_h: 3 }", "are for a second bottom"),
        ("Pooling", 'top: "m" pooling_param { kernel_size: 2 pad: 1 }', "places of a pool"),
        ("Pooling", 'top: "m" pooling_param { global_pooling: true }', "has 2 tops"),
        ("Pooling", 'top: "m" pooling_param { kernel_size: 9 }', "window [9, 9] does not fit"),
        ("Upsample", "upsample_param { scale: 4000000000 }", "scale [4000000000, 4000000000]"),
        ("Interp", "", "height and width [0, 0] have to be positive"),
        ("Interp", "interp_param { pad_beg: 1 height: 2 width: 2 }", "not 0 or negative"),
        ("Interp", "interp_param { pad_beg: -4 height: 2 width: 2 }", "leave nothing"),
        ("Interp", "interp_param { zoom_factor: 0 }", "have to be positive"),
        ("Reorg", "reorg_param { stride: 2 }", "stride 2 does not divide"),
        ("Reorg", "", "stride 0 does not divide"),
        ("RegionYolo", "region_yolo_param { num: 1 classes: 2 }", "do not fit 6 channels"),
        ("RegionYolo", "region_yolo_param { num: 1 classes: 5 coords: 0 }", "of 0 places"),
        (
            "RegionYolo",
            "region_yolo_param { num: 1 classes: 1 } flatten_param { axis: 2 }",
            "only 1 to 3",
        ),
        ("PriorBox", 'bottom: "x" prior_box_param { }', "has 0 values of min_size"),
        ("PriorBox", 'bottom: "x" prior_box_param { min_size: 0 }', "min_size has to be positive"),
        (
            "PriorBox",
            'bottom: "x" prior_box_param { min_size: 2 variance: [1, 2] }',
            "has 2 values of variance",
        ),
        (
            "PriorBox",
            'bottom: "x" prior_box_param { min_size: 2 step: 1 step_h: 1 }',
            "has both step and step_h or step_w",
        ),
        ("PriorBox", 'bottom: "x" prior_box_param { min_size: 2 aspect_ratio: 0 }', "aspect_ratio"),
        ("PriorBox", 'bottom: "x" prior_box_param { min_size: 2 aspect_ratio: inf }', "and finite"),
    ],
)
def test_settings_that_cannot_be(kind: str, settings: str, said: str) -> None:
    text = f'{INPUT} layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {settings} }}'
    with pytest.raises(ValueError) as error:
        passes.canonicalize(formats.read(text.encode()))
    assert f"'y' ({kind}): " in str(error.value) and said in str(error.value)


def test_boxes_for_images_of_absurd_sizes() -> None:
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 9999 dim: 9999 }'
    text += 'layer { name: "p" type: "ReLU" bottom: "x" top: "p" }' + priors("min_size: 2")
    with pytest.raises(ValueError, match="need too much memory"):
        passes.canonicalize(formats.read(text.encode()))


def test_a_detector_up_to_its_boxes() -> None:
    """Scores and places of two maps side by side, with the boxes they are of."""
    text = of(X) + POOLED
    for blob in "xp":
        text += f'''layer {{ name: "t{blob}" type: "Permute" bottom: "{blob}" top: "t{blob}"
                permute_param {{ order: [0, 2, 3, 1] }} }}
            layer {{ name: "f{blob}" type: "Flatten" bottom: "t{blob}" top: "f{blob}"
                flatten_param {{ axis: 1 }} }}'''
    text += """layer { name: "c" type: "Concat" bottom: "fx" bottom: "fp" top: "c"
            concat_param { axis: 1 } }
        layer { name: "r" type: "Reshape" bottom: "c" top: "r"
            reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
        layer { name: "s" type: "Softmax" bottom: "r" top: "s" softmax_param { axis: 2 } }
        layer { name: "y" type: "Flatten" bottom: "s" top: "y" flatten_param { axis: 1 } }"""
    text += priors("min_size: 2")
    pooled = np.stack([X[:, :, i : i + 2].max(2) for i in (0, 2, 4)], 2)
    pooled = np.maximum(pooled[..., ::2], pooled[..., 1::2])
    rows = [a.transpose(0, 2, 3, 1).reshape(2, -1) for a in (X, pooled)]
    e = np.exp(np.concatenate(rows, 1).reshape(2, -1, 3))
    boxes = prior_boxes((3, 2), (5, 4), [(2, 2)])
    scores = (e / e.sum(2, keepdims=True)).reshape(2, -1)
    same(text, None, X, [scores, np.broadcast_to(boxes, (2, *boxes.shape))])


@pytest.mark.parametrize(
    "dims", ["dim: 1 dim: -1 dim: 3", "dim: 1 dim: 40 dim: 3", "dim: 0 dim: 40 dim: 3"]
)
def test_a_batch_written_as_a_number_is_of_any_size(dims: str) -> None:
    text = f"""{of(X)} layer {{ name: "r" type: "Reshape" bottom: "x" top: "r"
            reshape_param {{ shape {{ {dims} }} }} }}
        layer {{ name: "y" type: "Concat" bottom: "r" bottom: "r" top: "y"
            concat_param {{ axis: 2 }} }}"""
    flat = X.reshape(2, 40, 3)
    same(text, None, X, [np.concatenate([flat, flat], 2)])
    y = linnet.load(text.encode(), shapes={"x": X.shape})(X)
    np.testing.assert_array_equal(y, np.concatenate([flat, flat], 2))


def test_a_sequence_whose_batch_moves() -> None:
    text = f"""{of(X)} layer {{ name: "p" type: "Permute" bottom: "x" top: "p"
            permute_param {{ order: [3, 0, 1, 2] }} }}
        layer {{ name: "r" type: "Reshape" bottom: "p" top: "y"
            reshape_param {{ shape {{ dim: 4 dim: -1 dim: 30 }} }} }}"""
    x = X[:1]
    same(text, None, x, [x.transpose(3, 0, 1, 2).reshape(4, 1, 30)])
    with pytest.raises(ValueError, match="cannot become"):
        wrong = text.replace("dim: 4 dim: -1", "dim: 7 dim: -1")
        passes.canonicalize(formats.read(wrong.encode()))


def decoded(scores: Any, indicators: Any, blank: int, merge: bool) -> Any:
    """As OpenVINO's layer decodes, step by step."""
    steps, n, _ = scores.shape
    y = np.full((n, steps, 1, 1), -1, np.float32)
    for i in range(n):
        kept, before = [], -1
        for t in range(steps):
            if t and not indicators[t, i]:
                break
            best = int(scores[t, i].argmax())
            if best != blank and not (merge and best == before):
                kept.append(best)
            before = best
        y[i, : len(kept), 0, 0] = kept
    return y


@pytest.mark.parametrize(
    ("settings", "blank", "merge"),
    [
        ("", 2, True),
        ("ctc_merge_repeated: true blank_index: 0", 0, True),
        ("ctc_merge_repeated: false", 2, False),
        ("blank_index: 7", 7, True),
    ],
)
@pytest.mark.parametrize(("steps", "n"), [(40, 3), (1, 1), (2, 2)])
def test_sequences_are_decoded(settings: str, blank: int, merge: bool, steps: int, n: int) -> None:
    x, s = normal(steps, n, 3), (RANDOM.random((steps, n)) < 0.9).astype(np.float32)
    s[:, :1] = np.arange(steps)[:, None]  # whatever is not 0
    text = f"""input: "x" input_shape {{ dim: {steps} dim: {n} dim: 3 }}
        input: "s" input_shape {{ dim: {steps} dim: {n} }}
        layer {{ name: "y" type: "CTCGreedyDecoder" bottom: "x" bottom: "s" top: "y"
            ctc_decoder_param {{ {settings} }} }}"""
    (y,) = linnet.load(text.encode()).run(None, {"x": x, "s": s})
    np.testing.assert_array_equal(y, decoded(x, s, blank, merge))


def test_an_input_whose_first_axis_is_not_the_batch() -> None:
    """As those of licence plates' readers: indicators for each step, of an image whose columns are
    the steps.
    """
    text = """input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 7 }
        input: "s" input_shape { dim: 7 dim: 1 }
        layer { name: "p" type: "Permute" bottom: "x" top: "p"
            permute_param { order: [3, 0, 1, 2] } }
        layer { name: "r" type: "Reshape" bottom: "p" top: "r"
            reshape_param { shape { dim: 7 dim: -1 dim: 3 } } }
        layer { name: "y" type: "CTCGreedyDecoder" bottom: "r" bottom: "s" top: "y" }"""
    x, s = normal(1, 3, 1, 7), np.float32([[0], [1], [1], [1], [1], [0], [1]])
    net = linnet.load(text.encode())
    assert [value.shape for value in net.inputs] == [(1, 3, 1, 7), (7, 1)]
    (y,) = net.run(None, {"x": x, "s": s})
    np.testing.assert_array_equal(y, decoded(x.transpose(3, 0, 1, 2)[..., 0], s, 2, True))


def caffes_places(x: Any, kernel: int, stride: int) -> tuple[Any, Any]:
    """Its loops: the largest number of each window and where it is, the first of several."""
    n, c, h, w = x.shape
    count = [-(-(size - kernel) // stride) + 1 for size in (h, w)]
    y, place = (np.empty((n, c, *count), np.float32) for _ in "ab")
    for b, k, i, j in np.ndindex(*y.shape):
        y[b, k, i, j] = -np.inf
        for r in range(i * stride, min(i * stride + kernel, h)):
            for s in range(j * stride, min(j * stride + kernel, w)):
                if x[b, k, r, s] > y[b, k, i, j]:
                    y[b, k, i, j], place[b, k, i, j] = x[b, k, r, s], r * w + s
    return y, place


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 3), (2, 1), (4, 4)])
def test_places_of_a_pool(kernel: int, stride: int) -> None:
    for x in (X, np.round(X), normal(1, 2, 7, 9)):  # also with equal numbers
        y, place = caffes_places(x, kernel, stride)
        text = of(x) + 'layer { name: "y" type: "Pooling" bottom: "x" top: "y" top: "m" '
        text += f"pooling_param {{ kernel_size: {kernel} stride: {stride} }} }}"
        same(text, None, x, [y, place])


@pytest.mark.parametrize(
    ("settings", "scale", "size"),
    [
        ("", 2, (6, 4)),
        ("scale: 2", 2, (4, 8)),
        ("scale: 2 pad_out_h: true", 2, (5, 4)),
        ("scale: 2 upsample_h: 7 upsample_w: 5", 2, (7, 5)),
        ("scale: 3", 3, (6, 3)),
    ],
)
def test_numbers_go_back_to_their_places(settings: str, scale: int, size: tuple[int, int]) -> None:
    x = np.round(normal(2, 3, *size) * 2)
    y, place = caffes_places(x, scale, scale)
    y = np.maximum(y, 0)
    expected = np.zeros(x.shape, np.float32)
    np.put_along_axis(
        expected.reshape(2, 3, -1), place.reshape(2, 3, -1).astype(int), y.reshape(2, 3, -1), 2
    )
    text = f"""{of(x)} layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" top: "m"
            pooling_param {{ kernel_size: {scale} stride: {scale} }} }}
        layer {{ name: "r" type: "ReLU" bottom: "p" top: "p" }}
        layer {{ name: "y" type: "Upsample" bottom: "p" bottom: "m" top: "y"
            upsample_param {{ {settings} }} }}"""
    same(text, None, x, [expected])
