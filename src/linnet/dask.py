"""Pictures on the workers of a Dask cluster: names or bytes of files go there, answers come back.

Debian's Dask of bookworm (2022.12) and the newest are spoken; client, scheduler and workers need
the same version of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Union

import linnet

from . import _core
from . import stream as streams
from .answers import Answers
from .formats import Given
from .preprocess import Preprocess
from .session import Session
from .text import count

Name = Union[str, "os.PathLike[str]", bytes]

_PATIENCE = 30.0  # seconds that no worker, or no scheduler, is waited for
_TASK_SECONDS = 1.0  # that a task should take
_MOST_PICTURES = 64  # of a task
_FAILURES = 3  # of a task before its error is that of the run


def map_images(
    scheduler: str,
    model: Given,
    pictures: Iterable[Name],
    weights: Given | None = None,
    *,
    stages: Sequence[str] = (),
    outputs: Sequence[str] = (),
    preprocess: Preprocess | Mapping[str, Any] | None = None,
    arithmetic: str | None = None,
    fetch: Sequence[str] = (),
    top: int = 5,
    values: bool = False,
    labels: Sequence[str] | None = None,
    batch: int | None = None,
    readers: int | None = None,
    shared: bool = False,
    **options: Any,
) -> Generator[streams.Answer, None, None]:
    """Run a model on pictures by the workers of a Dask scheduler; an answer for each, in order:
    {"outputs": {...}} as linnet.answers.Answers tells, or {"error": why there is no picture}.

    scheduler: its address, as "tcp://10.0.0.1:8786". model, weights, stages, outputs, preprocess,
        arithmetic: as for linnet.load; each worker gets the model once. pictures: names of
        files, or their bytes. fetch, top, values, labels: as for Answers. batch: images of each
        run, by default what is fastest on a worker. readers: threads of a worker that read them.
        shared: names are those that workers find files by; else files are read here and sent.
        options: of each worker's session, as for linnet.load.

    A worker that is lost is made good for by others, as Dask does. RuntimeError if the scheduler
    cannot be reached or is lost, no worker is there, or versions differ; else what linnet.load
    raises.
    """
    how: dict[str, Any] = {"stages": stages, "outputs": outputs, "arithmetic": arithmetic}
    told = {"fetch": fetch, "top": top, "values": values, "labels": labels}
    with Cluster(scheduler, packed(model, weights, **how), told, preprocess, options) as cluster:
        yield from cluster.map(pictures, cluster.settle(batch), readers, shared)


def packed(model: Given, weights: Given | None = None, **how: Any) -> bytes:
    """A model as the bytes of one ONNX file that linnet reads fastest and without other packages.

    how: stages, outputs and arithmetic, as for linnet.load.
    """
    if isinstance(model, (str, os.PathLike)) and weights is None and not any(how.values()):
        with suppress(ValueError, OSError):
            _core.read_onnx(os.fsencode(model))
            return Path(model).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        linnet.convert(model, weights, path, **how)
        return path.read_bytes()


def _plain(given: Preprocess | Mapping[str, Any] | None) -> Any:
    """A record, or some fields of one, without arrays: NumPy's versions pickle them differently."""
    if given is None:
        return None
    if isinstance(given, Preprocess):
        return given.text()
    return {
        name: json.loads(Preprocess(**{name: v}).text()).get(name, v) for name, v in given.items()
    }


class _Work(NamedTuple):
    """What a worker needs beside the model to answer."""

    key: str  # of the model and how it is loaded
    preprocess: Any  # as of _plain
    options: dict[str, Any]
    answers: dict[str, Any]


class Cluster:
    """A scheduler with its workers, and the model that they have."""

    def __init__(
        self,
        scheduler: str,
        model: bytes,
        answers: dict[str, Any],
        preprocess: Preprocess | Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> None:
        """answers: arguments of Answers; preprocess, options: of linnet.load. RuntimeError if there
        is no such scheduler, no worker within half a minute, or versions differ.
        """
        try:
            import distributed
        except ImportError:
            raise RuntimeError(
                "Dask is not there: pip install 'linnet[dask]', on Debian apt install "
                "python3-distributed"
            ) from None
        self._address = scheduler
        own = _release(distributed.__version__)
        try:
            # Asked before a client is made: those of other versions fail in ways of their own.
            theirs = asyncio.run(_version_of(scheduler))
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{scheduler}: no Dask scheduler answers: {error}") from None
        if theirs != own:
            raise RuntimeError(
                f"{scheduler}: the scheduler has Dask {theirs}, this program {own}: both and all "
                "workers need the same"
            )
        with _lost(scheduler), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mismatched versions")  # see _check
            self._client = distributed.Client(scheduler, timeout=_PATIENCE, set_as_default=False)
        try:
            self._wait(own)
            self._check(own)
            record = _plain(preprocess)
            text = repr((record, sorted(options.items())))
            key = hashlib.sha256(model + text.encode("utf-8", "backslashreplace")).hexdigest()
            self._work = _Work(key, record, options, answers)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="(Sending large|Large object)")
                # A task, not data that is scattered, can be run again if its worker is lost.
                self._model = self._client.submit(bytes, model, key=f"linnet-model-{key}")
        except BaseException:
            self._client.close(timeout=1)
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *ignored: object) -> None:
        del self._model
        if self._client.status == "running":
            self._client.close()

    def _wait(self, own: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not self._threads():
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{self._address}: no worker has come within {_PATIENCE:.0f} s; they need Dask "
                    f"{own}, as the scheduler has"
                )
            time.sleep(0.1)

    def _threads(self) -> int:
        with _lost(self._address):
            return sum(self._client.nthreads().values())

    def _check(self, own: str) -> None:
        """RuntimeError if a worker has another version of Dask or linnet."""
        with _lost(self._address):
            workers = self._client.get_versions()["workers"]
            versions = {
                address: _release(found["packages"]["distributed"])
                for address, found in workers.items()
            }
            what = "Dask"
            if set(versions.values()) == {own}:
                what, own = "linnet", linnet.__version__
                try:
                    versions = self._client.run(_version)
                except Exception as error:  # of several types, as Dask's version has it
                    if "No module named 'linnet" not in str(error):
                        raise
                    raise RuntimeError(
                        f"{self._address}: a worker has no linnet: install {own} there"
                    ) from None
        others = {address: version for address, version in versions.items() if version != own}
        if others:
            address, version = next(iter(others.items()))
            raise RuntimeError(
                f"{self._address}: {count(len(others), 'worker')} of {len(versions)} with {what} "
                f"{version}, as {address}, not {own} as here: all need the same"
            )

    def settle(self, batch: int | None = None) -> streams.Job:
        """As `stream.settle`, on one of the workers."""
        task = self._client.submit(_settle, self._model, self._work, batch, pure=False)
        return streams.Job(*self._result(task))

    def map(
        self,
        pictures: Iterable[Name],
        job: streams.Job,
        readers: int | None = None,
        shared: bool = False,
    ) -> Generator[streams.Answer, None, None]:
        """An answer for each picture, in their order; as of `map_images`."""
        runs = max(1, round(_TASK_SECONDS / (job.batch * max(job.seconds, 1e-6))))
        size = max(job.batch, min(job.batch * runs, _MOST_PICTURES // job.batch * job.batch))
        left = iter(pictures)
        tasks: deque[tuple[list[Name], Any]] = deque()

        def fill() -> None:
            while len(tasks) < 2 * self._threads() + 1:
                names = list(islice(left, size))
                if not names:
                    return
                sent = [_sent(name, shared) for name in names]
                task = self._client.submit(
                    _answer, self._model, self._work, job.batch, readers, sent,
                    pure=False, retries=_FAILURES,
                )  # fmt: skip
                tasks.append((names, task))

        fill()
        while tasks:
            names, task = tasks.popleft()
            answers = self._result(task)
            del task
            fill()
            if shared:
                for name, answer in zip(names, answers):
                    if "error" in answer and not isinstance(name, bytes) and os.path.exists(name):
                        self._unseen(name, answer["error"])
            yield from answers

    def _unseen(self, name: Any, reason: str) -> None:
        if reason == os.strerror(2):
            raise RuntimeError(
                f"{self._address}: a worker does not find {name}, which is here: share its folder, "
                "or send the pictures"
            )

    def _result(self, task: Any) -> Any:
        """Of a task, however long it takes, while there are workers and a scheduler."""
        import distributed

        alone = None  # since when there has been no worker
        while True:
            try:
                with _lost(self._address, task):
                    return task.result(timeout=2)
            except distributed.KilledWorker:
                raise RuntimeError(
                    f"{self._address}: {_FAILURES + 1} workers died of the same pictures"
                ) from None
            except (TimeoutError, asyncio.TimeoutError):
                if task.status == "error":
                    raise
            if self._client.status != "running":
                raise RuntimeError(f"{self._address}: the scheduler is lost")
            if self._threads():
                alone = None
                continue
            alone = alone or time.monotonic()
            if time.monotonic() - alone > _PATIENCE:
                raise RuntimeError(f"{self._address}: all workers are lost")


@contextmanager
def _lost(address: str, task: Any = None) -> Iterator[None]:
    """Dask's errors when a scheduler goes, of several types, as one that says so; those of a task
    as they are.
    """
    try:
        yield
    except (TimeoutError, asyncio.TimeoutError):
        raise
    except (OSError, CancelledError, asyncio.CancelledError):
        if task is not None and task.status == "error":
            raise
        raise RuntimeError(f"{address}: the scheduler is lost") from None


async def _version_of(scheduler: str) -> str:
    from distributed.core import rpc

    async with rpc(scheduler, timeout=_PATIENCE) as remote:
        found = await remote.versions()
    return _release(found["packages"]["distributed"])


def _release(version: str) -> str:
    """Without what a distribution adds: Debian's 2022.12.1+ds.1 is the 2022.12.1 of PyPI."""
    return version.partition("+")[0]


def _sent(name: Name, shared: bool) -> Any:
    """What goes to a worker: a name, the file's bytes, or an answer if it cannot be read here."""
    if isinstance(name, bytes):
        return name
    if shared:
        return os.path.abspath(name)
    try:
        return Path(name).read_bytes()
    except OSError as error:
        return {"error": error.strerror or str(error)}


# On a worker.

_loaded: tuple[str, Session] | None = None
_loading = threading.Lock()


def _version() -> str:
    return linnet.__version__


def _session(model: bytes, work: _Work) -> Session:
    """Of this process, which has the model once, whatever number of tasks it does at a time."""
    global _loaded  # noqa: PLW0603
    with _loading:
        if _loaded is None or _loaded[0] != work.key:
            _loaded = None  # before there is another: a board has memory for one
            record = work.preprocess
            record = Preprocess.parse(record) if isinstance(record, str) else record
            with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
                file.write(model)
                file.flush()
                net = linnet.load(file.name, preprocess=record, **work.options)
            _loaded = work.key, net
        return _loaded[1]


def _settle(model: bytes, work: _Work, batch: int | None) -> tuple[Any, ...]:
    net = _session(model, work)
    return tuple(streams.settle(net, Answers(net, **work.answers), batch))


def _answer(
    model: bytes, work: _Work, batch: int, readers: int | None, sent: Sequence[Any]
) -> list[streams.Answer]:
    net = _session(model, work)
    pictures = [picture for picture in sent if not isinstance(picture, dict)]
    made = streams.stream(net, pictures, Answers(net, **work.answers), batch, readers)
    answers = iter(list(made))
    return [picture if isinstance(picture, dict) else next(answers) for picture in sent]
