"""Test the code behind the README's table: the images trained on, the images scored, and results that are reused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.segmentation.splits import split_by_hash
from store import AttentionStore
from tests.benchmarks import few_labels
from tests.benchmarks.few_labels import interval, labelled_subset, parse_arm, run_once, table

TINY = {"batch_size": 4, "precision": "float32", "device": "cpu", "width": 4, "val": 0.2, "test": 0.3}


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Path:
    return make_store(40)


def test_an_arm_is_a_name_a_store_and_settings_of_train() -> None:
    arm = parse_arm("no dropout=store/a.zarr:dual,branch_dropout=0,lr=0.01", {"batch_size": 8})
    assert arm.name == "no dropout"
    assert arm.settings.store == Path("store/a.zarr")
    assert (arm.settings.branches, arm.settings.branch_dropout, arm.settings.lr) == ("dual", 0, 0.01)


def test_larger_sets_hold_the_smaller_ones_and_only_training_samples(store: Path) -> None:
    opened = AttentionStore.open(store)
    splits = split_by_hash(opened, seed=0, val=0.2, test=0.3)
    small, large = (set(labelled_subset(opened, splits, n=n, seed=3)) for n in (4, 12))
    assert small < large
    assert {splits[position] for position in large} == {"train"}
    assert small != set(labelled_subset(opened, splits, n=4, seed=4))


def test_more_labels_than_there_are_is_an_error(store: Path) -> None:
    opened = AttentionStore.open(store)
    with pytest.raises(ValueError, match="asked for"):
        labelled_subset(opened, ["train", "test"] * 20, n=21, seed=0)


@pytest.mark.parametrize("score", ["val", "test"])
def test_the_scored_samples_are_those_of_the_split(store: Path, tmp_path: Path, score: str) -> None:
    run_once(parse_arm(f"dual={store}:dual", TINY), tmp_path, n=4, seed=0, steps=2, score=score)
    opened = AttentionStore.open(store)
    splits = split_by_hash(opened, seed=0, val=0.2, test=0.3)
    (written,) = tmp_path.glob("*.json")
    scored = json.loads(written.read_text())["dice"]
    assert set(scored) == {str(id_) for id_, split in zip(opened.ids, splits, strict=True) if split == score}


def test_a_run_that_is_done_is_not_done_again_and_other_settings_are_another_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = parse_arm(f"dual={store}:dual", TINY)
    first = run_once(arm, tmp_path, n=4, seed=0, steps=2, score="test")
    trained: list[int] = []
    monkeypatch.setattr(few_labels, "train_and_score", lambda *_, n, score, **_more: trained.append(n) or {score: 0.5})
    assert run_once(arm, tmp_path, n=4, seed=0, steps=2, score="test") == first
    assert trained == []
    changed = parse_arm(f"dual={store}:dual,lr=0.01", TINY)
    run_once(changed, tmp_path, n=4, seed=0, steps=2, score="test")
    assert trained == [4]


def test_the_interval_is_students() -> None:
    mean, half = interval([0.7, 0.8, 0.9])
    assert mean == pytest.approx(0.8)
    assert half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom, from a table
    assert math.isnan(interval([0.7])[1])


def test_the_table_compares_the_first_arm_seed_by_seed() -> None:
    results = {("dual", 8, 0): 0.6, ("dual", 8, 1): 0.8, ("image", 8, 0): 0.5, ("image", 8, 1): 0.7}
    heading, _, row = table(results, ["dual", "image"], [8], [0, 1]).splitlines()
    assert heading == "| labels | dual | image | dual − image |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "8"
    assert cells[1].startswith("0.700 ± ")
    assert cells[3] == "+0.100 ± 0.000"  # both seeds gain the same, although their scores differ
