"""Small TFLite models, one for each operator and each thing that is easily got wrong.

tests/data/tflite/make.py has LiteRT run them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tflite_models import Op, Tensor, constant, model, numbers

B, F = "B", "f"  # struct's types of options


class Case(NamedTuple):
    model: bytes
    inputs: list[Any]
    error: float = 1e-5  # of the root mean square


def i(value: int) -> tuple[str, int]:
    return ("i", value)


def b(value: int) -> tuple[str, int]:
    return ("b", value)


def of(
    kind: str,
    x: Any,
    y: Sequence[int],
    constants: Sequence[Any] = (),
    options: tuple[int, Mapping[int, Any]] | None = None,
    *,
    order: str = "",
    dtype: str = "float32",
    error: float = 1e-5,
    custom: bytes | None = None,
) -> Case:
    """One operator of x and constants, in this order or that of `order`, x and k0, k1, ..."""
    x = np.asarray(x)
    known = {f"k{n}": c if isinstance(c, Tensor) else constant(c) for n, c in enumerate(constants)}
    tensors = {"x": Tensor(x.shape, dtype=x.dtype.name), **known, "y": Tensor(y, dtype=dtype)}
    inputs = order.split(",") if order else ["x", *known]
    operators = [Op(kind, inputs, ["y"], options, custom)]
    return Case(model(tensors, operators, ["x"], ["y"]), [x], error)


def real(*shape: int, seed: int = 1) -> Tensor:
    return constant(numbers(*shape, seed=seed), "float32")


X = numbers(1, 6, 8, 4)
ODD = numbers(1, 7, 5, 3, seed=3)


def windows() -> dict[str, Case]:
    cases = {}
    for name, x, stride, padding, dilation in (
        ("even", X, 2, 0, 1),
        ("odd", numbers(1, 7, 5, 4), 2, 0, 1),
        ("valid", X, 2, 1, 1),
        ("dilated", X, 1, 0, 2),
    ):
        sizes = [-(-n // stride) if padding == 0 else (n - 3) // stride + 1 for n in x.shape[1:3]]
        options = {
            0: b(padding),
            1: i(stride),
            2: i(stride),
            3: b(1),
            4: i(dilation),
            5: i(dilation),
        }
        weights = [real(5, 3, 3, 4), real(5, seed=2)]
        cases[f"conv_{name}"] = of("CONV_2D", x, (1, *sizes, 5), weights, (1, options))
        options = {0: b(padding), 1: i(stride), 2: i(stride), 3: i(2), 4: b(3)}
        options.update({5: i(dilation), 6: i(dilation)})
        weights = [real(1, 3, 3, 8), real(8, seed=2)]
        cases[f"depthwise_{name}"] = of(
            "DEPTHWISE_CONV_2D", x, (1, *sizes, 8), weights, (2, options)
        )
        options = {0: b(padding), 1: i(stride), 2: i(stride), 3: i(3), 4: i(3)}
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"):
            if dilation == 1:
                cases[f"{kind}_{name}"] = of(kind, x, (1, *sizes, 4), (), (5, options))
    wide = {0: b(1), 1: i(1), 2: i(2), 3: b(2)}
    weights = [real(5, 3, 3, 4), real(5)]
    cases["conv_strides"] = of("CONV_2D", X, (1, 2, 6, 5), weights, (1, wide))
    grouped = {0: b(1), 1: i(1), 2: i(1)}
    cases["conv_grouped"] = of(
        "CONV_2D", X, (1, 4, 6, 6), [real(6, 3, 3, 2), real(6)], (1, grouped)
    )
    for name, window, stride, padding, size in (
        ("same", 3, 2, 0, (12, 16)),
        ("odd", 3, 2, 0, (11, 15)),
        ("valid", 4, 2, 1, (14, 18)),
        ("gaps", 2, 3, 1, (18, 24)),
        ("half", 2, 2, 0, (12, 16)),
    ):
        shape = np.array([1, *size, 5], np.int32)
        cases[f"transposed_{name}"] = of(
            "TRANSPOSE_CONV",
            X,
            tuple(shape),
            [shape, real(5, window, window, 4), real(5, seed=2)],
            (49, {0: b(padding), 1: i(stride), 2: i(stride), 3: b(int(name != "half"))}),
            order="k0,k1,x,k2",
        )
    for kind, type_, first in (("RESIZE_BILINEAR", 15, 2), ("RESIZE_NEAREST_NEIGHBOR", 74, 0)):
        for name, flags in (("asymmetric", (0, 0)), ("corners", (1, 0)), ("centers", (0, 1))):
            for size in ((9, 16), (4, 3)):
                options = {first + n: (B, flag) for n, flag in enumerate(flags)}
                cases[f"{kind}_{name}_{size[0]}"] = of(
                    kind, ODD, (1, *size, 3), [np.array(size)], (type_, options)
                )
    cases["depth_to_space"] = of("DEPTH_TO_SPACE", X, (1, 12, 16, 1), (), (94, {0: i(2)}))
    cases["space_to_depth"] = of("SPACE_TO_DEPTH", X, (1, 3, 4, 16), (), (19, {0: i(2)}))
    lrn = {0: i(1), 1: (F, 1.5), 2: (F, 0.3), 3: (F, 0.75)}
    cases["lrn"] = of("LOCAL_RESPONSE_NORMALIZATION", X, X.shape, (), (13, lrn))
    return cases


def phases() -> Case:
    """A dilated convolution of 7x5 pixels, which are not whole blocks, with an activation."""
    block, borders = constant([2, 2]), constant([[2, 3], [2, 3]])
    tensors = {
        "x": Tensor(ODD.shape),
        "block": block,
        "borders": borders,
        "cut": Tensor((4, 6, 5, 3)),
        "w": real(1, 3, 3, 3),
        "b": real(3),
        "c": Tensor((4, 4, 3, 3)),
        "slope": real(1, 1, 3),
        "p": Tensor((4, 4, 3, 3)),
        "crops": constant([[0, 1], [0, 1]]),
        "y": Tensor((1, 7, 5, 3)),
    }
    options = {0: b(1), 1: i(1), 2: i(1), 3: i(1)}
    operators = [
        Op("SPACE_TO_BATCH_ND", ["x", "block", "borders"], ["cut"]),
        Op("DEPTHWISE_CONV_2D", ["cut", "w", "b"], ["c"], (2, options)),
        Op("PRELU", ["c", "slope"], ["p"]),
        Op("BATCH_TO_SPACE_ND", ["p", "block", "crops"], ["y"]),
    ]
    return Case(model(tensors, operators, ["x"], ["y"]), [ODD])


def elements() -> dict[str, Case]:
    cases = {}
    small = [real(4, seed=2)]
    for kind, type_, activation in (("ADD", 11, 1), ("SUB", 28, 0), ("MUL", 21, 3), ("DIV", 29, 2)):
        options = (type_, {0: b(activation)})
        cases[kind] = of(kind, X, X.shape, small, options)
        cases[f"{kind}_constant_first"] = of(kind, X, X.shape, small, options, order="k0,x")
    for kind in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"):
        cases[kind] = of(kind, X, X.shape, small)
    for kind in ("LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "ELU", "HARD_SWISH", "EXP"):
        cases[kind] = of(kind, 4 * X, X.shape)
    cases["leaky"] = of("LEAKY_RELU", X, X.shape, (), (75, {0: (F, 0.3)}))
    cases["gelu_exact"] = of("GELU", X, X.shape, (), (116, {0: (B, 0)}), error=1e-4)
    cases["gelu"] = of("GELU", X, X.shape, (), (116, {0: (B, 1)}), error=1e-4)
    cases["prelu"] = of("PRELU", X, X.shape, [real(1, 1, 4, seed=2)])
    cases["prelu_of_pixels"] = of("PRELU", X, X.shape, [real(6, 8, 4, seed=2)])
    cases["softmax"] = of("SOFTMAX", X, X.shape, (), (9, {0: (F, 1.5)}))
    cases["log_softmax"] = of("LOG_SOFTMAX", X, X.shape)
    cases["l2"] = of("L2_NORMALIZATION", X, X.shape, (), (12, {}))
    mask = constant(numbers(1, 1, 1, 4, seed=5) > 0, "bool")
    cases["select"] = of("SELECT_V2", X, X.shape, [mask, real(1, 1, 1, 4)], order="k0,x,k1")
    return cases


def moves() -> dict[str, Case]:
    cases = {}
    for kind, keep in (("MEAN", 0), ("MEAN", 1), ("SUM", 0), ("REDUCE_MAX", 1), ("REDUCE_PROD", 0)):
        for axes in ([1, 2], [-1], [2]):
            kept = [n if a not in [x % 4 for x in axes] else 1 for a, n in enumerate(X.shape)]
            shape = [n for a, n in enumerate(kept) if keep or a not in [x % 4 for x in axes]]
            name = f"{kind}{keep}_{'_'.join(map(str, axes))}"
            cases[name] = of(kind, X, shape, [np.array(axes)], (27, {0: (B, keep)}))
    cases["arg_max"] = of("ARG_MAX", X, (1, 6, 8), [3], (40, {0: b(4)}), dtype="int64")
    cases["arg_max_width"] = of("ARG_MAX", X, (1, 6, 4), [2], (40, {0: b(2)}), dtype="int32")
    cases["pad"] = of("PAD", X, (1, 9, 9, 6), [[[0, 0], [1, 2], [0, 1], [2, 0]]])
    value = constant(1.5, "float32")
    cases["padv2"] = of("PADV2", X, (1, 8, 8, 5), [[[0, 0], [2, 0], [0, 0], [0, 1]], value])
    mirror = (77, {0: b(0)})
    cases["mirror"] = of("MIRROR_PAD", X, (1, 9, 9, 4), [[[0, 0], [1, 2], [0, 1], [0, 0]]], mirror)
    cases["slice"] = of("SLICE", X, (1, 3, 8, 2), [[0, 2, 0, 1], [1, 3, -1, 2]])
    for name, begin, end, step, masks, shape in (
        ("plain", [0, 1, 2, 0], [1, 5, 8, 4], [1, 2, 3, 1], (0, 0, 0, 0, 0), (1, 2, 2, 4)),
        ("masks", [9, 1, 9, 9], [0, 9, 6, 3], [1, 1, 1, 2], (13, 3, 0, 0, 0), (1, 5, 6, 2)),
        ("single", [0, -1, 0, 2], [1, 9, 8, 9], [1, 1, 1, 1], (0, 0, 0, 0, 10), (1, 8)),
        ("backwards", [0, 5, 0, 0], [1, 0, 8, 4], [1, -2, 1, 1], (0, 2, 0, 0, 0), (1, 3, 8, 4)),
        ("dots", [0, 0, 1], [1, 0, 3], [1, 1, 1], (0, 0, 2, 0, 0), (1, 6, 8, 2)),
        ("new", [0, 0, 1, 0, 0], [1, 0, 3, 8, 4], [1] * 5, (0, 0, 0, 2, 0), (1, 1, 2, 8, 4)),
    ):
        options = (32, {n: i(mask) for n, mask in enumerate(masks)})
        cases[f"strided_{name}"] = of("STRIDED_SLICE", X, shape, [begin, end, step], options)
    cases["transpose"] = of("TRANSPOSE", X, (1, 4, 8, 6), [[0, 3, 2, 1]])
    cases["reshape"] = of("RESHAPE", X, (1, 24, 8), [[-1, 24, 8]])
    cases["reshape_option"] = of(
        "RESHAPE", X, (1, 12, 16), (), (17, {0: np.array([1, 12, 16], np.int32)})
    )
    one = numbers(1, 1, 8, 4)
    cases["squeeze"] = of("SQUEEZE", one, (1, 8, 4), (), (30, {0: np.array([1], np.int32)}))
    cases["expand"] = of("EXPAND_DIMS", X, (1, 6, 8, 1, 4), [3])
    cases["gather"] = of("GATHER", X, (1, 6, 3, 4), [[1, 4, 7]], (23, {0: i(2)}))
    places = np.array([[[0, 1], [5, 7]], [[2, 2], [0, 0]]], np.int32)
    cases["gather_nd"] = of("GATHER_ND", X[0], (2, 2, 4), [places])
    cases["gather_one"] = of("GATHER", X, (1, 6, 8), [2], (23, {0: i(-1)}))
    cases["tile"] = of("TILE", X, (1, 6, 16, 12), [[1, 1, 2, 3]])
    weights = [real(7, 24), real(7, seed=2)]
    flat = numbers(1, 3, 2, 4)
    cases["dense"] = of("FULLY_CONNECTED", flat, (1, 7), weights, (8, {0: b(1)}))
    weights = [real(7, 4), real(7, seed=2)]
    cases["dense_kept"] = of("FULLY_CONNECTED", X, (1, 6, 8, 7), weights, (8, {2: (B, 1)}))
    second = [real(1, 6, 5, 4)]
    cases["product"] = of("BATCH_MATMUL", X, (1, 6, 8, 5), second, (101, {1: (B, 1)}))
    return cases


def several() -> dict[str, Case]:
    """Operators of several inputs or results."""
    parts = {"SPLIT": [2, 2], "SPLIT_V": [1, 3], "UNPACK": [1] * 4}
    cases = {}
    for kind, sizes in parts.items():
        given = {"axis": constant(3), "sizes": constant([1, -1])}
        inputs = {"SPLIT": ["axis", "x"], "SPLIT_V": ["x", "sizes", "axis"], "UNPACK": ["x"]}[kind]
        type_, options = {
            "SPLIT": (35, {0: i(2)}),
            "SPLIT_V": (79, {0: i(2)}),
            "UNPACK": (64, {0: i(4), 1: i(3)}),
        }[kind]
        names = [f"y{n}" for n in range(len(sizes))]
        shapes = [(1, 6, 8, *([size] if kind != "UNPACK" else [])) for size in sizes]
        tensors = {"x": Tensor(X.shape), **{n: c for n, c in given.items() if n in inputs}}
        tensors.update(zip(names, map(Tensor, shapes)))
        operators = [Op(kind, inputs, names, (type_, options))]
        cases[kind] = Case(model(tensors, operators, ["x"], names), [X])
    other = numbers(1, 6, 8, 2, seed=4)
    tensors = {"x": Tensor(X.shape), "z": Tensor(other.shape), "y": Tensor((1, 6, 8, 6))}
    operators = [Op("CONCATENATION", ["x", "z"], ["y"], (10, {0: i(-1)}))]
    cases["concat"] = Case(model(tensors, operators, ["x", "z"], ["y"]), [X, other])
    tensors = {"x": Tensor(X.shape), "z": Tensor(X.shape), "y": Tensor((1, 2, 6, 8, 4))}
    operators = [Op("PACK", ["x", "z"], ["y"], (59, {0: i(2), 1: i(1)}))]
    cases["pack"] = Case(model(tensors, operators, ["x", "z"], ["y"]), [X, -X])
    return cases


def chosen() -> dict[str, Case]:
    """What chooses among numbers, and boxes, some of which overlap by just the limit."""
    cases = {}
    tensors = {"x": Tensor(X.shape), "k": constant(3), "y": Tensor((1, 6, 8, 3))}
    tensors["at"] = Tensor((1, 6, 8, 3), dtype="int32")
    operators = [Op("TOPK_V2", ["x", "k"], ["y", "at"])]
    cases["top_k"] = Case(model(tensors, operators, ["x"], ["y", "at"]), [X])
    tensors = {"x": Tensor((2, 7, 3)), "at": Tensor((2, 4), dtype="int32"), "y": Tensor((2, 4, 3))}
    operators = [Op("GATHER", ["x", "at"], ["y"], (23, {0: i(1), 1: i(1)}))]
    places = np.array([[6, 0, 3, 3], [1, 2, 5, 4]], np.int32)
    inputs = [numbers(2, 7, 3), places]
    cases["gather_batch"] = Case(model(tensors, operators, ["x", "at"], ["y"]), inputs)
    random = np.random.default_rng(8)
    first = random.integers(0, 8, (24, 2)) / 4
    boxes = np.concatenate([first, first + random.integers(4, 9, (24, 2)) / 4], 1)
    boxes = np.concatenate([[[0, 0, 1, 1], [0, 0, 1, 0.5]], boxes]).astype(np.float32)
    scores = random.permutation(26).astype(np.float32) / 32
    scores[:2] = 0.95, 0.92
    for version in (4, 5):
        for name, most in (("few", 6), ("all", 30)):
            tensors = {"x": Tensor((26, 4)), "s": Tensor((26,)), "most": constant(most)}
            limits = {"overlap": 0.5, "score": 0.25, **({"sigma": 0.0} if version == 5 else {})}
            for key, limit in limits.items():
                tensors[key] = constant(np.float32(limit), "float32")
            tensors["at"] = Tensor((most,), dtype="int32")
            names = ["at", *["best"] * (version == 5), "n"]
            tensors.update(best=Tensor((most,)), n=Tensor((), dtype="int32"))
            kind = f"NON_MAX_SUPPRESSION_V{version}"
            operators = [Op(kind, ["x", "s", "most", *limits], names)]
            file = model(tensors, operators, ["x", "s"], names)
            cases[f"boxes{version}_{name}"] = Case(file, [boxes, scores])
    return cases


def quantised(dtype: str, kind: str) -> Case:
    """A convolution, a sum and a pool of integers; scales of weights for each filter or for all."""
    unsigned = dtype == "uint8"
    zero = 128 if unsigned else 0 if dtype == "int16" else 3
    scale = 4 / 65535 if dtype == "int16" else 4 / 255
    steps = 60.0 if dtype != "int16" else 16000.0
    x = np.clip(np.rint(X * steps) + zero, *_limits(dtype)).astype(dtype)
    bits = np.rint(numbers(5, 3, 3, 4, seed=6) * 60).astype(np.int64)
    each = np.array([0.01, 0.02, 0.015, 0.01, 0.005], np.float32)
    if unsigned:
        weights = constant(bits + 120, "uint8", quant=(0.01, 120, 0))
        scales: Any = np.float32(0.01)
    else:
        weights = constant(bits, "int8", quant=(each, [0] * 5, 0))
        scales = each
    wide = "int64" if dtype == "int16" else "int32"
    quant = (scales * np.float32(scale), [0] * np.size(scales), 0)
    bias = constant(np.arange(5) * 1000, wide, quant=quant)
    out = (0.05 if dtype != "int16" else 0.0004, zero and zero + 5, 0)
    tensors = {
        "x": Tensor(X.shape, dtype=dtype, quant=(scale, zero, 0)),
        "w": weights,
        "b": bias,
        "c": Tensor((1, 6, 8, 5), dtype=dtype, quant=out),
        "z": constant(x[..., :1], dtype, quant=(scale, zero, 0)),
        "s": Tensor((1, 6, 8, 5), dtype=dtype, quant=(out[0] * 0.9, zero, 0)),
        "y": Tensor((1, 3, 4, 5), dtype=dtype, quant=(out[0] * 0.9, zero, 0)),
    }
    options = {0: b(0), 1: i(1), 2: i(1), 3: b(1)}
    pool = {0: b(1), 1: i(2), 2: i(2), 3: i(2), 4: i(2)}
    operators = [
        Op("CONV_2D", ["x", "w", "b"], ["c"], (1, options)),
        Op("ADD", ["c", "z"], ["s"], (11, {0: b(0)})),
        Op(kind, ["s"], ["y"], (5, pool)),
    ]
    return Case(model(tensors, operators, ["x"], ["y"]), [x], 2)


def _limits(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return info.min, info.max


def between(dtype: str, flags: tuple[int, int]) -> Case:
    """A larger image of integers, by align_corners and half_pixel_centers."""
    least, most = _limits(dtype)
    x = np.random.default_rng(9).integers(least, most + 1, (1, 7, 9, 5)).astype(dtype)
    quant = (0.05, 3, 0)
    tensors = {
        "x": Tensor(x.shape, dtype=dtype, quant=quant),
        "n": constant(np.array([16, 31]), "int32"),
        "y": Tensor((1, 16, 31, 5), dtype=dtype, quant=quant),
    }
    options = {2 + n: (B, flag) for n, flag in enumerate(flags)}
    operators = [Op("RESIZE_BILINEAR", ["x", "n"], ["y"], (15, options))]
    return Case(model(tensors, operators, ["x"], ["y"]), [x], 1)


def half() -> Case:
    """float16 weights, which a DEQUANTIZE makes float32."""
    tensors = {
        "x": Tensor(X.shape),
        "half": constant(numbers(5, 1, 1, 4), "float16"),
        "w": Tensor((5, 1, 1, 4)),
        "b": real(5),
        "y": Tensor((1, 6, 8, 5)),
    }
    operators = [
        Op("DEQUANTIZE", ["half"], ["w"]),
        Op("CONV_2D", ["x", "w", "b"], ["y"], (1, {0: b(0), 1: i(1), 2: i(1)})),
    ]
    return Case(model(tensors, operators, ["x"], ["y"]), [X])


def requantised() -> Case:
    """int8 to uint8 and to reals, without and with other operators between."""
    x = np.rint(X * 60).astype(np.int8)
    tensors = {
        "x": Tensor(X.shape, dtype="int8", quant=(0.02, -3, 0)),
        "u": Tensor(X.shape, dtype="uint8", quant=(0.015, 120, 0)),
        "r": Tensor(X.shape),
        "y": Tensor(X.shape, dtype="int8", quant=(1 / 256, -128, 0)),
    }
    operators = [
        Op("QUANTIZE", ["x"], ["u"]),
        Op("DEQUANTIZE", ["u"], ["r"]),
        Op("LOGISTIC", ["x"], ["y"]),
    ]
    return Case(model(tensors, operators, ["x"], ["u", "r", "y"]), [x], 1)


def shapes() -> Case:
    """A flattening whose target is computed: the batch of the input, and what is left."""
    tensors = {
        "x": Tensor(X.shape),
        "shape": Tensor((4,), dtype="int32"),
        "zero": constant([0]),
        "one": constant([1]),
        "n": Tensor((), dtype="int32"),
        "rest": constant(-1),
        "target": Tensor((2,), dtype="int32"),
        "y": Tensor((1, 192)),
    }
    operators = [
        Op("SHAPE", ["x"], ["shape"], (55, {0: b(2)})),
        Op("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["n"], (32, {4: i(1)})),
        Op("PACK", ["n", "rest"], ["target"], (59, {0: i(2), 1: i(0)})),
        Op("RESHAPE", ["x", "target"], ["y"]),
    ]
    return Case(model(tensors, operators, ["x"], ["y"]), [X])


def sparse(shape: Sequence[int], values: Any, levels: Sequence[Any], order: Sequence[int]) -> Case:
    """x times a matrix of which a file holds some numbers; a level is a size, or segments and
    indices."""
    made: list[Any] = []
    for level in levels:
        if isinstance(level, int):
            made.append({0: b(0), 1: i(level)})
            continue
        segments, indices = (np.array(v, t) for v, t in zip(level, (np.int32, np.uint8)))
        ends = {2: (B, 1), 3: {0: segments}, 4: (B, 3), 5: {0: indices}}
        made.append({0: b(1), **ends})
    blocks = {1: np.array([0, 1], np.int32)} if len(levels) > 2 else {}
    sparsity = {0: np.array(order, np.int32), 2: made, **blocks}
    x = numbers(1, shape[1], seed=8)
    tensors = {
        "x": Tensor(x.shape),
        "s": Tensor(shape, np.array(values, np.float32), more={6: sparsity}),
        "w": Tensor(shape),
        "y": Tensor((1, shape[0])),
    }
    operators = [
        Op("DENSIFY", ["s"], ["w"], (99, {})),
        Op("FULLY_CONNECTED", ["x", "w", ""], ["y"], (8, {})),
    ]
    return Case(model(tensors, operators, ["x"], ["y"]), [x])


def every() -> dict[str, Case]:
    cases = {**windows(), **elements(), **moves(), **several(), **chosen()}
    for dtype in ("int8", "uint8"):
        for name, flags in (("asymmetric", (0, 0)), ("corners", (1, 0)), ("centers", (0, 1))):
            cases[f"{dtype}_between_{name}"] = between(dtype, flags)
    for dtype in ("int8", "uint8", "int16"):
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            cases[f"{dtype}_{kind}"] = quantised(dtype, kind)
    cases["sparse_rows"] = sparse((3, 4), [1, 2, 3], [3, ([0, 1, 1, 3], [2, 0, 3])], [0, 1])
    # Blocks of 2x2, of which the first row of blocks has one and the second one the other.
    values, rows = [1, 2, 3, 4, 5, 6, 7, 8], ([0, 1, 2], [1, 0])
    cases["sparse_blocks"] = sparse((4, 4), values, [2, rows, 2, 2], [0, 1, 2, 3])
    others = {"phases": phases(), "half": half(), "requantised": requantised(), "shapes": shapes()}
    ends = {f"boxes_{name}": post_process(how) for name, how in POST_PROCESS.items()}
    return {**cases, **others, **ends}


POST_PROCESS: dict[str, dict[str, float]] = {
    "fast": {"max_detections": 12, "max_classes_per_detection": 1},
    "classes": {"max_detections": 6, "max_classes_per_detection": 3, "nms_iou_threshold": 0.3},
    "regular": {"max_detections": 15, "max_classes_per_detection": 1, "use_regular_nms": 1},
    "each": {
        "max_detections": 9,
        "max_classes_per_detection": 1,
        "use_regular_nms": 1,
        "detections_per_class": 2,
        "nms_score_threshold": 0.4,
    },
}


def flexbuffer(numbers: Mapping[str, float]) -> bytes:
    """A map of numbers, 4 bytes each."""
    keys, data = [], bytearray()
    for name in sorted(numbers):
        keys.append(len(data))
        data += name.encode() + b"\0"
    data += b"\0" * (-len(data) % 4)
    data += struct.pack("<I", len(keys))
    places = len(data)
    for index, key in enumerate(keys):
        data += struct.pack("<I", places + 4 * index - key)
    data += struct.pack("<III", len(data) - places, 4, len(keys))
    values, kinds = len(data), bytearray()
    for name in sorted(numbers):
        whole = isinstance(numbers[name], int)
        data += struct.pack("<i" if whole else "<f", numbers[name])
        kinds.append((1 if whole else 3) << 2 | 2)
    data += kinds
    return bytes(data) + struct.pack("<BBB", len(data) - values, 9 << 2 | 2, 1)


def post_process(how: Mapping[str, float]) -> Case:
    """TFLite_Detection_PostProcess of 40 anchors, 4 classes and the background before them."""
    options = {
        "num_classes": 4,
        "nms_score_threshold": 0.2,
        "nms_iou_threshold": 0.5,
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
        **how,
    }
    middle = numbers(40, 2, seed=4) * 0.2 + 0.5
    anchors = np.hstack([middle, 0.2 + 0.1 * np.abs(numbers(40, 2, seed=5))])
    codes = numbers(1, 40, 4, seed=6)
    scores = np.float32(1 / (1 + np.exp(-2 * numbers(1, 40, 5, seed=7))))
    rows = int(how["max_detections"])
    if "use_regular_nms" not in how:
        rows *= int(how["max_classes_per_detection"])
    tensors = {
        "codes": Tensor(codes.shape),
        "scores": Tensor(scores.shape),
        "anchors": constant(anchors, "float32"),
        "boxes": Tensor((1, rows, 4)),
        "classes": Tensor((1, rows)),
        "found": Tensor((1, rows)),
        "count": Tensor((1,)),
    }
    given, made = list(tensors)[:3], list(tensors)[3:]
    end = Op("TFLite_Detection_PostProcess", given, made, None, flexbuffer(options))
    return Case(model(tensors, [end], given[:2], made), [codes, scores], 1e-5)


def transpose_conv_bias() -> bytes:
    """MediaPipe's custom operator, with stride 2 and padding SAME."""
    weights = [real(5, 2, 2, 4), real(5, seed=2)]
    options = struct.pack("<iii", 1, 2, 2)
    case = of("Convolution2DTransposeBias", X, (1, 12, 16, 5), weights, custom=options)
    return case.model
