"""Samples with every optional value, and stores of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from store import Sample
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample


def sample_of(index: int, layout: Layout) -> Sample:
    """Return a sample with two objects, one of which is in the mask; sample 1 lost its only class."""
    mask = np.zeros(layout.size, np.uint8)
    mask[2:5, 3 : 4 + index] = 0 if index == 1 else 1
    return replace(
        random_sample(index, layout),
        mask=mask,
        instances=mask.astype(np.uint16) * 300,
        objects=2,
        lost_objects=2 if index == 1 else 1,
        lost_classes="1" if index == 1 else "",
        perceptual_hash=f"{index:016x}",
        parent=f"scan_{index // 2}",
        slice=index,
        row=-3 + index,
        column=16 * index,
        pixel_mm="0.75 0.5" if index else "",
        mask_digest="0123456789abcdef" * 4 if index else "",
    )


def write(path: Path, layout: Layout, samples: list[Sample]) -> Path:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)
    return path
