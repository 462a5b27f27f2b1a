"""A model on many pictures: they are read ahead by threads while it runs on those before."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .answers import Answers
from .preprocess import Picture
from .session import Session

Array = npt.NDArray[Any]
Answer = dict[str, Any]  # {"outputs": what Answers tells} or {"error": why there is no picture}

BATCHES = (2, 4, 8, 16, 32)  # of one image sums may be ordered otherwise than in all of these
_GAIN = 1.03  # that a larger batch has to bring
_LONGEST = 2.0  # seconds of a run
_MOST_BYTES = 1 << 26  # of inputs and outputs of a batch
_BESIDE = 5  # how much less urgent than the model's threads those are that read


class Job(NamedTuple):
    """How a model runs on pictures."""

    batch: int  # images of each run
    seconds: float  # that an image takes
    example: dict[str, Any]  # what is told of one


def settle(net: Session, answers: Answers, batch: int | None = None) -> Job:
    """Try a model on a blank picture and, if no batch is given, find how many images at once are
    fastest.

    A model without a batch, or whose size is the picture's, runs on one at a time. ValueError if it
    takes no pictures, or not as many at once.
    """
    blank = np.zeros((64, 64, 3), np.uint8)
    one = net.prepare(blank)
    single = _is_single(net)
    if single or (batch is None and net.prepare(blank[:32]).shape != one.shape):
        batch = 1
    tried = deque([batch] if batch else BATCHES)
    best = None
    while tried:
        size = tried.popleft()
        x = one if single else np.repeat(one, size, axis=0)
        arrays = _run(net, answers, x)
        begin = time.perf_counter()
        arrays = _run(net, answers, x)
        seconds = (time.perf_counter() - begin) / size
        if best and seconds * _GAIN > best.seconds:
            break
        best = Job(size, seconds, answers.of([array[:1] for array in arrays])[0])
        moved = 2 * (x.nbytes + sum(array.nbytes for array in arrays))
        if 2 * size * seconds > _LONGEST or moved > _MOST_BYTES:
            break
    assert best
    return best


def stream(
    net: Session,
    pictures: Iterable[Picture],
    answers: Answers,
    batch: int,
    readers: int | None = None,
) -> Generator[Answer, None, None]:
    """Run a model on pictures, files' names or bytes; an answer for each, in their order.

    batch: images of each run, as of `settle`; where there are fewer, the last is repeated, so that
    what is told of a picture does not depend on those beside it. readers: threads that read, by
    default one for each core. No more than some three batches are held at a time.
    """
    readers = readers or _core.default_threads()
    with _pool(readers, _less_urgent) as reading, _pool(1) as running:
        runs: deque[Future[list[Answer]]] = deque()
        for group in _groups(_ahead(reading, net, pictures, 2 * batch + readers), batch):
            runs.append(running.submit(_answer, net, answers, group, batch))
            while len(runs) > 1:  # answers are taken while the model runs on the next
                yield from runs.popleft().result()
        for run in runs:
            yield from run.result()


@contextmanager
def _pool(threads: int, begin: Callable[[], None] | None = None) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads, initializer=begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _less_urgent() -> None:
    """A thread that reads leaves the cores to those of the model: each step of a run ends with its
    slowest thread.
    """
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _BESIDE)


def _ahead(
    pool: ThreadPoolExecutor, net: Session, pictures: Iterable[Picture], most: int
) -> Iterator[Array | str]:
    """Of each picture the input, [1, ...] or without a batch, or why there is none."""
    left = iter(pictures)
    waiting = deque(pool.submit(_read, net, picture) for picture in islice(left, most))
    while waiting:
        read = waiting.popleft().result()
        waiting.extend(pool.submit(_read, net, picture) for picture in islice(left, 1))
        yield read


def _read(net: Session, picture: Picture) -> Array | str:
    try:
        return net.prepare(picture)
    except MemoryError:
        return "it takes more memory than there is"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        if isinstance(picture, (str, os.PathLike)):
            return str(error).removeprefix(f"{os.fsdecode(picture)}: ")
        return str(error)


def _groups(reads: Iterable[Array | str], batch: int) -> Iterator[list[Array | str]]:
    """As many as run at once, of one shape, and why there are none of those between."""
    group: list[Array | str] = []
    shape, count = None, 0
    for read in reads:
        if isinstance(read, np.ndarray):
            if count and read.shape != shape:
                yield group
                group, count = [], 0
            shape, count = read.shape, count + 1
        group.append(read)
        if count == batch or len(group) >= 4 * batch:
            yield group
            group, count = [], 0
    if group:
        yield group


def _answer(
    net: Session, answers: Answers, group: Sequence[Array | str], batch: int
) -> list[Answer]:
    images = [read for read in group if isinstance(read, np.ndarray)]
    told: Iterator[dict[str, Any]] = iter(())
    if images:
        rows = images + images[-1:] * (batch - len(images))
        x = images[0] if _is_single(net) else np.concatenate(rows)
        told = iter(answers.of([array[: len(images)] for array in _run(net, answers, x)]))
    return [{"error": read} if isinstance(read, str) else {"outputs": next(told)} for read in group]


def _run(net: Session, answers: Answers, x: Array) -> list[Array]:
    """The values that are told of, [n, ...]."""
    net.reset()  # nothing is kept from one picture to another
    arrays = net.run(x, fetch=answers.names)
    return [array[None] for array in arrays] if _is_single(net) else arrays


def _is_single(net: Session) -> bool:
    """Whether the model takes one picture at a time, without a batch."""
    return net.inputs[0].shape[0] is not None
