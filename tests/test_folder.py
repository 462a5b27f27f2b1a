"""Which pictures folders, lists and patterns name, and the parts they are cut into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from linnet import folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("p/b.JPG", "p/a/9.png", "p/a.jpg", "p/a/10.png", "p/notes.md", "q.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_folders_and_patterns_are_in_the_order_of_names():
    inside = ["p/a/10.png", "p/a/9.png", "p/a.jpg", "p/b.JPG"]
    assert folder.pictures("p") == folder.named(["p"]) == inside
    assert folder.named(["p/**/*.png", "q.webp", "gone.jpg"]) == [*inside[:2], "q.webp", "gone.jpg"]


def test_a_list_keeps_its_order(here: Path):
    (here / "names.txt").write_bytes("z.jpg\r\n\na b.jpg\nä.png\nz.jpg".encode())
    assert folder.named(["names.txt"]) == ["z.jpg", "a b.jpg", "ä.png", "z.jpg"]


@pytest.mark.usefixtures("here")
def test_a_file_may_be_called_like_a_pattern():
    Path("[1].jpg").touch()
    assert folder.named(["[1].jpg"]) == ["[1].jpg"]


def test_what_names_no_pictures_is_refused(here: Path):
    os.mkdir("empty")
    (here / "empty.txt").write_text("\n")
    (here / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for source, said in [
        ("empty", "there are no pictures"),
        ("*.tif", "there are no such files"),
        ("empty.txt", "names no pictures"),
        ("bytes.txt", "not a text file"),
    ]:
        with pytest.raises(ValueError, match=said):
            folder.named([source])
    with pytest.raises(FileNotFoundError):
        folder.pictures("gone")


@pytest.mark.usefixtures("here")
def test_pictures_are_told_from_models():
    assert all(map(folder.names_pictures, ["p", "x/*.jpg", "a.TXT", "5.png"]))
    assert not any(map(folder.names_pictures, ["digits", "net.onnx", "net.caffemodel", "net.bin"]))


@pytest.mark.parametrize("parts", [1, 3, 7, 20])
def test_parts_are_all_and_of_nearly_one_length(parts: int):
    names = [str(i) for i in range(17)]
    found = [folder.shard(names, part, parts) for part in range(1, parts + 1)]
    assert [name for part in found for name in part] == names
    assert {len(part) for part in found} <= {17 // parts, 17 // parts + 1}
