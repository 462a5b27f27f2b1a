"""The page: what the camera sees, who was there, and the zones, in a browser.

Tornado serves it, from a thread of its own: one package without dependencies that Debian has for
32-bit ARM, with limits on headers, bodies and idle connections, and in which a slow visitor costs a
socket and no thread. The picture is asked for, one at a time, so that a visitor who is slow gets
fewer, and none is made for nobody.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import logging
import math
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from tornado import gen, httpserver, iostream, netutil, util, web

from .. import machine
from ..text import finite, short
from .access import LASTING, LONGEST, Access, is_loopback, may_be_called
from .history import CLIP, History
from .pipeline import Look, Watch
from .sources import Frame
from .store import Store
from .visits import Zone

RATE = 5.0  # pictures a second, at most
WIDEST = 960  # pixels of a picture that is shown; a wider one is thinned
QUALITY = 70  # of its JPEG
PATIENCE = 10.0  # seconds that a request waits for a picture
SLOWEST = 30.0  # seconds in which a visitor must send a request, and take a part of an answer
MOST_BODY, MOST_HEADER = 1 << 16, 1 << 14
MOST_STREAMS, MOST_OF_ONE = 128, 32  # connections, of all and of one address
MOST_ZONES, MOST_CORNERS = 32, 64
LISTED = 50  # visits in one answer
STEPS = 60  # of a path that is shown on the picture
COOKIE = "linnet"

HTML = Path(__file__).with_name("page.html")


class Page:
    """Serves the page of a watch until it is left; a context manager.

    host, port: where; any host but this machine itself needs a password (access.set_password).
    ValueError if there is none, or the address cannot be used. Nothing but a comparison is done for
    a picture that nobody waits for.
    """

    def __init__(self, watch: Watch, store: Store, host: str, port: int) -> None:
        self.watch, self.store, self.host = watch, store, host
        self.access = Access(store.folder)
        if not is_loopback(host) and not self.access.needed:
            raise ValueError(
                f"--web {host}: needs a password; linnet watch --set-password "
                f"--events {store.folder} sets one"
            )
        try:
            self._sockets = netutil.bind_sockets(port, host)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"--web {short(f'{host}:{port}')}: {reason}") from None
        self.port = int(self._sockets[0].getsockname()[1])
        self.name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        self.history = History(store.folder)
        self.pool = ThreadPoolExecutor(1, "linnet-password")
        self.revision = 0  # of the stored visits
        self.size: tuple[int, int] | None = None  # height and width of the newest picture
        self._waiting: list[asyncio.Future[bytes]] = []
        self._wanted, self._last = False, 0.0
        self._rates = _Rates(watch)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="linnet-page", daemon=True)

    def __enter__(self) -> Page:
        self._thread.start()
        self._ready.wait()
        self.watch.listeners.append(self._look)
        self.store.listeners.append(self._stored)
        return self

    def __exit__(self, *ignored: object) -> None:
        self.watch.listeners.remove(self._look)
        self.store.listeners.remove(self._stored)
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(SLOWEST)
        self.pool.shutdown()
        self.history.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        for name in ("access", "general", "application"):  # visitors do not fill the log
            logging.getLogger(f"tornado.{name}").setLevel(logging.CRITICAL + 1)
        server = _Server(
            _application(self),
            idle_connection_timeout=SLOWEST,
            body_timeout=SLOWEST,
            max_body_size=MOST_BODY,
            max_header_size=MOST_HEADER,
        )
        server.add_sockets(self._sockets)
        self._ready.set()
        await self._closing.wait()
        server.stop()
        await server.close_all_connections()

    def _stored(self) -> None:
        self.revision += 1

    def _look(self, look: Look) -> None:
        self.size = look.frame.size
        now = time.monotonic()
        if self._wanted and now - self._last >= 0.9 / RATE:
            self._wanted, self._last = False, now
            facts = {"index": look.frame.index, "date": look.frame.date, **_seen(look, self.watch)}
            self._loop.call_soon_threadsafe(self._show, look.frame, facts)

    def _show(self, frame: Frame, facts: dict[str, Any]) -> None:
        answer = self._line(facts) + _jpeg(frame)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(answer)

    def _line(self, facts: dict[str, Any]) -> bytes:
        facts.update(revision=self.revision, status=self._rates.now(), zones=self.zones())
        return json.dumps(finite(facts)).encode() + b"\n"

    async def picture(self) -> bytes:
        """A line of JSON and a JPEG; without one if none comes in time."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.append(future)
        self._wanted = True
        try:
            return await asyncio.wait_for(future, PATIENCE)
        except asyncio.TimeoutError:
            return self._line({})
        finally:
            with suppress(ValueError):
                self._waiting.remove(future)

    def zones(self) -> list[dict[str, Any]]:
        """Those of the command, which are fixed, and those drawn; corners in parts of the picture's
        width and height.
        """
        height, width = self.size or (1, 1)
        given = {z.name: [(x / width, y / height) for x, y in z.points] for z in self.watch.zones}
        return [
            {"name": name, "points": points, "fixed": fixed}
            for zones, fixed in ((given, True), (self.watch.drawn, False))
            for name, points in zones.items()
        ]

    def draw(self, zones: Any) -> None:
        """Has these zones watched and kept. ValueError if they are no zones."""
        if not isinstance(zones, list) or len(zones) > MOST_ZONES:
            raise ValueError(f"a list of at most {MOST_ZONES} zones is expected")
        drawn = dict(map(_checked, zones))
        names = [*drawn, *(zone.name for zone in self.watch.zones)]
        if len(drawn) < len(zones) or len(set(names)) < len(names):
            raise ValueError("two zones of the same name")
        self.store.draw(drawn)
        self.watch.drawn = drawn


def _checked(zone: Any) -> tuple[str, list[tuple[float, float]]]:
    """A zone as the page sends it: name and corners."""
    try:
        name, points = zone["name"], [(float(x), float(y)) for x, y in zone["points"]]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ValueError("a zone has a name and points [[x, y], ...]") from None
    if not isinstance(name, str) or len(points) > MOST_CORNERS:
        raise ValueError(f"a zone has a name and at most {MOST_CORNERS} corners")
    Zone(name, points)
    if not all(0 <= n <= 1 for point in points for n in point):
        raise ValueError(f"zone {short(name)}: a corner is outside the picture")
    return name, points


def _seen(look: Look, watch: Watch) -> dict[str, Any]:
    """What is drawn over a picture; pixels of the whole one."""
    labels = watch.detector.labels
    tracks = []
    for track in look.tracks:
        if track.certain and track.present:
            path = [*track.path[-5 * STEPS :: 5], track.path[-1]]
            tracks.append(
                {
                    "id": track.id,
                    "label": labels[track.label],
                    "score": round(float(track.score), 2),
                    "box": [round(float(n), 1) for n in track.box],
                    "path": [[round(float(x), 1), round(float(y), 1)] for _, x, y in path],
                }
            )
    return {"size": look.frame.size, "tracks": tracks}


def _jpeg(frame: Frame) -> bytes:
    from PIL import Image

    step = math.ceil(frame.size[1] / WIDEST)
    data = io.BytesIO()
    thinned = np.ascontiguousarray(frame.rgb()[::step, ::step])
    Image.fromarray(thinned).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


class _Rates:
    """Pictures a second, CPU and times of stages, of the last seconds."""

    SPAN = 2.0  # seconds from one measurement to the next

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._before = self._measured()
        self._found: dict[str, Any] = {}

    def _measured(self) -> tuple[float, float, int, int, dict[str, float]]:
        watch = self.watch
        seconds = dict(watch.clock.seconds)
        return time.monotonic(), time.process_time(), watch.frames, watch.dropped, seconds

    def now(self) -> dict[str, Any]:
        now, before = self._measured(), self._before
        passed, pictures = max(now[0] - before[0], 1e-3), now[2] - before[2]
        if passed >= self.SPAN or not self._found:
            self._before = now
            stages = {name: now[4][name] - before[4].get(name, 0.0) for name in now[4]}
            self._found = {
                "fps": pictures / passed,
                "dropped": (now[3] - before[3]) / passed,
                "cpu": (now[1] - before[1]) / passed,
                "stages": {name: 1e3 * s / max(pictures, 1) for name, s in stages.items()},
                "temperature": machine.temperature(),
            }
        return self._found


class _Server(httpserver.HTTPServer):
    """Refuses connections beyond a number, of all and of one address."""

    def initialize(self, *args: Any, **options: Any) -> None:
        super().initialize(*args, **options)
        self._streams: dict[iostream.IOStream, str] = {}

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        self._streams = {s: host for s, host in self._streams.items() if not s.closed()}
        hosts = list(self._streams.values())
        if len(hosts) >= MOST_STREAMS or hosts.count(address[0]) >= MOST_OF_ONE:
            stream.close()
            return
        self._streams[stream] = address[0]
        super().handle_stream(stream, address)


class _Handler(web.RequestHandler):
    """Checks who asks, from where and by which name, before any answer."""

    open = False  # whether it may be asked for without the password

    def initialize(self, page: Page) -> None:
        self.page = page

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in {
            "Cache-Control": "no-store",
            "Content-Security-Policy": self.settings["policy"],
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        headers = self.request.headers
        host = headers.get("Host", "")
        if len(headers.get_list("Host")) != 1 or not may_be_called(host, self.page.host):
            raise web.HTTPError(421, "this machine is not called so")
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none")
        if site not in ("none", "same-origin") or (origin and origin != f"http://{host}"):
            raise web.HTTPError(403, "asked for by another site")
        # A header that no other site's page can send without being refused first.
        if self.request.method not in ("GET", "HEAD") and headers.get("X-Linnet") != "1":
            raise web.HTTPError(403, "asked for by another site")
        if not self.open and not self.page.access.known(self.get_cookie(COOKIE)):
            raise web.HTTPError(401, "a password is needed")

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._flushed(super().flush(include_footers)))

    async def _flushed(self, sending: Any) -> None:
        try:
            await gen.with_timeout(
                timedelta(seconds=SLOWEST), sending, quiet_exceptions=iostream.StreamClosedError
            )
        except util.TimeoutError:
            self.request.connection.close()  # type: ignore[union-attr]

    def json(self) -> Any:
        """The body."""
        try:
            return json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise web.HTTPError(400, "the body is not JSON") from None

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details.get("exc_info", (None, None))[1]
        text = getattr(error, "log_message", None) or self._reason
        self.finish({"error": text.replace("%%", "%")})  # which Tornado doubles

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, (web.HTTPError, iostream.StreamClosedError, type(None))):
            self.page.watch.say(f"page: {self.request.path}: {kind.__name__}: {error}")


class _Root(_Handler):
    open = True

    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(self.settings["html"])


class _Session(_Handler):
    open = True

    async def post(self) -> None:
        access, address = self.page.access, self.request.remote_ip or ""
        wait = access.wait(address)
        if wait > 0:
            self.set_status(429)
            self.set_header("Retry-After", str(math.ceil(wait)))
            self.finish({"error": f"too many wrong passwords; wait {math.ceil(wait)} seconds"})
            return
        body = self.json()
        password = body.get("password") if isinstance(body, dict) else None
        if not isinstance(password, str) or len(password) > LONGEST:
            raise web.HTTPError(400, "a password is expected")
        access.begin(address)
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self.page.pool, access.check, password):
            raise web.HTTPError(403, "wrong password")
        token = access.right(address)
        self.set_cookie(COOKIE, token, httponly=True, samesite="Strict", max_age=int(LASTING))
        self.finish({})

    def delete(self) -> None:
        self.page.access.forget(self.get_cookie(COOKIE))
        self.clear_cookie(COOKIE)
        self.finish({})


class _Live(_Handler):
    async def get(self) -> None:
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(await self.page.picture())


class _Visits(_Handler):
    def get(self) -> None:
        found = self.page.history.visits(
            label=self.get_query_argument("label", None),
            zone=self.get_query_argument("zone", None),
            since=self._number("since", 0.0),
            until=self._number("until", math.inf),
            before=int(self._number("before", 0.0)) or None,
            most=LISTED,
        )
        self.finish(finite({"visits": found, **self.page.history.choices()}))

    def _number(self, name: str, default: float) -> float:
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not abs(found) < 1e15:
            raise web.HTTPError(400, f"{name} is not a number")
        return found


class _Zones(_Handler):
    def put(self) -> None:
        try:
            self.page.draw(self.json())
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None
        self.finish({"zones": self.page.zones()})


class _File(_Handler, web.StaticFileHandler):
    """A snapshot or clip by its number; whole or, as a browser plays a video, in parts."""

    def initialize(self, page: Page, kind: str) -> None:  # type: ignore[override]
        self.page, self.kind = page, kind
        web.StaticFileHandler.initialize(self, str(page.store.folder.resolve()))

    async def get(self, number: str, include_body: bool = True) -> None:
        history, value = self.page.history, int(number)
        found = history.medium(value, CLIP) if self.kind == CLIP else history.snapshot(value)
        if found is None:
            raise web.HTTPError(404, "there is none of this number")
        await super().get(str(found.relative_to(self.page.store.folder)), include_body)

    async def head(self, number: str) -> None:
        await self.get(number, include_body=False)

    @classmethod
    def get_content_version(cls, abspath: str) -> str:
        return str(Path(abspath).stat().st_mtime_ns)  # not a hash: clips are large

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "private, max-age=60")


class _Nothing(_Handler):
    open = True

    def prepare(self) -> None:
        super().prepare()
        raise web.HTTPError(404, "there is no such page")


def _application(page: Page) -> web.Application:
    html = HTML.read_text(encoding="utf-8")
    hashes = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(f"<{kind}>(.*?)</{kind}>", html, re.S)
        )
        for kind in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src 'self' blob: data:; media-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    given = {"page": page}
    return web.Application(
        [
            ("/", _Root, given),
            ("/api/session", _Session, given),
            ("/api/live", _Live, given),
            ("/api/visits", _Visits, given),
            ("/api/zones", _Zones, given),
            (r"/snapshots/(\d{1,12})\.jpg", _File, {**given, "kind": "snapshot"}),
            (r"/clips/(\d{1,12})\.mp4", _File, {**given, "kind": CLIP}),
        ],
        default_handler_class=_Nothing,
        default_handler_args=given,
        html=html,
        policy=policy,
    )
