"""Check Python, the packages, the extras and DVC."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.checking.findings import Finding, ok, problem, warning
from stages.checking.machine import Machine
from stages.runtime.installation import DISTRIBUTION, checkout, missing_in_metadata

__all__ = [
    "OLDEST_PYTHON",
    "check_dvc",
    "check_extras",
    "check_packages",
    "check_python",
    "requirements",
]

OLDEST_PYTHON = (3, 11)
IMPORTED = ("torch", "timm", "numpy", "zarr")
"""Packages with compiled parts that are imported as a test: they may be installed and still not load."""
FOR_DEVELOPERS = frozenset({"bench", "dev", "docs", "fuzz", "test"})
"""Extras that users do not need."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[^"']+)["']""")


def check_python(_: Machine) -> Iterator[Finding]:
    """Check the version of Python."""
    found = f"Python {platform.python_version()} in {sys.prefix}, {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield problem("Python", found, f"Install Python {oldest} or newer.")
        return
    yield ok("Python", found)


def check_packages(_: Machine) -> Iterator[Finding]:
    """Check that every required package is installed, and that those with compiled parts can be imported."""
    missing = [name for name in requirements("") if _version(name) is None]
    if missing:
        yield problem("packages", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    if (source := checkout()) is not None and (newer := missing_in_metadata(source)):
        found = f"the source code in {source} is newer than this installation; it also needs {', '.join(newer)}"
        yield warning("packages", found, f"pip install --editable {source}")
    broken = False
    for name in IMPORTED:
        if name in missing:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - loading compiled code fails in many ways
            broken = True
            reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            yield problem("packages", f"{name} cannot be imported: {reason}", f"pip install --force-reinstall {name}")
    if not missing and not broken:
        versions = ", ".join(f"{name} {_version(name)}" for name in IMPORTED)
        yield ok("packages", f"{DISTRIBUTION} {_version(DISTRIBUTION)}; {versions}")


def check_extras(_: Machine) -> Iterator[Finding]:
    """Say which extras are installed. A missing one is no fault."""
    absent = []
    for extra in extras():
        if extra in FOR_DEVELOPERS:
            continue
        if missing := [name for name in requirements(extra) if _version(name) is None]:
            absent.append(f"{extra} ({', '.join(missing)})")
    yield ok("extras", f"not installed: {'; '.join(absent)}" if absent else "all are installed")


def check_dvc(_: Machine) -> Iterator[Finding]:
    """Check that DVC can be run, if this folder is a DVC project."""
    version = _version("dvc")
    project = Path("dvc.yaml").is_file()
    if version is None:
        if project:
            yield problem("DVC", "not installed, and this folder has a dvc.yaml", f"pip install '{DISTRIBUTION}[dvc]'")
        else:
            yield ok("DVC", f"not installed; needed for `dvc repro` only (pip install '{DISTRIBUTION}[dvc]')")
        return
    where = _repository()
    if project and where is None:
        to_do = "Run `git init` and `dvc init`; or `dvc init --no-scm` without Git."
        yield problem("DVC", f"version {version}; this folder has a dvc.yaml and is no DVC repository", to_do)
        return
    if shutil.which("dvc") is None:
        yield warning("DVC", f"version {version}, but there is no command `dvc` on the path", "Use `python -m dvc`.")
        return
    yield ok("DVC", f"version {version}; {_cache(where) if where else 'this folder is no DVC repository'}")


def extras() -> list[str]:
    """Return the names of the extras of this package, sorted."""
    try:
        return sorted(importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or [])
    except importlib.metadata.PackageNotFoundError:
        return []


def requirements(extra: str) -> list[str]:
    """Return the names of the packages that this package needs for an extra; with "" those it always needs."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    names = []
    for line in lines:
        found, of = _REQUIREMENT.match(line), _EXTRA.search(line)
        if found and (of["extra"] if of else "") == extra:
            names.append(found["name"])
    return names


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _repository() -> Path | None:
    """Return the folder `.dvc` of the repository that the current folder lies in."""
    here = Path.cwd()
    return next((folder / ".dvc" for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)


def _cache(repository: Path) -> str:
    """Describe how DVC puts files of its cache into the project."""
    kinds = []
    for name in ("config", "config.local"):
        settings = configparser.ConfigParser()
        settings.read(repository / name, encoding="utf-8")
        if settings.has_option("cache", "type"):
            kinds.append(settings.get("cache", "type").strip("'\""))
    return f"cache type {kinds[-1]}" if kinds else "cache type reflink, else copy (a store then exists twice)"
