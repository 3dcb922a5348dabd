"""Patients: from a pattern, from folders, and the note where they are not known."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from stages.errors import InputProblemsError, UsageError
from stages.imaging.pairing import Found, Inputs, find_samples

HASHES = [hashlib.sha256(bytes([number])).hexdigest()[:12] for number in range(200)]


def find(root: Path, *names: str, **options: str) -> Found:
    """Create the files, and find the samples in the root."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return find_samples(Inputs(images=root, **options))


def groups(found: Found) -> dict[str, str]:
    """Return the group of every sample by id."""
    return {sample.id: sample.group for sample in found.samples}


@pytest.mark.parametrize(
    ("pattern", "path", "group"),
    [
        (r"patient(\d+)", "patient07_slice2.png", "07"),
        (r"patient(\d+)", "patient07/slice2.png", "07"),
        (r"^([^/]+)/", "p/x/a.png", "p"),
        (r"(?:a(\d)|b(\d))", "b3.png", "3"),
    ],
)
def test_the_pattern_is_searched_in_the_path(tmp_path: Path, pattern: str, path: str, group: str) -> None:
    """A regular expression finds the patient in file and folder names; the first group that matched counts."""
    found = find(tmp_path, path, group_pattern=pattern)
    assert [sample.group for sample in found.samples] == [group]
    assert found.rule.to_dict()["group_pattern"] == pattern


def test_images_without_a_patient_are_problems(tmp_path: Path) -> None:
    """If the pattern fits some images only, the others are named: as groups of their own they could leak."""
    found = find(tmp_path, "p1_a.png", "p1_b.png", "other.png", group_pattern=r"p(\d)_")
    assert groups(found) == {"p1_a": "1", "p1_b": "1"}
    (problem,) = found.problems
    assert "other.png" in problem.where
    assert "--group-pattern" in problem.what


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("(", "no regular expression"), (r"p\d+", "round brackets"), (r"q(\d+)", "finds nothing")],
)
def test_an_unusable_pattern_is_an_error(tmp_path: Path, pattern: str, expected: str) -> None:
    """The message shows the pattern and says what is wrong with it."""
    with pytest.raises(UsageError, match=expected) as caught:
        find(tmp_path, "p1.png", group_pattern=pattern)
    assert repr(pattern) in str(caught.value)


def test_the_group_is_part_of_the_image_pattern(tmp_path: Path) -> None:
    """`{group}` in the pattern is the patient; it distinguishes images of one name."""
    found = find(tmp_path, "P1/a.png", "P1/b.png", "P2/a.png", image_pattern="{group}/{id}.png")
    assert groups(found) == {"P1-a": "P1", "P1-b": "P1", "P2-a": "P2"}


def test_a_table_of_groups_does_not_depend_on_folders_in_the_ids(tmp_path: Path) -> None:
    """Images of one name in two folders get longer ids; the table names them without the folder."""
    (tmp_path / "Grade.csv").write_text("name,patient ID, grade (GlaS)\ntrain_1,4, benign\n")
    found = find(tmp_path, *(f"{folder}/train_1{ending}.bmp" for folder in "xy" for ending in ("", "_anno")))
    assert groups(found) == {"x-train_1": "4", "y-train_1": "4"}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux, for a file whose reading fails")
def test_a_table_of_groups_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Going on without it would put images of one patient into different splits."""
    (tmp_path / "Grade.csv").symlink_to("/proc/self/mem")
    with pytest.raises(InputProblemsError, match=r"Grade.csv: cannot be read \(Input/output error\)"):
        find(tmp_path, "train_1.bmp", "train_1_anno.bmp")


def test_groups_of_a_layout_do_not_depend_on_folders_in_the_ids(tmp_path: Path) -> None:
    """Slices of one name in `train/` and `test/` get longer ids, and stay with their patient."""
    names = [
        f"{split}/{kind}/patient001_frame01_slice_1.png" for split in ("test", "train") for kind in ("images", "masks")
    ]
    found = find(tmp_path, *names)
    assert groups(found) == {
        "test-patient001_frame01_slice_1": "patient001",
        "train-patient001_frame01_slice_1": "patient001",
    }


def test_the_folder_given_is_no_group(tmp_path: Path) -> None:
    """A pattern with a folder describes folders below the one given; a file beside them is left out."""
    found = find(tmp_path, "P1/a.png", "P1/b.png", "c.png", image_pattern="{group}/{id}.png")
    assert groups(found) == {"a": "P1", "b": "P1"}
    assert [one.files for one in found.left_out] == [(tmp_path / "c.png",)]


@pytest.mark.parametrize("prefix", ["", "images/"])
def test_folders_named_like_patients_are_groups(tmp_path: Path, prefix: str) -> None:
    """`patient01/a.png` is of patient 01; a note says so."""
    found = find(tmp_path, *(f"{prefix}patient{n:02}/{n}{one}.png" for n in (1, 2) for one in "xy"))
    assert groups(found) == {"1x": "patient01", "1y": "patient01", "2x": "patient02", "2y": "patient02"}
    assert any("2 groups of 4 images" in note for note in found.notes)


def test_one_patient_with_two_images_is_enough(tmp_path: Path) -> None:
    """Folders of patients are groups also if nearly all of them hold one image: the others could leak."""
    found = find(tmp_path, *(f"case{n:02}/{n}.png" for n in range(5)), "case00/again.png")
    assert sorted(groups(found).values()) == ["case00", "case00", "case01", "case02", "case03", "case04"]


def test_one_folder_is_no_group(tmp_path: Path) -> None:
    """If all images are in one patient's folder, they are not one group: it could not be split."""
    assert groups(find(tmp_path, "case01/a.png", "case01/b.png")) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("benign/1.png", "benign/2.png", "malignant/3.png", "malignant/4.png"), id="classes"),
        pytest.param(("train/1.png", "train/2.png", "test/3.png", "test/4.png"), id="splits"),
        pytest.param(("40X/1.png", "40X/2.png", "100X/3.png", "100X/4.png"), id="magnifications"),
        pytest.param(("fold1/1.png", "fold1/2.png", "fold2/3.png", "fold2/4.png"), id="folds"),
        pytest.param(("lesion_1.png", "lesion_2.png", "lesion_3.png"), id="numbered"),
        pytest.param(("benign (1).png", "benign (2).png", "malignant (1).png", "malignant (2).png"), id="busi"),
        pytest.param(("ISIC_0000001.jpg", "ISIC_0000002.jpg"), id="isic"),
        pytest.param([f"nuc_{name}.png" for name in HASHES], id="hashes"),
        pytest.param([f"{name}.png" for name in HASHES], id="bare_hashes"),
    ],
)
def test_no_patients_are_seen_where_there_are_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Classes, splits and running numbers are not taken for patients, and no note worries the user."""
    found = find(tmp_path, *names)
    assert all(sample.group == sample.id for sample in found.samples)
    assert found.notes == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            [f"P{n:03}_slice{k}.png" for n in (1, 2, 12) for k in (1, 2)], {"P001", "P002", "P012"}, id="slices"
        ),
        pytest.param([f"x/P{n:03}_slice{k}.png" for n in (1, 2) for k in (1, 2)], {"P001", "P002"}, id="in_a_folder"),
        pytest.param([f"patient{n}-{k}.png" for n in (1, 22) for k in (1, 2)], {"patient1", "patient22"}, id="dash"),
        pytest.param([f"{n}_{eye}.jpg" for n in (1, 12, 123) for eye in "LR"], {"1", "12", "123"}, id="eyes"),
        pytest.param([f"{n}{eye}.jpg" for n in (1, 12) for eye in "LR"], {"1", "12"}, id="eyes_without_separator"),
        pytest.param([f"p{n}s{k}.png" for n in (1, 12) for k in (1, 2)], {"p1", "p12"}, id="slices_without_separator"),
        pytest.param([f"{n}_left.jpg" for n in (1, 2)] + ["1_right.jpg", "2_right.jpg"], {"1", "2"}, id="left_right"),
        pytest.param(
            [f"A{n}-{k}.png" for n in (1, 2) for k in (1, 2)] + ["B3-1.png", "B3-2.png"],
            {"A1", "A2", "B3"},
            id="two_letters",
        ),
        pytest.param(
            [f"TCGA-18-55{n}-01Z-00-DX{k}.png" for n in (92, 93) for k in (1, 2)],
            {"TCGA-18-5592", "TCGA-18-5593"},
            id="tcga",
        ),
        pytest.param([f"{n}/{k}{n}.png" for n in ("a1", "b2") for k in "xy"], {"a1", "b2"}, id="folders"),
    ],
)
def test_a_note_proposes_a_pattern_that_works(tmp_path: Path, names: list[str], expected: set[str]) -> None:
    """Where ids look like several images of a patient, nothing is grouped, and the proposed pattern does group them."""
    found = find(tmp_path, *names)
    assert all(sample.group == sample.id for sample in found.samples)
    (note,) = found.notes
    proposed = re.search(r"--group-pattern '(.+)'$", note)
    assert proposed is not None
    assert set(groups(find(tmp_path, group_pattern=proposed[1])).values()) == expected
