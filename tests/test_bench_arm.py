"""The model of Arm cores that estimates are made with, and its comparison with real ones."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "bench" / "arm"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def module(name: str) -> Any:
    return importlib.import_module(name)


def write_table(path: Path, kernels: dict[str, str], clock: float, off: float = 0) -> str:
    """A table of a core as the model has it, for a clock in Hz; by kernels as they are called there
    and here. off: by how much every second shape is slower than that.
    """
    silicon = module("silicon")
    lines = []
    for name, known in kernels.items():
        rows, cols = silicon.tile_of(known)
        step = silicon.step32 if name.startswith("armv7") else silicon.step64
        cycles = step(rows, cols, known.endswith("ordered"))
        for i, (m, k, n) in enumerate([(64, 48, 94), (128, 256, 27), (12, 5, 80), (99, 443, 36)]):
            tiles = -(-m // rows) * -(-n // cols)
            seconds = 1e-6 + tiles * (2e-7 + k * cycles / clock)
            lines.append(f"{name} {rows} {cols} {m} {k} {n} {seconds * (1 + off * (i % 2))}")
    path.write_text("\n".join([*lines, "other_mmm_f32_64x1_gen 64 1 1 2 3 0.5"]) + "\n")
    return str(path)


def test_silicon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    a53 = {
        "arm64simd_mmm_f32_16x4_a53": "16x4 ordered",
        "arm64simd_mmm_f32_8x8_gen": "8x8 plain",
    }
    a7 = {
        "armv7neon_mmm_f32_8x6_cortexa7": "8x6 ordered",
        "armv7neon_mmm_f32_8x4_generic": "8x4 plain",
    }
    silicon = module("silicon")

    def compare(off: float) -> int:
        tables = [
            write_table(tmp_path / "a53.txt", a53, 1.25e9, off),
            write_table(tmp_path / "a7.txt", a7, 1.1e9, off),
        ]
        monkeypatch.setattr(sys, "argv", ["silicon.py", *tables])
        return int(silicon.main())

    assert compare(0) == 0
    out = capsys.readouterr().out
    assert "Cortex-A53: a clock of 1.25 GHz; a call costs 1.00 us besides, a tile 200 ns" in out
    assert "Cortex-A7: a clock of 1.10 GHz" in out and out.count("half of them within 0.0%") == 2
    assert compare(0.6) == 1
    (tmp_path / "a53.txt").write_text("other 1 2 3 4 5 6\n")
    monkeypatch.setattr(sys, "argv", ["silicon.py", str(tmp_path / "a53.txt"), "a7.txt"])
    with pytest.raises(SystemExit, match=r"a53\.txt has no line of a kernel"):
        silicon.main()


def cycles64(*lines: str) -> float:
    sim = module("a53sim")
    return float(sim.cycles([sim.parse64(line) for line in lines]))


def test_loads_and_stores_of_64_bit_code() -> None:
    assert cycles64("ldr q0, [x1]") == 2
    assert cycles64("ldp q0, q1, [x1, #32]") == 4
    assert cycles64("ld1 {v0.4s-v3.4s}, [x1], #64") == 8
    assert cycles64("stp q0, q1, [x2]") == 2
    assert cycles64("ldr d0, [x1]") == 1
    assert cycles64("ldr x3, [x1]", "add x4, x5, x6") == 1


def test_what_issues_beside_a_multiply_add() -> None:
    fma = "fmla v8.4s, v0.4s, v4.s[1]"
    assert (
        cycles64(fma, "fmla v9.4s, v0.4s, v4.s[1]", "fmla v10.4s, v0.4s, v4.s[2]") == 4
    )  # chained
    others = [f"fmla v{n}.4s, v0.4s, v4.s[1]" for n in range(8, 12)]
    assert cycles64(*others) == 4
    beside = [line for fma in others for line in (fma, "ldr x3, [x1]")]
    assert cycles64(*beside) == 4
    behind = [line for fma in others for line in (fma, "ins v1.d[1], x3")]
    assert cycles64(*behind) > 7


def test_operands_of_64_bit_code() -> None:
    parse = module("a53sim").parse64
    assert parse("fmla v16.4s, v0.4s, v4.s[1]").acc == ["v16"]
    assert parse("mov v0.d[1], x15").src == ["v0", "x15"]  # what is not written stays
    assert parse("ldr q3, [x1], #16").base == ["x1"]
    assert parse("b.gt 40 <x>").src == ["flags"]
    assert parse("subs x19, x19, #1").dst == ["x19", "flags"]
    assert parse("st1 {v8.4s-v9.4s}, [x21], #32").src == ["v8", "v9", "x21"]
    assert parse(".Llabel:") is None
    with pytest.raises(ValueError, match="no timing is known"):
        parse("frobnicate x0, x1")


def test_boards() -> None:
    estimate = module("estimate")
    assert estimate.board_of("Pi 3B+").clock == 1.4e9
    assert estimate.board_of("3b").clock == 1.2e9
    assert estimate.board_of("raspberry pi zero 2 w").clock == 1.0e9
    with pytest.raises(argparse.ArgumentTypeError, match="no board 'Pi 9', of Pi 3B, Pi 3B"):
        estimate.board_of("Pi 9")


def test_time_is_arithmetic_or_memory() -> None:
    estimate = module("estimate")
    board = estimate.Board("test", 1e9, 1e9, 0.5e9)
    few, many = 1000.0, 10e6

    def layer(kind: str, size: float) -> Any:
        return estimate.Layer("layer", "direct", f"{kind} 1x1", size, judged=0.93 * 0.9e6)

    cached = estimate.time_of([layer("conv", few)] * 3, 1, 1, board)
    assert cached.sum == pytest.approx(3)
    assert (cached.memory, cached.bound) == (0, "arithmetic")
    assert cached.most == pytest.approx(3)
    streamed = estimate.time_of([layer("conv", many)] * 3, 1, 4, board)
    assert streamed.sum == pytest.approx(30)
    assert streamed.bound == "memory"
    assert streamed.most == pytest.approx(0.75 + 60)
    # Fully connected, at batch 1 weights come while nothing else is computed.
    both = estimate.time_of([layer("matmul", many)], 1, 1, board)
    assert both.sum == pytest.approx(11)
    assert estimate.time_of([layer("matmul", many)], 8, 1, board).sum == pytest.approx(10)


def test_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = module("published")
    for name in ("PAGE", "RESULTS", "CHART"):
        monkeypatch.setattr(published, name, tmp_path / name)
    monkeypatch.setattr(sys, "argv", ["published.py", str(tmp_path)])
    (tmp_path / "PAGE").write_text(f"before\n{published.BEGIN}old\n{published.END}after\n", "utf-8")
    # 4 x 0.9 x 1.4e9 cycles a second and 2e9 bytes: 0.1 s of arithmetic, and of memory.
    layer = {"name": "l", "algorithm": "direct", "problem": "conv", "other": 0.0, "alike": 2}
    computed = {**layer, "bytes": 1e6, "judged": 0.1 * 0.93 * 4 * 0.9 * 1.4e9}
    streamed = {**layer, "bytes": 2e8, "judged": 1.0}
    (tmp_path / "armhf-ResNet-18.json").write_text(json.dumps([computed]), "utf-8")
    (tmp_path / "aarch64-ResNet-18.json").write_text(json.dumps([streamed]), "utf-8")
    assert published.main() == 0
    page = (tmp_path / "PAGE").read_text("utf-8")
    assert "| ResNet-18 | 100 to 101 | 100 to 167 | arithmetic, memory | 271 | - |" in page
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
    assert "| SqueezeNet | - | - |  | 85 | - |" in page
    lines = (tmp_path / "RESULTS").read_text("utf-8").splitlines()
    assert 'ResNet-18,"linnet 32-bit, estimated",100.00,100.00,0.50,0.00,100.83,arithmetic' in lines
    assert 'MobileNet-v1,"xnnpack, published",114,,,,,' in lines
    chart = (tmp_path / "CHART").read_text("utf-8")
    assert chart.startswith("<svg") and ">ResNet-18<" in chart and ">271<" in chart
