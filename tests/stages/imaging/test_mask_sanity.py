"""Warnings about a set of masks: given only if most masks look wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.classes import ClassMap
from stages.imaging.mask_sanity import MaskSanityCheck
from stages.imaging.masks import read_mask

LESION = np.pad(np.ones((4, 4), np.uint8), 3)
INVERTED = np.uint8(1) - LESION
EMPTY = np.zeros((10, 10), np.uint8)
FULL = np.ones((10, 10), np.uint8)
IGNORED = np.full((10, 10), 255, np.uint8)


@pytest.mark.parametrize(
    ("masks", "word"),
    [
        pytest.param([], "", id="no_masks"),
        pytest.param([LESION] * 3, "", id="sound"),
        pytest.param([LESION, LESION, FULL], "", id="one_fills_the_picture"),
        pytest.param([LESION, EMPTY, EMPTY], "", id="some_empty"),
        pytest.param([EMPTY, EMPTY], "empty", id="all_empty"),
        pytest.param([INVERTED, INVERTED, LESION], "2 of 3 masks", id="most_inverted"),
        pytest.param([IGNORED], "empty", id="ignored_is_no_foreground"),
        pytest.param([INVERTED, LESION], "", id="half_is_not_most"),
    ],
)
def test_a_warning_needs_most_of_the_masks(masks: list[np.ndarray], word: str) -> None:
    """There is one warning or none."""
    sanity = MaskSanityCheck()
    sanity.add(masks)
    hints = sanity.hints()
    assert len(hints) == bool(word)
    assert all(word in hint for hint in hints)


def test_the_remedy_for_inverted_masks_works(tmp_path: Path) -> None:
    """Masks read with the classes of the warning are no longer inverted."""
    sanity = MaskSanityCheck()
    sanity.add([INVERTED])
    (hint,) = sanity.hints()
    pairs = (pair.split("=") for pair in hint.rpartition("--classes ")[2].split(","))
    Image.fromarray(INVERTED * np.uint8(255)).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png", ClassMap.from_mapping(dict(pairs)), INVERTED.shape)
    assert np.array_equal(mask, LESION)


def test_labels_that_overlap_are_foreground() -> None:
    """Bits of labels count like classes."""
    sanity = MaskSanityCheck()
    sanity.add([LESION * np.uint8(0b110)])
    assert not sanity.hints()
