"""What operators mean, and linnet itself, against the node tests of the ONNX project.

Each is a model of one operator (or a few) with inputs and expected outputs, in its newest form.
Their weights are graph inputs; linnet takes weights as constants, so they are made initializers.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter

import numpy as np
import pytest

import linnet
from linnet import formats, interpret, passes
from linnet.graph import ELEMENT_TYPES, OWN_OPERATORS, Value
from linnet.ops import OPERATORS as TABLE
from linnet.ops.qlinear import MICROSOFT

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")

# fmt: off
OPERATORS = {
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil",
    "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvInteger",
    "ConvTranspose", "DepthToSpace", "DequantizeLinear", "Div", "Dropout",
    "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor",
    "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool",
    "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
    "InstanceNormalization", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "LpPool", "MatMul",
    "MatMulInteger", "Max", "MaxPool",
    "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mul", "Neg", "NonMaxSuppression",
    "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear", "RNN", "Range", "Reciprocal",
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize",
    "RoiAlign", "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid",
    "Sign", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Upsample", "Where",
}
# fmt: on

TYPES = {ELEMENT_TYPES[name] for name in ("float32", "float16", "int8", "uint8", "int16", "int32")}
TYPES |= {ELEMENT_TYPES[name] for name in ("int64", "bool")}
ELEMENTWISE = {"Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum"}
ELEMENTWISE |= {"And", "Greater", "Less", "Or"}
COMPUTED = {
    "GatherElements": 2,
    "GridSample": 2,
    "MaxRoiPool": 2,
    "NonMaxSuppression": 2,
    "RoiAlign": 3,
}  # inputs that are no weights

# Node tests of these operators that linnet refuses: the reason, and a part of what it has to say.
EXCLUDED = {
    ("windows and grids have two dimensions", "only 2-D"): "convtranspose_3d",
    ("windows and grids have two dimensions", "expected 4 axes"): """
        gridsample_volumetric_bilinear_align_corners_0
        gridsample_volumetric_bilinear_align_corners_1
        gridsample_volumetric_nearest_align_corners_0
        gridsample_volumetric_nearest_align_corners_1
    """,
    ("inference only", "only its first output"): """
        batchnorm_epsilon_training_mode batchnorm_example_training_mode
    """,
    ("inference only", "training_mode"): """
        training_dropout training_dropout_default training_dropout_default_mask
        training_dropout_mask
    """,
    ("how many depends on the data", "constants only"): """
        constantofshape_float_ones constantofshape_int_shape_zero constantofshape_int_zeros
        nonzero_example range_float16_type_positive_delta range_float_type_positive_delta
    """,
    ("scales of blocks are not computed", "scales of blocks"): """
        dequantizelinear_blocked quantizelinear_blocked_asymmetric
        quantizelinear_blocked_symmetric
    """,
    ("places of int64 are not looked for", "only float32"): "top_k_same_values_2d",
    ("places of int64 are not looked for", "over the batch"): """
        top_k_same_values top_k_same_values_largest
    """,
    ("no result is empty", "has an axis of 0"): "reshape_allowzero_reordered",
    ("no result is empty", "nothing is left"): "slice_start_out_of_bounds",
    ("no result is empty", "batch cannot be cut"): """
        split_zero_size_splits_opset13 split_zero_size_splits_opset18
    """,
    ("no result is empty", "is a constant"): "shape_start_greater_than_end",
    ("a model has an input", "is a constant"): "constant",
    ("values have at most four axes there", "over the batch"): "mvn",
}
REFUSALS = {f"test_{name}": said for (_, said), names in EXCLUDED.items() for name in names.split()}


# ONNX's text, ONNX Runtime and PyTorch align corners to the output's size, which is rounded.
OTHERS = "its node tests take a size that is not rounded"

# Node tests of operators in the table that have no meaning here, and why.
NO_MEANING = {
    "windows have two dimensions": r"causal_conv_.*|convtranspose_3d",
    "grids have two dimensions": "gridsample_volumetric_.*",
    "inference only": r"batchnorm_.*_training_mode|training_dropout(_default|_mask|_default_mask)?",
    "a tie in float32 is none in float64": "dynamicquantizelinear_expanded",
    "scales of blocks are not computed": "(de)?quantizelinear_blocked.*",
    OTHERS: "resize_downsample_scales_(linear|cubic)_align_corners",
    "nothing to compare": "reduce_(min|max)_empty_set.*",
    "sequences and optional values are no arrays": r"(identity|if)_(seq.*|opt)|loop1._seq.*",
    "a batch of loops was in opset 8 alone": "scan_sum",
    "no such type": r".*(float8|float4|bfloat16|e4m3fn|e5m2|e8m0|int4|int2(_|$)).*",
}


def node_tests():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for opset in (opset for test in tests for opset in test.model.opset_import):
        if opset.domain == "":  # those of Not say 1, since when nothing of theirs has changed
            opset.version = max(opset.version, 7)
    return {t.name: (t, {node.op_type for node in t.model.graph.node}) for t in tests}


EVERY = node_tests()


def typed(case):
    """Whether all its inputs and outputs have types that linnet has."""
    values = [*case.model.graph.input, *case.model.graph.output]
    return all(value.type.tensor_type.elem_type in TYPES for value in values)


NOT_RUN = {
    "test_range_int32_type_negative_delta",  # its inputs have no axes
    "test_dynamicquantizelinear",  # a tie in float32 is none in float64
    "test_dynamicquantizelinear_expanded",
}
CASES = {
    name: case
    for name, (case, used) in EVERY.items()
    if used <= OPERATORS
    and typed(case)
    and not re.fullmatch(f"test_{NO_MEANING[OTHERS]}", name)
    and "_empty_set" not in name  # an input of no numbers is one of any size
    and name not in NOT_RUN
}
MEANT = {
    name: case
    for name, (case, used) in EVERY.items()
    if used <= {*TABLE, "Constant"}
    and not any(re.fullmatch(f"test_({p})", name, re.I) for p in NO_MEANING.values())
}
ACCEPTED = sorted(CASES.keys() - REFUSALS.keys())


def write(case, path):
    """Save the model with its weights as initializers; {input: array} and the expected outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, outputs = map(arrays, case.data_sets[0])
    elementwise = model.graph.node[0].op_type in ELEMENTWISE
    computed = COMPUTED.get(model.graph.node[-1].op_type, 1)
    feeds, kept = {}, []
    for info, array in zip(case.model.graph.input, inputs):
        if len(feeds) < computed or (elementwise and array.shape == inputs[0].shape):
            feeds[info.name] = array
            kept.append(info)
        else:
            weight = onnx.numpy_helper.from_array(np.asarray(array), info.name)
            model.graph.initializer.append(weight)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnx.save(model, str(path))
    return feeds, outputs


def test_none_is_dropped_silently(capsys):
    assert REFUSALS.keys() <= CASES.keys()
    assert (len(ACCEPTED), len(REFUSALS)) == (848, 30)
    with capsys.disabled():
        print(f"\nONNX node tests: {len(ACCEPTED)} of {len(CASES)} run, {len(REFUSALS)} excluded:")
        counts = Counter()
        for (reason, _), names in EXCLUDED.items():
            counts[reason] += len(names.split())
        for reason, count in counts.most_common():
            print(f"  {count:2} {reason}")


@pytest.mark.parametrize("name", ACCEPTED)
def test_node(name, tmp_path):
    case = CASES[name]
    path = tmp_path / "node.onnx"
    feeds, expected = write(case, path)
    graph = passes.canonicalize(formats.read(path))
    net = linnet.load(path)
    for results in (list(interpret.run(graph, feeds).values()), net.run(None, feeds)):
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected):
            assert result.shape == wanted.shape
            np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=case.atol)

    if net.inputs[0].shape[0]:  # axis 0 is an axis like others
        return
    if any(node.op_type == "NonMaxSuppression" for node in case.model.graph.node):
        return  # which says of what image a result is
    # Any batch: three times the same images, three times the same results.
    repeated = {key: np.concatenate([array] * 3) for key, array in feeds.items()}
    for result, wanted in zip(net.run(None, repeated), expected):
        np.testing.assert_allclose(
            result, np.concatenate([wanted] * 3), rtol=case.rtol, atol=case.atol
        )


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_excluded_node_is_refused_with_the_reason(name, tmp_path):
    path = tmp_path / "node.onnx"
    write(CASES[name], path)
    with pytest.raises(ValueError, match=r"node\.onnx") as error:
        linnet.load(path)
    assert REFUSALS[name] in str(error.value)


def arrays(values):
    tensor = onnx.TensorProto
    return [
        onnx.numpy_helper.to_array(v) if isinstance(v, tensor) else np.asarray(v) for v in values
    ]


@pytest.mark.parametrize("name", sorted(MEANT))
def test_meaning(name, tmp_path):
    """Of the operators as they are, whatever linnet can run."""
    case = MEANT[name]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.input[:]
    onnx.save(model, str(tmp_path / "node.onnx"))
    graph = formats.read(tmp_path / "node.onnx")
    inputs, expected = map(arrays, case.data_sets[0])
    feeds = {info.name: array for info, array in zip(case.model.graph.input, inputs)}
    graph.inputs = [Value(key, array.shape, array.dtype) for key, array in feeds.items()]
    results = interpret.run(graph, feeds)
    for result, wanted in zip(results.values(), expected):
        assert result.shape == wanted.shape
        assert result.dtype.kind == wanted.dtype.kind
        np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=case.atol)


def test_every_operator_has_node_tests():
    used = Counter(node.op_type for case in MEANT.values() for node in case.model.graph.node)
    others = {
        "CombinedNonMaxSuppression",
        "CropAndResize",
        "DetectionOutput",
        "DetectionPostProcess",
        "MaxPoolWithPlaces",
        "PaddedNonMaxSuppression",
        "PSRoiPool",
        *OWN_OPERATORS,
        *MICROSOFT,
    }  # no operators of ONNX's
    others -= {"QuantizeLinear", "DequantizeLinear"}
    assert TABLE.keys() - used.keys() == {"GlobalLpPool", "MaxRoiPool", *others}
