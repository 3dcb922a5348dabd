"""Test the shares of pixels that a region covers, against the same region enlarged to whole pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.imaging.coverage import coverage_of

SIDES = st.integers(1, 9)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_coverage_is_exact(source: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    """The share of a pixel equals the mean over a picture whose sides are multiples of both sizes."""
    region = np.random.default_rng(seed).random(source) < 0.5
    fine = np.kron(region, np.ones(size))
    expected = fine.reshape(size[0], source[0], size[1], source[1]).mean(axis=(1, 3))
    rows, columns, coverage = coverage_of(region, 0, 0, source, size)
    assert (rows, columns) == (slice(0, size[0]), slice(0, size[1]))
    np.testing.assert_allclose(coverage, expected, atol=1e-6)


def test_a_part_of_the_source_covers_the_same_as_in_the_whole() -> None:
    """The window of a part holds the values that the whole source gives there, and the rest is not covered."""
    whole = np.zeros((50, 70), dtype=bool)
    whole[13:20, 31:47] = True
    rows, columns, coverage = coverage_of(whole[13:20, 31:47], 13, 31, (50, 70), (11, 12))
    _, _, expected = coverage_of(whole, 0, 0, (50, 70), (11, 12))
    pasted = np.zeros((11, 12), np.float32)
    pasted[rows, columns] = coverage
    np.testing.assert_allclose(pasted, expected, atol=1e-6)
    assert coverage.min() > 0
    assert np.isclose(coverage.sum() * (50 / 11) * (70 / 12), 7 * 16)
