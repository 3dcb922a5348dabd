"""Groups are counted as by a dictionary of their names."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.segmentation.group_sizes import group_sizes
from stages.segmentation.split_blocks import texts_of
from store.texts import Texts


class _Store:
    """Stand in for a store. Hold the column of groups in chunks of three."""

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups
        self.columns = self

    def texts(self, _: str) -> list[Texts]:
        return [texts_of(self._groups[start : start + 3]) for start in range(0, len(self._groups), 3)]


@given(st.lists(st.sampled_from(["", "a", "ab", "patient-10", "patient-1", "patient-2", "ö"]), max_size=30))
def test_groups_are_counted_and_the_largest_is_named(groups: list[str]):
    sizes = Counter(groups)
    found = group_sizes(_Store(groups))
    name, samples = min(sizes.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    assert (found.count, found.largest) == (len(sizes), samples)
    assert found.first_of_largest == (name if samples > 1 else "")


def test_of_groups_that_are_as_large_the_first_in_order_is_named():
    assert group_sizes(_Store(["b", "c", "b", "a", "c", "a"])).first_of_largest == "a"
