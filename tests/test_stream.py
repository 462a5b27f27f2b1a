"""A model on many pictures: answers in order, each that of the picture alone."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import digits, stream
from linnet.answers import Answers
from linnet.graph import Graph, Node, Value

pytest.importorskip("PIL.Image", reason="the image extra is not installed")
PICTURES = sorted(str(p) for p in (Path(__file__).parent / "data" / "digits").glob("?.png"))


@pytest.fixture(scope="module")
def net() -> linnet.Session:
    return linnet.load(digits.MODEL, threads=1)


def all_of(net: linnet.Session, pictures: Any, batch: int, readers: int = 2) -> list[Any]:
    return list(stream.stream(net, pictures, Answers(net), batch, readers))


def best(answer: dict[str, Any]) -> int:
    return int(answer["outputs"]["prob"]["top"][0]["index"])


def test_answers_are_in_order(net: linnet.Session):
    assert [best(answer) for answer in all_of(net, PICTURES * 3, 4)] == list(range(10)) * 3
    assert all_of(net, [], 4) == []


def test_answers_depend_on_nothing_but_the_picture(net: linnet.Session):
    expected = all_of(net, PICTURES, 4)
    for readers, cut in itertools.product((1, 3), (1, 7)):
        parts = all_of(net, PICTURES[:cut], 4, readers), all_of(net, PICTURES[cut:], 4, readers)
        assert [*parts[0], *parts[1]] == expected
    read = [Path(picture).read_bytes() for picture in PICTURES]
    assert all_of(net, read, 4) == expected


@pytest.mark.parametrize("batch", [1, 4])
def test_broken_pictures_have_their_reason(net: linnet.Session, tmp_path: Path, batch: int):
    broken = tmp_path / "b.png"
    broken.write_bytes(Path(PICTURES[0]).read_bytes()[:150])
    (tmp_path / "text.jpg").write_text("nothing")
    strange = [str(broken), str(tmp_path / "text.jpg"), str(tmp_path / "gone.png"), str(tmp_path)]
    mixed = [*strange * 5, *PICTURES[:3], strange[2], *PICTURES[3:], b"nothing", *strange]
    answers = all_of(net, mixed, batch)
    said = [answer.get("error") for answer in answers]
    assert said[:4] == said[-4:] == said[4:8]
    assert said[0].startswith("not a readable image: ") and str(tmp_path) not in said[0]
    assert said[1] == said[-5] == "not a readable image: unknown format"
    assert said[2:4] == ["No such file or directory", "Is a directory"]
    assert [best(answer) for answer in answers if "outputs" in answer] == list(range(10))


def test_few_pictures_are_held(net: linnet.Session, monkeypatch: pytest.MonkeyPatch):
    taken = given = most = 0
    lock = threading.Lock()

    def pictures() -> Any:
        nonlocal taken
        for picture in PICTURES * 30:
            with lock:
                taken += 1
            yield picture

    for _ in stream.stream(net, pictures(), Answers(net), 4, 2):
        given += 1
        most = max(most, taken - given)
    assert given == taken == 300 and most <= 2 * 4 + 2 + 3 * 4


def test_a_run_that_is_left_ends(net: linnet.Session):
    before = threading.active_count()
    made = stream.stream(net, itertools.cycle(PICTURES), Answers(net), 4)
    assert best(next(made)) == 0
    made.close()
    assert threading.active_count() <= before


def test_a_batch_is_chosen(net: linnet.Session):
    answers = Answers(net)
    job = stream.settle(net, answers)
    assert job.batch in stream.BATCHES and job.seconds > 0
    assert len(job.example["prob"]["top"]) == 5
    assert stream.settle(net, answers, 3).batch == 3


def of_shape(*shape: int, batch: int = 0) -> linnet.Session:
    pool = Node("GlobalAveragePool", "pool", ["x"], ["pool"])
    graph = Graph("pool", [pool], {}, [Value("x", (batch, *shape))], ["pool"])
    return linnet.load(graph, threads=1, preprocess=linnet.Preprocess())


def test_pictures_of_their_own_size():
    net = of_shape(3, 0, 0)
    answers = Answers(net, values=True)
    assert stream.settle(net, answers).batch == 1
    sizes = [(4, 6), (4, 6), (5, 3), (4, 6), (8, 8)]
    pictures = [np.full((*size, 3), i, np.uint8) for i, size in enumerate(sizes)]
    for batch in (1, 3):
        found = list(stream.stream(net, pictures, answers, batch))
        means = [np.mean(answer["outputs"]["pool"]["values"]) for answer in found]
        np.testing.assert_allclose(means, range(5), rtol=1e-6)


def test_a_model_that_takes_no_pictures_is_refused():
    net = of_shape(7, 4, 4)
    with pytest.raises(ValueError, match="not one picture"):
        stream.settle(net, Answers(net))
