"""Arms: what each is trained with, and every way to name one that cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.comparison.arms import changed_settings, parse_arm, read_arms, shared_settings
from stages.errors import UsageError
from stages.settings import CompareSettings, TrainSettings

BASE = TrainSettings(lr=0.01, epochs=7, seed=3, width=4)


def arms_of(**changes: Any) -> dict[str, TrainSettings]:
    settings = CompareSettings(**changes)
    return {arm.name: arm.settings for arm in read_arms(settings, shared_settings(settings, BASE))}


def test_all_arms_have_the_settings_of_train_and_the_budget_of_the_comparison():
    arms = arms_of(arms=("dual", "image"), steps=12, store=Path("a.zarr"), device="cpu")
    assert list(arms) == ["dual", "image"]
    assert [settings.branches for settings in arms.values()] == ["dual", "image"]
    for settings in arms.values():
        assert (settings.lr, settings.width, settings.steps) == (0.01, 4, 12)
        assert (settings.store, settings.device, settings.labels) == (Path("a.zarr"), "cpu", None)


def test_common_settings_win_over_those_of_train_and_those_of_an_arm_over_both():
    arms = arms_of(common=("lr=0.1", "batch-size=2"), arm={"slow": "dual,lr=0.001"})
    assert (arms["dual"].lr, arms["image"].lr, arms["slow"].lr) == (0.1, 0.1, 0.001)
    assert {settings.batch_size for settings in arms.values()} == {2}


def test_an_arm_may_have_another_store_and_a_comma_in_a_path():
    arms = arms_of(arm={"other": "image,store=a,b.zarr,width=8"})
    assert arms["other"].store == Path("a,b.zarr")
    assert (arms["other"].branches, arms["other"].width) == ("image", 8)


def test_the_short_arms_can_all_be_left_out():
    assert list(arms_of(arms=("none",), arm={"a": "dual,width=8", "b": "dual,width=16"})) == ["a", "b"]


def test_what_an_arm_changes_is_named_with_its_branches():
    arm = parse_arm("wide", "image,width=16", BASE)
    assert changed_settings(arm, BASE) == {"branches": "image", "width": 16}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"arms": ("dual", "both")}, ["--arms", "'both'", "dual, image, attention"], id="unknown arm"),
        pytest.param({"arms": ("dual",)}, ["two arms or more"], id="one arm"),
        pytest.param({"arms": ("none",)}, ["two arms or more"], id="no arm"),
        pytest.param({"arms": ("dual", "dual")}, ["two arms are called dual"], id="an arm twice"),
        pytest.param({"arm": {"Dual": "dual,lr=1"}}, ["dual and Dual"], id="names that differ in case"),
        pytest.param({"arm": {"same": "dual"}}, ["dual and same", "the same settings"], id="settings twice"),
        pytest.param({"arm": {"../x": "dual,lr=1"}}, ["--arm ../x", "name of a folder"], id="a path as name"),
        pytest.param({"arm": {"none": "dual,lr=1"}}, ["--arm none"], id="a reserved name"),
        pytest.param({"arm": {"x" * 41: "dual,lr=1"}}, ["at most 40"], id="a long name"),
        pytest.param({"arm": {"a": "width=8"}}, ["--arm a", "begin with one of dual"], id="no branches"),
        pytest.param({"arm": {"a": "dual,widht=8"}}, ["`widht`", "`width`"], id="unknown setting"),
        pytest.param({"arm": {"a": "dual,width"}}, ["--arm a"], id="no value"),
        pytest.param({"arm": {"a": "dual,width=1,width=2"}}, ["`width` is given twice"], id="setting twice"),
        pytest.param({"arm": {"a": "dual,width=wide"}}, ["--arm a: width", "'wide'"], id="no number"),
        pytest.param({"arm": {"a": "dual,lr=inf"}}, ["--arm a: lr"], id="infinity"),
        pytest.param({"arm": {"a": "dual,seed=1"}}, ["`seed`", "--seeds"], id="the seed"),
        pytest.param({"arm": {"a": "dual,labels=1"}}, ["`labels`", "--labels"], id="the labels"),
        pytest.param({"arm": {"a": "dual,epochs=1"}}, ["`epochs`", "--steps"], id="the budget"),
        pytest.param({"arm": {"a": "dual,branches=image"}}, ["`branches`"], id="branches twice"),
        pytest.param({"arm": {"a": "dual,test=0.5"}}, ["`test`", "--common test"], id="the split"),
        pytest.param({"arm": {"a": "dual,out=x"}}, ["`out`", "no meaning"], id="an unused setting"),
        pytest.param({"common": ("store=b.zarr",)}, ["`store`", "--store"], id="the store for all"),
        pytest.param({"common": ("lr=-1",)}, ["--common: lr", "'-1'"], id="out of range"),
        pytest.param({"common": ("width",)}, ["--common", "'width'"], id="common without value"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(changes, words):
    with pytest.raises(UsageError) as caught:
        arms_of(**changes)
    for word in words:
        assert word in str(caught.value)
