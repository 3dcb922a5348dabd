"""Every layout in the table is recognised in a miniature of its data set, and read from it completely."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import InputProblemsError, UsageError
from stages.imaging.layouts import LAYOUTS
from stages.imaging.pairing import Found, Inputs, PairingRule, find_masks, find_samples
from tests.stages.imaging.miniatures import MINIATURES, Miniature

ALL = pytest.mark.parametrize("miniature", MINIATURES.values(), ids=MINIATURES.keys())


def files_of(found: Found, root: Path) -> dict[str, tuple[str, ...]]:
    """Return the image and the masks of every sample, relative to the root."""
    return {
        sample.id: tuple(
            path.relative_to(root).as_posix() for path in (sample.image, *(mask.path for mask in sample.masks))
        )
        for sample in found.samples
    }


def left_out(found: Found, root: Path) -> dict[str, str]:
    """Return the reason of every file that is left out, by its path relative to the root."""
    return {path.relative_to(root).as_posix(): one.reason for one in found.left_out for path in one.files}


def check(found: Found, miniature: Miniature, root: Path) -> None:
    """Check the samples, their classes and groups."""
    assert files_of(found, root) == miniature.pairs
    assert found.problems == []
    assert found.rule.layout == miniature.layout
    assert found.labels == miniature.labels
    assert found.classes == miniature.classes
    assert {sample.id: sample.group for sample in found.samples} == {
        identifier: miniature.groups.get(identifier, identifier) for identifier in miniature.pairs
    }
    labels = {mask.path.name: mask.label for sample in found.samples for mask in sample.masks if mask.label}
    assert labels == miniature.class_files


def test_every_layout_has_a_miniature() -> None:
    """A new entry of the table needs a miniature of its data set; the two general layouts are tested by themselves."""
    assert {one.layout for one in MINIATURES.values()} == LAYOUTS.keys() - {"names", "folders"}


@ALL
def test_a_root_folder_is_recognised_and_read_completely(tmp_path: Path, miniature: Miniature) -> None:
    """With one root and no further option, all pairs are found, and every other file is named with the reason."""
    root = miniature.write(tmp_path)
    found = find_samples(Inputs(images=root))
    check(found, miniature, root)
    reasons = left_out(found, root)
    assert reasons.keys() == miniature.others.keys() | set(miniature.test_images.values())
    assert {
        file: reason for file, reason in reasons.items() if miniature.others.get(file, "test images") not in reason
    } == {}
    assert miniature.layout in str(found.rule)
    assert "recognised by" in str(found.rule)


@ALL
def test_the_same_root_as_images_and_as_masks_gives_the_same(tmp_path: Path, miniature: Miniature) -> None:
    """`--images ROOT --masks ROOT` is the same as `--images ROOT`."""
    root = miniature.write(tmp_path)
    check(find_samples(Inputs(images=root, masks=root)), miniature, root)


@ALL
def test_a_layout_can_be_stated(tmp_path: Path, miniature: Miniature) -> None:
    """`--layout NAME` finds the same pairs without recognition."""
    root = miniature.write(tmp_path)
    found = find_samples(Inputs(images=root, layout=miniature.layout))
    check(found, miniature, root)


@pytest.mark.parametrize(
    ("miniature", "images", "masks"),
    [pytest.param(one, *pair, id=name) for name, one in MINIATURES.items() for pair in one.folders],
)
def test_images_and_masks_may_be_given_as_two_folders(
    tmp_path: Path, miniature: Miniature, images: str, masks: str
) -> None:
    """The data set's own two folders give the same samples as its root. `names` finds the same where it can."""
    root = miniature.write(tmp_path)
    found = find_samples(Inputs(images=root / images, masks=root / masks))
    assert files_of(found, root) == miniature.pairs
    assert found.problems == []
    assert found.classes == miniature.classes
    assert found.labels == miniature.labels
    assert found.rule.layout == ("names" if LAYOUTS[miniature.layout].one_root else miniature.layout)
    again, problems = find_masks(set(miniature.pairs), PairingRule.from_dict(found.rule.to_dict()), masks=root / masks)
    assert again == {sample.id: sample.masks for sample in found.samples}
    assert problems == []


@ALL
def test_masks_are_found_again_by_the_recorded_rule(tmp_path: Path, miniature: Miniature) -> None:
    """What a store records of the pairing finds the same masks for `evaluate --masks ROOT`."""
    root = miniature.write(tmp_path)
    found = find_samples(Inputs(images=root))
    rule = PairingRule.from_dict(found.rule.to_dict())
    masks, problems = find_masks(set(miniature.pairs), rule, masks=root)
    assert masks == {sample.id: sample.masks for sample in found.samples}
    assert problems == []


@ALL
def test_prediction_takes_all_images_and_no_mask(tmp_path: Path, miniature: Miniature) -> None:
    """Where labels are ignored, test images are used too, and masks are named as left out."""
    root = miniature.write(tmp_path)
    found = find_samples(Inputs(images=root), labels="ignored")
    expected = {identifier: (files[0],) for identifier, files in miniature.pairs.items()}
    expected |= {identifier: (file,) for identifier, file in miniature.test_images.items()}
    assert files_of(found, root) == expected
    masks = {file for files in miniature.pairs.values() for file in files[1:] if file != files[0]}
    assert left_out(found, root).keys() == masks | miniature.others.keys()


def test_a_stated_layout_fits_renamed_folders(tmp_path: Path) -> None:
    """With two folders and `--layout`, the folders' own names do not count."""
    for name in ("pictures/case_1_0000.png", "truth/case_1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = find_samples(Inputs(images=tmp_path / "pictures", masks=tmp_path / "truth", layout="nnunet"))
    assert files_of(found, tmp_path) == {"case_1": ("pictures/case_1_0000.png", "truth/case_1.png")}


def test_the_second_annotator_of_drive_can_be_chosen(tmp_path: Path) -> None:
    """A folder that is left out by default is used if it is given."""
    MINIATURES["drive"].write(tmp_path)
    found = find_samples(Inputs(images=tmp_path / "test/images", masks=tmp_path / "test/2nd_manual"))
    assert files_of(found, tmp_path) == {"01": ("test/images/01_test.tif", "test/2nd_manual/01_manual2.gif")}


def test_two_layouts_that_fit_equally_are_refused(tmp_path: Path) -> None:
    """ISIC's Task 1 and Task 2 in one root are two sets of labels; the message names both layouts."""
    MINIATURES["isic_2018_task_2"].write(tmp_path)
    (tmp_path / "ISIC_0000000_segmentation.png").touch()
    with pytest.raises(UsageError, match="--layout isic or --layout isic_attributes"):
        find_samples(Inputs(images=tmp_path))
    found = find_samples(Inputs(images=tmp_path, layout="isic"))
    assert [mask.path.name for mask in found.samples[0].masks] == ["ISIC_0000000_segmentation.png"]
    assert left_out(found, tmp_path).keys() == set(MINIATURES["isic_2018_task_2"].pairs["ISIC_0000000"][1:])


def test_further_channels_of_nnunet_are_refused(tmp_path: Path) -> None:
    """An image of several files would lose all but its first channel, so it is a problem and no sample."""
    MINIATURES["nnunet"].write(tmp_path)
    (tmp_path / "Dataset001_Glands/imagesTr/gland_001_0001.png").touch()
    found = find_samples(Inputs(images=tmp_path))
    assert [sample.id for sample in found.samples] == ["gland_002"]
    (problem,) = found.problems
    assert "gland_001_0000.png" in problem.where
    assert "gland_001_0001.png" in problem.what
    assert "several files are not read yet" in problem.what


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"labels": {"background": 0, "b": 2}}', {"background": 0, "b": 2}, id="version_2"),
        pytest.param('{"labels": {"0": "background", "2": "b"}}', {"background": 0, "b": 2}, id="version_1"),
        pytest.param('{"name": "x"}', None, id="no_labels"),
        pytest.param('{"labels": {"whole": [1, 2], "core": 2}}', "region", id="regions"),
        pytest.param('{"labels": {"a": 1.5}}', "whole number", id="fraction"),
        pytest.param('{"labels": {"a": 1, "b": 1}}', "twice", id="same_value"),
        pytest.param('{"labels": [1]}', "names with values", id="list"),
        pytest.param("{", "not JSON", id="damaged"),
    ],
)
def test_classes_are_read_from_the_description_of_nnunet(tmp_path: Path, text: str, expected: object) -> None:
    """Both versions of `dataset.json` are read; anything else is an error that names the file and `--classes`."""
    MINIATURES["nnunet"].write(tmp_path)
    (tmp_path / "Dataset001_Glands/dataset.json").write_text(text)
    if not isinstance(expected, str):
        assert find_samples(Inputs(images=tmp_path)).classes == expected
        return
    with pytest.raises(InputProblemsError, match=expected) as caught:
        find_samples(Inputs(images=tmp_path))
    assert "dataset.json" in str(caught.value)
    assert "--classes" in str(caught.value)


def test_two_nnunet_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    """Their classes may differ, so no one description is right for both."""
    MINIATURES["nnunet"].write(tmp_path)
    MINIATURES["nnunet"].write(tmp_path / "other")
    with pytest.raises(UsageError, match="several data sets"):
        find_samples(Inputs(images=tmp_path))


def test_the_table_of_groups_may_lie_beside_the_folders(tmp_path: Path) -> None:
    """If images and masks are given as two folders, HAM10000's metadata is found in the folder above them."""
    miniature = MINIATURES["ham10000"]
    miniature.write(tmp_path)
    for image, _ in miniature.pairs.values():
        target = tmp_path / "all" / Path(image).name
        target.parent.mkdir(exist_ok=True)
        target.touch()
    found = find_samples(Inputs(images=tmp_path / "all", masks=tmp_path / "HAM10000_segmentations_lesion_tschandl"))
    assert {sample.id: sample.group for sample in found.samples} == miniature.groups


def test_a_description_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    """A file of 17 MiB is no list of classes; it is refused before it fills the memory."""
    MINIATURES["nnunet"].write(tmp_path)
    with (tmp_path / "Dataset001_Glands/dataset.json").open("r+b") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(InputProblemsError, match="16 MiB"):
        find_samples(Inputs(images=tmp_path))


def test_a_table_without_the_columns_of_groups_is_said(tmp_path: Path) -> None:
    """Without HAM10000's lesion ids, images of one lesion may be in two splits; a note says that none were read."""
    MINIATURES["ham10000"].write(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_text("image,dx\nISIC_0024306,bkl\n")
    found = find_samples(Inputs(images=tmp_path))
    assert [sample.group for sample in found.samples] == [sample.id for sample in found.samples]
    assert any("no groups read" in note and "lesion_id" in note for note in found.notes)
