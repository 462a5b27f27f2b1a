"""RapidOCR, a program written for ONNX Runtime, on that and on linnet: the text of one picture.

    python bench/ocr.py    # needs rapidocr-onnxruntime, and onnxruntime

Prints what each reads and how long it takes; status 1 if the texts differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LINES = ("Hello small world", "linnet reads 1234567", "a text of three lines")
RUNTIMES = ("onnxruntime", "linnet")


def picture() -> Any:
    """The lines in black on white, as an array [H, W, 3]."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (480, 60 * len(LINES) + 20), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=36)
    for index, line in enumerate(LINES):
        draw.text((20, 20 + 60 * index), line, fill="black", font=font)
    return np.array(image)


def read(runtime: str) -> dict[str, Any]:
    """What RapidOCR reads, its certainty, and the seconds that a second reading takes."""
    if runtime == "linnet":
        import linnet.compat.onnxruntime

        sys.modules["onnxruntime"] = linnet.compat.onnxruntime
    from rapidocr_onnxruntime import RapidOCR

    reader, image = RapidOCR(), picture()
    reader(image)  # sizes are new
    begin = time.perf_counter()
    found, _ = reader(image)
    seconds = time.perf_counter() - begin
    return {"lines": [(text, float(score)) for _, text, score in found], "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runtime", choices=RUNTIMES, help="with this one alone, as JSON")
    args = parser.parse_args()
    if args.runtime:
        print(json.dumps(read(args.runtime)))
        return 0
    texts = []
    for runtime in RUNTIMES:
        command = [sys.executable, str(Path(__file__)), "--runtime", runtime]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(output.splitlines()[-1])
        print(f"{runtime}: {result['seconds']:.2f} s")
        for text, score in result["lines"]:
            print(f"  {score:.4f}  {text}")
        texts.append([text for text, _ in result["lines"]])
    print("same text" if texts[0] == texts[1] else "the texts differ")
    return int(texts[0] != texts[1])


if __name__ == "__main__":
    sys.exit(main())
