"""The networks that are exported compute in PyTorch what the pipeline computes step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.exporting.loading import Loaded, load
from stages.exporting.networks import Frame, mask_of, whole_frame
from stages.imaging.resizing import resize_image
from stages.runs.licences import NOT_USED
from stages.segmentation.decisions import decide
from stages.settings import ExportSettings, Size
from tests.stages.exporting.made_runs import from_images, from_maps, make_run, noise


def computed(loaded: Loaded, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        values = loaded.network(torch.from_numpy(images).movedim(-1, 1))[1]
    return values.numpy()


@pytest.mark.parametrize(
    ("segmenter", "inner", "margin"),
    [((32, 48), (32, 48), (8, 16)), ((32, 40), (32, 48), (8, 16)), ((48, 56), (48, 56), (12, 19))],
    ids=["same-size", "smaller", "larger"],
)
def test_a_tile_is_seen_with_its_surroundings(
    tmp_path: Path, phantom_store: Path, segmenter: Size, inner: Size, margin: Size
):
    """The segmenter gets the middle, and the transformer all of it; also where the context is no whole pixels."""
    context = {"context": (8, 16), "keys": 61}  # 6 x 10 patches and one token
    run = make_run(tmp_path / "run", phantom_store, recipe=context, size=segmenter)
    loaded = load(ExportSettings(run=run))
    assert loaded.frame == Frame(inner, margin)
    images = noise(2, loaded.frame.size)
    down, across = margin
    middle = images[:, down : down + inner[0], across : across + inner[1]]
    high, wide = 8 * inner[0] / 32, 16 * inner[1] / 48
    box = (across - wide, down - high, across + inner[1] + wide, down + inner[0] + high)
    recipe = Recipe.from_dict(loaded.card.recipe)
    extractor = AttentionExtractor.from_recipe(recipe, weights=None, device="cpu", batch_size=1)
    maps = extractor.extract(np.stack([resize_image(one, recipe.seen_size, box) for one in images]))
    expected = from_maps(run, np.stack([resize_image(one, segmenter) for one in middle]), maps)
    assert np.abs(computed(loaded, images) - expected).max() < 1e-3  # a pixel of a fractional box may be off by one


def test_a_recipe_in_bfloat16_computes_in_float32_and_says_so(tmp_path: Path, phantom_store: Path):
    """The weights are those rounded to bfloat16, with which the run was trained."""
    run = make_run(tmp_path / "run", phantom_store, recipe={"precision": "bfloat16"})
    loaded = load(ExportSettings(run=run))
    assert "bfloat16" in loaded.notes[0]
    images = noise(2, loaded.frame.size)
    assert 0 < np.abs(computed(loaded, images) - from_images(run, images)).max() < 0.2


def test_the_input_has_the_larger_size_along_each_axis(phantom_store: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", phantom_store)
    recipe = Recipe.from_dict(load(ExportSettings(run=run)).card.recipe)  # 32 x 48
    assert whole_frame((64, 40), recipe) == Frame((64, 48), (0, 0))
    assert whole_frame((64, 40), None) == Frame((64, 40), (0, 0))


@pytest.mark.parametrize("multilabel", [False, True])
def test_masks_are_decided_as_in_the_pipeline(*, multilabel: bool):
    """Ties go to the lowest index, and one half is not above one half."""
    values = np.random.default_rng(0).integers(0, 3, (5, 4, 6, 7)).astype(np.float32) / 2
    found = mask_of(torch.from_numpy(values), multilabel=multilabel).numpy()
    np.testing.assert_array_equal(found, [decide(one, multilabel=multilabel) for one in values])


def test_the_licence_of_the_run_travels_with_the_export(tmp_path: Path, phantom_store: Path):
    """A run of DINOv3's weights says that their licence has conditions."""
    run = make_run(tmp_path / "run", phantom_store, recipe={"model": "dinov3_vits16"})
    loaded = load(ExportSettings(run=run, part="segmenter"))
    assert loaded.licence.startswith("DINOv3 License")
    assert any("DINOv3 License" in note for note in loaded.notes)
    other = make_run(tmp_path / "other", phantom_store)
    assert load(ExportSettings(run=other)).licence == "none needed"


def test_an_export_without_a_transformer_has_no_licence_of_one(tmp_path: Path, phantom_store: Path):
    run = make_run(tmp_path / "run", phantom_store, branches="image", recipe={"model": "dinov3_vits16"})
    loaded = load(ExportSettings(run=run))
    assert loaded.licence == NOT_USED
    assert not any("licence" in note for note in loaded.notes)
