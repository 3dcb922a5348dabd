"""Tiles of every kind of file hold what the whole image holds at their place: pixels, classes and objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.extract import run as extract
from store import AttentionStore
from tests.conftest import extract_settings

HEIGHT, WIDTH = 70, 90
RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
STACK = RANDOM.integers(0, 4000, (3, HEIGHT, WIDTH)).astype(np.uint16)
LABELS = np.zeros((HEIGHT, WIDTH), np.uint8)
LABELS[5:30, 10:40], LABELS[35:60, 50:85], LABELS[33:37, 5:80] = 1, 2, 1
CLASSES = {"background": 0, "one": 1, "two": 2}

Save = Callable[[Path], Any]


def picture(values: np.ndarray, name: str) -> Save:
    return lambda folder: Image.fromarray(values).save(folder / name)


def array(values: np.ndarray) -> Save:
    return lambda folder: np.save(folder / "a.npy", values)


def tiff(values: np.ndarray, **options: Any) -> Save:
    return lambda folder: tifffile.imwrite(folder / "a.tif", values, **options)


def scan(values: np.ndarray) -> Save:
    """Save planes as NIfTI, such that the planes are shown as (column, row) of the arrays."""
    image = nibabel.Nifti1Image(np.moveaxis(values, 0, 2), np.diag([-1.0, -1.0, 2.0, 1.0]))
    return lambda folder: nibabel.save(image, folder / "a.nii.gz")


def labels_apart(folder: Path) -> None:
    for value, name in ((1, "one"), (2, "two")):
        Image.fromarray((value == LABELS).astype(np.uint8) * 255).save(folder / f"a_{name}.png")


CASES: dict[str, tuple[Save, Save, dict[str, Any]]] = {
    "16-bit PNG": (picture(STACK[0], "a.png"), picture(LABELS, "a.png"), {"classes": CLASSES}),
    "extremes": (picture(STACK[0], "a.png"), picture(LABELS, "a.png"), {"classes": CLASSES, "window": "minmax"}),
    "JPEG": (picture(RGB, "a.jpg"), picture(LABELS, "a.png"), {"labels": "instances"}),
    "GIF": (
        lambda f: Image.fromarray(RGB).quantize(64).save(f / "a.gif"),
        picture(LABELS, "a.png"),
        {"classes": CLASSES},
    ),
    "multilabel": (
        picture(RGB, "a.png"),
        labels_apart,
        {"labels": "multilabel", "mask_pattern": "{id}_{label}.png"},
    ),
    "stack": (array(STACK), array(np.stack([LABELS] * 3)), {"classes": CLASSES, "window": "minmax"}),
    "tiled TIFF": (tiff(RGB, tile=(32, 32), photometric="rgb"), tiff(LABELS, tile=(32, 32)), {"labels": "instances"}),
    "NIfTI": (scan(STACK.astype(np.int16)), scan(np.stack([LABELS] * 3)), {"classes": CLASSES}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_tile_holds_what_the_whole_image_holds_at_its_place(case: str, tmp_path: Path, memo: Path):
    image, masks, settings = CASES[case]
    for name, save in (("images", image), ("masks", masks)):
        (tmp_path / name).mkdir()
        save(tmp_path / name)
    size = (WIDTH, HEIGHT) if case == "NIfTI" else (HEIGHT, WIDTH)
    for name, sizes in (("whole", {"image_size": size}), ("tiles", {"image_size": (32, 40), "tile": (32, 40)})):
        chosen = {**sizes, "attention_size": (32, 40), **settings}
        extract(extract_settings(tmp_path, tmp_path / f"{name}.zarr", memo, **chosen))
    whole, tiles = (AttentionStore.open(tmp_path / f"{name}.zarr") for name in ("whole", "tiles"))
    place = {str(identifier): index for index, identifier in enumerate(whole.ids)}
    assert len(tiles) == (6 if case == "NIfTI" else 9) * len(whole)
    for index, identifier in enumerate(tiles.ids):
        row, column = (int(tiles.column(name)[index]) for name in ("row", "column"))
        at = (slice(row, row + 32), slice(column, column + 40))
        expected, tile = whole[place[str(identifier).rpartition("_r")[0]]], tiles[index]
        np.testing.assert_array_equal(tile.image, expected.image[at])
        np.testing.assert_array_equal(tile.mask, expected.mask[at])
        if tile.instances is not None and expected.instances is not None:
            pairs = set(zip(tile.instances.ravel().tolist(), expected.instances[at].ravel().tolist(), strict=True))
            assert len(pairs) == len(np.unique(tile.instances)) == len(np.unique(expected.instances[at]))
