"""Make stores of small images with every kind of label, for the tests of viewers' formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from store.records import Sample
from store.writer import Layout, new_store

SIZE = (20, 28)


def make_labelled(path: Path, *, instances: bool = False, multilabel: bool = False, pixel_mm: str = "") -> Path:
    """Write a store of three images: two with masks of two classes, holes and ignored pixels, and one without."""
    layout = Layout(
        size=SIZE,
        grid=(2, 3),
        heads=["L0H0"],
        keys=6,
        classes=["background", "cell, round", "gland"],
        instances=instances,
        multilabel=multilabel,
        columns=("pixel_mm",),
    )
    random = np.random.default_rng(5)
    with new_store(path, layout=layout, recipe={"model": "none"}) as writer:
        for number in range(3):
            mask = np.zeros(SIZE, np.uint8)
            mask[2:9, 3:12] = 1
            mask[4:6, 5:8] = 0  # a hole
            mask[10:13, 12 + number : 20] = 1
            mask[12:18, 2:10] = 2
            if multilabel:
                mask[3:8, 10:16] |= 2  # overlaps class 1
            mask[0, :5] = 255
            labelled = number < 2
            objects = np.zeros(SIZE, np.uint16)
            objects[2:9, 3:7], objects[2:9, 7:12], objects[10:13, 12:20], objects[12:18, 2:10] = 1, 2, 3, 4
            objects[(mask == 0) | (mask == 255)] = 0
            writer.append(
                Sample(
                    id=f"é {number}",
                    image=random.integers(0, 256, (*SIZE, 3), np.uint8),
                    mask=mask if labelled else np.full(SIZE, 255, np.uint8),
                    attention=np.full((1, 2, 3), 0.125, np.float16),
                    digest=f"{number:064x}",
                    height=40,
                    width=84,
                    group=f"é {number}",
                    labelled=labelled,
                    instances=(objects if labelled else objects * 0) if instances else None,
                    pixel_mm=pixel_mm,
                )
            )
    return path
