"""DICOM SEG files are labels of the series that they refer to, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from stages.errors import InputProblemsError
from stages.extract import run as extract
from stages.imaging.labels import LabelRules, read_labels
from stages.imaging.pairing import Found, Inputs, find_samples
from stages.imaging.pixel_sizes import sizes_in_files
from stages.imaging.samples import SourceSample
from stages.imaging.source_masks import find_source_masks
from stages.imaging.stored_parts import stored_parts
from stages.imaging.volumes.planes import split_into_planes
from store import AttentionStore
from tests.conftest import extract_settings
from tests.dicom_series import SPACING, labels_of, scan, write_seg, write_series

SIZE = (22, 30)


def masks_of(found: Found, **rules: object) -> list[np.ndarray]:
    """Return the class indices of every plane of all samples."""
    planes, problems = split_into_planes(found.samples)
    assert problems == []
    settled = LabelRules.for_samples(planes, **rules)  # type: ignore[arg-type]
    return [read_labels(plane.masks, settled, SIZE).mask for plane in planes]


def two_classes() -> np.ndarray:
    """Return labels with two segments: the left and the right half of the disc."""
    labels = labels_of()
    labels[..., 13:] *= 2
    return labels


def test_segments_are_classes_by_their_labels(tmp_path: Path):
    """Slices without a frame have no foreground; the files' names do not count."""
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "masks" / "anything", paths, two_classes(), ["Lung left", "Lung right"])
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [mask.label for mask in found.samples[0].masks] == ["Lung left", "Lung right"]
    np.testing.assert_array_equal(np.stack(masks_of(found)), two_classes())


def test_the_order_in_the_file_does_not_count(tmp_path: Path):
    """Frames belong to the slices that they refer to."""
    paths = write_series(tmp_path / "images" / "chest", scan())
    order = [2, 0, 3, 1]
    write_seg(tmp_path / "s.dcm", [paths[at] for at in order], two_classes()[order], ["a", "b"])
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    np.testing.assert_array_equal(np.stack(masks_of(found)), two_classes())


def test_without_references_of_frames_their_position_counts(tmp_path: Path):
    def strip(data: pydicom.Dataset) -> None:
        for frame in data.PerFrameFunctionalGroupsSequence:
            del frame.DerivationImageSequence

    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, two_classes(), ["a", "b"], change=strip)
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    np.testing.assert_array_equal(np.stack(masks_of(found)), two_classes())


def test_a_seg_beside_the_series_is_used_without_being_given(tmp_path: Path):
    paths = write_series(tmp_path / "chest", scan())
    write_seg(tmp_path / "chest" / "seg.dcm", paths, labels_of(), ["lesion"])
    found = find_samples(Inputs(images=tmp_path))
    assert len(found.samples[0].masks) == 1
    assert any("no --masks given" in note for note in found.notes)
    ignored = find_samples(Inputs(images=tmp_path), labels="ignored")
    assert ignored.samples[0].masks == ()
    assert any("DICOM SEG" in one.reason for one in ignored.left_out)


def test_every_series_gets_its_own_labels(tmp_path: Path):
    """Labels are matched by what they refer to; one of a series that is not there is a problem."""
    for name in ("a", "b", "c"):
        paths = write_series(tmp_path / "images" / name, scan(), patient=name)
        write_seg(tmp_path / "masks" / f"{'cab'['abc'.index(name)]}.dcm", paths, labels_of(), [f"of {name}"])
    for path in (tmp_path / "images" / "c").iterdir():
        path.unlink()
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [(one.id, one.masks[0].label) for one in found.samples] == [("a", "of a"), ("b", "of b")]
    (problem,) = found.problems
    assert "b.dcm: is a DICOM SEG of a series that is not among the images" in str(problem)


def test_fractions_need_a_threshold(tmp_path: Path):
    paths = write_series(tmp_path / "images" / "chest", scan())
    fractions = np.zeros((4, *SIZE), np.uint8)
    fractions[1, :11], fractions[1, :, :9], fractions[2, 3, 4] = 100, 200, 1
    write_seg(tmp_path / "s.dcm", paths, fractions, ["lesion"], fractional=True)
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    with pytest.raises(InputProblemsError, match=r"s\.dcm"):
        masks_of(found)
    for threshold in (0.3, 0.7):
        expected = (fractions >= threshold * 255).astype(np.uint8)
        np.testing.assert_array_equal(np.stack(masks_of(found, threshold=threshold)), expected)


def test_overlapping_segments_are_labels_of_their_own(tmp_path: Path):
    both = np.zeros((4, *SIZE, 2), np.uint8)
    both[1, 2:9, 3:9, 0] = both[1, 5:14, 3:12, 1] = 1
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, both, ["organ", "tumour"])
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    with pytest.raises(InputProblemsError, match="--labels multilabel"):
        masks_of(found)
    bits = np.stack(masks_of(found, kind="multilabel"))
    np.testing.assert_array_equal(bits, both[..., 0] + 2 * both[..., 1])


def test_a_seg_of_a_single_image_belongs_to_that_file(tmp_path: Path):
    """Files that stay samples of their own are found by their SOPInstanceUID."""

    def single(data: pydicom.Dataset, plane: int) -> None:
        data.SeriesInstanceUID += f".{plane}"

    paths = write_series(tmp_path / "images", scan(), change=single)
    write_seg(tmp_path / "s.dcm", paths[2:3], labels_of()[2:3], ["lesion"])
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    labelled = [one for one in found.samples if one.masks]
    assert [one.image.name for one in labelled] == [paths[2].name]
    rules = LabelRules.for_samples(labelled)
    np.testing.assert_array_equal(read_labels(labelled[0].masks, rules, SIZE).mask, labels_of()[2])


def _shift(data: pydicom.Dataset) -> None:
    for frame in data.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[0] += 3


def _turn(data: pydicom.Dataset) -> None:
    shared = data.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def _unknown(data: pydicom.Dataset) -> None:
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence, frame.PlanePositionSequence


def _between(data: pydicom.Dataset) -> None:
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_shift, "lies 3 mm from its image"),
        (_turn, "turned against it"),
        (_unknown, "refers to no slice"),
        (_between, "lies on no slice"),
    ],
)
def test_labels_that_lie_elsewhere_are_refused(tmp_path: Path, change: object, what: str):
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, labels_of(), ["lesion"], change=change)  # type: ignore[arg-type]
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm"))
    samples, problems = split_into_planes(found.samples)
    assert samples == []
    assert what in str(problems[0])


def test_two_files_of_one_class_are_a_problem(tmp_path: Path):
    """Labels of two readers are never united without a word."""
    paths = write_series(tmp_path / "images" / "chest", scan())
    for reader in ("r1", "r2"):
        write_seg(tmp_path / "masks" / f"{reader}.dcm", paths, labels_of(), ["lesion"])
    with pytest.raises(InputProblemsError, match="several masks of the same class"):
        find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))


def test_the_store_has_the_labels_and_the_evaluation_finds_them_again(tmp_path: Path, memo: Path):
    paths = write_series(tmp_path / "data" / "images" / "chest", scan())
    write_seg(tmp_path / "data" / "masks" / "x.dcm", paths, two_classes(), ["left", "right"])
    settings = extract_settings(tmp_path / "data", tmp_path / "s.zarr", memo)
    extract(settings)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.classes == ["background", "left", "right"]
    assert store.column("group")[0] == "P-1"
    assert [store[plane].labelled for plane in range(4)] == [True] * 4
    parts = stored_parts(store, range(4))
    found = find_source_masks(parts, store.description.masks, masks=tmp_path / "data")
    rules = LabelRules.from_source(store.description.masks, store.classes)
    read = [read_labels(found[f"chest_z00{plane}"], rules, SIZE).mask for plane in range(4)]
    np.testing.assert_array_equal(np.stack(read), two_classes())
    assert sizes_in_files(found) == dict.fromkeys(found, SPACING)
    with pytest.raises(InputProblemsError, match="the folder that holds both"):
        find_source_masks(parts, store.description.masks, masks=tmp_path / "data" / "masks")


def test_a_sample_keeps_its_labels_when_it_is_sent(tmp_path: Path):
    import pickle

    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, labels_of(), ["lesion"])
    samples = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm")).samples
    sent: list[SourceSample] = pickle.loads(pickle.dumps(samples))  # noqa: S301 - made in this line
    planes, _ = split_into_planes(sent)
    mask = read_labels(planes[3].masks, LabelRules.for_samples(planes), SIZE).mask
    np.testing.assert_array_equal(mask, labels_of()[3])


def test_every_segment_is_an_object(tmp_path: Path):
    """Segments of one label are one class and several objects."""
    labels = np.zeros((4, *SIZE), np.uint8)
    labels[1, 2:5, 2:5], labels[1, 2:5, 5:9], labels[1, 10:14, 3:8] = 1, 2, 3
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, labels, ["nodule", "nodule", "nodule"])
    planes, _ = split_into_planes(find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm")).samples)
    rules = LabelRules.for_samples(planes, kind="instances")
    assert rules.classes.names == ("background", "nodule")
    np.testing.assert_array_equal(read_labels(planes[1].masks, rules, SIZE).instances, labels[1])
    classes = LabelRules.for_samples(planes)
    np.testing.assert_array_equal(read_labels(planes[1].masks, classes, SIZE).mask, labels[1] > 0)


def test_the_regions_of_a_single_segment_are_objects(tmp_path: Path):
    labels = np.zeros((4, *SIZE), np.uint8)
    labels[1, 2:5, 2:5] = labels[1, 10:14, 3:8] = 1
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, labels, ["nodule"])
    planes, _ = split_into_planes(find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm")).samples)
    read = read_labels(planes[1].masks, LabelRules.for_samples(planes, kind="instances"), SIZE).instances
    assert read is not None
    assert read.max() == 2


def test_fractions_are_no_objects(tmp_path: Path):
    paths = write_series(tmp_path / "images" / "chest", scan())
    write_seg(tmp_path / "s.dcm", paths, labels_of() * np.uint8(90), ["nodule"], fractional=True)
    planes, _ = split_into_planes(find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "s.dcm")).samples)
    with pytest.raises(InputProblemsError, match="fractional segments"):
        read_labels(planes[1].masks, LabelRules.for_samples(planes, kind="instances"), SIZE)
