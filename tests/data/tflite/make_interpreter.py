"""Makes interpreter.json: what LiteRT's Interpreter answers to the calls of tests/tflite_calls.py.

pip install ai-edge-litert==2.3.0; PYTHONPATH=tests python tests/data/tflite/make_interpreter.py
"""

from __future__ import annotations

import json
from pathlib import Path

import tflite_calls
from ai_edge_litert import interpreter


def main() -> None:
    answers = tflite_calls.calls(interpreter)
    file = Path(__file__).with_name("interpreter.json")
    lines = [f"{json.dumps(call)}: {json.dumps(answer)}" for call, answer in answers.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
