"""How a picture becomes an input of a model: one record of it, which a model's file may hold.

In files, and so in `Graph.metadata`, it is JSON text under the key PREPROCESS; what the classes are
called stands under LABELS, a name a line.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from functools import cache
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from .text import shape_text, short

Array = npt.NDArray[Any]
Picture = Union[str, "os.PathLike[str]", bytes, Array]

PREPROCESS, LABELS = "linnet.preprocess", "linnet.labels"  # keys of metadata

FITS = ("stretch", "crop", "letterbox")
COLORS = ("RGB", "BGR", "grey")
RESAMPLES = ("opencv", "pillow")
LAYOUTS = ("nchw", "nhwc")
TYPES = ("float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64")
_MOST_PIXELS = 1 << 24  # of a result: a file's word must not make large arrays


@dataclass(frozen=True, eq=False, repr=False)
class Preprocess:
    """How a picture becomes an input: (pixel - mean) * scale, of the picture in another size.

    size: (height, width) of the result; by default the model's or, where that leaves it open, the
        picture's.
    fit: how a picture becomes as large: "stretch" both its sides; "crop", until it covers the size,
        of which the middle is left; "letterbox", until it fits in, centred between borders.
    resize: (height, width) that it is stretched to, or covers, before the middle of `size` is cut
        out; by default the size itself.
    pad: the level of a letterbox's borders, as a pixel.
    mean, scale: a number, or one for each plane, in the order of the planes. mean may also be an
        image of means [planes, height, width], of which the middle is taken if it is larger.
    color: the planes, "RGB", "BGR" or "grey"; by default grey or RGB, as the model has planes.
    layout: "nchw" or "nhwc", by default the model's.
    dtype: the type of the result, as "uint8", by default the model's, or float32. Integers are
        rounded, and the nearest that the type has.
    resample: "opencv", its INTER_LINEAR, or "pillow", its BILINEAR, which is antialiased.

    ValueError names the fields that are wrong.
    """

    size: tuple[int, int] | None = None
    fit: str = "stretch"
    resize: tuple[int, int] | None = None
    pad: float = 114.0
    mean: Any = (0.0,)
    scale: Any = (1.0,)
    color: str | None = None
    layout: str | None = None
    dtype: str | None = None
    resample: str = "opencv"

    def __post_init__(self) -> None:
        problems = []
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, check(value))
            except (ValueError, TypeError, OverflowError) as error:
                reason = str(error) if isinstance(error, _Wrong) else "expected numbers"
                problems.append(f"{name} is {short(value)}, {reason}")
        if not problems and self.resize and self.fit == "letterbox":
            problems.append("resize is for fit 'stretch' and 'crop', not for 'letterbox'")
        if problems:
            raise ValueError(f"preprocess: {'; '.join(problems)}")

    def __repr__(self) -> str:
        parts = []
        for field in filter(self._differs, fields(self)):
            value = getattr(self, field.name)
            text = short(value) if isinstance(value, np.ndarray) else repr(value)
            parts.append(f"{field.name}={text}")
        return f"Preprocess({', '.join(parts)})"

    def _differs(self, field: Field[Any]) -> bool:
        """Whether a field has another value than by default."""
        value = getattr(self, field.name)
        return isinstance(value, np.ndarray) or bool(value != field.default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocess) and self.text() == other.text()

    def __hash__(self) -> int:
        return hash(self.text())

    def text(self, **unknown: str) -> str:
        """The record as JSON, fields that have their default left out. unknown: why the values of
        these fields are not known.
        """
        data: dict[str, Any] = {name: {"unknown": reason} for name, reason in unknown.items()}
        for field in filter(self._differs, fields(self)):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                numbers = base64.b64encode(value.astype("<f4").tobytes()).decode()
                value = {"shape": list(value.shape), "float32": numbers}
            data[field.name] = value
        return json.dumps(data)

    @staticmethod
    def parse(text: str, instead: Mapping[str, Any] | None = None) -> Preprocess:
        """The record in JSON text that nobody vouches for, with other values of some fields.

        ValueError says what is wrong with it, or what its file does not say, and why.
        """
        try:
            data = json.loads(text, parse_int=float)  # no int takes long then
        except (ValueError, RecursionError):
            raise ValueError(f"preprocess: {short(text)} is not JSON") from None
        if not isinstance(data, dict):
            raise ValueError(f"preprocess: {short(text)} is not an object of JSON")
        data.update(instead or {})
        problems = [
            f"{short(name)[1:-1]} is not known: {_reason(value)}"
            for name, value in data.items()
            if isinstance(value, dict) and list(value) == ["unknown"]
        ]
        if problems:
            raise ValueError(f"preprocess: {'; '.join(problems)}")
        names = [field.name for field in fields(Preprocess)]
        strange = [name for name in data if name not in names]
        if strange:
            raise ValueError(f"preprocess: there is no field {_listed(strange[:5])}")
        if isinstance(data.get("mean"), dict):
            data["mean"] = _image_of(data["mean"])
        return Preprocess(**data)

    def for_input(self, shape: Sequence[int | None], dtype: Any) -> Preprocess:
        """With what an input of this shape and type says. ValueError if they do not agree."""
        shape, type_name = [n or 0 for n in shape], np.dtype(dtype).name
        last = len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3)
        layout = self.layout or ("nhwc" if last else "nchw")
        channels = 3 if layout == "nhwc" else 1
        if len(shape) != 4 or shape[channels] not in (1, 3):
            raise NotAPicture(f"an input {shape_text(shape)} is not a picture of 1 or 3 planes")
        color = self.color or ("grey" if shape[channels] == 1 else "RGB")
        problems = []
        if _planes(color) != shape[channels]:
            problems.append(f"color is '{color}', but the model takes {shape[channels]} planes")
        sizes = shape[1:3] if layout == "nhwc" else shape[2:]
        wanted = self.size or (0, 0)
        if any(a and b and a != b for a, b in zip(sizes, wanted)):
            given, taken = shape_text((1, *wanted))[2:], shape_text((1, *sizes))[2:]
            problems.append(f"size is {given}, but the model takes {taken}")
        if self.dtype not in (None, type_name):
            problems.append(f"dtype is '{self.dtype}', but the model takes {type_name}")
        numbers = [f for f in fields(self) if f.name in ("mean", "scale")]
        if type_name == "int8" and not any(map(self._differs, numbers)):
            problems.append("the model takes int8: give a mean, 128 if pixels are less 128")
        if problems:
            raise ValueError(f"preprocess: {'; '.join(problems)}")
        height, width = (a or b for a, b in zip(sizes, wanted))
        size = (height, width) if height and width else None
        return replace(self, size=size, color=color, layout=layout, dtype=type_name)

    def __call__(self, *pictures: Picture) -> Array:
        """A batch [n, ...] of pictures, each a file, by its name or its bytes, or uint8 [H, W],
        [H, W, 1], or [H, W, 3] RGB.

        ValueError for what is no picture; OSError if a file cannot be read.
        """
        pixels = [_pixels(picture) for picture in pictures]
        if not pixels:
            raise ValueError("there are no pictures")
        given = self.size or self.resize
        size = given or pixels[0].shape[:2]
        if not given and any(p.shape[:2] != pixels[0].shape[:2] for p in pixels):
            raise ValueError("pictures differ in their sizes; give a size")
        color = self.color or "RGB"
        shape = (_planes(color), *size)
        batch = np.empty((len(pixels), *shape), np.float32)
        if self.layout == "nhwc":
            batch = np.empty((len(pixels), *shape[1:], shape[0]), np.float32)
        mean, scale = self._mean(shape), np.broadcast_to(self.scale, shape[:1]).tolist()
        for picture, row in zip(pixels, batch):
            out = row.transpose(2, 0, 1) if self.layout == "nhwc" else row
            self._write(picture, out, color, mean, scale)
        dtype = np.dtype(self.dtype or "float32")
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            batch = np.rint(batch, out=batch).clip(limits.min, limits.max, out=batch)
        return batch.astype(dtype, copy=False)

    def _write(
        self, picture: Array, out: Array, color: str, mean: Array, scale: list[float]
    ) -> None:
        size = out.shape[1], out.shape[2]
        place, (top, left) = self.placed(picture.shape, size)
        height, width = place.size
        if place.size != size:
            out[:] = (self.pad - mean) * np.reshape(scale, (-1, 1, 1))
        out = out[:, top : top + height, left : left + width]
        mean = mean[:, top : top + height, left : left + width]
        from . import _image  # models that are fed arrays do without its code

        _image.prepare(
            picture,
            out,
            order=color,
            mean=mean,
            scale=scale,
            begin=place.begin,
            step=place.step,
            antialias=self.resample == "pillow",
        )

    def placed(self, source: Sequence[int], size: tuple[int, int]) -> tuple[Place, tuple[int, int]]:
        """Where the pixels of a result of this size lie in a picture [H, W, ...], and the row and
        column of the result at which they begin.
        """
        if self.fit == "letterbox":
            return fitting(source, size)
        large = self.resize or size
        if large[0] < size[0] or large[1] < size[1]:
            raise ValueError(
                f"preprocess: resize is {large[0]}x{large[1]}, less than the size, "
                f"{size[0]}x{size[1]}"
            )
        antialias = self.resample == "pillow"
        reach = covering if self.fit == "crop" else stretching
        return reach(source, large, antialias).middle(size, antialias), (0, 0)

    def _mean(self, shape: tuple[int, ...]) -> Array:
        """For every number of a result [planes, height, width]."""
        mean = np.asarray(self.mean, np.float32)
        if len(self.scale) not in (1, shape[0]):
            raise ValueError(f"preprocess: {len(self.scale)} scales for {shape[0]} planes")
        if mean.ndim == 1:
            if len(mean) not in (1, shape[0]):
                raise ValueError(f"preprocess: {len(mean)} means for {shape[0]} planes")
            return np.broadcast_to(mean[:, None, None], shape)
        top, left = ((have - n) // 2 for have, n in zip(mean.shape[1:], shape[1:]))
        if len(mean) != shape[0] or min(top, left) < 0:
            raise ValueError(
                f"preprocess: the image of means is {'x'.join(map(str, mean.shape))}, the picture "
                f"{'x'.join(map(str, shape))}"
            )
        return mean[:, top : top + shape[1], left : left + shape[2]]


class Place(NamedTuple):
    """Where in a picture the pixels of a result lie: as far apart as `step` says, from the row and
    column `begin` of the whole result on, which has `size`.
    """

    size: tuple[int, int]
    step: tuple[float, float]
    begin: tuple[int, int] = (0, 0)

    def middle(self, size: tuple[int, int], nearest: bool = False) -> Place:
        """The part of this size in the middle; a half pixel more at the begin is cut off or, with
        `nearest`, goes to the even one, as in torchvision.
        """
        half = [(have - n) / 2 for have, n in zip(self.size, size)]
        top, left = (max(round(n) if nearest else int(n), 0) for n in half)
        return Place(size, self.step, (top, left))


def stretching(source: Sequence[int], size: tuple[int, int], antialias: bool = False) -> Place:
    """A picture [H, W, ...] as one of another size."""
    return Place(size, (source[0] / size[0], source[1] / size[1]))


def covering(source: Sequence[int], size: tuple[int, int], antialias: bool = False) -> Place:
    """A picture that, its sides in proportion, covers a size: as in torchvision's Resize or,
    without antialias, OpenCV's blobFromImage, whose factor is a float32.
    """
    high, wide = source[:2]
    height, width = size
    if antialias:
        by_height = height * wide >= width * high
        whole = (height, wide * height // high) if by_height else (high * width // wide, width)
        return stretching(source, whole)
    factor = float(max(np.float32(width) / np.float32(wide), np.float32(height) / np.float32(high)))
    return Place((round(high * factor), round(wide * factor)), (1 / factor, 1 / factor))


def fitting(source: Sequence[int], size: tuple[int, int]) -> tuple[Place, tuple[int, int]]:
    """A picture that, its sides in proportion, fits into a size, and the row and column at which it
    lies there.
    """
    factor = min(size[0] / source[0], size[1] / source[1])
    height, width = (max(round(n * factor), 1) for n in source[:2])
    place = stretching(source, (height, width))
    return place, ((size[0] - height) // 2, (size[1] - width) // 2)


def merged(
    metadata: Mapping[str, str], given: Preprocess | Mapping[str, Any] | None
) -> dict[str, str]:
    """A model's metadata with the record that someone has given, or with some fields of it."""
    if isinstance(given, Mapping):
        given = Preprocess.parse(metadata.get(PREPROCESS, "{}"), given)
    if given is None:
        return dict(metadata)
    if not isinstance(given, Preprocess):
        raise ValueError(f"preprocess is {short(given)}, expected a linnet.Preprocess")
    return {**metadata, PREPROCESS: given.text()}


def recorded(metadata: Mapping[str, str]) -> Preprocess | None:
    """The record in a model's metadata, if there is one."""
    return Preprocess.parse(metadata[PREPROCESS]) if PREPROCESS in metadata else None


def prepared(
    record: Preprocess | None,
    inputs: Sequence[tuple[str, Sequence[int | None], Any]],
    pictures: Sequence[Picture],
) -> Array:
    """Pictures as the single input of a model, one of a model without a batch. inputs: name, shape
    and type of every one.

    ValueError if the model has others, or there is no record.
    """
    if len(inputs) != 1:
        raise ValueError(f"the model takes {_described(inputs)}, not one picture")
    if record is None:
        raise ValueError(
            "the model's file does not say how a picture becomes its input: give "
            "preprocess=linnet.Preprocess(...)"
        )
    ((_, shape, dtype),) = inputs
    alone = len(shape) == 3 and shape[0] is not None
    try:
        settled = record.for_input((None, *shape) if alone else shape, dtype)
    except NotAPicture:
        layout = f", {record.layout}" if record.layout else ""
        raise ValueError(
            f"the model takes {_described(inputs)}, not one picture of 1 or 3 planes{layout}"
        ) from None
    if alone and len(pictures) != 1:
        raise ValueError(f"the model takes one picture at a time, not {len(pictures)}")
    made = settled(*pictures)
    return made[0] if alone else made


def _described(inputs: Sequence[tuple[str, Sequence[int | None], Any]]) -> str:
    return ", ".join(f"'{name}' {shape_text(shape)} {dtype}" for name, shape, dtype in inputs)


class NotAPicture(ValueError):
    """An input of this shape cannot be one."""


def read_picture(picture: str | os.PathLike[str] | bytes) -> Array:
    """The pixels of a file, given by its name or as its bytes: uint8, [H, W] of a grey one, else
    [H, W, 3] RGB; upright, as EXIF says.

    ValueError if Pillow is not there or cannot read it. JPEGs are decoded by simplejpeg where that
    is installed: the same pixels in less than half the time.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ValueError("reading images needs Pillow: pip install pillow") from None
    named = not isinstance(picture, bytes)
    with BytesIO(picture) if isinstance(picture, bytes) else open(picture, "rb") as file:
        try:
            photo: Image.Image = Image.open(file)
            if photo.mode[0] in "IF":
                raise ValueError("more than 8 bits per channel")
            if photo.format == "JPEG" and photo.getexif().get(_ORIENTATION, 1) == 1:
                pixels = _jpeg(file, photo.mode)
                if pixels is not None:
                    return pixels
            photo = ImageOps.exif_transpose(photo)
            return np.asarray(photo.convert("L" if photo.mode in ("1", "L", "LA") else "RGB"))
        except MemoryError:
            raise
        except Exception as error:  # decoders raise all sorts on damaged files
            unknown = isinstance(error, UnidentifiedImageError)
            reason = f"not a readable image: {'unknown format' if unknown else error}"
            raise ValueError(f"{os.fsdecode(picture)}: {reason}" if named else reason) from None


_ORIENTATION = 274  # of EXIF's tags


@cache  # a search for what is not there takes long
def _simplejpeg() -> Any:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _jpeg(file: BinaryIO, mode: str) -> Array | None:
    """The pixels of a JPEG file; None where Pillow has to read it, or to say what is wrong."""
    module, order = _simplejpeg(), {"L": "GRAY", "RGB": "RGB"}.get(mode)
    if module is None or order is None:
        return None
    file.seek(0)
    try:
        pixels: Array = module.decode_jpeg(file.read(), order, strict=True)
    except ValueError:
        return None
    return pixels[:, :, 0] if mode == "L" else pixels


def _pixels(picture: Picture) -> Array:
    if isinstance(picture, (str, os.PathLike, bytes)):
        return read_picture(picture)
    array = picture if isinstance(picture, np.ndarray) else np.empty(0)
    planes = array.shape[2:] in ((), (1,), (3,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not planes or not array.size:
        raise ValueError(
            f"a picture is {short(picture)}, expected a path, a file's bytes, or pixels (uint8) "
            "[H, W] or [H, W, 3]"
        )
    return array


def _planes(color: str) -> int:
    return 1 if color == "grey" else 3


class _Wrong(ValueError):
    """Its text is what was expected."""


def _one_of(*choices: str | None) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        for choice in choices:
            if value is choice or (isinstance(value, str) and value == choice):
                return choice
        raise _Wrong(f"expected one of {_listed(choices)}")

    return check


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes, bool)) or not math.isfinite(float(value)):
        raise _Wrong("expected a finite number")
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, (str, bytes)):
        raise _Wrong("expected a number, or one for each plane")
    array = np.asarray(value, np.float64)
    if array.ndim > 1 or array.size not in (1, 3) or not np.isfinite(array).all():
        raise _Wrong("expected a finite number, or one for each plane, 1 or 3")
    return tuple(array.reshape(-1).tolist())


def _mean(value: Any) -> Any:
    if getattr(value, "ndim", 0) < 2:
        return _numbers(value)
    image = np.array(value, np.float32)
    if image.ndim != 3 or len(image) not in (1, 3) or not image.size:
        raise _Wrong("expected numbers or [planes, height, width]")
    if not np.isfinite(image).all():
        raise _Wrong("which is not finite everywhere")
    image.flags.writeable = False
    return image


def _image_of(data: dict[str, Any]) -> Array:
    """An image of means as `text` writes it."""
    try:
        shape = [int(n) for n in data["shape"]]
        values = np.frombuffer(base64.b64decode(data["float32"], validate=True), "<f4")
        return values.reshape(shape).astype(np.float32)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("preprocess: mean is not an image of means") from None


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sizes = [int(n) for n in value]
    if isinstance(value, str) or sizes != list(value) or len(sizes) != 2:
        raise _Wrong("expected (height, width)")
    if min(sizes) < 1 or math.prod(sizes) > _MOST_PIXELS:
        raise _Wrong(f"expected 1 to {_MOST_PIXELS} pixels")
    return sizes[0], sizes[1]


def _reason(value: Mapping[str, Any]) -> str:
    return " ".join(str(value["unknown"])[:500].split())


def _listed(names: Sequence[Any]) -> str:
    return ", ".join("None" if name is None else short(name) for name in names)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "size": _size,
    "fit": _one_of(*FITS),
    "resize": _size,
    "pad": _number,
    "mean": _mean,
    "scale": _numbers,
    "color": _one_of(None, *COLORS),
    "layout": _one_of(None, *LAYOUTS),
    "dtype": _one_of(None, *TYPES),
    "resample": _one_of(*RESAMPLES),
}
