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

from store.column_chunks import Values
from store.errors import PipelineError, StoreCorruptError
from store.format import PLACES, SIZES
from store.reader import AttentionStore
from store.records import IGNORE
from store.texts import Texts

__all__ = ["classes_in", "count_lost_classes", "wrong_column_values", "wrong_values"]

Faults = dict[str, NDArray[np.bool_]]
"""A description of each possible fault, with (sample,) bool: True where it occurs."""

ROUNDING = 2e-3
"""The amount by which a map of probabilities may sum to more than one: float16 keeps 11 bits of each."""

LONGEST = 40
"""Number of characters of a malformed value that a message shows."""

LISTED = re.compile(r"([1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*)?")
HEXADECIMAL = {
    "digest": ("is no SHA-256", 64, False),
    "mask_digest": ("is no SHA-256", 64, True),
    "perceptual_hash": ("is not 16 hexadecimal digits", 16, True),
}
"""Columns of hexadecimal digits: the fault, the number of digits, and whether a text may be empty."""
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
        return _wrong_maps(values.astype(np.float32) * store.scale_factor)
    if name == "instances" and store.has(name):
        return _wrong_instances(store, values, samples)
    return {}


def wrong_column_values(store: AttentionStore, name: str, values: Values, start: int) -> Faults:
    """Find wrong values in some rows of a column.

    Args:
        store: the store.
        name: The column.
        values: (sample,) its values.
        start: Position of the first value in the store.
    """
    if isinstance(values, Texts):
        return _wrong_texts(store, name, values, start)
    if name in SIZES:
        return {"is not above 0": values < 1}
    if not store.has(name):
        return {}
    if name in PLACES:  # a tile may begin before its parent's first row
        return {"is negative": values < 0} if name == "slice" else {}
    rows = slice(start, start + len(values))
    faults = {"is negative": values < 0}
    if name == "lost_objects" and store.has("objects"):
        with contextlib.suppress(PipelineError):
            faults["is more than `objects`"] = values > store.column("objects")[rows]
    return faults | _given_without_mask(store, values != 0, start)


def _wrong_texts(store: AttentionStore, name: str, texts: Texts, start: int) -> Faults:
    """Find wrong values in some rows of a column of texts. Those of one form are compared together."""
    if name != "digest" and not store.has(name):
        return {}
    empty = texts.lengths == 0
    if name in HEXADECIMAL:
        fault, digits, may_be_empty = HEXADECIMAL[name]
        return {fault: ~texts.are_hexadecimal(digits) & ~(empty & may_be_empty)}
    if name == "parent":
        return {"is empty": empty}
    if name == "pixel_mm":
        return {"is no size of a pixel": _where_given(texts, lambda text: not _is_pixel_size(text))}
    return {
        "is no list of classes in rising order": _where_given(texts, lambda text: _listed(store, text) is None)
    } | _given_without_mask(store, ~empty, start)


def _where_given(texts: Texts, is_wrong: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return (text,) True for the texts that are wrong; "" is none of them. Equal texts are looked at once."""
    wrong = np.zeros(len(texts), np.bool_)
    given = np.flatnonzero(texts.lengths > 0)
    known: dict[bytes, bool] = {}
    for at, text in zip(given.tolist(), texts.chosen(given), strict=True):
        if text not in known:
            known[text] = is_wrong(text.decode())
        wrong[at] = known[text]
    return wrong


def _given_without_mask(store: AttentionStore, given: NDArray[np.bool_], start: int) -> Faults:
    """Find values that only samples with a mask may have."""
    with contextlib.suppress(PipelineError):
        return {"is given without a mask": given & ~store.labelled[start : start + len(given)]}
    return {}


def _is_pixel_size(text: str) -> bool:
    """Return True for the text of a size in millimetres, or for the empty text."""
    numbers = text.split(" ")
    two = len(numbers) == 2  # noqa: PLR2004 - rows and columns
    return text == "" or (two and all(SIDE.fullmatch(one) and 0 < float(one) < math.inf for one in numbers))


def _wrong_maps(maps: NDArray[np.float32]) -> Faults:
    """Find wrong maps, (sample, head, row, column), that were multiplied by the scale factor."""
    sums = maps.sum(axis=(2, 3))
    finite = np.isfinite(sums).all(axis=1)  # finite values of float16 have finite sums
    if not finite.all():
        finite = np.isfinite(maps).all(axis=(1, 2, 3))
    return {
        "is not finite": ~finite,
        "is negative": np.fmin.reduce(maps, axis=(1, 2, 3)) < 0,
        "sums to more than one": (sums > 1 + ROUNDING).any(axis=1),
    }


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
            faults["has a class of `lost_classes`"] = _where(
                text != "" and not classes_in(mask, multilabel=store.multilabel).isdisjoint(_listed(store, text) or ())
                for mask, text in zip(masks, store.columns.texts_of("lost_classes", samples), strict=True)
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
