"""Define the names, types and hashes of the attention store's format, version 2.

`store/FORMAT.md` is the specification. A store is a Zarr v3 group. Three sharded arrays hold one chunk per
sample; the columns hold one small value per sample. Everything else is in one group attribute,
`attention_store` (`store.description`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.disk.regular import IrregularFileError, read_limited
from store.errors import StoreCorruptError, StoreIncompleteError

if TYPE_CHECKING:
    from store.files import StoreFiles

VERSION = 2
"""The version that is written. `store.version1` reads the one before."""

ZARR_FORMAT = 3

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
"""The arrays that every store has, and the names of their dimensions."""

SHARDED = {"image": "uint8", "mask": "uint8", "attention": "float16"}
"""The arrays of every store with one chunk per sample, and their types."""

COLUMNS = {"sample": "str", "digest": "str", "height": "int32", "width": "int32", "group": "str", "labelled": "bool"}
"""The arrays of every store with one value per sample, and their types."""

SIZES = ("height", "width")
"""The columns with the size of the original image."""

OPTIONAL_SHARDED = {"instances": "uint16"}
"""Further arrays with one chunk per sample that this program writes on request, and their types."""

OPTIONAL_COLUMNS = {
    "objects": "int32",
    "lost_objects": "int32",
    "lost_classes": "str",
    "perceptual_hash": "str",
    "parent": "str",
    "slice": "int32",
    "row": "int32",
    "column": "int32",
    "pixel_mm": "str",
    "mask_digest": "str",
}
"""Further columns that this program writes on request, and their types."""

PLACES = ("slice", "row", "column")
"""The optional columns that say where a sample lies in its parent."""

OPTIONAL_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "instances": ("sample", "row", "column"),
    **dict.fromkeys(OPTIONAL_COLUMNS, ("sample",)),
}
"""The optional arrays that have a fixed meaning, and the names of their dimensions."""

READ_AS_COLUMNS = tuple(name for name in DIMENSIONS if name not in SHARDED)
"""The arrays of every store that are read whole or chunk by chunk: those of `COLUMNS`, `checksum` and `head`."""

ENCODINGS: dict[str, tuple[str, int]] = {
    "image": ("rgb", 1),
    "mask": ("class_index", 1),
    "attention": ("attention_map", 1),
    **{name: (name, 1) for name in READ_AS_COLUMNS},
    "instances": ("instance_index", 1),
    **{name: (name, 1) for name in OPTIONAL_COLUMNS},
}
"""The meaning of every array's values: a name and its version. Each array repeats it as the attribute `encoding`."""

LABEL_BITS = ("label_bits", 1)
"""The encoding of a mask with labels that may overlap: one bit for each label."""

MOST_LABELS = 7
"""Number of labels that `LABEL_BITS` can hold beside 255 for ignored pixels."""

LABEL_RULES = "label_rules"
"""The feature that a store requires if its masks were decoded by more than values."""

LABEL_KINDS = ("classes", "instances", "multilabel")
"""The meanings that mask files may have: `labels` in the rules of decoding."""

UNDERSTOOD = frozenset({*DIMENSIONS, *OPTIONAL_DIMENSIONS, LABEL_RULES})
"""The features, arrays and columns that this program implements and that a store may require."""

COLUMN_CHUNK = 65536
"""Largest number of values in a chunk of a column."""

MOST_COUNT = 2**53
"""Largest number of samples, and largest extent of an array: above it, a 64-bit float does not hold every integer."""

MOST_CHUNK_BYTES = 2**31 - 1
"""Largest size of one sample in one array, unpacked: Blosc's limit, and an image of 26,000 x 26,000 pixels."""

MOST_CLASSES = 255
"""Number of classes that `mask` can hold beside 255 for ignored pixels."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""The form of an array's name. It is also the name of a folder, so nothing else is allowed."""

RESTORE = "Fetch the store again (`dvc checkout` or `dvc pull`), or extract it again."
"""The remedy for a damaged store."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, letters unescaped.

    Raises:
        ValueError: a number in it is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def written_json(value: Any) -> bytes:
    """Return the bytes of a `zarr.json` as this program writes it: two spaces of indentation, letters unescaped."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """Return the digest that names a recipe: SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def contents_sha256(described: Mapping[str, Any]) -> str:
    """Return the top of the hash tree: SHA-256 over the attribute `attention_store` without this value itself.

    Unknown keys are covered. The shards' bytes are covered through the column `checksum`.
    """
    covered = {key: value for key, value in described.items() if key != "contents_sha256"}
    return hashlib.sha256(canonical_json(covered).encode()).hexdigest()


def metadata_sha256(contents: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over every array's `zarr.json`: the concatenated digests, sorted by the arrays' names.

    Args:
        contents: the bytes of each file, by the name of its array.
    """
    digests = [hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def is_node(document: Mapping[str, Any], kind: str) -> bool:
    """Return True if a `zarr.json` says that it describes a `kind` of Zarr v3: `group` or `array`."""
    number = document.get("zarr_format")
    return type(number) is int and number == ZARR_FORMAT and document.get("node_type") == kind


def read_file(files: StoreFiles, file: Path, *, limit: int) -> bytes:
    """Read one of a store's files whole.

    Args:
        files: of the store.
        file: path of the file, inside the store's folder.
        limit: most bytes that it can have.

    Raises:
        StoreIncompleteError: it is missing, or may not be read.
        StoreCorruptError: it is not a regular file, or larger than `limit`.
    """
    files.fetch(file)
    root, name = files.place, file.relative_to(files.folder)
    try:
        return read_limited(file, limit=limit)
    except IrregularFileError as error:
        raise StoreCorruptError(f"{root}: {name} {error.strerror}.\n  {RESTORE}") from None
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise StoreIncompleteError(f"{root}: {name} {what}.\n  {RESTORE}") from None


def chunk_path(root: Path, name: str, number: int, dimensions: int) -> Path:
    """Return the path of a shard or of a column's chunk: `c.<number>.0.0…`, one coordinate per dimension."""
    return root / name / ".".join(["c", str(number), *["0"] * (dimensions - 1)])
