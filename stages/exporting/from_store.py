"""Read the images and masks of a store for an export."""

from __future__ import annotations

import numpy as np

from stages.errors import UsageError
from stages.exporting.labelled import Collection, Item, Labels
from stages.imaging.image_rules import box_of_image
from stages.imaging.pixel_sizes import stored_sizes
from stages.runtime.wording import counted
from stages.settings import ExportSettings
from store import AttentionStore
from store.records import IGNORE, Sample

__all__ = ["from_store"]


def from_store(settings: ExportSettings, *, unlabelled: bool) -> Collection:
    """Return the images of a store with their masks, at the store's size.

    Args:
        settings: `store` is read.
        unlabelled: True if images without a mask belong to the export; otherwise they are left out.

    Raises:
        StoreError: the store cannot be read.
        UsageError: no image of it is left.
    """
    assert settings.store is not None  # noqa: S101 - `places.source_of` made sure
    store = AttentionStore.open(settings.store)
    wanted = [index for index in range(len(store)) if unlabelled or bool(store.labelled[index])]
    left_out = len(store) - len(wanted)
    if not wanted:
        raise UsageError(
            f"{store.path}: none of its {counted(len(store), 'sample')} has a mask, so nothing is exported.\n"
            "  Extract a store with --masks, or export images alone with --format ome-zarr."
        )
    sizes = stored_sizes(store, wanted)

    def read(position: int) -> Item:
        index = wanted[position]
        sample = store.sample(index, maps=False)
        own = sizes.get(sample.id)
        pixel_mm = None
        if own is not None:
            rows, columns = own if isinstance(own, tuple) else (own, own)
            box = box_of_image(store.description.images, (sample.height, sample.width), store.size)
            left, top, right, bottom = box or (0, 0, store.size[1], store.size[0])
            pixel_mm = rows * sample.height / (bottom - top), columns * sample.width / (right - left)
        return Item(sample.id, sample.image, _labels(store, sample) if sample.labelled else None, pixel_mm)

    ids = store.chosen_texts("sample", wanted)
    notes = [f"{counted(left_out, 'sample')} without a mask left out"] if left_out else []
    return Collection(
        classes=store.classes,
        multilabel=store.multilabel,
        ids=[ids[index] for index in wanted],
        read=read,
        notes=notes,
        facts={"store_contents_sha256": store.description.contents_sha256},
    )


def _labels(store: AttentionStore, sample: Sample) -> Labels:
    mask = sample.mask
    ignored = mask == IGNORE
    known = range(1, len(store.classes))
    if store.multilabel:
        regions = {one: ((mask >> (one - 1)) & 1).astype(bool) & ~ignored for one in known}
    else:
        regions = {one: mask == one for one in known}
    if sample.instances is None:
        return Labels(regions, ignored)
    numbers = sample.instances.astype(np.int32)
    return Labels(regions, ignored, {one: np.where(region, numbers, 0) for one, region in regions.items()})
