"""The reference against the definitions, written out as loops, and against properties of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from linnet import reference
from linnet.graph import Graph, Node, Value

RANDOM = np.random.default_rng(0)


def looped_conv(x, w, b, *, strides, pads, dilations, group):
    n, _, height, width = x.shape
    k, c, r, s = w.shape
    oh = (height + pads[0] + pads[2] - dilations[0] * (r - 1) - 1) // strides[0] + 1
    ow = (width + pads[1] + pads[3] - dilations[1] * (s - 1) - 1) // strides[1] + 1
    y = np.zeros((n, k, oh, ow))
    for image, f, i, j in np.ndindex(n, k, oh, ow):
        y[image, f, i, j] = b[f]
        for channel, u, v in np.ndindex(c, r, s):
            row = i * strides[0] - pads[0] + u * dilations[0]
            column = j * strides[1] - pads[1] + v * dilations[1]
            if 0 <= row < height and 0 <= column < width:
                source = f // (k // group) * c + channel
                y[image, f, i, j] += x[image, source, row, column] * w[f, channel, u, v]
    return y


@pytest.mark.parametrize(
    ("group", "kernel", "strides", "pads", "dilations"),
    [
        (1, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
        (1, (1, 1), (2, 3), (0, 0, 0, 0), (1, 1)),
        (2, (2, 4), (2, 1), (1, 0, 2, 3), (1, 1)),
        (4, (3, 2), (1, 2), (0, 2, 1, 0), (2, 3)),
    ],
)
def test_conv_is_its_definition(group, kernel, strides, pads, dilations):
    x = RANDOM.standard_normal((2, 4, 7, 9))
    w = RANDOM.standard_normal((8, 4 // group, *kernel))
    b = RANDOM.standard_normal(8)
    how = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    y = reference.conv(x, w, b, **how)
    np.testing.assert_allclose(y, looped_conv(x, w, b, **how), atol=1e-12)


def test_conv_refuses_weights_of_other_channels():
    with pytest.raises(ValueError, match="group 2"):
        reference.conv(np.zeros((1, 3, 4, 4)), np.zeros((2, 3, 1, 1)), group=2)


def pools(x, kernel, strides, pads, ceil_mode):
    """Of every output pixel: row, column, the values in its window, how many of it are padding."""
    height, width = x.shape
    rows = reference.output_size(height, kernel[0], strides[0], pads[0::2], ceil_mode=ceil_mode)
    columns = reference.output_size(width, kernel[1], strides[1], pads[1::2], ceil_mode=ceil_mode)
    for i, j in np.ndindex(rows, columns):
        top, left = i * strides[0] - pads[0], j * strides[1] - pads[1]
        values, padding = [], 0
        for row, column in itertools.product(
            range(top, top + kernel[0]), range(left, left + kernel[1])
        ):
            if 0 <= row < height and 0 <= column < width:
                values.append(x[row, column])
            elif row < height + pads[2] and column < width + pads[3]:
                padding += 1
        yield i, j, values, padding


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "strides", "pads"),
    [
        ((6, 7), (2, 2), (2, 2), (0, 0, 0, 0)),
        ((7, 8), (3, 3), (2, 2), (1, 1, 1, 1)),
        ((9, 6), (3, 2), (3, 1), (0, 1, 2, 0)),
        ((5, 5), (2, 2), (2, 2), (1, 1, 1, 1)),
        ((1, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
    ],
)
def test_pools_are_their_definitions(size, kernel, strides, pads, ceil_mode):
    x = RANDOM.standard_normal((2, 3, *size))
    how = {"strides": strides, "pads": pads, "ceil_mode": ceil_mode}
    largest = reference.max_pool(x, kernel, **how)
    mean = reference.average_pool(x, kernel, **how)
    padded = reference.average_pool(x, kernel, **how, count_include_pad=True)
    assert largest.shape == mean.shape == padded.shape
    for i, j, values, padding in pools(x[1, 2], kernel, strides, pads, ceil_mode):
        assert largest[1, 2, i, j] == max(values)
        np.testing.assert_allclose(mean[1, 2, i, j], sum(values) / len(values))
        np.testing.assert_allclose(padded[1, 2, i, j], sum(values) / (len(values) + padding))
    assert (i + 1, j + 1) == largest.shape[2:]


def test_ceil_mode_adds_a_window_but_none_that_starts_in_the_padding():
    assert reference.output_size(5, 2, 2, (0, 0)) == 2
    assert reference.output_size(5, 2, 2, (0, 0), ceil_mode=True) == 3
    assert reference.output_size(11, 2, 2, (1, 1)) == 6
    assert reference.output_size(11, 2, 2, (1, 1), ceil_mode=True) == 6


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match="kernel 4"):
        reference.max_pool(np.zeros((1, 1, 3, 9)), (4, 4))


def test_dilated_max_pool_skips_pixels():
    x = np.arange(25.0).reshape(1, 1, 5, 5)[:, :, ::-1, ::-1]
    y = reference.max_pool(x, (2, 2), dilations=(2, 2))
    np.testing.assert_array_equal(y, x[:, :, :3, :3])  # the largest is at the window's corner


def test_softmax_sums_to_one_and_does_not_overflow():
    x = RANDOM.standard_normal((3, 4, 5)) * 1000
    for axis in (1, 2):
        np.testing.assert_allclose(reference.softmax(x, axis).sum(axis), 1)
    np.testing.assert_allclose(
        reference.softmax(np.log([[1.0, 2.0, 5.0]])), [[0.125, 0.25, 0.625]], rtol=1e-12
    )


def test_concat_puts_channels_one_after_the_other():
    x, y = RANDOM.standard_normal((2, 3, 4, 5)), RANDOM.standard_normal((2, 1, 4, 5))
    node = Node("Concat", "z", ["x", "y", "x"], ["z"], {"axis": 1})
    inputs = [Value("x", (0, 3, 4, 5)), Value("y", (0, 1, 4, 5))]
    z = reference.run(Graph("test", [node], {}, inputs, ["z"]), {"x": x, "y": y})["z"]
    assert z.shape == (2, 7, 4, 5)
    np.testing.assert_array_equal(z[:, :3], x)
    np.testing.assert_array_equal(z[:, 3:4], y)
    np.testing.assert_array_equal(z[:, 4:], x)


def test_conv_fused_adds_rectifies_and_pools_in_this_order():
    x, w = RANDOM.standard_normal((2, 3, 8, 8)), RANDOM.standard_normal((4, 3, 3, 3))
    b, residual = RANDOM.standard_normal(4), RANDOM.standard_normal((2, 4, 6, 6))
    pool = {"kernel": (2, 2), "strides": (2, 2)}
    y = reference.conv_fused(x, w, b, residual=residual, relu=True, pool=pool)
    steps = np.maximum(reference.conv(x, w, b) + residual, 0)
    np.testing.assert_array_equal(y, steps.reshape(2, 4, 3, 2, 3, 2).max((3, 5)))


def test_precision_is_that_of_the_arguments():
    x = np.ones((1, 2, 4, 4), np.float32)
    w = np.ones((3, 2, 2, 2), np.float32)
    assert reference.conv(x, w).dtype == np.float32
    assert reference.conv(x.astype(np.float64), w).dtype == np.float64
    assert reference.average_pool(x, (2, 2)).dtype == np.float32
    assert reference.gemm(x.reshape(1, -1), np.ones((5, 32), np.float32)).dtype == np.float32
