"""Check the disks that output goes to: space, speed, permissions, locks, links."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stages.checking.findings import Finding, ok, problem, warning
from stages.checking.machine import Machine
from stages.runtime.file_systems import SHARED, file_system_of
from store.disk.locks import exclusive_lock

__all__ = ["check_places"]

WRITTEN = 32 * 2**20
"""Bytes that are written to measure the speed of a disk."""
SLOWEST = 20e6
"""Bytes a second below which a disk is called slow: a store of one gigabyte takes a minute then."""
GB = 10**9


def check_places(machine: Machine) -> Iterator[Finding]:
    """Check every place that output goes to."""
    for name, path in machine.places.items():
        folder = _existing(path)
        yield from _check_folder(name, path, folder, machine.needed.get(name))


def _check_folder(name: str, path: Path, folder: Path, needed: int | None) -> Iterator[Finding]:
    about = f"disk ({name})"
    if not folder.is_dir():
        yield problem(about, f"{folder} is a file, so {path} cannot be made", f"Choose another place for the {name}.")
        return
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as made:
            trial = Path(made)
            speed = _write(trial / "written")
            yield from _check_links(about, trial)
            yield from _check_locks(about, trial, name)
    except OSError as error:
        to_do = f"Allow writing to it, free some space, or choose another place for the {name}."
        yield problem(about, f"{folder}: cannot be written ({error.strerror or error})", to_do)
        return
    free = shutil.disk_usage(folder).free
    found = f"{folder}: {free / GB:.1f} GB free, writes {speed / 1e6:.0f} MB/s"
    kind = file_system_of(folder)
    if kind:
        found += f", {kind}"
    if needed is not None:
        found += f"; about {needed / GB:.2g} GB needed"
    if needed is not None and needed > free:
        yield problem(about, found, f"Free some space, or choose another disk for the {name}.")
    elif speed < SLOWEST:
        yield warning(about, found, f"Choose a faster disk for the {name}.")
    elif name == "memo" and kind in SHARED:
        to_do = "The memo is an SQLite file: use a local disk, or one memo folder for each machine."
        yield warning(about, f"{found}; locks of a network disk are not always reliable", to_do)
    else:
        yield ok(about, found)


def _write(path: Path) -> float:
    """Write a file to the disk, rename it, and return the bytes a second."""
    block = os.urandom(2**20)
    began = time.monotonic()
    with path.open("wb") as file:
        for _ in range(WRITTEN // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.monotonic() - began
    path.rename(path.with_name("renamed"))
    return WRITTEN / max(seconds, 1e-9)


def _check_links(about: str, folder: Path) -> Iterator[Finding]:
    """Check that files can have a second name, with which DVC and `extract` save space."""
    try:
        os.link(folder / "renamed", folder / "linked")
    except OSError as error:
        found = f"{folder.parent}: files cannot be linked ({error.strerror or error})"
        yield warning(about, found, "DVC will copy: keep twice the space free, or use another file system.")


def _check_locks(about: str, folder: Path, name: str) -> Iterator[Finding]:
    """Check the locks that keep two processes from writing one output, and those of the memo."""
    with exclusive_lock(folder / "locked", "writing") as alone:
        if not alone:
            found = f"{folder.parent}: the file system has no locks"
            yield warning(about, found, "Never start two commands with the same output at once.")
    if name != "memo":
        return
    try:
        with sqlite3.connect(folder / "memo.sqlite") as connection:
            connection.execute("CREATE TABLE tried (value INTEGER)")
        connection.close()
    except sqlite3.Error as error:
        yield problem(about, f"{folder.parent}: SQLite does not work here ({error})", "Put --memo on a local disk.")


def _existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that exists."""
    path = path.absolute()
    if path.is_dir():
        return path.parent
    return next(one for one in path.parents if one.exists())
