"""Make JPEG files that take as long to decode as a camera's: broad shapes with grain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write `count` different JPEGs of (height, width) pixels and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = size
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        shapes = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        broad = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = random.integers(-12, 13, (height, width, 1), dtype=np.int16)
        paths.append(folder / f"{number:04d}.jpg")
        Image.fromarray((broad + grain).clip(0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths
