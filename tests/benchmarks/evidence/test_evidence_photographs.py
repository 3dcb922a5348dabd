"""Test maps made from a network trained on photographs; here its weights are random ones in a file of the same form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from stages.errors import UsageError
from store import AttentionStore
from tests.benchmarks.evidence.features_photographs import Photographs, photographs
from tests.benchmarks.evidence.stores import derive_store, fit_positions
from tests.benchmarks.evidence.stores_maps import Inputs
from tests.benchmarks.evidence.unet_weights import ENCODER


@pytest.fixture
def inputs(phantom_store: Path, phantoms: Path, encoder_weights: Path) -> Inputs:
    base = AttentionStore.open(phantom_store)
    return Inputs(
        base=base, images=phantoms / "images", weights=encoder_weights, fit=fit_positions(base, None, most=8, seed=0)
    )


def test_features_are_those_of_the_encoder_at_three_strides(inputs: Inputs, encoder_weights: Path) -> None:
    images = inputs.originals.read(inputs.fit[:2])
    model = timm.create_model(ENCODER, pretrained=False, features_only=True, out_indices=(2, 3, 4)).eval()
    model.load_state_dict(load_file(encoder_weights), strict=False)
    normalised = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    normalised = (normalised - 0.5) / 0.5  # as timm says of this encoder
    with torch.inference_mode():
        finest = model(normalised)[0]
    given = Photographs.load(inputs).features(images)
    assert given.shape == (2, np.prod(inputs.recipe.grid), sum(model.feature_info.channels()))
    channels = finest.shape[1]
    expected = torch.nn.functional.interpolate(finest, size=inputs.recipe.grid, mode="bilinear").flatten(2).mT
    assert given[..., :channels] == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.abs().max()))


def test_components_are_those_of_features_divided_by_their_deviations(inputs: Inputs) -> None:
    features = Photographs.load(inputs).features(inputs.originals.read(inputs.fit)).astype(np.float64)
    flat = features.reshape(-1, features.shape[-1])
    scaled = (flat - flat.mean(0)) / flat.std(0)
    left = np.linalg.svd(scaled, full_matrices=False)[0][:, :2] * np.sqrt(len(flat))
    expected = left.reshape(len(features), -1, 2).transpose(0, 2, 1).reshape(len(features), 2, *inputs.recipe.grid)
    given = photographs(inputs, 2, "white", with_attention=False).read(inputs.fit)
    signs = np.sign((given * expected).sum(axis=(0, 2, 3)))[:, None, None]
    assert given == pytest.approx(expected * signs, abs=1e-2)


def test_the_recipe_names_the_weights(inputs: Inputs, tmp_path: Path) -> None:
    made = derive_store("imagenet:3+attention", inputs, tmp_path / "new.zarr")
    store = AttentionStore.open(made.store)
    assert [name for name in store.heads if name not in inputs.base.heads] == [f"imagenet_{n}" for n in range(3)]
    assert store.recipe["derived"]["encoder"] == ENCODER
    assert len(store.recipe["derived"]["encoder_sha256"]) == 64


def test_without_weights_it_says_where_to_get_them(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--weights; see `unet_weights`"):
        derive_store("imagenet:3", dataclasses.replace(inputs, weights=None), tmp_path / "new.zarr")
    assert not (tmp_path / "new.zarr").exists()
