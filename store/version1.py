"""Read stores of version 1 as if they were of version 2.

Version 1 differs in the description (`mask_values` in place of `masks`, a fixed set of keys, no lists `required` and
`sharded`), in the shards' index, which is at the start of the file, and in the columns, which are packed by zstd.
Masks are packed by lz4, or by zstd in the oldest of these stores.
Nothing is ever written in version 1. `store.upgrade` turns such a store into one of version 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.errors import StoreCorruptError, StoreVersionError
from store.format import SHARDED
from store.remote.address import Place

KEYS = frozenset(
    {
        "version",
        "recipe",
        "recipe_sha256",
        "classes",
        "mask_values",
        "samples",
        "samples_per_shard",
        "skipped",
        "metadata_sha256",
        "columns_sha256",
        "contents_sha256",
    }
)
"""The keys of a description of version 1."""

EARLY_KEYS = KEYS - {"metadata_sha256", "columns_sha256"}
"""The keys before 0.1.0. Such a store has no digests of its columns, so nothing proves that they are sound."""

EARLIEST_KEYS = EARLY_KEYS - {"mask_values"}


def as_version_2(raw: Mapping[str, Any], path: Place) -> dict[str, Any]:
    """Return a description of version 1 with the keys of version 2; `version` and `contents_sha256` stay.

    Raises:
        StoreVersionError: a development version before 0.1.0 wrote the store.
        StoreCorruptError: it has other keys than version 1 has.
    """
    if raw.keys() in (EARLY_KEYS, EARLIEST_KEYS):
        raise StoreVersionError(
            f"{path}: was written by a development version before 0.1.0, without the digests that reading needs.\n"
            "  Extract it again: what the memo holds is not recomputed."
        )
    if raw.keys() != KEYS:
        differing = ", ".join(sorted(map(str, KEYS ^ raw.keys())))
        raise StoreCorruptError(f"{path}: its description has wrong keys ({differing}).\n  Extract it again.")
    values = None if raw["mask_values"] == {} else raw["mask_values"]
    return {
        **{key: value for key, value in raw.items() if key != "mask_values"},
        "required": [],
        "masks": {"values": values, "decoding": "binary" if values is None else "mapped", "pairing": None},
        "sharded": list(SHARDED),
    }
