"""The number of samples in a shard follows from the size of the images."""

from __future__ import annotations

import pytest

from store.writer import Layout


@pytest.mark.parametrize(
    ("size", "samples"),
    [((1, 1), 1024), ((102, 102), 1024), ((104, 108), 512), ((224, 224), 128), ((1024, 1024), 8), ((4096, 4096), 1)],
)
def test_a_shard_holds_a_power_of_two_of_images_in_at_most_32_mib(size: tuple[int, int], samples: int):
    """At most 1024, and one image however large it is. Stores keep their bytes only if these numbers stay."""
    layout = Layout(size=size, grid=(2, 3), heads=["L1H0"], keys=7, classes=["a", "b"])
    assert layout.samples_per_shard == samples
