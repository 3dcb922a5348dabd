"""Test control maps: maps of other images, colours, and the store's own attention in another form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.errors import UsageError
from stages.segmentation.normalisation import normalise_attention
from stages.settings import IMAGENET_MEAN, IMAGENET_STD
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks.evidence import controls
from tests.benchmarks.evidence.stores_maps import Inputs


@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30), seed=st.integers(0, 5))
def test_every_sample_gets_the_maps_of_another_group(groups: list[str], seed: int) -> None:
    assume(2 * max(map(groups.count, groups)) <= len(groups))
    others = controls.other_samples(groups, seed)
    assert sorted(others) == list(range(len(groups)))
    assert all(groups[other] != group for group, other in zip(groups, others, strict=True))


def test_the_seed_chooses_the_other_samples() -> None:
    groups = [str(number) for number in range(50)]
    one, again, other = (controls.other_samples(groups, seed).tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_a_group_with_most_samples_cannot_be_shuffled() -> None:
    with pytest.raises(UsageError, match="group a has 3 of 5 samples"):
        controls.other_samples(["a", "a", "a", "b", "c"], 0)


def test_shuffled_maps_are_those_of_the_other_samples(make_store: Callable[..., Path]) -> None:
    base = AttentionStore.open(make_store(6))
    maps = controls.shuffled(Inputs(base=base, seed=3))
    others = controls.other_samples([str(group) for group in base.column("group")], 3)
    assert (maps.read(np.arange(6)) == base.read_array("attention", others)).all()
    assert not maps.signed
    assert maps.keys == round(1 / base.scale_factor)


def test_colours_are_means_and_deviations_of_cells() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    maps = controls.colour_maps(images, (3, 2))
    assert maps.shape == (3, 6, 3, 2)
    cell = images[2, 4:6, 0:4].reshape(-1, 3) / 255  # grid row 2, grid column 0
    expected = [*(cell.mean(axis=0) - IMAGENET_MEAN) / IMAGENET_STD, *cell.std(axis=0) / IMAGENET_STD]
    assert maps[2, :, 2, 0] == pytest.approx(expected, rel=1e-5)


def test_white_colours_have_mean_0_and_deviation_1_over_the_images_of_the_fit(make_store: Callable[..., Path]) -> None:
    fit = np.array([1, 2, 4])
    inputs = Inputs(base=AttentionStore.open(make_store(6)), fit=fit)
    plain, white = controls.colours(inputs).read(fit), controls.colours(inputs, white=True).read(fit)
    assert white.mean(axis=(0, 2, 3)) == pytest.approx(0, abs=1e-4)
    assert white.std(axis=(0, 2, 3)) == pytest.approx(1, abs=1e-4)
    for one, other in zip(plain.swapaxes(0, 1), white.swapaxes(0, 1), strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_pixel_in_two_cells_counts_by_area() -> None:
    values = np.arange(5, dtype=np.float64).reshape(1, 1, 5, 1)
    averaged = controls.average_cells(values, (1, 2))
    assert averaged[0, 0, :, 0] == pytest.approx([(0 + 1 + 2 / 2) / 2.5, (2 / 2 + 3 + 4) / 2.5])


def test_a_grid_finer_than_the_image_repeats_pixels() -> None:
    values = np.array([3.0, 7.0]).reshape(1, 1, 2, 1)
    assert controls.average_cells(values, (1, 4))[0, 0, :, 0] == pytest.approx([3, 3, 7, 7])


def test_standard_maps_are_those_that_training_makes_by_default(phantom_store: Path) -> None:
    base = AttentionStore.open(phantom_store)
    positions = np.array([2, 0])
    stored = torch.from_numpy(base.read_array("attention", positions)).float()
    expected = normalise_attention(stored, "log").numpy()
    assert (controls.standardised(Inputs(base=base)).read(positions) == expected).all()


def test_the_heads_of_the_last_blocks_are_kept(make_store: Callable[..., Path], phantom_store: Path) -> None:
    base = AttentionStore.open(phantom_store)
    maps = controls.last_blocks(Inputs(base=base), 1)
    assert list(maps.names) == base.heads
    with pytest.raises(UsageError, match="has heads of 1 blocks, not 2"):
        controls.last_blocks(Inputs(base=base), 2)
    layout = Layout(size=(8, 8), grid=(2, 2), heads=["L3H0", "L10H0", "L9H0", "L10H1"], keys=5, classes=["a", "b"])
    several = AttentionStore.open(make_store(2, name="several.zarr", layout=layout))
    positions = np.arange(2)
    kept = controls.last_blocks(Inputs(base=several), 2)
    assert list(kept.names) == ["L10H0", "L9H0", "L10H1"]
    assert (kept.read(positions) == several.read_array("attention", positions)[:, 1:]).all()
