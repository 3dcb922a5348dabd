"""Leakage by image, by patient, and by chains of both, in the run's own store and in other stores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.segmentation.column_prints import prints_of
from stages.segmentation.leakage import leaked_samples
from stages.segmentation.linked_names import linked_groups
from stages.segmentation.run_splits import NAMES, RunSplits
from stages.segmentation.split_blocks import texts_of
from stages.segmentation.store_groups import store_groups
from store.texts import Texts

Row = tuple[str, str, str]
"""id, group, digest."""


class _Columns:
    """Stand in for a store. Hold the columns that the check reads."""

    def __init__(self, rows: list[Row]) -> None:
        self._columns = dict(zip(("sample", "group", "digest"), zip(*rows, strict=True), strict=True))
        self.columns = self

    def __len__(self) -> int:
        return len(self._columns["sample"])

    def texts(self, name: str) -> list[Texts]:
        """Return the column in chunks of two texts."""
        values = self._columns[name]
        return [texts_of(values[start : start + 2]) for start in range(0, len(values), 2)]


def _record(*rows: tuple[str, str, str, str]) -> RunSplits:
    ids, groups, digests, splits = zip(*rows, strict=True)
    return RunSplits(
        codes=np.array([NAMES.index(split) for split in splits], np.uint8),
        groups=prints_of(texts_of(groups)),
        digests=prints_of(texts_of(digests)),
        alone=np.array(ids) == np.array(groups),
    )


def _leaked(store: _Columns, record: RunSplits, by: set[str]) -> list[bool]:
    samples = store_groups(store, record, trained_on="")
    return leaked_samples(samples, record, np.arange(len(store)), by=by).tolist()


@pytest.mark.parametrize(
    ("record", "store", "expected"),
    [
        pytest.param([("a", "a", "d1", "train")], [("x", "y", "d1")], [True], id="image_under_another_name"),
        pytest.param([("a", "p", "d1", "train")], [("x", "p", "d2")], [True], id="patient"),
        pytest.param(
            [("a", "a", "d1", "train")], [("a", "a", "d2")], [False], id="other_hospital_has_the_same_numbers"
        ),
        pytest.param([("a", "a", "d1", "train")], [("x", "a", "d2")], [True], id="patient_named_by_a_trained_image"),
        pytest.param([("x", "a", "d1", "train")], [("a", "a", "d2")], [True], id="patient_named_by_this_image"),
        pytest.param(
            [("a", "a", "d1", "train"), ("b", "b", "d2", "test")],
            [("a", "p", "d1"), ("b", "p", "d2")],
            [True, True],
            id="patients_learnt_only_afterwards",
        ),
        pytest.param(
            [("a", "a", "d1", "train")],
            [("x", "p", "d1"), ("y", "p", "d2"), ("z", "q", "d2"), ("w", "q", "d3"), ("v", "r", "d4")],
            [True, True, True, True, False],
            id="chain_in_the_store",
        ),
        pytest.param(
            [("a", "p", "d1", "train"), ("u", "p", "d2", "")],
            [("x", "x", "d2"), ("y", "y", "d3")],
            [True, False],
            id="chain_in_the_run_through_an_image_without_a_mask",
        ),
        pytest.param([("a", "p", "d1", "test")], [("x", "p", "d1")], [False], id="test_samples_do_not_leak"),
    ],
)
def test_leaked_samples_are_recognised(record, store, expected):
    """Find a patient or image of the training set again: under another name, and through chains of both."""
    assert _leaked(_Columns(store), _record(*record), by={"train"}) == expected


def test_validation_samples_count_where_that_is_asked_for():
    """They chose the checkpoint, so they count as leaked for a test score, but not for a validation score."""
    store, record = _Columns([("x", "x", "d1")]), _record(("a", "a", "d1", "val"))
    assert _leaked(store, record, by={"train"}) == [False]
    assert _leaked(store, record, by={"train", "val"}) == [True]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 12)), min_size=2, max_size=12),
    trained=st.sets(st.integers(0, 11)),
)
def test_it_agrees_with_a_slow_search_over_all_links(rows, trained):
    """In the run's own store the leaked samples are those that a training sample reaches over groups and copies."""
    named = [(f"id{n}", f"g{group}", f"d{digest}") for n, (group, digest) in enumerate(rows)]
    record = _record(*((*row, "train" if n in trained else "") for n, row in enumerate(named)))
    reached = {n for n in trained if n < len(rows)}
    for _ in rows:
        reached |= {
            n
            for n, row in enumerate(named)
            if any(row[1] == named[other][1] or row[2] == named[other][2] for other in reached)
        }
    assert _leaked(_Columns(named), record, by={"train"}) == [n in reached for n in range(len(rows))]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=10),
    run=st.lists(st.tuples(*[st.integers(0, 6)] * 3, st.sampled_from(["train", "val", ""])), min_size=1, max_size=10),
    one=st.integers(0, 9),
)
def test_another_store_is_looked_at_as_by_sets_of_names(rows, run, one):
    """Compare with a search that holds every name, for all samples and for one of them. Ids and groups share names."""
    named = [(f"n{a}", f"n{b}", f"d{c}") for a, b, c in rows]
    recorded = [(f"n{a}", f"n{b}", f"d{c}", split) for a, b, c, split in run]
    of_run = linked_groups((row[1] for row in recorded), (row[2] for row in recorded))
    trained = {of_run[row[1]] for row in recorded if row[3] == "train"}
    used = [row for row in recorded if of_run[row[1]] in trained]
    linked = linked_groups((row[1] for row in named), (row[2] for row in named))
    leaked = {
        linked[group]
        for id_, group, digest in named
        for other_id, other_group, other_digest, _ in used
        if digest == other_digest or (group == other_group and not (group == other_id and group == id_))
    }
    expected = [linked[row[1]] in leaked for row in named]
    store, record = _Columns(named), _record(*recorded)
    assert _leaked(store, record, by={"train"}) == expected
    chosen = np.array([one % len(named)])
    found = leaked_samples(store_groups(store, record, trained_on=""), record, chosen, by={"train"})
    assert found.tolist() == [expected[chosen[0]]]
