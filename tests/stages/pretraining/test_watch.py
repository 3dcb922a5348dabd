"""The watch: a collapse is reported, a healthy run goes on, and the heads' figures are right."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from stages.errors import PipelineError
from stages.pretraining.watch import Row, feature_deviation, head_figures, require_sound

_MOST = math.log(256)


def _history(rows: int, **figures: Any) -> list[Row]:
    return [
        {"step": 50.0 * (at + 1), "loss": 4.0, "entropy": 3.0, "feature_deviation": 0.5, **figures}
        for at in range(rows)
    ]


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        pytest.param({"entropy": 0.999 * _MOST}, "all prototypes equally.*--centring sinkhorn", id="uniform"),
        pytest.param({"entropy": 0.001 * _MOST}, "one prototype for every.*--teacher-temperature", id="one_prototype"),
        pytest.param({"feature_deviation": 1e-4}, "CLS tokens of different images are the same", id="same_tokens"),
    ],
)
def test_a_collapse_stops_the_run_with_the_sign_and_a_remedy(figures, message):
    """Five rows that agree are a collapse; four are not yet, and rows of the warm-up do not count."""
    require_sound(_history(4, **figures), prototypes=256, warmup=0)
    require_sound(_history(6, **figures), prototypes=256, warmup=100)
    with pytest.raises(PipelineError, match=f"(?s){message}"):
        require_sound(_history(5, **figures), prototypes=256, warmup=0)


def test_one_good_row_keeps_the_run_going():
    """A collapse must show in every one of the last rows."""
    history = [*_history(4, entropy=_MOST), *_history(1), *_history(4, entropy=_MOST)]
    require_sound(history, prototypes=256, warmup=0)
    with pytest.raises(PipelineError, match="collapsed"):
        require_sound([*history, *_history(1, entropy=_MOST)], prototypes=256, warmup=0)


@pytest.mark.parametrize("name", ["loss", "entropy", "feature_deviation"])
def test_a_figure_that_is_not_finite_stops_the_run_at_once(name):
    """This holds during the warm-up too."""
    with pytest.raises(PipelineError, match="lower --lr"):
        require_sound(_history(1, **{name: math.nan}), prototypes=256, warmup=1000)


def test_feature_deviation_is_0_for_equal_and_about_1_for_random_tokens():
    """It does not depend on the length of the tokens."""
    random = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    assert float(feature_deviation(random[:1].expand(10, -1))) == pytest.approx(0, abs=1e-6)
    assert float(feature_deviation(random)) == pytest.approx(1, abs=0.05)
    assert float(feature_deviation(random * 7)) == pytest.approx(float(feature_deviation(random)), rel=1e-5)


def test_heads_figures_are_those_of_each_head():
    """A head that equals the mask has full separation, a flat one has none; without masks it is None."""
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[:, :4] = 1
    looking = masks.float()[:, ::2, ::2] + 0.5
    maps = torch.stack([looking, torch.full_like(looking, 0.25)], dim=1)
    row = head_figures(maps, masks)
    assert row["contrast_H0"] == pytest.approx(0.5)
    assert row["contrast_H1"] == pytest.approx(0)
    assert row["separation_H0"] == pytest.approx(0.5)
    assert row["separation_H1"] == pytest.approx(0)
    assert row["separation"] == pytest.approx(0.25)
    unlabelled = head_figures(maps, torch.full_like(masks, 255))
    assert unlabelled["separation"] is None
    assert unlabelled["separation_H1"] is None
    assert unlabelled["contrast_H0"] == pytest.approx(0.5)
