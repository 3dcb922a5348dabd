"""Make the folder in which the commands of a page run: a few small images of every kind that the pages speak of."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from tests.dicom_series import labels_of, scan, write_seg, write_series
from tests.stages.imaging.scans import synthetic_scan, write_scan
from tests.stages.imaging.stacks import write_set

SMALL = {
    "extract": {"model": "untrained_tiny8", "image_size": 32, "attention_size": 32, "layers": [-1], "batch_size": 8},
    "train": {"epochs": 1, "width": 4, "val": 0.25, "test": 0.25},
    "evaluate": {"overlays": 1},
    "compare": {"steps": 2},
    "pretrain": {"steps": 2, "batch_size": 4, "image_size": 32, "watch_every": 1, "prototypes": 16, "head_width": 16},
}
"""Settings of `params.yaml` in the folder, for options that a page does not give."""


def make_world(phantoms: Path, folder: Path) -> Path:
    """Fill a folder with images and masks under the names that the pages use.

    Args:
        phantoms: folder with `images/` and `masks/` of sixteen phantoms.
        folder: made by this function.

    Returns:
        The folder.
    """
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    images = sorted((phantoms / "images").iterdir())
    masks = sorted((phantoms / "masks").iterdir())
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        name, patient = f"case{number:02d}", f"patient{number // 2:02d}"
        _copy(image, folder / "photos" / f"{name}.png")
        _copy(mask, folder / "masks" / f"{name}.png")
        _copy(image, folder / "scans" / patient / f"{name}.png")
        _copy(mask, folder / "drawn" / f"{name}_anno.png")
        _write_kinds_of_masks(np.asarray(Image.open(mask)) > 0, folder, name)
    for number, image in enumerate(images[:2], start=len(images)):
        _copy(image, folder / "new_photos" / f"case{number:02d}.png")
    write_set(folder / "cells", 8)
    for name in ("cells_0", "cells_1"):
        _copy(folder / "cells" / "images" / f"{name}.ome.tif", folder / "new_cells" / f"{name}.ome.tif")
    _write_table(folder)
    for number in range(8):
        values, ball = synthetic_scan(number)
        write_scan(folder / "ct" / "images" / f"case_{number}.nii.gz", values, codes="LPS")
        write_scan(folder / "ct" / "labels" / f"case_{number}.nii.gz", ball.astype(np.uint8))
        paths = write_series(folder / "dicom" / "images" / f"case_{number}", scan(seed=number), patient=f"P{number}")
        write_seg(folder / "dicom" / "segs" / f"{number}.dcm", paths, labels_of(), ["lesion"])
    write_series(folder / "new_dicom" / "case_8", scan(seed=8), patient="P8")
    write_scan(folder / "new_ct" / "case_8.nii.gz", synthetic_scan(8)[0], codes="SAR")
    return folder


def _write_kinds_of_masks(lesion: NDArray[np.bool_], folder: Path, name: str) -> None:
    """Write one mask (row, column) as classes, colours, numbered objects, overlapping labels and shades of grey."""
    left = np.arange(lesion.shape[1]) < lesion.shape[1] // 2
    red = np.array([255, 0, 0])
    _save(np.where(lesion, np.where(left, 127, 255), 0), folder / "class_masks" / f"{name}.png")
    _save(lesion[..., None] * red, folder / "colour_masks" / f"{name}.png")
    _save(np.where(lesion, np.where(left, 1, 2), 0), folder / "object_masks" / f"{name}.png")
    _save(lesion * 255, folder / "label_masks" / f"{name}_lesion.png")
    _save((lesion & left) * 255, folder / "label_masks" / f"{name}_network.png")
    _save(np.where(lesion, 200, 40), folder / "soft_masks" / f"{name}.png")


def _write_table(folder: Path) -> None:
    """Write `samples.csv` with the images of `photos`, their masks and patients."""
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "mask", "group"])
        for number in range(len(list((folder / "photos").iterdir()))):
            name = f"case{number:02d}"
            table.writerow([name, f"photos/{name}.png", f"masks/{name}.png", f"patient{number // 2:02d}"])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _save(values: NDArray[np.generic], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
