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


@pytest.mark.parametrize(
    ("size", "expected", "samples"),
    [
        ((16, 16), 2**20, 1024),
        ((16, 16), 2**20 + 1, 2048),
        ((16, 16), 10**7, 16384),
        ((16, 16), 10**9, 2**18),
        ((224, 224), 128 * 4096, 128),
        ((224, 224), 10**7, 4096),
    ],
)
def test_very_large_stores_get_larger_shards(size: tuple[int, int], expected: int, samples: int):
    """Three arrays of ten million samples have fewer than 20,000 files. Up to 2^20 samples, stores keep their bytes."""
    layout = Layout(size=size, grid=(2, 3), heads=["L1H0"], keys=7, classes=["a", "b"], expected=expected)
    assert layout.samples_per_shard == samples
    assert layout.samples_at_once == min(1024, 128 if size == (224, 224) else 1024)
