"""Inputs of training and predictions: what augmentation changes, and what probabilities sum to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stages.segmentation.batches import TensorBatch
from stages.segmentation.inputs import augmented_inputs, plain_inputs, predict_probabilities
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import Augment, Branches, TrainSettings


def _config(*, multilabel: bool) -> NetworkConfig:
    default = TrainSettings()
    return NetworkConfig(
        size=(32, 48),
        grid=(4, 6),
        heads=2,
        classes=4,
        branches=default.branches,
        width=4,
        blocks=default.blocks,
        fusion=default.fusion,
        stem=default.stem,
        multilabel=multilabel,
    )


@pytest.fixture
def batch() -> TensorBatch:
    random = torch.Generator().manual_seed(0)
    return TensorBatch(
        image=torch.randint(0, 256, (2, 3, 32, 48), generator=random, dtype=torch.uint8),
        mask=torch.zeros(2, 32, 48, dtype=torch.uint8),
        attention=torch.rand(2, 2, 4, 6, generator=random).half(),
    )


def test_probabilities_of_classes_sum_to_one(batch: TensorBatch):
    """There is one channel for each class, the background first."""
    probabilities = predict_probabilities(Segmenter(_config(multilabel=False)).eval(), batch, "log")
    assert probabilities.shape == (2, 4, 32, 48)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 32, 48))


def test_probabilities_of_labels_that_overlap_are_sigmoids(batch: TensorBatch):
    """Channel k is the sigmoid of label k, and channel 0 is the probability that none of them is there."""
    model = Segmenter(_config(multilabel=True)).eval()
    probabilities = predict_probabilities(model, batch, "log")
    assert probabilities.shape == (2, 4, 32, 48)
    with torch.inference_mode():
        logits = model(*plain_inputs(batch, model.config, "log"))
    torch.testing.assert_close(probabilities[:, 1:], logits.sigmoid())
    a, b, c = (1 - logits.sigmoid()).unbind(dim=1)
    torch.testing.assert_close(probabilities[:, 0], a * b * c)
    assert (probabilities.sum(dim=1) - 1).abs().max() > 0.01


@pytest.mark.parametrize("augment", ["full", "light", "geometry", "none"])
@pytest.mark.parametrize("branches", ["dual", "attention"])
def test_maps_are_changed_at_every_strength_of_augmentation(batch: TensorBatch, augment: Augment, branches: Branches):
    """One of two maps is silenced in some samples and never both; the generator's first numbers do not matter."""
    config = replace(_config(multilabel=False), branches=branches)
    silent = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        _, _, maps = augmented_inputs(batch, config, "log", augment, generator, map_dropout=0.6)
        silent.append((maps == 0).all(dim=(2, 3)))
    assert 0.2 < torch.stack(silent).float().mean() < 0.5
    assert not torch.stack(silent).all(dim=2).any()


@pytest.mark.parametrize("augment", ["full", "none"])
def test_the_default_changes_no_map_and_uses_the_same_random_numbers(batch: TensorBatch, augment: Augment):
    """Settings at their defaults give the inputs of earlier versions; a network without maps draws nothing for them."""
    config = _config(multilabel=False)
    plain, zero, image_only = (
        augmented_inputs(batch, one, "log", augment, torch.Generator().manual_seed(3), **changes)
        for one, changes in (
            (config, {}),
            (config, {"border": "mirror", "map_dropout": 0.0, "map_noise": 0.0}),
            (replace(config, branches="image"), {"map_dropout": 0.5, "map_noise": 0.5}),
        )
    )
    for one, other in zip(plain, zero, strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(one, third) for one, third in zip(plain[:2], image_only[:2], strict=True))
    assert image_only[2].shape == (len(plain[2]), 0, *config.attention_size)


@pytest.mark.parametrize("augment", ["full", "light", "geometry"])
def test_a_seed_gives_the_same_images_and_masks_whatever_happens_to_the_maps(batch: TensorBatch, augment: Augment):
    """So trainings of both branches and of the image alone are paired by their seed, batch after batch."""
    config = _config(multilabel=False)
    runs = [
        (config, {"map_dropout": 0.5, "map_noise": 0.5}),
        (replace(config, branches="image"), {"map_dropout": 0.5, "map_noise": 0.5}),
        (config, {}),
    ]
    seen = []
    for one, changes in runs:
        generator = torch.Generator().manual_seed(5)
        seen.append([augmented_inputs(batch, one, "log", augment, generator, **changes) for _ in range(3)])
    for views in zip(*seen, strict=True):
        disturbed, image_only, still = views
        for (image, mask, _), (other_image, other_mask, _) in ((disturbed, image_only), (disturbed, still)):
            assert torch.equal(image, other_image)
            assert torch.equal(mask, other_mask)
        assert not torch.equal(disturbed[2], still[2])
    first, second, _ = seen[0]
    assert not torch.equal(first[2], second[2])


def test_only_the_mask_depends_on_the_border(batch: TensorBatch):
    """The image and the maps are mirrored in any case, so the network sees natural content."""
    mirrored, ignored = (
        augmented_inputs(
            batch, _config(multilabel=False), "log", "full", torch.Generator().manual_seed(3), border=border
        )
        for border in ("mirror", "ignore")
    )
    assert torch.equal(mirrored[0], ignored[0])
    assert torch.equal(mirrored[2], ignored[2])
    assert set(mirrored[1].unique().tolist()) == {0}
    assert set(ignored[1].unique().tolist()) == {0, 255}


def test_without_augmentation_there_is_nothing_outside(batch: TensorBatch):
    _, mask, _ = augmented_inputs(
        batch, _config(multilabel=False), "log", "none", torch.Generator().manual_seed(3), border="ignore"
    )
    assert torch.equal(mask, batch.mask)


@pytest.mark.parametrize("norm", ["log", "minmax"])
def test_the_noise_of_maps_is_measured_in_their_deviation(norm: str):
    """The signal of a map is as large against its noise with every scaling that is made for attention."""
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(200, 2, 8, 12, generator=random).exp()
    batch = TensorBatch(
        image=torch.zeros(200, 3, 32, 48, dtype=torch.uint8),
        mask=torch.zeros(200, 32, 48, dtype=torch.uint8),
        attention=maps.half(),
    )
    config = replace(_config(multilabel=False), grid=(8, 12))
    plain, noisy = (
        augmented_inputs(batch, config, norm, "none", torch.Generator().manual_seed(1), map_noise=amount)[2]
        for amount in (0.0, 0.3)
    )
    noise = (noisy - plain).std(dim=(2, 3)) / plain.std(dim=(2, 3))
    assert noise.mean() == pytest.approx((0.3**2 + 0.3**2 / 3) ** 0.5, rel=0.1)


def test_the_noise_of_maps_that_are_used_as_stored_has_their_unit(batch: TensorBatch):
    """A constant map has no deviation, and gets noise nevertheless; with a scaling by the deviation it gets none."""
    flat = TensorBatch(batch.image, batch.mask, torch.ones_like(batch.attention))
    for norm, spread in (("none", 0.3), ("minmax", 0.0)):
        generator = torch.Generator().manual_seed(1)
        maps = augmented_inputs(flat, _config(multilabel=False), norm, "none", generator, map_noise=0.3)[2]
        assert maps.std(dim=(2, 3)).mean() == pytest.approx(spread, rel=0.3)
