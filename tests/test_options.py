"""What is written by hand about a session's options agrees with the core's table of them."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import linnet
from linnet import _core
from linnet.cli import _parser

ROOT = Path(__file__).parents[1]
OPTIONS = {option["name"]: option for option in _core.session_options()}
COMMON = [name for name, option in OPTIONS.items() if not option["tuning"]]
C_TYPES = {"count": "int", "flag": "int", "bytes": "size_t", "text": "const char*"}
PYTHON_TYPES = {"count": "int", "flag": "bool", "bytes": "int", "seconds": "float", "text": "str"}


def test_the_stub_has_every_option_and_its_type():
    stub = ast.parse((ROOT / "src" / "linnet" / "_core.pyi").read_text(encoding="utf-8"))
    (session,) = (n for n in stub.body if isinstance(n, ast.ClassDef) and n.name == "Session")
    init = session.body[0]
    assert isinstance(init, ast.FunctionDef) and init.name == "__init__"
    types = {a.arg: ast.unparse(a.annotation) for a in init.args.kwonlyargs if a.annotation}
    assert types.pop("progress").startswith("Callable")
    assert types == {
        name: f"{PYTHON_TYPES[option['kind']]} | None" for name, option in OPTIONS.items()
    }


def test_load_takes_every_option():
    parameters = inspect.signature(linnet.load).parameters
    assert sorted(parameters) == sorted(
        [*COMMON, "arithmetic", "model", "outputs", "preprocess", "shapes", "stages", "weights"]
    )
    assert all(f"    {name}: " in (linnet.load.__doc__ or "") for name in COMMON)


def test_the_header_has_every_option():
    header = (ROOT / "cpp" / "include" / "linnet.h").read_text(encoding="utf-8")
    (body,) = re.findall(r"typedef struct linnet_options \{(.*?)\} linnet_options;", header, re.S)
    fields = re.findall(r"^  ([\w *]+[ *])(\w+);", body, re.M)
    assert fields[0] == ("size_t ", "size")
    assert {name: kind.strip() for kind, name in fields[1:]} == {
        name: C_TYPES[OPTIONS[name]["kind"]] for name in COMMON
    }


@pytest.mark.parametrize("verb", ["run", "bench", "profile", "tune"])
def test_the_command_has_every_option(verb, capsys):
    with pytest.raises(SystemExit):
        _parser([verb]).parse_args([verb, "--help"])
    text = capsys.readouterr().out
    lacking = {"algorithm", "strict"} if verb == "tune" else set()
    for name in COMMON:
        assert (f"--{name.replace('_', '-')}" in text) == (name not in lacking)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"threads": "many"}, "threads is 'many', expected a whole number"),
        ({"threads": 1 << 40}, "threads is 1099511627776, expected a whole number"),
        ({"strict": "yes"}, "strict is 'yes', expected True or False"),
        ({"memory_limit": -1}, "memory_limit is -1, expected a number of bytes"),
        ({"seconds": "long"}, "seconds is 'long', expected a number of seconds"),
        ({"isa": 3}, "isa is 3, expected a string"),
        ({"search": "wide"}, "search is 'wide', expected estimate, fast or full"),
    ],
)
def test_a_wrong_value_is_named(option, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _core.Session(_core.GraphBuilder(), **option)


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="no option 'speed'"):
        _core.Session(_core.GraphBuilder(), speed=2)
