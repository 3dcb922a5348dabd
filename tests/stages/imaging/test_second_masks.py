"""Further masks of an image, in the names that people give them, are masks and never images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stages.imaging.pairing import Inputs, find_samples


@pytest.mark.parametrize("ending", ["_mask_1", "_mask1", "_mask-1", "_mask (2)"])
@pytest.mark.parametrize("stem", ["benign (1)", "case7"])
def test_a_second_mask_belongs_to_its_image(tmp_path: Path, stem: str, ending: str) -> None:
    for name in (stem, f"{stem}_mask", f"{stem}{ending}"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    found = find_samples(Inputs(images=tmp_path))
    assert [sample.id for sample in found.samples] == [stem]
    assert {file.path.stem for file in found.samples[0].masks} == {f"{stem}_mask", f"{stem}{ending}"}
    assert found.problems == []


@pytest.mark.parametrize("kind", ["overlay", "uncertainty", "instances"])
def test_pictures_made_by_predict_are_no_masks(tmp_path: Path, kind: str) -> None:
    """A folder of predictions is a folder of masks, also with the pictures beside them."""
    for folder, name in (("images", "a"), ("masks", "a"), ("masks", f"a_{kind}")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / folder / f"{name}.png")
    found = find_samples(Inputs(images=tmp_path / "images", masks=tmp_path / "masks"))
    assert [file.path.name for file in found.samples[0].masks] == ["a.png"]
    assert [file.name for one in found.left_out for file in one.files] == [f"a_{kind}.png"]
    assert found.problems == []
