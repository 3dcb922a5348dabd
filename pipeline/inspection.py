"""`pipeline inspect`: describe a store as JSON-ready values, and draw a picture of its heads.

`pipeline.inspection_tables` prints the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.console import say
from stages.runs.licences import licence_in, licence_of
from store import AttentionStore
from store.disk.publish import replace_file
from store.errors import StoreError, UsageError
from store.remote.address import Place
from store.values import count_lost_classes

CHEAP_PIXELS = 2**26
"""Largest number of mask pixels that are read without being asked for: about 1300 masks of 224 × 224, 0.2 s."""


def describe_store(path: str | Place, *, stats: bool, run: Path | None = None) -> dict[str, Any]:
    """Describe a store as values that are ready for JSON.

    Args:
        path: of the store.
        stats: also read every sample, and describe every class and every head.
        run: folder of a run, to count the store's samples in each of its splits, and for the licence of the weights
            that it needs; None for neither.

    Raises:
        StoreError: the store cannot be opened.
        CheckpointError: the run has no table of splits that can be read.
    """
    store = AttentionStore.open(path)
    description = store.description
    described: dict[str, Any] = {
        "store": str(path),
        "version": description.version,
        "count": len(store),
        "labelled": int(store.labelled.sum()),
        "classes": description.classes,
        "multilabel": store.multilabel,
        "instances": store.has("instances"),
        "groups": _describe_groups(store),
        "parents": _describe_parents(store),
        "objects": _describe_objects(store),
        "heads": store.heads,
        "recipe": description.recipe,
        "recipe_sha256": description.recipe_sha256,
        "weights_licence": licence_of(description.recipe, description.weights_licence),
        "contents_sha256": description.contents_sha256,
        "upgraded_from": description.upgraded_from,
        "size": list(store.size),
        "original_sizes": _describe_sizes(store),
        "masks": asdict(description.masks),
        "arrays": {name: _describe_array(store, name) for name in store.arrays},
        **_describe_files(store),
        "skipped": description.skipped,
    }
    if description.part is not None:
        described["part"] = {key: description.part[key] for key in ("number", "of")}
    if run is not None:
        described["splits"] = _describe_splits(store, run)
        described["run_licence"] = licence_in(run)
    if stats:
        from store.class_shares import class_shares
        from store.statistics import head_statistics

        shares = class_shares(store)
        described["class_shares"] = shares and dict(zip(store.classes, shares, strict=True))
        described["head_statistics"] = [
            {key: None if value != value else value for key, value in asdict(head).items()}  # JSON has no nan  # noqa: PLR0124
            for head in head_statistics(store)
        ]
    return described


def cheap_class_shares(path: str | Place) -> dict[str, float] | None:
    """Return the share of pixels of every class if that takes little time.

    Returns:
        Shares from 0 to 1 by class; None if the store is too large, no pixel counts, or a mask cannot be read.
    """
    from store.class_shares import class_shares

    store = AttentionStore.open(path)
    if len(store) * math.prod(store.size) > CHEAP_PIXELS:
        return None
    try:
        shares = class_shares(store)
    except StoreError as error:
        say(f"note: {error}")
        return None
    return None if shares is None else dict(zip(store.classes, shares, strict=True))


def draw_store(path: str | Place, *, out: Path, samples: int) -> None:
    """Write a PNG of samples spread evenly over the store, with their masks and every head's map.

    Raises:
        StoreError: it cannot be opened or read.
        UsageError: `out` is not the name of a PNG, it exists and is not such a picture, or it lies inside an output.
    """
    from stages.outputs.places import require_outside
    from stages.pictures.heads import draw_heads

    if out.suffix.lower() != ".png" or (out.exists() and not out.is_file()):
        raise UsageError(f"--picture {out}: give the name of a .png file to write.")
    require_outside(out, option="--picture")
    _require_own_picture(out)
    store = AttentionStore.open(path)
    chosen = np.unique(np.linspace(0, len(store) - 1, samples).round().astype(np.int64))
    batch = store.read(chosen)
    masks = batch.mask if store.labelled[chosen].any() else None
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_heads(batch.image, batch.attention, heads=store.heads, masks=masks)
    _require_own_picture(out)
    replace_file(out, picture)


def _require_own_picture(path: Path) -> None:
    """Make sure that a picture replaces no other file than an earlier picture of heads.

    Raises:
        UsageError: there is another file.
    """
    from stages.pictures.marked import is_heads_picture

    if path.exists() and not is_heads_picture(path):
        raise UsageError(
            f"--picture {path}: `inspect` did not write this file, and it would be replaced.\n"
            "  Choose another name, or move the file away."
        )


def _describe_groups(store: AttentionStore) -> dict[str, Any]:
    """Return the number of groups, and the largest one; None for it if every sample is its own group."""
    from stages.segmentation.group_sizes import group_sizes

    groups = group_sizes(store)
    largest = {"name": groups.first_of_largest, "samples": groups.largest} if groups.largest > 1 else None
    return {"count": groups.count, "largest": largest}


def _describe_parents(store: AttentionStore) -> dict[str, Any] | None:
    """Return of how many images the samples are parts, and by which rule; None if every sample is an image."""
    if not store.has("parent"):
        return None
    from stages.segmentation.column_prints import column_prints

    return {
        "count": len(np.unique(column_prints(store, "parent"))),
        "slices": store.has("slice"),
        "tile": (store.description.images or {}).get("tile") if store.has("row") else None,
    }


def _describe_sizes(store: AttentionStore) -> dict[str, list[int]] | None:
    """Return the smallest and the largest height and width of the original images; None for an empty store."""
    if not len(store):
        return None
    sides = {}
    for name in ("height", "width"):
        lowest = min(int(values.min()) for values in _chunks(store, name))
        if lowest < 1:
            store.column(name)  # raises the error of a damaged column
        sides[name] = [lowest, max(int(values.max()) for values in _chunks(store, name))]
    return sides


def _chunks(store: AttentionStore, name: str) -> Iterator[NDArray[Any]]:
    """Yield the values of a column of numbers chunk by chunk, so that the whole column is not in memory."""
    for start, stop in store.columns.extents(name):
        yield store.columns.read(name, start, stop)


def _describe_splits(store: AttentionStore, run: Path) -> dict[str, int]:
    """Return the number of the store's samples in each split of a run, and of those that the run does not know.

    Samples are found by the digests of their images, because ids can change.
    """
    from stages.segmentation.column_prints import column_prints
    from stages.segmentation.run_splits import NAMES, UNKNOWN, read_run_splits
    from stages.segmentation.split_tables import SPLITS, UNLABELLED

    splits = read_run_splits(run / "splits.csv")
    codes = splits.codes_of(column_prints(store, "digest", splits.digests), with_empty=True)
    described = {name: int((codes == NAMES.index(name)).sum()) for name in (*SPLITS, UNLABELLED)}
    if not described[UNLABELLED]:
        del described[UNLABELLED]
    return {**described, "none": int((codes == UNKNOWN).sum())}


def _describe_objects(store: AttentionStore) -> dict[str, Any] | None:
    """Return how many objects the masks had, and what is too small for the store; None if it was not recorded.

    Raises:
        StoreCorruptError: the column `lost_classes` has something else than classes.
    """
    if not all(store.has(name) for name in ("objects", "lost_objects", "lost_classes")):
        return None
    return {
        "count": sum(int(values.sum()) for values in _chunks(store, "objects")),
        "lost": sum(int(values.sum()) for values in _chunks(store, "lost_objects")),
        "samples_with_lost": sum(int((values > 0).sum()) for values in _chunks(store, "lost_objects")),
        "lost_classes": count_lost_classes(store),
    }


def _describe_array(store: AttentionStore, name: str) -> dict[str, Any]:
    array = store.arrays[name]
    sharded = name in store.description.sharded
    return {
        "shape": list(array.shape),
        "dtype": array.data_type,
        "chunks": [1, *array.shape[1:]] if sharded else list(array.chunk_shape),
        "shards": list(array.chunk_shape) if sharded else None,
        "bytes": _bytes(store.path / name) if isinstance(store.path, Path) else None,
    }


def _describe_files(store: AttentionStore) -> dict[str, int | None]:
    """Return the number and the size of a store's files; None for both at an address: that would list a bucket."""
    if not isinstance(store.path, Path):
        return {"files": None, "bytes": None}
    return {"files": sum(1 for file in store.path.rglob("*") if file.is_file()), "bytes": _bytes(store.path)}


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
