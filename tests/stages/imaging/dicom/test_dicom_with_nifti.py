"""Label maps in NIfTI are labels of a DICOM series whose voxels they have."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.planes import split_into_planes
from tests.dicom_series import SPACING, THICKNESS, labels_of, scan, write_series

# Directions of rows and columns of the slices, and of the slices themselves, in DICOM's coordinates.
AXIAL = ([1, 0, 0, 0, 1, 0], [0, 0, 1])
SAGITTAL = ([0, 1, 0, 0, 0, -1], [-1, 0, 0])
CORONAL = ([1, 0, 0, 0, 0, -1], [0, 1, 0])


def write_placed(folder: Path, values: NDArray[np.int16], orientation: tuple[list[int], list[int]]) -> None:
    """Write a series whose slices lie along a direction."""
    cosines, step = orientation

    def place(data: FileDataset, plane: int) -> None:
        data.ImageOrientationPatient = cosines
        data.ImagePositionPatient = list(np.array([-10, 20, -50]) + THICKNESS * plane * np.array(step))

    write_series(folder, values, change=place)


def write_labels(
    path: Path, labels: NDArray[np.uint8], orientation: tuple[list[int], list[int]], *, shift: float = 0
) -> None:
    """Write the labels of `write_placed` as other programs do: an array (column, row, plane) and its affine in RAS."""
    cosines, step = orientation
    affine = np.eye(4)
    columns = [np.array(cosines[:3]) * SPACING[1], np.array(cosines[3:]) * SPACING[0], np.array(step) * THICKNESS]
    affine[:3] = np.stack([*columns, np.array([-10 + shift, 20, -50])], axis=1)
    affine[:2] *= -1
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine), path)


def planes_of(folder: Path, axis: str) -> tuple[list[SourceSample], list[str]]:
    found = find_samples(Inputs(images=folder / "images", masks=folder / "masks"))
    planes, problems = split_into_planes(found.samples, axis)
    return planes, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("axis", "orientation", "reverse"), [("axial", AXIAL, 1), ("sagittal", SAGITTAL, 1), ("coronal", CORONAL, -1)]
)
def test_a_label_map_lies_on_the_slices(
    tmp_path: Path, axis: str, orientation: tuple[list[int], list[int]], reverse: int
):
    """Every plane gets the labels at its place, whichever way the slices of the file are counted."""
    write_placed(tmp_path / "images" / "chest", scan(), orientation)
    write_labels(tmp_path / "masks" / "chest.nii.gz", labels_of(), orientation)
    planes, problems = planes_of(tmp_path, axis)
    assert problems == []
    rules = LabelRules.for_samples(planes)
    read = np.stack([read_labels(plane.masks, rules, (22, 30)).mask for plane in planes])
    np.testing.assert_array_equal(read, labels_of()[::reverse])


def test_labels_cut_along_another_axis_are_refused(tmp_path: Path):
    write_placed(tmp_path / "images" / "knee", np.zeros((22, 22, 22), np.int16), SAGITTAL)
    write_labels(tmp_path / "masks" / "knee.nii", np.zeros((22, 22, 22), np.uint8), SAGITTAL)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "add --axis sagittal" in problems[0]


def test_labels_that_lie_elsewhere_are_refused(tmp_path: Path):
    write_placed(tmp_path / "images" / "chest", scan(), AXIAL)
    write_labels(tmp_path / "masks" / "chest.nii", labels_of(), AXIAL, shift=3)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "6 voxels away from its image" in problems[0]


def test_a_series_that_is_mirrored_needs_labels_in_dicom(tmp_path: Path):
    """Columns that run from the patient's left to the right."""
    mirrored = ([-1, 0, 0, 0, 1, 0], [0, 0, 1])
    write_placed(tmp_path / "images" / "chest", scan(), mirrored)
    write_labels(tmp_path / "masks" / "chest.nii", labels_of(), mirrored)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "mirrored or turned" in problems[0]
