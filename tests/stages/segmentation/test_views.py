"""The batch that a network is trained on."""

from __future__ import annotations

import pytest
from torch import Generator

from stages.segmentation.views import draw_silenced


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_as_many_samples_are_silenced_as_was_asked_for(share: float):
    """Both branches are silenced equally often, and never together: one input is always left."""
    silenced = draw_silenced(20_000, share, Generator().manual_seed(0)).float()
    assert silenced.sum(dim=1).max() <= 1
    assert silenced.mean(dim=0).tolist() == pytest.approx([share / 2, share / 2], abs=0.015)
