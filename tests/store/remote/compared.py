"""Compare a store at an address with the local one, and list what the cache holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from store import AttentionStore
from store.remote.cache import CacheSettings


def same(found: AttentionStore, path: Path, indices: list[int]) -> bool:
    here, there = AttentionStore.open(path).read(indices), found.read(indices)
    return all(np.array_equal(getattr(here, name), getattr(there, name)) for name in ("image", "mask", "attention"))


def shards_in(settings: CacheSettings) -> list[Path]:
    return sorted(settings.folder.glob("*/*/c.*.0.0*"))
