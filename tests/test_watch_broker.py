"""Addresses of brokers, and a broker that is not there. tests/live has a real one."""

from __future__ import annotations

import json
import socket

import pytest
from yards import Pictures, RedBoxes

from linnet.watch import Store, Watch
from linnet.watch.broker import Address, Broker


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("yard.local", ("yard.local", 1883, False, None, None, None)),
        ("10.0.0.2:1884", ("10.0.0.2", 1884, False, None, None, None)),
        ("mqtts://hub", ("hub", 8883, True, None, None, None)),
        ("mqtt://owl:tu%20whit@hub:99/tree", ("hub", 99, False, "owl", "tu whit", "tree")),
        ("owl@[::1]", ("::1", 1883, False, "owl", None, None)),
    ],
)
def test_addresses(text, address):
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "http://hub", "hub:x", "hub:99999", "mqtt://hub/a/b", "hub/#x"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="expected HOST or"):
        Address.parse(text)


def test_a_password_is_not_repeated_and_may_come_from_the_environment(monkeypatch):
    with pytest.raises(ValueError, match="expected HOST or") as error:
        Address.parse("mqtt://owl:secret@hub/a/b")
    assert "secret" not in str(error.value)
    monkeypatch.setenv("LINNET_MQTT_PASSWORD", "tu whit")
    assert Address.parse("owl@hub").password == "tu whit"


def test_events_wait_for_a_broker_that_is_not_there(tmp_path):
    """Two visits that differ, each with an identity, in the order in which they happened."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: list[str] = []
    store = Store(tmp_path, outbox=True)
    watch = Watch(Pictures(), RedBoxes(), store=store, say=said.append)
    with Broker(watch, store, Address.parse(f"127.0.0.1:{port}")):
        made = [event.to_dict() for event in watch.events()]
    waiting = [json.loads(event) for _, event in store.unsent()]
    assert len({event.pop("event_id") for event in waiting}) == 2
    assert waiting == made
    assert said in ([], ["broker 127.0.0.1: not connected; events wait until it is back"])
    store.sent(store.unsent()[0][0])
    assert [json.loads(event)["event"] for _, event in store.unsent()] == ["ended"]
    store.close()


def test_certificates_that_cannot_be_read_are_refused(tmp_path):
    store = Store(tmp_path, outbox=True)
    watch = Watch(Pictures(), RedBoxes(), store=store)
    with pytest.raises(ValueError, match=r"--mqtt-ca .*nothing\.crt"):
        Broker(watch, store, Address.parse("mqtts://hub"), str(tmp_path / "nothing.crt"))
    store.close()
