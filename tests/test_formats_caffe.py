"""The Caffe importer against stored results of Caffe 1.0, and against files that are wrong."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import linnet
from linnet import core, formats, interpret, ops, passes
from linnet.core import build
from linnet.formats import _schema

DATA = Path(__file__).parent / "data"
FIXTURES = sorted((DATA / "caffe").glob("*.prototxt"))

# Values of Caffe's that folding merges into another: their blobs are not computed any more.
FOLDED = {"batchnorm": {"conv1", "bn1"}, "inner_product": {"drop"}}

RANDOM = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def seeded():
    """The same numbers for a test whatever ran before it."""
    RANDOM.bit_generator.state = np.random.default_rng(3).bit_generator.state


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def close(a, b):
    """Within float32 rounding of results this size."""
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1, np.abs(b).max()))


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


# --- files written here ---------------------------------------------------------------------------

INPUT = """
layer {
  name: "x" type: "Input" top: "x"
  input_param { shape { dim: 1 dim: 4 dim: 9 dim: 7 } }
}
"""


def layer(kind, name="y", settings="", bottom="x", top=None):
    bottoms = " ".join(f'bottom: "{blob}"' for blob in bottom.split())
    return f'\nlayer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or name}" {settings} }}'


def conv(settings, name="y", **names):
    return layer("Convolution", name, f"convolution_param {{ {settings} }}", **names)


def blob(array, form="packed"):
    proto = _schema.caffe("BlobProto")()
    if form == "legacy":
        dims = (1,) * (4 - array.ndim) + array.shape
        proto.num, proto.channels, proto.height, proto.width = dims
    else:
        proto.shape.dim.extend(array.shape)
    if form == "double":
        proto.double_data.append(array.astype(np.float64).tobytes())
    elif form == "chunks":  # a packed field may come in pieces
        proto.data.extend([array.ravel()[:3].tobytes(), array.ravel()[3:].tobytes()])
    elif form == "unpacked":  # one tag (field 5, 32 bits) per value
        values = (b"\x2d" + value.tobytes() for value in array.ravel())
        proto.MergeFromString(b"".join(values))
    else:
        proto.data.append(array.tobytes())
    return proto


def weights_file(weights, form="packed", field="layer"):
    net = _schema.caffe("NetParameter")()
    for name, arrays in weights.items():
        entry = getattr(net, field).add(name=name)
        entry.blobs.extend(blob(array, form) for array in arrays)
    return net.SerializeToString()


def read(text, weights, folder):
    (folder / "net.prototxt").write_text(text)
    if weights is not None:
        data = weights if isinstance(weights, bytes) else weights_file(weights)
        (folder / "net.caffemodel").write_bytes(data)
        weights = folder / "net.caffemodel"
    return passes.canonicalize(formats.read(folder / "net.prototxt", weights))


def refuse(text, weights, folder, *said):
    with pytest.raises(ValueError, match=r"net\.(prototxt|caffemodel)") as error:
        read(text, weights, folder)
    for part in said:
        assert part in str(error.value)
    return str(error.value)


def run(graph, x, name="y"):
    return interpret.run(graph, {"x": x}, fetch=[name])[name]


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
        'num_output: 2 kernel_size: 1 engine: CAFFE weight_filler { type: "xavier" } forks: [1, 2]'
    ).replace("convolution_param", "param { lr_mult: 1 } param < decay_mult: 0 > convolution_param")
    assert read(text, {"y": [normal(2, 4, 1, 1), normal(2)]}, tmp_path).outputs == ["y"]


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
    text = INPUT + layer("LRN", "norm") + layer("ReLU", "after", bottom="norm")
    text += conv("num_output: 2 kernel_size: 1", "follows", bottom="norm")
    text += layer("PReLU", "prelu") + layer("ReLU", "leaky", "relu_param { negative_slope: 0.1 }")
    text += layer("Eltwise", "prod", "eltwise_param { operation: PROD }", bottom="x x")
    text += layer("Eltwise", "coeff", "eltwise_param { coeff: 1 coeff: -1 }", bottom="x x")
    text += layer("Pooling", "random", "pooling_param { pool: STOCHASTIC kernel_size: 2 }")
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
    text += layer("InnerProduct", "rows", "inner_product_param { num_output: 3 axis: 2 }")
    text += layer("Flatten", "join", "flatten_param { axis: 0 }")
    text += layer("Scale", "rowscale", "scale_param { axis: 2 }")
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
        "net.prototxt: 27 problems",
        "'norm' (LRN): layers of this type are not supported",
        "'prelu' (PReLU): layers of this type",
        "'leaky' (ReLU): negative_slope 0.1",
        "'prod' (Eltwise): only the operation SUM",
        "'coeff' (Eltwise): a sum with coefficients",
        "'random' (Pooling): stochastic",
        "'gap' (Pooling): its last window lies outside the image",
        "'batch' (Softmax): over the batch",
        "'images' (Concat): over the batch",
        "'wide' (Concat): axis 3 of Nx4x9x7: only channels (axis 1)",
        "'two' (Concat): has both axis and concat_dim",
        "'stats' (BatchNorm): use_global_stats",
        "'data' (Data): reads a data set",
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
        "'rows' (InnerProduct): num_output 3 or axis 2",
        "'join' (Flatten): axes 0 to 3",
        "'rowscale' (Scale): only parameters per channel",
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


def test_forms_before_2014_are_told_apart(tmp_path):
    text = 'layers { layer { name: "c" type: "conv" } bottom: "x" top: "c" }'
    refuse(text, None, tmp_path, "before 2014")
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
    refuse(text, b"\x89HDF\r\n\x1a\n", tmp_path, "HDF5")
    refuse(text, b"\xa2\x06\x02\x0a\x00", tmp_path, "'y' (Convolution): has no weights")
    with pytest.raises(ValueError, match="holds weights only"):
        formats.read(tmp_path / "net.caffemodel", tmp_path / "net.prototxt")


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
