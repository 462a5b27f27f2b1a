"""What operators mean against definitions written out as loops and against properties of them; the
table of operators against what it has to agree with.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from linnet import _core, interpret, ops
from linnet.core import build
from linnet.graph import Graph, Node, Value
from linnet.ops import FAMILIES, OPERATORS
from linnet.ops._window import output_size

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
    y = ops.conv.conv(x, w, b, **how)
    np.testing.assert_allclose(y, looped_conv(x, w, b, **how), atol=1e-12)


def test_conv_refuses_weights_of_other_channels():
    with pytest.raises(ValueError, match="group 2"):
        ops.conv.conv(np.zeros((1, 3, 4, 4)), np.zeros((2, 3, 1, 1)), group=2)


def pools(x, kernel, strides, pads, ceil_mode):
    """Of every output pixel: row, column, the values in its window, how many of it are padding."""
    height, width = x.shape
    rows = output_size(height, kernel[0], strides[0], pads[0::2], ceil_mode=ceil_mode)
    columns = output_size(width, kernel[1], strides[1], pads[1::2], ceil_mode=ceil_mode)
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
    largest = ops.pool.max_pool(x, kernel_shape=kernel, **how)
    mean = ops.pool.average_pool(x, kernel_shape=kernel, **how)
    padded = ops.pool.average_pool(x, kernel_shape=kernel, **how, count_include_pad=True)
    assert largest.shape == mean.shape == padded.shape
    for i, j, values, padding in pools(x[1, 2], kernel, strides, pads, ceil_mode):
        assert largest[1, 2, i, j] == max(values)
        np.testing.assert_allclose(mean[1, 2, i, j], sum(values) / len(values))
        np.testing.assert_allclose(padded[1, 2, i, j], sum(values) / (len(values) + padding))
    assert (i + 1, j + 1) == largest.shape[2:]


def test_ceil_mode_adds_a_window_but_none_that_starts_in_the_padding():
    assert output_size(5, 2, 2, (0, 0)) == 2
    assert output_size(5, 2, 2, (0, 0), ceil_mode=True) == 3
    assert output_size(11, 2, 2, (1, 1)) == 6
    assert output_size(11, 2, 2, (1, 1), ceil_mode=True) == 6


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match="kernel 4"):
        ops.pool.max_pool(np.zeros((1, 1, 3, 9)), kernel_shape=(4, 4))


def test_dilated_max_pool_skips_pixels():
    x = np.arange(25.0).reshape(1, 1, 5, 5)[:, :, ::-1, ::-1]
    y = ops.pool.max_pool(x, kernel_shape=(2, 2), dilations=(2, 2))
    np.testing.assert_array_equal(y, x[:, :, :3, :3])  # the largest is at the window's corner


def test_softmax_sums_to_one_and_does_not_overflow():
    x = RANDOM.standard_normal((3, 4, 5)) * 1000
    for axis in (1, 2):
        np.testing.assert_allclose(ops.normalize.softmax(x, axis=axis).sum(axis), 1)
    np.testing.assert_allclose(
        ops.normalize.softmax(np.log([[1.0, 2.0, 5.0]])), [[0.125, 0.25, 0.625]], rtol=1e-12
    )


def test_concat_puts_channels_one_after_the_other():
    x, y = RANDOM.standard_normal((2, 3, 4, 5)), RANDOM.standard_normal((2, 1, 4, 5))
    node = Node("Concat", "z", ["x", "y", "x"], ["z"], {"axis": 1})
    inputs = [Value("x", (0, 3, 4, 5)), Value("y", (0, 1, 4, 5))]
    z = interpret.run(Graph("test", [node], {}, inputs, ["z"]), {"x": x, "y": y})["z"]
    assert z.shape == (2, 7, 4, 5)
    np.testing.assert_array_equal(z[:, :3], x)
    np.testing.assert_array_equal(z[:, 3:4], y)
    np.testing.assert_array_equal(z[:, 4:], x)


def test_conv_fused_adds_rectifies_and_pools_in_this_order():
    x, w = RANDOM.standard_normal((2, 3, 8, 8)), RANDOM.standard_normal((4, 3, 3, 3))
    b, residual = RANDOM.standard_normal(4), RANDOM.standard_normal((2, 4, 6, 6))
    pool = {"kernel_shape": (2, 2), "strides": (2, 2)}
    y = ops.conv.conv_fused(x, w, b, residual=residual, relu=True, pool=pool)
    steps = np.maximum(ops.conv.conv(x, w, b) + residual, 0)
    np.testing.assert_array_equal(y, steps.reshape(2, 4, 3, 2, 3, 2).max((3, 5)))


def test_precision_is_that_of_the_arguments():
    x = np.ones((1, 2, 4, 4), np.float32)
    w = np.ones((3, 2, 2, 2), np.float32)
    assert ops.conv.conv(x, w).dtype == np.float32
    assert ops.conv.conv(x.astype(np.float64), w).dtype == np.float64
    assert ops.pool.average_pool(x, kernel_shape=(2, 2)).dtype == np.float32
    assert ops.matmul.gemm(x.reshape(1, -1), np.ones((32, 5), np.float32)).dtype == np.float32


# The table


def takes(op):
    """Whether the core takes an operator, with whatever attributes and inputs."""
    try:
        _core.infer_type(op, {}, [])
    except ValueError as error:
        return "not part of the canonical form" not in str(error)
    return True


CANONICAL = [name for name in OPERATORS if takes(name)]


def test_every_operator_is_said_what_it_means_and_what_is_supported():
    for operator in OPERATORS.values():
        least, most = operator.inputs
        assert 0 <= least <= most
        rule = operator.lower
        if rule is None:
            assert takes(operator.name), f"{operator.name} needs a rule"
        else:
            assert rule.__doc__, f"{operator.name}: its rule does not say what is supported"


def test_every_canonical_operator_has_a_problem_that_is_tested():
    """Of its family; but for views, the same memory under another shape."""
    families = {
        op.name: family.__name__.split(".")[-1] for family in FAMILIES for op in family.OPERATORS
    }
    lines = (Path(__file__).parent / "problems.txt").read_text().splitlines()
    tested = {line.split()[0] for line in lines if line and line[0] != "#"}
    kinds = {"MatMul": "product", "GridSample": "sample"}
    kinds.update(QuantizeLinear="map", DequantizeLinear="map")
    assert {kinds.get(name, families[name]) for name in CANONICAL} - {"shape"} == tested


def test_attributes_are_bound_by_their_meaning():
    bind = OPERATORS["MaxPool"].bind
    bound = bind({"kernel_shape": [2, 2], "ceil_mode": 1})
    assert bound["strides"] == (1, 1) and bound["auto_pad"] == "NOTSET"
    assert (bound["kernel_shape"], bound["ceil_mode"]) == ([2, 2], 1)
    assert OPERATORS["Gemm"].bind({"alpha": 2})["alpha"] == 2.0
    for op, attrs, reason in (
        ("MaxPool", {}, "'kernel_shape' is missing"),
        ("Relu", {"slope": 1}, "'slope' is not supported"),
        ("Gemm", {"transB": 1.0}, "'transB' is not of type int"),
        ("Conv", {"strides": 2}, "'strides' is not of type list"),
        ("ConstantOfShape", {"value": 2}, "'value' is not of type ndarray"),
    ):
        with pytest.raises(ValueError, match=reason):
            OPERATORS[op].bind(attrs)


def test_integers_keep_their_types():
    nodes = [
        Node("Cast", "small", ["x"], ["small"], {"to": 3}),
        Node("Cast", "truth", ["small"], ["truth"], {"to": 9}),
        Node("Add", "sum", ["small", "one"], ["sum"]),
    ]
    inputs = [Value("x", (0, 3), np.dtype(np.int64))]
    graph = Graph("test", nodes, {"one": np.ones(1, np.int8)}, inputs, ["truth", "sum"])
    found = interpret.run(graph, {"x": [[-2, 0, 3]]})
    assert (found["truth"].dtype, found["sum"].dtype) == (bool, np.int8)
    np.testing.assert_array_equal(found["truth"], [[True, False, True]])
    np.testing.assert_array_equal(found["sum"], [[-1, 1, 4]])
    with pytest.raises(ValueError, match="is int8 without a DequantizeLinear"):
        build(graph)
