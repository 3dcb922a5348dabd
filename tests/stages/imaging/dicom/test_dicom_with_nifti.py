"""Label maps in NIfTI are labels of a DICOM series whose voxels they have."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.planes import split_into_planes
from tests.dicom_series import SPACING, THICKNESS, labels_of, scan, write_series
from tests.stages.imaging.dicom.test_dicom_files import enhanced

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


def test_slices_are_not_cut_along_another_axis(tmp_path: Path):
    """Axial slices under the name of coronal ones would go unnoticed."""
    write_placed(tmp_path / "images" / "chest", scan(), AXIAL)
    write_frames(tmp_path / "images" / "frames.dcm", np.zeros((4, 22, 30), np.uint16), step=5)
    found = find_samples(Inputs(images=tmp_path / "images"))
    for axis, count in (("axial", 8), ("2", 8), ("coronal", 0)):
        planes, problems = split_into_planes(found.samples, axis)
        assert len(planes) == count
        assert len(problems) == (0 if count else 2)
    assert all("holds axial slices, and coronal ones are asked for" in one.what for one in problems)


def test_labels_that_lie_elsewhere_are_refused(tmp_path: Path):
    write_placed(tmp_path / "images" / "chest", scan(), AXIAL)
    write_labels(tmp_path / "masks" / "chest.nii", labels_of(), AXIAL, shift=3)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "6 voxels away from its image" in problems[0]


@pytest.mark.parametrize("far", [1.0, 1e300])
@pytest.mark.filterwarnings("error")
def test_tilted_slices_need_labels_in_dicom(tmp_path: Path, far: float):
    """Slices of a tilted gantry are shifted against each other, so they have no affine at right angles."""

    def tilt(data: FileDataset, plane: int) -> None:
        data.ImagePositionPatient = [-10, far * plane, THICKNESS * plane]

    write_series(tmp_path / "images" / "head", scan(), change=tilt)
    write_labels(tmp_path / "masks" / "head.nii", labels_of(), AXIAL)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "whose slices are tilted" in problems[0]


def test_a_series_that_is_mirrored_needs_labels_in_dicom(tmp_path: Path):
    """Columns that run from the patient's left to the right."""
    mirrored = ([-1, 0, 0, 0, 1, 0], [0, 0, 1])
    write_placed(tmp_path / "images" / "chest", scan(), mirrored)
    write_labels(tmp_path / "masks" / "chest.nii", labels_of(), mirrored)
    planes, problems = planes_of(tmp_path, "axial")
    assert planes == []
    assert "mirrored or turned" in problems[0]


def write_frames(path: Path, values: NDArray[np.uint16], *, step: float) -> None:
    """Write one file with a frame for each plane, `step` mm towards the head from frame to frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pydicom.dcmread(enhanced(path.parent.parent / path.name, values))
    for at, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, step * at]
    data.save_as(path)


@pytest.mark.parametrize(
    ("step", "affine", "what"),
    [
        (5, (-0.3, -0.4, 5), None),
        (-5, (-0.3, -0.4, -5), "mirrored or turned"),
        (5, (-0.3, -0.4, 6), "voxels away from its image"),
        (5, (0.3, 0.4, 5), "voxels away from its image"),
    ],
)
def test_labels_of_a_file_with_frames_are_compared_by_place(
    tmp_path: Path, step: float, affine: tuple[float, ...], what: str | None
):
    """NIfTI counts planes from the feet upward; frames may be counted downward."""
    write_frames(tmp_path / "images" / "a.dcm", np.zeros((4, 22, 30), np.uint16), step=step)
    (tmp_path / "masks").mkdir()
    nib.save(nib.Nifti1Image(labels_of().transpose(2, 1, 0), np.diag([*affine, 1])), tmp_path / "masks" / "a.nii")
    planes, problems = planes_of(tmp_path, "axial")
    if what is not None:
        assert what in problems[0]
        return
    rules = LabelRules.for_samples(planes)
    read = np.stack([read_labels(plane.masks, rules, (22, 30)).mask for plane in planes])
    np.testing.assert_array_equal(read, labels_of())


def test_labels_of_one_slice_are_compared_by_place(tmp_path: Path):
    write_series(tmp_path / "images", scan(1), name="a.dcm")
    for shift, problem in ((0, False), (3, True)):
        write_labels(tmp_path / "masks" / "a.nii", labels_of()[-1:], AXIAL, shift=shift)
        assert bool(planes_of(tmp_path, "axial")[1]) == problem


@pytest.mark.parametrize("in_order", [True, False])
def test_labels_without_a_place_need_slices_that_are_numbered_as_they_lie(tmp_path: Path, in_order: bool):  # noqa: FBT001 - of the list
    """A stack from another program follows the numbers of the slices, and these may run from the head downward."""

    def renumber(data: FileDataset, plane: int) -> None:
        data.InstanceNumber = plane + 1 if in_order else 4 - plane

    write_series(tmp_path / "images" / "chest", scan(), change=renumber)
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "chest.npy", labels_of())
    planes, problems = planes_of(tmp_path, "axial")
    assert len(planes) == (4 if in_order else 0)
    assert in_order or "numbered in another order than they lie" in problems[0]
