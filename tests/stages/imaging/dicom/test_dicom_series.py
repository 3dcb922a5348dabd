"""The files of a DICOM series are the slices of one volume, in the order of their positions."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from stages.errors import InputProblemsError
from stages.extract import run as extract
from stages.imaging.decoding import read_image
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.stored_parts import stored_parts
from stages.imaging.volumes.opened import file_digest, open_volume
from stages.imaging.volumes.planes import split_into_planes
from stages.reporting.sources import find_images
from store import AttentionStore
from tests.conftest import extract_settings
from tests.dicom_series import SPACING, THICKNESS, labels_of, scan, write_seg, write_series


def the_series(folder: Path) -> SeriesPath:
    """Return the only image of a folder, which must be a series."""
    (sample,) = find_samples(Inputs(images=folder), labels="ignored").samples
    assert isinstance(sample.image, SeriesPath)
    return sample.image


def problem_of(folder: Path) -> str:
    """Return the problem of the only series of a folder."""
    samples, problems = split_into_planes(find_samples(Inputs(images=folder), labels="ignored").samples)
    assert samples == []
    (problem,) = problems
    return str(problem)


def test_slices_are_sorted_by_position_whatever_their_names_say(tmp_path: Path):
    values = scan() // 2 * 2
    write_series(tmp_path / "chest", values)
    volume = open_volume(the_series(tmp_path))
    assert volume.facts.planes == 4
    for plane in range(4):
        np.testing.assert_array_equal(volume.read(plane), values[plane])
    np.testing.assert_array_equal(volume.read(2, (3, 5, 7, 11)), values[2, 3:10, 5:16])


def test_geometry_window_and_patient_come_from_the_headers(tmp_path: Path):
    write_series(tmp_path / "chest", scan())
    facts = open_volume(the_series(tmp_path)).facts
    assert facts.spacing_mm == (*SPACING, THICKNESS)
    assert facts.window == (-160.0, 239.0)  # the first one: 40 - 0.5 -+ 399 / 2
    assert facts.patient == "P-1"
    assert (facts.values, facts.orientation) == ("16-bit", "axial")
    assert facts.deep


def test_the_distance_of_tilted_slices_is_along_their_normal(tmp_path: Path):
    def tilt(data: FileDataset, plane: int) -> None:
        data.ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
        data.ImagePositionPatient = [0, -0.6 * 3 * plane + 0.8 * 5, 0.8 * 3 * plane + 0.6 * 5]

    write_series(tmp_path / "tilted", scan(), change=tilt)
    spacing = open_volume(the_series(tmp_path)).facts.spacing_mm
    assert spacing is not None
    assert spacing[2] == pytest.approx(3)


def test_without_positions_the_instance_number_is_the_order(tmp_path: Path):
    def strip(data: FileDataset, plane: int) -> None:
        del data.ImagePositionPatient
        data.InstanceNumber = plane + 1

    values = scan() // 2 * 2
    write_series(tmp_path / "chest", values, change=strip)
    volume = open_volume(the_series(tmp_path))
    np.testing.assert_array_equal(volume.read(3), values[3])
    assert volume.facts.spacing_mm == (*SPACING, None)


@pytest.mark.parametrize("name", ["IM-0001-{:04d}", "1.2.840.113619.2.{}", "{:06d}.IMA", "{:06d}.dicom"])
def test_names_of_any_form_are_recognised(tmp_path: Path, name: str):
    write_series(tmp_path / "patient7", scan(), name=name)
    (tmp_path / "patient7" / "notes").write_text("no DICOM")
    found = find_samples(Inputs(images=tmp_path), labels="ignored")
    assert [one.id for one in found.samples] == ["patient7"]
    assert [file.name for one in found.left_out for file in one.files] == ["notes"]


def test_files_without_extension_are_single_images_by_their_whole_name(tmp_path: Path):
    def single(data: FileDataset, plane: int) -> None:
        data.Modality = "CR"
        del data.ImagePositionPatient
        data.SeriesInstanceUID += f".{plane}"

    write_series(tmp_path, scan(2), name="1.2.840.{}", change=single)
    samples = find_samples(Inputs(images=tmp_path), labels="ignored").samples
    assert [one.id for one in samples] == ["1.2.840.1", "1.2.840.2"]
    assert [open_volume(one.image).facts.planes for one in samples] == [1, 1]
    assert file_digest(samples[0].image) == file_digest(Path(samples[0].image))


def test_a_series_can_be_sent_to_another_process(tmp_path: Path):
    write_series(tmp_path / "chest", scan(), name="{}")
    sent = pickle.loads(pickle.dumps(the_series(tmp_path)))  # noqa: S301 - made in this line
    assert open_volume(sent).facts.planes == 4
    for derived in (sent.parent, sent / "x", sent.with_name("y"), sent.resolve(), Path(sent)):
        assert type(derived) is type(tmp_path)


def test_several_series_of_a_folder_are_told_apart_by_their_numbers(tmp_path: Path):
    for number in (2, 11):
        write_series(tmp_path / "study", scan(), name=f"{number}_{{}}.dcm", number=number)
    samples = find_samples(Inputs(images=tmp_path), labels="ignored").samples
    assert [one.id for one in samples] == ["study_s002", "study_s011"]
    assert len({file_digest(one.image) for one in samples}) == 2


def test_the_folder_given_may_be_the_series_itself(tmp_path: Path):
    write_series(tmp_path / "knee", scan())
    (sample,) = find_samples(Inputs(images=tmp_path / "knee"), labels="ignored").samples
    assert sample.id == "knee"


def test_series_of_one_name_get_their_folders_in_front(tmp_path: Path):
    for patient in ("a", "b"):
        write_series(tmp_path / patient / "CT", scan(), patient=patient)
    samples = find_samples(Inputs(images=tmp_path), labels="ignored").samples
    assert [one.id for one in samples] == ["a-CT", "b-CT"]


def test_the_digest_does_not_depend_on_names_and_changes_with_any_file(tmp_path: Path):
    write_series(tmp_path / "one", scan())
    write_series(tmp_path / "other", scan(), name="{}_x.dcm")
    write_series(tmp_path / "changed", scan(seed=1))
    digests = [file_digest(the_series(tmp_path / name)) for name in ("one", "other", "changed")]
    assert digests[0] == digests[1] != digests[2]


def test_scout_images_reports_and_the_index_are_left_out_with_the_reason(tmp_path: Path):
    def scout(data: FileDataset, plane: int) -> None:
        if plane == 3:
            data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    def report(data: FileDataset, _: int) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
        del data.PixelData, data.Rows, data.Columns

    def index(data: FileDataset, plane: int) -> None:
        report(data, plane)
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"

    write_series(tmp_path / "chest", scan(), change=scout)
    write_series(tmp_path / "reports", scan(1), name="r{}.dcm", change=report)
    write_series(tmp_path, scan(1), name="DICOMDIR", change=index)
    found = find_samples(Inputs(images=tmp_path), labels="ignored")
    assert [one.id for one in found.samples] == ["chest"]
    assert open_volume(found.samples[0].image).facts.planes == 3
    reasons = {file.name: one.reason for one in found.left_out for file in one.files}
    assert "LOCALIZER" in reasons["IM-0001-0001.dcm"]
    assert "Comprehensive SR" in reasons["r1.dcm"]
    assert "Directory" in reasons["DICOMDIR"]


def test_missing_slices_are_counted(tmp_path: Path):
    paths = write_series(tmp_path / "chest", scan(8))
    for path in paths[3:5]:
        path.unlink()
    said = problem_of(tmp_path)
    assert "about 2 slices are missing" in said
    assert paths[2].name in said
    assert paths[5].name in said


def test_two_slices_at_one_position_are_named(tmp_path: Path):
    def move(data: FileDataset, plane: int) -> None:
        if plane == 2:
            data.ImagePositionPatient[2] -= THICKNESS

    paths = write_series(tmp_path / "chest", scan(), change=move)
    said = problem_of(tmp_path)
    assert "the same position" in said
    assert paths[1].name in said
    assert paths[2].name in said


@pytest.mark.parametrize(
    ("keyword", "value", "what"),
    [
        ("Columns", 11, "size"),
        ("PixelSpacing", [1, 1], "spacing"),
        ("PatientID", "P-2", "PatientID"),
        ("ImageOrientationPatient", [0, 1, 0, 1, 0, 0], "orientation"),
        ("ImagePositionPatient", None, "position"),
    ],
)
def test_a_change_within_a_series_is_a_problem(tmp_path: Path, keyword: str, value: object, what: str):
    def change(data: FileDataset, plane: int) -> None:
        if plane == 2:
            setattr(data, keyword, value)

    paths = write_series(tmp_path / "chest", scan(), change=change)
    said = problem_of(tmp_path)
    assert what in said
    assert paths[2].name in said
    assert "P-1" not in said


@pytest.mark.parametrize(("numbers", "what"), [((1, 2, 5), "2 slices are missing"), ((1, 2, 2), "InstanceNumber 2")])
def test_instance_numbers_are_checked_without_positions(tmp_path: Path, numbers: tuple[int, ...], what: str):
    def number(data: FileDataset, plane: int) -> None:
        del data.ImagePositionPatient
        data.InstanceNumber = numbers[plane]

    write_series(tmp_path / "chest", scan(3), change=number)
    assert what in problem_of(tmp_path)


def test_a_bad_series_is_left_out_if_asked(tmp_path: Path, memo: Path):
    """The other series is extracted; its slices are one group, which is the patient."""
    write_series(tmp_path / "images" / "good", scan(), patient="P-7")
    write_series(tmp_path / "images" / "bad", scan(), patient="P-8")[1].unlink()
    settings = extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=None)
    with pytest.raises(InputProblemsError, match="1 slice is missing"):
        extract(settings)
    extract(extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=None, on_error="skip"))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert list(store.ids) == [f"good_z00{plane}" for plane in range(4)]
    assert set(store.column("group")) == {"P-7"}
    text = b"".join(path.read_bytes() for path in store.path.rglob("*") if path.is_file())
    assert b"Doe" not in text
    assert b"19700101" not in text


def test_a_pattern_for_groups_wins_over_the_patient(tmp_path: Path, memo: Path):
    """The pattern sees the paths of the files, with their folders."""
    for name in ("site1_a", "site2_b"):
        write_series(tmp_path / "images" / name, scan(2), patient=name)
    extract(extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=None, group_pattern=r"(site\d)_\w/IM"))
    assert list(AttentionStore.open(tmp_path / "s.zarr").column("group")) == ["site1"] * 2 + ["site2"] * 2


def test_slices_with_a_picture_as_mask_each_are_samples_of_one_group(tmp_path: Path, memo: Path):
    """Files of a series stay samples of their own where each has a mask of its name."""
    from PIL import Image

    paths = write_series(tmp_path / "images", scan(), patient="")
    (tmp_path / "masks").mkdir()
    for path, mask in zip(paths, labels_of(), strict=True):
        Image.fromarray(mask * np.uint8(255)).save(tmp_path / "masks" / f"{path.stem}_mask.png")
    extract(extract_settings(tmp_path, tmp_path / "s.zarr", memo))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert list(store.ids) == sorted(path.stem for path in paths)
    assert all(store.labelled)
    assert len(set(store.column("group"))) == 1


def test_a_series_stays_open_while_its_files_are_hashed(tmp_path: Path):
    """Otherwise every slice would read all files of the series again."""
    write_series(tmp_path / "chest", scan(8))
    path = the_series(tmp_path)
    volume = open_volume(path)
    file_digest(path)
    assert open_volume(path) is volume


def test_notes_say_what_the_files_became(tmp_path: Path):
    for name in ("a", "b"):
        write_series(tmp_path / name, scan(3), patient="anonymous", series=f"1.2.3.{ord(name)}")
    notes = find_samples(Inputs(images=tmp_path)).notes
    assert any("6 DICOM files are the slices of 2 series" in note for note in notes)
    assert any("the same PatientID" in note and "--group-pattern" in note for note in notes)
    assert not any("anonymous" in note for note in notes)
    notes = find_samples(Inputs(images=tmp_path, group_pattern="([ab])/")).notes
    assert not any("the same PatientID" in note for note in notes)


def test_a_group_that_is_the_id_wins_over_the_patient(tmp_path: Path):
    """The folder is the patient, and the id too."""
    for name in ("p1", "p2"):
        write_series(tmp_path / name, scan(2), patient="anonymous", series=f"1.2.{name[1]}")
    found = find_samples(Inputs(images=tmp_path, group_pattern=r"(p\d)/"))
    planes, _ = split_into_planes(found.samples)
    assert [plane.group for plane in planes] == ["p1", "p1", "p2", "p2"]
    planes, _ = split_into_planes(find_samples(Inputs(images=tmp_path)).samples)
    assert {plane.group for plane in planes} == {"anonymous"}


@pytest.mark.parametrize("alone", [False, True])
def test_the_images_of_a_store_are_found_again(tmp_path: Path, memo: Path, alone: bool):  # noqa: FBT001 - of the list
    """The page of a report shows slices from the series, or from their own files."""
    paths = write_series(tmp_path / "images" / "chest", scan())
    if alone:
        from PIL import Image

        (tmp_path / "masks").mkdir()
        for path, mask in zip(paths, labels_of(), strict=True):
            Image.fromarray(mask * np.uint8(255)).save(tmp_path / "masks" / f"{path.stem}.png")
    settings = extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=tmp_path / "masks" if alone else None)
    extract(settings)
    store = AttentionStore.open(tmp_path / "s.zarr")
    found = find_images(store, stored_parts(store, range(4)), tmp_path / "images", None)
    assert found.keys() == set(store.ids)
    digests = [read_image(*found[str(identifier)]).digest for identifier in store.ids]
    assert digests == list(store.column("digest"))


def test_folders_of_one_series_are_joined_unless_they_repeat_slices(tmp_path: Path):
    """Many files may be in several folders; time points in folders of their own are volumes of their own."""
    paths = write_series(tmp_path / "large" / "a", scan(6), patient="one")
    (tmp_path / "large" / "b").mkdir()
    for path in paths[3:]:
        path.rename(tmp_path / "large" / "b" / path.name)
    for point in ("t0", "t1"):

        def later(data: FileDataset, _: int, point: str = point) -> None:
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID[:50]}.{point[1]}"

        write_series(tmp_path / "perfusion" / point, scan(4), patient="two", change=later)
    samples = find_samples(Inputs(images=tmp_path), labels="ignored").samples
    assert [(one.id, open_volume(one.image).facts.planes) for one in samples] == [("large", 6), ("t0", 4), ("t1", 4)]
    sources = sorted((tmp_path / "perfusion" / "t1").iterdir(), reverse=True)
    write_seg(tmp_path / "s.dcm", sources, labels_of(), ["lesion"])
    labelled = find_samples(Inputs(images=tmp_path, masks=tmp_path / "s.dcm")).samples
    assert [one.id for one in labelled if one.masks] == ["t1"]


def test_planes_of_the_body_in_folders_of_their_own_are_images_of_their_own(tmp_path: Path):
    def turn(data: FileDataset, plane: int) -> None:
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [0, 500 + plane, 0]

    write_series(tmp_path / "knee" / "axial", scan(4))
    write_series(tmp_path / "knee" / "coronal", scan(3), change=turn)
    samples = find_samples(Inputs(images=tmp_path), labels="ignored").samples
    found = {one.id: open_volume(one.image).facts for one in samples}
    assert {name: (facts.planes, facts.orientation) for name, facts in found.items()} == {
        "axial": (4, "axial"),
        "coronal": (3, "coronal"),
    }
