"""A program compiled with the first header runs with today's library.

tests/data/abi/linnet-1.h is a copy of cpp/include/linnet.h as it was when LINNET_ABI 1 began. It is
never changed; a change it does not survive needs another LINNET_ABI.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import linnet

ROOT = Path(__file__).parents[1]
ABI = ROOT / "tests" / "data" / "abi"
FROZEN = ABI / "linnet-1.h"
HEADER = ROOT / "cpp" / "include" / "linnet.h"
BUILD = ROOT / "build" / "dev"
DIGITS = Path(linnet.__file__).parent / "models" / "digits.onnx"


def run(*command: object) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def library():
    path = BUILD / "liblinnet.so"
    if not path.exists():
        pytest.skip("the C library is not built (cmake --build --preset dev)")
    return path


def test_an_old_program_runs(library, tmp_path):
    program = tmp_path / "program"
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    run("cc", *strict, ABI / "program-1.c", "-o", program, library, f"-Wl,-rpath,{BUILD}")
    x = np.random.default_rng(0).random((3, 1, 88, 88), dtype=np.float32)
    x.tofile(tmp_path / "x.bin")
    y = np.array(run(program, DIGITS, tmp_path / "x.bin").split(), np.float32)
    wanted = linnet.load(DIGITS, weights_dtype="f32")(x)
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, atol=1e-5)


def test_the_library_is_named_after_its_interface(library):
    (number,) = re.findall(r"#define LINNET_ABI (\d+)", HEADER.read_text(encoding="utf-8"))
    assert f"[liblinnet.so.{number}]" in run("readelf", "-d", library)


def layout(header: Path, names: str, folder: Path) -> list[str]:
    """Where each field lies, what each constant is, what each function is declared as."""
    structs = re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", names, re.S)
    fields = [(s, f) for s, body in structs for f in re.findall(r"(\w+);", body)]
    constants = re.findall(r"^  (LINNET_\w+) = ", names, re.M)
    functions = re.findall(r"LINNET_API ([^;]*?)(linnet_\w+)\(([^;]*)\);", names)
    assert len(fields) > 10 and len(constants) > 10 and len(functions) > 10
    lines = [f'printf("{s}.{f} %zu\\n", offsetof({s}, {f}));' for s, f in fields]
    lines += [f'printf("{c} %d\\n", {c});' for c in constants]
    # Assigning a function to a pointer of its old type fails to compile if the type has changed.
    lines += [
        f"{{ {kind}(*f)({arguments}) = {name}; (void)f; }}" for kind, name, arguments in functions
    ]
    source = folder / "layout.c"
    source.write_text(
        f'#include <stdio.h>\n#include "{header}"\nint main(void) {{\n'
        + "\n".join(lines)
        + "\nreturn 0;\n}\n",
        encoding="utf-8",
    )
    run(
        "cc",
        "-Werror",
        source,
        "-o",
        folder / "layout",
        BUILD / "liblinnet.so",
        f"-Wl,-rpath,{BUILD}",
    )
    return run(folder / "layout").splitlines()


def test_structs_constants_and_functions_are_what_they_were(library, tmp_path):
    names = re.sub(r"/\*.*?\*/", "", FROZEN.read_text(encoding="utf-8"), flags=re.S)
    assert layout(HEADER, names, tmp_path) == layout(FROZEN, names, tmp_path)
