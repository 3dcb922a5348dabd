"""Matching images with masks by name: all layouts of data sets, and a problem for every ambiguity."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.listing import EXTENSIONS
from stages.imaging.pairing import MASK_ENDINGS, Inputs, SourceSample, find_samples
from stages.imaging.samples import id_problem

Touch = Callable[..., None]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Return a function that creates empty files; matching never opens them."""

    def make(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def find(images: Path, masks: Path | None = None) -> tuple[list[SourceSample], list[Problem]]:
    """Return the samples and the problems."""
    found = find_samples(Inputs(images=images, masks=masks))
    return found.samples, found.problems


def pairs(samples: list[SourceSample], root: Path) -> dict[str, tuple[str, str | None]]:
    """Return image and mask of every id, relative to the root."""
    return {
        sample.id: (
            sample.image.relative_to(root).as_posix(),
            sample.masks[0].path.relative_to(root).as_posix() if sample.masks else None,
        )
        for sample in samples
    }


@pytest.mark.parametrize("ending", ["", *MASK_ENDINGS])
@pytest.mark.parametrize(("image", "mask"), [("jpg", "png"), ("JPG", "PNG"), ("tiff", "bmp"), ("jpeg", "TIF")])
def test_masks_are_found_by_every_ending_and_extension(
    tmp_path: Path, touch: Touch, ending: str, image: str, mask: str
) -> None:
    """The four names of a mask work with any two extensions, in upper and lower case."""
    touch(f"images/b.{image}", f"images/a.{image}", f"masks/a{ending}.{mask}", f"masks/b{ending}.{mask}")
    samples, problems = find(tmp_path / "images", tmp_path / "masks")
    assert pairs(samples, tmp_path) == {
        name: (f"images/{name}.{image}", f"masks/{name}{ending}.{mask}") for name in ("a", "b")
    }
    assert [sample.id for sample in samples] == ["a", "b"]
    assert [(sample.group, sample.split) for sample in samples] == [("a", ""), ("b", "")]
    assert problems == []


def test_without_masks_every_picture_is_an_image(tmp_path: Path, touch: Touch) -> None:
    """If all pictures are named like masks, they are images."""
    touch("a_mask.png", "sub/b_mask.png", "notes.txt")
    samples, problems = find(tmp_path)
    assert pairs(samples, tmp_path) == {"a_mask": ("a_mask.png", None), "b_mask": ("sub/b_mask.png", None)}
    assert problems == []


def test_a_mask_without_its_image_is_no_image(tmp_path: Path, touch: Touch) -> None:
    """Beside images, a picture named like a mask is a problem for extraction, and left out of prediction."""
    touch("a.png", "sub/b_mask.png")
    samples, problems = find(tmp_path)
    assert pairs(samples, tmp_path) == {"a": ("a.png", None)}
    assert [problem.where.endswith("b_mask.png") for problem in problems] == [True]
    found = find_samples(Inputs(images=tmp_path), labels="ignored")
    assert [sample.id for sample in found.samples] == ["a"]
    assert [file.name for one in found.left_out for file in one.files] == ["b_mask.png"]


def test_a_single_image_is_a_sample(tmp_path: Path, touch: Touch) -> None:
    """One image may be given instead of a folder; its mask may be among others."""
    touch("a.png", "masks/a_mask.png", "masks/b_mask.png")
    samples, problems = find(tmp_path / "a.png", tmp_path / "masks")
    assert pairs(samples, tmp_path) == {"a": ("a.png", "masks/a_mask.png")}
    assert problems == []


def test_the_tree_of_ph2_is_matched(tmp_path: Path, touch: Touch) -> None:
    """PH2's images and lesions are matched from one root; its colour regions are neither images nor problems."""
    for number in ("002", "003"):
        root = f"IMD{number}/IMD{number}"
        touch(f"{root}_Dermoscopic_Image/IMD{number}.bmp", f"{root}_lesion/IMD{number}_lesion.bmp")
        touch(f"{root}_roi/IMD{number}_R1_Label3.bmp", f"{root}_roi/IMD{number}_R2_Label4.bmp")
    samples, problems = find(tmp_path, tmp_path)
    root = "IMD003/IMD003"
    assert [sample.id for sample in samples] == ["IMD002", "IMD003"]
    assert pairs(samples, tmp_path)["IMD003"] == (
        f"{root}_Dermoscopic_Image/IMD003.bmp",
        f"{root}_lesion/IMD003_lesion.bmp",
    )
    assert problems == []


def test_an_image_without_mask_in_one_tree_is_still_a_sample(tmp_path: Path, touch: Touch) -> None:
    """The rule that skips PH2's regions does not skip an image whose name only begins like that of another."""
    touch("a.png", "a_mask.png", "a_2.png")
    samples, problems = find(tmp_path, tmp_path)
    assert pairs(samples, tmp_path) == {"a": ("a.png", "a_mask.png"), "a_2": ("a_2.png", None)}
    assert problems == []


@pytest.mark.parametrize(
    ("images", "masks", "files"),
    [
        pytest.param("d", "d", ["d/a.jpg", "d/a_segmentation.png"], id="same_folder"),
        pytest.param("d", "d/masks", ["d/a.jpg", "d/masks/a.png"], id="masks_inside_images"),
        pytest.param("d/images", "d", ["d/images/a.jpg", "d/a_mask.png"], id="images_inside_masks"),
        pytest.param("d", "d/../d/masks", ["d/a.jpg", "d/masks/a_mask.png"], id="given_by_another_path"),
    ],
)
def test_images_and_masks_in_one_tree_are_separated(
    tmp_path: Path, touch: Touch, images: str, masks: str, files: list[str]
) -> None:
    """A mask in the tree of the images is never used as an image, nor an image as a mask."""
    touch(*files)
    samples, problems = find(tmp_path / images, tmp_path / masks)
    assert [(sample.id, sample.image.name) for sample in samples] == [("a", "a.jpg")]
    assert samples[0].masks[0].path.resolve() == tmp_path / files[1]
    assert problems == []


def test_superpixels_of_isic_are_not_images(tmp_path: Path, touch: Touch) -> None:
    """ISIC 2017 has `<id>_superpixels.png` in the folder of the images."""
    touch("images/ISIC_1.jpg", "images/ISIC_1_superpixels.png", "masks/ISIC_1_segmentation.png")
    samples, problems = find(tmp_path / "images", tmp_path / "masks")
    assert [sample.id for sample in samples] == ["ISIC_1"]
    assert problems == []


def test_a_mask_named_as_an_image_belongs_to_that_image(tmp_path: Path, touch: Touch) -> None:
    """If there is an image `a_mask`, `a_mask.png` is its mask and not the mask of `a`."""
    touch("images/a.png", "images/a_mask.png", "masks/a_mask.png")
    samples, _ = find(tmp_path / "images", tmp_path / "masks")
    assert pairs(samples, tmp_path) == {
        "a": ("images/a.png", None),
        "a_mask": ("images/a_mask.png", "masks/a_mask.png"),
    }


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        pytest.param(["images/a.png"], ["b"], id="same_stem_with_other_extension"),
        pytest.param(["masks/a.png"], ["b"], id="two_masks"),
        pytest.param(["masks/sub/a_mask.png"], ["b"], id="two_masks_in_subfolders"),
        pytest.param(["masks/c_mask.png"], ["a", "b"], id="mask_without_image"),
    ],
)
def test_ambiguity_is_a_problem_and_not_a_sample(
    tmp_path: Path, touch: Touch, extra: list[str], kept: list[str]
) -> None:
    """Every ambiguous file gives one problem that names it, and it is not in any sample."""
    touch("images/a.jpg", "images/b.jpg", "masks/a_mask.png", "masks/b_mask.png", *extra)
    samples, problems = find(tmp_path / "images", tmp_path / "masks")
    assert [sample.id for sample in samples] == kept
    assert all(sample.masks for sample in samples)
    (problem,) = problems
    assert str(tmp_path / extra[0]) in str(problem)
    if kept == ["b"]:
        assert str(tmp_path / "images" / "a") in str(problem) or str(tmp_path / "masks" / "a") in str(problem)


def test_no_match_at_all_shows_the_rule_and_the_names(tmp_path: Path, touch: Touch) -> None:
    """If no name matches, the message shows the rule, and names of images and masks."""
    touch("images/x1.png", "masks/seg-x1.png")
    with pytest.raises(InputProblemsError) as caught:
        find(tmp_path / "images", tmp_path / "masks")
    for expected in ("x1.png", "seg-x1.png", "<id>_segmentation", "--csv"):
        assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("images", "masks"),
    [("nowhere", None), ("images", "nowhere"), ("images", "images/a.png")],
    ids=["no_images_folder", "no_masks_folder", "masks_is_a_file"],
)
def test_a_missing_folder_is_a_usage_error(tmp_path: Path, touch: Touch, images: str, masks: str | None) -> None:
    """The message names a path that is not a folder."""
    touch("images/a.png")
    with pytest.raises(UsageError, match=r"nowhere|a\.png"):
        find(tmp_path / images, tmp_path / masks if masks else None)


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path, touch: Touch) -> None:
    """The message lists files of the folder, so that a wrong folder is noticed."""
    touch("images/scan.h5")
    with pytest.raises(InputProblemsError, match=r"scan\.h5"):
        find(tmp_path / "images")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_locked_subfolder_is_a_problem(tmp_path: Path, touch: Touch) -> None:
    """A folder that cannot be listed is reported, and the rest is used."""
    touch("a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    samples, problems = find(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert [sample.id for sample in samples] == ["a"]
    assert str(tmp_path / "locked") in problems[0].where


def test_hidden_files_and_link_loops_are_skipped(tmp_path: Path, touch: Touch) -> None:
    """Hidden files are no images, a loop of links ends, and linked files and folders are used once."""
    touch("images/a.png", "images/._a.png", "images/.trash/b.png", "elsewhere/c.png", "more/d.png")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "linked.png").symlink_to(tmp_path / "elsewhere" / "c.png")
    (tmp_path / "images" / "folder").symlink_to(tmp_path / "more")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "more")
    samples, problems = find(tmp_path / "images")
    assert [sample.id for sample in samples] == ["a", "d", "linked"]
    assert problems == []


def test_a_broken_link_is_a_problem(tmp_path: Path, touch: Touch) -> None:
    """A link to a missing file, such as one that was not pulled, is reported before anything is decoded."""
    touch("a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    samples, problems = find(tmp_path)
    assert [sample.id for sample in samples] == ["a"]
    assert problems[0].where == str(tmp_path / "b.png")


def test_composed_and_decomposed_names_match(tmp_path: Path, touch: Touch) -> None:
    """A mask with a decomposed name, as on macOS, is matched; the id is in normal form C."""
    touch(unicodedata.normalize("NFC", "images/névus.png"), unicodedata.normalize("NFD", "masks/névus_mask.png"))
    samples, problems = find(tmp_path / "images", tmp_path / "masks")
    assert [sample.id for sample in samples] == [unicodedata.normalize("NFC", "névus")]
    assert samples[0].masks
    assert problems == []


@pytest.mark.parametrize(
    "name",
    [b"new\nline.png", b"back\\slash.png", b"x" * 201 + b".png", b"latin1-\xe9.png", b"\xe2\x80\xa8.png"],
    ids=["line_break", "backslash", "too_long", "not_utf8", "line_separator"],
)
def test_a_name_that_cannot_be_an_id_is_a_problem(tmp_path: Path, touch: Touch, name: bytes) -> None:
    """The file is left out, and its problem fits on one line."""
    touch("a.png")
    (tmp_path / os.fsdecode(name)).touch()
    samples, problems = find(tmp_path)
    assert [sample.id for sample in samples] == ["a"]
    assert str(problems[0]).encode().decode().count("\n") == 0


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/b", "a\\b", "a\0", "a\x7f", "é" * 101])
def test_bad_ids_are_rejected(identifier: str) -> None:
    """An id must be usable as a file name on every system."""
    assert id_problem(identifier) is not None


def test_an_id_of_200_bytes_is_good() -> None:
    """An id of exactly the longest length is valid."""
    assert id_problem("é" * 100) is None


def test_a_table_and_a_masks_folder_exclude_each_other(tmp_path: Path) -> None:
    """A table names the masks itself, so a folder of masks would be silently ignored."""
    with pytest.raises(UsageError, match="not both"):
        find_samples(Inputs(images=tmp_path, masks=tmp_path, csv=tmp_path / "t.csv"))


# No capitals: on some file systems `A` and `a` are the same name.
LETTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z", "Lu", "Lt"), exclude_characters="/\\._")
NAMES = st.text(LETTERS, min_size=1)
FILES = st.tuples(st.sampled_from(EXTENSIONS), st.sampled_from(EXTENSIONS), st.sampled_from(["", *MASK_ENDINGS, None]))


@settings(max_examples=40, deadline=None)
@given(
    chosen=st.dictionaries(NAMES.map(lambda name: unicodedata.normalize("NFC", name)[:20]), FILES, min_size=1),
    upper=st.booleans(),
)
def test_any_names_pair_up(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, tuple[str, str, str | None]], *, upper: bool
) -> None:
    """With any names, extensions and endings, each image gets its own mask and no other."""
    root = tmp_path_factory.mktemp("pairing")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    case = str.upper if upper else str.lower
    expected: dict[str, tuple[str, str | None]] = {"always": ("images/always.png", "masks/always.png")}
    for name, (of_image, of_mask, ending) in chosen.items():
        mask_name = None if ending is None else f"masks/{name}{ending}{case(of_mask)}"
        expected[name] = (f"images/{name}{case(of_image)}", mask_name)
    for image, mask in expected.values():
        (root / image).touch()
        if mask is not None:
            (root / mask).touch()
    samples, problems = find(root / "images", root / "masks")
    assert pairs(samples, root) == expected
    assert [sample.id for sample in samples] == sorted(expected)
    assert problems == []


def test_masks_of_refused_images_are_listed_in_the_order_of_their_ids(tmp_path: Path, touch: Touch) -> None:
    """Two runs over the same files print the same; the order of a set differs from process to process."""
    names = [f"{letter}{number}" for number in range(2) for letter in "dbca"]
    touch("images/whole.png", *(f"images/{name}.{end}" for name in names for end in ("png", "jpg")))
    touch(*(f"masks/{name}.png" for name in ("whole", *names)))
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [sample.id for sample in found.samples] == ["whole"]
    listed = [one.files for one in found.left_out if one.reason == "masks of images with a problem"]
    assert [[file.stem for file in files] for files in listed] == [sorted(names)]
