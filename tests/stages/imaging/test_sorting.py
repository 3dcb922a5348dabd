"""Every file is used, is a problem, or is named with the reason. Images of one name are distinguished by folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import InputProblemsError, UsageError
from stages.imaging.pairing import Found, Inputs, PairingRule, find_masks, find_samples

Touch = Callable[..., None]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Return a function that creates empty files."""

    def make(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def pairs(found: Found) -> dict[str, tuple[str, ...]]:
    """Return the names of the image and the masks of every sample."""
    return {one.id: (one.image.name, *(mask.path.name for mask in one.masks)) for one in found.samples}


def reasons(found: Found) -> dict[str, str]:
    """Return the reason of every file that is left out, by its name."""
    return {file.name: one.reason for one in found.left_out for file in one.files}


def test_every_kind_of_file_is_named_with_its_reason(tmp_path: Path, touch: Touch) -> None:
    """Formats that are not read, other files and hidden files are listed, one entry for a reason."""
    touch("a.png", "b.webp", "c.GIF", "scan.mat", "scan2.MAT", "x/v.nrrd", "p.psd", "s.czi", "a.npy", "v.h5")
    touch("all.zip", "t.npz", "list.csv", "Thumbs.db", "README", ".DS_Store", ".cache/x.png", "settings.json")
    found = find_samples(Inputs(images=tmp_path))
    assert [one.id for one in found.samples] == ["a", "b", "c"]
    expected = {
        "scan.mat": "MATLAB",
        "scan2.MAT": "MATLAB",
        "v.nrrd": "NRRD",
        "p.psd": "other picture",
        "s.czi": "whole-slide",
        "a.npy": "NumPy arrays named like pictures",
        "t.npz": "NumPy",
        "v.h5": "HDF5",
        "all.zip": "archive",
        "list.csv": "not pictures",
        "Thumbs.db": "not pictures",
        "README": "not pictures",
        ".DS_Store": "hidden",
        ".cache": "hidden",
        "settings.json": "not used as annotations",
    }
    assert reasons(found).keys() == expected.keys()
    assert [name for name, reason in reasons(found).items() if expected[name] not in reason] == []
    assert len({one.reason for one in found.left_out}) == len(found.left_out)


def test_a_sentence_has_the_count_and_three_examples(tmp_path: Path, touch: Touch) -> None:
    """Ten thousand files of one kind are one sentence."""
    touch("a.png", *(f"{number}.mat" for number in range(5)))
    (one,) = find_samples(Inputs(images=tmp_path)).left_out
    text = str(one)
    assert text.startswith("5 files left out: MATLAB")
    assert [name in text for name in ("0.mat", "1.mat", "2.mat", "3.mat")] == [True, True, True, False]


def test_a_folder_of_other_formats_names_them(tmp_path: Path, touch: Touch) -> None:
    """If nothing can be read, the message names the formats, also in sub-folders."""
    touch("p1/scan.mat", "p2/volume.mha")
    with pytest.raises(InputProblemsError, match="MATLAB, MetaImage or NRRD and other formats are not read") as caught:
        find_samples(Inputs(images=tmp_path))
    assert "p1/scan.mat" in str(caught.value)


def test_masks_beside_the_images_are_used_without_being_given(tmp_path: Path, touch: Touch) -> None:
    """Without --masks, masks in the folder of the images are used, and a note says so."""
    touch("a.png", "a_mask.png", "b.png")
    found = find_samples(Inputs(images=tmp_path))
    assert pairs(found) == {"a": ("a.png", "a_mask.png"), "b": ("b.png",)}
    assert any("no --masks given" in note and "1 of 2 images" in note for note in found.notes)


def test_several_data_sets_in_one_root(tmp_path: Path, touch: Touch) -> None:
    """A few files of a known data set do not decide for all others, and no mask becomes an image."""
    touch("busi/images/benign (1).png", "busi/images/benign (1)_mask.png", "busi/images/benign (1)_mask_1.png")
    touch(*(f"six/{folder}/x{number}.png" for folder in ("images", "masks") for number in range(3)))
    found = find_samples(Inputs(images=tmp_path))
    assert pairs(found) == {
        "benign (1)": ("benign (1).png", "benign (1)_mask.png", "benign (1)_mask_1.png"),
        **{f"x{number}": (f"x{number}.png", f"x{number}.png") for number in range(3)},
    }
    assert found.problems == found.left_out == []


@pytest.mark.parametrize(
    "mask", ["a_mask.png", "a_Segmentation.png", "a_anno.png", "a_mask_1.png", "masks/a.png", "a_gt.tif"]
)
def test_prediction_never_takes_a_mask_for_an_image(tmp_path: Path, touch: Touch, mask: str) -> None:
    """A mask beside the images is left out and named."""
    touch("a.png", "b.png", mask)
    found = find_samples(Inputs(images=tmp_path), labels="ignored")
    assert pairs(found) == {"a": ("a.png",), "b": ("b.png",)}
    assert reasons(found) == {Path(mask).name: "masks of these images"}


def test_prediction_does_not_mind_masks_that_exclude_each_other(tmp_path: Path, touch: Touch) -> None:
    """An image with two masks is a problem only where masks are needed."""
    touch("a.png", "a_mask.png", "a_segmentation.png")
    with pytest.raises(InputProblemsError, match="keep one of them"):
        find_samples(Inputs(images=tmp_path))
    assert pairs(find_samples(Inputs(images=tmp_path), labels="ignored")) == {"a": ("a.png",)}


def test_an_image_named_like_a_mask_stays_an_image(tmp_path: Path, touch: Touch) -> None:
    """`leg_label.png` is an image if there is no image `leg`."""
    touch("a.png", "a_mask.png", "leg_label.png")
    assert pairs(find_samples(Inputs(images=tmp_path), labels="ignored")) == {
        "a": ("a.png",),
        "leg_label": ("leg_label.png",),
    }


def test_several_masks_of_an_image_are_in_natural_order(tmp_path: Path, touch: Touch) -> None:
    """`_mask_2` comes before `_mask_10`, so that the order of objects does not depend on the file system."""
    touch("images/a.png", "masks/a_mask_10.png", "masks/a_mask_2.png", "masks/a_mask.png")
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert pairs(found) == {"a": ("a.png", "a_mask.png", "a_mask_2.png", "a_mask_10.png")}


def test_further_pictures_of_an_image_are_no_images(tmp_path: Path, touch: Touch) -> None:
    """In one tree, `<id>_…` in another folder than an image with a mask is left out where masks are needed."""
    touch("A/photo/A.bmp", "A/lesion/A_lesion.bmp", "A/colours/A_R1.bmp", "B/photo/B.bmp", "B/colours/B_R1.bmp")
    found = find_samples(Inputs(images=tmp_path, masks=tmp_path))
    assert pairs(found) == {"A": ("A.bmp", "A_lesion.bmp"), "B": ("B.bmp",), "B_R1": ("B_R1.bmp",)}
    assert reasons(found) == {"A_R1.bmp": "further pictures of images that have a mask"}


def test_masks_outside_the_folder_of_masks_are_left_out(tmp_path: Path, touch: Touch) -> None:
    """If masks are given as a folder inside the images, a picture named like a mask elsewhere is neither."""
    touch("a.png", "old/a_mask.png", "masks/a.png")
    found = find_samples(Inputs(images=tmp_path, masks=tmp_path / "masks"))
    assert pairs(found) == {"a": ("a.png", "a.png")}
    assert reasons(found) == {"a_mask.png": "named like masks, but outside the folder of masks"}


def test_a_pipe_is_a_problem(tmp_path: Path, touch: Touch) -> None:
    """Opening a pipe would wait for ever."""
    touch("a.png")
    os.mkfifo(tmp_path / "b.png")
    found = find_samples(Inputs(images=tmp_path))
    assert pairs(found) == {"a": ("a.png",)}
    (problem,) = found.problems
    assert "pipe" in problem.what


def test_the_folder_of_masks_alone_is_enough_to_find_them_again(tmp_path: Path, touch: Touch) -> None:
    """A store made from one root can be evaluated with the root, or with the folder of masks in it."""
    touch("images/a.png", "masks/a.png", "images/b.png", "masks/b_mask.png")
    found = find_samples(Inputs(images=tmp_path))
    rule = PairingRule.from_dict(found.rule.to_dict())
    for folder in (tmp_path, tmp_path / "masks"):
        masks, problems = find_masks({"a", "b"}, rule, masks=folder)
        assert {key: [mask.path.name for mask in files] for key, files in masks.items()} == {
            "a": ["a.png"],
            "b": ["b_mask.png"],
        }
        assert problems == []


def test_several_masks_of_a_known_id_are_a_problem(tmp_path: Path, touch: Touch) -> None:
    """`evaluate` cannot choose between two masks; the message names both."""
    touch("a.png", "a_mask.png", "b.png")
    rule = PairingRule.from_dict({"rule": "name", "endings": ["_mask"]})
    masks, problems = find_masks({"a", "b"}, rule, masks=tmp_path)
    assert masks.keys() == {"b"}
    (problem,) = problems
    assert "a.png" in problem.what
    assert "a_mask.png" in problem.what


def test_one_root_with_two_folders(tmp_path: Path, touch: Touch) -> None:
    """`images/` and `masks/` in one root are recognised by any usual name; a third folder is left out."""
    touch("imgs/a.png", "imgs/b.png", "Labels/a.png", "Labels/b_mask.png", "instances/a.png")
    found = find_samples(Inputs(images=tmp_path))
    assert pairs(found) == {"a": ("a.png", "a.png"), "b": ("b.png", "b_mask.png")}
    assert found.rule.layout == "folders"
    assert [one.reason for one in found.left_out] == ["pictures that are named unlike images and masks"]


TWINS = ("benign/001.png", "malignant/001.png", "malignant/002.png")


@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(TWINS, id="same_folders"),
        pytest.param(("benign/001_mask.png", "malignant/001_mask.png", "002.png"), id="unique_name_elsewhere"),
    ],
)
@pytest.mark.parametrize("one_root", [False, True])
def test_images_of_one_name_are_distinguished_by_their_folders(
    tmp_path: Path, touch: Touch, masks: tuple[str, ...], *, one_root: bool
) -> None:
    """The folder becomes part of every id, on images and masks alike, and `evaluate` finds the same masks."""
    touch(*(f"images/{name}" for name in TWINS), *(f"masks/{name}" for name in masks))
    given = tmp_path if one_root else tmp_path / "masks"
    found = find_samples(
        Inputs(images=tmp_path if one_root else tmp_path / "images", masks=None if one_root else given)
    )
    assert [one.id for one in found.samples] == ["benign-001", "malignant-001", "malignant-002"]
    assert [one.masks[0].path.relative_to(tmp_path / "masks").as_posix() for one in found.samples] == list(masks)
    assert found.problems == []
    rule = PairingRule.from_dict(found.rule.to_dict())
    again, problems = find_masks({one.id for one in found.samples}, rule, masks=given)
    assert again == {one.id: one.masks for one in found.samples}
    assert problems == []


def test_unique_names_in_folders_keep_their_ids(tmp_path: Path, touch: Touch) -> None:
    """Folders are part of the ids only if a name occurs twice, so that stores made before keep theirs."""
    touch("benign/001.png", "malignant/002.png")
    assert [one.id for one in find_samples(Inputs(images=tmp_path)).samples] == ["001", "002"]


def test_a_mask_that_could_be_of_several_images_is_a_problem(tmp_path: Path, touch: Touch) -> None:
    """A mask outside the folders of two images of its name belongs to neither; the message names both."""
    touch("images/x/1.png", "images/y/1.png", "images/x/2.png", "masks/1.png", "masks/2.png")
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert {one.id: len(one.masks) for one in found.samples} == {"x-1": 0, "x-2": 1, "y-1": 0}
    (problem,) = found.problems
    assert "'x-1' and 'y-1'" in problem.what
    assert problem.where.endswith("masks/1.png")


def test_masks_of_an_image_with_a_problem_are_left_out(tmp_path: Path, touch: Touch) -> None:
    """If two images have one id, their mask is not an orphan: it is named with that reason."""
    touch("images/a.png", "images/a.jpg", "images/b.png", "masks/a.png", "masks/b.png")
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert pairs(found) == {"b": ("b.png", "b.png")}
    assert len(found.problems) == 1
    assert reasons(found) == {"a.png": "masks of images with a problem"}


NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "images/", "masks/", "x/", "y/", "x/masks/"]),
        st.sampled_from(["a", "b", "benign (1)", "ISIC_0000001", "case1_slice1"]),
        st.sampled_from(["", "_mask", "_mask_1", "_anno", "_superpixels", "_0000", "_attribute_x", "_roi"]),
        st.sampled_from([".png", ".jpg", ".npz", ".dcm", ".txt"]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    names=st.sets(NAMES, min_size=1, max_size=12), labels=st.sampled_from(["wanted", "ignored"]), apart=st.booleans()
)
def test_every_file_is_in_exactly_one_place(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], labels: str, *, apart: bool
) -> None:
    """Whatever the names, each file is in one sample, in one reason of files left out, or named in a problem."""
    root = tmp_path_factory.mktemp("every")
    names = {"images/always.png", "masks/always.png", *names}
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    folders = {"images": root, "masks": None}
    if apart:
        folders = {"images": root / "images", "masks": root / "masks"}
    try:
        found = find_samples(Inputs(**folders), labels=labels)  # type: ignore[arg-type]
    except (InputProblemsError, UsageError):
        return
    used = Counter(file for one in found.samples for file in {one.image, *(mask.path for mask in one.masks)})
    used.update(file for one in found.left_out for file in one.files)
    text = "\n".join(map(str, found.problems))
    problems = {root / name for name in names if re.search(rf"{re.escape(str(root / name))}(?![\w.])", text)}
    given_files = {root / name for name in names if not apart or name.startswith(("images/", "masks/"))}
    assert given_files == used.keys() | problems
    assert used.keys() & problems == set()
    assert set(used.values()) <= {1}
