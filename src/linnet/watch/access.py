"""Who may see the page: a password, sessions, and the names that the page may be called by."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import Callable

from ..text import short

FILE = "password"
SHORTEST, LONGEST = 8, 256  # characters of a password
COST = {"n": 1 << 14, "r": 8, "p": 1}  # of scrypt: 16 MB, a tenth of a second on a small board
LASTING = 30 * 86400.0  # seconds of a session
MOST_SESSIONS, MOST_ADDRESSES = 100, 10_000
TRIES, SPAN = 5, 60.0  # wrong passwords from one address in that many seconds


def set_password(folder: Path, password: str) -> None:
    """Stores what a password is recognised by. ValueError if it is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters")
    salt = secrets.token_bytes(16)
    kept = {**COST, "salt": salt.hex(), "hash": _hashed(password, salt, **COST).hex()}
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{FILE}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(kept, file)
    part.replace(folder / FILE)


def _hashed(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=n, r=r, p=p)


class Access:
    """The password of a folder, and those who have given it.

    clock: seconds on a clock that never jumps. ValueError if the file of the password is damaged.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()  # hash of a token: when it ends
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()  # address: when
        path = folder / FILE
        self._salt = self._hash = b""
        self._cost = dict(COST)
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._salt, self._hash = bytes.fromhex(kept["salt"]), bytes.fromhex(kept["hash"])
            self._cost = {name: int(kept[name]) for name in COST}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{short(str(path))}: damaged; set the password anew") from None

    @property
    def needed(self) -> bool:
        return bool(self._hash)

    def wait(self, address: str) -> float:
        """Seconds until this address may try a password: 0, or more after wrong ones."""
        now = self._clock()
        recent = [t for t in self._wrong.get(_network(address), []) if now - t < SPAN]
        return recent[-TRIES] + SPAN - now if len(recent) >= TRIES else 0.0

    def begin(self, address: str) -> None:
        """Counts a try as wrong until `right` says otherwise, so that many at once are no more."""
        key = _network(address)
        self._wrong[key] = [*self._wrong.pop(key, []), self._clock()][-TRIES:]
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def check(self, password: str) -> bool:
        """Takes a tenth of a second or more; from any thread."""
        found = _hashed(password, self._salt, **self._cost)
        return hmac.compare_digest(found, self._hash)

    def right(self, address: str) -> str:
        """The token of a new session."""
        self._wrong.pop(_network(address), None)
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = self._clock() + LASTING
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def known(self, token: str | None) -> bool:
        """Whether a token is of a session, where a password is needed at all."""
        if not self.needed:
            return True
        return self._sessions.get(_digest(token or ""), -1.0) > self._clock()

    def forget(self, token: str | None) -> None:
        self._sessions.pop(_digest(token or ""), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _network(address: str) -> str:
    """What one visitor may have many of: of an address of IPv6 the first half."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), False))


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_called(header: str, bound: str) -> bool:
    """Whether a Host header names this machine by an address or a name of its own.

    Any other name may be one that someone else has made to mean this machine's address, so that a
    page of theirs could ask this one (DNS rebinding).
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?", header)
    if not found:
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    if is_loopback(bound):
        return is_loopback(name)
    own = socket.gethostname().lower()
    first = own.partition(".")[0]
    if name in ("localhost", own, first, f"{first}.local", bound.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
