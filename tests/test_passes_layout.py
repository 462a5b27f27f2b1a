"""Transposes sink behind other operators: the numbers stay, and how many move is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret, passes
from linnet.graph import Graph, Node, Value

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
RANDOM = np.random.default_rng(11)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


class Net:
    """A network of images [N, 6, 5, 4], of which `t` is x with channels last."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {}
        self.add("Transpose", "x", y="t", perm=LAST)

    def add(self, op: str, *inputs: Any, y: str = "y", **attrs: Any) -> str:
        names = []
        for given in inputs:
            name = given
            if not isinstance(given, str):
                name = f"k{len(self.constants)}"
                self.constants[name] = given
            names.append(name)
        outputs = y.split(",")
        self.nodes.append(Node(op, outputs[0], names, outputs, attrs))
        return outputs[0]

    def check(self, operators: str, outputs: Sequence[str] = ("y",)) -> Graph:
        """It computes what it means, by these canonical operators, for any batch."""
        inputs = [Value("x", (1, 6, 5, 4))]
        graph = Graph("net", self.nodes, self.constants, inputs, list(outputs))
        canonical = passes.canonicalize(graph)
        assert [node.op for node in canonical.nodes] == operators.split()
        x = normal(2, 6, 5, 4)
        net = linnet.load(graph, threads=1)
        wanted = interpret.run(graph, {"x": x}).values()
        for results in (interpret.run(canonical, {"x": x}).values(), net.run(x)):
            for result, expected in zip(results, wanted):
                np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
        return canonical


# What is done to `t` of 5x4 pixels and 6 channels, and what comes of it if the result is given its
# channels first again.
SUNK: dict[str, tuple[tuple[Any, ...], str]] = {
    "function": (("Tanh", "t"), "Tanh"),
    "limits": (("Clip", "t", np.array(0, "f4"), np.array(1, "f4")), "Clip"),
    "number": (("Add", "t", np.float32(2)), "Add"),
    "channels": (("Mul", "t", normal(6)), "Mul"),
    "constant first": (("Sub", normal(6), "t"), "Neg Add"),
    "pixels": (("Mul", "t", normal(1, 5, 4, 1)), "Mul"),
    "each": (("Max", "t", normal(5, 4, 6)), "Max"),
    "slope": (("PRelu", "t", normal(1, 1, 6)), "PRelu"),
    "itself": (("Mul", "t", "t"), "Mul"),
    "softmax": (("Softmax", "t", {"axis": -1}), "Softmax"),
    "softmax of rows": (("Softmax", "t", {"axis": 1}), "Softmax"),
    "norm": (
        ("LpNormalization", "t", {"axis": 3}),
        "ReduceSumSquare Sqrt Sign Mul Add Add Div",
    ),
    "sum": (("ReduceSum", "t", ints(-1)), "ReduceSum"),
    "mean": (("ReduceMean", "t", ints(1, 2)), "GlobalAveragePool"),
    "pad": (("Pad", "t", ints(0, 1, 0, 0, 0, 0, 2, 0)), "Conv"),
    "pad by axes": (("Pad", "t", ints(1, 2), np.float32(0), ints(2)), "Conv"),
    "slice": (("Slice", "t", ints(1, 0), ints(4, 5), ints(1, 3)), "Slice"),
    "slice of first axes": (("Slice", "t", ints(0, 1), ints(9, 4)), "Slice"),
    "gather": (("Gather", "t", ints(1, 3, 5), {"axis": 3}), "Slice"),
    "tile": (("Tile", "t", ints(1, 1, 1, 2)), "Concat"),
    "concat": (("Concat", "t", "t", {"axis": 3}), "Concat"),
    "cast": (("Cast", "t", {"to": 6}), "Cast"),
    "largest": (("ArgMax", "t", {"axis": 3}), "ArgMax"),
}


@pytest.mark.parametrize("what", SUNK)
def test_what_follows_is_computed_of_the_base(what: str):
    (op, *inputs), operators = SUNK[what]
    attrs = inputs.pop() if isinstance(inputs[-1], dict) else {}
    net = Net()
    net.add(op, *inputs, y="z", **attrs)
    net.add("Transpose", "z", perm=FIRST)
    net.check(operators)


def test_axes_that_go_are_left_out_of_the_order():
    net = Net()
    net.add("ReduceMean", "t", ints(1, 2), keepdims=0)
    net.check("GlobalAveragePool Flatten")
    net = Net()
    net.add("Gather", "t", np.array(2), y="z", axis=1)
    net.add("Transpose", "z", perm=[0, 2, 1])
    net.check("Slice Reshape")
    net = Net()
    net.add("ReduceMax", "t", ints(3), keepdims=0)
    net.check("ReduceMax Reshape")


def test_parts_are_taken_of_the_base():
    net = Net()
    net.add("Split", "t", ints(2, 4), y="a,b", axis=3)
    net.add("Concat", "b", "a", y="z", axis=-1)
    net.add("Transpose", "z", perm=FIRST)
    net.check("Slice Slice Concat")


def test_orders_of_axes_are_put_together():
    net = Net()
    net.add("Transpose", "t", y="z", perm=[0, 2, 1, 3])
    net.add("Transpose", "z", perm=[0, 3, 2, 1])
    net.check("Reshape")  # x under the name of the output
    net = Net()
    net.add("Transpose", "t", y="z", perm=[0, 2, 1, 3])
    net.add("Relu", "z")
    canonical = net.check("Relu Transpose")
    assert canonical.nodes[1].attrs["perm"] == [0, 3, 2, 1]


def test_rows_of_a_matrix_change_places():
    for matrix, turned in ((normal(120, 7), 0), (normal(7, 120), 1)):
        net = Net()
        net.add("Reshape", "t", ints(-1, 120), y="row")
        net.add("Relu", "row", y="z")
        net.add("Gemm", "z", matrix, normal(7), transB=turned)
        net.check("Relu Flatten Gemm")
    net = Net()
    net.add("Flatten", "t", y="row")
    net.add("MatMul", "row", normal(120, 7))
    net.check("Flatten Gemm")


def test_channels_of_every_pixel_are_a_convolution():
    net = Net()
    net.add("MatMul", "t", normal(6, 7), y="a")
    net.add("Add", "a", normal(7), y="b")
    net.add("Relu", "b", y="c")
    net.add("Transpose", "c", perm=FIRST)
    net.check("Conv Relu")
    net = Net()
    net.add("MatMul", "t", normal(5, 6, 3))
    net.check("Transpose Reshape Conv Reshape Transpose")


def test_zeros_before_a_product_are_padding():
    net = Net()
    net.add("Pad", "t", ints(0, 1, 0, 0, 0, 0, 2, 0), y="a")
    net.add("MatMul", "a", normal(6, 7), y="b")
    net.add("Transpose", "b", perm=FIRST)
    net.check("Conv")


def test_single_pixels_and_channels_do_not_move():
    net = Net()
    net.add("ReduceMean", "t", ints(1, 2), y="pixel")
    net.add("Reshape", "pixel", ints(-1, 6), y="row")
    net.add("Gemm", "row", normal(6, 3))
    net.check("GlobalAveragePool Flatten Gemm")
    net = Net()
    net.add("ReduceMax", "t", ints(3), y="picture")
    net.add("Softmax", "picture", axis=1)
    net.check("ReduceMax Softmax Reshape")


def test_what_most_numbers_wait_for_wins():
    net = Net()
    net.add("ReduceMean", "t", ints(1, 2), y="gate")
    net.add("Mul", "t", "gate", y="z")
    net.add("Transpose", "z", perm=FIRST)
    net.check("GlobalAveragePool Mul")
    # Of two values of one size, that which does not wait is turned.
    net = Net()
    net.add("Reshape", "x", ints(-1, 5, 4, 6), y="other")
    net.add("Add", "t", "other", y="z")
    net.add("Transpose", "z", perm=FIRST)
    net.check("Reshape Transpose Add")
    # One with few channels more does not turn all of the others.
    net = Net()
    net.add("Reshape", "x", ints(-1, 5, 4, 6), y="other")
    net.add("Slice", "t", ints(0), ints(1), ints(3), y="few")
    net.add("Concat", "other", "few", axis=3)
    net.check("Reshape Slice Transpose Concat Transpose")


def test_one_is_computed_once_whoever_reads_it():
    net = Net()
    net.add("Reshape", "t", ints(-1, 20, 6), y="a")
    net.add("Softmax", "a", y="b", axis=1)
    net.add("Reshape", "t", ints(-1, 10, 12), y="c")
    net.add("Softmax", "c", y="d", axis=1)
    net.add("Relu", "t", y="e")
    net.add("Transpose", "e", y="f", perm=FIRST)
    canonical = net.check(
        "Transpose Reshape Softmax Transpose Reshape Softmax Relu", ["b", "d", "f"]
    )
    assert len(canonical.nodes) == 7


def test_outputs_have_the_axes_that_were_asked_for():
    net = Net()
    net.add("Relu", "t", y="a")
    net.add("Tanh", "a", y="b")
    canonical = net.check("Relu Tanh Transpose Transpose", ["a", "b"])
    assert [node.outputs for node in canonical.nodes[2:]] == [["a"], ["b"]]
    net = Net()
    net.check("Transpose", ["t"])


def test_open_sizes_sink_as_well():
    nodes = [
        Node("Transpose", "t", ["x"], ["t"], {"perm": FIRST}),
        Node("Conv", "c", ["t", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
        Node("Transpose", "l", ["c"], ["l"], {"perm": LAST}),
        Node("Add", "a", ["l", "b"], ["a"]),
        Node("Relu", "y", ["a"], ["y"]),
    ]
    constants = {"w": normal(2, 3, 3, 3), "b": normal(2)}
    graph = Graph("net", nodes, constants, [Value("x", (0, 0, 0, 3))], ["y"])
    canonical = passes.canonicalize(graph)
    assert [node.op for node in canonical.nodes] == ["Transpose", "Conv", "Relu", "Transpose"]
    net = linnet.load(graph)
    for size in ((8, 9), (5, 12)):
        x = normal(1, *size, 3)
        wanted = interpret.run(graph, {"x": x})["y"]
        np.testing.assert_allclose(net(x), wanted, rtol=1e-4, atol=1e-5)


def test_numbers_do_not_depend_on_an_open_axis():
    """Whose size a number for each channel would have."""
    nodes = [
        Node("Mul", "m", ["x", "k"], ["m"]),
        Node("Sub", "s", ["m", "k"], ["s"]),
        Node("Transpose", "t", ["s"], ["t"], {"perm": FIRST}),
        Node("MaxPool", "y", ["t"], ["y"], {"kernel_shape": [2, 2]}),
    ]
    constants = {"k": np.array([0.5], np.float32)}
    graph = Graph("net", nodes, constants, [Value("x", (0, 0, 0, 3))], ["y"])
    assert [n.op for n in passes.canonicalize(graph).nodes] == [
        "Mul",
        "Add",
        "Transpose",
        "MaxPool",
    ]
    x = normal(1, 6, 5, 3)
    wanted = interpret.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(linnet.load(graph)(x), wanted, rtol=1e-5, atol=1e-6)


def test_a_wrong_axis_is_still_refused():
    net = Net()
    net.add("Softmax", "t", axis=4)
    with pytest.raises(ValueError, match=r"node 'y' \(Softmax\): axis 4 does not exist in 4 axes"):
        net.check("")
    net = Net()
    net.add("Slice", "t", ints(0), ints(1), ints(7))
    with pytest.raises(ValueError, match=r"node 'y' \(Slice\): axis 7 does not exist"):
        net.check("")


def test_what_two_windows_read_is_turned_once() -> None:
    net = Net()
    for name in "ab":
        net.add("Transpose", "x", y=name, perm=FIRST)
        net.add("Conv", name, normal(2, 4, 1, 1), y=f"{name}.conv")
    net.add("Concat", "a.conv", "b.conv", axis=1)
    net.check("Transpose Conv Conv Concat")
