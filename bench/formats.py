"""README's table of what runs: networks as their makers publish them, by format.

python bench/formats.py RECORDS.json

RECORDS.json: {"models": [{"format": "tflite", "loads": true, "right": true}, ...]}, an entry for
each network. `loads` is null where the network was not tried. `right` says whether its outputs are
those that the runtime it was made for gives for the same input: within 0.1 % of their rms, or of a
quantized one within a step and with the same largest.
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

NAMES = {
    "onnx": "ONNX",
    "tflite": "TensorFlow Lite",
    "caffe": "Caffe",
    "caffe-structure": "Caffe, random weights",
    "keras-h5": "Keras",
    "tf-pb": "TensorFlow, frozen",
    "tf-savedmodel": "TensorFlow, SavedModel",
    "mxnet": "MXNet",
    "darknet": "Darknet",
    "ncnn": "ncnn",
}


def table(records: list[dict[str, object]]) -> str:
    """A row for each format in the order of NAMES, then their sum."""
    counts = collections.Counter(
        (record["format"], key)
        for record in records
        if record["loads"] is not None
        for key, yes in {"networks": True, "run": record["loads"], "right": record["right"]}.items()
        if yes
    )
    columns = ("networks", "run", "right")
    rows = [[NAMES[f], *(counts[f, c] for c in columns)] for f in NAMES if counts[f, "networks"]]
    rows.append(["all", *(sum(counts[f, c] for f in NAMES) for c in columns)])
    head = ["format", "networks", "run", "answers as there"]
    lines = [head, ["---"] + ["--:"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["models"]))
