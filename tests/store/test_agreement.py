"""Agreement of heads with a mask: equal to what the Mann-Whitney U test of scipy gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import mannwhitneyu

from store.agreement import head_agreement
from store.records import IGNORE

VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.5])  # few values, so that there are many ties


@given(
    attention=arrays.arrays(np.float16, (1, 2, 3, 4), elements=VALUES),
    mask=arrays.arrays(np.uint8, (1, 3, 4), elements=st.sampled_from([0, 1, 2, IGNORE])),
)
def test_agreement_is_that_of_the_mann_whitney_u_test(attention: np.ndarray, mask: np.ndarray):
    """Ties count half; ignored cells count for nothing; without mask or background it is not defined."""
    found = head_agreement(attention, mask)
    known = mask[0] != IGNORE
    inside, outside = known & (mask[0] > 0), known & (mask[0] == 0)
    for head in range(2):
        values = attention[0, head].astype(np.float64)
        if inside.any() and outside.any():
            wins = mannwhitneyu(values[inside], values[outside]).statistic
            assert found[0, head] == pytest.approx(abs(wins / (inside.sum() * outside.sum()) - 0.5), abs=1e-12)
        else:
            assert np.isnan(found[0, head])


def test_a_map_with_nan_has_no_agreement():
    attention = np.ones((1, 2, 2, 2), np.float16)
    attention[0, 1, 0, 0] = np.nan
    found = head_agreement(attention, np.array([[[0, 1], [0, 1]]], np.uint8))
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1])
