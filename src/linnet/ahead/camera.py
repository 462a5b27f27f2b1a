"""A compiled network that takes a camera's frame as it comes, and says the best classes.

Both are steps of its programs, before the first and behind the last; cpp/compiled/camera.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .. import _core, _image
from ..preprocess import Preprocess
from .network import ALIGNMENT, Network, Value, Values

FORMATS = ("grey", "rgb", "bgr", "yuv420")
_TYPES = ("float32", "uint8", "int8")
_ARENA, _WEIGHTS, _FIRST = 0, 1, 2  # bases of places, as cpp/compiled/program.h has them
_MOST = 1 << 13  # rows and columns
Place = tuple[int, int]


class Frame(NamedTuple):
    """A frame of bytes: [height, width], [height, width, 3], or for yuv420 the planes Y, U and V
    one after the other, with limited range.
    """

    height: int
    width: int
    format: str = "rgb"

    @property
    def shape(self) -> tuple[int, ...]:
        if self.format == "yuv420":
            return (self.height * 3 // 2, self.width)
        return (self.height, self.width, *((3,) if self.format != "grey" else ()))

    def picture(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What a session takes in place of a frame: grey or RGB."""
        if self.format != "yuv420":
            return frame[..., ::-1] if self.format == "bgr" else frame
        area = self.height * self.width
        luma = np.maximum(frame.ravel()[:area].astype(np.int32) - 16, 0) * 1220542 + (1 << 19)
        parts = frame.ravel()[area:].reshape(2, self.height // 2, self.width // 2)
        u, v = parts.repeat(2, axis=1).repeat(2, axis=2).reshape(2, -1).astype(np.int32) - 128
        sums = luma + 1673527 * v, luma - 852492 * v - 409993 * u, luma + 2116026 * u
        levels = np.stack([each >> 20 for each in sums], axis=1).clip(0, 255)
        return levels.astype(np.uint8).reshape(self.height, self.width, 3)


def objections(
    frame: Frame | None,
    record: Preprocess | None,
    top: int,
    batches: Sequence[int],
    values: Values,
) -> list[str]:
    """Why a network of these inputs and outputs can have no such steps, all of it."""
    inputs, outputs = values
    found = []
    if (frame or top) and list(batches) != [1]:
        found.append("a camera's frames come one by one: the batch is 1")
    if frame:
        odd = frame.format == "yuv420" and (frame.height % 2 or frame.width % 2)
        if odd or not (0 < frame.height <= _MOST and 0 < frame.width <= _MOST):
            found.append(f"a frame has {'even sizes' if odd else 'sizes'} up to {_MOST}")
        if len(inputs) != 1 or inputs[0].dtype.name not in _TYPES:
            found.append("a frame becomes a single input of float32, uint8 or int8")
        else:
            try:
                _completed(inputs[0], record).placed((frame.height, frame.width), (1, 1))
            except ValueError as error:
                found.append(str(error))
        if record and isinstance(record.mean, np.ndarray):
            found.append("preprocess: the mean is an image, which a compiled network does not take")
    if top:
        scores = outputs[0]
        if scores.dtype != np.float32 or top > scores.count(1):
            found.append(f"the best {top} are not among {scores.count(1)} scores of {scores.dtype}")
    return found


def _completed(value: Value, record: Preprocess | None) -> Preprocess:
    return (record or Preprocess()).for_input(value.of(1), value.dtype)


def attach(network: Network, frame: Frame | None, record: Preprocess | None, top: int) -> Network:
    """The network with these steps, to which there are no objections."""
    if frame:
        network = _with_frame(network, frame, _completed(network.inputs[0], record))
    return _with_top(network, top) if top else network


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _moved(step: _core.EmittedStep, to: Callable[[Place], Place]) -> _core.EmittedStep:
    """A step with its operands elsewhere."""
    changed = {key: to(step[key]) for key in ("x", "z", "y")}
    return cast("_core.EmittedStep", {**step, **changed})


def _step(code: str, args: bytes, x: Place, y: Place, **others: object) -> _core.EmittedStep:
    absent: dict[str, object] = {"z": (-1, 0), "workspace": (_ARENA, 0), "weights": []}
    absent |= {"chain": b"", "rows": (-1, 0)}
    told = dict.fromkeys(("name", "op", "algorithm", "problem", "code"), code)
    known = {"seconds": 0.0, "measured": False, "args": args, "x": x, "y": y}
    return cast("_core.EmittedStep", {**told, **absent, **known, **others})


def _with_frame(network: Network, frame: Frame, record: Preprocess) -> Network:
    value, [program] = network.inputs[0], network.programs
    nhwc = record.layout == "nhwc"
    shape = value.of(1)
    size = (shape[1], shape[2]) if nhwc else (shape[2], shape[3])
    planes = shape[3] if nhwc else shape[1]
    place, (top, left) = record.placed((frame.height, frame.width), size)
    rows, cols = _image.taps(
        (frame.height, frame.width),
        place.size,
        place.begin,
        place.step,
        record.resample == "pillow",
    )
    channels = 1 if frame.format == "grey" else 3
    red, blue = (2, 0) if frame.format == "bgr" else (0, 2)
    order = {"RGB": [red, 1, blue], "BGR": [blue, 1, red], "grey": [-1]}[record.color or "RGB"]
    chosen = [0] * planes if channels == 1 else order
    strides = (1, size[1] * planes, planes) if nhwc else (size[0] * size[1], size[1], 1)
    mean = np.broadcast_to(np.asarray(record.mean, np.float32), planes)
    scale = np.broadcast_to(record.scale, planes).tolist()
    border = ((record.pad - mean) * np.asarray(scale)).astype(np.float32)
    if value.dtype.kind in "iu":
        limits = np.iinfo(value.dtype)
        border = np.rint(border).clip(limits.min, limits.max)
    args = struct.pack(
        "=21i9f",
        *(frame.height, frame.width, FORMATS.index(frame.format), channels),
        *(top, left, *place.size, *size, planes, *_three(chosen)),
        *strides,
        *(rows.shape[2], cols.shape[2], record.resample == "pillow"),
        _TYPES.index(value.dtype.name),
        *(*_three(mean), *_three(scale), *_three(border)),
    )
    tables = rows.tobytes() + cols.tobytes()
    width = cols.shape[1] * channels
    workspace = 4 * rows.shape[2] + 4 * width * (rows.shape[2] + 1) + width + 3 * frame.width
    # Lines of the frame lie where nothing of the others is yet.
    offset, at = _aligned(len(network.weights)), _aligned(max(program["arena"], workspace))
    first = _step("camera_frame", args, (_FIRST, 0), (_ARENA, at), weights=[(_WEIGHTS, offset)])

    def to(place: Place) -> Place:
        return (_ARENA, at + place[1]) if place[0] == _FIRST else place

    steps = [first, *(_moved(step, to) for step in program["steps"])]
    end = at + _aligned(value.count(1) * value.dtype.itemsize)
    changed = cast("_core.EmittedProgram", {**program, "steps": steps, "arena": end})
    return network._replace(
        inputs=[Value("frame", frame.shape, np.dtype(np.uint8))],
        programs=[changed],
        weights=network.weights.ljust(offset, b"\0") + tables,
        front=(frame, record),
    )


def _three(numbers: Iterable[float]) -> list[float]:
    """Three of them, the rest zeros."""
    given = list(numbers)
    return given + [0] * (3 - len(given))


def _with_top(network: Network, top: int) -> Network:
    [program], scores = network.programs, network.outputs[0]
    base, at = _FIRST + len(network.inputs), _aligned(program["arena"])

    def to(place: Place) -> Place:
        if place[0] == base:
            return (_ARENA, at + place[1])
        return (place[0] + 1, place[1]) if place[0] > base else place

    count = scores.count(1)
    last = _step(
        "camera_top",
        struct.pack("=2i", count, top),
        (_ARENA, at),
        (base, 0),
        z=(base + 1, 0),
    )
    steps = [*(_moved(step, to) for step in program["steps"]), last]
    end = at + _aligned(count * scores.dtype.itemsize)
    changed = cast("_core.EmittedProgram", {**program, "steps": steps, "arena": end})
    best = [
        Value("classes", (top,), np.dtype(np.int32)),
        Value("scores", (top,), np.dtype(np.float32)),
    ]
    return network._replace(outputs=[*best, *network.outputs[1:]], programs=[changed], top=top)


def best(scores: npt.NDArray[np.float32], top: int) -> list[npt.NDArray[np.generic]]:
    """What the last step gives: places of the largest scores and those; of equal ones the first."""
    flat = scores.ravel()
    places = np.argsort(-flat, kind="stable")[:top].astype(np.int32)
    return [places, flat[places]]
