"""The protocol: one process per cell, outputs verified before any time counts, rounds interleaved.

A cell is one configuration of one runtime at one batch size. All cells of a batch size are started
and loaded one after the other, and their first outputs checked; then they take turns, in a new
random order each round, so that a disturbance of the machine falls on all of them; then their
logits are checked, last because that takes a second network in memory, and their processes end.
Where memory is scarce a process ends after each turn and starts again for the next.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..digits import Labelled
from .environments import missing
from .launch import launch
from .machine import Watch, memory_is_scarce
from .network import Expected
from .processes import SetupError
from .runtimes import Runtime

WORKER = Path(__file__).with_name("worker.py")
STEP_SECONDS = 600.0  # no import, load or round takes longer, on a Raspberry Pi either
ROUNDS = 5
LEAST = 3  # calls per cell, however long they take: one alone has no median


class WorkerError(Exception):
    """A worker failed; the message is the cell's reason. memory: it ran out of memory."""

    def __init__(self, reason: str, memory: bool = False) -> None:
        super().__init__(reason)
        self.memory = memory


class Worker:
    """A process of its own that answers requests (see worker.py) until it is closed or fails.

    Between requests it is stopped: threads of many libraries spin on for a while once they are
    done, on CPUs that the next one's turn needs.

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

    def ask(
        self, do: str, timeout: float = STEP_SECONDS, capped: bool = True, **request: Any
    ) -> dict[str, Any]:
        """Send a request, return its reply; WorkerError on error, crash, time-out or memory cap.

        capped: whether the memory cap holds for this request.
        """
        self._signal(signal.SIGCONT)
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
            if capped and self.memory_cap is not None and self._resident() > self.memory_cap:
                self.close()
                cap = f"{self.memory_cap / (1 << 20):.0f} MiB"
                raise WorkerError(f"over the memory cap of {cap} in {do}", memory=True)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            self.close()
            raise WorkerError(reply["error"], reply["memory"])
        self._signal(signal.SIGSTOP)
        return reply

    def close(self) -> None:
        """End the process and every process it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has died: reading says why
            os.killpg(self.process.pid, number)

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

    @property
    def int8(self) -> bool:
        """Whether it runs the network in int8."""
        return bool(self.settings.get("int8"))

    @property
    def smaller(self) -> bool:
        """Whether it runs a smaller network."""
        return bool(self.settings.get("smaller"))


@dataclass(frozen=True)
class Protocol:
    """How to measure a cell: `passes` calls, but three at least, and no longer than `seconds`.

    least: seconds it goes on for if the passes take less. interval: seconds to wait before each
    call, which are part of its time here; pause: before each turn. memory_cap: resident bytes above
    which a runtime is ended, None for no cap. importing: processes that import their runtimes at a
    time; how long it takes several is not told.
    """

    batches: Sequence[int]
    threads: int
    seconds: float
    passes: int
    least: float = 0.0
    memory_cap: int | None = None
    interval: float = 0.0
    pause: float = 0.0
    importing: int = 1


class Journal:
    """The cells of finished batch sizes in a file, from which a run cut short goes on.

    key: what identifies the run; a file with another is ignored.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {"key": json.loads(json.dumps(key)), "batches": {}}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["key"] == self.data["key"]:
                self.data = found

    def batches(self) -> list[int]:
        """The batch sizes it holds."""
        return [int(batch) for batch in self.data["batches"]]

    def restore(self, rows: Sequence[Row], watch: Watch) -> None:
        """Give the rows the cells it holds, and the watch what was seen meanwhile."""
        for cells in self.data["batches"].values():
            for row, cell in zip(rows, cells):
                row.cells.append(Cell(**cell))
        watch.resume(self.data.get("watch", {}))

    def keep(self, batch: int, rows: Sequence[Row], watch: Watch) -> None:
        """Add the last cell of every row, all of this batch size."""
        self.data["batches"][str(batch)] = [asdict(row.cells[-1]) for row in rows]
        self.data["watch"] = watch.state()
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data), encoding="utf-8")
        os.replace(new, self.path)  # whole or not at all


@dataclass
class _Entrant:
    """A cell while it is measured, and its process if it has one at the moment."""

    row: Row
    cell: Cell
    worker: Worker | None = None
    options: dict[str, Any] | None = None  # of that process, which has yet to import its runtime
    loaded: bool = False  # the network, by that process
    verified: bool = False
    reloaded: bool = False  # for every turn, since memory is scarce

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.worker, self.options, self.loaded = None, None, False


class Bench:
    """One run of the comparison; `folder` holds the exported network and takes scratch files.

    say(fraction, text) is told how much is done and what comes next. int8: what is expected of rows
    in int8, whose network is exported to `folder`/int8, or why there is none; smaller: the same of
    those of a smaller network, in `folder`/smaller.
    """

    def __init__(
        self,
        protocol: Protocol,
        expected: Expected,
        folder: Path,
        say: Callable[[float, str], None],
        *,
        int8: Expected | str = "not asked for",
        smaller: Expected | str = "not asked for",
        labelled: Labelled | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.protocol, self.expected, self.folder, self.say = protocol, expected, folder, say
        self.int8, self.smaller = int8, smaller
        self.journal = journal or Journal(folder / "journal.json", {})
        self.watch = Watch()
        np.save(folder / "images.npy", expected.images)
        # Without labels, rows in int8 are told in how many classes they agree with float64.
        self.share = "agreement" if labelled is None else "accuracy"
        sizes = expected.output.shape[1:]
        if (
            labelled is None
            and isinstance(int8, Expected)
            and math.prod(sizes) == max(sizes, default=0) > 1
        ):
            classes = expected.output.reshape(len(expected.images), -1).argmax(1)
            labelled = Labelled(expected.images, classes)
        self.labelled = labelled
        if labelled is not None:
            np.save(folder / "labelled.npy", labelled.images)
            np.save(folder / "labels.npy", labelled.labels)

    def measure(self, rows: Sequence[Row]) -> None:
        """Give every row its cell for every batch size. No process is left behind."""
        self.journal.restore(rows, self.watch)
        done = self.journal.batches()
        todo = [batch for batch in self.protocol.batches if batch not in done]
        steps = len(todo) * len(rows) * (1 + ROUNDS)
        for i, batch in enumerate(todo):
            self._measure(batch, rows, i / len(todo), 1 / max(1, steps))
            self.journal.keep(batch, rows, self.watch)
        for row in rows:
            row.cells.sort(key=lambda cell: cell.batch)

    def _measure(self, batch: int, rows: Sequence[Row], done: float, step: float) -> None:
        order = random.Random(batch)
        entrants = [_Entrant(row, Cell(batch)) for row in rows]
        with contextlib.ExitStack() as stack:
            for entrant in entrants:
                stack.callback(entrant.close)
            for i, entrant in enumerate(entrants):
                name, cell = entrant.row.name, entrant.cell
                self.say(done, f"batch {batch}: loading {name}")
                if i % self.protocol.importing == 0:
                    self._import(entrants[i : i + self.protocol.importing])
                if cell.status == "ok":
                    with _blame(cell):
                        self._open(entrant)
                        self._make_room(entrant)
                done += step
            for turn in range(ROUNDS):
                for entrant in order.sample(entrants, len(entrants)):
                    name, cell = entrant.row.name, entrant.cell
                    if cell.status == "ok":
                        self.say(done, f"batch {batch}: round {turn + 1} of {ROUNDS}, {name}")
                        with _blame(cell):
                            self._run(entrant, turn)
                            self._make_room(entrant, last=turn == ROUNDS - 1)
                    done += step
        for entrant in entrants:
            entrant.row.cells.append(entrant.cell)

    def _import(self, entrants: Sequence[_Entrant]) -> None:
        """Begin the processes of several entrants, which import their runtimes at once."""
        if len(entrants) < 2 or memory_is_scarce():
            return

        for entrant in entrants:  # in this thread: a process ends with the one that started it
            with _blame(entrant.cell):
                entrant.worker, entrant.options = self._start(entrant.row)

        def begin(entrant: _Entrant) -> None:
            with _blame(entrant.cell):
                self._begin(entrant)
            entrant.cell.facts.pop("import_s", None)

        with ThreadPoolExecutor(len(entrants)) as pool:
            list(pool.map(begin, [entrant for entrant in entrants if entrant.worker]))

    def _begin(self, entrant: _Entrant) -> Worker:
        """The entrant's process, started if there is none, its runtime imported."""
        row, cell = entrant.row, entrant.cell
        if entrant.worker is None:
            entrant.worker, entrant.options = self._start(row)
        if entrant.options is not None:
            options, entrant.options = entrant.options, None
            started = entrant.worker.ask(
                "start",
                adapter=str(row.runtime.adapter),
                module=row.runtime.module,
                threads=self.protocol.threads,
                options=options,
            )
            cell.facts = {**started, **cell.facts}
        return entrant.worker

    def _open(self, entrant: _Entrant) -> Worker:
        """The entrant's process, started and loaded if there is none, its first output checked."""
        worker = self._begin(entrant)
        if entrant.loaded:
            return worker
        row, cell = entrant.row, entrant.cell
        output = str(self.folder / row.name / "y.npy")
        network, expected = self._network(row)
        loaded = worker.ask(
            "load",
            network=str(network),
            batch=cell.batch,
            images=str(self.folder / "images.npy"),
            output=output,
        )
        entrant.loaded = True
        cell.facts = {**loaded, **cell.facts}
        check_output(cell, np.load(output), expected)
        return worker

    def _network(self, row: Row) -> tuple[Path, Expected]:
        """Where the row's network is, and what it should answer."""
        if not row.int8 and not row.smaller:
            return self.folder, self.expected
        expected = self.int8 if row.int8 else self.smaller
        if isinstance(expected, str):
            raise SetupError(expected)
        if row.settings.get("int8") == "own":  # other roundings: what is left is float64
            expected = replace(self.expected, tolerance=expected.tolerance)
        return self.folder / ("int8" if row.int8 else "smaller"), expected

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

    def _run(self, entrant: _Entrant, turn: int) -> None:
        """A turn of the entrant: its share of the calls that it has left, if any."""
        cell, protocol, rounds = entrant.cell, self.protocol, ROUNDS - turn
        if entrant.reloaded:  # which takes longer than its calls: the first and the last turn do
            rounds = {0: 2, ROUNDS - 1: 1}.get(turn, 0)
        if not rounds:
            return
        call = float(np.median(cell.times)) if cell.times else cell.facts["first_call_s"]
        call += protocol.interval
        spent = sum(cell.times) + protocol.interval * len(cell.times)
        left = protocol.passes - len(cell.times)
        calls = max(-(-left // rounds), math.ceil((protocol.least - spent) / rounds / call))
        if calls <= 0 or (spent + call > protocol.seconds and len(cell.times) >= LEAST):
            return
        worker, seconds = self._open(entrant), max(0.0, protocol.seconds - spent) / rounds
        time.sleep(protocol.pause)
        with self.watch.turn(worker.process.pid):
            reply = worker.ask(
                "run",
                timeout=STEP_SECONDS + protocol.interval * calls,
                seconds=seconds,
                calls=calls,
                warmup=call < seconds / 4,  # caches are cold for the smallest part of a long one
                interval=protocol.interval,
            )
        cell.times += reply["times"]
        cell.peak = max(cell.peak or 0, reply["peak"])
        cell.threads = max(cell.threads or 0, reply["threads"])
        cell.cpu += reply["cpu"]
        cell.wall += reply["wall"]

    def _make_room(self, entrant: _Entrant, last: bool = False) -> None:
        """Verify the entrant and end its process if this was its last turn or memory is scarce."""
        if not last and not memory_is_scarce():
            return
        row, cell = entrant.row, entrant.cell
        if cell.status == "ok" and not entrant.verified:
            worker = self._open(entrant)
            self._find_share(entrant, worker)
            logits = str(self.folder / row.name / "logits.npy")
            # The memory cap is for what is timed, not for this second network.
            worker.ask("logits", capped=False, output=logits)
            check_logits(cell, np.load(logits), self._network(row)[1])
            entrant.verified = True
        entrant.reloaded = True
        entrant.close()

    def _find_share(self, entrant: _Entrant, worker: Worker) -> None:
        """The share of images whose class is right, of rows for which there is one."""
        row, cell = entrant.row, entrant.cell
        if self.labelled is None or (self.share == "agreement" and not row.int8):
            return
        if any(self.share in cell.facts for cell in row.cells):
            return  # once is enough: every cell's outputs are compared
        call = max(cell.times, default=cell.facts["first_call_s"])
        calls = math.ceil(len(self.labelled.images) / cell.batch)
        found = worker.ask(
            "accuracy",
            timeout=STEP_SECONDS + 2 * calls * call,
            capped=False,
            images=str(self.folder / "labelled.npy"),
            labels=str(self.folder / "labels.npy"),
        )
        cell.facts[self.share] = found["accuracy"]


@contextlib.contextmanager
def _blame(cell: Cell) -> Iterator[None]:
    """One crash is one cell with its reason."""
    try:
        yield
    except WorkerError as error:
        cell.fail("memory" if error.memory else "error", str(error))
    except (SetupError, OSError) as error:
        cell.fail("error", str(error))


def check_output(cell: Cell, output: Any, expected: Expected) -> None:
    """Compare the output of the very program that is timed with float64."""
    result = expected.output[_first(cell.batch, expected)]
    limit = max(_limit(cell.batch, expected), expected.tolerance)
    # A probability moves by at most itself times twice the difference of the logits.
    drift, most = float(np.max(np.abs(output - result))), float(np.max(np.abs(result)))
    if not drift <= 2 * limit * most:  # NaN is no match either
        cell.fail("failed", f"the output differs by {drift:.2g}, its largest value is {most:.2g}")


def check_logits(cell: Cell, logits: Any, expected: Expected) -> None:
    """Compare the logits with float64, and note the largest difference."""
    wanted = expected.logits[_first(cell.batch, expected)]
    cell.limit = _limit(cell.batch, expected)
    cell.difference = float(np.max(np.abs(logits - wanted)))
    if not cell.difference <= cell.limit:
        cell.fail("failed", f"logits differ by {cell.difference:.2g}, allowed {cell.limit:.2g}")


def _first(batch: int, expected: Expected) -> Any:
    """Indices of the images in the worker's first batch."""
    return np.arange(batch) % len(expected.images)


def _limit(batch: int, expected: Expected) -> float:
    wanted = expected.logits[_first(batch, expected)]
    return expected.tolerance * float(np.sqrt(np.mean(wanted**2)))
