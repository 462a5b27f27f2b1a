"""Layers of Caffe's forks, and Caffe's rarer ones, against their published definitions in NumPy."""

from __future__ import annotations

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


def check(kind: str, settings: str, expected: Any, *blobs: Any, bottoms: str = "x") -> None:
    """The layer computes `expected` of X: as a graph, and in the core."""
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    text = f'{INPUT} layer {{ name: "y" type: "{kind}" {names} top: "y" {settings} }}'
    weights = None
    if blobs:
        trained = _schema.caffe("TrainedParameter")()
        entry = trained.layer.add(name="y")
        for array in blobs:
            entry.blobs.add(data=[array.tobytes()]).shape.dim.extend(array.shape)
        weights = trained.SerializeToString()
    graph = passes.canonicalize(formats.read(text.encode(), weights))
    (y,) = interpret.run(graph, {"x": X}).values()
    for found in (y, linnet.load(text.encode(), weights)(X)):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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


def test_stochastic_pooling_is_the_average() -> None:
    expected = ops.pool.average_pool(X, kernel_shape=(2, 2))
    check("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", expected)


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
