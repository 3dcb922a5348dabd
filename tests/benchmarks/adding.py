"""Measure what 1 % of new images cost with `extract --append`, against the extraction of all of them.

The transformer is the smallest there is, so finding the old files and looking at their times counts for more than with
any real one. Both extractions run in one process, after a small one that is not counted. Processor time is compared,
because other programs would disturb the smaller of the two.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from stages import extract
from stages.settings import ExtractSettings
from tests.benchmarks.measure import Measurement

IMAGES = 10_000
NEW = IMAGES // 100
FEW = 10
SIDE = 128
TARGET = 0.02
OLD_ENOUGH = 61
"""Seconds after which a file that was written may count as known: see `stages.extraction.known_files`."""


def measure() -> Iterator[Measurement]:
    """Yield the ratio of the two extractions, and the time for an old image when there is no new one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _draw(root / "few", 0, FEW)
        _extract(root / "few")
        _draw(root / "all", 0, IMAGES)
        time.sleep(OLD_ENOUGH)
        first = _extract(root / "all")
        unchanged = _extract(root / "all")
        _draw(root / "all", IMAGES, IMAGES + NEW)
        time.sleep(OLD_ENOUGH)
        added = _extract(root / "all")
    details = {"all": first, "added": added, "no new image": unchanged}
    yield Measurement(
        name="append: 1 % new images",
        ratio=added / first,
        target=TARGET,
        at_most=True,
        claim=f"{NEW} images added / {IMAGES} extracted, processor seconds, dino_phantom_tiny8 at 64²",
        details=details,
    )
    yield Measurement(
        name="append: an old image",
        ratio=unchanged / IMAGES * 1e6,
        target=None,
        at_most=True,
        claim="processor microseconds for finding an old image and its mask and looking at their times, with the start",
        details=details,
    )


def _draw(root: Path, first: int, end: int) -> None:
    """Write JPEG images and their masks, numbered."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(first, end):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(root / "images" / f"image_{number:06d}.jpg", quality=90)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[30 : 38 + number % 60, 20:90] = 255
        Image.fromarray(mask).save(root / "masks" / f"image_{number:06d}.png")


def _extract(root: Path) -> float:
    """Extract or append, and return the processor's seconds."""
    began = time.process_time()
    extract.run(
        ExtractSettings(
            images=root / "images",
            masks=root / "masks",
            store=root / "s.zarr",
            memo=root / "memo",
            model="dino_phantom_tiny8",
            image_size=(64, 64),
            attention_size=(64, 64),
            device="cpu",
            append=True,
        )
    )
    return time.process_time() - began
