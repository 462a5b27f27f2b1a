"""Passwords, sessions and names of the page."""

from __future__ import annotations

import json
import socket
import stat

import pytest

from linnet.watch.access import (
    FILE,
    LASTING,
    MOST_SESSIONS,
    SPAN,
    TRIES,
    Access,
    may_be_called,
    set_password,
)

PASSWORD = "what the owl saw"


def test_a_password_is_stored_as_what_it_is_recognised_by(tmp_path):
    assert not Access(tmp_path).needed
    set_password(tmp_path / "yard", PASSWORD)
    path = tmp_path / "yard" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    access = Access(tmp_path / "yard")
    assert access.needed
    assert access.check(PASSWORD)
    assert not access.check(PASSWORD + " ")
    assert not access.check("\ud800")
    before = json.loads(path.read_text())
    set_password(tmp_path / "yard", PASSWORD)
    assert json.loads(path.read_text())["hash"] != before["hash"]  # of another salt


def test_bad_passwords_and_files_are_refused(tmp_path):
    for password in ("", "short", "x" * 257):
        with pytest.raises(ValueError, match="8 to 256 characters"):
            set_password(tmp_path, password)
    for text in ("", "{}", '{"salt": "zz"}', "[1]"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ValueError, match="damaged"):
            Access(tmp_path)


def test_sessions_end_and_are_bounded(tmp_path):
    set_password(tmp_path, PASSWORD)
    now = [0.0]
    access = Access(tmp_path, lambda: now[0])
    assert not access.known(None)
    first = access.right("10.0.0.1")
    assert access.known(first)
    now[0] = LASTING + 1
    assert not access.known(first)
    tokens = [access.right("10.0.0.1") for _ in range(MOST_SESSIONS + 1)]
    assert not access.known(tokens[0])
    assert access.known(tokens[1])
    access.forget(tokens[1])
    assert not access.known(tokens[1])


def test_wrong_passwords_make_one_address_wait(tmp_path):
    now = [1000.0]
    access = Access(tmp_path, lambda: now[0])
    for _ in range(TRIES):
        assert access.wait("2001:db8::1") == 0
        access.begin("2001:db8::1")
        now[0] += 1
    assert access.wait("2001:db8::2") == pytest.approx(SPAN - TRIES)  # the same visitor's
    assert access.wait("2001:db9::1") == access.wait("10.0.0.1") == 0
    now[0] += SPAN
    assert access.wait("2001:db8::1") == 0


@pytest.mark.parametrize(
    ("header", "bound", "may"),
    [
        ("localhost:8080", "localhost", True),
        ("127.0.0.1", "localhost", True),
        ("[::1]:8080", "127.0.0.1", True),
        ("192.168.1.5:8080", "localhost", False),
        ("evil.example", "localhost", False),
        ("192.168.1.5:8080", "0.0.0.0", True),
        ("[fe80::1]", "::", True),
        ("evil.example:8080", "0.0.0.0", False),
        ("yard.example:8080", "yard.example", True),
        (f"{socket.gethostname()}:8080", "0.0.0.0", True),
        (f"{socket.gethostname().partition('.')[0]}.local", "0.0.0.0", True),
        (f"{socket.gethostname()}.evil.example", "0.0.0.0", False),
        ("localhost@evil.example", "localhost", False),
        ("localhost:x", "localhost", False),
        ("", "0.0.0.0", False),
    ],
)
def test_names_that_the_page_may_be_called_by(header, bound, may):
    assert may_be_called(header, bound) is may
