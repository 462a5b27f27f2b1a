"""Environments of Debian packages, resolved by a private apt and unpacked, never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..machine import read
from .launch import cleaned, import_once
from .processes import SetupError, call
from .runtimes import Runtime, Say


def make_debian(runtime: Runtime, say: Say, log: Any) -> list[str]:
    """Unpack Debian packages into a root of their own; names and versions of all that went in."""
    apt, suite = runtime.folder / "apt", runtime.environment["suite"]
    private = private_apt(apt, f"deb {signed()}{mirror()} {suite} main\n", log)
    installed = unpack_root(runtime, private, say, log)
    say("first import")
    import_once(runtime, log)
    shutil.rmtree(apt)
    return installed


def unpack_root(runtime: Runtime, private: Mapping[str, str], say: Say, log: Any) -> list[str]:
    """Download the environment's Debian packages and unpack them into its "root"."""
    root, packages = runtime.folder / "root", runtime.environment["packages"]
    say(f"downloading {' '.join(packages)} from Debian {runtime.environment['suite']}")
    call(["apt-get", "-y", "--download-only", "install", *packages], log, private)
    archives = sorted((runtime.folder / "apt" / "cache" / "archives").glob("*.deb"))
    say(f"unpacking {len(archives)} packages")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda archive: _unpack(archive, root), archives))
    _mend_links(root)
    return [archive.stem for archive in archives]


def need(*tools: str) -> None:
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        raise SetupError(f"needs {', '.join(lacking)}")


def private_apt(folder: Path, sources: str, log: Any) -> dict[str, str]:
    """Make an apt with its own sources, lists, status and cache in `folder`; what selects it."""
    need("apt-get", "apt-config", "dpkg", "dpkg-deb", "tar")
    for name in ("parts", "lists/partial", "cache/archives/partial", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    # Proxies and certificates as the host has them; its hooks and sources stay out.
    host = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    ).stdout
    # An old suite's index is past its validity date by design; its signature is still checked.
    own = f"""
Dir "/";
Dir::Etc "{folder}";
Dir::Etc::Parts "{folder}/parts";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "{folder}/parts";
Dir::Etc::PreferencesParts "{folder}/parts";
Dir::Etc::Preferences "{folder}/none";
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::Archives "{folder}/cache/archives";
Dir::Log "{folder}/log";
APT::Architecture "{architecture()}";
APT::Architectures {{ "{architecture()}"; }};
APT::Install-Recommends "0";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
Debug::NoLocking "1";
"""
    (folder / "apt.conf").write_text(host + own, encoding="utf-8")
    (folder / "sources.list").write_text(sources, encoding="utf-8")
    private = {**cleaned({}, "debian"), "APT_CONFIG": str(folder / "apt.conf")}
    call(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], log, private)
    return private


def architecture() -> str:
    """What Debian calls the architecture of this interpreter, which need not be the host's."""
    triplets = {"x86_64-linux-gnu": "amd64", "aarch64-linux-gnu": "arm64"}
    triplets["arm-linux-gnueabihf"] = "armhf"
    triplet = sysconfig.get_config_var("MULTIARCH")
    if triplet not in triplets:
        raise SetupError(f"no Debian architecture is known for {triplet}")
    return triplets[triplet]


def signed() -> str:
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return f"[signed-by={keyring}] " if keyring.exists() else ""


def mirror() -> str:
    """DEBIAN_MIRROR, else the first Debian mirror among the host's sources."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return named
    if re.search(r"^ID=debian$", read(Path("/etc/os-release")), re.M):
        sources = [
            Path("/etc/apt/sources.list"),
            *sorted(Path("/etc/apt/sources.list.d").glob("*")),
        ]
        for text in map(read, sources):
            match = re.search(
                r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\w+://\S+/debian/?)(?:\s|$)", text, re.M
            )
            if match:
                return match[1]
    raise SetupError("no Debian mirror among apt's sources; name one in DEBIAN_MIRROR")


def _unpack(archive: Path, root: Path) -> None:
    skip = [f"--exclude=./usr/share/{name}" for name in ("doc", "man", "locale")]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE
    ) as source:
        tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner", *skip]
        result = subprocess.run(
            tar, stdin=source.stdout, capture_output=True, text=True, check=False
        )
    if source.returncode or result.returncode:
        raise SetupError(f"cannot unpack {archive.name}: {result.stderr.strip()}")


def _mend_links(root: Path) -> None:
    """Point absolute links into the root and make the BLAS links that maintainer scripts would."""
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in [*folders, *files]):
            if path.is_symlink() and os.readlink(path).startswith("/"):
                target = os.path.relpath(f"{root}{os.readlink(path)}", folder)
                path.unlink()
                path.symlink_to(target)
    for library in root.glob("usr/lib/*/openblas-pthread/lib*.so.*"):
        link = library.parents[1] / library.name
        if library.name.count(".") == 2 and not link.exists():
            link.symlink_to(f"openblas-pthread/{library.name}")
