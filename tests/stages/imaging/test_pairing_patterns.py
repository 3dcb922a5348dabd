"""The user's own patterns: names, files of each class, a folder for each image; and the message where none fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_patterns_replace_the_names(tmp_path: Path, touch: Touch) -> None:
    """Images and masks are found by the user's patterns, and again by the recorded rule."""
    touch("in/a_photo.jpg", "in/b_photo.jpg", "in/c.jpg", "out/seg-a.png", "out/seg-b.png", "out/x.png")
    found = find_samples(
        Inputs(
            images=tmp_path / "in",
            masks=tmp_path / "out",
            image_pattern="{id}_photo.{ext}",
            mask_pattern="seg-{id}.png",
        )
    )
    assert pairs(found) == {"a": ("a_photo.jpg", "seg-a.png"), "b": ("b_photo.jpg", "seg-b.png")}
    assert reasons(found).keys() == {"c.jpg", "x.png"}
    assert "{id}_photo.{ext}" in str(found.rule)
    masks, _ = find_masks({"a", "b"}, PairingRule.from_dict(found.rule.to_dict()), masks=tmp_path / "out")
    assert masks == {one.id: one.masks for one in found.samples}


def test_one_file_per_class(tmp_path: Path, touch: Touch) -> None:
    """`{label}` is the class of each file, also where ids hold the separator."""
    touch("img_1.png", "img_2.png", "img_1_disc.png", "img_1_cup.png", "img_2_disc.png")
    found = find_samples(Inputs(images=tmp_path, mask_pattern="{id}_{label}.png"))
    assert found.problems == []
    assert {one.id: {mask.label: mask.path.name for mask in one.masks} for one in found.samples} == {
        "img_1": {"cup": "img_1_cup.png", "disc": "img_1_disc.png"},
        "img_2": {"disc": "img_2_disc.png"},
    }


def test_two_files_of_one_class_are_a_problem(tmp_path: Path, touch: Touch) -> None:
    """Two versions of a class's mask exclude each other; the message names both."""
    touch("images/a.png", "images/b.png", "masks/v1/a_cup.png", "masks/v2/a_cup.png", "masks/v1/b_cup.png")
    folders = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    found = find_samples(Inputs(**folders, mask_pattern="{id}_{label}.png"))
    assert [one.id for one in found.samples] == ["b"]
    (problem,) = found.problems
    assert "v1/a_cup.png" in problem.what
    assert "v2/a_cup.png" in problem.what


def test_a_mask_pattern_that_finds_nothing_is_an_error(tmp_path: Path, touch: Touch) -> None:
    """A user who states the masks' names needs masks: without any, nothing is extracted."""
    touch("a.png", "a_mask.png")
    with pytest.raises(InputProblemsError, match="<id>_truth"):
        find_samples(Inputs(images=tmp_path, mask_pattern="{id}_truth.{ext}"))


def test_the_message_proposes_the_pattern_that_would_match(tmp_path: Path, touch: Touch) -> None:
    """If masks are named like images with a text before and after, the message proposes that pattern, and it works."""
    touch("images/x1.png", "images/x2.png", "masks/seg-x1-v2.png", "masks/seg-x2-v2.png")
    folders = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    with pytest.raises(InputProblemsError) as caught:
        find_samples(Inputs(**folders))
    proposed = re.search(r"--mask-pattern '(\S+)'", str(caught.value))
    assert proposed is not None
    assert len(find_samples(Inputs(**folders, mask_pattern=proposed[1])).samples) == 2


def test_an_unknown_recorded_layout_is_an_error() -> None:
    """A store of a newer version may name a layout that does not exist here; the remedy is a table."""
    with pytest.raises(UsageError, match="--csv"):
        PairingRule.from_dict({"rule": "layout", "layout": "of_tomorrow"})


def test_one_folder_for_each_image(tmp_path: Path, touch: Touch) -> None:
    """A pattern with the id in a folder's name finds all masks of an image in one root."""
    touch("p1/image.png", "p1/objects/1.png", "p1/objects/2.png", "p2/image.png", "p2/objects/1.png")
    found = find_samples(
        Inputs(images=tmp_path, image_pattern="{id}/image.png", mask_pattern="{id}/objects/*.png"), orphans="reported"
    )
    assert pairs(found) == {"p1": ("image.png", "1.png", "2.png"), "p2": ("image.png", "1.png")}
    assert found.problems == found.left_out == []
