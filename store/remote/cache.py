"""Keep files of remote stores in a bounded folder of this machine.

    FOLDER/<SHA-256 of a store's zarr.json>/zarr.json, <array>/zarr.json, <array>/c.0.0.0.0, …
    FOLDER/addresses/<SHA-256 of an address>      the SHA-256 of the zarr.json that was last seen there
    FOLDER/.bytes, FOLDER/.lock                   the bytes of all files (`store.remote.room`), and the lock of them

So a folder of a store holds part of its files under their own names, and a store that was replaced has another folder.
A file is downloaded under the name `.NAME.partial`, locked, and renamed when it is whole; so several processes share
the cache and fetch each file once. A large file that was not finished is continued later: `.NAME.begun` holds its size
and its tag, and is removed with the partial file. Before a file is added, those that were used longest ago are removed
until it fits (`store.remote.room`). A removed file that a process has mapped stays readable for this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from store.errors import UsageError

__all__ = [
    "BEGUN",
    "PARTIAL",
    "STORE_NAME",
    "CacheSettings",
    "begun_of",
    "cache_of",
    "parse_size",
    "partial_of",
    "pointer_of",
    "put",
    "store_folder",
]

FOLDER = "PIPELINE_STORE_CACHE"
SIZE = "PIPELINE_STORE_CACHE_SIZE"
OFFLINE = "PIPELINE_OFFLINE"
"""Environment variables with the settings of the cache. The command line sets them from its options."""

DEFAULT_SIZE = "20GB"

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(\.[0-9]{1,6})?)\s*(?P<unit>([KMGT]I?)?)B?", re.IGNORECASE)
STORE_NAME = re.compile(r"[0-9a-f]{64}")
"""Name of the folder of a store."""

PARTIAL = ".partial"
"""End of the name of a file that is being downloaded."""

BEGUN = ".begun"
"""End of the name of the note about a file that is being downloaded."""

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


def put(file: Path, content: bytes) -> None:
    """Write a small file of the cache atomically, unless it has this content.

    Raises:
        PipelineError: the disk is full.
        OSError: it cannot be written. A file that cannot be read is replaced.
    """
    with contextlib.suppress(OSError):
        if file.read_bytes() == content:
            return
    from store.disk.publish import replace_file

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(file, content)


def partial_of(file: Path) -> Path:
    """Return the name under which a file is downloaded."""
    return file.with_name(f".{file.name}{PARTIAL}")


def begun_of(file: Path) -> Path:
    """Return the name of the note with size and tag of a file that is being downloaded."""
    return file.with_name(f".{file.name}{BEGUN}")
