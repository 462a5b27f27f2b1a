"""A yard camera: what moves, what it is, which way it went.

>>> for event in linnet.watch.watch("rtsp://camera/stream", zones=["gate:0,300,640,300,640,480"]):
...     print(event.kind, event.visit.label, event.visit.zones)

Parts, in the order in which a picture meets them: `sources`, `gate` (what moves), `regions` (where
a detector looks), `tracker` (which object is which), `visits` (who, when, where), `store` (SQLite
and snapshots). `pipeline` joins them. What comes of it: `clips`, `web` (the page; `access`: who may
see it), `broker` (MQTT), `history` and `export` (what was stored).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Callable

from .history import History
from .pipeline import SURE, UNSURE, Look, Watch
from .sources import Frame, Source, open_source
from .store import KEPT_BYTES, KEPT_DAYS, KEPT_MEDIA, Store
from .tracker import Track, Tracker
from .visits import Event, Visit, Zone

__all__ = [
    "Event",
    "Frame",
    "History",
    "Look",
    "Source",
    "Store",
    "Track",
    "Tracker",
    "Visit",
    "Watch",
    "Zone",
    "open_source",
    "watch",
]


def watch(
    source: str | os.PathLike[str],
    model: str | os.PathLike[str] | tuple[str, str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    zones: Iterable[Zone | str] = (),
    threshold: float = SURE,
    threads: int | None = None,
    events: str | os.PathLike[str] | None = None,
    record: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Event]:
    """What happens before a camera or in a video, as it happens, until that ends.

    source: as open_source has it. model, classes, threads: of a linnet.detect.Detector; by default
    the one that comes with linnet. threshold: score from which a detection is sure. zones: only
    visits to them are reported; a Zone or "NAME:x,y,x,y,x,y". events: a folder where visits are
    stored, 30 days and 1 GB of them at most; record: with clips, 4 GB at most, from so many seconds
    before to as many after. say: told in a sentence what an owner should know, as that the camera
    is lost.

    ValueError or OSError for bad input, when the first event is asked for. Closing the iterator
    ends all visits and stores them.
    """
    from ..detect import YARD, Detector

    if record is not None and events is None:
        raise ValueError("record needs a folder of events")
    detector = Detector(model or YARD, None, classes, UNSURE * threshold, threads)
    parsed = [Zone.parse(zone) if isinstance(zone, str) else zone for zone in zones]
    with ExitStack() as stack:
        store = None
        if events is not None:
            store = Store(events, KEPT_DAYS, KEPT_BYTES, KEPT_MEDIA)
            stack.callback(store.close)
        made = Watch(
            open_source(source), detector, zones=parsed, store=store, sure=threshold, say=say
        )
        if store is not None and record is not None:
            from .clips import Clips

            stack.enter_context(Clips(made, store, record))
        with closing(made.events()) as found:
            yield from found
