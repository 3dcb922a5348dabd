"""Only regular files of a limited size are read, whatever a FIFO, a device or a link stands for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, PipelineError, UsageError
from stages.imaging import annotations, class_files, describing, groups, opening, table
from stages.imaging.annotations import formats
from stages.imaging.arrays import array_size, read_image_array
from stages.imaging.class_files import read_classes
from stages.imaging.classes import ClassMap
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.dicom.recognition import is_dicom
from stages.imaging.layouts import GroupTable
from stages.imaging.listing import list_folder
from stages.imaging.masks import read_mask
from stages.imaging.opening import check_picture, picture_size
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.volumes.readers import SHARED_EXTENSIONS, VOLUME_EXTENSIONS


def _check(path: Path) -> None:
    problem = check_picture(path)
    if problem is not None:
        raise InputProblemsError([problem])


VOLUMES = sorted({*VOLUME_EXTENSIONS, *SHARED_EXTENSIONS})
READERS: dict[str, tuple[str, Callable[[Path], object], object]] = {
    "image": ("a.png", read_image, opening),
    "resized image": ("a.jpg", lambda path: read_resized(path, [(8, 8)]), opening),
    "mask": ("a.png", lambda path: read_mask(path, ClassMap.binary(), (4, 4)), opening),
    "header": ("a.png", picture_size, None), "check of a header": ("a.png", _check, None),
    "array": ("a.npz", read_image_array, opening), "header of an array": ("a.npz", array_size, None),
    "table": ("a.csv", table.read_table, table),
    "classes": ("classes.json", read_classes, class_files),
    "annotation": ("a.json", lambda path: annotations.read_annotation(path, "", (4, 4)), formats),
    **{f"volume {ending}": (f"a{ending}", read_image, None) for ending in VOLUMES},
}  # fmt: skip
"""A name for the file, a function that reads it, and the module with its limit; None if it is not read whole."""
readers = pytest.mark.parametrize("reader", READERS)


def refused(path: Path, read: Callable[[Path], object], words: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read(path)
    assert isinstance(caught.value, (InputProblemsError, UsageError))
    assert words in str(caught.value)
    assert path.name in str(caught.value)
    assert "Errno" not in str(caught.value)


@readers
def test_a_fifo_is_refused_without_waiting(tmp_path: Path, reader: str):
    name, read, _ = READERS[reader]
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, read, "is a FIFO")


@readers
def test_a_link_to_an_endless_device_is_refused(tmp_path: Path, reader: str):
    name, read, _ = READERS[reader]
    (tmp_path / name).symlink_to("/dev/zero")
    refused(tmp_path / name, read, "is a character device")


@pytest.mark.parametrize("reader", [name for name, (_, _, module) in READERS.items() if module is not None])
def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path, reader: str):
    """The file is sparse: it takes no room on the disk."""
    name, read, module = READERS[reader]
    limit = module.LARGEST  # type: ignore[attr-defined]
    assert limit >= 2**24
    with (tmp_path / name).open("wb") as file:
        file.truncate(limit + 1)
    refused(tmp_path / name, read, f"is larger than {limit >> 20} MiB")


def test_a_fifo_that_a_table_names_is_no_dicom_file(tmp_path: Path):
    """It has no extension, so its content would be looked at."""
    os.mkfifo(tmp_path / "IM-0001")
    assert not is_dicom(tmp_path / "IM-0001")


def test_links_to_devices_in_a_folder_are_problems(tmp_path: Path):
    """A link to a device is named as such, and one to nothing as a link to nothing."""
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "sound.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("nothing")
    os.mkfifo(tmp_path / "fifo.png")
    said = {Path(problem.where).name: problem.what for problem in list_folder(tmp_path).problems}
    assert "a pipe or a device" in said["device.png"]
    assert "a pipe or a device" in said["fifo.png"]
    assert "points to no file" in said["gone.png"]


def test_a_huge_description_of_a_data_set_is_refused(tmp_path: Path):
    """nnU-Net's `dataset.json` beside the images."""
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    (tmp_path / "labelsTr").mkdir()
    for case in "ab":
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / f"{case}_0000.png")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "labelsTr" / f"{case}.png")
    with (tmp_path / "dataset.json").open("wb") as file:
        file.truncate(describing.LARGEST + 1)
    with pytest.raises(InputProblemsError, match=r"dataset.json: is larger than 16 MiB"):
        find_samples(Inputs(images=folder, masks=tmp_path / "labelsTr", layout="nnunet"))


def test_a_huge_table_of_groups_is_not_read(tmp_path: Path):
    """It may name the patients, so it is a problem, and nothing goes on without it."""
    with (tmp_path / "groups.csv").open("wb") as file:
        file.truncate(groups.LARGEST + 1)
    wanted = GroupTable(file="groups.csv", key="id", group="group")
    with pytest.raises(InputProblemsError, match="is larger than 256 MiB"):
        groups._read_groups(tmp_path / "groups.csv", wanted)
