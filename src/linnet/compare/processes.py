"""Processes, folders and locks that end with whoever started them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar


class SetupError(Exception):
    """An environment cannot be made; the message is the reason shown in its cells."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Makes exceptions of SIGTERM and SIGHUP, so that processes end and temporary folders go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new temporary folder, removed at the end; those that killed processes left behind as well.

    Who uses a folder holds its lock, which ends with the process however that ends.
    """
    prefix = f"linnet-compare-{os.getuid()}-"
    for stale in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError), locked(stale, os.O_RDONLY, fcntl.LOCK_NB):
            shutil.rmtree(stale)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix))
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(locked(folder, os.O_RDONLY))
            if folder.exists():  # nobody took it for stale before it was locked
                break
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


class Child:
    """A command that runs in a process group of its own, which ends with this process.

    The group is led by a shell that is told when this thread is gone, since Linux tells children
    alone: a compiler three levels down would go on.
    """

    LEADER = 'trap "trap - TERM; kill -TERM 0" TERM; "$@" & wait $!'
    running: ClassVar[set[Child]] = set()
    lock: ClassVar = threading.Lock()
    ended: ClassVar = False

    def __init__(
        self, arguments: Sequence[str], log: Any, variables: Mapping[str, str], folder: Path | None
    ) -> None:
        guard = ["bash", "-c", self.LEADER, "bash"]
        if shutil.which("setpriv"):
            guard = ["setpriv", "--pdeathsig", "TERM", "--", *guard]
        with self.lock:
            if Child.ended:
                raise SetupError("interrupted")
            self.process = subprocess.Popen(
                [*guard, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                cwd=folder,
                start_new_session=True,
            )
            self.running.add(self)

    def wait(self, timeout: float) -> int:
        """Its exit status; subprocess.TimeoutExpired after `timeout` seconds."""
        try:
            return self.process.wait(timeout)
        finally:
            self.end()
            with self.lock:
                self.running.discard(self)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @classmethod
    def end_all(cls) -> None:
        """End what runs and start nothing more."""
        with cls.lock:
            cls.ended = True
            for child in cls.running:
                child.end()


def call(
    arguments: Sequence[str],
    log: Any,
    variables: Mapping[str, str],
    timeout: float = 3600,
    folder: Path | None = None,
) -> str:
    """Run a command with its output in `log`; its last line.

    SetupError with its last telling line if it fails.
    """
    log.write(f"$ {' '.join(arguments)}\n")
    log.flush()
    start = log.tell()
    try:
        status = Child(arguments, log, variables, folder).wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{arguments[0]} took more than {timeout:.0f} s") from error
    with open(log.name, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        lines = [line.strip() for line in file if line.strip()] or ["no output"]
    log.seek(0, os.SEEK_END)
    if status:
        telling = [line for line in lines if re.match(r"ERROR|E: (?!Some index)|\w*Error\b", line)]
        raise SetupError(f"{(telling or lines)[-1]} (log: {log.name})")
    return lines[-1]


@contextlib.contextmanager
def locked(path: Path, flags: int = os.O_CREAT | os.O_WRONLY, wait: int = 0) -> Iterator[None]:
    """Hold the lock of a file or folder; with wait=LOCK_NB, BlockingIOError if another does."""
    lock = os.open(path, flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | wait)
        yield
    finally:
        os.close(lock)
