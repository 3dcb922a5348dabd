"""Find values in a store that the format does not allow, although all checksums are right.

| array | sound values |
|---|---|
| `mask` | class indices below the number of classes, or 255; with one bit per label, only bits of labels, or 255 |
| `attention` | finite, not negative, and the probabilities of a map sum to at most one |
| `height`, `width` | 1 or more |
| `digest` | 64 hexadecimal digits |
| `instances` | 0 where `mask` is background or ignored; at most `objects` - `lost_objects` different numbers |
| `objects`, `lost_objects` | 0 or more; no more lost objects than objects; 0 without a mask |
| `lost_classes` | indices of classes that `mask` lacks, in rising order; "" without a mask |
| `perceptual_hash` | 16 hexadecimal digits, or "" |
| `parent` | not "" |
| `slice` | 0 or more |
| `mask_digest` | 64 hexadecimal digits, or "" |
| `pixel_mm` | two numbers above 0 with a space between them, or "" |

Optional parts in an unknown encoding are not checked. If an array or column cannot be read, that is reported as a fault
of its own, and no values are compared with it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import PipelineError, StoreCorruptError
from store.format import PLACES, SIZES
from store.reader import AttentionStore
from store.records import IGNORE

__all__ = ["classes_in", "count_lost_classes", "wrong_column_values", "wrong_values"]

Faults = dict[str, NDArray[np.bool_]]
"""A description of each possible fault, with (sample,) bool: True where it occurs."""

ROUNDING = 2e-3
"""The amount by which a map of probabilities may sum to more than one: float16 keeps 11 bits of each."""

LONGEST = 40
"""Number of characters of a malformed value that a message shows."""

LISTED = re.compile(r"([1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*)?")
DIGEST = re.compile(r"[0-9a-f]{64}")
HASH = re.compile(r"([0-9a-f]{16})?")
SIDE = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
"""A number in a size of a pixel."""


def wrong_values(store: AttentionStore, name: str, values: NDArray[Any], samples: NDArray[np.int64]) -> Faults:
    """Find wrong values in some samples of a sharded array.

    Args:
        store: the store.
        name: The array.
        values: (sample, …) its values.
        samples: (sample,) their positions in the store.
    """
    if name == "mask":
        return _wrong_masks(store, values, samples)
    if name == "attention":
        maps = values.astype(np.float32) * store.scale_factor
        return {
            "is not finite": ~np.isfinite(maps).all(axis=(1, 2, 3)),
            "is negative": (maps < 0).any(axis=(1, 2, 3)),
            "sums to more than one": (maps.sum(axis=(2, 3)) > 1 + ROUNDING).any(axis=1),
        }
    if name == "instances" and store.has(name):
        return _wrong_instances(store, values, samples)
    return {}


def wrong_column_values(store: AttentionStore, name: str, values: NDArray[Any], start: int) -> Faults:
    """Find wrong values in some rows of a column.

    Args:
        store: the store.
        name: The column.
        values: (sample,) its values.
        start: Position of the first value in the store.
    """
    if name in SIZES:
        return {"is not above 0": values < 1}
    if name == "digest":
        return {"is no SHA-256": _where(not DIGEST.fullmatch(str(text)) for text in values)}
    if not store.has(name):
        return {}
    if name in TEXTS:
        fault, is_sound = TEXTS[name]
        return {fault: _where(not is_sound(str(text)) for text in values)}
    if name in {"parent", *PLACES}:
        return _wrong_place(name, values)
    if name == "lost_classes":
        faults = {"is no list of classes in rising order": _where(_listed(store, str(text)) is None for text in values)}
        given = _where(str(text) != "" for text in values)
    else:
        faults = {"is negative": values < 0}
        given = values != 0
    rows = slice(start, start + len(values))
    if name == "lost_objects" and store.has("objects"):
        with contextlib.suppress(PipelineError):
            faults["is more than `objects`"] = values > store.column("objects")[rows]
    with contextlib.suppress(PipelineError):
        faults["is given without a mask"] = given & ~store.labelled[rows]
    return faults


def _is_pixel_size(text: str) -> bool:
    """Return True for the text of a size in millimetres, or for the empty text."""
    numbers = text.split(" ")
    two = len(numbers) == 2  # noqa: PLR2004 - rows and columns
    return text == "" or (two and all(SIDE.fullmatch(one) and 0 < float(one) < math.inf for one in numbers))


TEXTS: dict[str, tuple[str, Callable[[str], object]]] = {
    "perceptual_hash": ("is not 16 hexadecimal digits", HASH.fullmatch),
    "pixel_mm": ("is no size of a pixel", _is_pixel_size),
    "mask_digest": ("is no SHA-256", lambda text: not text or DIGEST.fullmatch(text)),
}
"""Columns of texts of one form: the fault, and a function that returns something true for a sound text."""


def _wrong_place(name: str, values: NDArray[Any]) -> Faults:
    """Find wrong values in a column that says where samples lie in their parents."""
    if name == "parent":
        return {"is empty": _where(str(text) == "" for text in values)}
    return {"is negative": values < 0} if name == "slice" else {}  # a tile may begin before its parent's first row


def classes_in(mask: NDArray[np.uint8], *, multilabel: bool) -> set[int]:
    """Return the classes above 0 that a mask has.

    Args:
        mask: (row, column) class index, or one bit for each label; 255 is ignored.
        multilabel: True for bits.
    """
    found = {int(value) for value in np.unique(mask)} - {0, IGNORE}
    if not multilabel:
        return found
    return {bit + 1 for value in found for bit in range(8) if value >> bit & 1}


def count_lost_classes(store: AttentionStore) -> dict[str, int]:
    """Return the number of samples that lost a class to the store's resolution, by the class's name.

    Raises:
        StoreIncompleteError, StoreCorruptError: the store has no column `lost_classes`, or it cannot be read.
    """
    samples: Counter[int] = Counter()
    for text, times in Counter(map(str, store.column("lost_classes"))).items():
        listed = _listed(store, text)
        if listed is None:
            raise StoreCorruptError(
                f"{store.path}: `lost_classes` has {text[:LONGEST]!r}, which is no list of classes.\n"
                "  Extract the store again."
            )
        for number in listed:
            samples[number] += times
    return {store.classes[number]: samples[number] for number in sorted(samples)}


def _wrong_masks(store: AttentionStore, masks: NDArray[np.uint8], samples: NDArray[np.int64]) -> Faults:
    limit = 1 << (len(store.classes) - 1) if store.multilabel else len(store.classes)
    faults: Faults = {"has values that are no class": ((masks >= limit) & (masks != IGNORE)).any(axis=(1, 2))}
    if store.has("lost_classes"):
        with contextlib.suppress(PipelineError):
            lost = [_listed(store, str(store.columns.value("lost_classes", int(sample)))) for sample in samples]
            kept = [classes_in(mask, multilabel=store.multilabel) for mask in masks]
            faults["has a class of `lost_classes`"] = _where(
                not found.isdisjoint(listed or ()) for found, listed in zip(kept, lost, strict=True)
            )
    return faults


def _wrong_instances(store: AttentionStore, instances: NDArray[Any], samples: NDArray[np.int64]) -> Faults:
    faults: Faults = {}
    with contextlib.suppress(PipelineError):
        masks = store.read_array("mask", samples)
        outside = (instances > 0) & ((masks == 0) | (masks == IGNORE))
        faults["has an object where `mask` has none"] = outside.any(axis=(1, 2))
    if store.has("objects") and store.has("lost_objects"):
        with contextlib.suppress(PipelineError):
            kept = (store.column("objects").astype(np.int64) - store.column("lost_objects"))[samples]
            numbers = np.array([len(np.unique(one[one > 0])) for one in instances], np.int64)
            faults["has more objects than `objects` - `lost_objects`"] = numbers > kept
    return faults


def _listed(store: AttentionStore, text: str) -> list[int] | None:
    """Return the classes that a value of `lost_classes` lists; None if it is malformed."""
    if not LISTED.fullmatch(text):
        return None
    listed = [int(number) for number in text.split(",") if number]
    rising = all(one < following for one, following in itertools.pairwise(listed))
    return listed if rising and all(number < len(store.classes) for number in listed) else None


def _where(flags: Any) -> NDArray[np.bool_]:
    return np.fromiter(flags, np.bool_)
