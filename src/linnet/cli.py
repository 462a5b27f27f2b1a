"""The `linnet` command: every verb computes one result, printed as text or with --json as JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

import linnet

from . import _core
from .report import Layer
from .text import count, number, shape_text, table

if TYPE_CHECKING:
    from .graph import Graph
    from .verify import Side

Array = npt.NDArray[np.float32]

DIGITS = Path(__file__).parent / "models" / "digits.onnx"  # the model named "digits"
DIGITS_SCALE = 1 / 255
DIGITS_LABELS = [f"digit {i}" for i in range(10)]  # its other outputs stand for nothing
MAX_INTERVAL_MS = 60_000
TUNE_LACKS = ("threads", "algorithm", "strict")  # it takes several numbers of threads, and any
STEADY = 0.1  # above this coefficient of variance times are called unsteady


class Result(NamedTuple):
    """What a verb found: the same as data and as lines of text, and the exit status."""

    data: Any
    lines: Sequence[str]
    status: int = 0


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments as all other bad input is reported."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failed check, 2 for bad input."""
    if sys.stdout is None:  # closed by whoever started the process
        sys.stdout = io.StringIO()
    try:
        arguments = list(sys.argv[1:] if argv is None else argv)
        args = _parser(arguments).parse_args(arguments)
        result: Result | int = args.verb(args)
        if isinstance(result, int):
            return result
        print(json.dumps(_finite(result.data), indent=1) if args.json else "\n".join(result.lines))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, RuntimeError, MemoryError, OSError, ImportError) as error:
        print(f"linnet: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return result.status


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError) and str(error) in ("", "std::bad_alloc"):
        return "out of memory"
    return re.sub(r"\s*\n\s*", "; ", str(error).strip()).replace(":;", ":")


def _parser(arguments: Sequence[str]) -> _Parser:
    parser = _Parser("linnet", description="Runs trained CNNs fast on a CPU.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, function: Callable[[argparse.Namespace], Any], text: str) -> _Parser:
        verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        verb.set_defaults(verb=function)
        return verb

    verb = add("run", run, "Run a model on an image or on arrays.")
    _add_model(verb)
    _add_session(verb)
    source = _add_inputs(verb)
    source.add_argument("--image", action="append", metavar="FILE", help="photo; may be repeated")
    verb.add_argument(
        "--scale",
        type=_fraction,
        metavar="S",
        help="input is (pixel - mean) * S; as 0.017 or 1/255",
    )
    verb.add_argument(
        "--mean", type=_numbers, metavar="M,M,M", help="one for each plane, or one for all"
    )
    verb.add_argument("--channel-order", choices=("RGB", "BGR", "grey"), help="planes of the input")
    verb.add_argument(
        "--top", type=_count, metavar="K", help="print the K best classes (default for images: 5)"
    )
    verb.add_argument(
        "--print-top", dest="top", action="store_const", const=5, help="same as --top 5"
    )
    verb.add_argument("--labels", metavar="FILE", help="names of the classes, one a line")
    verb.add_argument(
        "--fetch", type=_names, metavar="NAME,NAME", help="values to compute instead of the outputs"
    )
    verb.add_argument("--save-outputs", metavar="FILE.npz", help="write all computed values")

    verb = add("inspect", inspect, "Show what a model consists of.")
    _add_model(verb)

    verb = add("convert", convert, "Convert a model to the ONNX that linnet loads fastest.")
    verb.add_argument("files", nargs="*", metavar="MODEL [WEIGHTS] OUT.onnx")
    _add_model_options(verb)
    verb.add_argument(
        "--weights-dtype", choices=("f32", "f16", "int8"), default="f32", help="default: f32"
    )

    verb = add("bench", bench, "Measure how long a model takes.")
    _add_model(verb)
    _add_session(verb)
    _add_inputs(verb)
    verb.add_argument(
        "--iterations", type=_count, default=50, metavar="N", help="at least (default: 50)"
    )
    verb.add_argument(
        "--duration", type=_seconds, default=1.0, metavar="S", help="at least (default: 1)"
    )
    verb.add_argument(
        "--max-secs", type=_seconds, default=150.0, metavar="S", help="at most (default: 150)"
    )
    verb.add_argument(
        "--interval",
        type=_milliseconds,
        default=0.0,
        metavar="MS",
        help="wait before each run, as a camera makes a model wait (default: 0)",
    )
    verb.add_argument(
        "--warmup", type=int, default=1, metavar="N", help="untimed runs before (default: 1)"
    )
    verb.add_argument(
        "--percentile",
        type=_numbers,
        default=[90.0, 95.0, 99.0],
        metavar="P,P",
        help="default: 90,95,99",
    )
    verb.add_argument(
        "--baseline", metavar="FILE", help="an earlier output of bench --json to compare with"
    )
    verb.add_argument(
        "--max-regression",
        type=_percent,
        default=0.05,
        metavar="P%",
        help="exit 1 if slower by more (default: 5%%)",
    )

    verb = add("profile", profile, "Measure how long every layer takes, and show what ran it.")
    _add_model(verb)
    _add_session(verb)
    _add_inputs(verb)
    verb.add_argument("--iterations", type=_count, default=50, metavar="N", help="default: 50")
    verb.add_argument(
        "--export-profile", metavar="FILE", help="write the profile; ends in .json or .csv"
    )

    verb = add("tune", tune, "Measure what is fastest for every layer, for later runs to use.")
    _add_model(verb)
    verb.add_argument(
        "--batches", type=_counts, default=[1, 16], metavar="N,N", help="default: 1,16"
    )
    verb.add_argument(
        "--threads", "-t", "--num_threads", type=_counts, metavar="N,N", help="default: all cores"
    )
    verb.add_argument(
        "--search",
        choices=("fast", "full"),
        default="fast",
        help="measure what looks promising (default), or all that is not hopeless, and for longer",
    )
    verb.add_argument(
        "--cache", metavar="FILE", help="wisdom file (default: LINNET_WISDOM, or in ~/.cache)"
    )
    verb.add_argument(
        "--timeout", type=_seconds, default=math.inf, metavar="S", help="measure for at most S s"
    )
    verb.add_argument(
        "--continue", dest="keep", action="store_true", help="measure only what is not known yet"
    )
    _add_session(verb, without=TUNE_LACKS)

    verb = add("verify", verify, "Find where two models, or runtimes, begin to differ, and why.")
    verb.add_argument(
        "files",
        nargs="*",
        metavar="A B",
        help="each a model (.onnx, .prototxt .caffemodel, digits) or what a runtime computed of it "
        "(.npz with an array for each value, .npy of the output); A is taken to be right",
    )
    verb.add_argument(
        "--against",
        choices=("f32", "f16", "int8"),
        help="in place of B: A with the weights of fully connected and 1x1 layers so rounded",
    )
    _add_inputs(verb)
    verb.add_argument(
        "--classes",
        metavar="FILE.npy",
        help="the true class of each image, to count the right ones",
    )
    verb.add_argument(
        "--tolerance",
        type=_seconds,
        metavar="T",
        help="largest difference relative to a value's rms "
        "(default: 0.001; with --against f16 0.01, int8 0.1)",
    )

    verb = add("compare", _compare, "Compare linnet with other runtimes on one model.")
    if arguments[:1] == ["compare"]:
        from . import compare

        compare.add_arguments(verb)

    add(
        "doctor", doctor, "Show what linnet found on this machine and check that it computes right."
    )

    for name, verb in verbs.choices.items():
        if name != "compare":
            verb.add_argument("--json", action="store_true", help="print JSON")
    return parser


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, help="print the version", **options)

    def __call__(self, parser: argparse.ArgumentParser, *ignored: Any) -> None:
        print(f"linnet {linnet.__version__}")
        parser.exit()


def _add_model(parser: _Parser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="MODEL [WEIGHTS]",
        help=".onnx, .prototxt .caffemodel, or digits",
    )
    _add_model_options(parser)


def _add_model_options(parser: _Parser) -> None:
    parser.add_argument("-model", "--model", help=argparse.SUPPRESS)
    parser.add_argument("-weights", "--weights", help=argparse.SUPPRESS)


def _session_options() -> list[_core.Option]:
    """What a session is made with, as the core declares it, but for what only tuning sets."""
    return [option for option in _core.session_options() if not option["tuning"]]


def _add_session(parser: _Parser, without: Sequence[str] = ()) -> None:
    for option in _session_options():
        name, kind = option["name"], option["kind"]
        if name in without:
            continue
        settings: dict[str, Any] = {"help": option["help"].replace("%", "%%")}
        if kind == "flag":
            settings["action"] = "store_true"
        elif option["choices"]:
            settings["choices"] = option["choices"]
        else:
            settings.update(metavar=option["value"], type=_count if kind == "count" else str)
        aliases = ["-t", "--num_threads"] if name == "threads" else []
        parser.add_argument("--" + name.replace("_", "-"), *aliases, **settings)


def _add_inputs(parser: _Parser) -> Any:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--inputs",
        metavar="FILE",
        help=".npz with an array for each input, or .npy for a single one",
    )
    source.add_argument("--fill", choices=("random", "zeros"), help="made-up input")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --fill random (default: 0)"
    )
    parser.add_argument("--shapes", metavar="NAME:16x1x88x88", help="of --fill (default: batch 1)")
    return source


# What an option's text means.


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _fraction(text: str) -> float:
    try:
        above, _, below = text.partition("/")
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or fraction")
    return value


def _seconds(text: str) -> float:
    value = _fraction(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative")
    return value


def _milliseconds(text: str) -> float:
    value = _seconds(text)
    if value > MAX_INTERVAL_MS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MAX_INTERVAL_MS}")
    return value


def _percent(text: str) -> float:
    return _seconds(text.rstrip("%")) / 100


def _numbers(text: str) -> list[float]:
    return [_fraction(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


# What the verbs share.


def _files(args: argparse.Namespace, outputs: int = 0) -> tuple[Path, Path | None, list[str]]:
    """Model, weights and `outputs` further files, of which options may name the first two."""
    files = list(args.files)
    rest = files[len(files) - outputs :] if outputs else []
    files = files[: len(files) - outputs] if outputs else files
    if args.model is not None:
        files.insert(0, args.model)
    if args.weights is not None:
        files.append(args.weights)
    if not files or len(rest) < outputs:
        raise ValueError("a model is needed" + (", and a file to write" if outputs else ""))
    if len(files) > 2:
        raise ValueError(f"too many files: {' '.join(files)}")
    model = DIGITS if files[0] == "digits" else Path(files[0])
    return model, Path(files[1]) if len(files) == 2 else None, rest


def _load(args: argparse.Namespace) -> linnet.Session:
    model, weights, _ = _files(args)
    options = {option["name"]: getattr(args, option["name"]) for option in _session_options()}
    return linnet.load(model, weights, **options)


def _inputs(args: argparse.Namespace, values: Sequence[linnet.ValueInfo]) -> list[npt.NDArray[Any]]:
    """An array for each input of the model, from --inputs or made up."""
    if args.inputs is not None:
        if args.shapes is not None:
            raise ValueError("--shapes is for made-up input, not for --inputs")
        feed = _read_arrays(args.inputs, values[0].name)
        problems = [f"no array '{v.name}'" for v in values if v.name not in feed]
        problems += [
            f"array '{name}' is no input" for name in feed if all(name != v.name for v in values)
        ]
        if problems:
            raise ValueError(f"{args.inputs}: {'; '.join(problems)}")
        return [feed[value.name] for value in values]
    shapes = _shapes(args.shapes, values)
    random = np.random.default_rng(args.seed)
    if args.fill == "zeros":
        return [np.zeros(shape, np.float32) for shape in shapes]
    return [random.random(shape, np.float32) for shape in shapes]


def _read_arrays(path: str, name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file, or that of an .npy file as `name`."""
    with open(path, "rb") as file:
        try:
            loaded = np.load(file)
            return {name: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except (
            ValueError,
            EOFError,
            KeyError,
            OSError,
            NotImplementedError,
            zipfile.BadZipFile,
        ) as error:
            raise ValueError(f"{path}: not a readable .npz or .npy file: {error}") from None


def _shapes(text: str | None, inputs: Sequence[linnet.ValueInfo]) -> list[tuple[int, ...]]:
    given: dict[str, tuple[int, ...]] = {}
    for part in (text or "").split(",") if text else []:
        name, _, sizes = part.rpartition(":")
        if not re.fullmatch(r"\d+(x\d+)*", sizes):
            raise ValueError(f"--shapes {part}: expected NAME:16x1x88x88")
        given[name or inputs[0].name] = tuple(map(int, sizes.split("x")))
    unknown = given.keys() - {value.name for value in inputs}
    if unknown:
        raise ValueError(f"--shapes: the model has no input '{min(unknown)}'")
    for value in inputs:
        shape = given.get(value.name, value.shape)
        if len(shape) != len(value.shape) or shape[1:] != value.shape[1:]:
            raise ValueError(
                f"--shapes: '{value.name}' is {shape_text(value.shape)}, not {shape_text(shape)}"
            )
    batch = next(iter(given.values()))[0] if given else 1
    return [given.get(v.name, (batch, *(n or 1 for n in v.shape[1:]))) for v in inputs]


def _check_writable(path: str | Path | None) -> None:
    """OSError now rather than when the work is done; what the file holds stays."""
    if path is not None:
        with open(path, "ab"):
            pass


def _finite(data: Any) -> Any:
    """For JSON, which has no NaN and no infinity: null."""
    if isinstance(data, Mapping):
        return {key: _finite(item) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


# run


def run(args: argparse.Namespace) -> Result:
    """Compute; print the best classes where an output is a list of classes, else statistics."""
    pixels = (args.scale, args.mean, args.channel_order)
    if args.image is None and any(option is not None for option in pixels):
        raise ValueError("--scale, --mean and --channel-order are for --image")
    if args.image is None and args.inputs is None and args.fill is None:
        raise ValueError("nothing to run on: give --image, --inputs or --fill")
    _check_writable(args.save_outputs)
    net = _load(args)
    digits = _files(args)[0] == DIGITS
    if args.image is not None:
        scale = args.scale if args.scale is not None else DIGITS_SCALE if digits else 1.0
        inputs: list[npt.NDArray[Any]] = [_images(args, net, scale)]
    else:
        inputs = _inputs(args, net.inputs)
    names = args.fetch or [value.name for value in net.outputs]
    outputs = dict(zip(names, net.run(inputs, fetch=names)))
    if args.save_outputs is not None:
        _save(args.save_outputs, outputs)

    rows = args.image or [f"input {i}" for i in range(len(inputs[0]))]
    top = 5 if args.top is None and args.image else args.top
    data: dict[str, Any] = {
        name: {
            "shape": list(y.shape),
            "min": float(y.min()),
            "max": float(y.max()),
            "mean": float(y.mean()),
        }
        for name, y in outputs.items()
    }
    lines = []
    for name, y in outputs.items():
        scores = y.reshape(len(y), -1)
        if top is None or scores.shape[1] != y.shape[1] or scores.shape[1] == 1:
            statistics = ", ".join(f"{key} {data[name][key]:.6g}" for key in ("min", "max", "mean"))
            lines.append(f"{name} {shape_text(y.shape)}: {statistics}")
            continue
        labels = _labels(args.labels, scores.shape[1], digits)
        data[name]["top"] = []
        for row, values in zip(rows, scores):
            best = np.argsort(-values, kind="stable")[:top]
            found = [
                {"index": int(i), "label": labels.get(int(i)), "value": float(values[i])}
                for i in best
            ]
            data[name]["top"].append(found)
            lines.append(row if len(outputs) == 1 else f"{row}: {name}")
            lines += [
                f"  {f['value']:9.6f}  {f['label'] or 'class ' + str(f['index'])}" for f in found
            ]
    if args.top is not None and not any("top" in d for d in data.values()):
        raise ValueError("--top: no value computed is a list of classes, N x C")
    return Result({"inputs": list(rows), "outputs": data}, lines)


def _labels(path: str | None, classes: int, digits: bool) -> dict[int, str]:
    if path is None:
        return dict(enumerate(DIGITS_LABELS)) if digits else {}
    try:
        labels = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    if len(labels) != classes:
        raise ValueError(f"{path}: {len(labels)} labels for {classes} classes")
    return dict(enumerate(labels))


def _images(args: argparse.Namespace, net: linnet.Session, scale: float) -> Array:
    """The batch of images that --image names."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ValueError("reading images needs Pillow: pip install pillow") from None
    from . import _image

    shape = net.inputs[0].shape
    if len(net.inputs) != 1 or len(shape) != 4 or shape[1] not in (1, 3):
        wanted = ", ".join(f"'{v.name}' {shape_text(v.shape)}" for v in net.inputs)
        raise ValueError(f"--image: the model takes {wanted}, not one image of 1 or 3 channels")
    order = args.channel_order or ("grey" if shape[1] == 1 else "RGB")
    batch = np.empty((len(args.image), *(n or 1 for n in shape[1:])), np.float32)
    for path, row in zip(args.image, batch):
        with open(path, "rb") as file:
            try:
                photo: Image.Image = Image.open(file)
                if photo.mode[0] in "IF":
                    raise ValueError("more than 8 bits per channel")
                photo = ImageOps.exif_transpose(photo)
                pixels = np.asarray(photo.convert("L" if photo.mode in ("1", "L", "LA") else "RGB"))
            except MemoryError:
                raise
            except Exception as error:  # decoders raise all sorts on damaged files
                raise ValueError(f"{path}: not a readable image: {error}") from None
        _image.prepare(pixels, row, order=order, mean=args.mean or (0.0,), scale=scale)
    return batch


def _save(path: str, arrays: Mapping[str, Array]) -> None:
    """Write an .npz file; unlike numpy.savez, whatever the arrays are called."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


# inspect, convert


def inspect(args: argparse.Namespace) -> Result:
    """The model in canonical form, which is what linnet runs."""
    from . import core

    model, weights, _ = _files(args)
    graph = linnet._import(model, weights)
    shapes = core.shapes(graph)
    nodes: list[dict[str, Any]] = []
    for node in graph.nodes:
        used = [graph.initializers[name] for name in node.inputs if name in graph.initializers]
        parameters = sum(array.size for array in used if array.dtype.kind == "f")
        output = shapes[node.outputs[0]]
        weighted = used[0].size if node.op in ("Conv", "Gemm") else 0
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "output": node.outputs[0],
                "shape": [None, *output[1:]],
                "parameters": parameters,
                "macs": weighted * math.prod(output[2:]),
            }
        )
    stored = [array for array in graph.initializers.values() if array.dtype.kind == "f"]
    data: dict[str, Any] = {
        "name": graph.name,
        "inputs": [{"name": v.name, "shape": [None, *v.shape[1:]]} for v in graph.inputs],
        "outputs": [{"name": name, "shape": [None, *shapes[name][1:]]} for name in graph.outputs],
        "nodes": nodes,
        "parameters": sum(array.size for array in stored),
        "macs": sum(node["macs"] for node in nodes),
        "weight_bytes": sum(array.nbytes for array in stored),
        "file_bytes": sum(path.stat().st_size for path in (model, weights) if path is not None),
    }
    rows = [
        (
            n["name"],
            n["op"],
            n["output"],
            shape_text(n["shape"]),
            f"{n['parameters']:,}",
            f"{n['macs']:,}",
        )
        for n in nodes
    ]
    total = f"{data['parameters']:,} parameters, {data['macs']:,} multiply-adds per image"
    lines = [
        f"{graph.name or model.name}: {total}",
        f"{_megabytes(data['weight_bytes'])} of float32 weights, "
        f"{_megabytes(data['file_bytes'])} on disk",
        *(f"input {v['name']} {shape_text(v['shape'])}" for v in data["inputs"]),
        *(f"output {v['name']} {shape_text(v['shape'])}" for v in data["outputs"]),
        "",
        *table(
            ("node", "op", "output", "shape", "parameters", "multiply-adds"), rows, right=(4, 5)
        ),
    ]
    return Result(data, lines)


def convert(args: argparse.Namespace) -> Result:
    model, weights, (target,) = _files(args, outputs=1)
    linnet.convert(model, weights, target, args.weights_dtype)
    size = Path(target).stat().st_size
    data = {"file": target, "weights_dtype": args.weights_dtype, "bytes": size}
    return Result(data, [f"{target}: {_megabytes(size)}, {args.weights_dtype} weights"])


# bench


class Times:
    """Seconds of repeated runs, as the TFLite benchmark tool and trtexec sum them up."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.all = np.asarray(seconds)
        self.mean, self.std = float(self.all.mean()), float(self.all.std())
        self.median = float(np.median(self.all))

    def tflite(self) -> str:
        us = self.all * 1e6
        return (
            f"count={len(us)} first={us[0]:.0f} curr={us[-1]:.0f} min={us.min():.0f} "
            f"max={us.max():.0f} avg={us.mean():.6g} std={us.std():.0f}"
        )


def _repeat(
    call: Callable[[], object], count: int, least: float, most: float, interval: float = 0.0
) -> list[float]:
    """Seconds of each of `count` calls, or more to fill `least` seconds; ended after `most`.

    interval: seconds to wait before each call.
    """
    seconds: list[float] = []
    start = time.perf_counter()
    elapsed = 0.0
    while (len(seconds) < count or elapsed < least) and (not seconds or elapsed < most):
        if interval:
            time.sleep(interval)
        before = time.perf_counter()
        call()
        now = time.perf_counter()
        seconds.append(now - before)
        elapsed = now - start
    return seconds


def bench(args: argparse.Namespace) -> Result:
    if args.warmup < 0:
        raise ValueError(f"--warmup is {args.warmup}, expected 0 or more")
    if any(not 0 < p < 100 for p in args.percentile):
        raise ValueError("--percentile: expected numbers between 0 and 100")
    start = time.perf_counter()
    net = _load(args)
    init = time.perf_counter() - start
    inputs = _inputs(args, net.inputs)
    batch = len(inputs[0])
    shapes = {value.name: shape_text(x.shape) for value, x in zip(net.inputs, inputs)}
    measured = {"shapes": shapes, "threads": net.threads, "interval_ms": args.interval}
    baseline = _baseline(args.baseline, measured) if args.baseline else None

    def call() -> object:
        return net(*inputs)

    warmup = _repeat(call, args.warmup, 0, args.max_secs) if args.warmup else []
    interval = args.interval / 1e3
    times = Times(_repeat(call, args.iterations, args.duration, args.max_secs, interval))
    first = warmup[0] if warmup else float(times.all[0])
    percentiles = {f"{p:g}": float(np.percentile(times.all, p)) * 1e3 for p in args.percentile}
    throughput = batch / times.mean
    spread = times.std / times.mean
    data: dict[str, Any] = {
        "model": str(_files(args)[0]),
        **measured,
        "isa": net.isa,
        "linnet": linnet.__version__,
        "init_ms": init * 1e3,
        "first_ms": first * 1e3,
        "count": len(times.all),
        "min_ms": float(times.all.min()) * 1e3,
        "max_ms": float(times.all.max()) * 1e3,
        "mean_ms": times.mean * 1e3,
        "median_ms": times.median * 1e3,
        "std_ms": times.std * 1e3,
        "percentiles_ms": percentiles,
        "images_per_second": throughput,
        "peak_resident_bytes": _peak_resident(),
    }
    us = [1e6 * s for s in (init, first, sum(warmup) / len(warmup) if warmup else 0, times.mean)]
    lines = [
        f"{data['model']}: {', '.join(f'{name}:{size}' for name, size in shapes.items())}, "
        f"{net.isa}, {count(net.threads, 'thread')}"
        + (f", {args.interval:g} ms before each run" if args.interval else ""),
        *([Times(warmup).tflite()] if warmup else []),
        times.tflite(),
        f"Inference timings in us: Init: {us[0]:.0f}, First inference: {us[1]:.0f}, "
        f"Warmup (avg): {us[2]:.6g}, Inference (avg): {us[3]:.6g}",
        "",
        "=== Performance summary ===",
        f"Throughput: {1 / times.mean:.6g} qps"
        + (f", {throughput:.6g} images/s" if batch > 1 else ""),
        "Latency: "
        + "".join(
            f"{key} = {data[f'{key}_ms']:.6g} ms, " for key in ("min", "max", "mean", "median")
        )
        + ", ".join(f"percentile({p}%) = {ms:.6g} ms" for p, ms in percentiles.items()),
        f"Peak resident memory: {_megabytes(data['peak_resident_bytes'])}",
    ]
    if spread > STEADY:
        data["warning"] = (
            f"times are unstable, with coefficient of variance = {100 * spread:.3g}%: "
            "other programs, a changing clock or heat; the median is the figure to quote"
        )
        lines.append(f"* Warning: {data['warning']}.")
    if baseline is None:
        return Result(data, lines)
    slower = times.median * 1e3 / baseline - 1
    passed = slower <= args.max_regression
    data["baseline"] = {"median_ms": baseline, "slower": slower, "passed": passed}
    lines.append(
        f"{'PASSED' if passed else 'FAILED'}: median {data['median_ms']:.6g} ms, "
        f"baseline {baseline:.6g} ms, {100 * slower:+.1f}%, allowed +{100 * args.max_regression:g}%"
    )
    return Result(data, lines, 0 if passed else 1)


def _baseline(path: str, measured: Mapping[str, Any]) -> float:
    """The median in ms of an earlier bench, which must have measured the same."""
    try:
        data = json.loads(Path(path).read_bytes())
        median = float(data["median_ms"])
        found = {key: {"interval_ms": 0.0, **data}[key] for key in measured}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path}: not the output of linnet bench --json") from None
    if found != measured:
        what = f"{found['shapes']}, {count(found['threads'], 'thread')}"
        raise ValueError(f"{path}: measured {what}, {found['interval_ms']} ms before each run")
    if not 0 < median < math.inf:
        raise ValueError(f"{path}: its median is {median} ms")
    return median


def _peak_resident() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux


# profile


def profile(args: argparse.Namespace) -> Result:
    target = Path(args.export_profile) if args.export_profile is not None else None
    if target is not None and target.suffix not in (".json", ".csv"):
        raise ValueError(f"--export-profile {target}: expected a name ending in .json or .csv")
    _check_writable(target)
    net = _load(args)
    report = net.profile(*_inputs(args, net.inputs), runs=args.iterations)
    data = report.to_dict()
    if target is not None and target.suffix == ".json":
        target.write_text(json.dumps(_finite(data), indent=1) + "\n")
    elif target is not None:
        with target.open("w", newline="") as file:
            names = [
                "name",
                "op",
                "problem",
                "algorithm",
                "isa",
                "seconds",
                "macs",
                "gflops",
                "percent_of_peak",
            ]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(data["layers"])

    layers = report.layers
    total = sum(layer.seconds or 0 for layer in layers) or 1.0
    by_time = sorted(layers, key=lambda layer: -(layer.seconds or 0))
    lines = [report.title, ""]
    for title, ordered in (("Run Order", layers), ("Top by Computation Time", by_time[:10])):
        lines += [_banner(title), *_operators(ordered, total), ""]
    lines += [
        f"Number of nodes executed: {len(layers)}",
        _banner("Summary by node type"),
        *_types(layers, total),
        "",
    ]
    runs = np.sum([layer.times for layer in layers], axis=0)
    lines.append(f"Timings (microseconds): {Times(runs).tflite()}")
    return Result(data, lines)


def _banner(title: str) -> str:
    return f"{'=' * 30} {title} {'=' * 30}"


def _operators(layers: Sequence[Layer], total: float) -> list[str]:
    header = (
        "node type",
        "first",
        "avg ms",
        "%",
        "cdf%",
        "algorithm",
        "isa",
        "GFLOP/s",
        "% of peak",
        "Name",
    )
    rows, sum_ = [], 0.0
    for layer in layers:
        seconds = layer.seconds or 0
        sum_ += seconds
        rows.append(
            (
                layer.op,
                f"{layer.times[0] * 1e3:.3f}",
                f"{seconds * 1e3:.3f}",
                f"{100 * seconds / total:.3f}%",
                f"{100 * sum_ / total:.3f}%",
                layer.algorithm,
                layer.isa,
                number(layer.gflops, 1),
                number(layer.percent_of_peak, 0),
                f"[{layer.name}]",
            )
        )
    return table([f"[{name}]" for name in header], rows, right=(1, 2, 3, 4, 7, 8))


def _types(layers: Sequence[Layer], total: float) -> list[str]:
    seconds: dict[str, list[float]] = {}
    for layer in layers:
        seconds.setdefault(layer.op, []).append(layer.seconds or 0)
    rows, sum_ = [], 0.0
    for op, times in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        sum_ += sum(times)
        rows.append(
            (
                op,
                str(len(times)),
                f"{sum(times) * 1e3:.3f}",
                f"{100 * sum(times) / total:.3f}%",
                f"{100 * sum_ / total:.3f}%",
            )
        )
    return table(
        ("[Node type]", "[count]", "[avg ms]", "[avg %]", "[cdf %]"), rows, right=(1, 2, 3, 4)
    )


# tune


def tune(args: argparse.Namespace) -> Result:
    from . import tune as tuning  # read only here, as every verb's own modules

    model, weights, _ = _files(args)

    def progress(done: int, problem: str) -> None:
        print(f"{done + 1:5d}  {problem}", file=sys.stderr, flush=True)

    options = {
        option["name"]: getattr(args, option["name"])
        for option in _session_options()
        if option["name"] not in TUNE_LACKS
    }
    options["memory_limit"] = linnet._bytes(args.memory_limit)
    found = tuning.tune(
        linnet._build(model, weights),
        threads=args.threads or [_core.default_threads()],
        batches=args.batches,
        search=args.search,
        cache=args.cache,
        timeout=args.timeout,
        keep=args.keep,
        progress=progress,
        **options,
    )
    return Result(found.to_dict(), found.lines())


# verify


def verify(args: argparse.Namespace) -> Result:
    """Every value both sides have; exit status 1 if one is beyond the tolerance."""
    from . import verify as verification

    sides = _sides(args.files)
    if len(sides) != (2 if args.against is None else 1):
        raise ValueError("two models or saved outputs are needed, or one model and --against")
    graphs = [linnet._import(*files) if _is_model(files) else None for files in sides]
    saved = [
        None if graph else verification.saved(files[0].name, _read_arrays(str(files[0]), "output"))
        for files, graph in zip(sides, graphs)
    ]
    names = [files[0].name for files in sides]
    if args.against is not None:
        if graphs[0] is None:
            raise ValueError(f"{names[0]}: --against needs a model")
        names.append(f"itself with {args.against} weights")
        graphs.append(verification.round_weights(graphs[0], args.against))
        saved.append(None)
    elif len(set(names)) == 1:
        names = [str(files[0]) for files in sides]

    feed, classes = _verify_inputs(args, graphs, saved)
    for i, graph in enumerate(graphs):
        if graph is not None:
            wanted = [value.name for value in graph.inputs]
            if len(wanted) != len(feed):
                raise ValueError(f"{names[i]} has {len(wanted)} inputs, not {len(feed)}")
            given = feed if set(wanted) == set(feed) else dict(zip(wanted, feed.values()))
            saved[i] = verification.run_model(names[i], graph, given, args.against if i else None)
    a, b = (side for side in saved if side is not None)
    tolerance = args.tolerance
    if tolerance is None:
        tolerance = verification.ROUNDED_TOLERANCE[args.against or "f32"]
    found = verification.verify(a, b, tolerance=tolerance, inputs=feed, classes=classes)
    return Result(found.to_dict(), found.lines(), 0 if found.passed else 1)


def _sides(files: Sequence[str]) -> list[tuple[Path, Path | None]]:
    """The files of each side: weights follow their model."""
    sides: list[tuple[Path, Path | None]] = []
    for name in files:
        if name.lower().endswith(".caffemodel") and sides and sides[-1][1] is None:
            sides[-1] = (sides[-1][0], Path(name))
        else:
            sides.append((DIGITS if name == "digits" else Path(name), None))
    return sides


def _is_model(files: tuple[Path, Path | None]) -> bool:
    return files[0].suffix.lower() not in (".npz", ".npy")


def _verify_inputs(
    args: argparse.Namespace, graphs: Sequence[Graph | None], saved: Sequence[Side | None]
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any] | None]:
    """What the models are to be run on, by the first one's names, and the true classes if known."""
    classes = None
    if args.classes is not None:
        classes = _read_arrays(args.classes, "classes").get("classes")
        if classes is None:
            raise ValueError(f"{args.classes}: no array 'classes'")
    graph = next((graph for graph in graphs if graph is not None), None)
    if graph is None:
        return {}, classes
    values = [linnet._info(v.name, v.shape) for v in graph.inputs]
    made_up = args.inputs is None and args.fill is None
    kept = {
        name: array for side in saved if side is not None for name, array in side.values.items()
    }
    if made_up and all(value.name in kept for value in values):
        return {value.name: kept[value.name].astype(np.float32) for value in values}, classes
    if made_up and any(side is not None for side in saved):
        raise ValueError("--inputs is needed: what the saved values were computed from")
    if made_up and Path(graph.source) == DIGITS and args.shapes is None and classes is None:
        from .compare.network import held_out_digits

        digits = held_out_digits(graph.inputs[0].shape[-1])
        return {values[0].name: digits.images}, digits.labels
    return dict(zip((value.name for value in values), _inputs(args, values))), classes


# compare, doctor


def _compare(args: argparse.Namespace) -> int:
    from . import compare

    return compare.run(args)


def doctor(args: argparse.Namespace) -> Result:
    """Facts about the machine, a self-test, and the one piece of advice that matters most."""
    data: dict[str, Any] = {
        "board": linnet._read("/proc/device-tree/model").strip("\0\n ") or "unknown",
        "cpu": linnet._cpu_model(),
        "features": _features(),
        "machine": f"{platform.machine()} kernel, {8 * np.dtype(np.intp).itemsize}-bit programs",
        "cores": f"{os.cpu_count()}, {len(os.sched_getaffinity(0))} of them allowed",
        "governor": linnet._read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
        or "unknown",
        "throttled": _throttled(),
        "load": round(os.getloadavg()[0], 2),
        "glibc": platform.libc_ver()[1] or "unknown",
        "python": platform.python_version(),
    }
    try:
        data.update(linnet.show_config())
        data["import_ms"] = _import_ms()
        data["self-test"] = _self_test()
    except (RuntimeError, ValueError, MemoryError, OSError) as error:
        message = f"linnet cannot run here: {error}"
        return Result(
            {**data, "error": message}, [*str(linnet.Config(data)).splitlines(), "", message], 1
        )
    data["advice"] = _advice(data)
    return Result(data, str(linnet.Config(data)).splitlines())


def _features() -> list[str]:
    """What the kernel says this CPU has of the instructions that matter to a network."""
    match = re.search(r"(?mi)^(?:flags|features)\s*:(.*)$", linnet._read("/proc/cpuinfo"))
    known = r"sse4_2|f16c|fma|avx.*|amx_.*|neon|vfpv4|half|asimd.*|fphp|i8mm|bf16|sve.*"
    return [flag for flag in (match[1].split() if match else []) if re.fullmatch(known, flag)]


def _throttled() -> str:
    """What a Raspberry Pi's firmware has held against its clock, now or since it was started."""
    text = linnet._read("/sys/devices/platform/soc/soc:firmware/get_throttled").strip()
    if not re.fullmatch(r"(0x)?[0-9a-f]{1,8}", text):
        return "unknown"
    from .compare.machine import THROTTLED

    bits = int(text, 16)
    found = [f"{cause} now" for i, cause in THROTTLED.items() if bits >> i & 1]
    found += [f"{cause} before" for i, cause in THROTTLED.items() if bits >> i & 0x10001 == 1 << 16]
    return ", ".join(found) or "no"


def _import_ms() -> float:
    """What `import linnet` takes beyond `import numpy`, in a fresh interpreter."""
    code = (
        "import numpy, time; t = time.perf_counter(); import linnet; print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["import linnet fails"])[-1])
    return round(float(done.stdout) * 1e3, 1)


def _self_test() -> str:
    """The shipped model by its usual algorithms and by plain loops; RuntimeError if they differ."""
    net = linnet.load(DIGITS)
    x = np.random.default_rng(0).random((1, *(n or 1 for n in net.inputs[0].shape[1:])), np.float32)
    (fast,) = net.run(x, fetch=["fc2"])
    (plain,) = linnet.load(DIGITS, algorithm="direct-ref").run(x, fetch=["fc2"])
    error = float(np.abs(fast - plain).max() / np.sqrt(np.mean(plain**2)))
    if not error < 1e-4:
        raise RuntimeError(f"its kernels compute wrong results (relative error {error:.2g})")
    return f"passed, relative error {error:.1g}"


def _advice(data: Mapping[str, Any]) -> str:
    if data["isa"] != data["isas"][0]:
        return f"LINNET_ISA holds linnet to {data['isa']}; unset it to use {data['isas'][0]}."
    if data["isa"] == "scalar":
        return "This build has no vector kernels for this CPU: expect it to be slow."
    if platform.machine() in ("aarch64", "armv8l", "x86_64") and np.dtype(np.intp).itemsize == 4:
        return "The kernel is 64-bit, Python is 32-bit: a 64-bit Python would be faster."
    if "under-voltage" in data["throttled"]:
        return "The power supply is too weak: a Raspberry Pi 3 needs 5.1 V and 2.5 A."
    if data["throttled"] not in ("no", "unknown"):
        return "The CPU has been too hot for its full clock: it needs a heat sink or more air."
    if data["governor"] not in ("performance", "unknown"):
        return "For steady times: cpupower frequency-set --governor performance."
    if data["load"] > 0.5 * data["threads"]:
        return f"Other programs are running (load {data['load']}): times will vary."
    if data["threads"] < len(os.sched_getaffinity(0)):
        return f"A cgroup limits this process to the time of {data['threads']} cores."
    return "Nothing to improve."


if __name__ == "__main__":
    sys.exit(main())
