"""Loops of TensorFlow 1 over the images of a batch; test_pitfalls.py has one of tf.map_fn's."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from reading import run
from tf_models import Builder

import linnet
from linnet import formats, passes
from linnet.formats import _schema


def mapped(*, reads: str = "turn", first: int = 0, by: int = 1, out: str = "Exit_t") -> bytes:
    """y = 2 * x of each image, as tf.map_fn does it: `reads`, what counts the turns; `out`, of what
    results are stacked.
    """
    builder = Builder().input(-1, 3).const("n", 1).const("zero", first).const("indices", [0])
    builder.add("TensorArrayV3", "given", "n").add("TensorArrayV3", "made", "n")
    builder.add("TensorArrayScatterV3", "scatter", "given", "indices", "x", "given:1")
    for name, start in (("i", "zero"), ("t", "made:1"), ("other", "zero")):
        builder.add("Enter", f"Enter_{name}", start)
        builder.add("Merge", f"Merge_{name}", f"Enter_{name}", f"Next_{name}")
        builder.add("Switch", f"Switch_{name}", f"Merge_{name}", "go")
        builder.add("Exit", f"Exit_{name}", f"Switch_{name}")
    builder.add("Enter", "limit", "n", is_constant=True).add("Less", "less", "Merge_i", "limit")
    builder.add("LoopCond", "go", "less").add("Identity", "turn", "Switch_i:1")
    builder.const("one", by).add("Add", "next", "turn", "one").add(
        "NextIteration", "Next_i", "next"
    )
    builder.add("Identity", "rest", "Switch_other:1").add("NextIteration", "Next_other", "rest")
    builder.add("Enter", "from", "given", is_constant=True)
    builder.add("Enter", "flow", "scatter", is_constant=True)
    builder.add("TensorArrayReadV3", "image", "from", reads, "flow")
    builder.const("two", 2.0).add("Mul", "twice", "image", "two")
    builder.add("Enter", "to", "made", is_constant=True).add("Identity", "so_far", "Switch_t:1")
    builder.add("TensorArrayWriteV3", "write", "to", "turn", "twice", "so_far")
    builder.add("NextIteration", "Next_t", "write")
    builder.add("TensorArrayGatherV3", "stack", "made", "indices", out).add("Relu", "y", "stack")
    return builder.data()


def test_one_turn_for_each_image() -> None:
    x = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
    (y,) = run(formats.read(mapped(), outputs=["y"]), {"x": x[:1]}).values()
    np.testing.assert_array_equal(y, [[2, 0, 6]])
    np.testing.assert_array_equal(linnet.load(mapped(), outputs="y")(x), [[2, 0, 6], [8, 10, 0]])


@pytest.mark.parametrize(
    ("how", "missing"),
    [
        ({"reads": "next"}, "'image' (TensorArrayReadV3)"),
        ({"reads": "rest"}, "'image' (TensorArrayReadV3)"),
        ({"first": 1}, "'stack' (TensorArrayGatherV3)"),
        ({"by": 2}, "'stack' (TensorArrayGatherV3)"),
        ({"out": "Exit_i"}, "'stack' (TensorArrayGatherV3)"),
        ({"out": "made:1"}, "'stack' (TensorArrayGatherV3)"),
    ],
)
def test_other_loops_are_refused(how: Any, missing: str) -> None:
    with pytest.raises(ValueError) as error:
        linnet.load(mapped(**how), outputs="y")
    assert f"{missing}: the operator is not supported" in str(error.value)


def function(builder: Builder, name: str, args: str, results: str, *nodes: tuple[str, ...]) -> None:
    """Nodes are (operator, name, inputs ...); results are values, or arguments."""
    made = builder.graph.library.function.add()
    made.signature.name = name
    for arg in args.split():
        made.signature.input_arg.add(name=arg)
    for index, value in enumerate(results.split()):
        made.signature.output_arg.add(name=f"r{index}")
        made.ret.add(key=f"r{index}", value=value)
    for op, node, *inputs in nodes:
        inner = _schema.tensorflow("NodeDef")(op=op, name=node, input=inputs)
        if node in ("one", "zero"):
            tensor = inner.attr.add(key="value").value.tensor
            tensor.dtype, value = 3, int(node == "one")
            tensor.int_val.append(value)
        made.node_def.append(inner.SerializeToString())


def called(
    *, at: str = "i", scaled: str = "image:item:0", first: int = 0, last: str = "n"
) -> bytes:
    """y = x + 1 of each image, as tf.map_fn does it in TensorFlow 2. at: where a result is written;
    scaled: what one is added to; last: what the variable that stays becomes.
    """
    builder = Builder().input(-1, 1, 3).const("n", 1).const("start", first).const("shape", [1, 3])
    builder.add("TensorListFromTensor", "given", "x", "shape")
    builder.add("TensorListReserve", "made", "shape", "n")
    builder.add("While", "loop", "start", "made", "n", "given", "ones").const("ones", [1.0] * 3)
    builder.graph.node[-2].attr.add(key="body").value.func.name = "body"
    builder.add("TensorListStack", "stack", "loop:1", "shape").add("Relu", "y", "stack")
    function(
        builder,
        "body",
        "i out n given ones",
        f"next:z:0 copy:output:0 {last} given ones",
        ("Const", "one"),
        ("Const", "zero"),
        ("AddV2", "next", "i", "one:output:0"),
        ("TensorListGetItem", "image", "given", "i", "shape:output:0"),
        ("Shape", "shape", "ones"),
        ("Add", "more", scaled, "ones"),
        ("TensorListSetItem", "write", "out", at, "more:z:0"),
        ("Identity", "copy", "write:output_handle:0"),
    )
    return builder.data()


def test_one_turn_of_a_function() -> None:
    x = np.array([[[1, -2, 3]], [[4, 5, -6]]], np.float32)
    net = linnet.load(called(), outputs="y")
    np.testing.assert_array_equal(net(x), [[[2, 0, 4]], [[5, 6, 0]]])


@pytest.mark.parametrize(
    "how",
    [
        {"at": "zero:output:0"},
        {"scaled": "i"},
        {"first": 1},
        {"last": "next:z:0"},
        {"last": "nowhere"},
    ],
)
def test_other_functions_are_refused(how: Any) -> None:
    with pytest.raises(ValueError, match=r"'loop' \(While\): the operator is not supported"):
        linnet.load(called(**how), outputs="y")


@pytest.mark.parametrize("data", [mapped(), called()], ids=["operators", "functions"])
def test_damaged_loops_are_refused(data: bytes) -> None:
    rng = random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with suppress(ValueError, MemoryError):
            passes.canonicalize(formats.read(bytes(damaged), outputs=["y"]))
