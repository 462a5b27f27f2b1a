"""A yard camera: what moves, what it is, which way it went.

>>> detector = linnet.detect.Detector("model.onnx", classes=["person", "cat"])
>>> gate = Zone("gate", [(0, 300), (640, 300), (640, 480)])
>>> watch = Watch(open_source("rtsp://camera/stream"), detector, zones=[gate])
>>> for event in watch.events():
...     print(event.kind, event.visit.label, event.visit.zones)

Parts, in the order in which a picture meets them: `sources`, `gate` (what moves), `regions` (where
a detector looks), `tracker` (which object is which), `visits` (who, when, where), `store` (SQLite
and snapshots). `pipeline` joins them.
"""

from __future__ import annotations

from .pipeline import Look, Watch
from .sources import Frame, Source, open_source
from .store import Store
from .tracker import Track, Tracker
from .visits import Event, Visit, Zone

__all__ = [
    "Event",
    "Frame",
    "Look",
    "Source",
    "Store",
    "Track",
    "Tracker",
    "Visit",
    "Watch",
    "Zone",
    "open_source",
]
