"""Visits on disk: a database of SQLite and a JPEG of each, whole after a kill at any moment.

A picture is written under another name, flushed and renamed before the row that names it is
committed, so a row's picture is always there; a picture without a row, left by a kill in between,
is removed when the store is opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import math
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable

from ..text import short
from .history import CLIP, DATABASE, TIMED, VERSION, History
from .sources import Array
from .visits import Event, Visit

PICTURES, LOCK = "snapshots", "lock"
MEDIA = {CLIP: ("clips", ".mp4"), TIMED: ("pictures", ".jpg")}  # folder and suffix of each kind
KEPT_DAYS, KEPT_BYTES, KEPT_MEDIA = 30.0, 1 << 30, 1 << 32  # what is usually kept, at most
QUALITY = 85  # of JPEG
RETRY = 5.0  # seconds after which what could not be written is tried again
MOST_WAITING, MOST_PICTURES = (
    10_000,
    200,
)  # visits and pictures that wait for a full disk, the newest
HOUR = 3600.0
SLACK = 0.95  # of the budget that is kept once it was exceeded
MOST_UNSENT = 100_000  # events that wait for a broker, the newest

SCHEMA = """
CREATE TABLE visits (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, label TEXT NOT NULL, score REAL NOT NULL,
    began REAL NOT NULL, seen REAL NOT NULL, ended REAL,
    box TEXT NOT NULL, path TEXT NOT NULL, snapshot TEXT, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX visits_began ON visits (began);
CREATE TABLE zones (
    visit INTEGER NOT NULL REFERENCES visits (id) ON DELETE CASCADE,
    zone TEXT NOT NULL, entered REAL NOT NULL, left REAL
);
CREATE INDEX zones_visit ON zones (visit);
"""
SECOND = """
CREATE TABLE media (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, file TEXT,
    began REAL NOT NULL, ended REAL, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX media_began ON media (kind, began);
CREATE TABLE drawn (zone TEXT PRIMARY KEY, points TEXT NOT NULL);
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL);
"""
CHANGES = (SCHEMA, SECOND)  # from each version to the next


class Store(History):
    """A folder with visits. One process writes to it; any number may read it as a History.

    days, bytes: what is older, or more than this together, is deleted, the oldest first; None for
    no limit. media: the same number of bytes for clips and timed pictures. outbox: events wait
    there until `sent`. listeners: called after a visit was stored, in the thread that did.
    ValueError if the folder cannot be used, is another's, or was written by a later version.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        days: float | None = None,
        bytes: int | None = None,
        media: int | None = None,
        outbox: bool = False,
    ) -> None:
        self.folder, self.days, self.bytes, self.media = Path(folder), days, bytes, media
        self.outbox = outbox
        self.listeners: list[Callable[[], None]] = []
        self._writing = threading.RLock()
        try:
            for name in (PICTURES, *(name for name, _ in MEDIA.values())):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / LOCK, "w")  # noqa: SIM115
        except OSError as error:
            raise ValueError(f"{short(str(folder))}: cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ValueError(f"{short(str(folder))}: another process stores events there") from None
        try:
            self._database = self._open()
            self._mend()
        except sqlite3.Error as error:
            self._lock.close()
            raise ValueError(f"{short(str(self.folder / DATABASE))}: {error}") from None
        except ValueError:
            self._lock.close()
            raise

    def _open(self) -> sqlite3.Connection:
        path = self.folder / DATABASE
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            database.close()
            raise ValueError(f"{short(str(path))}: written by a later version of linnet")
        if not version:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA journal_size_limit = 1048576")
        for number, change in enumerate(CHANGES[version:], version + 1):
            database.executescript(f"BEGIN; {change} PRAGMA user_version = {number}; COMMIT;")
        return database

    def _mend(self) -> None:
        """Closes visits and clips that a kill left open; removes files that belong to none."""
        self._database.execute(
            "UPDATE zones SET left = (SELECT seen FROM visits WHERE id = visit) WHERE left IS NULL"
        )
        self._database.execute("UPDATE visits SET ended = seen WHERE ended IS NULL")
        self._database.execute(
            "UPDATE media SET ended = max(began, coalesce((SELECT max(seen) FROM visits), 0)) "
            "WHERE ended IS NULL"
        )
        unfinished = self._database.execute("SELECT id, file FROM media WHERE bytes = 0")
        for number, file in unfinished.fetchall():
            path = self.folder / (file or "")
            self.end_medium(number, None, path.stat().st_size if path.is_file() else 0)
        named = {
            *self._column("SELECT snapshot FROM visits"),
            *self._column("SELECT file FROM media"),
        }
        for name in (PICTURES, *(name for name, _ in MEDIA.values())):
            for path in (self.folder / name).iterdir():
                if f"{name}/{path.name}" not in named:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    @property
    def next_id(self) -> int:
        """Of a visit that is not stored yet."""
        return int(
            self._database.execute("SELECT coalesce(max(id), 0) + 1 FROM visits").fetchone()[0]
        )

    def save(
        self,
        visit: Mapping[str, Any],
        source: str,
        jpeg: bytes | None,
        events: Sequence[str] = (),
    ) -> None:
        """Writes a visit (Visit.to_dict()), or its new state, its picture if there is a new one,
        and the events, as JSON, that are to be sent.

        OSError or sqlite3.Error if it could not be written; then nothing has changed.
        """
        row = self._database.execute(
            "SELECT snapshot FROM visits WHERE id = ?", [visit["id"]]
        ).fetchone()
        old = row[0] if row else None
        name = None
        if jpeg:
            count = int(Path(old).stem.rpartition("-")[2]) + 1 if old else 1
            name = f"{PICTURES}/{visit['id']:08d}-{count}.jpg"
            self._write(self.folder / name, jpeg)
        try:
            with self._transaction() as database:
                self._upsert(database, visit, source, name, len(jpeg or b""))
                database.executemany(
                    "INSERT INTO outbox (event) VALUES (?)", [(event,) for event in events]
                )
        except BaseException:
            if name:
                (self.folder / name).unlink(missing_ok=True)
            raise
        if name and old:
            (self.folder / old).unlink(missing_ok=True)
        for listener in self.listeners:
            listener()

    def unsent(self, most: int = 100) -> list[tuple[int, str]]:
        """Numbers and JSON of events that wait to be sent, the oldest first."""
        query = "SELECT id, event FROM outbox ORDER BY id LIMIT ?"
        with self._writing:  # none that is not committed yet
            return self._database.execute(query, [most]).fetchall()

    def sent(self, number: int) -> None:
        """Forgets an event that has arrived."""
        with self._transaction() as database:
            database.execute("DELETE FROM outbox WHERE id = ?", [number])

    def draw(self, zones: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Keeps these zones, and no others, as `drawn` has them."""
        with self._transaction() as database:
            database.execute("DELETE FROM drawn")
            database.executemany(
                "INSERT INTO drawn VALUES (?, ?)",
                [(name, json.dumps(points)) for name, points in zones.items()],
            )

    def begin_medium(self, kind: str, began: float) -> tuple[int, Path]:
        """The number and path of a clip or picture that is about to be written."""
        folder, suffix = MEDIA[kind]
        with self._transaction() as database:
            insert = "INSERT INTO media (kind, began) VALUES (?, ?)"
            number = int(database.execute(insert, [kind, began]).lastrowid or 0)
            name = f"{folder}/{number:08d}{suffix}"
            database.execute("UPDATE media SET file = ? WHERE id = ?", [name, number])
        return number, self.folder / name

    def end_medium(self, number: int, ended: float | None, size: int) -> None:
        """Keeps what was written, until the date `ended` if it is known; nothing if it is empty."""
        with self._transaction() as database:
            if size:
                database.execute(
                    "UPDATE media SET ended = coalesce(?, ended), bytes = ? WHERE id = ?",
                    [ended, size, number],
                )
            else:
                database.execute("DELETE FROM media WHERE id = ?", [number])

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        part = path.with_suffix(".part")
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _upsert(
        self,
        database: sqlite3.Connection,
        visit: Mapping[str, Any],
        source: str,
        name: str | None,
        size: int,
    ) -> None:
        values = [
            visit["id"],
            source,
            visit["label"],
            visit["score"],
            visit["began"],
            visit["seen"],
            visit["ended"],
        ]
        values += [json.dumps(visit["box"]), json.dumps(visit["path"]), name, size]
        database.execute(
            "INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET label = excluded.label, "
            "score = excluded.score, seen = excluded.seen, ended = excluded.ended, "
            "box = excluded.box, path = excluded.path, "
            "snapshot = coalesce(excluded.snapshot, snapshot), "
            "bytes = CASE WHEN excluded.snapshot IS NULL THEN bytes ELSE excluded.bytes END",
            values,
        )
        database.execute("DELETE FROM zones WHERE visit = ?", [visit["id"]])
        database.executemany(
            "INSERT INTO zones VALUES (?, ?, ?, ?)",
            [(visit["id"], zone["zone"], zone["entered"], zone["left"]) for zone in visit["zones"]],
        )

    def trim(self, now: float | None = None) -> int:
        """Deletes what is older than `days`, and the oldest beyond `bytes`; returns how many
        visits.
        """
        deleted = 0
        if self.days is not None:
            before = (time.time() if now is None else now) - 86400 * self.days
            query = "SELECT id, snapshot FROM visits WHERE ended < ?"
            deleted += self._delete(dict(self._database.execute(query, [before]).fetchall()))
            self._delete_media("WHERE ended < ?", [before])
        if self.bytes is not None and self.size() > self.bytes:
            while (excess := self.size() - SLACK * self.bytes) > 0:
                # Half of what a visit may take: rows share pages, so the rest is seen afterwards.
                count = max(int(excess / max(2 * self.size() / max(self._count(), 1), 1)), 1)
                query = "SELECT id, snapshot FROM visits WHERE ended IS NOT NULL ORDER BY began, id"
                oldest = self._database.execute(f"{query} LIMIT ?", [count]).fetchall()
                if not oldest:
                    break
                deleted += self._delete(dict(oldest))
        if self.media is not None and self._sum("media") > self.media:
            newer = "SELECT id, sum(bytes) OVER (ORDER BY id DESC) AS sum FROM media"
            beyond = f"SELECT id FROM ({newer}) WHERE sum > ?"
            self._delete_media(
                f"WHERE ended IS NOT NULL AND id IN ({beyond})", [SLACK * self.media]
            )
        if self.outbox:
            with self._transaction() as database:
                newest = "SELECT max(id) FROM outbox"
                database.execute(f"DELETE FROM outbox WHERE id <= ({newest}) - ?", [MOST_UNSENT])
        return deleted

    def _delete_media(self, condition: str, values: Sequence[Any]) -> None:
        query = f"SELECT id, file FROM media {condition}"
        found = self._database.execute(query, values).fetchall()
        if found:
            with self._transaction() as database:
                numbers = [(number,) for number, _ in found]
                database.executemany("DELETE FROM media WHERE id = ?", numbers)
        for _, name in found:
            (self.folder / name).unlink(missing_ok=True)

    def _delete(self, visits: Mapping[int, str | None]) -> int:
        if not visits:
            return 0
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM visits WHERE id = ?", [(number,) for number in visits]
            )
        for name in filter(None, visits.values()):
            (self.folder / name).unlink(missing_ok=True)
        with self._writing:
            self._database.execute("PRAGMA incremental_vacuum").fetchall()
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return len(visits)

    def size(self) -> int:
        """Bytes of all pictures and of the database's pages in use."""
        pages = (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma(
            "page_size"
        )
        return pages + self._sum("visits")

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def _sum(self, table: str) -> int:
        query = f"SELECT coalesce(sum(bytes), 0) FROM {table}"
        return int(self._database.execute(query).fetchone()[0])

    def _count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM visits").fetchone()[0])

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._lock.close()


def jpeg_of(picture: Array) -> bytes:
    """A picture, uint8 [H, W, 3], as a JPEG."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


class Recorder:
    """Writes to a store in a thread of its own, so that a slow card holds nobody up.

    What cannot be written, as on a full disk, waits and is tried again: of each visit its last
    state. say: told in a sentence when writing fails and when it works again.
    """

    def __init__(self, store: Store, source: str, say: Callable[[str], None]) -> None:
        self.store, self.source, self.say = store, source, say
        self._changed = threading.Condition()
        self._waiting: dict[int, dict[str, Any]] = {}
        self._pictures: dict[int, Array | bytes] = {}
        self._events: dict[int, list[str]] = {}  # those that are to be sent
        self._closing = self._failing = False
        self._thread = threading.Thread(target=self._run, name="linnet-store", daemon=True)
        self._thread.start()

    def put(self, visit: Visit, events: Sequence[Event] = ()) -> None:
        """Has a visit's present state written, and what has become of it; takes its picture."""
        with self._changed:
            self._waiting[visit.id] = visit.to_dict()
            if self.store.outbox and events:
                made = [{"event_id": uuid.uuid4().hex, **event.to_dict()} for event in events]
                self._events.setdefault(visit.id, []).extend(json.dumps(event) for event in made)
            if visit.picture is not None:
                self._pictures[visit.id], visit.picture = visit.picture, None
            limits = {MOST_WAITING: (self._waiting, self._events), MOST_PICTURES: (self._pictures,)}
            for waiting, most in ((w, most) for most, all_ in limits.items() for w in all_):
                while len(waiting) > most:
                    del waiting[next(iter(waiting))]
            self._changed.notify()

    def close(self, timeout: float = 10.0) -> int:
        """Waits until everything is written, or cannot be; returns how many visits were not."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return len(self._waiting)

    def _run(self) -> None:
        trimmed = -math.inf
        while True:
            with self._changed:
                if not self._closing and (self._failing or not self._waiting):
                    self._changed.wait(RETRY if self._failing else HOUR)
                work = list(self._waiting)
            self._pack()
            stored = all([self._attempt(partial(self._save, number)) for number in work])
            if stored and (work or time.monotonic() - trimmed > HOUR):
                self._attempt(self.store.trim)
                trimmed = time.monotonic()
            if self._closing and (not self._waiting or not stored):
                return

    def _pack(self) -> None:
        """Compresses pictures, so that those that wait take little memory."""
        for number, picture in list(self._pictures.items()):
            if isinstance(picture, bytes):
                continue
            packed = jpeg_of(picture)
            with self._changed:
                if self._pictures.get(number) is picture:
                    self._pictures[number] = packed

    def _save(self, number: int) -> None:
        with self._changed:
            visit, picture = self._waiting.get(number), self._pictures.get(number)
            events = list(self._events.get(number, ()))
        if visit is None:  # too many wait
            return
        jpeg = picture if isinstance(picture, bytes) else None
        self.store.save(visit, self.source, jpeg, events)
        with self._changed:  # any may be newer by now
            left = self._events.pop(number, [])[len(events) :]
            if left:
                self._events[number] = left
            if self._waiting.get(number) is visit:
                del self._waiting[number]
            if self._pictures.get(number) is picture:
                self._pictures.pop(number, None)

    def _attempt(self, action: Callable[[], Any]) -> bool:
        try:
            action()
        except (OSError, sqlite3.Error) as error:
            if not self._failing:
                self.say(f"{self.store.folder}: events wait, they cannot be stored: {error}")
            self._failing = True
            return False
        if self._failing:
            self.say(f"{self.store.folder}: events are stored again")
        self._failing = False
        return True
