"""linnet run on folders, lists and patterns of pictures: a line for each, in a file or not."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from .. import folder, results, stream
from ..answers import Answers
from ..text import count as counted
from ..text import listed
from .inputs import files, load, names_in, preprocess, read_labels
from .options import arithmetic, count, session_options
from .result import Result

_WRITTEN = 0.5  # seconds from one time that lines are written, and progress shown, to the next
_UNSEEN = 60.0  # the same for progress where no terminal is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "pictures", "folders, names, patterns, or .txt files with a name a line: a result for each"
    )
    add = group.add_argument
    add(
        "-o",
        "--out",
        metavar="FILE",
        help=f"where to: {' or '.join(results.SUFFIXES)} (default: lines of JSON on stdout)",
    )
    add("--resume", action="store_true", help="go on with FILE, which a run left unfinished")
    add("--shard", type=_shard, metavar="I/N", help="the I-th of N parts of the pictures alone")
    add(
        "--batch",
        type=_batch,
        metavar="N",
        help="pictures at once (default: auto, what is fastest here)",
    )
    add("--readers", type=count, metavar="N", help="threads that read (default: one for each core)")
    add("--values", action="store_true", help="write the numbers, not classes or statistics")
    add("--scheduler", metavar="tcp://HOST:8786", help="a Dask cluster that runs the model")
    add(
        "--shared-folder",
        action="store_true",
        help="its workers find the pictures by their names: do not send them",
    )


def _batch(text: str) -> int | None:
    return None if text == "auto" else count(text)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    found = count(part), count(parts)
    if found[0] > found[1]:
        raise argparse.ArgumentTypeError(f"{text} is not one of {found[1]} parts")
    return found


def split(args: argparse.Namespace) -> list[str]:
    """The arguments that name pictures, which are taken from those that name the model."""
    first = 1 if args.model is None else 0  # the model may be a folder itself
    names: list[str] = args.files
    begin = next((i for i in range(first, len(names)) if folder.names_pictures(names[i])), None)
    if begin is None:
        own = ("out", "resume", "shard", "batch", "readers", "values", "scheduler", "shared_folder")
        given = [name for name in own if getattr(args, name) not in (None, False)]
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')} is for a folder of pictures")
        return []
    for name in ("image", "inputs", "fill", "save_outputs"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is not for {listed(names[begin:])}")
    args.files = names[:begin]
    return names[begin:]


def run(args: argparse.Namespace) -> Result | int:
    if args.resume and args.out is None:
        raise ValueError("--resume needs --out, the file to go on with")
    if args.shared_folder and args.scheduler is None:
        raise ValueError("--shared-folder is for --scheduler")
    names: Sequence[str] = folder.named(args.pictures)
    if args.shard:
        names = folder.shard(names, *args.shard)
    with ExitStack() as stack:
        if args.out is None:
            made, _ = _answers(args, names, None, stack)
            for name, answer in zip(names, made):
                sys.stdout.buffer.write(results.line(name, answer))
            return 0
        file = stack.enter_context(results.Results(args.out, names, _given(args), args.resume))
        progress = Progress(len(names), file.done)
        left = names[file.done :]
        if left:
            made, settled = _answers(args, left, file.settled, stack)
            file.settle(settled)
            progress.begin()
            try:
                for answers in _for_a_while(zip(left, made)):
                    file.add(answers)
                    progress.add(answers)
            except RuntimeError as error:
                so_far = f"{args.out} has {file.done:,} of {len(names):,} lines"
                raise RuntimeError(f"{error}; {so_far}, --resume goes on with it") from None
            finally:
                progress.end()
        file.finish()
    data = {"file": args.out, "pictures": len(names), **progress.summary()}
    return Result(data, [f"{args.out}: {progress.text()}"])


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """What lines depend on."""
    model, weights, _ = files(args)
    stamps = [os.stat(path) for path in (model, weights) if path is not None]
    names = ("stages", "outputs", "float", "weights_dtype", "fetch", "top", "labels", "values")
    record = (preprocess(args) or {}).items()
    return {
        "model": [[stamp.st_size, stamp.st_mtime_ns] for stamp in stamps],
        **{name: getattr(args, name) for name in names},
        **{name: value if name != "mean" else np.array(value).tolist() for name, value in record},
    }


def _answers(
    args: argparse.Namespace,
    names: Sequence[str],
    settled: dict[str, Any] | None,
    stack: ExitStack,
) -> tuple[Iterator[stream.Answer], dict[str, Any]]:
    """An answer for each picture, until the stack is closed; and what a run that goes on with them
    has to know.
    """
    batch = settled["batch"] if settled else args.batch
    net = load(args) if args.scheduler is None or args.fetch else None
    told: dict[str, Any] = {
        "fetch": names_in(args.fetch, net) if net else [],
        "top": args.top or 5,
        "values": args.values,
        "labels": read_labels(args.labels),
    }
    if args.scheduler is not None:
        from .. import dask

        model, weights, _ = files(args)
        how = {"stages": args.stages, "outputs": args.outputs, "arithmetic": arithmetic(args)}
        packed = dask.packed(model, weights, **how)
        given = {k: v for k, v in session_options(args).items() if v not in (None, False)}
        cluster = dask.Cluster(args.scheduler, packed, told, preprocess(args), given)
        stack.enter_context(cluster)
        job = cluster.settle(batch)
        made = cluster.map(names, job, args.readers, args.shared_folder)
    else:
        assert net
        answers = Answers(net, **told)
        job = stream.settle(net, answers, batch)
        made = stream.stream(net, names, answers, job.batch, args.readers)
    stack.enter_context(closing(made))
    return made, settled or {"batch": job.batch, "columns": list(results.flat(job.example))}


def _for_a_while(pairs: Iterator[tuple[str, stream.Answer]]) -> Iterator[list[Any]]:
    """What comes within _WRITTEN seconds, again and again."""
    taken: list[Any] = []
    end = time.monotonic() + _WRITTEN
    for pair in pairs:
        taken.append(pair)
        if time.monotonic() >= end or len(taken) >= 1000:
            yield taken
            taken, end = [], time.monotonic() + _WRITTEN
    if taken:
        yield taken


class Progress:
    """Shows how far a run is on stderr: on a terminal in one line, else a line a minute."""

    def __init__(self, total: int, before: int) -> None:
        self._total, self._done, self._new, self._broken = total, before, 0, 0
        self._terminal = sys.stderr.isatty()
        self.begin()

    def begin(self) -> None:
        """From now on time is taken."""
        self._begin = self._shown = time.monotonic()

    def add(self, answers: Sequence[tuple[str, stream.Answer]]) -> None:
        self._done += len(answers)
        self._new += len(answers)
        self._broken += sum("error" in answer for _, answer in answers)
        now = time.monotonic()
        if now - self._shown >= (_WRITTEN if self._terminal else _UNSEEN):
            self._shown = now
            self._show(f"{self._done:,} of {self._total:,}, {self._rate()}, {self._left()} left")

    def _show(self, text: str) -> None:
        broken = f", {self._broken:,} not readable" if self._broken else ""
        end, begin = ("", "\r") if self._terminal else ("\n", "")
        print(f"{begin}{text}{broken}".ljust(78), end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._terminal:
            print("\r".ljust(79), end="\r", file=sys.stderr, flush=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def _rate(self) -> str:
        return f"{self._new / max(self._seconds(), 1e-3):.1f} images/s"

    def _left(self) -> str:
        seconds = round((self._total - self._done) * self._seconds() / max(self._new, 1))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"

    def summary(self) -> dict[str, Any]:
        return {"new": self._new, "not_readable": self._broken, "seconds": self._seconds()}

    def text(self) -> str:
        if not self._new:
            return f"{counted(self._done, 'picture')}, all there already"
        return (
            f"{counted(self._done, 'picture')}, {self._new:,} of them now, {self._broken:,} not "
            f"readable, {self._seconds():.1f} s, {self._rate()}"
        )
