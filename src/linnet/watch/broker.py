"""Events and state for a broker of MQTT, and for Home Assistant, by Eclipse Paho.

Events wait in the store until the broker has acknowledged them, one at a time and in order: none is
lost, whatever fails, and each has an `event_id` by which a receiver knows one that came again
because an acknowledgement was lost.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from .. import machine
from ..text import short
from .pipeline import Look, Watch
from .sources import shown
from .store import Store

ALIVE = 30  # seconds after which a silent connection is given up
LONGEST_WAIT = 30  # seconds between two tries to connect
STATE = 30.0  # seconds after which the state is sent though nothing has changed


class Address(NamedTuple):
    """Of a broker; name: of this camera in topics, None for the folder's."""

    host: str
    port: int
    secure: bool
    user: str | None
    password: str | None
    name: str | None

    @staticmethod
    def parse(text: str) -> Address:
        """Of HOST or mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/NAME]. ValueError if it is none."""
        try:
            parts = urlsplit(text if "://" in text else f"mqtt://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        name = unquote(parts.path.strip("/"))
        odd = parts.query or parts.fragment or re.search(r"[/+#\0]", name)
        if not host or odd or parts.scheme not in ("mqtt", "mqtts"):
            raise ValueError(
                f"{short(shown(text))}: expected HOST or mqtt[s]://[USER@]HOST[:PORT][/NAME]"
            )
        secure = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password or "") or os.environ.get("LINNET_MQTT_PASSWORD")
        port = port or (8883 if secure else 1883)
        return Address(host, port, secure, user, password, name or None)


class Broker:
    """Sends what a watch sees until it is left; a context manager.

    authority: file of the certificates that a broker's may be signed by (default: the system's).
    ValueError if Paho is not there or the file cannot be used. A broker that is away is awaited.
    """

    def __init__(
        self, watch: Watch, store: Store, address: Address, authority: str | None = None
    ) -> None:
        self.watch, self.store, self.address = watch, store, address
        self.name = address.name or store.folder.resolve().name or "yard"
        self.topic = f"linnet/{self.name}"
        self._id = "linnet_" + _plain(self.name)
        self._client = self._made(authority)
        self._changed = threading.Condition()
        self._connected = self._closing = self._told = False
        self._acknowledged: set[int] = set()  # numbers of Paho's, since the last event was sent
        self._counts: dict[str, Any] = {"count": {}, "zones": {}}
        self._described: tuple[str, ...] | None = None  # zones that Home Assistant knows
        self._sent = ("", 0.0)  # state and when
        self._thread = threading.Thread(target=self._run, name="linnet-mqtt", daemon=True)

    def _made(self, authority: str | None) -> Any:
        try:
            from paho.mqtt import client as mqtt
        except ImportError:
            raise ValueError(
                "--mqtt needs Paho: pip install linnet[watch], or Debian's python3-paho-mqtt"
            ) from None
        name = f"{self._id}-{socket.gethostname()}"
        if hasattr(mqtt, "CallbackAPIVersion"):  # 2.x; Debian 12 has 1.6
            client: Any = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
        else:
            client = mqtt.Client(client_id=name)
        address = self.address
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.secure:
            try:
                client.tls_set(ca_certs=authority, cert_reqs=ssl.CERT_REQUIRED)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"--mqtt-ca {short(authority)}: {error}") from None
        client.will_set(f"{self.topic}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, LONGEST_WAIT)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_publish = self._on_disconnect, self._on_publish
        return client

    def __enter__(self) -> Broker:
        self._client.connect_async(self.address.host, self.address.port, keepalive=ALIVE)
        self._client.loop_start()
        self._thread.start()
        self.watch.listeners.append(self._look)
        self.store.listeners.append(self._wake)
        return self

    def __exit__(self, *ignored: object) -> None:
        """What could not be sent stays in the store and is sent by the next watch."""
        self.watch.listeners.remove(self._look)
        self.store.listeners.remove(self._wake)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(ALIVE)
        if self._connected:
            with suppress(ValueError, RuntimeError):
                self._publish(f"{self.topic}/status", "offline", True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    # Paho's calls, in its thread; version 1.6 gives fewer arguments, and numbers for reasons.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, *more: Any) -> None:
        failed = reason.is_failure if hasattr(reason, "is_failure") else reason != 0
        if failed:
            self._tell(f"refused: {reason}")
            return
        if self._told:
            self.watch.say(f"broker {self.address.host}: back")
        self._publish(f"{self.topic}/status", "online", True)
        with self._changed:
            self._connected, self._told, self._described, self._sent = True, False, None, ("", 0.0)
            self._changed.notify_all()

    def _on_disconnect(self, *ignored: Any) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()
            closing = self._closing
        if not closing:
            self._tell("not connected")

    def _on_publish(self, client: Any, data: Any, number: int, *more: Any) -> None:
        with self._changed:
            self._acknowledged.add(number)
            self._changed.notify_all()

    def _tell(self, what: str) -> None:
        if not self._told:
            self.watch.say(f"broker {self.address.host}: {what}; events wait until it is back")
        self._told = True

    # The watch's.

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _look(self, look: Look) -> None:
        """In the thread of events: who is there now, of each class and in each zone."""
        labels = self.watch.detector.labels
        there = [track for track in look.tracks if track.certain and track.present]
        counts = {
            "count": Counter(labels[track.label] for track in there),
            "zones": {
                zone.name: sum(track.path[-1][1:] in zone for track in there)
                for zone in self.watch.all_zones
            },
        }
        if counts != self._counts:
            self._counts = counts
            self._wake()

    # Its own thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing and not self._connected:
                    return
                closing, connected = self._closing, self._connected
            waiting: list[tuple[int, str]] = []
            try:
                waiting = self.store.unsent() if connected else []
                if connected:
                    self._state()
                for number, event in waiting:
                    if not self._send(number, event):
                        break
            except sqlite3.Error as error:
                self.watch.say(f"{self.store.folder}: {error}")
                waiting = []
            with self._changed:
                if closing and not waiting:
                    return
                if not waiting and not self._closing and connected == self._connected:
                    self._changed.wait(1.0)

    def _send(self, number: int, event: str) -> bool:
        """Whether the broker has acknowledged an event. One that was under way when the connection
        was lost is sent again by Paho itself.
        """
        with self._changed:
            self._acknowledged.clear()
        message = self._publish(f"{self.topic}/event", event)
        with self._changed:
            while message.mid not in self._acknowledged:
                if self._closing and not self._connected:
                    return False
                self._changed.wait(1.0)
        self.store.sent(number)
        return True

    def _publish(self, topic: str, text: str, retain: bool = False) -> Any:
        return self._client.publish(topic, text, qos=1, retain=retain)

    def _state(self) -> None:
        zones = tuple(zone.name for zone in self.watch.all_zones)
        if self._described != zones:
            self._describe(zones)
            self._described = zones
        counts = self._counts
        state: dict[str, Any] = {
            "count": {label: counts["count"].get(label, 0) for label in self.watch.detector.labels},
            "zones": {zone: counts["zones"].get(zone, 0) for zone in zones},
        }
        text, now = json.dumps(state), time.monotonic()
        if text != self._sent[0] or now - self._sent[1] > STATE:
            self._sent = text, now
            state["temperature"] = machine.temperature()
            self._publish(f"{self.topic}/state", json.dumps(state), True)

    def _describe(self, zones: tuple[str, ...]) -> None:
        """Tells Home Assistant which sensors there are; of a zone that went, that there is none."""
        found: dict[str, str] = {}
        for zone in self._described or ():
            found[f"zone_{_plain(zone)}"] = ""
        for kind, names in (("count", self.watch.detector.labels), ("zones", zones)):
            for name in names:
                key = f"{kind[:5].rstrip('s')}_{_plain(name)}"
                quoted = json.dumps(name)
                template = f"{{{{ 'ON' if value_json.{kind}.get({quoted}, 0) > 0 else 'OFF' }}}}"
                found[key] = json.dumps(self._sensor(key, name, template))
        for key, text in found.items():
            self._publish(f"homeassistant/binary_sensor/{self._id}/{key}/config", text, True)

    def _sensor(self, key: str, name: str, template: str) -> dict[str, Any]:
        return {
            "name": name,
            "unique_id": f"{self._id}_{key}",
            "object_id": f"{self._id}_{key}",
            "device_class": "occupancy",
            "state_topic": f"{self.topic}/state",
            "value_template": template,
            "availability_topic": f"{self.topic}/status",
            "device": {"identifiers": [self._id], "name": self.name, "manufacturer": "linnet"},
        }


def _plain(name: str) -> str:
    """A name as topics may have it; two names never become one."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name)
