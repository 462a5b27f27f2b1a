"""Make the reference data of ncnn: `NCNN_PYTHON tests/data/ncnn/make.py`, a Python with
`ncnn==1.0.20261020`.

`layers.npz` holds small networks as tests/packed.py has them: each its layers, `param`, and
weights, `bin`, inputs `x/BLOB` and outputs `y/BLOB`, as ncnn computes them in float32.
"""

from __future__ import annotations

import pathlib
import struct
import sys
import tempfile

import ncnn
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from packed import pack

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(5)
IMAGE = (4, 6, 5)


def numbers(shape, positive=False):
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def marked(count, kind="f4"):
    """Weights as a converter writes them, of float32, float16 or a table."""
    values = numbers(count)
    if kind == "f2":
        data = values.astype(np.float16).tobytes()
        return struct.pack("<I", 0x01306B47) + data + b"\0" * (-len(data) % 4)
    if kind == "table":
        data = RANDOM.integers(0, 256, count).astype(np.uint8).tobytes()
        table = numbers(256).tobytes()
        return struct.pack("<I", 1) + table + data + b"\0" * (-len(data) % 4)
    return struct.pack("<I", 0) + values.tobytes()


def plain(*counts, positive=False):
    return b"".join(numbers(count, positive).tobytes() for count in counts)


def one(kind, settings="", weights=b"", shapes=(IMAGE,), tops=1):
    """A network of one layer."""
    names = [f"x{i}" for i in range(len(shapes))]
    outputs = [f"y{i}" for i in range(tops)]
    lines = [f"Input {name} 0 1 {name}" for name in names]
    lines.append(f"{kind} layer {len(names)} {tops} {' '.join(names + outputs)} {settings}")
    return lines, weights, dict(zip(names, shapes))


def windows():
    conv = "0=3 1=3 6=108 5=1"
    yield "conv", one("Convolution", conv, marked(108) + plain(3))
    yield "conv_half", one("Convolution", conv, marked(108, "f2") + plain(3))
    yield "conv_table", one("Convolution", conv, marked(108, "table") + plain(3))
    yield (
        "conv_bare",
        one("Convolution", "0=3 1=2 11=3 3=2 13=1 4=1 14=0 15=2 16=1 6=72", marked(72)),
    )
    yield "conv_dilated", one("Convolution", "0=3 1=3 2=2 4=2 6=108", marked(108))
    yield "conv_same", one("Convolution", "0=3 1=3 3=2 4=-233 6=108", marked(108))
    yield "conv_same_lower", one("Convolution", "0=3 1=4 11=3 3=2 4=-234 6=144", marked(144))
    yield "conv_filled", one("Convolution", "0=3 1=3 4=1 18=5.000000e-01 6=108", marked(108))
    yield "conv_vector", one("Convolution", "0=3 1=1 6=15 5=1 9=1", marked(15) + plain(3), [(5,)])
    for name, more in (
        ("relu", "9=1"),
        ("leaky", "9=2 -23310=1,2.000000e-01"),
        ("clip", "9=3 -23310=2,-5.000000e-01,1.000000e+00"),
        ("sigmoid", "9=4"),
        ("mish", "9=5"),
        ("hard_swish", "9=6 -23310=2,1.666667e-01,5.000000e-01"),
    ):
        yield f"conv_{name}", one("Convolution", f"0=3 1=1 6=12 {more}", marked(12))
    depth = "ConvolutionDepthWise"
    yield "depthwise", one(depth, "0=4 1=3 4=1 5=1 6=36 7=4", marked(36) + plain(4))
    yield "grouped", one(depth, "0=6 1=3 6=108 7=2 9=1", marked(108))
    deconv = "Deconvolution"
    yield "deconv", one(deconv, "0=3 1=3 3=2 4=1 5=1 6=108", marked(108) + plain(3))
    yield "deconv_more", one(deconv, "0=3 1=3 3=2 4=1 18=1 6=108", marked(108))
    yield "deconv_cut", one(deconv, "0=3 1=3 3=2 4=-233 20=9 21=12 6=108", marked(108))
    yield "deconv_depth", one("DeconvolutionDepthWise", "0=4 1=4 3=2 4=1 6=64 7=4", marked(64))
    yield (
        "deconv_grouped",
        one("DeconvolutionDepthWise", "0=6 1=3 6=108 7=2 5=1", marked(108) + plain(6)),
    )
    yield "inner", one("InnerProduct", "0=3 1=1 2=360", marked(360) + plain(3))
    yield "inner_vector", one("InnerProduct", "0=3 2=21 9=1", marked(21), [(7,)])
    yield "inner_rows", one("InnerProduct", "0=3 1=1 2=21", marked(21) + plain(3), [(4, 7)])
    pool = "Pooling"
    yield "max", one(pool, "1=3 2=2")
    yield "max_valid", one(pool, "1=3 2=2 5=1")
    yield "max_padded", one(pool, "1=3 2=2 3=1")
    yield "max_same", one(pool, "1=3 2=2 5=2")
    yield "max_same_lower", one(pool, "1=2 11=3 2=2 5=3")
    yield "average", one(pool, "0=1 1=3 2=2 3=1")
    yield "average_valid", one(pool, "0=1 1=3 2=2 3=1 5=1")
    yield "average_counted", one(pool, "0=1 1=3 2=2 3=1 5=1 6=1")
    yield "average_counted_full", one(pool, "0=1 1=2 11=3 2=2 6=1")
    yield "average_same", one(pool, "0=1 1=3 2=2 5=2")
    yield "global_max", one(pool, "4=1")
    yield "global_average", one(pool, "0=1 4=1")
    yield "adaptive", one(pool, "0=1 7=1 8=1 18=3")
    yield "adaptive_one", one(pool, "0=1 7=1 8=1")
    yield "nearest", one("Interp", "0=1 1=2.000000e+00 2=3.000000e+00")
    yield "bilinear", one("Interp", "0=2 1=2.000000e+00 2=2.000000e+00")
    yield "bilinear_size", one("Interp", "0=2 3=9 4=7")
    yield "bilinear_corners", one("Interp", "0=2 3=9 4=7 6=1")
    yield "bicubic", one("Interp", "0=3 3=12 4=10")
    yield "like", one("Interp", "0=2 5=1", shapes=[IMAGE, (2, 12, 10)])


def layers():
    yield (
        "batch_norm",
        one("BatchNorm", "0=4 1=1.000000e-03", plain(4, 4) + plain(4, positive=True) + plain(4)),
    )
    yield (
        "batch_norm_vector",
        one(
            "BatchNorm",
            "0=5 1=1.000000e-03",
            plain(5, 5) + plain(5, positive=True) + plain(5),
            [(5,)],
        ),
    )
    yield "scale", one("Scale", "0=4 1=1", plain(4, 4))
    yield "scale_rows", one("Scale", "0=4", plain(4), [(4, 3)])
    yield "scale_two", one("Scale", "0=-233", shapes=[IMAGE, (4,)])
    yield "bias", one("Bias", "0=4", plain(4))
    yield "prelu", one("PReLU", "0=4", plain(4))
    yield "prelu_shared", one("PReLU", "0=1", plain(1))
    yield "instance_norm", one("InstanceNorm", "0=4 1=1.000000e-03", plain(4, 4))
    yield "instance_norm_bare", one("InstanceNorm", "0=4 1=1.000000e-03 2=0")
    yield "group_norm", one("GroupNorm", "0=2 1=4 2=1.000000e-05", plain(4, 4))
    yield "layer_norm", one("LayerNorm", "0=5 1=1.000000e-05", plain(5, 5))
    yield "layer_norm_image", one("LayerNorm", "0=30 1=1.000000e-05", plain(30, 30))
    yield "lrn", one("LRN", "1=3 2=1.000000e-01 4=1.500000e+00")
    yield "mvn", one("MVN", "0=1")
    yield "mvn_across", one("MVN", "0=0 1=1")
    yield "normalize", one("Normalize", "0=0 1=0 2=1.000000e-10 3=4 4=1", plain(4))
    yield "normalize_whole", one("Normalize", "0=1 1=1 2=1.000000e-04 3=1 4=1 9=2", plain(1))
    yield "normalize_channel", one("Normalize", "0=1 1=1 2=1.000000e-04 3=1 4=0 9=1", plain(1))
    yield "normalize_default", one("Normalize", "0=1 1=1 2=1.000000e-04 3=1", plain(1))
    functions = {
        "AbsVal": "",
        "BNLL": "",
        "Clip": "0=-5.000000e-01 1=2.500000e-01",
        "ELU": "0=3.000000e-01",
        "Exp": "0=2.000000e+00 1=5.000000e-01 2=1.000000e+00",
        "GELU": "",
        "HardSigmoid": "",
        "HardSwish": "",
        "Log": "1=5.000000e-01 2=2.000000e+00",
        "Mish": "",
        "Noop": "",
        "Power": "0=2.000000e+00 1=5.000000e-01 2=2.000000e+00",
        "ReLU": "",
        "SELU": "",
        "Sigmoid": "",
        "Softplus": "",
        "Swish": "",
        "TanH": "",
        "Threshold": "0=2.500000e-01",
    }
    for kind, settings in functions.items():
        yield kind, one(kind, settings)
    yield "fast_gelu", one("GELU", "0=1")
    yield "leaky", one("ReLU", "0=1.000000e-01")
    yield "dropout", one("Dropout", "0=5.000000e-01")
    yield "split", one("Split", tops=2)


def moves():
    yield "concat", one("Concat", shapes=[IMAGE, (2, 6, 5)])
    yield "concat_wide", one("Concat", "0=2", shapes=[IMAGE, IMAGE])
    yield "concat_last", one("Concat", "0=-1", shapes=[(4, 3), (4, 2)])
    yield "slice", one("Slice", "-23300=2,-233,-233", tops=2)
    yield "slice_high", one("Slice", "-23300=3,1,3,-233 1=1", tops=3)
    yield "crop", one("Crop", "0=1 1=2 2=1 3=3 4=2 5=2")
    yield "crop_rest", one("Crop", "0=1 1=2 2=1 3=-233 4=-233 5=-233 6=1")
    yield "crop_like", one("Crop", "0=1 1=2", shapes=[IMAGE, (4, 3, 2)])
    yield "crop_axes", one("Crop", "-23309=2,1,-3 -23310=2,5,-233 -23311=2,1,2")
    yield "padding", one("Padding", "0=1 1=2 2=0 3=3 5=5.000000e-01")
    yield "padding_edge", one("Padding", "0=1 1=2 2=1 3=3 4=1")
    yield "padding_reflect", one("Padding", "0=1 1=2 2=1 3=3 4=2")
    yield "padding_channels", one("Padding", "0=0 1=0 2=0 3=0 7=1 8=2")
    yield "reshape", one("Reshape", "0=-1")
    yield "reshape_rows", one("Reshape", "0=-1 1=4")
    yield "reshape_image", one("Reshape", "0=0 1=-1 2=2")
    yield "reshape_vector", one("Reshape", "0=1 1=1 2=-1", shapes=[(6,)])
    yield "flatten", one("Flatten")
    for order in range(6):
        yield f"permute{order}", one("Permute", f"0={order}")
    yield "permute_rows", one("Permute", "0=1", shapes=[(4, 3)])
    yield "softmax", one("Softmax", "0=0 1=1")
    yield "softmax_last", one("Softmax", "0=-1 1=1")
    yield "softmax_vector", one("Softmax", shapes=[(7,)])
    for kind in range(10):
        positive = "Exp x0p 1 1 x0 x0p"
        yield (
            f"binary{kind}",
            (
                [
                    "Input x0 0 1 x0",
                    "Input x1 0 1 x1",
                    positive,
                    "Exp x1p 1 1 x1 x1p",
                    f"BinaryOp layer 2 1 x0p x1p y0 0={kind}",
                ],
                b"",
                {"x0": IMAGE, "x1": IMAGE},
            ),
        )
    yield "binary_scalar", one("BinaryOp", "0=7 1=1 2=1.500000e+00")
    yield "binary_channels", one("BinaryOp", "0=2", shapes=[IMAGE, (4,)])
    yield "binary_channels_first", one("BinaryOp", "0=1", shapes=[(4,), IMAGE])
    yield "binary_wide", one("BinaryOp", "0=0", shapes=[IMAGE, (5,)])
    yield "binary_rows", one("BinaryOp", "0=0", shapes=[IMAGE, (4, 6)])
    yield "binary_ones", one("BinaryOp", "0=2", shapes=[IMAGE, (4, 1, 1)])
    yield "binary_vector", one("BinaryOp", "0=0", shapes=[(4, 3), (4,)])
    for kind in (0, 1, 2, 3, 4, 7, 16, 18, 19):
        yield f"unary{kind}", one("UnaryOp", f"0={kind}")
    for kind in (5, 6, 8, 15, 17):
        yield (
            f"unary{kind}",
            (
                ["Input x0 0 1 x0", "Exp e 1 1 x0 e", f"UnaryOp layer 1 1 e y0 0={kind}"],
                b"",
                {"x0": IMAGE},
            ),
        )
    for kind in range(3):
        yield f"eltwise{kind}", one("Eltwise", f"0={kind}", shapes=[IMAGE] * 3)
    yield (
        "eltwise_factors",
        one("Eltwise", "0=1 -23301=2,5.000000e-01,2.000000e+00", shapes=[IMAGE] * 2),
    )
    for kind in range(11):
        yield (
            f"reduction{kind}",
            (
                [
                    "Input x0 0 1 x0",
                    "Exp e 1 1 x0 e",
                    f"Reduction layer 1 1 e y0 0={kind} 1=0 -23303=2,1,2 4=1 5=1",
                ],
                b"",
                {"x0": IMAGE},
            ),
        )
    yield "matmul", one("MatMul", "0=1", shapes=[(3, 4), (5, 4)])
    yield "reduction_axis", one("Reduction", "0=3 1=0 -23303=1,0 5=1")
    yield "reduction_all", one("Reduction", "0=0 1=1")
    yield "shuffle", one("ShuffleChannel", "0=2")
    yield "shuffle_back", one("ShuffleChannel", "0=2 1=1", shapes=[(6, 2, 3)])
    yield "pixel_shuffle", one("PixelShuffle", "0=2")
    yield "pixel_shuffle_turned", one("PixelShuffle", "0=2 1=1", shapes=[(8, 2, 3)])
    yield "reorg", one("Reorg", "0=2", shapes=[(3, 4, 6)])
    yield "reorg_turned", one("Reorg", "0=2 1=1", shapes=[(3, 4, 6)])
    yield "expand", one("ExpandDims", "-23303=1,1", shapes=[(4, 3)])
    yield "squeeze", one("Squeeze", "-23303=1,1", shapes=[(4, 1, 3)])
    yield "squeeze_flag", one("Squeeze", "1=1", shapes=[(4, 1, 3)])
    yield "tile", one("Tile", "0=1 1=2")
    yield "tile_axes", one("Tile", "-23302=3,2,1,3")
    yield (
        "memory",
        (
            ["Input x0 0 1 x0", "MemoryData d 0 1 d 0=5 1=6 2=4", "BinaryOp layer 2 1 x0 d y0 0=0"],
            plain(120),
            {"x0": IMAGE},
        ),
    )


def detectors():
    prior = "PriorBox p 2 1 x0 x0 p -23300=1,1.5 -23301=1,2.5 -23302=1,2.0 9=4 10=3 13=5.000000e-01"
    yield (
        "prior_box",
        (
            ["Input x0 0 1 x0", "Input x1 0 1 x1", prior, "BinaryOp layer 2 1 x1 p y0 0=0"],
            b"",
            {"x0": (1, 3, 4), "x1": (2, 192)},
        ),
    )
    lines = [
        "Input x0 0 1 x0",
        "Input x1 0 1 x1",
        "Input x2 0 1 x2",
        prior,
        "Softmax s 1 1 x1 s 0=1 1=1",
    ]
    lines.append("DetectionOutput layer 3 1 x2 s p y0 0=3 1=4.500000e-01 2=20 3=15 4=3.500000e-01")
    spread = (RANDOM.permutation(144).reshape(48, 3) / 32).astype(np.float32)
    yield "detection", (lines, b"", {"x0": (1, 3, 4), "x1": spread, "x2": (192,)})
    lines = ["Input x0 0 1 x0", "Input x1 0 1 x1"]
    lines.append(
        "Yolov3DetectionOutput layer 2 1 x0 x1 y0 0=3 1=2 2=2.500000e-01 3=4.500000e-01 "
        "-23304=8,10.0,14.0,23.0,27.0,37.0,58.0,81.0,82.0 -23305=4,2.0,3.0,0.0,1.0 "
        "-23306=2,32.0,16.0"
    )
    maps = [RANDOM.permutation(16 * n).reshape(16, 2, n // 2) / (4 * n) - 2 for n in (6, 24)]
    maps = [values.astype(np.float32).reshape(16, 2, -1) for values in maps]
    yield "yolov3", (lines, b"", {"x0": maps[0], "x1": maps[1]})


def case(lines, weights, shapes):
    blobs = sum(int(line.split()[3]) for line in lines)
    text = f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n"
    xs = {name: numbers(s) if isinstance(s, tuple) else s for name, s in shapes.items()}
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_winograd_convolution = False
    net.opt.num_threads = 1
    packed = {"param": text, "bin": weights}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "a.param").write_text(text)
        (path / "a.bin").write_bytes(weights or b"\0")
        assert net.load_param(str(path / "a.param")) == 0
        assert net.load_model(str(path / "a.bin")) == 0, "weights"
        run = net.create_extractor()
        for name, x in xs.items():
            run.input(name, ncnn.Mat(x).clone())
            packed[f"x/{name}"] = x
        for name in net.output_names():
            status, y = run.extract(name)
            assert status == 0, name
            packed[f"y/{name}"] = np.array(y)
    return packed


if __name__ == "__main__":
    kinds = [windows, layers, moves, detectors]
    pack(HERE / "layers.npz", {n: case(*rest) for kind in kinds for n, rest in kind()})
