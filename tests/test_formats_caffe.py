"""The Caffe importer against stored results of Caffe 1.0, and against files that are wrong."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from caffe_models import (
    INPUT,
    RANDOM,
    blob,
    close,
    conv,
    layer,
    normal,
    read,
    refuse,
    run,
    weights_file,
)

import linnet
from linnet import core, formats, interpret, ops, passes
from linnet.core import build
from linnet.formats import _schema

DATA = Path(__file__).parent / "data"
FIXTURES = sorted((DATA / "caffe").glob("*.prototxt"))

# Values of Caffe's that folding merges into another: their blobs are not computed any more.
FOLDED = {"batchnorm": {"conv1", "bn1"}, "inner_product": {"drop"}}


@pytest.fixture(autouse=True)
def seeded():
    """The same numbers for a test whatever ran before it."""
    RANDOM.bit_generator.state = np.random.default_rng(3).bit_generator.state


@pytest.mark.parametrize("prototxt", FIXTURES, ids=lambda path: path.stem)
def test_every_blob_is_caffes(prototxt):
    weights = prototxt.with_suffix(".caffemodel")
    blobs = dict(np.load(prototxt.with_suffix(".npz")))
    graph = passes.canonicalize(formats.read(prototxt, weights))
    computed = blobs.keys() & core.shapes(graph).keys()
    assert blobs.keys() - computed == FOLDED.get(prototxt.stem, set())

    feeds = {value.name: blobs[value.name] for value in graph.inputs}
    for name, array in interpret.run(graph, feeds, fetch=sorted(computed)).items():
        close(array, blobs[name])
    net = linnet.load(prototxt, weights)
    for (name, *_), array in zip(net.outputs, net.run(None, feeds)):
        close(array, blobs[name])


def test_a_trained_network():
    blobs = np.load(DATA / "digits_caffe.npz")
    graph = formats.read(DATA / "digits.prototxt", DATA / "digits.caffemodel")
    images = blobs["inputs"][:, np.newaxis] / 255.0
    results = interpret.run(passes.canonicalize(graph), {"data": images}, fetch=["fc2", "prob"])
    close(results["fc2"], blobs["fc2"])
    close(results["prob"], blobs["prob"])
    np.testing.assert_array_equal(results["prob"].argmax(1), blobs["labels"])
    alone = passes.canonicalize(formats.read(DATA / "digits.caffemodel"))
    close(interpret.run(alone, {"data": images}, fetch=["prob"])["prob"], blobs["prob"])


# --- files written here ---------------------------------------------------------------------------


def test_activations(tmp_path):
    x = normal(2, 4, 9, 7)
    graph = read(INPUT + layer("Sigmoid"), None, tmp_path)
    close(run(graph, x), 1 / (1 + np.exp(-x)))
    text = INPUT + layer("Clip", settings="clip_param { min: -0.5 max: 1 }")
    close(run(read(text, None, tmp_path), x), x.clip(-0.5, 1))
    close(run(read(INPUT + layer("TanH"), None, tmp_path), x), np.tanh(x))
    close(run(read(INPUT + layer("AbsVal"), None, tmp_path), x), np.abs(x))
    text = INPUT + layer("ReLU", settings="relu_param { negative_slope: 0.1 }")
    close(run(read(text, None, tmp_path), x), np.where(x < 0, 0.1 * x, x))


def test_lrn(tmp_path):
    x = normal(2, 4, 9, 7)
    graph = read(
        INPUT + layer("LRN", settings="lrn_param { local_size: 3 alpha: 2 }"), None, tmp_path
    )
    square = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    around = square[:, :-2] + square[:, 1:-1] + square[:, 2:]
    close(run(graph, x), x / (1 + 2 / 3 * around) ** 0.75)
    for settings in ("local_size: 4", "local_size: 2 norm_region: WITHIN_CHANNEL"):
        text = INPUT + layer("LRN", settings=f"lrn_param {{ {settings} }}")
        refuse(text, None, tmp_path, "'y' (LRN): its local_size is ", "no centre")


@pytest.mark.parametrize("form", ["packed", "legacy", "double", "chunks", "unpacked"])
@pytest.mark.parametrize("field", ["layer", "layers"])
def test_weights_in_every_form(form, field, tmp_path):
    w, b, x = normal(6, 2, 3, 5), normal(6), normal(2, 4, 9, 7)
    text = INPUT + conv("num_output: 6 group: 2 kernel_h: 3 kernel_w: 5 pad_w: 1 stride: 2")
    graph = read(text, weights_file({"y": [w, b]}, form, field), tmp_path)
    expected = ops.conv.conv(x, w, b, strides=(2, 2), pads=(0, 1, 0, 1), group=2)
    np.testing.assert_allclose(run(graph, x), expected, rtol=1e-6, atol=1e-6)


def test_old_and_new_layers_are_the_same_network(tmp_path):
    new = """input: "x" input_shape { dim: 1 dim: 4 dim: 9 dim: 7 }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c"
                convolution_param { num_output: 6 kernel_size: 3 } }
        layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
        layer { name: "p" type: "Pooling" bottom: "c" top: "p"
                pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
        layer { name: "f" type: "InnerProduct" bottom: "p" top: "f"
                inner_product_param { num_output: 5 } }
        layer { name: "y" type: "Softmax" bottom: "f" top: "y" }"""
    old = new.replace(
        "input_shape { dim: 1 dim: 4 dim: 9 dim: 7 }",
        "input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7",
    )
    for kind in ("Convolution", "ReLU", "Pooling", "Softmax"):
        old = old.replace(f'"{kind}"', kind.upper())
    old = old.replace('"InnerProduct"', "INNER_PRODUCT").replace("layer {", "layers {")
    weights = {"c": [normal(6, 4, 3, 3), normal(6)], "f": [normal(5, 72), normal(5)]}
    x = normal(2, 4, 9, 7)
    graphs = (
        read(new, weights, tmp_path),
        read(old, weights_file(weights, "legacy", "layers"), tmp_path),
    )
    np.testing.assert_array_equal(run(graphs[0], x), run(graphs[1], x))
    assert graphs[0].nodes == graphs[1].nodes


def test_layers_that_follow_a_rule(tmp_path):
    text = INPUT + layer("ReLU", "y") + layer("LRN", "train", "include { phase: TRAIN }")
    text += layer("LRN", "notest", "exclude { phase: TEST }")
    text += layer("LRN", "level", "include { min_level: 1 }")
    text += layer("LRN", "deep", "include { max_level: -1 }")
    text += layer("LRN", "staged", 'include { stage: "fancy" }')
    text += layer("Softmax", "a", "include { phase: TRAIN } include { phase: TEST min_level: -2 }")
    text += layer("Softmax", "b", 'include { not_stage: "fancy" }')
    assert read(text, None, tmp_path).outputs == ["y", "a", "b"]


def test_layers_of_training_are_left_out(tmp_path):
    labels = (
        'layer { name: "d" type: "Input" top: "label" input_param { shape { dim: 1 dim: 1 } } }'
    )
    text = INPUT + labels + layer("Flatten", "f") + layer("SoftmaxWithLoss", "l", bottom="f label")
    text += layer("Accuracy", "a", bottom="f label") + layer("EuclideanLoss", "e", bottom="f label")
    graph = read(text, None, tmp_path)
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.outputs == ["f"]
    text = INPUT + layer("Softmax", "y") + 'layer { name: "s" type: "Silence" bottom: "x" }'
    assert read(text, None, tmp_path).outputs == ["y"]


def test_in_place_blobs_hold_the_last_writers_value(tmp_path):
    text = INPUT + conv("num_output: 3 kernel_size: 1 bias_term: false", "c")
    text += layer("Softmax", "before", bottom="c")
    text += layer("ReLU", "r", bottom="c", top="c")
    text += layer("Dropout", "d", bottom="c", top="c")
    text += layer("Softmax", "after", bottom="c")
    text += layer("ReLU", "again", bottom="x", top="x") + layer("Softmax", "late", bottom="x")
    w, x = normal(3, 4, 1, 1), normal(2, 4, 9, 7)
    graph = read(text, {"c": [w]}, tmp_path)
    assert graph.outputs == ["before", "after", "late"]
    results = interpret.run(graph, {"x": x}, fetch=["c", *graph.outputs])
    c = ops.conv.conv(x, w)
    close(results["c"], np.maximum(c, 0))
    close(results["before"], ops.normalize.softmax(c, axis=1))
    close(results["after"], ops.normalize.softmax(np.maximum(c, 0), axis=1))
    close(results["late"], ops.normalize.softmax(np.maximum(x, 0), axis=1))


def test_fully_connected_transposed(tmp_path):
    w, b, x = normal(252, 5), normal(5), normal(2, 4, 9, 7)
    settings = "inner_product_param { num_output: 5 transpose: true axis: -3 }"
    graph = read(INPUT + layer("InnerProduct", "y", settings), {"y": [w, b]}, tmp_path)
    np.testing.assert_allclose(run(graph, x), x.reshape(2, -1) @ w + b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("flatten_param { axis: 2 }", (4, 63)),
        ("flatten_param { axis: 1 end_axis: 2 }", (36, 7)),
        ("flatten_param { axis: -2 end_axis: -1 }", (4, 63)),
        ("reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 3 } }", (2, 42, 3)),
        ("reshape_param { shape { dim: 21 dim: 3 } axis: 2 }", (4, 21, 3)),
        ("reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }", (2, 2, 9, 7)),
        ("reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", (4, 9, 7, 1)),
        ("reshape_param { shape { dim: 1 dim: -1 } }", (252,)),
    ],
)
def test_flatten_and_reshape(settings, shape, tmp_path):
    kind = "Flatten" if settings.startswith("flatten") else "Reshape"
    graph = read(INPUT + layer(kind, "y", settings), None, tmp_path)
    x = normal(3, 4, 9, 7)
    np.testing.assert_array_equal(run(graph, x), x.reshape(3, *shape).astype(np.float64))


def test_pooling_rounds_down_when_told(tmp_path):
    text = INPUT + layer("Pooling", "up", "pooling_param { kernel_size: 2 stride: 2 }")
    text += layer("Pooling", "down", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }")
    shapes = core.shapes(read(text, None, tmp_path))
    assert (shapes["up"], shapes["down"]) == ((0, 4, 5, 4), (0, 4, 4, 3))


def test_normalisation_of_vectors_and_bias(tmp_path):
    text = 'input: "x" input_shape { dim: 1 dim: 5 }' + layer("BatchNorm", "n")
    text += layer("Scale", "s", bottom="n") + layer("Bias", "y", bottom="s")
    mean, variance, factor = normal(5), normal(5) ** 2, np.float32([4])
    scale, bias, x = normal(5), normal(5), normal(3, 5)
    weights = {"n": [mean, variance, factor], "s": [scale], "y": [bias]}
    expected = (x - mean / 4) / np.sqrt(variance / 4 + 1e-5) * scale + bias
    np.testing.assert_allclose(
        run(read(text, weights, tmp_path), x), expected, rtol=1e-4, atol=1e-5
    )
    weights["n"][2] = np.float32([0])  # nothing was ever accumulated
    expected = x / np.sqrt(1e-5) * scale + bias
    np.testing.assert_allclose(
        run(read(text, weights, tmp_path), x), expected, rtol=1e-4, atol=1e-3
    )


def test_fields_that_make_no_difference(tmp_path):
    text = "force_backward: true state { phase: TRAIN } debug_info: false" + INPUT
    text += conv(
        'num_output: 2 kernel_size: 1 engine: CAFFE weight_filler { type: "xavier" }'
    ).replace("convolution_param", "param { lr_mult: 1 } param < decay_mult: 0 > convolution_param")
    assert read(text, {"y": [normal(2, 4, 1, 1), normal(2)]}, tmp_path).outputs == ["y"]


MISSPELT = [
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 1 strid: 2 }", "strid"),
    ("Pooling", "pooling_param { kernel_size: 2 pading: 1 }", "pading"),
    ("InnerProduct", "inner_product_param { num_output: 2 bias: false }", "bias"),
    ("BatchNorm", "batch_norm_param { epsilon: 1e-3 }", "epsilon"),
    ("Scale", "scale_param { bias_trem: true }", "bias_trem"),
    ("ReLU", "relu_param { slope: 0.1 }", "slope"),
    ("Softmax", "softmax_param { axes: 2 }", "axes"),
    ("Concat", "concat_param < dim: 2 >", "dim"),
    ("Reshape", "reshape_param { shape { dims: 1 } }", "shape.dims"),
    ("Flatten", "flatten_param: { start_axis: 2 }", "start_axis"),
    ("Dropout", "dropout_param { ratio: 0.1, }", "ratio"),
]


@pytest.mark.parametrize(("kind", "settings", "field"), MISSPELT)
def test_an_unknown_field_is_named(kind, settings, field, tmp_path):
    param = settings.split()[0].rstrip(":")
    said = f"'y' ({kind}): has a field that is not known: {param}.{field}"
    refuse(INPUT + layer(kind, "y", settings), None, tmp_path, said)


def test_unknown_fields_are_named_together(tmp_path):
    text = 'inputs: "x" # not strid: 1' + INPUT.replace("shape {", "shapes { dim: 1 } shape {")
    text += layer("ReLU", "a", 'note: "strid: 3" nested { kernel: 1 }')
    text += conv("num_output: 2 kernel_size: 1 strid: 1", "b", bottom="a")
    text += layer("Pooling", "c", "pooling_param { kernel_size: 2 a: [1, 2] b: -1 }", bottom="b")
    text += layer("ReLU", "gone", "include { phase: TRAIN until: 3 } relu_param { slop: 1 }")
    text += layer("ReLU", "d", 'exclude { stages: "x" }')
    text += layer("SoftmaxWithLoss", "loss", "loss_param { ignore: 1 } inclde { phase: TRAIN }")
    text += layer("Nonsense", "other", "nonsense_param { a: 1 }")
    said = refuse(
        text,
        None,
        tmp_path,
        "9 problems",
        "the network has a field that is not known: inputs",
        "layer 'x' (Input) has a field that is not known: input_param.shapes",
        "'a' (ReLU): has fields that are not known: note, nested",
        "'b' (Convolution): has a field that is not known: convolution_param.strid",
        "'c' (Pooling): has fields that are not known: pooling_param.a, pooling_param.b",
        "layer 'gone' (ReLU) has a field that is not known: include.until",
        "layer 'd' (ReLU) has a field that is not known: exclude.stages",
        "layer 'loss' (SoftmaxWithLoss) has a field that is not known: inclde",
        "'other' (Nonsense): layers of this type are not supported",
    )
    assert "slop" not in said and "ignore" not in said and "nonsense_param" not in said
    old = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7 layers { name: "p" '
    old += 'type: POOLING bottom: "x" top: "p" pooling_param { kernel: 2 } blobs_lr: 1 lr: 2 }'
    refuse(
        old,
        None,
        tmp_path,
        "'p' (Pooling): has fields that are not known: pooling_param.kernel, lr",
    )


@pytest.mark.parametrize(
    ("settings", "dilations"),
    [
        ("hole: 2", (2, 2)),
        ("hole: 2 hole: 3", (2, 3)),
        ("hole_h: 3", (3, 1)),
        ("hole_h: 2 hole_w: 3", (2, 3)),
        ("dilation_w: 2", (1, 2)),
        ("kstride: 2", (2, 2)),
        ("dilation: 3 dilation: 1", (3, 1)),
    ],
)
def test_dilation_in_the_words_of_forks(settings, dilations, tmp_path):
    w, b, x = normal(2, 4, 3, 3), normal(2), normal(2, 4, 9, 7)
    graph = read(INPUT + conv(f"num_output: 2 kernel_size: 3 {settings}"), {"y": [w, b]}, tmp_path)
    close(run(graph, x), ops.conv.conv(x, w, b, dilations=dilations))


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("", (5, 4)),
        ("ceil_mode: true", (5, 4)),
        ("ceil_mode: false", (4, 3)),
        ("round_mode: CEIL", (5, 4)),
        ("round_mode: FLOOR", (4, 3)),
        ("round_mode: FLOOR ceil_mode: false", (4, 3)),
    ],
)
def test_rounding_in_the_words_of_forks(settings, shape, tmp_path):
    pool = layer("Pooling", "y", f"pooling_param {{ kernel_size: 2 stride: 2 {settings} }}")
    assert core.shapes(read(INPUT + pool, None, tmp_path))["y"] == (0, 4, *shape)


def test_words_of_forks_that_contradict_each_other(tmp_path):
    pool = "pooling_param { kernel_size: 2 round_mode: FLOOR ceil_mode: true }"
    text = INPUT + layer("Pooling", "p", pool)
    text += conv("num_output: 2 kernel_size: 1 hole: 2 dilation: 2", "c")
    text += conv("num_output: 2 kernel_size: 1 hole: 2 hole_h: 2", "d")
    refuse(
        text,
        None,
        tmp_path,
        "'p' (Pooling): its round_mode and ceil_mode contradict each other",
        "'c' (Convolution): has both dilation and hole",
        "'d' (Convolution): has both hole and hole_h",
    )


def test_dropout_that_scales_when_testing(tmp_path):
    text = INPUT + layer(
        "Dropout", "d", "dropout_param { dropout_ratio: 0.3 scale_train: false }", top="x"
    )
    text += layer("ReLU", "y")
    x = normal(2, 4, 9, 7)
    close(run(read(text, None, tmp_path), x), np.maximum(x, 0) * np.float32(0.7))


@pytest.mark.parametrize(
    ("state", "stages", "outputs"),
    [
        ("", (), ["plain", "no_b", "low"]),
        ('state { stage: "a" }', (), ["plain", "a", "no_b", "low"]),
        ("", ("a",), ["plain", "a", "no_b", "low"]),
        ('state { stage: "a" }', ("b",), ["plain", "a", "b", "both", "low"]),
        ('state { stage: "a" stage: "b" }', (), ["plain", "a", "b", "both", "low"]),
        ("state { level: 2 }", (), ["plain", "no_b", "high"]),
        ('state { level: -1 phase: TRAIN stage: "b" }', (), ["plain", "b", "low"]),
    ],
)
def test_state_and_stages(state, stages, outputs, tmp_path):
    rules = {
        "plain": "",
        "a": 'include { stage: "a" }',
        "b": 'include { stage: "b" }',
        "both": 'include { stage: "a" stage: "b" }',
        "no_b": 'exclude { stage: "b" }',
        "low": "include { max_level: 0 }",
        "high": "include { phase: TEST min_level: 1 }",
        "train": 'include { phase: TRAIN stage: "a" }',
    }
    text = state + INPUT + "".join(layer("ReLU", name, rule) for name, rule in rules.items())
    (tmp_path / "net.prototxt").write_text(text)
    assert formats.read(tmp_path / "net.prototxt", stages=stages).outputs == outputs
    net = linnet.load(tmp_path / "net.prototxt", stages=list(stages))
    assert [value.name for value in net.outputs] == outputs


def test_stages_are_names_of_a_prototxts(tmp_path):
    (tmp_path / "net.prototxt").write_text(INPUT + layer("ReLU", "y", 'include { stage: "ab" }'))
    assert linnet.load(tmp_path / "net.prototxt", stages="ab").outputs[0].name == "y"
    with pytest.raises(ValueError, match="stages is 3, expected a list of names"):
        linnet.load(tmp_path / "net.prototxt", stages=3)
    with pytest.raises(ValueError, match="ONNX files have no stages"):
        linnet.load(DATA.parents[1] / "src/linnet/models/digits.onnx", stages=["a"])


SHARED = 'param { name: "w" } param { name: "b" }'


def siamese(kinds="Convolution", settings="convolution_param { num_output: 4 kernel_size: 3 }"):
    return INPUT + "".join(layer(kinds, name, f"{SHARED} {settings}") for name in ("p", "q"))


def both(text, weights, folder, x):
    return interpret.run(read(text, weights, folder), {"x": x}, fetch=["p", "q"])


def test_the_last_copy_of_shared_weights_is_everybodys(tmp_path):
    first, last, x = (
        [normal(4, 4, 3, 3), normal(4)],
        [normal(4, 4, 3, 3), normal(4)],
        normal(2, 4, 9, 7),
    )
    expected = ops.conv.conv(x, *last)
    for weights in ({"p": first, "q": last}, {"q": first, "p": last}, {"p": last}, {"q": last}):
        graph = read(siamese(), weights, tmp_path)
        for y in interpret.run(graph, {"x": x}, fetch=["p", "q"]).values():
            close(y, expected)
        assert len(graph.initializers) == 2  # one copy in memory, too


def test_shared_weights_of_every_type(tmp_path):
    x, w, b = normal(2, 4, 9, 7), normal(5, 252), normal(5)
    text = siamese("InnerProduct", "inner_product_param { num_output: 5 }")
    for y in both(text, {"p": [normal(5, 252), normal(5)], "q": [w, b]}, tmp_path, x).values():
        close(y, x.reshape(2, -1) @ w.T + b)
    scale, shift = normal(4), normal(4)
    text = siamese("Scale", "scale_param { bias_term: true }")
    for y in both(text, {"q": [scale, shift]}, tmp_path, x).values():
        close(y, x * scale[:, None, None] + shift[:, None, None])
    statistics = [normal(4), normal(4) ** 2, np.float32([2])]
    text = siamese("BatchNorm", 'param { name: "f" }')
    for y in both(
        text, {"p": [normal(4), normal(4) ** 2, np.float32([3])], "q": statistics}, tmp_path, x
    ).values():
        mean, variance = (a[:, None, None] / 2 for a in statistics[:2])
        close(y, (x - mean) / np.sqrt(variance + 1e-5))
    text = (
        INPUT
        + layer("Bias", "p", 'param { name: "w" }')
        + layer("Bias", "q", 'param { name: "w" }')
    )
    for y in both(text, {"p": [shift]}, tmp_path, x).values():
        close(y, x + shift[:, None, None])


def test_one_blob_of_two_may_be_shared(tmp_path):
    settings = "convolution_param { num_output: 4 kernel_size: 3 }"
    text = INPUT + layer("Convolution", "p", f'param {{ name: "w" }} {settings}')
    text += layer("Convolution", "q", f'param {{ name: "w" }} param {{ lr_mult: 2 }} {settings}')
    w, p, q, x = normal(4, 4, 3, 3), normal(4), normal(4), normal(2, 4, 9, 7)
    y = both(text, {"p": [normal(4, 4, 3, 3), p], "q": [w, q]}, tmp_path, x)
    close(y["p"], ops.conv.conv(x, w, p))
    close(y["q"], ops.conv.conv(x, w, q))
    refuse(text, {"p": [w, p]}, tmp_path, "'q' (Convolution): has no weights in ")


def test_blobs_shared_within_and_across_types(tmp_path):
    """Also under one name for two blobs of a layer."""
    text = INPUT + layer(
        "Scale", "p", 'param { name: "w" } param { name: "w" } scale_param { bias_term: true }'
    )
    text += layer("Bias", "q", 'param { name: "w" }')
    first, last, x = normal(4), normal(4), normal(2, 4, 9, 7)
    y = both(text, {"p": [first, last]}, tmp_path, x)
    close(y["p"], (x + 1) * last[:, None, None])
    close(y["q"], x + last[:, None, None])


def test_shapes_of_shared_weights(tmp_path):
    wide = "convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 bias_term: false }"
    high = wide.replace("kernel_h: 1 kernel_w: 3", "kernel_h: 3 kernel_w: 1")
    w, x = normal(4, 4, 1, 3), normal(2, 4, 9, 7)
    text = INPUT + layer("Convolution", "p", f'param {{ name: "w" }} {wide}')
    for mode in ("", "share_mode: STRICT"):
        strict = text + layer("Convolution", "q", f'param {{ name: "w" {mode} }} {high}')
        said = (
            "'q' (Convolution): shares 'w' of shape [4, 4, 3, 1] with layer 'p', where its shape is"
        )
        refuse(strict, {"p": [w]}, tmp_path, said)
    loose = text + layer("Convolution", "q", f'param {{ name: "w" share_mode: PERMISSIVE }} {high}')
    y = both(loose, {"p": [w]}, tmp_path, x)
    close(y["p"], ops.conv.conv(x, w))
    close(y["q"], ops.conv.conv(x, w.reshape(4, 4, 3, 1)))
    longer = loose.replace("kernel_h: 3", "kernel_h: 5")
    refuse(longer, {"p": [w]}, tmp_path, "shares 'w' of shape [4, 4, 5, 1]")
    refuse(loose, {"p": [w], "q": [w]}, tmp_path, "'q' (Convolution): ", "expected [4, 4, 3, 1]")
    refuse(
        loose, {"z": [w]}, tmp_path, "'p' (Convolution): has no weights in ", "nor has who shares"
    )


def test_shared_weights_of_old_layers(tmp_path):
    text = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7'
    for name, mode in (("p", ""), ("q", "blob_share_mode: PERMISSIVE blob_share_mode: STRICT")):
        text += f''' layers {{ name: "{name}" type: CONVOLUTION bottom: "x" top: "{name}"
            param: "w" param: "b" {mode}
            convolution_param {{ num_output: 4 kernel_size: 3 }} }}'''
    w, b, x = normal(4, 4, 3, 3), normal(4), normal(2, 4, 9, 7)
    other = {"p": [normal(4, 4, 3, 3), normal(4)], "q": [w, b]}
    for weights in ({"p": [w, b]}, other):
        for y in both(text, weights_file(weights, "legacy", "layers"), tmp_path, x).values():
            close(y, ops.conv.conv(x, w, b))


def test_weights_of_a_branch_that_only_training_has_do_not_count(tmp_path):
    text = siamese() + layer("Convolution", "t", f"include {{ phase: TRAIN }} {SHARED}")
    w, x = [normal(4, 4, 3, 3), normal(4)], normal(2, 4, 9, 7)
    y = both(text, {"q": w, "t": [normal(4, 4, 3, 3), normal(4)]}, tmp_path, x)
    close(y["p"], ops.conv.conv(x, *w))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_convolution_of_several_bottoms(count, tmp_path):
    names = "abc"[:count]
    text = "".join(
        f'input: "{name}" input_shape {{ dim: 1 dim: 4 dim: 9 dim: 7 }}' for name in names
    )
    tops = " ".join(f'top: "{name}y"' for name in names)
    text += conv(
        "num_output: 6 kernel_size: 3 stride: 2 group: 2", "c", bottom=" ".join(names)
    ).replace('top: "c"', tops)
    w, b = normal(6, 2, 3, 3), normal(6)
    graph = read(text, {"c": [w, b]}, tmp_path)
    assert len(graph.initializers) == 2
    x = {name: normal(2, 4, 9, 7) for name in names}
    for name, y in interpret.run(graph, x).items():
        close(y, ops.conv.conv(x[name[0]], w, b, strides=(2, 2), group=2))


def test_numbers_of_bottoms_and_tops(tmp_path):
    text = INPUT + conv("num_output: 2 kernel_size: 3", "c", bottom="x x")
    text += layer("ReLU", "r").replace('top: "r"', 'top: "r" top: "s"')
    text += layer("Pooling", "m", "pooling_param { pool: AVE kernel_size: 2 }").replace(
        'top: "m"', 'top: "m" top: "mask"'
    )
    text += layer("Concat", "z").replace('bottom: "x"', "")
    text += 'input: "small" input_shape { dim: 1 dim: 4 dim: 3 dim: 7 }'
    text += conv("num_output: 2 kernel_size: 3", "d", bottom="x small").replace(
        'top: "d"', 'top: "d" top: "e"'
    )
    refuse(
        text,
        {"d": [normal(2, 4, 3, 3), normal(2)]},
        tmp_path,
        "'c' (Convolution): has 2 bottoms and 1 tops, expected as many tops as bottoms",
        "'r' (ReLU): has 1 bottoms and 2 tops, expected 1 and 1",
        "'m' (Pooling): has 2 tops, of which only a MAX pool",
        "'z' (Concat): has 0 bottoms and 1 tops",
        "'d' (Convolution): its bottoms have shapes [0, 4, 9, 7] and [0, 4, 3, 7]",
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_in_place_layers_on_an_input(count, tmp_path):
    """The input keeps its name; who reads the blob later reads the last value."""
    scales = normal(count, 4)
    text = INPUT + "".join(layer("Scale", f"s{i}", top="x") for i in range(count))
    text += layer("Softmax", "y")
    weights = {f"s{i}": [scale] for i, scale in enumerate(scales)}
    x = normal(2, 4, 9, 7)
    graph = read(text, weights, tmp_path)
    assert [value.name for value in graph.inputs] == ["x"]
    scaled = x * scales.astype(np.float64).prod(0)[:, None, None]
    close(run(graph, x), ops.normalize.softmax(scaled, axis=1))
    text = 'input: "x" input_shape { dim: 1 dim: 4 dim: 9 dim: 7 }' + text[len(INPUT) :]
    close(run(read(text, weights, tmp_path), x), ops.normalize.softmax(scaled, axis=1))
    net = linnet.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    close(net(x), ops.normalize.softmax(scaled, axis=1))


def test_in_place_layers_alone(tmp_path):
    text = INPUT + layer("Scale", "s", top="x") + layer("ReLU", "r", top="x")
    graph = read(text, {"s": [np.full(4, -2, np.float32)]}, tmp_path)
    x = normal(2, 4, 9, 7)
    (y,) = interpret.run(graph, {"x": x}).values()
    close(y, np.maximum(-2 * x, 0))


def caffes_pool(x, kernel, stride, pad, average):
    """Caffe's loops: a window is cut where the padded image ends, and its area counts."""
    size = x.shape[2:]
    count = [-(-(n + 2 * p - k) // s) + 1 for n, k, s, p in zip(size, kernel, stride, pad)]
    if any(pad):
        count = [c - ((c - 1) * s >= n + p) for c, n, s, p in zip(count, size, stride, pad)]
    y = np.empty((*x.shape[:2], *count))
    for index in np.ndindex(*count):
        begin = [i * s - p for i, s, p in zip(index, stride, pad)]
        end = [min(b + k, n + p) for b, k, n, p in zip(begin, kernel, size, pad)]
        area = (end[0] - begin[0]) * (end[1] - begin[1])
        inside = x[:, :, max(begin[0], 0) : end[0], max(begin[1], 0) : end[1]]
        y[(..., *index)] = inside.sum((2, 3)) / area if average else inside.max((2, 3))
    return y


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    "geometry",  # size, kernel, stride, pad
    [
        ((2, 2), (3, 3), (2, 2), (0, 0)),
        ((1, 1), (2, 2), (2, 2), (0, 0)),
        ((4, 4), (7, 7), (4, 4), (1, 1)),
        ((3, 9), (5, 2), (4, 2), (0, 0)),  # along one axis
        ((9, 3), (2, 5), (3, 3), (0, 1)),  # fits with its padding
        ((2, 7), (6, 3), (5, 2), (1, 0)),
        ((1, 5), (3, 4), (3, 1), (0, 1)),
    ],
)
def test_pools_whose_window_is_larger_than_the_image(pool, geometry, tmp_path):
    size, kernel, stride, pad = geometry
    text = INPUT.replace("dim: 9 dim: 7", f"dim: {size[0]} dim: {size[1]}")
    settings = " ".join(
        f"{name}_h: {h} {name}_w: {w}"
        for name, (h, w) in (("kernel", kernel), ("stride", stride), ("pad", pad))
    )
    text += layer("Pooling", "y", f"pooling_param {{ pool: {pool} {settings} }}")
    x = normal(2, 4, *size)
    expected = caffes_pool(x, kernel, stride, pad, pool == "AVE")
    close(run(read(text, None, tmp_path), x), expected)
    close(linnet.load(tmp_path / "net.prototxt")(x), expected)


def test_pools_that_are_larger_than_caffe_takes(tmp_path):
    text = INPUT + layer("Pooling", "a", "pooling_param { kernel_size: 11 stride: 1 }")
    text += layer("Pooling", "b", "pooling_param { kernel_size: 8 stride: 2 round_mode: FLOOR }")
    text += layer("Pooling", "c", "pooling_param { kernel_size: 9 stride: 2 }")
    refuse(text, None, tmp_path, "3 problems", "'a' (MaxPool): window", "'b'", "'c'")


BOM = "\ufeff"


@pytest.mark.parametrize(
    "data",
    [
        (BOM + "{0}").encode(),
        (BOM + "# Netz für Äpfel\r\n{0}").encode(),
        (BOM + "{0}").encode("utf-16-le"),
        (BOM + "{0} # 网络").encode("utf-16-be"),
        '# Netz für "Äpfel\n{0} # für'.encode("latin-1"),
        "# 网络\\\n{0}#网'".encode("gbk"),
        'name: "a # b" # ü\n{0}'.encode("latin-1"),
        'name: "网络" # 网络\n{0}'.encode("gbk"),
        b"# old Macs\r{0}\r",
        b"force_backward: true {0}",
    ],
)
def test_text_in_any_encoding(data, tmp_path):
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding = ("utf-16-le" if data[:1] == b"\xff" else "utf-16-be") if wide else "ascii"
    text = INPUT + layer("ReLU")
    (tmp_path / "net.prototxt").write_bytes(
        data.replace("{0}".encode(encoding), text.encode(encoding))
    )
    assert formats.read(tmp_path / "net.prototxt").outputs == ["y"]
    (tmp_path / "net").write_bytes((tmp_path / "net.prototxt").read_bytes())
    assert formats.read(tmp_path / "net").outputs == ["y"]  # known by its content, too


def test_weights_of_layers_elsewhere_do_not_matter(tmp_path):
    weights = {"other": [normal(3)], "y": [normal(2, 4, 1, 1), normal(2)]}
    read(INPUT + conv("num_output: 2 kernel_size: 1"), weights, tmp_path)


@pytest.mark.parametrize(
    "settings", ["", "axis: 1", "axis: -3", "concat_dim: 1"], ids=lambda text: text or "default"
)
def test_channels_are_concatenated(settings, tmp_path):
    settings = f"concat_param {{ {settings} }}" if settings else ""
    text = INPUT + conv("num_output: 3 kernel_size: 1", "c")
    text += layer("Concat", "y", settings, bottom="c x c")
    text += layer("Concat", "one", "concat_param { axis: 0 }")
    weights = {"c": [normal(3, 4, 1, 1), normal(3)]}
    graph = read(text, weights, tmp_path)
    x = normal(2, 4, 9, 7)
    values = interpret.run(graph, {"x": x}, fetch=["y", "one"])
    c = ops.conv.conv(x, *weights["c"])
    close(values["y"], np.concatenate([c, x, c], 1))
    np.testing.assert_array_equal(values["one"], x)
    old = text.replace('"Convolution"', "CONVOLUTION").replace('"Concat"', "CONCAT")
    old = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7' + old[len(INPUT) :]
    old = old.replace("layer {", "layers {")
    again = read(old, weights_file(weights, field="layers"), tmp_path)
    np.testing.assert_array_equal(run(again, x), values["y"])


def test_everything_unsupported_is_reported_at_once(tmp_path):
    text = INPUT + layer("Filter", "norm") + layer("ReLU", "after", bottom="norm")
    text += conv("num_output: 2 kernel_size: 1", "follows", bottom="norm")
    text += layer("LSTM", "sequence")
    text += layer("Eltwise", "prod", "eltwise_param { operation: PROD coeff: 1 }", bottom="x x")
    text += layer("Eltwise", "coeff", "eltwise_param { coeff: -1 }", bottom="x x")
    text += layer("Python", "py", 'python_param { module: "a" layer: "B" }')
    text += layer("Pooling", "gap", "pooling_param { kernel_size: 1 stride: 5 }")
    text += layer("Softmax", "batch", "softmax_param { axis: 0 }")
    text += layer("Concat", "images", "concat_param { concat_dim: 0 }", bottom="x x")
    text += layer("Concat", "wide", "concat_param { axis: 3 }", bottom="x x")
    text += layer("Concat", "two", "concat_param { axis: 1 concat_dim: 1 }", bottom="x x")
    text += layer("BatchNorm", "stats", "batch_norm_param { use_global_stats: false }")
    text += layer("Data", "data").replace('bottom: "x"', "")
    text += conv("num_output: 2 kernel_size: 1", "missing")
    text += conv("num_output: 2 kernel_size: 3", "shape")
    text += conv("num_output: 2 kernel_size: 3", "count")
    text += conv("kernel_size: 3", "outputs")
    text += conv("num_output: 2", "kernel")
    text += conv("num_output: 2 kernel_size: 1 kernel_h: 2", "both")
    text += conv("num_output: 2 kernel_size: 1 kernel_size: 1 kernel_size: 1", "three")
    text += conv("num_output: 3 kernel_size: 3 group: 2", "group")
    text += conv("num_output: 2 kernel_size: 11", "large")
    text += layer("ReLU", "early", bottom="late") + layer("ReLU", "late")
    text += layer("InnerProduct", "rows", "inner_product_param { num_output: 3 axis: 0 }")
    text += layer("Flatten", "join", "flatten_param { axis: 0 }")
    text += layer("Scale", "rowscale", "scale_param { axis: 0 }")
    text += layer("Softmax", "again", top="late")
    weights = {
        "shape": [normal(2, 4, 3, 5), normal(2)],
        "count": [normal(2, 4, 3, 3)],
        "group": [normal(3, 2, 3, 3), normal(3)],
        "large": [normal(2, 4, 11, 11), normal(2)],
    }
    said = refuse(
        text,
        weights,
        tmp_path,
        "net.prototxt: 25 problems",
        "'norm' (Filter): layers of this type are not supported",
        "'sequence' (LSTM): layers of this type are not supported: they keep a state",
        "'prod' (Eltwise): has 1 coefficients",
        "'coeff' (Eltwise): has 1 coefficients",
        "'py' (Python): layers written in Python are not supported (a.B)",
        "'gap' (Pooling): its last window lies outside the image",
        "'batch' (Softmax): over the batch",
        "'images' (Concat): over the batch",
        "'two' (Concat): has both axis and concat_dim",
        "'stats' (BatchNorm): use_global_stats",
        "'data' (Data): reads a data set; instead, write an Input layer",
        "'missing' (Convolution): has no weights in ",
        "'shape' (Convolution): ",
        "blob 0 has shape [2, 4, 3, 5], expected [2, 4, 3, 3]",
        "'count' (Convolution): has 1 blobs in ",
        "'outputs' (Convolution): num_output 0",
        "'kernel' (Convolution): num_output 2, kernel [0, 0]",
        "'both' (Convolution): has both kernel_size and kernel_h",
        "'three' (Convolution): has 3 values of kernel_size",
        "'group' (Conv): group 2 does not divide 3",
        "'large' (Conv): window 11x11 does not fit the input Nx4x9x7",
        "'early' (ReLU): no layer before it produces its bottom 'late'",
        "'rows' (InnerProduct): num_output 3 or axis 0",
        "'join' (Flatten): axes 0 to 3",
        "'rowscale' (Scale): parameters for every image",
        "'again' (Softmax): its top 'late' is already produced",
    )
    assert "'after'" not in said
    assert "'follows'" not in said


def test_missing_weights_are_one_clear_error(tmp_path):
    text = (
        INPUT
        + conv("num_output: 2 kernel_size: 1", "c1")
        + conv("num_output: 2 kernel_size: 1", "c2")
    )
    refuse(text, None, tmp_path, "layers with weights (c1, c2) need the .caffemodel")


def test_networks_without_input_or_layers(tmp_path):
    refuse("", None, tmp_path, "has no layers that compute something")
    refuse(INPUT, None, tmp_path, "has no layers that compute something")
    refuse(INPUT + INPUT + layer("ReLU"), None, tmp_path, "'x' is defined twice")
    refuse(layer("ReLU"), None, tmp_path, "no layer before it produces its bottom 'x'")
    for dims in ("input_dim: 1 input_dim: 2", "input_shape { dim: 1 } input_shape { dim: 2 }", ""):
        refuse(f'input: "x" {dims}' + layer("ReLU"), None, tmp_path, "1 'input' and")
    for dims in ("", "dim: 1 dim: 0", "dim: 1 dim: -3", "dim: 1 dim: 9223372036854775807"):
        refuse(
            f'input: "x" input_shape {{ {dims} }}' + layer("ReLU"), None, tmp_path, "the shape ["
        )
    text = INPUT.replace("shape { dim: 1 dim: 4 dim: 9 dim: 7 }", "")
    refuse(text + layer("ReLU"), None, tmp_path, "'x' (Input) has 0 shapes")


def test_images_from_memory_are_an_input(tmp_path):
    data = "memory_data_param { batch_size: 1 channels: 4 height: 9 width: 7 }"
    text = layer("MemoryData", "d", data, top="x").replace('bottom: "x"', "")
    text = text.replace('top: "x"', 'top: "x" top: "label"') + layer("ReLU")
    text += layer("SoftmaxWithLoss", "loss", bottom="y label")
    graph = read(text, None, tmp_path)
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.outputs == ["y"]
    x = normal(2, 4, 9, 7)
    close(run(graph, x), np.maximum(x, 0))
    refuse(text.replace("width: 7", ""), None, tmp_path, "'d' (MemoryData): reads a data set")
    refuse(text.replace("width: 7", "width: 7 wide: 7"), None, tmp_path, "'d' (MemoryData): ")


OLD = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7'


def test_layers_of_the_form_of_2014(tmp_path):
    """Types whose settings have other numbers there."""
    x = normal(2, 4, 9, 7)
    flat = x.reshape(2, -1)
    square = np.pad(x * x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = sum(square[:, :, i : i + 9, j : j + 7] for i in range(3) for j in range(3)) / 9
    expected = {
        "ABSVAL": ("", np.abs(x)),
        "ARGMAX": (
            "argmax_param { out_max_val: true }",
            np.stack([flat.argmax(1), flat.max(1)], 1).reshape(2, 2, 1, 1),
        ),
        "BNLL": ("", np.log1p(np.exp(x))),
        "EXP": ("exp_param { base: 2 scale: 0.5 }", 2 ** (x / 2)),
        "MVN": (
            "mvn_param { normalize_variance: false across_channels: true }",
            x - x.mean((1, 2, 3), keepdims=True),
        ),
        "THRESHOLD": ("threshold_param { threshold: 0.5 }", (x > 0.5).astype(np.float32)),
        "LRN": (
            "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }",
            x * (1 + around) ** -0.75,
        ),
    }
    for kind, (settings, y) in expected.items():
        text = f'{OLD} layers {{ name: "y" type: {kind} bottom: "x" top: "y" {settings} }}'
        close(run(read(text, None, tmp_path), x), y)
    text = f"""{OLD} layers {{ name: "s" type: SLICE bottom: "x" top: "a" top: "b"
            slice_param {{ slice_dim: 2 slice_point: 4 }} }}
        layers {{ name: "y" type: DECONVOLUTION bottom: "b" top: "y"
            convolution_param {{ num_output: 3 kernel_size: 2 stride: 2 }} }}
        layers {{ name: "e" type: ELTWISE bottom: "a" bottom: "a" top: "e"
            eltwise_param {{ operation: MAX }} }}"""
    w, b = normal(4, 3, 2, 2), normal(3)
    graph = read(text, weights_file({"y": [w, b]}, "legacy", "layers"), tmp_path)
    y = np.einsum("nchw,ckrs->nkhrws", x[:, :, 4:], w).reshape(2, 3, 10, 14)
    close(run(graph, x), y + b[:, None, None])
    close(run(graph, x, "e"), x[:, :, :4])


@pytest.mark.parametrize(
    "text",
    [
        "layer {",
        "layer { name: 3 }",
        "layers { type: CONVOLUTED }",
        "layers { type: 'Convolution' }",
        "input_dim: many",
        "layer { convolution_param { pad: -1 } }",
        "a { " * 100_000,
        "\0\1\2",
    ],
)
def test_text_that_is_no_network(text, tmp_path):
    refuse(text, None, tmp_path, "not a network in Caffe's text form")


OF_2013 = """input: "x" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7
    layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "p" }
    layers { layer { name: "y" type: "conv" num_output: 6 kernelsize: 3 blobs_lr: 1 }
             bottom: "p" top: "y" }"""


def test_the_form_of_2013(tmp_path):
    """What Caffe computes of it is in test_formats_caffe_real.py."""
    w, b, x = normal(6, 4, 3, 3), normal(6), normal(2, 4, 9, 7)
    net = _schema.caffe("TrainedParameter")()
    entry = net.layers.add().layer
    entry.name = "y"
    entry.blobs.extend([blob(w, "legacy"), blob(b, "legacy")])
    expected = ops.conv.conv(x, w, b, pads=(2, 2, 2, 2))
    for weights in (net.SerializeToString(), weights_file({"y": [w, b]})):
        close(run(read(OF_2013, weights, tmp_path), x), expected)
    whole = _schema.caffe("NetParameter")(input=["x"], input_dim=[1, 4, 9, 7])
    for kind, top, bottom in (("padding", "p", "x"), ("conv", "y", "p")):
        entry = whole.layers.add(top=[top], bottom=[bottom]).layer
        entry.name, entry.type = top, kind
    whole.layers[0].layer.pad = 2
    entry.num_output, entry.kernelsize = 6, 3
    entry.blobs.extend([blob(w, "legacy"), blob(b, "legacy")])
    (tmp_path / "net.caffemodel").write_bytes(whole.SerializeToString())
    graph = passes.canonicalize(formats.read(tmp_path / "net.caffemodel"))
    close(run(graph, x), expected)


def test_what_is_wrong_in_the_form_of_2013(tmp_path):
    refuse(
        OF_2013.replace('"conv"', '"cnov"'), None, tmp_path, "'y' (cnov): layers of this type are"
    )
    refuse(OF_2013.replace("blobs_lr", "blobs_rl"), None, tmp_path, "not known: layer.blobs_rl")
    refuse(OF_2013.replace('bottom: "p"', 'bottom: "q"'), None, tmp_path, "produces its bottom 'q'")
    refuse(OF_2013.replace('"conv"', '"relu"'), None, tmp_path, "produces its bottom 'p'")
    refuse(OF_2013.replace('"conv"', '"data"'), None, tmp_path, "'y' (Data): reads a data set")
    refuse(
        INPUT + "layers { type: RELU bottom: 'x' top: 'y' }",
        None,
        tmp_path,
        "both 'layer' and 'layers'",
    )


def test_weights_files_of_another_kind(tmp_path):
    text = INPUT + conv("num_output: 2 kernel_size: 1")
    for data in (b"", b"\xff" * 100, bytes(100), b"hello", weights_file({"y": [normal(2)]})[:-3]):
        refuse(text, data, tmp_path, "not a caffemodel")
    refuse(text, b"\xa2\x06\x02\x0a\x00", tmp_path, "'y' (Convolution): has no weights")
    for form in ("packed", "legacy", "double"):
        refuse(text, blob(normal(3, 4, 5), form).SerializeToString(), tmp_path, "holds an image")
    with pytest.raises(ValueError, match="holds weights only"):
        formats.read(tmp_path / "net.caffemodel", tmp_path / "net.prototxt")


def test_weights_in_hdf5(tmp_path):
    """As Net.save_hdf5 of Caffe writes them (data/caffe/make_layers.py)."""
    h5py = pytest.importorskip("h5py", reason="the test extra is not installed")
    prototxt = DATA / "caffe" / "input_shape.prototxt"
    nets = [linnet.load(prototxt, prototxt.with_suffix(f".{s}")) for s in ("caffemodel", "h5")]
    x = [normal(2, *value.shape[1:]) for value in nets[0].inputs]
    for found, expected in zip(*(net.run(x) for net in nets)):
        np.testing.assert_array_equal(found, expected)
    refuse(prototxt.read_text(), b"\x89HDF\r\n\x1a\n", tmp_path, "damaged, or not an HDF5 file")
    with h5py.File(tmp_path / "other.h5", "w") as root:
        root["weights/y/0"] = normal(2)
    with pytest.raises(ValueError, match="holds no weights of Caffe's"):
        formats.read(prototxt, tmp_path / "other.h5")


def test_absurd_sizes(tmp_path):
    long = INPUT.replace("dim: 4 dim: 9 dim: 7", "dim: 2147483647 dim: 2147483647 dim: 2147483647")
    refuse(long + layer("Flatten"), None, tmp_path, "'y' (Flatten)", "too large")
    refuse(long + layer("InnerProduct", "y", "inner_product_param { num_output: 1 }"), {}, tmp_path)
    for dim in (1 << 31, (1 << 63) - 1):
        settings = f"reshape_param {{ shape {{ dim: 0 dim: {dim} dim: -1 }} }}"
        refuse(INPUT + layer("Reshape", "y", settings), None, tmp_path, "'y' (Reshape)")


def test_absurd_blobs(tmp_path):
    text = INPUT + conv("num_output: 2 kernel_size: 1 bias_term: false")
    huge = _schema.caffe("NetParameter")()
    for dims in ([2, 4, 1, 1 << 62], [-2, -4, 1, 1], [], [1] * 100):
        del huge.layer[:]
        huge.layer.add(name="y").blobs.add().shape.dim.extend(dims)
        refuse(
            text, huge.SerializeToString(), tmp_path, "'y' (Convolution)", "expected [2, 4, 1, 1]"
        )
    del huge.layer[:]
    huge.layer.add(name="y").blobs.add().shape.dim.extend([2, 4, 1, 1])
    refuse(text, huge.SerializeToString(), tmp_path, "holds 0 values, its shape needs 8")
    refuse(
        INPUT + conv("num_output: 4294967295 kernel_size: 4294967295"),
        {"y": [normal(2)] * 2},
        tmp_path,
    )
    refuse(
        INPUT + layer("Pooling", "y", "pooling_param { kernel_size: 3 pad: 4000000000 }"),
        None,
        tmp_path,
    )


@pytest.mark.parametrize("kind", ["prototxt", "caffemodel"])
def test_damaged_files_are_value_errors(kind, tmp_path):
    """Truncations and changed bytes: a graph or a ValueError, nothing else."""
    source = DATA / "caffe" / "batchnorm.prototxt"
    files = {path.suffix: path.read_bytes() for path in (source, source.with_suffix(".caffemodel"))}
    data = files[f".{kind}"]
    generator = random.Random(11)
    wrong = [data[: generator.randrange(len(data))] for _ in range(80)]
    for _ in range(220):
        changed = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        wrong.append(bytes(changed))
    refused = 0
    for case in wrong:
        for suffix, content in {**files, f".{kind}": case}.items():
            (tmp_path / f"net{suffix}").write_bytes(content)
        try:
            graph = formats.read(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
            build(passes.canonicalize(graph))
        except ValueError as error:
            assert "net." in str(error)
            refused += 1
    assert refused > len(wrong) // 3
