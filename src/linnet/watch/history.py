"""What a folder of events holds, for those who only read it: the page, exports, programs."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..text import short

VERSION = 2
DATABASE = "events.sqlite"
CLIP, TIMED = "clip", "picture"  # kinds of media: a video of visits, a picture taken by the clock


class History:
    """A folder with visits, read while another process may write it.

    ValueError if there is none, or another version of linnet wrote it.
    """

    _database: sqlite3.Connection

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / DATABASE
        if not path.is_file():
            raise ValueError(f"{short(str(folder))}: no events were stored there")
        try:
            self._database = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False, timeout=10
            )
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise ValueError(f"{short(str(path))}: {error}") from None
        if version != VERSION:
            self._database.close()
            when = "a later" if version > VERSION else "an earlier"
            raise ValueError(f"{short(str(path))}: written by {when} version of linnet")

    def close(self) -> None:
        self._database.close()

    def visits(
        self,
        label: str | None = None,
        zone: str | None = None,
        since: float = 0.0,
        until: float = float("inf"),
        most: int = 1000,
        *,
        before: int | None = None,
    ) -> list[dict[str, Any]]:
        """Stored visits as Visit.to_dict() has them, with `source`, `snapshot` and the numbers of
        its `clips` that have ended (a player takes a file that grows for a damaged one), the newest
        first.

        label, zone: only those; since, until: began then, seconds since 1970; before: only those
        that come after this visit in the list.
        """
        query = "SELECT * FROM visits WHERE began >= ? AND began < ?"
        values: list[Any] = [since, until]
        if label is not None:
            query, values = f"{query} AND label = ?", [*values, label]
        if zone is not None:
            query = f"{query} AND id IN (SELECT visit FROM zones WHERE zone = ?)"
            values = [*values, zone]
        if before is not None:
            query = f"{query} AND (began, id) < (SELECT began, id FROM visits WHERE id = ?)"
            values = [*values, before]
        cursor = self._database.execute(
            f"{query} ORDER BY began DESC, id DESC LIMIT ?", [*values, most]
        )
        names = [column[0] for column in cursor.description]
        return [self._complete(dict(zip(names, row))) for row in cursor.fetchall()]

    def _complete(self, visit: dict[str, Any]) -> dict[str, Any]:
        visit["box"], visit["path"] = json.loads(visit["box"]), json.loads(visit["path"])
        rows = self._database.execute(
            "SELECT zone, entered, left FROM zones WHERE visit = ? ORDER BY entered", [visit["id"]]
        )
        visit["zones"] = [dict(zip(("zone", "entered", "left"), row)) for row in rows]
        rows = self._database.execute(
            "SELECT id FROM media WHERE kind = ? AND began <= ? AND ended >= ? ORDER BY began",
            [CLIP, visit["seen"], visit["began"]],
        )
        visit["clips"] = [number for (number,) in rows]
        del visit["bytes"]
        return visit

    def choices(self) -> dict[str, list[str]]:
        """The labels and zones that visits have."""
        return {
            "labels": self._column("SELECT DISTINCT label FROM visits ORDER BY label"),
            "zones": self._column("SELECT DISTINCT zone FROM zones ORDER BY zone"),
        }

    def snapshot(self, visit: int) -> Path | None:
        """The picture of a visit."""
        return self._file("SELECT snapshot FROM visits WHERE id = ?", [visit])

    def medium(self, number: int, kind: str) -> Path | None:
        """The file of a clip, or of a picture that was taken by the clock."""
        return self._file("SELECT file FROM media WHERE id = ? AND kind = ?", [number, kind])

    def drawn(self) -> dict[str, list[tuple[float, float]]]:
        """Zones that were drawn on the page: corners in parts of the picture's width and height."""
        rows = self._database.execute("SELECT zone, points FROM drawn ORDER BY rowid")
        return {name: [(x, y) for x, y in json.loads(points)] for name, points in rows}

    def _file(self, query: str, values: Sequence[Any]) -> Path | None:
        names = self._column(query, values)
        return self.folder / names[0] if names and names[0] else None

    def _column(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return [value for (value,) in self._database.execute(query, values)]
