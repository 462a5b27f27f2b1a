"""The pages say what is there: variables, algorithms, files, make targets; their examples run."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from examples import blocks, command_failures, python_failures
from linnet import _core, cli, digits

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
}
PAGE = PAGES[Path("docs/environment.md")]
OWN = re.compile(r"LINNET_|NNPACK_")


def read_by(folder: str, suffixes: tuple[str, ...]) -> set[str]:
    """The variables that sources read by a name written there."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and path != Path(__file__)
    )
    return set(re.findall(r"(?:getenv\(|environ(?:\.get\(|\[))\"(\w+)\"", text))


def test_every_variable_that_is_read_is_listed_and_no_other():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.M)
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    core = read_by("cpp", (".cpp", ".h"))
    others = (
        read_by("src", (".py",)) | read_by("tests", (".py", ".cpp")) | read_by("bench", (".py",))
    )
    assert len(core) > 4
    assert core <= listed
    assert {name for name in others if OWN.match(name)} <= listed
    assert {name for name in listed if OWN.match(name)} <= core | others


def test_the_topics_of_the_log_are_listed():
    source = (ROOT / "cpp" / "core" / "log.cpp").read_text(encoding="utf-8")
    (topics,) = re.findall(r"kTopics\[\] = \{(.*?)\}", source)
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M) == re.findall(r"\"(\w+)\"", topics)


def test_every_algorithm_is_listed_and_no_other():
    rows = re.findall(
        r"^\| (`.*?) \|", PAGES[Path("docs/architecture.md")].split("## Kinds")[0], re.M
    )
    listed = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert set(_core.algorithms()) == listed


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_make_targets_exist(page):
    text = PAGES[page]
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", text)
    assert not [link for link in links if not (ROOT / page.parent / link).exists()]
    rules = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "Makefile", *(ROOT / "make").glob("*.mk")]
    )
    targets = set(" ".join(re.findall(r"^([\w -]+):", rules, re.M)).split())
    named = re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.M)
    assert not [name for name in named if name not in targets]


def test_the_version_is_the_same_everywhere():
    version = linnet.__version__
    (newest, *_) = re.findall(r"^## (\S+)", PAGES[Path("CHANGELOG.md")], re.M)
    (cited,) = re.findall(
        r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M
    )
    assert newest == cited == version
    assert version.rpartition(".")[0] in PAGES[Path("docs/upgrade.md")]
    named = [v for text in PAGES.values() for v in re.findall(r"linnet-(\d+\.\d+\.\d+)", text)]
    assert set(named) == {version}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of tests/data to work in: examples write files."""
    folder = tmp_path / "data"
    shutil.copytree(ROOT / "tests" / "data", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "page", [p for p, text in PAGES.items() if ">>>" in text or "```console" in text], ids=str
)
def test_sessions_and_their_commands_run(page: Path, folder: Path):
    shutil.copy(digits.MODEL, folder)
    assert not python_failures(PAGES[page], str(page))
    assert not command_failures(PAGES[page], folder, sysconfig.get_path("scripts"))


def camera_pictures(folder: Path) -> dict[str, Any]:
    pictures_alone = shutil.ignore_patterns("*.py", "*.json")
    shutil.copytree(folder / "yard", folder / "seen", ignore=pictures_alone)
    return {'"camera"': '"seen"'}


def cluster(folder: Path) -> dict[str, Any]:
    """A cluster in this process under the address that the page has."""
    distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
    shutil.copy(digits.MODEL, folder / "net.onnx")
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(folder / "yard" / "cat.jpg", folder / name)
    made = distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    )
    return {"tcp://pi1:8786": made.scheduler_address, "close": made.close}


def compiled_digits(folder: Path) -> dict[str, Any]:
    """The wheel that the page's command writes, unpacked where Python looks."""
    made = ["compile", str(digits.MODEL), "-o", str(folder / "digit"), "--emit", "python"]
    assert cli.main(made) == 0
    (wheel,) = folder.glob("digit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    sys.path.insert(0, str(folder))
    return {"close": lambda: sys.path.remove(str(folder))}


def network_of_pictures(folder: Path) -> dict[str, Any]:
    for suffix in ("prototxt", "caffemodel"):
        name = "deploy.prototxt" if suffix == "prototxt" else "net.caffemodel"
        shutil.copy(folder / "caffe" / f"input_dim.{suffix}", folder / name)
    shutil.copy(folder / "yard" / "cat.jpg", folder)
    return {}


def model(source: Path, name: str) -> Any:
    return lambda folder: shutil.copy(ROOT / source, folder / name) and {}


# What a page's program finds when it is run: files, a cluster.
SCENES: dict[str, Any] = {
    "cluster": cluster,
    "compile": compiled_digits,
    "detect": lambda folder: {},
    "images": network_of_pictures,
    "onnxruntime": model(digits.MODEL, "model.onnx"),
    "raspberry-pi": model(digits.MODEL, "net.onnx"),
    "tflite": model(Path("tests/data/tflite/float.tflite"), "model.tflite"),
    "watch": camera_pictures,
}
PROGRAMS = [
    (page, block)
    for page, text in PAGES.items()
    for block in blocks(text, "python")
    if ">>>" not in block
]


@pytest.mark.parametrize(("page", "program"), PROGRAMS, ids=[p.stem for p, _ in PROGRAMS])
def test_programs_run(page: Path, program: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    scene = SCENES[page.stem](folder)
    close = scene.pop("close", lambda: None)
    for written, here in scene.items():
        program = program.replace(written, here)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    pictures = np.zeros((2, 1, 88, 88), np.float32)
    values = {"np": np, "linnet": linnet, "frame": frame, "crop": frame[:50], "pictures": pictures}
    values["picture"], values["image"] = frame[:18, :14], pictures[:1]
    try:
        exec(compile(program, str(page), "exec"), values)
    finally:
        close()


def shell_commands() -> list[tuple[str, list[str]]]:
    """Each call of linnet in the pages' shell examples, without what is around it."""
    calls = []
    for page, text in PAGES.items():
        for block in blocks(text, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                for i, word in enumerate(words):
                    if word == "linnet" or word.endswith("/bin/linnet"):
                        rest = words[i + 1 :]
                        end = next((j for j, w in enumerate(rest) if w in ("&&", "|", ">")), None)
                        calls.append((str(page), rest[:end]))
    return calls


def test_commands_have_the_options_that_pages_give_them():
    calls = shell_commands()
    assert len(calls) > 30
    for page, arguments in calls:
        try:
            cli._parser(arguments).parse_args(arguments)
        except (SystemExit, ValueError) as error:
            pytest.fail(f"{page}: linnet {shlex.join(arguments)}: {error}")
