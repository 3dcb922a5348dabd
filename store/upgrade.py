"""Rewrite a store of an older version in the present one, without the transformer.

Every sample is read, with its checksums checked, and written by the same writer that `extract` uses. So the result is
what `extract` would write today, except that the description's `upgraded_from` names the store that was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from store.arrays import packing_of
from store.errors import StoreCorruptError
from store.format import OPTIONAL_COLUMNS, VERSION
from store.reader import AttentionStore
from store.writer import Layout, new_store

Progress = Callable[[Sequence[int], str], Iterable[int]]


def upgrade_store(path: Path, progress: Progress = lambda samples, _: samples) -> int:
    """Replace a store by the same store in the present version, atomically. Does nothing if it has that version.

    Args:
        path: of the store.
        progress: wraps the loop over samples, to show how far it is.

    Returns:
        The version that the store had.

    Raises:
        StoreError: the store cannot be opened or read; it stays unchanged.
        PipelineError: the disk is full, or another process writes the store.
    """
    old = AttentionStore.open(path)
    description = old.description
    if description.version == VERSION:
        return VERSION
    upgraded_from = [*description.upgraded_from, description.contents_sha256]
    with new_store(path, layout=layout_of(old), recipe=old.recipe, upgraded_from=upgraded_from) as writer:
        for index in progress(range(len(old)), "upgrading"):
            writer.append(old[index])
        writer.skipped = description.skipped
    return description.version


def layout_of(store: AttentionStore) -> Layout:
    """Return the layout with which a store was written.

    Raises:
        StoreCorruptError: its `scale_factor` is not one over a number of keys.
    """
    keys = round(1 / store.scale_factor)
    if 1.0 / keys != store.scale_factor:
        raise StoreCorruptError(
            f"{store.path}: `attention` has the scale_factor {store.scale_factor}, which is not 1 / keys.\n"
            "  Extract the store again."
        )
    return Layout(
        size=store.size,
        grid=store.grid,
        heads=store.heads,
        keys=keys,
        classes=store.classes,
        masks=store.description.masks,
        images=store.description.images,
        weights_licence=store.description.weights_licence,
        compress=packing_of(store.arrays["image"]) == "zstd",
        instances=store.has("instances"),
        multilabel=store.multilabel,
        columns=tuple(name for name in OPTIONAL_COLUMNS if store.has(name)),
        expected=len(store),
    )
