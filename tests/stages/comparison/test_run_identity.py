"""A run is recognised by all that decides its result, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from stages.comparison.arms import Arm
from stages.comparison.identity import run_identity
from stages.segmentation.network import Segmenter
from stages.settings import TrainSettings, setting
from store import AttentionStore

GOLDEN = Path(__file__).parents[2] / "golden" / "v2" / "store.zarr"
SETTINGS = TrainSettings(width=4, steps=10, seed=1)
SPLITS = ["train", "val", "test", "", "train"]


@pytest.fixture
def store(make_store: Callable[..., Path]) -> AttentionStore:
    return AttentionStore.open(make_store(5))


def identity(
    store: AttentionStore, settings: TrainSettings = SETTINGS, splits: list[str] = SPLITS, **changes: Any
) -> str:
    named = {"score": "test", "checkpoint": "last"} | changes
    return run_identity(named.pop("arm", Arm(name="a", settings=settings)), settings, store, splits, **named)


def test_an_identity_is_the_same_in_every_process_and_version():
    """If this value changes, no finished run of a user is found again: raise `identity.VERSION` only on purpose.

    The settings are the defaults of version 0.2, so its runs are not taken for runs with the defaults of today.
    """
    earlier = replace(SETTINGS, border="mirror", map_dropout=0.0, map_noise=0.0, branch_dropout=0.0)
    assert identity(AttentionStore.open(GOLDEN)) != identity(AttentionStore.open(GOLDEN), earlier)
    assert (
        identity(AttentionStore.open(GOLDEN), earlier)
        == "d13da34ec775ccb44eacd7a1af9fad68ff07d919c11f072e5f3f92fc467e3ea1"
    )


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.01}, {"seed": 2}, {"steps": 11}, {"branches": "image"}, {"batch_size": 4}, {"augment": "none"}],
)
def test_a_setting_that_decides_the_result_is_part_of_it(store: AttentionStore, change):
    assert identity(store) != identity(store, replace(SETTINGS, **change))


@pytest.mark.parametrize(
    "change",
    [{"store": Path("x")}, {"out": Path("x")}, {"device": "cuda"}, {"resume": True}, {"epochs": 3}, {"labels": 3},
     {"val": 0.3}, {"split_seed": 3}, {"offline": True}],
)  # fmt: skip
def test_what_decides_nothing_or_is_seen_in_the_splits_is_not_part_of_it(store: AttentionStore, change):
    assert identity(store) == identity(store, replace(SETTINGS, **change))


def test_samples_splits_score_and_checkpoint_are_part_of_it(store: AttentionStore, make_store: Callable[..., Path]):
    others = [
        identity(AttentionStore.open(make_store(5, name="other.zarr", seed=1))),
        identity(store, splits=["train", "val", "test", "train", "train"]),
        identity(store, score="val"),
        identity(store, checkpoint="best"),
    ]
    assert len({identity(store), *others}) == 5


def test_the_name_of_an_arm_counts_only_where_it_stands_for_another_network(store: AttentionStore):
    named = [Arm(name=name, settings=SETTINGS) for name in ("a", "b")]
    assert identity(store, arm=named[0]) == identity(store, arm=named[1])
    foreign = [replace(arm, network=Segmenter) for arm in named]
    assert len({identity(store, arm=arm) for arm in [named[0], *foreign]}) == 3


def test_a_setting_that_is_added_later_changes_no_identity_while_it_is_at_its_default(store: AttentionStore):
    """Settings of a later version of this program have one more field."""

    @dataclass(frozen=True, kw_only=True)
    class Later(TrainSettings):
        momentum: float = setting(0.9, "A setting of a later version.", if_absent=0.0)

    values = {field.name: getattr(SETTINGS, field.name) for field in fields(SETTINGS)}
    assert identity(store) == identity(store, Later(**values, momentum=0.0))
    assert identity(store) != identity(store, Later(**values))
