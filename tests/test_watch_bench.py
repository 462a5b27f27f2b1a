"""What watching costs, and how right it is."""

from __future__ import annotations

import numpy as np
import pytest
from yards import Pictures, RedBoxes

from linnet.watch import bench

WALK = "".join(
    f"{i + 1},4,{max(5 * (i - 10) - 6, 0)},60,{12 - max(6 - 5 * (i - 10), 0)},30,1,person,1\n"
    for i in range(10, 42)
)


def truth_of(tmp_path, text: str, wanted=("person", "cat")):
    path = tmp_path / "truth.txt"
    path.write_text(text)
    return bench.read_truth(path, wanted)


def test_a_run_counts_and_times_its_stages():
    result = bench.run(Pictures(), RedBoxes())
    data = result.to_dict()
    assert data["pictures"] == 60
    assert data["visits"] == 1
    assert 25 <= data["looks"] <= 45
    assert data["detections"] >= 25
    assert list(data["stages_ms"]) == list(bench.STAGES)
    assert all(ms > 0 for ms in data["stages_ms"].values())
    assert data["cpu_ms"] > 0
    assert bench.decoding(Pictures()) > 0
    assert bench.memory() > 1 << 24


def test_a_walk_that_was_followed_is_right(tmp_path):
    scores = bench.judge(bench.run(Pictures(), RedBoxes()), *truth_of(tmp_path, WALK))
    assert scores["objects"] == scores["visit_recall"] == scores["visit_precision"] == 1
    assert scores["recall"] > 0.85
    assert scores["precision"] > 0.9
    assert scores["idf1"] > 0.9
    assert scores["mota"] > 0.8


class Blinking(RedBoxes):
    """Sees nothing for a second."""

    calls = 0

    def __call__(self, images):
        self.calls += 1
        return super().__call__([0 * image if 10 < self.calls <= 20 else image for image in images])


def test_who_is_out_of_sight_for_a_second_was_between(tmp_path):
    result = bench.run(Pictures(), Blinking())
    scores = bench.judge(result, *truth_of(tmp_path, WALK))
    assert scores["recall"] > 0.85
    assert scores["precision"] == 1  # nothing of it is left when it has gone
    assert scores["idf1"] > 0.9
    assert result.detections <= 25


def test_what_was_not_there_is_wrong(tmp_path):
    far = WALK.replace(",60,", ",0,").replace(",30,1", ",20,1")
    scores = bench.judge(bench.run(Pictures(), RedBoxes()), *truth_of(tmp_path, far))
    assert scores["visit_recall"] == scores["visit_precision"] == scores["recall"] == 0
    assert scores["idf1"] == 0
    assert scores["mota"] < 0
    other = WALK.replace("person", "cat")  # where it was, but of another class
    scores = bench.judge(bench.run(Pictures(), RedBoxes()), *truth_of(tmp_path, other))
    assert scores["visit_recall"] == 0


def test_two_numbers_for_one_object_cost_identity(tmp_path):
    result = bench.run(Pictures(), RedBoxes())
    seen = {p: [(t + (p > 25), b) for t, b in boxes] for p, boxes in result.seen.items()}
    track = next(iter(result.visits))
    split = result._replace(seen=seen, visits={track: "person", track + 1: "person"})
    truth = truth_of(tmp_path, WALK)
    whole, parts = bench.judge(result, *truth), bench.judge(split, *truth)
    assert parts["idf1"] < 0.7 < whole["idf1"]
    assert parts["recall"] == whole["recall"]
    assert parts["mota"] < whole["mota"]


def test_what_does_not_count_may_be_found_or_not(tmp_path):
    result = bench.run(Pictures(), RedBoxes())
    for text, wanted in ((WALK.replace("person,1", "person,0.1"), ("person",)), (WALK, ("cat",))):
        scores = bench.judge(result, *truth_of(tmp_path, text, wanted))
        assert scores["objects"] == 0
        assert scores["visit_recall"] == 1
        assert scores["visit_precision"] == 1
    empty = bench.judge(
        bench.run(Pictures(lambda i: np.zeros((9, 9, 3), np.uint8), 9), RedBoxes()), {}, {}
    )
    assert empty["idf1"] == empty["mota"] == empty["visit_recall"] == 1


def test_truth_of_the_motchallenge_has_numbers_for_classes(tmp_path):
    truth, labels = truth_of(tmp_path, "1,2,10,20,30,40,1,1,1\n1,3,0,0,5,5,0,3,1\n\n"[:-1])
    assert labels == {2: "person", 3: "car"}
    assert truth[0].boxes.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]]
    assert truth[0].counts.tolist() == [True, False]
    assert truth_of(tmp_path, "1,2,10,20,30,40,1,-1,-1,-1\n")[0][0].ids == [2]


@pytest.mark.parametrize("line", ["1,2,3", "a,b,c,d,e,f,g", "1,2,3,4,5,6,1,person,much"])
def test_a_line_of_truth_that_is_none_is_refused(tmp_path, line):
    with pytest.raises(ValueError, match=r"truth\.txt'?: line 2 is not picture,object"):
        truth_of(tmp_path, f"1,1,0,0,5,5,1,person,1\n{line}\n")
