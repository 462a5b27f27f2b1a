"""How far every algorithm's results are from those in double precision, as a Markdown table.

    python bench/errors.py > table.md

For each layer the largest error of any result, over the rms of the results, with inputs and weights
of a normal distribution and with inputs of pictures (0 to 1), whichever is worse, on the worst of
the instruction sets that this CPU has.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from linnet import _core, ops

# Side of the kernel, input channels, output side.
LAYERS = [
    (side, channels, 24 if channels < 256 else 12)
    for side in (1, 2, 3, 4, 5, 6, 7, 9, 11)
    for channels in (1, 16, 64, 512)
    if side * side * channels <= 20000
]
OUTPUTS = 16


def error(key: str, layer: Any, x: Any, want: Any) -> float:
    p = _core.parse_problem(key)
    c, h, side = p["in"]
    pixel = -(-c // layer.width) * layer.width
    if p["in_layout"] == "nhwc":
        data = np.zeros((1, h, side, pixel), np.float32)
        data[..., :c] = x.transpose(0, 2, 3, 1)
    else:
        data = x
    y = np.empty(layer.y_count, np.float32)
    layer.run(np.ascontiguousarray(data).ravel(), None, y)
    k, out, _ = p["out"]
    if p["out_layout"] == "nhwc":
        got = y.reshape(out, out, -1)[..., :k].transpose(2, 0, 1)
    else:
        got = y.reshape(k, out, out)
    return float(np.abs(got - want).max() / np.sqrt(np.mean(want**2)))


def rows() -> list[tuple[str, dict[str, float]]]:
    found = []
    for side, channels, out in LAYERS:
        rng = np.random.default_rng(side * 1000 + channels)
        size = out + side - 1
        w = rng.standard_normal((OUTPUTS, channels, side, side), dtype=np.float32)
        worst: dict[str, float] = {}
        pictures = rng.random((1, channels, size, size), dtype=np.float32)
        normal = rng.standard_normal((1, channels, size, size), dtype=np.float32)
        for x in (normal, pictures):
            want = ops.conv.conv(x.astype(np.float64), w.astype(np.float64))[0]
            for layouts in ("nhwc", "nchw", "nchw>nhwc"):
                key = f"conv f32 n1 c{channels}h{size}w{size} k{OUTPUTS}r{side}x{side} {layouts} t1"
                for isa in _core.available_isas():
                    for algorithm in _core.algorithms():
                        if not _core.refusal(key, algorithm, isa):
                            layer = _core.Layer(key, algorithm, isa, w, None)
                            e = error(key, layer, x, want)
                            worst[algorithm] = max(e, worst.get(algorithm, 0.0))
        found.append((f"{side}x{side}, {channels}", worst))
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return found


def main() -> None:
    table = rows()
    names = sorted({name for _, worst in table for name in worst})
    print("| kernel, channels | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for title, worst in table:
        cells = [f"{worst[name]:.1e}" if name in worst else "" for name in names]
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
