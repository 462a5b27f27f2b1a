"""Stored visits in the forms that other programs read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from .history import History

PAGE = 500  # visits that are read at once

COLUMNS = (
    "id",
    "source",
    "label",
    "score",
    "began",
    "ended",
    "seconds",
    "zones",
    "box",
    "snapshot",
)


def export(history: History, form: str) -> Iterator[str]:
    """All visits, the newest first, as lines of text: `csv`, a table; `json`, an array with their
    paths; `coco`, the snapshots with the box of each visit as COCO has it, for training a detector.

    ValueError if a snapshot cannot be read.
    """
    return {"csv": _csv, "json": _json, "coco": _coco}[form](history)


def _visits(history: History) -> Iterator[dict[str, Any]]:
    last = None
    while True:
        found = history.visits(most=PAGE, before=last)
        yield from found
        if len(found) < PAGE:
            return
        last = found[-1]["id"]


def _csv(history: History) -> Iterator[str]:
    yield _row(COLUMNS)
    for visit in _visits(history):
        yield _row(
            [
                *(visit[name] for name in ("id", "source", "label", "score")),
                _date(visit["began"]),
                _date(visit["ended"]) if visit["ended"] is not None else "",
                round(visit["seen"] - visit["began"], 3),
                " ".join(dict.fromkeys(zone["zone"] for zone in visit["zones"])),
                " ".join(f"{n:g}" for n in visit["box"]),
                visit["snapshot"] or "",
            ]
        )


def _row(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([_plain(value) for value in values])
    return text.getvalue()


def _plain(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def _json(history: History) -> Iterator[str]:
    before = "["
    for visit in _visits(history):
        yield before + json.dumps(visit)
        before = ","
    yield "]" if before == "," else "[]"


def _coco(history: History) -> Iterator[str]:
    from PIL import Image

    images, annotations = [], []
    categories: dict[str, int] = {}
    for visit in _visits(history):
        if not visit["snapshot"]:
            continue
        try:
            with Image.open(history.folder / visit["snapshot"]) as picture:
                width, height = picture.size
        except OSError:
            raise ValueError(f"{history.folder / visit['snapshot']}: no picture") from None
        x0, y0, x1, y1 = visit["box"]
        image = {
            "id": visit["id"],
            "file_name": visit["snapshot"],
            "width": width,
            "height": height,
            "date_captured": _date(visit["began"]),
        }
        annotation = {
            "id": visit["id"],
            "image_id": visit["id"],
            "category_id": categories.setdefault(visit["label"], len(categories) + 1),
            "bbox": [x0, y0, round(x1 - x0, 1), round(y1 - y0, 1)],
            "area": round((x1 - x0) * (y1 - y0), 1),
            "iscrowd": 0,
            "score": visit["score"],
        }
        images.append(image)
        annotations.append(annotation)
    named = [{"id": number, "name": label} for label, number in categories.items()]
    yield json.dumps({"images": images, "annotations": annotations, "categories": named})
