"""Read and parse a store's own `zarr.json`, and recognise a store by it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from store.description import Description
from store.disk.contents import Contents, Output
from store.disk.regular import MIB, IrregularFileError, read_limited
from store.errors import NotAStoreError, StoreCorruptError, StoreIncompleteError
from store.format import ATTRIBUTE, DIMENSIONS, NAME, OPTIONAL_DIMENSIONS, SHARDED, is_node
from store.remote.address import Place
from store.strict_json import parse_json

REMEDY = "Give the path that `pipeline extract --store` wrote"


MOST_BYTES = 32 * MIB
"""Largest size of a store's `zarr.json`. With ten million samples it has about 0.2 MB."""


def root_bytes(path: Path) -> bytes:
    """Return the bytes of a store's `zarr.json`. They are empty if there is no such file.

    Raises:
        StoreIncompleteError: there is one, but it cannot be read. So nothing is known about the folder.
        StoreCorruptError: it is not a regular file, or it is too large.
    """
    try:
        return read_limited(path / "zarr.json", limit=MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b""
    except IrregularFileError as error:
        raise StoreCorruptError(
            f"{path}: zarr.json {error.strerror}.\n"
            "  Remove it if it does not belong there; then fetch the store again, or extract it again."
        ) from None
    except OSError as error:
        raise StoreIncompleteError(
            f"{path}: zarr.json cannot be read ({error.strerror}).\n"
            "  Allow reading it, or check the disk; nothing was changed."
        ) from None


def describe(path: Place, root: bytes) -> Description:
    """Parse the description of the store at `path`.

    Args:
        path: folder or address of the store.
        root: the bytes of its `zarr.json`.

    Raises:
        NotAStoreError: it is not a Zarr v3 group, or one without the attribute.
        StoreVersionError: the store needs another version of this program.
        StoreCorruptError: the file is not JSON, or a value does not match its hash.
    """
    if not root and not (isinstance(path, Path) and (path / "zarr.json").is_file()):
        raise NotAStoreError(f"{path}: not an attention store (no zarr.json that can be read).\n  {REMEDY}.")
    try:
        document = parse_json(root)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(document, dict):
        raise _damaged(path, "it is not the JSON of a Zarr v3 group")
    attributes = document.get("attributes")
    if not is_node(document, "group") or not isinstance(attributes, dict):
        raise NotAStoreError(f"{path}: not an attention store (its zarr.json describes something else).\n  {REMEDY}.")
    return Description.from_attributes(attributes, path)


def is_store(path: Path) -> bool:
    """Return True for a folder that holds an attention store, of any version and in any state, and nothing else."""
    return STORE(path)


def _is_marked(path: Path) -> bool:
    """Return True for a folder with the description of a store, or with the arrays of one."""
    return ATTRIBUTE in _attributes(path) or all((path / name).is_dir() for name in SHARDED)


def _contents(path: Path) -> Contents:
    """Return what a store may hold: its description, and folders of the arrays that the format or it names."""
    names = {*DIMENSIONS, *OPTIONAL_DIMENSIONS}
    if isinstance(described := _attributes(path).get(ATTRIBUTE), dict):
        names |= _listed(path, described)
    return Contents(files=r"zarr\.json", folders={"|".join(map(re.escape, sorted(names))): _ARRAY})


_ARRAY = Contents(files=r"zarr\.json|c(\.\d+)*")
STORE = Output(kind="a store", is_marked=_is_marked, contents=_contents)
"""The kind of output that `extract` and `upgrade` write."""


def _attributes(path: Path) -> dict[str, Any]:
    try:
        attributes = json.loads(root_bytes(path))["attributes"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _listed(path: Path, described: dict[str, Any]) -> set[str]:
    """Return the names that a description lists and that are really arrays: folders with a `zarr.json`."""
    lists = [described.get("sharded"), described.get("columns_sha256")]
    names = {str(name) for listed in lists if isinstance(listed, list | dict) for name in listed}
    return {name for name in names if NAME.fullmatch(name) and (path / name / "zarr.json").is_file()}


def _damaged(path: Place, reason: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"{path}: not an attention store, or its zarr.json is damaged ({reason}).\n"
        f"  {REMEDY}; if it is that, fetch the store again or extract it again."
    )
