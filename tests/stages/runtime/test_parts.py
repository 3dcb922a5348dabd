"""Parts of a batch cover it, and random numbers of a sample do not depend on the number of processes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from stages.runtime.parts import Part
from stages.segmentation.augmentation import RANGES, change_colours
from stages.segmentation.map_augmentation import change_maps


@given(total=st.integers(0, 40), count=st.integers(1, 9))
def test_parts_cover_the_batch_in_order_and_differ_by_at_most_one(total: int, count: int):
    """Every item belongs to exactly one process; with more processes than items some have none."""
    parts = [Part.of_rank(total, rank=rank, count=count) for rank in range(count)]
    assert [item for part in parts for item in range(total)[part.share]] == list(range(total))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_sample_is_changed_alike_in_the_whole_batch_and_in_a_part():
    """Colours, noise and maps of every sample are the same bytes, whichever process computes it."""
    random = Generator().manual_seed(1)
    images, maps = torch.rand(7, 3, 5, 6, generator=random) * 255, torch.rand(7, 4, 3, 3, generator=random)

    def changed(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        generators = [Generator().manual_seed(2) for _ in range(2)]
        colours = change_colours(part.of(images), RANGES["full"], generators[0], part)
        return colours, change_maps(part.of(maps), dropout=0.4, noise=0.3, generator=generators[1], part=part)

    whole = changed(Part.whole(7))
    pieces = [changed(Part.of_rank(7, rank=rank, count=3)) for rank in range(3)]
    for number, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([piece[number] for piece in pieces]), expected, rtol=0, atol=0)
