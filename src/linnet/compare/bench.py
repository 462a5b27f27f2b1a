"""The protocol: one process per cell, outputs verified before any time counts, rounds interleaved.

A cell is one configuration of one runtime at one batch size. All cells of a batch size are started,
loaded and verified one after the other; then they take turns, in a new random order each round, so
that a disturbance of the machine falls on all of them; then their processes end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from .environments import Runtime, SetupError, launch, missing
from .machine import Watch
from .network import Expected, Labelled

WORKER = Path(__file__).with_name("worker.py")
STEP_SECONDS = 600.0  # no import, load or round takes longer, on a Raspberry Pi either
ROUNDS = 5
LEAST = 3  # calls per cell, however long they take: one alone has no median
TOLERANCE = 5e-4  # of the rms of the logits: Winograd in float32 stays below, bfloat16 far above


class WorkerError(Exception):
    """A worker failed; the message is the cell's reason. memory: it ran out of memory."""

    def __init__(self, reason: str, memory: bool = False) -> None:
        super().__init__(reason)
        self.memory = memory


class Worker:
    """A process of its own that answers requests (see worker.py) until it is closed or fails.

    memory_cap: resident bytes above which it is killed, None for no cap.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log: Path,
        memory_cap: int | None = None,
    ) -> None:
        self.log, self.memory_cap = log, memory_cap
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=variables,
                cwd=log.parent,
                start_new_session=True,  # so that its children can be killed with it
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout

    def ask(self, do: str, timeout: float = STEP_SECONDS, **request: Any) -> dict[str, Any]:
        """Send a request, return its reply; WorkerError on error, crash, time-out or memory cap."""
        with contextlib.suppress(BrokenPipeError):  # it is gone: reading says why
            self.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self.stdin.flush()
        deadline, line = time.monotonic() + timeout, b""
        while not line.endswith(b"\n"):
            if select.select([self.stdout], [], [], 0.05)[0]:
                part = os.read(self.stdout.fileno(), 1 << 16)
                if not part:
                    raise self._death(do)
                line += part
            elif time.monotonic() > deadline:
                self.close()
                raise WorkerError(f"{do} took more than {timeout:.0f} s")
            if self.memory_cap is not None and self._resident() > self.memory_cap:
                self.close()
                raise WorkerError(f"over the memory cap in {do}", memory=True)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            self.close()
            raise WorkerError(reply["error"], reply["memory"])
        return reply

    def close(self) -> None:
        """End the process and every process it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()

    def _resident(self) -> int:
        try:
            with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def _death(self, do: str) -> WorkerError:
        code = self.process.wait()
        self.close()
        text = self.log.read_text(encoding="utf-8", errors="replace")
        last = ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1][:200]
        if code < 0:
            memory = -code == signal.SIGKILL or "bad_alloc" in text
            killed = " (out of memory?)" if -code == signal.SIGKILL else ""
            return WorkerError(
                f"{signal.Signals(-code).name} in {do}{killed}: {last}".rstrip(": "), memory
            )
        return WorkerError(f"ended with status {code} in {do}: {last}".rstrip(": "))


@dataclass
class Cell:
    """What is known of one configuration at one batch size.

    status: "ok", "failed" (wrong output), "memory" or "error", the last three with a reason.
    times: seconds per call. difference: largest absolute difference of a logit from float64; limit:
    how much is allowed. peak: highest resident bytes. threads: threads that worked; cpu, wall: CPU
    seconds of all of them, and seconds, over all rounds. facts: what the worker said of itself.
    """

    batch: int
    status: str = "ok"
    reason: str = ""
    times: list[float] = field(default_factory=list)
    difference: float | None = None
    limit: float | None = None
    peak: int | None = None
    threads: int | None = None
    cpu: float = 0.0
    wall: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def per_image(self) -> list[float]:
        """Milliseconds per image of every timed call."""
        return [t * 1e3 / self.batch for t in self.times]

    @property
    def cpus(self) -> float | None:
        """CPUs kept busy, on average."""
        return self.cpu / self.wall if self.wall else None

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_image))

    @property
    def median(self) -> float:
        return float(np.median(self.per_image))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.percentile(self.per_image, [25, 75])
        return float(low), float(high)

    def fail(self, status: str, reason: str) -> None:
        self.status, self.reason, self.times = status, reason, []


@dataclass
class Row:
    """One configuration of one runtime, with a cell per batch size."""

    name: str
    runtime: Runtime
    settings: Mapping[str, Any]
    cells: list[Cell] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """How to measure: at most `passes` calls and `seconds` per cell, but three calls at least.

    memory_cap: resident bytes above which a runtime is ended, None for no cap.
    """

    batches: Sequence[int]
    threads: int
    seconds: float
    passes: int
    memory_cap: int | None = None


class Bench:
    """One run of the comparison; `folder` holds the exported network and takes scratch files."""

    def __init__(
        self,
        protocol: Protocol,
        expected: Expected,
        folder: Path,
        say: Callable[[str], None],
        labelled: Labelled | None = None,
    ) -> None:
        self.protocol, self.expected, self.folder, self.say = protocol, expected, folder, say
        self.watch = Watch()
        np.save(folder / "images.npy", expected.images)
        self.labelled = labelled is not None
        if labelled is not None:
            np.save(folder / "labelled.npy", labelled.images)
            np.save(folder / "labels.npy", labelled.labels)

    def measure(self, rows: Sequence[Row]) -> None:
        """Give every row its cell for every batch size. No process is left behind."""
        order = random.Random(0)
        for batch in self.protocol.batches:
            running: list[tuple[Worker, Cell]] = []
            with contextlib.ExitStack() as stack:
                for row in rows:
                    self.say(f"batch {batch}: loading and verifying {row.name}")
                    cell = Cell(batch)
                    row.cells.append(cell)
                    with _blame(cell):
                        worker, options = self._start(row)
                        stack.callback(worker.close)
                        self._load(worker, row, cell, options)
                    if cell.status == "ok":
                        running.append((worker, cell))
                for turn in range(ROUNDS):
                    self.say(f"batch {batch}: round {turn + 1} of {ROUNDS}")
                    for worker, cell in order.sample(running, len(running)):
                        if cell.status == "ok":
                            with _blame(cell), self.watch.turn(worker.process.pid):
                                self._run(worker, cell, turn)

    def _start(self, row: Row) -> tuple[Worker, dict[str, Any]]:
        reason = missing(row.runtime, row.settings)
        if reason is not None:
            raise SetupError(reason)
        scratch = self.folder / row.name
        scratch.mkdir(exist_ok=True)
        start = launch(row.runtime, row.settings, self.protocol.threads, scratch)
        arguments, log = [*start.command, str(WORKER)], scratch / "log"
        worker = Worker(arguments, start.variables, log, self.protocol.memory_cap)
        return worker, start.options

    def _load(self, worker: Worker, row: Row, cell: Cell, options: dict[str, Any]) -> None:
        output, logits = (str(self.folder / row.name / f"{name}.npy") for name in ("y", "logits"))
        started = worker.ask(
            "start",
            adapter=str(row.runtime.adapter),
            threads=self.protocol.threads,
            options=options,
        )
        cell.facts.update(started)
        loaded = worker.ask(
            "load",
            network=str(self.folder),
            batch=cell.batch,
            images=str(self.folder / "images.npy"),
            output=output,
        )
        cell.facts.update(loaded)
        # Once is enough: every cell's outputs are compared below.
        if self.labelled and not any("accuracy" in c.facts for c in row.cells):
            images, labels = (str(self.folder / f"{name}.npy") for name in ("labelled", "labels"))
            cell.facts.update(worker.ask("accuracy", images=images, labels=labels))
        cell.peak = worker.ask("logits", output=logits)["peak"]
        verify(cell, np.load(output), np.load(logits), self.expected)

    def _run(self, worker: Worker, cell: Cell, turn: int) -> None:
        call = float(np.median(cell.times)) if cell.times else cell.facts["first_call_s"]
        spent, left = sum(cell.times), self.protocol.passes - len(cell.times)
        late = spent + call > self.protocol.seconds and len(cell.times) >= LEAST
        if late or left <= 0:
            return
        seconds = max(0.0, self.protocol.seconds - spent) / (ROUNDS - turn)
        reply = worker.ask(
            "run",
            seconds=seconds,
            calls=max(1, -(-left // (ROUNDS - turn))),
            warmup=turn == 0 or call < seconds / 4,
        )
        cell.times += reply["times"]
        cell.peak = max(cell.peak or 0, reply["peak"])
        cell.threads = max(cell.threads or 0, reply["threads"])
        cell.cpu += reply["cpu"]
        cell.wall += reply["wall"]


@contextlib.contextmanager
def _blame(cell: Cell) -> Iterator[None]:
    """One crash is one cell with its reason."""
    try:
        yield
    except WorkerError as error:
        cell.fail("memory" if error.memory else "error", str(error))
    except (SetupError, OSError) as error:
        cell.fail("error", str(error))


def verify(cell: Cell, output: Any, logits: Any, expected: Expected) -> None:
    """Compare with float64: the logits, and the output of the very program that is timed."""
    which = np.arange(cell.batch) % len(expected.images)  # the worker's first batch
    wanted, result = expected.logits[which], expected.output[which]
    cell.limit = TOLERANCE * float(np.sqrt(np.mean(wanted**2)))
    cell.difference = float(np.max(np.abs(logits - wanted)))
    # A probability moves by at most itself times twice the difference of the logits.
    drift, most = float(np.max(np.abs(output - result))), float(np.max(np.abs(result)))
    if not cell.difference <= cell.limit:  # NaN is no match either
        cell.fail("failed", f"logits differ by {cell.difference:.2g}, allowed {cell.limit:.2g}")
    elif not drift <= 2 * max(cell.limit, TOLERANCE) * most:
        cell.fail("failed", f"the output differs by {drift:.2g}, its largest value is {most:.2g}")
