"""Texts that were chosen to have the same 64 bits are different texts, wherever the bits stand for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.inspection import describe_store
from stages.comparison.samples import Samples
from stages.segmentation import column_prints
from stages.segmentation.column_prints import prints_of
from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.group_sizes import group_sizes
from stages.segmentation.labelled_groups import labelled_groups
from stages.segmentation.leakage import leaked_samples
from stages.segmentation.run_splits import OTHER, read_run_splits
from stages.segmentation.split_blocks import texts_of
from stages.segmentation.split_codes import split_codes
from stages.segmentation.split_tables import write_splits
from stages.segmentation.splits import split_by_rule
from stages.segmentation.store_groups import store_groups
from store import AttentionStore
from store.text_words import text_prints
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

SAME = ("patient1-left-ey", "1udxeyl2haLoH<yk")
"""Texts whose bits agree without a salt."""
PLAIN = Layout(size=(2, 2), grid=(1, 1), heads=["L0H0"], keys=2, classes=["a", "b"])


def _store(path: Path, ids: list[str], groups: list[str], *, parents: bool = False, seed: int = 0) -> AttentionStore:
    """Write a store of labelled samples with different images."""
    layout = replace(PLAIN, columns=("parent",)) if parents else PLAIN
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index, (id_, group) in enumerate(zip(ids, groups, strict=True)):
            own = {"parent": group} if parents else {}
            changed = {"id": id_, "group": group, "digest": f"{seed + index:064x}", "labelled": True, **own}
            writer.append(replace(random_sample(index, layout), **changed))
    return AttentionStore.open(path)


def test_the_bits_agree_without_a_salt_only():
    assert len(set(text_prints(texts_of(SAME)).tolist())) == 1
    assert len(set(prints_of(texts_of(SAME)).tolist())) == 2
    assert prints_of(texts_of(SAME)).tolist() == prints_of(texts_of(SAME)).tolist()


def test_groups_that_were_chosen_to_agree_are_two(tmp_path: Path):
    store = _store(tmp_path / "s.zarr", ["a", "b"], list(SAME), parents=True)
    assert (group_sizes(store).count, group_sizes(store).largest) == (2, 1)
    known = labelled_groups(store)
    assert (known.names, known.numbers.tolist()) == (list(SAME), [0, 1])
    assert describe_store(store.path, stats=False)["parents"]["count"] == 2


def test_a_patient_is_not_taken_for_one_that_was_trained_on(tmp_path: Path):
    run = _store(tmp_path / "run.zarr", ["a"], [SAME[0]])
    write_splits(tmp_path / "splits.csv", run, ["train"])
    splits = read_run_splits(tmp_path / "splits.csv")
    store = _store(tmp_path / "s.zarr", ["x", "y"], [SAME[1], SAME[0]], seed=9)
    samples = store_groups(store, splits, trained_on="")
    assert leaked_samples(samples, splits, np.arange(2), by={"train"}).tolist() == [False, True]


def test_samples_of_another_store_are_not_exchanged(tmp_path: Path):
    """The second store lacks the second sample, and holds one that was chosen to agree with it."""
    store = _store(tmp_path / "s.zarr", ["a", SAME[0]], ["g", "h"])
    other = _store(tmp_path / "o.zarr", [SAME[1], "a"], ["h", "g"])
    splits = CompactSplits(["val", "train"])
    samples = Samples(store=store, splits=splits, stores={other.path: other})
    assert list(samples.splits_in(other, splits)) == ["", "val"]


def test_a_text_is_no_split():
    names = (SAME[0], *["-"] * (OTHER - 1))
    assert split_codes(texts_of(SAME), names).tolist() == [0, OTHER]


def test_splits_do_not_depend_on_the_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The salt is drawn anew by each process, and two trainings with one seed have the same splits."""
    groups = [f"g{number % 17}" for number in range(40)]
    store = _store(tmp_path / "s.zarr", [f"s{number}" for number in range(40)], groups)
    found, names = set(), set()
    for salt in (0, 1, 2**63 + 12345):
        monkeypatch.setattr(column_prints, "_SALT", salt)
        found.add(tuple(split_by_rule(store, rule="exact", seed=3, val=0.2, test=0.2)))
        names.add(tuple(labelled_groups(store).names))
    assert len(found) == len(names) == 1
