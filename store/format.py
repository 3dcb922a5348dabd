"""The attention store's format, version 1: which arrays, of which type, described how.

A store is a Zarr v3 group. Three arrays hold one chunk per sample, packed into shards; the columns
hold one small value per sample. All that is not an array stands in one group attribute,
`attention_store`, which `Description` reads and writes.

A hash tree makes rot visible: every chunk ends in its CRC-32C; the column `checksum` repeats these,
so that a chunk in the wrong place is seen too; the description has a SHA-256 of all arrays' metadata
and one of every chunk of every column; `contents_sha256` covers the description. Opening checks the
description and the metadata, and reading checks the columns and chunks it reads. Nothing in a store says
when, where or by whom it was made: the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from store.errors import NotAStoreError, StoreCorruptError, StoreIncompleteError, StoreVersionError

VERSION = 1
ATTRIBUTE = "attention_store"

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "image": ("sample", "row", "column", "channel"),
    "mask": ("sample", "row", "column"),
    "attention": ("sample", "head", "grid_row", "grid_column"),
    "sample": ("sample",),
    "digest": ("sample",),
    "height": ("sample",),
    "width": ("sample",),
    "group": ("sample",),
    "labelled": ("sample",),
    "checksum": ("sample", "sharded_array"),
    "head": ("head",),
}
"""Every array of a store and the names of its dimensions."""

SHARDED = {"image": "uint8", "mask": "uint8", "attention": "float16"}
"""The arrays with one chunk per sample, and their types. Also the order of `checksum`'s columns."""

COLUMNS = {"sample": "str", "digest": "str", "height": "int32", "width": "int32", "group": "str", "labelled": "bool"}
"""The arrays with one value per sample, and their types."""

READ_AS_COLUMNS = tuple(name for name in DIMENSIONS if name not in SHARDED)
"""The arrays that are read through zarr, chunk by chunk: those of `COLUMNS` and two more."""

COLUMN_CHUNK = 65536
"""Values in a chunk of a column."""

RESTORE = "Fetch the store again (`dvc checkout` or `dvc pull`), or extract it again."
"""What to do about a damaged store."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """The group attribute `attention_store`: all there is to know of a store but its arrays."""

    version: int
    recipe: dict[str, Any]
    """All that determines the attention bytes; see `stages.attention.recipe`."""
    recipe_sha256: str
    classes: list[str]
    """Names of the mask's class indices; the first is the background."""
    mask_values: dict[str, int | str] | None
    """What stood in the mask files for each class; None for black and white ones. To read the originals again."""
    samples: int
    samples_per_shard: int
    skipped: list[dict[str, str]]
    """Inputs left out on request: `{where, what}`."""
    metadata_sha256: str
    """Of the metadata of all arrays; see `metadata_sha256`."""
    columns_sha256: dict[str, list[str]]
    """Of every array in `READ_AS_COLUMNS`, chunk by chunk."""
    contents_sha256: str
    """Of all the other values here, and with that of the store; see `contents_sha256`."""

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Path) -> Description:
        """Read the description out of a group's attributes.

        Raises:
            NotAStoreError: there is no such attribute.
            StoreVersionError: another version of the format wrote it.
            StoreCorruptError: it lacks a key, a value is of another kind, or one does not match its hash.
        """
        raw = attributes.get(ATTRIBUTE)
        if not isinstance(raw, Mapping):
            raise NotAStoreError(
                f"{path}: a Zarr group, but not an attention store (no attribute `{ATTRIBUTE}`).\n"
                "  Give the path that `pipeline extract --store` wrote."
            )
        if raw.get("version") != VERSION:
            raise StoreVersionError(
                f"{path}: attention store of version {raw.get('version')!r}; this program reads version {VERSION}.\n"
                "  Extract it again with this program, or read it with the one that wrote it."
            )
        expected = {field.name for field in fields(cls)}
        if set(raw) != expected:
            differing = ", ".join(sorted(expected ^ set(raw)))
            raise StoreCorruptError(f"{path}: its description has wrong keys ({differing}).\n  Extract it again.")
        wrong = [f"`{key}`" for key, sound in SOUND.items() if not sound(raw[key])]
        if wrong:
            raise StoreCorruptError(
                f"{path}: its description has values of the wrong kind ({', '.join(wrong)}).\n  Extract it again."
            )
        description = cls(**raw)
        if recipe_sha256(description.recipe) != description.recipe_sha256:
            raise StoreCorruptError(
                f"{path}: the recipe does not match its own hash; somebody or something changed it.\n"
                "  Extract it again: what the memo holds is not recomputed."
            )
        if contents_sha256(description) != description.contents_sha256:
            raise StoreCorruptError(f"{path}: its description was changed after the store was written.\n  {RESTORE}")
        return description


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


SOUND: dict[str, Callable[[Any], bool]] = {
    "recipe": lambda value: isinstance(value, dict),
    "recipe_sha256": lambda value: isinstance(value, str),
    "classes": _are_texts,
    "mask_values": lambda value: value is None or isinstance(value, dict),
    "samples": lambda value: _is_count(value, least=0),
    "samples_per_shard": lambda value: _is_count(value, least=1),
    "skipped": lambda value: (
        isinstance(value, list)
        and all(isinstance(one, dict) and _are_texts([one.get("where"), one.get("what")]) for one in value)
    ),
    "metadata_sha256": lambda value: isinstance(value, str),
    "columns_sha256": lambda value: (
        isinstance(value, dict) and set(value) == set(READ_AS_COLUMNS) and all(map(_are_texts, value.values()))
    ),
    "contents_sha256": lambda value: isinstance(value, str),
}
"""What the description's values must be like: a store may come from anywhere."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """The name of a recipe: SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def contents_sha256(description: Description) -> str:
    """The top of the hash tree: everything in the description but this.

    The shards' bytes are in it by way of the column `checksum`.
    """
    told = {key: value for key, value in description.to_dict().items() if key != "contents_sha256"}
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()


def metadata_sha256(root: Path) -> str:
    """SHA-256 over every array's `zarr.json`: the digest of each, array by array in the order of their names.

    Raises:
        StoreIncompleteError: one is missing.
    """
    each = [file_sha256(root, root / name / "zarr.json") for name in sorted(DIMENSIONS)]
    return hashlib.sha256("".join(each).encode()).hexdigest()


def file_sha256(root: Path, file: Path) -> str:
    """SHA-256 of one of a store's files.

    Raises:
        StoreIncompleteError: it is missing, or may not be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise StoreIncompleteError(f"{root}: {file.relative_to(root)} {what}.\n  {RESTORE}") from None


def chunk_path(root: Path, name: str, number: int) -> Path:
    """Where a column's chunk or a shard lies: `c.<number>.0.0…`, one coordinate per dimension."""
    return root / name / ".".join(["c", str(number), *["0"] * (len(DIMENSIONS[name]) - 1)])
