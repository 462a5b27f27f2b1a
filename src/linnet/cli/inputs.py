"""The files that arguments name: models, arrays, and what is to be written."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import linnet

from .. import digits
from ..text import listed, read_text, shape_text, short
from .options import arithmetic, given_preprocess, session_options


def named(text: str) -> Path:
    """The file of a model that an argument names."""
    if text == "yard":
        from ..detect import YARD

        return YARD
    return digits.MODEL if text == "digits" else Path(text)


def files(args: argparse.Namespace, outputs: int = 0) -> tuple[Path, Path | None, list[str]]:
    """Model, weights and `outputs` further files, of which options may name the first two."""
    found = list(args.files)
    rest = found[len(found) - outputs :] if outputs else []
    found = found[: len(found) - outputs] if outputs else found
    if args.model is not None:
        found.insert(0, args.model)
    if args.weights is not None:
        found.append(args.weights)
    if not found or len(rest) < outputs:
        raise ValueError("a model is needed" + (", and a file to write" if outputs else ""))
    if len(found) > 2:
        raise ValueError(f"too many files: {listed(found)}")
    return named(found[0]), Path(found[1]) if len(found) == 2 else None, rest


def load(args: argparse.Namespace) -> linnet.Session:
    """The session; with --image, of a model that takes pictures, if need be as they are."""
    model, weights, _ = files(args)
    record = preprocess(args)
    return linnet.load(
        model,
        weights,
        stages=args.stages,
        outputs=args.outputs,
        preprocess=record,
        arithmetic=arithmetic(args),
        **session_options(args),
    )


def preprocess(args: argparse.Namespace) -> dict[str, Any] | None:
    """The fields of linnet.Preprocess that were given, None without pictures."""
    if not hasattr(args, "image"):
        return None
    given = given_preprocess(args)
    pictures = args.image or getattr(args, "pictures", None)
    if given and not pictures:
        raise ValueError(f"--{next(iter(given))} is for --image")
    if pictures and args.shapes is not None:
        raise ValueError("--shapes is for made-up input, not for --image")
    return given if pictures else None


def feed(args: argparse.Namespace, net: linnet.Session) -> list[npt.NDArray[Any]]:
    """An array for each input of the model, from --image, --inputs or made up."""
    return [net.prepare(*args.image)] if args.image is not None else inputs(args, net.inputs)


def inputs(args: argparse.Namespace, values: Sequence[linnet.ValueInfo]) -> list[npt.NDArray[Any]]:
    """The same without --image, for inputs with these names, shapes and types."""
    if args.inputs is not None:
        if args.shapes is not None:
            raise ValueError("--shapes is for made-up input, not for --inputs")
        feed = read_arrays(args.inputs, values[0].name)
        problems = [f"no array '{v.name}'" for v in values if v.name not in feed]
        problems += [
            f"array '{name}' is no input" for name in feed if all(name != v.name for v in values)
        ]
        if problems:
            raise ValueError(f"{args.inputs}: {'; '.join(problems)}")
        return [feed[value.name] for value in values]
    sizes = _shapes(args.shapes, values)
    types = [value.dtype for value in values]
    if args.fill == "zeros":
        return [np.zeros(shape, dtype) for shape, dtype in zip(sizes, types)]
    random = np.random.default_rng(args.seed)
    return [_made_up(random, shape, dtype) for shape, dtype in zip(sizes, types)]


def _made_up(
    random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Reals from 0 to 1, and integers of every byte."""
    if dtype.kind not in "iu":
        return random.random(shape, np.float32).round(0 if dtype.kind == "b" else 9).astype(dtype)
    least = -128 if dtype == np.int8 else 0
    return random.integers(least, least + 256, shape).astype(dtype)


def read_arrays(path: str, name: str) -> dict[str, npt.NDArray[Any]]:
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


def names_in(text: str | None, net: linnet.Session) -> list[str]:
    """The values that a list with commas names, some of which may be in the names themselves."""
    known = {value.name for value in net.values} if text else set()
    parts = text.split(",") if text else []
    names = []
    while parts:
        ends = range(len(parts), 0, -1)
        end = next((end for end in ends if ",".join(parts[:end]) in known), 1)
        names.append(",".join(parts[:end]))
        parts = parts[end:]
    return [name for name in names if name]


def read_labels(path: str | None) -> list[str] | None:
    """What a file calls the classes, one a line."""
    return None if path is None else read_text(path).splitlines()


def check_writable(path: str | Path | None) -> None:
    """OSError now rather than when the work is done; what the file holds stays."""
    if path is not None:
        with open(path, "ab"):
            pass


def _shapes(text: str | None, inputs: Sequence[linnet.ValueInfo]) -> list[tuple[int, ...]]:
    given: dict[str, tuple[int, ...]] = {}
    for part in (text or "").split(",") if text else []:
        name, _, sizes = part.rpartition(":")
        if not re.fullmatch(r"\d+(x\d+)*", sizes):
            raise ValueError(f"--shapes {short(part)}: expected NAME:16x1x88x88")
        given[name or inputs[0].name] = tuple(map(int, sizes.split("x")))
    unknown = given.keys() - {value.name for value in inputs}
    if unknown:
        raise ValueError(f"--shapes: the model has no input {short(min(unknown))}")
    for value in inputs:
        shape = given.get(value.name, value.shape)
        pairs = zip(shape[1:], value.shape[1:])
        if len(shape) != len(value.shape) or any(m not in (None, n) for n, m in pairs):
            raise ValueError(
                f"--shapes: '{value.name}' is {shape_text(value.shape)}, not {shape_text(shape)}"
            )
    batch = next(iter(given.values()))[0] if given else 1
    return [
        given.get(v.name, (v.shape[0] or batch, *(n or 1 for n in v.shape[1:])) if v.shape else ())
        for v in inputs
    ]
