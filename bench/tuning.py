"""How much measuring with `linnet tune` gains over the estimate, on whole networks.

    python bench/tuning.py --threads 1,4 --batch 1,16 --isa avx512

The networks are those of models.py; the constants of the estimate are not fitted to them. Both ways
run in turns; a gain of 1.10 means that the estimate's choices take 10 % longer. Measurements go to
a temporary file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from models import NETWORKS, make

from linnet import core, tune

USUAL = ["LeNet-5", "large kernels", "AlexNet", "NiN", "VGG-11", "ResNet-20"]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=numbers, default=[1])
    parser.add_argument("--batch", type=numbers, default=[1, 16])
    parser.add_argument("--isa", help="one of the CPU's; the best by default")
    parser.add_argument(
        "--networks", nargs="+", choices=list(NETWORKS), default=USUAL, metavar="NAME"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            tuning = tune.tune(
                core.build(make(name)),
                threads=arguments.threads,
                batches=arguments.batch,
                cache=str(Path(folder) / "wisdom.txt"),
                isa=arguments.isa,
            )
        print(f"{name}\n  " + "\n  ".join(tuning.lines()[:-1]), flush=True)
        found[name] = tuning.to_dict()
    gains = [plan["estimated"] / plan["tuned"] for t in found.values() for plan in t["plans"]]
    print(f"{len(gains)} plans, largest gain {max(gains):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
