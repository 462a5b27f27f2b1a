"""Stored visits as other programs read them."""

from __future__ import annotations

import csv
import json

import pytest
from test_watch_store import JPEG, save, visit

from linnet import cli
from linnet.watch import History, Store
from linnet.watch.export import PAGE, export


@pytest.fixture
def folder(tmp_path):
    store = Store(tmp_path)
    save(store, 1)
    made = visit(2, 1e9 + 60, ended=None, zones=[])
    made.label = "=cat"
    store.save(made.to_dict(), "cam, 2", None)
    store.close()
    return tmp_path


def test_csv(folder, capsys):
    assert cli.main(["watch", "--export", "csv", "--events", str(folder)]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (first["id"], first["label"], first["source"]) == ("2", "'=cat", "cam, 2")
    assert (first["ended"], first["snapshot"]) == ("", "")
    assert second["began"] == "2001-09-09T01:46:40.000+00:00"
    assert (second["seconds"], second["zones"], second["box"]) == ("5.0", "gate", "1 2 3 4")


def test_json(folder):
    found = json.loads("\n".join(export(History(folder), "json")))
    assert [v["id"] for v in found] == [2, 1]
    assert found[1]["path"] == [[0.0, 10.0, 90.0], [5.0, 60.0, 90.0]]


def test_coco(folder):
    made = json.loads("\n".join(export(History(folder), "coco")))
    (image,), (annotation,), (category,) = (
        made[name] for name in ("images", "annotations", "categories")
    )
    assert (image["width"], image["height"]) == (160, 120)
    assert (folder / image["file_name"]).read_bytes() == JPEG
    assert (annotation["image_id"], annotation["bbox"]) == (image["id"], [1.0, 2.0, 2.0, 2.0])
    assert category == {"id": annotation["category_id"], "name": "person"}
    (folder / image["file_name"]).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"00000001-1\.jpg: no picture"):
        list(export(History(folder), "coco"))


def test_many_visits_and_none(tmp_path):
    store = Store(tmp_path)
    assert json.loads("\n".join(export(store, "json"))) == []
    store._database.execute("PRAGMA synchronous = OFF")
    for number in range(1, PAGE + 3):
        store.save(visit(number, 1e9 + number // 2).to_dict(), "cam", None)
    assert [v["id"] for v in json.loads("\n".join(export(store, "json")))] == list(
        range(PAGE + 2, 0, -1)
    )
    store.close()
