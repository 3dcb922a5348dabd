"""Make slides with objects of known place, and a run that finds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from stages.settings import ExtractSettings, TrainSettings
from tests.pyramids import halved

TILE = 64
"""Rows and columns of the run's tiles."""
BACKGROUND, OBJECT = (60, 40, 70), (200, 190, 150)
"""Colours of the slide."""


@dataclass(frozen=True)
class Disc:
    """Describe a round object, in pixels of the slide."""

    row: int
    column: int
    radius: int


def discs_on_borders(side: int, tile: int = 512, radius: int = 30) -> list[Disc]:
    """Return objects for a slide: on corners and borders of a grid of tiles, in the middle, at its border."""
    middle = side // 2 // tile * tile
    beside = max(300, 5 * radius)  # far enough from the large object that a coarse prediction does not join them
    return [
        Disc(tile, tile, radius),
        Disc(tile, middle + 100, radius),
        Disc(middle + 50, tile, radius),
        Disc(middle, middle, 3 * radius),
        Disc(middle + beside, middle + beside, radius),
        Disc(side - 2, side // 3, radius),
        Disc(side // 3, 2, radius),
        Disc(side - 200, side - 150, radius),
    ]


def draw(discs: list[Disc], row: int, column: int, rows: int, columns: int) -> np.ndarray:
    """Return where the objects are in a region of the slide, (rows, columns) bool."""
    region = np.zeros((rows, columns), bool)
    for disc in discs:
        top, bottom = max(disc.row - disc.radius, row), min(disc.row + disc.radius + 1, row + rows)
        left, right = max(disc.column - disc.radius, column), min(disc.column + disc.radius + 1, column + columns)
        if top < bottom and left < right:
            ys, xs = np.ogrid[top:bottom, left:right]
            inside = (ys - disc.row) ** 2 + (xs - disc.column) ** 2 <= disc.radius**2
            region[top - row : bottom - row, left - column : right - column] |= inside
    return region


def colour(region: np.ndarray, seed: int | None = 0) -> np.ndarray:
    """Return the (row, column, 3) uint8 picture of a region, with a little noise; without any if the seed is None."""
    if seed is None:
        return np.where(region[..., None], np.uint8(OBJECT), np.uint8(BACKGROUND))
    noise = np.random.default_rng(seed).normal(0, 6, (*region.shape, 3))
    return np.clip(np.where(region[..., None], OBJECT, BACKGROUND) + noise, 0, 255).astype(np.uint8)


def write_slide(path: Path, side: int, discs: list[Disc], *, tile: int = 512, seed: int | None = 0) -> Path:
    """Write a square pyramidal TIFF tile by tile; it is never in memory as a whole."""

    def tiles(factor: int) -> Iterator[np.ndarray]:
        size = side // factor
        for row in range(0, size, tile):
            for column in range(0, size, tile):
                region = draw(discs, row * factor, column * factor, tile * factor, tile * factor)
                yield colour(region, seed) if factor == 1 else halved(colour(region, seed), factor)

    common: dict[str, Any] = {"dtype": np.uint8, "tile": (tile, tile), "compression": "zlib", "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            tiles(1),
            shape=(side, side, 3),
            subifds=1,
            metadata=None,
            resolution=(40_000, 40_000),
            resolutionunit="CENTIMETER",
            compressionargs={"level": 1},
            **common,
        )
        writer.write(tiles(4), shape=(side // 4, side // 4, 3), subfiletype=1, metadata=None, **common)
    return path


def make_run(folder: Path, *, epochs: int = 7, reduction: int = 1, images: int = 4) -> Path:
    """Train a small network on tiles of images with bright discs.

    Args:
        folder: Receives `images`, `masks`, `store.zarr`, `memo` and `run`.
        epochs: of training.
        reduction: Pixels of an image along one side of a pixel of a tile.
        images: Number of images; a quarter of them each for validation and test.

    Returns:
        The folder of the run.
    """
    from stages.extract import run as extract
    from stages.train import run as train

    random = np.random.default_rng(0)
    side = (2 * TILE + TILE // 2) * reduction
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(images):
        discs = [Disc(*random.integers(0, side, 2).tolist(), int(random.integers(6, 40)) * reduction) for _ in range(5)]
        region = draw(discs, 0, 0, side, side)
        Image.fromarray(colour(region, seed=index)).save(folder / "images" / f"{index}.png")
        Image.fromarray(region.astype(np.uint8) * 255).save(folder / "masks" / f"{index}.png")
    store = folder / "store.zarr"
    extract(
        ExtractSettings(
            images=folder / "images",
            masks=folder / "masks",
            store=store,
            memo=folder / "memo",
            model="untrained_tiny8",
            tile=(TILE, TILE),
            overlap=TILE // 4,
            resolution=str(reduction),
            image_size=(TILE, TILE),
            attention_size=(32, 32),
            layers=(-1,),
        )
    )
    out = folder / "run"
    train(
        TrainSettings(
            store=store,
            out=out,
            epochs=epochs,
            batch_size=3,
            lr=0.005,
            width=4,
            val=0.25,
            test=0.25,
            branches="image",
        )
    )
    return out
