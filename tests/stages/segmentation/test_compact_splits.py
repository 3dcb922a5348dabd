"""Compact splits are used in the places of a list of names."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.split_tables import splits_digest

NAMES = st.lists(st.sampled_from(["train", "val", "test", "unlabelled", ""]), max_size=20)


@given(NAMES)
def test_they_are_the_sequence_that_they_were_made_of(names: list[str]):
    splits = CompactSplits(names)
    assert list(splits) == names
    assert [splits[at] for at in range(-len(names), len(names))] == names * 2
    assert splits[1:3] == names[1:3]
    assert splits_digest(splits) == splits_digest(names)
    assert np.array(splits, object).tolist() == names
    for name in ("train", "unlabelled", "", "other"):
        assert splits.count(name) == names.count(name)
        assert splits.positions(name).tolist() == [at for at, one in enumerate(names) if one == name]
