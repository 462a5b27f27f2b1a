"""TFLite files: what is read of them, whatever their bytes, and what is refused."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_cases
from tflite_cases import X, b, flexbuffer, i
from tflite_models import CODES, Op, Tensor, constant, flat, model, numbers

import linnet
from linnet import formats, interpret
from linnet.formats import Source
from linnet.formats._flatbuffer import Bytes
from linnet.formats._flexbuffer import numbers_of

DATA = Path(__file__).parent / "data" / "tflite"
ONE = {"x": Tensor((1, 4)), "y": Tensor((1, 4))}
RELU = [Op("RELU", ["x"], ["y"])]
SMALL = model(ONE, RELU, ["x"], ["y"])


def single(kind: str, *more: str, custom: bytes | None = None, **tensors: Tensor) -> bytes:
    operators = [Op(kind, ["x", *more], ["y"], custom=custom)]
    return model({**ONE, **tensors}, operators, ["x"], ["y"])


def added(activation: int) -> bytes:
    """x + 1 and a fused activation."""
    tensors = {**ONE, "k": constant(1.0, "float32")}
    options = (11, {0: b(activation)})
    return model(tensors, [Op("ADD", ["x", "k"], ["y"], options)], ["x"], ["y"])


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError) as error:
        linnet.load(data)
    return str(error.value)


@pytest.mark.parametrize("name", ["float", "float16", "dynamic", "int8"])
def test_networks_of_the_converter(name: str):
    """One network in each of the converter's types, against LiteRT (make_networks.py)."""
    expected = dict(np.load(DATA / "networks.npz"))
    net = linnet.load(DATA / f"{name}.tflite", threads=1)
    x = expected[f"{name}.x"]
    assert [(v.shape, v.dtype) for v in net.inputs] == [((None, 18, 14, 3), x.dtype)]
    for index, result in enumerate(net.run(x)):
        wanted = expected[f"{name}.{index}"]
        assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape)
        scale = np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))
        error = {"dynamic": 0.02, "int8": 2 / scale}.get(name, 1e-5)
        np.testing.assert_allclose(result.astype(float), wanted, rtol=0, atol=error * scale)
    three = net.run(np.concatenate([x] * 3))[1]
    np.testing.assert_allclose(three, np.concatenate([result] * 3), rtol=1e-5)


def test_only_the_ends_are_transposed():
    from linnet import passes

    graph = passes.canonicalize(formats.read(DATA / "float.tflite"))
    moves = [node for node in graph.nodes if node.op == "Transpose"]
    # The picture, the boxes, and the phases of the transposed convolution, which are its pixels.
    assert [len(node.attrs["perm"]) for node in moves] == [4, 7, 4]


def test_files_are_known_by_their_content(tmp_path: Path):
    assert formats.recognise(Source(SMALL)).name == "TFLite"
    path = tmp_path / "model.bin"
    path.write_bytes(SMALL)
    np.testing.assert_array_equal(linnet.load(path)(-np.ones((1, 4), "f4")), np.zeros((1, 4)))
    named = tmp_path / "model.tflite"
    named.write_bytes(b"\x08\x07 not a FlatBuffer")
    with pytest.raises(ValueError, match=r"model\.tflite: not a TFLite model .*'TFL3'"):
        linnet.load(named)


def test_names_and_shapes_are_the_files():
    tensors = {"": Tensor((1, 4), signature=(-1, 4)), "a": Tensor((1, 4)), "b": Tensor((1, 4))}
    net = linnet.load(model(tensors, [Op("RELU", ["a"], ["b"])], ["a"], ["b"]))
    assert (net.name, net.inputs[0].name, net.outputs[0].name) == ("main", "a", "b")
    image = {"x": Tensor((1, 1, 1, 3), signature=(-1, -1, -1, 3)), "y": Tensor((1, 1, 1, 3))}
    image["y"] = image["y"]._replace(signature=(-1, -1, -1, 3))
    pool = Op("MAX_POOL_2D", ["x"], ["y"], (5, {0: b(1), 1: i(2), 2: i(2), 3: i(2), 4: i(2)}))
    net = linnet.load(model(image, [pool], ["x"], ["y"]))
    assert net.inputs[0].shape == (None, None, None, 3)
    assert net(numbers(2, 6, 9, 3)).shape == (2, 3, 4, 3)


def test_tensors_of_one_name_are_told_apart():
    """Inputs and outputs keep theirs."""
    data = SMALL.replace(b"y\0", b"x\0")
    assert data != SMALL
    net = linnet.load(data)
    assert [net.inputs[0].name, net.outputs[0].name] == ["x", "x_"]


def test_the_larger_code_counts():
    """The old field is a byte, and 127 for what came later."""
    old = {0: ("b", CODES["RELU"])}
    new = {0: ("b", 127), 3: ("i", 128)}
    for code, said in ((old, None), (new, "(CUMSUM): the operator is not supported")):
        data = model(ONE, RELU, ["x"], ["y"], more={1: [code]})
        if said is None:
            assert linnet.load(data)(-np.ones((1, 4), "f4")).max() == 0
        else:
            assert said in refusal(data)


def test_bytes_may_follow_the_tables():
    """As in files beyond 2 GB."""
    tensors = {**ONE, "k": Tensor((4,), more={2: ("I", 1)})}
    add = [Op("ADD", ["x", "k"], ["y"], (11, {}))]
    values = numbers(4)

    def file(offset: int) -> bytes:
        buffers = [{}, {1: ("Q", offset), 2: ("Q", 16)}]
        return model(tensors, add, ["x"], ["y"], more={4: buffers})

    data = file(1 << 40)
    assert "lie outside of the file" in refusal(data)
    data = file(len(data)) + values.tobytes()
    np.testing.assert_allclose(linnet.load(data)(np.ones((1, 4), "f4")), [1 + values], rtol=1e-6)


def test_int4_weights_lie_two_in_a_byte():
    tensors = {
        **ONE,
        "w": Tensor((4, 4), np.arange(8, dtype=np.uint8) * 0x22 + 1, quant=(0.5, 0, 0)),
    }
    tensors["w"] = tensors["w"]._replace(more={1: ("b", 17)})
    data = model(tensors, [Op("FULLY_CONNECTED", ["x", "w", ""], ["y"], (8, {}))], ["x"], ["y"])
    stored = np.arange(8, dtype=np.uint8) * 0x22 + 1
    halves = np.stack([stored & 15, stored >> 4], -1).reshape(4, 4).astype(int)
    weights = np.where(halves > 7, halves - 16, halves) * 0.5
    x = numbers(1, 4)
    np.testing.assert_allclose(linnet.load(data)(x), x @ weights.T, rtol=1e-5)


def test_scales_of_a_vector_are_along_its_axis():
    """Whatever axis the file says, as that of the weights."""
    tensors = {
        **ONE,
        "w": constant(np.eye(4) * 100, "int8", quant=([0.1, 0.2, 0.3, 0.4], [0] * 4, 0)),
        "b": constant([10, 20, 30, 40], quant=([0.1, 0.2, 0.3, 0.4], [0] * 4, 3)),
    }
    data = model(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], (8, {}))], ["x"], ["y"])
    x = numbers(1, 4)
    expected = x * [10, 20, 30, 40] + [1, 4, 9, 16]
    np.testing.assert_allclose(linnet.load(data)(x), expected, rtol=1e-5)


def test_mediapipe_transposes_with_a_bias():
    data = tflite_cases.transpose_conv_bias()
    case = tflite_cases.every()["transposed_half"]
    (y,) = linnet.load(data).run([X])
    np.testing.assert_allclose(y, linnet.load(case.model)(X), rtol=1e-5, atol=1e-5)


def pool_with_places(x: Any, same: bool, strides: Any, window: Any) -> tuple[Any, Any]:
    """What MediaPipe's MaxPoolingWithArgmax2D says it does, in loops."""
    sizes, before = [], []
    for n, s, k in zip(x.shape[1:3], strides, window):
        sizes.append(-(-n // s) if same else (n - k) // s + 1)
        before.append(max((sizes[-1] - 1) * s + k - n, 0) // 2)
    y, places = (np.full((len(x), *sizes, x.shape[3]), -np.inf, np.float32) for _ in range(2))
    for row, column, r, c in np.ndindex(*sizes, *window):
        at = row * strides[0] - before[0] + r, column * strides[1] - before[1] + c
        if all(0 <= n < size for n, size in zip(at, x.shape[1:3])):
            more = x[:, at[0], at[1]] > y[:, row, column]
            y[:, row, column][more] = x[:, at[0], at[1]][more]
            places[:, row, column][more] = r * window[1] + c + np.float32(0.1)
    return y, places


@pytest.mark.parametrize(
    ("same", "strides", "window", "shape"),
    [
        (True, (2, 2), (2, 2), (1, 6, 8, 4)),
        (False, (2, 2), (2, 2), (2, 6, 8, 4)),
        (True, (2, 2), (2, 2), (1, 7, 5, 3)),
        (True, (2, 2), (3, 3), (1, 7, 5, 3)),
        (False, (1, 2), (3, 2), (1, 7, 5, 3)),
    ],
)
def test_mediapipe_pools_say_where_they_found_what(
    same: bool, strides: Any, window: Any, shape: Any
):
    """Of equal numbers the first; and the way back, which MaxUnpooling2D is."""
    x = np.round(numbers(*shape) * 2) / 2
    y, places = pool_with_places(x, same, strides, window)
    options = struct.pack("<6i", 2 - same, *strides[::-1], *window[::-1], 1)
    tensors = {"x": Tensor(x.shape), "y": Tensor(y.shape), "places": Tensor(y.shape)}
    operators = [Op("MaxPoolingWithArgmax2D", ["x"], ["y", "places"], custom=options)]
    outputs, expected = ["y", "places"], [np.maximum(y, 0), places]
    if strides == window:
        back = np.zeros((shape[0], y.shape[1] * 2, y.shape[2] * 2, shape[3]), np.float32)
        for n, row, column, c in np.ndindex(*y.shape):
            r, k = divmod(int(places[n, row, column, c]), 2)
            back[n, row * 2 + r, column * 2 + k, c] = max(y[n, row, column, c], 0)
        tensors["back"] = Tensor(back.shape)
        operators.append(Op("MaxUnpooling2D", ["y", "places"], ["back"], custom=options))
        outputs, expected = [*outputs, "back"], [*expected, back]
    data = model(tensors, operators, ["x"], outputs)
    for found, wanted in zip(linnet.load(data, threads=1).run(x), expected):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("open_", [False, True])
def test_other_sizes_are_followed_through_the_file(open_: bool):
    """Not the sizes that the file says what lies between has."""
    rows = (-1, -1, -1, 2) if open_ else None
    tensors = {
        "x": Tensor((1, 8, 8, 2), signature=rows),
        "half": Tensor((1, 4, 4, 2), signature=rows),
        "cut": Tensor((1, 2, 4, 2), signature=rows),
        "part": Tensor((1, 2, 2, 2), signature=rows),
        "shape": Tensor((4,), dtype="int32"),
        "one": constant([1]),
        "three": constant([3]),
        "sizes": Tensor((2,), dtype="int32"),
        "up": Tensor((1, 4, 4, 2), signature=rows),
        **{name: constant(ends) for name, ends in (("a", [0, 2, 0, 0]), ("b", [0, 4, 4, 0]))},
        **{name: constant(ends) for name, ends in (("c", [0, 0, 1, 0]), ("d", [-1, -1, 2, -1]))},
        "steps": constant([1, 1, 1, 1]),
        "y": Tensor((1, 4, 4, 2), signature=rows),
    }
    pool = (5, {0: b(1), 1: i(2), 2: i(2), 3: i(2), 4: i(2)})
    operators = [
        Op("MAX_POOL_2D", ["x"], ["half"], pool),
        Op("STRIDED_SLICE", ["half", "a", "b", "steps"], ["cut"], (32, {0: i(9), 1: i(9)})),
        Op("SLICE", ["cut", "c", "d"], ["part"]),
        Op("SHAPE", ["half"], ["shape"], (55, {0: b(2)})),
        Op("STRIDED_SLICE", ["shape", "one", "three", "one"], ["sizes"], (32, {})),
        Op("RESIZE_NEAREST_NEIGHBOR", ["part", "sizes"], ["up"], (74, {})),
        Op("ADD", ["half", "up"], ["y"], (11, {})),
    ]
    data = model(tensors, operators, ["x"], ["cut", "y"])
    x = numbers(1, 12, 10, 2)
    half = x.reshape(1, 6, 2, 5, 2, 2).max((2, 4))
    part = half[:, 2:4, 1:3]
    up = part[:, np.arange(6) * 2 // 6][:, :, np.arange(5) * 2 // 5]
    net = linnet.load(data, shapes={"x": x.shape}, threads=1)
    for found, wanted in zip(net.run(x), (half[:, 2:4, :4], half + up)):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(ValueError, match=r"lead out of \[1, 2, 2, 2\]"):
        linnet.load(data, shapes={"x": (1, 8, 4, 2)})
    with pytest.raises(ValueError, match="expected 4 sizes"):
        linnet.load(data, shapes={"x": (1, 8)})


@pytest.mark.parametrize(
    ("code", "function"),
    [
        (0, lambda x: x),
        (1, lambda x: np.maximum(x, 0)),
        (2, lambda x: np.clip(x, -1, 1)),
        (3, lambda x: np.clip(x, 0, 6)),
        (4, np.tanh),
    ],
)
def test_fused_activations(code: int, function: Any):
    x = np.array([[-3, -1.5, 0.25, 7]], np.float32)
    np.testing.assert_allclose(linnet.load(added(code))(x), function(x + 1), rtol=1e-6, atol=1e-6)


def test_a_convolution_without_bias():
    tensors = {"x": Tensor(X.shape), "w": constant(numbers(5, 1, 1, 4), "float32")}
    tensors["y"] = Tensor((1, 6, 8, 5))
    options = (1, {0: b(0), 1: i(1), 2: i(1)})
    for inputs in (["x", "w", ""], ["x", "w"]):
        data = model(tensors, [Op("CONV_2D", inputs, ["y"], options)], ["x"], ["y"])
        expected = X @ tensors["w"].data[:, 0, 0].T
        np.testing.assert_allclose(linnet.load(data)(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("edgetpu-custom-op", "compiled for an Edge TPU"),
        ("MyOperator", r"'y' (MyOperator): the operator is not supported"),
        ("LSTM", "keeps a state"),
    ],
)
def test_operators_that_are_not_supported_are_named(kind: str, said: str):
    text = refusal(single(kind))
    assert said in text
    assert "docs/operators.md" in text


def test_all_problems_are_told_at_once():
    tensors = {**ONE, "a": Tensor((1, 4)), "b": Tensor((1, 4)), "t": Tensor((1, 4), dtype="text")}
    operators = [
        Op("Mine", ["x"], ["a"]),
        Op("SOFTMAX", ["x"], ["b"], (8, {})),
        Op("ADD", ["x", "t"], ["y"], (11, {})),
    ]
    text = refusal(model(tensors, operators, ["x"], ["a", "b", "y"]))
    assert text.startswith("the model given as bytes: 3 problems")
    assert "node 'a' (Mine): the operator is not supported" in text
    assert "node 'b' (SOFTMAX): its options are of type 8, not 9" in text
    assert "tensor 't' has the unsupported type STRING" in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (single("RELU", "k", k=constant([1])), "has 2 inputs, expected 1"),
        (single("ADD", ""), "an input or a result is missing"),
        (single("ADD", "k", k=Tensor((4,))), "the file has no numbers for it"),
        (single("ADD", "k", k=Tensor((5,), numbers(4))), "holds 16 bytes, its shape [5] needs 20"),
        (single("ADD", "k", k=constant(1, quant=(0.0, 0, 0))), "do not fit it"),
        (single("ADD", "k", k=constant([1, 2], quant=([1, 1, 1], [0] * 3, 0))), "do not fit it"),
        (single("ADD", "k", k=constant(1, "int8", quant=(1, 200, 0))), "do not fit it"),
        (
            single("CONV_2D", "k", k=constant([[1.0]], "float32")),
            "weights [1, 1] are not of the form OHWI",
        ),
        (added(5), "the fused activation number 5 is not supported"),
        (single("RESHAPE"), "cannot become a scalar"),
        (single("PAD", "x"), "its pads are computed"),
        (single("ARG_MAX", "k", k=constant([1, 2])), "its axis is [1, 2]"),
        (single("STRIDED_SLICE", "k", "k", "k", k=constant([0])), "do not fit each other"),
        (single("BATCH_TO_SPACE_ND", "k", "k", k=constant([2])), "of images only"),
        (single("Convolution2DTransposeBias", "k", "k", k=constant([2])), "padding and strides"),
        (single("MaxUnpooling2D", "x", custom=struct.pack("<6i", 1, 2, 2, 2, 2, 0)), "its places"),
        (single("MaxUnpooling2D", "x", custom=struct.pack("<6i", 1, 2, 0, 2, 2, 0)), "moves by"),
        (single("MaxUnpooling2D", "x", custom=struct.pack("<6i", 1, 2, 2, 9, 9, 0)), "2 to 64"),
        (model(ONE, RELU, ["x"], []), "it has no outputs"),
        (model({**ONE, "": Tensor((1, 4))}, RELU, [""], ["y"]), "a tensor that there is not"),
        (model(ONE, RELU, ["x"], ["y"], more={0: ("I", 2)}), "version 2 of TFLite"),
        (model(ONE, RELU, ["x"], ["y"], more={2: []}), "it has no graph"),
        (model(ONE, RELU, ["x"], ["y"], more={1: []}), "an operator has no code"),
        (model({**ONE, "x": Tensor(())}, RELU, ["x"], ["y"]), "has no batch axis"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes, said: str):
    assert said in refusal(data)


def test_phases_are_for_convolutions():
    case = tflite_cases.phases()
    wrong = case.model.replace(
        struct.pack("<i", CODES["PRELU"]), struct.pack("<i", CODES["SOFTMAX"])
    )
    assert wrong != case.model
    assert "SPACE_TO_BATCH_ND" in refusal(wrong)
    tensors = {"x": Tensor(X.shape), "k": constant([2, 2]), "b": constant([[0, 0], [0, 0]])}
    cut = [Op("SPACE_TO_BATCH_ND", ["x", "k", "b"], ["y"])]
    data = model({**tensors, "y": Tensor((4, 3, 4, 4))}, cut, ["x"], ["y"])
    assert "output 'y' is not supported before a BATCH_TO_SPACE_ND" in refusal(data)


def test_sparse_tensors_are_bounded():
    huge = tflite_cases.sparse((1 << 15, 1 << 15), [1], [1 << 15, 1 << 15], [0, 1])
    begin = time.perf_counter()
    assert "far larger than the file" in refusal(huge.model)
    for levels in (
        [3, ([0, 1, 1, 3], [2, 0, 9])],  # an index beyond the axis
        [3, ([0, 1, 9, 3], [2, 0, 3])],  # rows that shrink
        [3, ([0, 1], [2, 0, 3])],  # too few rows
        [4, ([0, 1, 1, 3, 3], [2, 0, 3])],  # too many
        [3],
    ):
        case = tflite_cases.sparse((3, 4), [1, 2, 3], levels, [0, 1][: len(levels)])
        assert "sparse" in refusal(case.model)
    assert time.perf_counter() - begin < 2


def test_small_files_do_not_pass_for_large_ones():
    """Many tensors of one buffer, operators of one vector, tables of one place."""
    count = 3000
    tensors: dict[str, Any] = {**ONE, "k": constant(numbers(4096), "float32")}
    shared = {f"k{n}": Tensor((4096,), more={2: ("I", 1)}) for n in range(count)}
    data = model({**tensors, **shared}, [Op("ADD_N", list(shared), ["y"])], ["x"], ["y"])
    assert "far larger than the file" in refusal(data) or len(data) > 1e6
    vectors = flat({0: np.zeros(1000, np.int32), 1: "text"})
    root = Bytes(vectors, "file").root()
    assert (len(root.integers(0)), root.text(1), root.number(2, "i", 7)) == (1000, "text", 7)
    with pytest.raises(ValueError, match="file: its tables share vectors too often"):
        for _ in range(20):
            root.integers(0)


@pytest.mark.parametrize("name", ["phases", "int8_MAX_POOL_2D", "sparse_blocks", "shapes"])
def test_damaged_files_are_errors(name: str):
    """Any bytes: a graph or one ValueError, soon."""
    data = tflite_cases.every()[name].model
    choice = random.Random(5)
    damaged = [data[:size] for size in range(8, len(data), max(len(data) // 30, 1))]
    for _ in range(120):
        place, number = choice.randrange(8, len(data) - 4), choice.choice((0, 1, 255, 1 << 16, -1))
        word = struct.pack("<i", number)[: choice.choice((1, 4))]
        damaged.append(data[:place] + word + data[place + len(word) :])
    loaded = 0
    for file in damaged:
        try:
            linnet.load(file, threads=1)
            loaded += 1
        except ValueError as error:
            assert str(error)
    assert 0 < loaded < len(damaged)


def test_a_graph_means_what_it_computes():
    graph = formats.read(DATA / "int8.tflite")
    x = np.load(DATA / "networks.npz")["int8.x"]
    wanted = np.load(DATA / "networks.npz")["int8.0"].astype(int)
    (found, _) = interpret.run(graph, {graph.inputs[0].name: x}).values()
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_numbers_of_a_flexbuffer() -> None:
    given = {"a": 3, "bc": -7, "real": 0.5}
    data = flexbuffer(given)
    assert numbers_of(data) == given
    for damaged in (
        b"",
        data[:-1],
        data[3:],
        b"\x01",
        b"\x00\x24\x01",
        data[:-3] + b"\xff\x26\x04",
    ):
        with pytest.raises(ValueError, match="its options"):
            numbers_of(damaged)


def test_damaged_flexbuffers() -> None:
    """A ValueError, or numbers; nothing else, and soon."""
    data = np.frombuffer(flexbuffer({"a": 3, "b": 0.5, "much longer": -1}), np.uint8)
    draw = np.random.default_rng(0)
    for turn in range(2000):
        changed = data.copy()
        changed[draw.integers(len(data), size=draw.integers(1, 4))] = draw.integers(256)
        end = draw.integers(1, len(data) + 1) if turn % 2 else None
        try:
            numbers_of(changed.tobytes()[:end])
        except ValueError:
            continue


def test_an_end_of_a_detector_without_options() -> None:
    case = tflite_cases.post_process({"max_detections": 3, "max_classes_per_detection": 1})
    text = case.model.replace(b"num_classes", b"num_nothing")
    with pytest.raises(ValueError, match="its options lack num_classes"):
        linnet.load(text)
