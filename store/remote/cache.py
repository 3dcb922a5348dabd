"""Keep files of remote stores in a bounded folder of this machine.

    FOLDER/<SHA-256 of a store's zarr.json>/zarr.json, <array>/zarr.json, <array>/c.0.0.0.0, …
    FOLDER/addresses/<SHA-256 of an address>      the SHA-256 of the zarr.json that was last seen there

So a folder of a store holds part of its files under their own names, and a store that was replaced has another folder.
A file is downloaded under the name `.NAME.partial`, locked, and renamed when it is whole; so several processes share
the cache and fetch each file once. Before a file is added, those that were used longest ago are removed until it fits.
A removed file that a process has mapped stays readable for this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from store.disk.locks import lock_file
from store.errors import UsageError

__all__ = ["CacheSettings", "cache_of", "make_room", "parse_size", "partial_of", "pointer_of", "store_folder"]

FOLDER = "PIPELINE_STORE_CACHE"
SIZE = "PIPELINE_STORE_CACHE_SIZE"
OFFLINE = "PIPELINE_OFFLINE"
"""Environment variables with the settings of the cache. The command line sets them from its options."""

DEFAULT_SIZE = "20GB"

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(\.[0-9]{1,6})?)\s*(?P<unit>([KMGT]I?)?)B?", re.IGNORECASE)
_STORE = re.compile(r"[0-9a-f]{64}")

ABANDONED = 3600.0
"""Seconds after which a partial file that nobody writes to counts as left behind by a killed process."""

OFF = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Say where files of remote stores are kept, and how many."""

    folder: Path
    size: int
    """Most bytes. A store of which less fits is read sample by sample where it is not kept."""
    offline: bool = False
    """Use only what is in the cache."""


def parse_size(text: str) -> int:
    """Return a size in bytes, such as that of `20GB`, `512 MiB` or `0`.

    Raises:
        UsageError: it is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--store-cache-size {text}: give a size such as 20GB, 512MiB or 0.")
    return int(float(found["number"]) * UNITS[found["unit"].upper()])


def cache_of(environment: Mapping[str, str]) -> CacheSettings:
    """Return the settings of the cache that the environment says; by default 20 GB in the user's cache folder.

    Raises:
        UsageError: the size is not a size.
    """
    home = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - it may have no home
    folder = environment.get(FOLDER) or f"{home}/diamant-pipeline/stores"
    return CacheSettings(
        folder=Path(folder).absolute(),
        size=parse_size(environment.get(SIZE) or DEFAULT_SIZE),
        offline=environment.get(OFFLINE, "").strip().lower() not in OFF,
    )


def store_folder(cache: Path, root: bytes) -> Path:
    """Return the folder in the cache of the store with this `zarr.json`."""
    return cache / hashlib.sha256(root).hexdigest()


def pointer_of(cache: Path, address: str) -> Path:
    """Return the file in the cache that says which store was last seen at an address."""
    return cache / "addresses" / hashlib.sha256(address.encode()).hexdigest()


def partial_of(file: Path) -> Path:
    """Return the name under which a file is downloaded."""
    return file.with_name(f".{file.name}.partial")


def make_room(cache: Path, size: int, needed: int) -> None:
    """Remove the files that were used longest ago, until a further one fits. What cannot be removed stays.

    Args:
        cache: the folder of the cache.
        size: most bytes that all files may have.
        needed: bytes of the new file.

    Raises:
        OSError: the cache cannot be listed.
    """
    with lock_file(cache / ".lock"):
        files = _files(cache)
        total = sum(status.st_size for _, status in files)
        for file, _ in sorted(files, key=lambda entry: entry[1].st_mtime):
            if total + needed <= size:
                return
            with contextlib.suppress(OSError):
                status = file.stat()
                if file.name.endswith(".partial") and time.time() - status.st_mtime < ABANDONED:
                    continue
                file.unlink()
                total -= status.st_size
                file.parent.rmdir()  # fails while it holds other files
                file.parent.parent.rmdir()


def _files(cache: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of all stores in the cache with their status."""
    found = []
    for store in cache.iterdir():
        if _STORE.fullmatch(store.name):
            for folder, _, names in os.walk(store):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # another process has just moved it
                        found.append((file := Path(folder) / name, file.stat()))
    return found
