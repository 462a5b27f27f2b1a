"""A model on a folder of pictures by the processes of MPI, one on each board.

mpiexec -n 4 -hostfile boards python3 mpi.py MODEL FOLDER OUT.jsonl [--resume]

Every process writes its part of the lines beside OUT; the first one puts them together. All have to
see the folder and OUT under the same names. What was stopped goes on with --resume.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mpi4py import MPI


def main(model: str, folder: str, out: str, *options: str) -> int:
    world = MPI.COMM_WORLD
    parts = [Path(out).with_suffix(f".{part}.jsonl") for part in range(1, world.size + 1)]
    shard = f"{world.rank + 1}/{world.size}"
    command = [sys.executable, "-m", "linnet", "run", model, folder, "--shard", shard]
    command += ["--out", str(parts[world.rank]), *options]
    status = subprocess.run(command, check=False).returncode
    status = world.allreduce(status, op=MPI.MAX)
    if world.rank == 0 and status == 0:
        with open(out, "wb") as file:
            for path in parts:
                file.write(path.read_bytes())
                path.unlink()
    return int(status)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
