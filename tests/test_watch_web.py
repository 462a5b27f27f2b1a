"""The page's server: what it answers, and what it refuses. tests/live has a browser at it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_watch_store import JPEG, visit
from yards import Pictures, RedBoxes

from linnet.watch import Store, Watch, Zone, web
from linnet.watch.access import TRIES, set_password
from linnet.watch.history import CLIP

PASSWORD = "what the owl saw"


class Served:
    """A page of a watch that has stored a visit and a clip."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.store = Store(folder)
        self.store.save(visit(1).to_dict(), "cam", JPEG)
        number, path = self.store.begin_medium(CLIP, 1e9)
        path.write_bytes(bytes(range(256)) * 40)
        self.store.end_medium(number, 1e9 + 9, 10240)
        self.said: list[str] = []
        self.watch = Watch(
            Pictures(), RedBoxes(), store=self.store, say=self.said.append, **options
        )
        self.page = web.Page(self.watch, self.store, "localhost", 0)

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
        connection = http.client.HTTPConnection("localhost", self.page.port, timeout=10)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            answer.body = answer.read()  # type: ignore[attr-defined]
            return answer
        finally:
            connection.close()

    def put(self, zones: Any, **headers: str) -> Any:
        return self.ask("/api/zones", "PUT", zones, X_Linnet="1", **headers)

    def log_in(self, password: str) -> Any:
        return self.ask("/api/session", "POST", {"password": password}, X_Linnet="1")

    def look(self, pictures: int) -> None:
        frames = iter(self.watch.source.frames())
        for _ in range(pictures):
            frame = next(frames)
            self.watch.look(frame, self.watch.sense(frame))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, zones=[Zone("gate", [(0, 0), (80, 0), (80, 60)])])
    with made.page:
        yield made
    made.store.close()
    assert made.said == []


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    set_password(tmp_path, PASSWORD)
    made = Served(tmp_path)
    with made.page:
        yield made
    made.store.close()


def test_the_page_needs_no_other_host(served):
    answer = served.ask("/")
    text = answer.body.decode()
    assert answer.status == 200
    assert "linnet watch" in text
    assert not re.search(r"(?i)\bhttps?:|//[a-z0-9-]+\.|@import|style=", text)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] is None


def test_a_live_picture_and_what_is_in_it(served):
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(served.ask("/api/live")))
    asking.start()
    while not served.page._wanted:
        time.sleep(0.001)
    served.look(40)
    asking.join()
    line, _, jpeg = answers[0].body.partition(b"\n")
    facts = json.loads(line)
    assert facts["size"] == [120, 160]
    assert facts["zones"][0] == {
        "name": "gate",
        "points": [[0, 0], [0.5, 0], [0.5, 0.5]],
        "fixed": True,
    }
    assert set(facts["status"]) == {"fps", "dropped", "cpu", "stages", "temperature"}
    assert jpeg[:2] == b"\xff\xd8"
    assert len(jpeg) > 1000


def test_nothing_is_made_for_nobody(served, monkeypatch):
    monkeypatch.setattr(web, "_seen", None)
    monkeypatch.setattr(web, "_jpeg", None)
    served.look(20)
    assert served.page.size == (120, 160)


def test_without_a_camera_an_answer_comes_all_the_same(served, monkeypatch):
    monkeypatch.setattr(web, "PATIENCE", 0.05)
    line, _, jpeg = served.ask("/api/live").body.partition(b"\n")
    assert json.loads(line)["revision"] == 0
    assert jpeg == b""
    assert served.page._waiting == []


def test_visits_are_filtered(served):
    other = visit(2, 2e9, zones=[])
    other.label = "cat"
    served.store.save(other.to_dict(), "cam", None)

    def found(query: str) -> list[int]:
        return [v["id"] for v in json.loads(served.ask(f"/api/visits?{query}").body)["visits"]]

    assert found("") == [2, 1]
    assert found("label=cat") == found("since=1500000000") == [2]
    assert found("zone=gate") == found("until=1500000000") == found("before=2") == [1]
    assert found("label=' OR 1=1 --".replace(" ", "%20")) == []
    listed = json.loads(served.ask("/api/visits").body)
    assert (listed["labels"], listed["zones"]) == (["cat", "person"], ["gate"])
    assert listed["visits"][1]["clips"] == [1]
    assert served.page.revision == 1
    for query in ("since=x", "until=nan", "before=1e400", "since=%ff"):
        assert served.ask(f"/api/visits?{query}").status == 400


def test_snapshots_and_parts_of_clips(served):
    assert served.ask("/snapshots/1.jpg").body == JPEG
    clip = bytes(range(256)) * 40
    assert served.ask("/clips/1.mp4").body == clip
    part = served.ask("/clips/1.mp4", Range="bytes=100-299")
    assert (part.status, part.body) == (206, clip[100:300])
    assert part.headers["Content-Type"] == "video/mp4"
    assert served.ask("/clips/1.mp4", "HEAD").headers["Content-Length"] == "10240"
    assert served.ask("/clips/2.mp4").status == served.ask("/snapshots/9.jpg").status == 404


def test_zones_that_are_drawn_are_watched_and_kept(served):
    points = [[0.25, 0.5], [1, 0.5], [1, 1], [0.25, 1]]
    answer = served.put([{"name": "path", "points": points}])
    assert answer.status == 200
    assert json.loads(answer.body)["zones"][1] == {
        "name": "path",
        "points": points,
        "fixed": False,
    }
    assert served.store.drawn() == {"path": [tuple(point) for point in points]}
    served.look(60)
    (kept,) = [z for z in served.watch.all_zones if z.name == "path"]
    assert kept.points == [(40, 60), (160, 60), (160, 120), (40, 120)]
    assert served.put([]).status == 200
    assert served.store.drawn() == {}


TRIANGLE = [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("zones", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 30_000, "not JSON"),
        ({}, "a list of at most"),
        ([{"name": "a", "points": TRIANGLE}] * 33, "a list of at most"),
        ([{"name": "a", "points": TRIANGLE}] * 2, "two zones of the same name"),
        ([{"name": "gate", "points": TRIANGLE}], "two zones of the same name"),
        ([{"name": "a", "points": TRIANGLE[:2]}], "at least three corners"),
        ([{"name": "a", "points": [[0, 0]] * 65}], "at most 64 corners"),
        ([{"name": "a", "points": [[0, 0], [2, 0], [1, 1]]}], "outside the picture"),
        ([{"name": "a", "points": [[0, 0], [0, "nan"], [1, 1]]}], "at least three corners"),
        ([{"name": "", "points": TRIANGLE}], "1 to 64 characters"),
        ([{"name": "%s" * 40, "points": TRIANGLE}], "%s%s"),
        ([{"name": 3, "points": TRIANGLE}], "has a name"),
        ([{"name": "a"}], "has a name and points"),
        (["a", None], "has a name and points"),
    ],
)
def test_bad_zones_are_refused_in_a_sentence(served, zones, message):
    answer = served.put(zones)
    assert answer.status == 400
    assert message in json.loads(answer.body)["error"]
    assert served.watch.drawn == {}


@pytest.mark.parametrize(
    "path",
    [
        "/snapshots/../events.sqlite",
        "/snapshots/..%2fevents.sqlite",
        "/clips/..%2f..%2f..%2fetc%2fpasswd",
        "/../../../etc/passwd",
        "//etc/passwd",
        "/snapshots/1.jpg%00",
        "/snapshots/%2e%2e/password",
        "/clips/1.jpg",
        "/password",
        "/static/page.html",
        "/snapshots/99999999999999999999.jpg",
    ],
)
def test_no_path_reaches_another_file(served, path):
    assert served.ask(path).status == 404


def test_a_row_that_names_a_file_elsewhere_is_refused(served, tmp_path):
    with served.store._transaction() as database:
        database.execute("UPDATE visits SET snapshot = '../secret'")
    (tmp_path.parent / "secret").write_text("secret")
    answer = served.ask("/snapshots/1.jpg")
    assert answer.status == 403
    assert b"secret" not in answer.body


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "a b", "10.0.0.1"])
def test_other_names_of_this_host_are_refused(served, host):
    """A name that someone else has made to mean this machine: DNS rebinding."""
    for path in ("/", "/api/live", "/snapshots/1.jpg"):
        assert served.ask(path, Host=host).status in (400, 421)


def test_other_sites_may_not_ask(served):
    port = served.page.port
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": f"http://localhost:{port + 1}"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert served.put([], **headers).status == 403
        assert served.ask("/api/visits", **headers).status == 403
    assert served.ask("/api/zones", "PUT", []).status == 403  # as a form of another site would
    assert served.ask("/api/session", "POST", {"password": "x"}).status == 403
    own = f"http://localhost:{port}"
    assert served.put([], Origin=own, Sec_Fetch_Site="same-origin").status == 200
    asked = served.ask("/api/zones", "OPTIONS", Origin="http://evil.example")
    assert asked.status in (403, 405)
    assert asked.headers["Access-Control-Allow-Origin"] is None


def test_large_bodies_and_headers_are_refused(served):
    connection = socket.create_connection(("localhost", served.page.port), timeout=10)
    connection.sendall(
        b"PUT /api/zones HTTP/1.1\r\nHost: localhost\r\nX-Linnet: 1\r\n"
        b"Content-Length: 1000000000000\r\n\r\n"
    )
    assert b" 400 " in connection.recv(1000) or connection.recv(1000) == b""
    connection.close()
    body = b'"' + b"x" * (1 << 17) + b'"'
    # Or the server has closed the connection before all was sent.
    with contextlib.suppress(OSError):
        assert served.put(body).status in (400, 413)
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert served.ask("/", X_Long="x" * (1 << 16)).status in (400, 431)
    assert served.ask("/").status == 200


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionError:
        return True


def test_slow_visitors_are_left_and_hold_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SLOWEST", 0.5)
    made = Served(tmp_path)
    where = ("localhost", made.page.port)
    with made.page:
        slow = [socket.create_connection(where, timeout=10) for _ in range(20)]
        for connection in slow[:10]:
            connection.sendall(b"GET / HT")
        for connection in slow[10:]:
            connection.sendall(
                b"PUT /api/zones HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n["
            )
        assert made.ask("/").status == 200
        assert all(closed(connection) for connection in slow)
    made.store.close()


def test_a_visitor_who_takes_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SLOWEST", 0.3)
    made = Served(tmp_path)
    _, path = made.store.begin_medium(CLIP, 1e9)
    path.write_bytes(bytes(50_000_000))
    made.store.end_medium(2, 1e9, 50_000_000)
    with made.page:
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", made.page.port))
        lazy.sendall(b"GET /clips/2.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        lazy.settimeout(10)
        time.sleep(1.0)
        got = 0
        while data := lazy.recv(1 << 20):
            got += len(data)
        assert got < 50_000_000
        lazy.close()
    made.store.close()


def test_connections_have_a_bound(served, monkeypatch):
    monkeypatch.setattr(web, "MOST_OF_ONE", 4)
    where = ("localhost", served.page.port)
    first = [socket.create_connection(where, timeout=10) for _ in range(4)]
    for connection in first:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    over = socket.create_connection(where, timeout=10)
    assert closed(over)
    for connection in first:
        connection.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert served.ask("/").status == 200
            break
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    else:
        raise AssertionError("connections that were closed still count")


def test_with_a_password_nothing_is_shown_without(guarded):
    for path in ("/api/live", "/api/visits", "/snapshots/1.jpg", "/clips/1.mp4"):
        assert guarded.ask(path).status == 401
        assert guarded.ask(path, Cookie="linnet=guessed").status == 401
    assert guarded.put([]).status == 401
    answer = guarded.log_in(PASSWORD)
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    token = cookie.split(";")[0]
    assert guarded.ask("/api/visits", Cookie=token).status == 200
    assert guarded.ask("/api/session", "DELETE", X_Linnet="1", Cookie=token).status == 200
    assert guarded.ask("/api/visits", Cookie=token).status == 401


def test_a_hundred_wrong_passwords(guarded):
    checked = []
    check = guarded.page.access.check
    guarded.page.access.check = lambda text: checked.append(text) or check(text)
    answers = [guarded.log_in(f"wrong {i}") for i in range(100)]
    assert [answer.status for answer in answers] == [403] * TRIES + [429] * (100 - TRIES)
    assert len(checked) == TRIES
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert guarded.log_in(PASSWORD).status == 429  # so that a right guess is not told either
    for body in (b"{", [], {"password": 3}, {"password": "x" * 300}):
        assert guarded.ask("/api/session", "POST", body, X_Linnet="1").status == 429


def test_a_page_for_others_needs_a_password(tmp_path):
    store = Store(tmp_path)
    watch = Watch(Pictures(), RedBoxes(), store=store)
    with pytest.raises(ValueError, match="needs a password; linnet watch --set-password"):
        web.Page(watch, store, "0.0.0.0", 0)
    set_password(tmp_path, PASSWORD)
    page = web.Page(watch, store, "0.0.0.0", 0)
    with pytest.raises(ValueError, match="in use"):
        web.Page(watch, store, "0.0.0.0", page.port)
    with page:
        pass
    store.close()
