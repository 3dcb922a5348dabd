"""The table of cases: rows, flags, and pictures of those that were chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.reporting.arms import Arm, score_arm, size_of
from stages.reporting.case_table import case_table
from stages.reporting.content import CaseTable
from stages.reporting.evaluation_inputs import Request, load_inputs
from stages.reporting.label_doubts import LabelDoubt
from stages.runtime.progress import SILENT
from stages.segmentation.metrics import score_sample
from store import AttentionStore
from store.writer import Layout
from tests.stages.reporting.made_arms import made_arm, made_store, scored
from tests.stages.reporting.rasters import rasterise


@pytest.fixture
def arm(trained: Path, phantom_store: Path) -> Arm:
    """Return the scored run of the phantoms."""
    inputs = load_inputs(Request(run=trained, store=phantom_store))
    return score_arm("dual", inputs, batch_size=3, progress=SILENT)


def listed(store: AttentionStore, *arms: Arm) -> CaseTable:
    return case_table(store, arms, batch_size=4, most=0)


def test_pictures_show_the_prediction_that_was_scored(arm: Arm) -> None:
    store = arm.inputs.store
    table = case_table(store, [arm], batch_size=2, most=100)
    ids = {str(id_): index for index, id_ in enumerate(store.ids)}
    assert len(table.cases) == len(arm.cases)
    for case in table.cases:
        assert case.picture is not None
        size, frame = store.size, (case.picture.height, case.picture.width)
        shapes = case.picture.predictions["dual"]
        mask = rasterise(shapes[0].path, size, frame) if shapes else np.zeros(size, bool)
        sample = store[ids[case.id]]
        again = score_sample(mask.astype(np.uint8), sample.mask, 2)
        assert again.dice == pytest.approx(case.scores["dual"]["dice"], abs=1e-9)


def test_the_scores_of_which_lower_is_better_are_the_distances(arm: Arm) -> None:
    table = listed(arm.inputs.store, arm)
    assert set(table.lower_is_better) & set(table.scores) == {"hd95"}


def test_only_chosen_cases_have_pictures_and_get_the_right_prediction(arm: Arm) -> None:
    store = arm.inputs.store
    whole = {case.id: case for case in case_table(store, [arm], batch_size=4, most=100).cases}
    some = [case for case in case_table(store, [arm], batch_size=1, most=2).cases if case.picture]
    assert len(some) == 2
    for case in some:
        assert case.picture is not None
        assert case.picture.predictions == whole[case.id].picture.predictions  # type: ignore[union-attr]


def test_bytes_that_are_scarce_are_shared(arm: Arm) -> None:
    from stages.reporting.pictures import picture_size

    table = case_table(arm.inputs.store, [arm], batch_size=4, most=100, total=40_000)
    assert sum(picture_size(case.picture) for case in table.cases if case.picture) <= 40_000


def test_a_case_that_one_run_lacks_has_the_scores_of_the_other(layout: Layout, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", layout, ["a", "b", "c"])
    table = listed(store, made_arm(store, {0: 0.5, 1: 0.6}), made_arm(store, {1: 0.7, 2: 0.8}, name="image"))
    assert [set(case.scores) for case in table.cases] == [{"dual"}, {"dual", "image"}, {"image"}]
    assert [case.group for case in table.cases] == ["a", "b", "c"]
    assert table.cases[2].scores["image"]["dice"] == 0.8
    assert table.scores["hd95"] == "HD95 (px)"


def test_flags_name_what_is_special(layout: Layout, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", layout, ["a", "b", "c"])
    doubts = {0: LabelDoubt(share=0.9, confidence=0.95, kind="extra")}
    one = made_arm(store, {0: 0.5, 1: 0.0, 2: 0.9}, sizes={1: 0}, doubts=doubts)
    assert [list(case.flags) for case in listed(store, one).cases] == [
        ["label in doubt"],
        ["empty label", "empty prediction"],
        [],
    ]
    two = made_arm(store, {1: 0.0}, name="image", sizes={1: 0})
    assert "empty prediction: image" in listed(store, one, two).cases[1].flags


def test_an_object_that_the_store_lost_is_flagged(layout: Layout, tmp_path: Path) -> None:
    from store.writer import new_store
    from tests.conftest import RECIPE, random_sample

    columns = replace(layout, columns=("objects", "lost_objects", "lost_classes"))
    with new_store(tmp_path / "s.zarr", layout=columns, recipe=RECIPE) as writer:
        for index, lost in enumerate(("", "1")):
            sample = random_sample(index, layout)
            mask = np.zeros_like(sample.mask) if lost else sample.mask
            writer.append(replace(sample, mask=mask, objects=1, lost_objects=len(lost), lost_classes=lost))
    store = AttentionStore.open(tmp_path / "s.zarr")
    first, second = listed(store, made_arm(store, {0: 0.5, 1: 0.5})).cases
    assert list(first.flags) == []
    assert list(second.flags) == ["object lost at the store's size"]


def test_the_size_is_the_share_of_the_known_pixels() -> None:
    assert size_of(scored(0.5, size=100)) == pytest.approx(0.1)
    assert np.isnan(size_of(scored(float("nan"))))


def test_many_cases_are_listed_without_pictures(layout: Layout, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", layout, [f"g{at}" for at in range(300)])
    table = listed(store, made_arm(store, {at: at / 300 for at in range(300)}))
    assert len(table.cases) == 300
    assert "0 of 300 cases have pictures" in table.note
