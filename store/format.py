"""The attention store's format, version 1: which arrays, of which type, described how.

A store is a Zarr v3 group. Three arrays hold one chunk per sample, packed into shards; the columns
hold one small value per sample. All that is not an array stands in one group attribute,
`attention_store`, which `Description` reads and writes.

A hash tree makes rot visible: every chunk ends in its CRC-32C; the column `checksum` repeats these,
so that a chunk in the wrong place is seen too; `contents_sha256` covers the columns, every array's
metadata and the description. Nothing in a store says when, where or by whom it was made: the same
inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from store.errors import NotAStoreError, StoreCorruptError, StoreVersionError

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

COLUMN_CHUNK = 65536
"""Values in a chunk of a column."""


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
    contents_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Path) -> Description:
        """Read the description out of a group's attributes.

        Raises:
            NotAStoreError: there is no such attribute.
            StoreVersionError: another version of the format wrote it.
            StoreCorruptError: it lacks a key, a value is of another kind, or the recipe does not match its hash.
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
    "contents_sha256": lambda value: isinstance(value, str),
}
"""What the description's values must be like: a store may come from anywhere."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """The name of a recipe: SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def contents_sha256(root: Path, description: Description) -> str:
    """The top of the hash tree: the description, every array's metadata, and every column's bytes.

    The shards are not read: the column `checksum` stands for them.
    """
    digest = hashlib.sha256()
    told = {key: value for key, value in description.to_dict().items() if key != "contents_sha256"}
    digest.update(canonical_json(told).encode())
    for name in sorted(DIMENSIONS):
        files = [root / name / "zarr.json"] if name in SHARDED else sorted(_files(root / name))
        for file in files:
            if not file.is_file():
                raise StoreCorruptError(f"{root}: {file.relative_to(root)} is missing.\n  Extract the store again.")
            digest.update(f"\n{file.relative_to(root).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def shard_path(root: Path, name: str, shard: int) -> Path:
    """Where a shard's file lies: `c.<shard>.0.0…`, one coordinate per dimension."""
    return root / name / ".".join(["c", str(shard), *["0"] * (len(DIMENSIONS[name]) - 1)])
