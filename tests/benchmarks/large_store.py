"""Write a large store of small synthetic samples: what a store of millions of samples costs can then be measured.

A sample has 16 x 16 pixels and six maps of 2 x 2, so that ten million of them fit on a usual disk. Images and maps
repeat after `POOL` samples; ids, groups, digests and hashes are those of real data sets: every patient has two images,
and one image of 10,000 is a copy of another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from store.records import Sample
from store.writer import Layout, new_store

POOL = 1024
COPIES = 10_000
"""One image of this many is a copy of the one before."""

LAYOUT = Layout(
    size=(16, 16),
    grid=(2, 2),
    heads=[f"L11H{head}" for head in range(6)],
    keys=4,
    classes=["background", "lesion"],
    columns=("perceptual_hash",),
)


def write_large_store(
    path: Path, samples: int, progress: Callable[[range], Iterable[int]] = lambda samples: samples
) -> None:
    """Write a store of `samples` samples to `path`; it is verified before it appears there."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (POOL, *LAYOUT.size, 3), np.uint8)
    masks = np.zeros((POOL, *LAYOUT.size), np.uint8)
    for mask in masks:
        top, left, height, width = random.integers(1, 8, 4)
        mask[top : top + height, left : left + width] = 1
    maps = random.random((POOL, 6, *LAYOUT.grid))
    maps = (LAYOUT.keys * 0.9 * maps / maps.sum((2, 3), keepdims=True)).astype(np.float16)
    layout = Layout(**{**vars(LAYOUT), "expected": samples})
    with new_store(path, layout=layout, recipe={"model": "synthetic"}) as writer:
        for index in progress(range(samples)):
            digest = hashlib.sha256(b"%d" % (index - (index % COPIES == 1))).hexdigest()
            kind = index % POOL
            writer.append(
                Sample(
                    id=f"image-{index:08d}",
                    image=images[kind],
                    mask=masks[kind],
                    attention=maps[kind],
                    digest=digest,
                    height=16,
                    width=16,
                    group=f"patient-{index // 2}",
                    labelled=True,
                    perceptual_hash=digest[:16],
                )
            )
