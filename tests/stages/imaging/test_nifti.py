"""NIfTI files become planes that lie as viewers show them; labels are read at the voxels of their image."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.testing import data_path
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from stages.imaging.intensities import IntensityRule
from stages.imaging.label_values import read_values
from stages.imaging.parts import Part, part_digest
from stages.imaging.samples import LabelFile, SourceSample
from stages.imaging.volumes import nifti
from stages.imaging.volumes import unpacked as kept_values
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.planes import split_into_planes
from tests.stages.imaging.scans import SPACING, write_scan

ORIENTATIONS = ("RAS", "LPS", "LAS", "SAR", "PIL", "ASL")
VALUES = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_planes_are_the_same_however_the_axes_of_the_file_point(tmp_path: Path, codes: str, name: str):
    path = write_scan(tmp_path / name, VALUES, codes=codes)
    expected = {
        "axial": VALUES[::-1, ::-1, 2].T,  # rows from front to back, columns from right to left
        "coronal": VALUES[::-1, 2, ::-1].T,  # rows from head to feet, columns from right to left
        "sagittal": VALUES[2, ::-1, ::-1].T,  # rows from head to feet, columns from front to back
    }
    for axis, values in expected.items():
        volume = open_volume(path, axis)
        np.testing.assert_array_equal(volume.read(2), values, err_msg=axis)
        assert volume.facts.size == values.shape
        np.testing.assert_array_equal(volume.read(2, (1, 2, 2, 1)), values[1:3, 2:3])
    assert open_volume(path).facts.planes == 6
    assert open_volume(path).facts.spacing_mm == pytest.approx((SPACING[1], SPACING[0], SPACING[2]))
    assert open_volume(path, "sagittal").facts.spacing_mm == pytest.approx((SPACING[2], SPACING[1], SPACING[0]))


def test_axes_of_the_array_can_be_asked_for(tmp_path: Path):
    path = write_scan(tmp_path / "scan.nii", VALUES, codes="SAR")
    for axis, name in (("0", "axial"), ("1", "coronal"), ("2", "sagittal")):
        np.testing.assert_array_equal(open_volume(path, axis).read(1), open_volume(path, name).read(1))


def test_planes_of_other_axes_have_other_digests():
    digests = {part_digest("0" * 64, Part(plane=1, axis=axis)) for axis in ("axial", "coronal", "0")}
    assert len(digests) == 3
    assert part_digest("0" * 64, Part(plane=1)) in digests


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_labels_are_read_at_the_voxels_of_the_image(tmp_path: Path, codes: str):
    """Image and labels of other orders of axes give the same planes."""
    image = write_scan(tmp_path / "images" / "a.nii.gz", VALUES, codes="LPS", rotated=20)
    label = write_scan(tmp_path / "labels" / "a.nii.gz", VALUES, codes=codes, rotated=20)
    planes, problems = split_into_planes([SourceSample("a", image, (LabelFile(label),))])
    assert not problems
    for plane in planes:
        shown = open_volume(plane.image).read(plane.part.plane or 0)
        np.testing.assert_array_equal(read_values(plane.masks[0], shown.shape), shown)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"spacing": (0.5, 0.75, 3.1)}, "voxels away from its image"),
        ({"rotated": 5.0}, "voxels away from its image"),
        ({"values": VALUES[:3]}, "3 x 5 x 6 voxels and its image 4 x 5 x 6"),
        ({"values": VALUES[..., :5]}, "has 5 planes and its image a.nii 6"),
    ],
)
def test_labels_at_another_place_are_a_problem(tmp_path: Path, changes: dict[str, object], what: str):
    image = write_scan(tmp_path / "a.nii", VALUES)
    label = write_scan(tmp_path / "b.nii", **{"values": VALUES, **changes})
    planes, problems = split_into_planes([SourceSample("a", image, (LabelFile(label),))])
    assert not planes
    assert what in problems[0].what


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS"])
def test_a_place_that_only_one_file_has_must_not_turn_the_planes(tmp_path: Path, codes: str):
    """Programs without a place in the patient show a file in the order of its array, which is LPS."""
    cube = VALUES[:, :4, :4]
    scan = write_scan(tmp_path / "a.nii", cube, codes=codes)
    plane = write_scan(tmp_path / "plane.nii", cube[..., :1], codes=codes)
    stack, picture = tmp_path / "b.npy", tmp_path / "picture.png"
    np.save(stack, cube[::-1, ::-1].T)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    for image, label in ((scan, stack), (stack, scan), (plane, picture), (picture, plane)):
        planes, problems = split_into_planes([SourceSample("a", image, (LabelFile(label),))])
        assert bool(planes) == (codes == "LPS")
        assert codes == "LPS" or "the affine" in problems[0].what or "its affine" in problems[0].what
    if codes == "LPS":
        np.testing.assert_array_equal(open_volume(scan).read(1), open_volume(stack).read(1))


def test_numbered_axes_must_be_in_the_same_order(tmp_path: Path):
    cube = VALUES[:, :4, :4]
    image, label = (write_scan(tmp_path / f"{codes}.nii", cube, codes=codes) for codes in ("RAS", "SAR"))
    sample = SourceSample("a", image, (LabelFile(label),))
    assert not split_into_planes([sample], "axial")[1]
    assert "axes in another order" in split_into_planes([sample], "0")[1][0].what


def test_values_are_scaled_as_the_header_says(tmp_path: Path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([1, 1, 2, 1]))
    image.header.set_slope_inter(0.5, -1024)
    nib.save(image, tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:352] + np.full(60, 8, "<i2").tobytes())
    assert nib.load(tmp_path / "a.nii").get_fdata()[0, 0, 0] == -1020
    volume = open_volume(tmp_path / "a.nii")
    assert volume.facts.deep
    assert volume.read(0)[0, 0] == -1020


def test_bytes_are_shown_as_they_are(tmp_path: Path):
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    path = write_scan(tmp_path / "a.nii.gz", values)
    np.testing.assert_array_equal(read_image(path, Part(plane=1)).pixels[..., 0], values[::-1, ::-1, 1].T)


def test_colours_are_read(tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    coloured = values.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(coloured, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.nii", Part(plane=1)).pixels, values[::-1, ::-1, 1].swapaxes(0, 1)
    )


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 1, 1)])
def test_a_file_with_one_plane_is_one_sample(tmp_path: Path, shape: tuple[int, ...]):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), tmp_path / "a.nii")
    planes, problems = split_into_planes([SourceSample("a", tmp_path / "a.nii")])
    assert [one.id for one in planes] == ["a"]
    assert not problems


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 0.001), ("meter", 1000), ("unknown", 1)])
def test_spacing_is_in_millimetres(tmp_path: Path, unit: str, factor: float):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([2, 3, 4, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    assert open_volume(tmp_path / "a.nii").facts.spacing_mm == pytest.approx((3 * factor, 2 * factor, 4 * factor))


def test_a_file_that_does_not_say_its_place_has_no_spacing(tmp_path: Path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    nib.save(image, tmp_path / "a.nii")
    assert open_volume(tmp_path / "a.nii").facts.spacing_mm is None


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("anatomical.nii", (25, (41, 33))),  # big-endian
        ("reoriented_anat_moved.nii", (22, (26, 21))),
        ("resampled_anat_moved.nii", (3, (21, 17))),
        ("standard.nii.gz", (7, (5, 4))),
        ("example4d.nii.gz", "holds 2 volumes"),
        ("example_nifti2.nii.gz", "holds 2 volumes"),
        ("functional.nii", "holds 20 volumes"),
        ("row_major.dconn.nii", "holds"),
    ],
)
def test_files_of_nibabel_are_read_or_refused(name: str, outcome: object):
    path = Path(data_path) / name
    if isinstance(outcome, str):
        with pytest.raises(InputProblemsError, match=outcome):
            open_volume(path)
        return
    volume = open_volume(path)
    assert (volume.facts.planes, volume.facts.size) == outcome
    canonical = nib.as_closest_canonical(nib.load(path)).get_fdata()
    np.testing.assert_array_equal(volume.read(1), canonical[::-1, ::-1, 1].T)


def test_every_cut_of_a_file_is_refused(tmp_path: Path):
    """A file that ends anywhere before its last byte is a problem, and no exception of a library."""
    whole = write_scan(tmp_path / "a.nii", VALUES).read_bytes()
    packed = gzip.compress(whole, mtime=0)
    for name, content in (("a.nii", whole), ("a.nii.gz", packed)):
        for end in {0, 1, 3, 4, 12, 200, 347, 348, 351, 353, *range(20, len(content), 37), len(content) - 1}:
            if end >= len(content):
                continue
            (tmp_path / f"{end}_{name}").write_bytes(content[:end])
            with pytest.raises(InputProblemsError, match=r"cut off|damaged|empty"):
                open_volume(tmp_path / f"{end}_{name}").read(0)


def test_any_changed_byte_of_a_header_gives_planes_or_one_problem(tmp_path: Path):
    whole = write_scan(tmp_path / "a.nii", VALUES).read_bytes()
    random = np.random.default_rng(0)
    for trial in range(400):
        changed = bytearray(whole)
        for at in random.integers(0, 352, random.integers(1, 4)):
            changed[at] = random.integers(0, 256)
        path = tmp_path / f"{trial}.nii"
        path.write_bytes(changed)
        try:
            volume = open_volume(path)
            assert volume.read(volume.facts.planes - 1).shape == volume.facts.size
        except InputProblemsError as error:
            assert len(error.problems) == 1  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dim": [3, 4, 5, 0, 1, 1, 1, 1]}, "which is no scan"),
        ({"dim": [3, 4, -5, 6, 1, 1, 1, 1]}, "which is no scan"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "is damaged"),
        ({"srow_x": [1, 1, 0, 0]}, "shear"),
        ({"srow_x": [0, 0, 0, 0]}, "shear|no size"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "not finite"),
        ({"datatype": 32}, "complex64"),
        ({"datatype": 9999}, "cannot be true"),
        ({"magic": b"ni1"}, "in one part"),
        ({"vox_offset": 4}, "begin in its header"),
        ({"scl_slope": 2, "scl_inter": np.inf}, "cannot be true"),
    ],
)
def test_headers_that_cannot_be_used_are_one_problem(tmp_path: Path, change: dict[str, object], what: str):
    path = write_scan(tmp_path / "a.nii", VALUES)
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], endianness="<", check=False)
    for name, value in change.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    with pytest.raises(InputProblemsError, match=what):
        open_volume(path)


def test_a_small_file_that_promises_much_is_refused_before_it_is_unpacked(tmp_path: Path):
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 300))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock))
    with pytest.raises(InputProblemsError, match="would unpack to"):
        open_volume(tmp_path / "a.nii.gz")


def test_a_compressed_file_with_more_or_fewer_values_than_it_promises_is_damaged(tmp_path: Path):
    whole = write_scan(tmp_path / "a.nii", VALUES).read_bytes()
    for number, content in enumerate((whole + b"\0", whole[:-1])):
        path = tmp_path / f"{number}.nii.gz"
        path.write_bytes(gzip.compress(content))
        with pytest.raises(InputProblemsError, match="its header promises 240 bytes"):
            open_volume(path).read(0)


def test_a_wrong_checksum_is_damage(tmp_path: Path):
    packed = bytearray(gzip.compress(write_scan(tmp_path / "a.nii", VALUES).read_bytes()))
    packed[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(InputProblemsError, match="damaged"):
        open_volume(tmp_path / "a.nii.gz").read(0)


def test_the_values_of_few_files_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files that are opened and held are unpacked once each, and those that were dropped once more."""
    unpacked = []
    original = nifti._Values._unpack

    def counted(values: nifti._Values) -> np.ndarray:
        unpacked.append(values)
        return original(values)

    monkeypatch.setattr(nifti._Values, "_unpack", counted)
    monkeypatch.setattr(kept_values, "MOST_BYTES", 0)
    volumes = [open_volume(write_scan(tmp_path / f"{number}.nii.gz", VALUES)) for number in range(6)]
    for volume in volumes:
        for axis in ("axial", "coronal"):
            for plane in range(3):
                volume.along(axis).read(plane)
    assert len(unpacked) == 6
    assert sum(values._unpacked._values is not None for values in unpacked) == kept_values.LEAST
    np.testing.assert_array_equal(volumes[0].read(2), VALUES[::-1, ::-1, 2].T)
    assert len(unpacked) == 7


def test_planes_along_another_axis_are_shown_by_the_same_range(tmp_path: Path):
    path = write_scan(tmp_path / "a.nii.gz", VALUES, codes="LPS")
    shown = {
        axis: [
            read_image(path, Part(plane=plane, axis=axis), IntensityRule.parse("percentiles")).pixels
            for plane in (0, 1)
        ]
        for axis in ("axial", "coronal")
    }
    assert shown["axial"][1][-2, -1, 0] == shown["coronal"][1][-2, -1, 0]  # one voxel on two planes
    assert open_volume(path, "coronal") is open_volume(path, "coronal")


def test_facts_name_the_values_and_the_orientation(tmp_path: Path):
    """So a data set that mixes them is seen before anything is computed."""
    straight = open_volume(write_scan(tmp_path / "a.nii", VALUES, codes="SAR"))
    oblique = open_volume(write_scan(tmp_path / "b.nii", VALUES, rotated=40))
    assert straight.facts.values == "16-bit signed"
    assert [straight.along(axis).facts.orientation for axis in ("axial", "coronal", "0")] == [
        "axial",
        "coronal",
        "axial",
    ]
    assert [oblique.along(axis).facts.orientation for axis in ("axial", "coronal")] == ["axial", "oblique"]
