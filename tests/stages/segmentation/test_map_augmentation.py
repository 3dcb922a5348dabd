"""Changes of attention maps in training: amounts, random numbers, and that one map always stays."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from stages.segmentation.map_augmentation import change_maps


def seeded() -> Generator:
    return Generator().manual_seed(0)


def test_no_change_draws_no_random_number():
    """With both amounts at 0 the maps and the generator are untouched, so earlier runs are repeated exactly."""
    maps, generator = torch.rand(2, 3, 4, 5), seeded()
    before = generator.get_state()
    assert change_maps(maps, dropout=0.0, noise=0.0, generator=generator) is maps
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_whole_maps_are_silenced_and_the_others_rescaled(dropout: float):
    """A map is zero everywhere or divided by about 1 - dropout; the share of zeros and the mean are as expected."""
    changed = change_maps(torch.ones(4000, 6, 2, 3), dropout=dropout, noise=0.0, generator=seeded())
    assert torch.equal(changed, changed[:, :, :1, :1].expand_as(changed))
    levels = changed[:, :, 0, 0]
    assert sorted(set(levels.flatten().tolist())) == pytest.approx([0, 1 / (1 - dropout)], rel=0.01)
    assert (levels == 0).float().mean() == pytest.approx(dropout, abs=0.02)
    assert levels.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("maps", [1, 2, 3])
def test_every_sample_keeps_a_map(maps: int):
    """Also where nearly all maps are drawn. Which one stays is random, and a single map is never silenced."""
    changed = change_maps(torch.ones(3000, maps, 1, 1), dropout=0.99, noise=0.0, generator=seeded())[:, :, 0, 0]
    assert (changed > 0).any(dim=1).all()
    assert (changed > 0).float().mean(dim=0).min() > 0.9 / maps


@pytest.mark.parametrize("dropout", [0.3, 0.8])
@pytest.mark.parametrize("maps", [1, 2, 3, 18])
def test_the_expected_value_stays_with_few_maps_too(maps: int, dropout: float):
    """A single map, which always stays, is not scaled up: in prediction it is not either."""
    changed = change_maps(torch.ones(20000, maps, 1, 1), dropout=dropout, noise=0.0, generator=seeded())
    assert changed.mean() == pytest.approx(1, abs=0.04)
    if maps == 1:
        assert torch.equal(changed, torch.ones_like(changed))


@pytest.mark.parametrize("amount", [0.1, 0.4])
def test_every_map_gets_its_own_scale_level_and_noise(amount: float):
    """The extents of the change are the amount, as measured on maps of two values."""
    maps = torch.tensor([-1.0, 1.0]).repeat(40 * 50).reshape(1, 1, 40, 100).expand(50, 20, -1, -1)
    changed = change_maps(maps, dropout=0.0, noise=amount, generator=seeded())
    low, high = changed[maps < 0].reshape(50, 20, -1), changed[maps > 0].reshape(50, 20, -1)
    level, scale = (high.mean(dim=2) + low.mean(dim=2)) / 2, (high.mean(dim=2) - low.mean(dim=2)) / 2
    rounding = amount / 10
    for drawn in (level, scale - 1):
        assert drawn.abs().max() == pytest.approx(amount, abs=rounding)
        assert drawn.std() == pytest.approx(amount / 3**0.5, abs=rounding)  # of a uniform distribution
    assert abs(torch.corrcoef(torch.stack([level.flatten(), scale.flatten()]))[0, 1]) < 0.1
    assert high.std(dim=2).mean() == pytest.approx(amount, rel=0.02)


def test_silenced_maps_have_no_noise():
    changed = change_maps(torch.rand(50, 4, 3, 3), dropout=0.5, noise=0.3, generator=seeded())
    silent = (changed == 0).all(dim=(2, 3))
    assert 0.3 < silent.float().mean() < 0.6
    assert (changed[~silent] != 0).all()


def test_the_argument_is_not_changed_and_a_seed_gives_the_same_maps():
    maps = torch.rand(2, 3, 4, 5, generator=seeded())
    before = maps.clone()
    first, again = (change_maps(maps, dropout=0.3, noise=0.2, generator=seeded()) for _ in range(2))
    assert torch.equal(maps, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, maps)
