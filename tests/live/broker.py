"""Events at a real broker, Debian's mosquitto, that is stopped and killed meanwhile: make live."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from yards import Pictures, RedBoxes, until, video, walk

from linnet.watch import Store, Watch
from linnet.watch.broker import Address, Broker

MOSQUITTO = "/usr/sbin/mosquitto"


class Mosquitto:
    """A broker in a folder; started again, it knows who had subscribed."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        kept = ["user root", "persistence true", f"persistence_location {folder}/"]
        kept += ["autosave_on_changes true", "autosave_interval 1"]
        given = lines or ("allow_anonymous true",)
        self.config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *kept, *given, ""]))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)], stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(self.process.communicate()[1])

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(10)
        self.process.stderr.close()  # type: ignore[union-attr]


class Subscriber:
    """Receives all there is, connects again by itself and gets then what came meanwhile."""

    def __init__(self, port: int, **login: Any) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        version = mqtt.CallbackAPIVersion.VERSION2
        self.client: Any = mqtt.Client(version, uuid.uuid4().hex, clean_session=False)
        if "user" in login:
            self.client.username_pw_set(login["user"], login["password"])
        if "authority" in login:
            self.client.tls_set(ca_certs=login["authority"])
        self.subscribed = threading.Event()
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda *given: self.client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *given: self.subscribed.set()
        self.client.on_disconnect = lambda *given: self.subscribed.clear()
        self.client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self.client.connect("127.0.0.1" if "authority" not in login else "localhost", port)
        self.client.loop_start()
        assert self.subscribed.wait(10)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text) for topic, text, _ in self.messages if topic.endswith("/event")]

    def last(self, topic: str) -> str | None:
        return next((text for name, text, _ in reversed(self.messages) if name == topic), None)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path)
    yield made
    if made.process.poll() is None:
        made.stop()


class Paced:
    """Pictures of walkers who come again and again, as a camera has them but four times as fast."""

    name, live, tap = "paced", False, None

    def __init__(self, walks: int, pause: float = 0.025) -> None:
        self.walks, self.pause = walks, pause

    def frames(self):
        for frame in Pictures(lambda i: walk(i % 110), 110 * self.walks).frames():
            time.sleep(self.pause)
            yield frame


def watched(
    folder: Path, source: Any, address: Address, meanwhile: Any = None, **given: Any
) -> Any:
    """All events of a watch, as its broker had to get them."""
    store = Store(folder, outbox=True)
    said: list[str] = []
    watch = Watch(source, RedBoxes(), store=store, rate=None, say=said.append)
    with Broker(watch, store, address, **given) as broker:
        broker._client.reconnect_delay_set(1, 1)
        thread = threading.Thread(target=meanwhile) if meanwhile else None
        if thread:
            thread.start()
        made = [event.to_dict() for event in watch.events()]
        if thread:
            thread.join()
        until(lambda: not store.unsent())
    store.close()
    return made, said


def plain(port: int) -> Address:
    return Address("127.0.0.1", port, False, None, None, None)


def test_a_broker_that_is_stopped_and_killed_gets_every_event_once(tmp_path, mosquitto):
    subscriber = Subscriber(mosquitto.port)
    folder = tmp_path / "yard"

    def cut() -> None:
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            time.sleep(2.0)
            mosquitto.stop(how)
            time.sleep(1.5)
            mosquitto.start()
            until(subscriber.subscribed.is_set)

    made, said = watched(folder, Paced(5), plain(mosquitto.port), cut)
    until(lambda: len({e["event_id"] for e in subscriber.events()}) == len(made))
    got = {e.pop("event_id"): e for e in subscriber.events()}
    assert len(made) == 10
    assert sorted(map(key, got.values())) == sorted(map(key, made))
    assert len(subscriber.events()) <= len(made) + 3  # one for an acknowledgement that was cut off
    assert [text.split(": ")[1].split(";")[0] for text in said][:2] == ["not connected", "back"]
    subscriber.close()


def key(event: dict[str, Any]) -> tuple[int, str]:
    return event["id"], event["event"]


def test_events_of_a_watch_without_a_broker_are_sent_by_the_next(tmp_path, mosquitto):
    mosquitto.stop()
    folder = tmp_path / "yard"
    store = Store(folder, outbox=True)
    watch = Watch(Paced(1, 0), RedBoxes(), store=store, rate=None)
    with Broker(watch, store, plain(mosquitto.port)):
        first = [event.to_dict() for event in watch.events()]
    store.close()
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    second, _ = watched(folder, Paced(1, 0), plain(mosquitto.port))
    until(lambda: len(subscriber.events()) == len(first) + len(second))
    assert [key(e) for e in subscriber.events()] == [key(e) for e in first + second]
    subscriber.close()


def test_a_watch_that_is_killed_sends_what_it_had_stored(tmp_path, mosquitto):
    subscriber = Subscriber(mosquitto.port)
    script = str(Path(__file__).with_name("yard.py"))
    source = str(video(tmp_path / "yard.mp4", lambda i: walk(i % 110), 330))
    options = ["--events", str(tmp_path / "yard"), "--mqtt", f"127.0.0.1:{mosquitto.port}"]
    command = [sys.executable, script, "--source", source, "--loop", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until(subscriber.events, 30)
    process.kill()
    process.communicate()
    until(lambda: subscriber.last("linnet/yard/status") == "offline", 60)  # its last will
    store = Store(tmp_path / "yard")
    stored = [json.loads(event) for _, event in store.unsent()]
    known = {e["event_id"] for e in [*stored, *subscriber.events()]}
    (visit,) = store.visits()
    store.close()
    made, _ = watched(tmp_path / "yard", Paced(1, 0), plain(mosquitto.port))
    until(lambda: len({e["event_id"] for e in subscriber.events()}) == len(known) + len(made))
    assert visit["id"] == subscriber.events()[0]["id"]
    subscriber.close()


def test_state_and_discovery(tmp_path, mosquitto):
    subscriber = Subscriber(mosquitto.port)
    states = []
    folder = tmp_path / "yard"
    store = Store(folder, outbox=True)
    store.draw({"gate/1": [(0, 0), (1, 0), (1, 1), (0, 1)]})
    watch = Watch(Paced(1, 0.05), RedBoxes(), store=store, rate=None)
    with Broker(watch, store, plain(mosquitto.port)):
        for event in watch.events():
            states.append(event.kind)
        until(lambda: not store.unsent())
    store.close()
    until(lambda: subscriber.last("linnet/yard/status") == "offline")
    seen = [
        json.loads(text) for name, text, _ in subscriber.messages if name == "linnet/yard/state"
    ]
    assert {state["count"]["person"] for state in seen} == {0, 1}
    assert {state["zones"].get("gate/1", 0) for state in seen} == {0, 1}
    prefix = "homeassistant/binary_sensor/linnet_yard"
    made = json.loads(subscriber.last(f"{prefix}/zone_gate_2f_1/config") or "")
    assert made["state_topic"] == "linnet/yard/state"
    assert made["availability_topic"] == "linnet/yard/status"
    assert made["value_template"] == (
        "{{ 'ON' if value_json.zones.get(\"gate/1\", 0) > 0 else 'OFF' }}"
    )
    assert subscriber.last(f"{prefix}/count_person/config")
    late = Subscriber(mosquitto.port)  # retained: who comes later knows
    until(lambda: late.last("linnet/yard/status") == "offline")
    assert late.last("linnet/yard/state")
    late.close()
    subscriber.close()


def certificates(folder: Path) -> None:
    """An authority, and a broker's certificate for localhost signed by it."""
    commands = [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2",
        "req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj /CN=localhost",
        "x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out own.crt -days 2",
    ]
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def test_a_password_and_a_certificate(tmp_path):
    certificates(tmp_path)
    made = tmp_path / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", str(made), "owl", "tu whit"]
    subprocess.run(command, check=True, capture_output=True)
    lines = [f"cafile {tmp_path}/ca.crt", f"certfile {tmp_path}/own.crt"]
    lines += [f"keyfile {tmp_path}/own.key", f"password_file {made}", "allow_anonymous false"]
    mosquitto = Mosquitto(tmp_path, *lines)
    authority = str(tmp_path / "ca.crt")
    subscriber = Subscriber(mosquitto.port, user="owl", password="tu whit", authority=authority)
    address = Address.parse(f"mqtts://owl:tu%20whit@localhost:{mosquitto.port}/tree")
    events, said = watched(tmp_path / "yard", Paced(1, 0), address, authority=authority)
    until(lambda: len(subscriber.events()) == len(events))
    assert said == []
    assert subscriber.last("linnet/tree/status") == "offline"
    # A wrong password, and a broker that is not known, are told, and the events stay.
    for other, given in (
        (f"mqtts://owl:wrong@localhost:{mosquitto.port}", {"authority": authority}),
        (f"mqtts://owl:tu%20whit@localhost:{mosquitto.port}", {}),
    ):
        store = Store(tmp_path / "other", outbox=True)
        watch = Watch(Paced(1, 0), RedBoxes(), store=store, rate=None, say=said.append)
        with Broker(watch, store, Address.parse(other), **given):
            assert len(list(watch.events())) == 2
            until(lambda: said)
        assert "events wait until it is back" in said[0]
        said.clear()
        assert store.unsent()
        store.close()
    subscriber.close()
    mosquitto.stop()
