"""Miniatures of public data sets: the folders, names and kinds of files in which each set is distributed.

Every builder makes six images with an ellipse each, and returns the options of `pipeline extract` that
`docs/own-data.md` gives for the set, relative to the folder. File names and folder names are those of the real sets.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COUNT = 6
HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class Expected:
    """Describe what an extraction of a miniature must find."""

    options: dict[str, Any]
    """Settings of `extract`; paths are relative to the miniature."""
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ("background", "foreground")
    groups: int = COUNT
    labelled: int = COUNT
    instances: bool = False
    left_out: tuple[str, ...] = field(default=())
    """Names of files that must be named as not used."""
    new_images: str = ""
    """Folder with the images to predict; "" for that of the extraction."""


def drawing(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image, (48, 64, 3) uint8, and its mask, (48, 64) uint8 of 0 and 1: an ellipse on a noisy ground."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centre, radii = random.uniform([16, 20], [32, 44]), random.uniform(8, 14, 2)
    inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1
    image = np.where(inside[..., None], [120, 70, 60], [210, 170, 150]) + random.normal(0, 12, (HEIGHT, WIDTH, 3))
    return image.clip(0, 255).astype(np.uint8), inside.astype(np.uint8)


def _save(array: NDArray[Any], path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def isic(root: Path) -> Expected:
    """ISIC 2018, task 1: two folders, and the superpixels of older years beside the images."""
    images, masks = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"
    for number in range(COUNT):
        image, mask = drawing(number)
        _save(image, root / images / f"ISIC_000000{number}.jpg")
        _save(mask * 255, root / masks / f"ISIC_000000{number}_{'Segmentation' if number % 2 else 'segmentation'}.png")
    _save(drawing(0)[0], root / images / "ISIC_0000000_superpixels.png")
    (root / images / "ATTRIBUTION.txt").write_text("Codella et al.")
    return Expected(
        {"images": images, "masks": masks},
        tuple(f"ISIC_000000{number}" for number in range(COUNT)),
        left_out=("ISIC_0000000_superpixels.png", "ATTRIBUTION.txt"),
    )


def isic_attributes(root: Path) -> Expected:
    """ISIC 2018, task 2: one mask per image and attribute, and the attributes overlap."""
    images, masks = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task2_Training_GroundTruth_v3"
    names = ("globules", "milia_like_cyst", "negative_network", "pigment_network", "streaks")
    for number in range(COUNT):
        image, mask = drawing(number)
        _save(image, root / images / f"ISIC_000000{number}.jpg")
        for name in names:
            shown = mask if name in ("globules", "pigment_network") else mask * 0
            _save(shown * 255, root / masks / f"ISIC_000000{number}_attribute_{name}.png")
    return Expected(
        {"images": images, "masks": masks, "labels": "multilabel"},
        tuple(f"ISIC_000000{number}" for number in range(COUNT)),
        classes=("background", *names),
    )


def ph2(root: Path) -> Expected:
    """PH2: a folder per image with folders for the image, the lesion and the regions."""
    for number in range(COUNT):
        image, mask = drawing(number)
        case = f"IMD00{number}"
        folder = root / "PH2 Dataset images" / case
        _save(image, folder / f"{case}_Dermoscopic_Image" / f"{case}.bmp")
        _save(mask * 255, folder / f"{case}_lesion" / f"{case}_lesion.bmp")
        _save(mask * 255, folder / f"{case}_roi" / f"{case}_R1_Label3.bmp")
    return Expected(
        {"images": "PH2 Dataset images"},
        tuple(f"IMD00{number}" for number in range(COUNT)),
        left_out=("IMD000_R1_Label3.bmp",),
    )


def ham10000(root: Path) -> Expected:
    """HAM10000: images in two parts, masks in a third folder, lesions in a table."""
    for number in range(COUNT):
        image, mask = drawing(number)
        part = "HAM10000_images_part_1" if number < 3 else "HAM10000_images_part_2"
        _save(image, root / part / f"ISIC_002430{number}.jpg")
        _save(
            mask * 255,
            root / "HAM10000_segmentations_lesion_tschandl" / f"ISIC_002430{number}_segmentation.png",
        )
    with (root / "HAM10000_metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["lesion_id", "image_id", "dx"])
        table.writerows([f"HAM_000000{number // 2}", f"ISIC_002430{number}", "nv"] for number in range(COUNT))
    return Expected({"images": "."}, tuple(f"ISIC_002430{number}" for number in range(COUNT)), groups=3)


def kvasir(root: Path) -> Expected:
    """Kvasir-SEG: one root with images and masks of the same names, both JPEG."""
    names = ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0qx73cjw570799j4n5cjze")
    ids = tuple(f"{name}{number}" for number in range(2) for name in names)
    for number, name in enumerate(ids):
        image, mask = drawing(number)
        _save(image, root / "Kvasir-SEG" / "images" / f"{name}.jpg")
        _save(mask * 255, root / "Kvasir-SEG" / "masks" / f"{name}.jpg", quality=75)
    (root / "Kvasir-SEG" / "kavsir_bboxes.json").write_text("{}")
    return Expected({"images": "Kvasir-SEG"}, ids, left_out=("kavsir_bboxes.json",))


def cvc_clinicdb(root: Path) -> Expected:
    """CVC-ClinicDB: `Original` and `Ground Truth`, numbered TIFF files."""
    for number in range(1, COUNT + 1):
        image, mask = drawing(number)
        _save(image, root / "CVC-ClinicDB" / "Original" / f"{number}.tif")
        _save(mask * 255, root / "CVC-ClinicDB" / "Ground Truth" / f"{number}.tif")
    return Expected({"images": "CVC-ClinicDB"}, tuple(str(number) for number in range(1, COUNT + 1)))


def busi(root: Path) -> Expected:
    """BUSI: a folder per diagnosis; a second tumour has a mask of its own; normal images have empty masks."""
    folder = root / "Dataset_BUSI_with_GT"
    ids = []
    for kind in ("benign", "malignant", "normal"):
        for number in (1, 2):
            image, mask = drawing(number)
            name = f"{kind} ({number})"
            ids.append(name)
            _save(image, folder / kind / f"{name}.png")
            _save((mask if kind != "normal" else mask * 0) * 255, folder / kind / f"{name}_mask.png")
    _save(np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255, folder / "benign" / "benign (2)_mask_1.png")
    return Expected({"images": "Dataset_BUSI_with_GT"}, tuple(ids))


def glas(root: Path) -> Expected:
    """GlaS: one folder with images and instance labels, and a table of grades."""
    folder = root / "Warwick QU Dataset (Released 2016_07_08)"
    names = ("train_1", "train_2", "train_3", "testA_1", "testA_2", "testB_1")
    for number, name in enumerate(names):
        image, mask = drawing(number)
        label = mask * 1
        label[:, WIDTH // 2 :] *= 2
        _save(image, folder / f"{name}.bmp")
        _save(label, folder / f"{name}_anno.bmp")
    (folder / "Grade.csv").write_text("name,patient ID,grade (GlaS)\n")
    return Expected(
        {"images": folder.name},
        names,
        classes=("background", "object"),
        instances=True,
        left_out=("Grade.csv",),
    )


def dsb2018(root: Path) -> Expected:
    """Data Science Bowl 2018: a folder per image, and a file per nucleus."""
    ids = []
    for number in range(COUNT):
        image, mask = drawing(number)
        case = f"{number:064x}"
        ids.append(case)
        _save(image, root / "stage1_train" / case / "images" / f"{case}.png")
        for part, half in enumerate((np.s_[:, : WIDTH // 2], np.s_[:, WIDTH // 2 :])):
            one = np.zeros_like(mask)
            one[half] = mask[half]
            _save(one * 255, root / "stage1_train" / case / "masks" / f"{part + 10 * number:064x}.png")
    return Expected({"images": "stage1_train"}, tuple(ids), classes=("background", "object"), instances=True)


def drive(root: Path) -> Expected:
    """DRIVE: TIFF images, GIF masks under another name, and the field of view, which is no label."""
    folder = root / "DRIVE" / "training"
    for number in range(21, 21 + COUNT):
        image, mask = drawing(number)
        _save(image, folder / "images" / f"{number}_training.tif")
        _save(mask * 255, folder / "1st_manual" / f"{number}_manual1.gif")
        _save(mask * 0 + 255, folder / "mask" / f"{number}_training_mask.gif")
    return Expected(
        {"images": "DRIVE/training"},
        tuple(f"{number}" for number in range(21, 21 + COUNT)),
        left_out=("21_training_mask.gif",),
    )


def nnunet(root: Path) -> Expected:
    """nnU-Net v2 raw: `_0000` marks the channel, and `dataset.json` names the classes."""
    folder = root / "Dataset101_Lesion"
    for number in range(COUNT):
        image, mask = drawing(number)
        label = mask * 1
        label[: HEIGHT // 2] *= 2
        _save(image[..., 0], folder / "imagesTr" / f"lesion_00{number}_0000.png")
        _save(label, folder / "labelsTr" / f"lesion_00{number}.png")
    _save(drawing(9)[0][..., 0], folder / "imagesTs" / "lesion_009_0000.png")
    description = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "lower": 1, "upper": 2},
        "numTraining": COUNT,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return Expected(
        {"images": folder.name},
        tuple(f"lesion_00{number}" for number in range(COUNT)),
        classes=("background", "lower", "upper"),
        left_out=("lesion_009_0000.png",),
        new_images=f"{folder.name}/imagesTs",
    )


def synapse(root: Path) -> Expected:
    """Synapse as prepared for TransUNet: one file per slice with image and label."""
    for number in range(COUNT):
        image, mask = drawing(number)
        path = root / "train_npz" / f"case000{5 + number // 2}_slice00{number % 2}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, image=image[..., 0].astype(np.float32) / 255, label=(mask * 3).astype(np.float32))
    return Expected(
        {"images": "train_npz", "classes": {"background": 0, "aorta": 3}},
        tuple(f"case000{5 + number // 2}_slice00{number % 2}" for number in range(COUNT)),
        classes=("background", "aorta"),
        groups=3,
    )


def acdc(root: Path) -> Expected:
    """ACDC slices as pictures: the patient is in the name."""
    ids = tuple(f"patient00{1 + number // 3}_frame01_slice_{number % 3}" for number in range(COUNT))
    for number, name in enumerate(ids):
        image, mask = drawing(number)
        _save(image[..., 0], root / "images" / f"{name}.png")
        _save(mask * 3, root / "masks" / f"{name}.png")
    return Expected(
        {"images": "images", "masks": "masks", "classes": {"background": 0, "left_ventricle": 3}},
        ids,
        classes=("background", "left_ventricle"),
        groups=2,
    )


SETS: dict[str, Callable[[Path], Expected]] = {
    "ISIC 2018 task 1": isic,
    "ISIC 2018 task 2": isic_attributes,
    "PH2": ph2,
    "HAM10000": ham10000,
    "Kvasir-SEG": kvasir,
    "CVC-ClinicDB": cvc_clinicdb,
    "BUSI": busi,
    "GlaS": glas,
    "DSB 2018": dsb2018,
    "DRIVE": drive,
    "nnU-Net": nnunet,
    "Synapse": synapse,
    "ACDC": acdc,
}
"""A builder of a miniature by the name of the data set."""
