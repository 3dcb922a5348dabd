"""The sections of a page: what their tables and sentences say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import UsageError
from stages.reporting.content import Figure, Paragraph, Section, Table
from stages.reporting.data_sections import MOST_LISTED, doubt_section, left_out_section, provenance
from stages.reporting.differences import difference_section, pair_arms
from stages.reporting.distributions import distribution_section, group_section, size_section
from stages.reporting.label_doubts import LabelDoubt
from stages.reporting.model_sections import calibration_section, class_section, training_section
from stages.reporting.overview import score_section
from stages.reporting.wording import signed
from stages.segmentation.bootstrap import paired_difference
from store import AttentionStore
from store.writer import Layout
from tests.stages.reporting.made_arms import made_arm, made_store

Make = Callable[..., AttentionStore]


@pytest.fixture
def make(layout: Layout, tmp_path: Path) -> Make:
    """Return a function that makes a store with these groups, by default 30 images of 30 groups."""
    return lambda groups=None: made_store(tmp_path / "s.zarr", layout, groups or [f"g{at}" for at in range(30)])


def tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def figures(section: Section) -> list[Figure]:
    return [block for block in section.blocks if isinstance(block, Figure)]


def test_differences_count_better_equal_and_worse_images_and_resample_groups(make: Make) -> None:
    store = make([f"g{at // 2}" for at in range(30)])
    first = dict.fromkeys(range(30), 0.8)
    second = {at: 0.8 + (0.1 if at < 4 else -0.05 if at < 20 else 0) for at in range(30)}
    pairs = pair_arms([made_arm(store, first), made_arm(store, second, name="image")])
    groups = [f"g{at // 2}" for at in range(30)]
    expected = paired_difference(list(first.values()), list(second.values()), seed=0, groups=groups)
    section = difference_section(pairs)
    row = tables(section)[0].rows[0]
    assert row[:2] == ["image", "30"]
    assert row[2:4] == [signed(expected["mean"]), f"{signed(expected['low'])} to {signed(expected['high'])}"]
    assert row[4:] == ["16", "10", "4"]
    assert [row[0] for row in tables(section)[1].rows][:4] == [f"sample-{at:03d}" for at in range(4)]
    assert expected["groups"] == 15


def test_runs_without_common_images_cannot_be_paired(make: Make) -> None:
    store = make()
    with pytest.raises(UsageError, match="none is common"):
        pair_arms([made_arm(store, {0: 0.5}), made_arm(store, {1: 0.5}, name="image")])


def test_the_distribution_shows_quantiles_and_failures(make: Make) -> None:
    dice = {at: at / 29 for at in range(30)}
    section = distribution_section([made_arm(make(), {**dice, 3: np.nan})])
    row = tables(section)[0].rows[0]
    assert (row[1], row[6]) == ("0.000", "1.000")
    assert row[7] == "14 of 29"
    assert figures(section)[0].svg.startswith("<svg")
    assert "median" in figures(section)[0].description


def test_without_any_score_there_are_still_figures(make: Make) -> None:
    arm = made_arm(make(), {0: np.nan})
    assert tables(distribution_section([arm]))[0].rows[0][1] == "–"
    assert figures(size_section([arm]))


def test_sizes_are_compared_in_fifths(make: Make) -> None:
    sizes = {at: 10 + 10 * at for at in range(30)}
    dice = {at: 0.5 if at < 6 else 0.9 for at in range(30)}
    figure = figures(size_section([made_arm(make(), dice, sizes=sizes)]))[0]
    assert "0.500 in the fifth with the smallest objects, 0.900 in the fifth with the largest" in figure.caption


def test_groups_of_single_images_have_no_table(make: Make) -> None:
    store = make()
    assert group_section(store, [made_arm(store, {0: 0.5, 1: 0.6})]) is None


def test_the_worst_groups_come_first(make: Make) -> None:
    store = make([f"g{at // 3}" for at in range(30)])
    dice = {at: 0.2 if at in {3, 4, 5} else 0.3 if at == 9 else 0.9 for at in range(30)}
    section = group_section(store, [made_arm(store, dice)])
    assert section is not None
    rows = tables(section)[0].rows
    assert rows[0] == ["g1", "3", "0.200", "0.200"]
    assert rows[1] == ["g3", "3", "0.700", "0.300"]


def test_a_single_class_has_no_table_of_classes_and_several_have(make: Make) -> None:
    arm = made_arm(make(), {0: 0.5})
    assert class_section([arm]) is None
    one = {"mean": 0.5, "low": None, "high": None, "n": 3, "groups": 3}
    scores = {name: {"n": 3, **dict.fromkeys(("dice", "iou", "sensitivity", "hd95"), one)} for name in ("hair", "nail")}
    section = class_section([made_arm(arm.inputs.store, {0: 0.5}, per_class=scores)])
    assert section is not None
    assert [row[0] for row in tables(section)[0].rows] == ["hair", "nail"]


def test_calibration_shows_the_error_and_is_left_out_without_pixels(make: Make) -> None:
    store = make()
    empty = {"kind": "foreground", "pixels": 0, "ece": None, "brier": None, "bins": []}
    assert calibration_section([made_arm(store, {0: 0.5}, calibration=empty)]) is None
    bins = [{"low": 0, "high": 1, "count": 5, "probability": 0.4, "share": 0.6}]
    full = {"kind": "foreground", "pixels": 5, "ece": 0.2, "brier": 0.25, "bins": bins}
    section = calibration_section([made_arm(store, {0: 0.5}, calibration=full)])
    assert section is not None
    assert tables(section)[0].rows == [["dual", "20 %", "0.250"]]


def test_training_says_which_epoch_was_kept_and_that_the_best_of_many_is_optimistic(make: Make) -> None:
    arm = made_arm(make(), {0: 0.5})
    history = [{"epoch": float(at), "loss": 1 / at, "val_dice": 0.1 * at} for at in (1, 2, 3)]
    section = training_section([arm], {"dual": history})
    assert tables(section)[0].rows == [["dual", "2 of 3", "0.800"]]
    assert "optimistic" in tables(section)[0].caption
    assert "The loss went from 1.000 to 0.333" in figures(section)[0].description
    assert figures(section)[0].caption == "Dotted: the epoch that was kept."


def test_training_without_validation_has_no_line_to_explain(make: Make) -> None:
    history = [{"epoch": float(at), "loss": 1 / at, "val_dice": None} for at in (1, 2, 3)]
    assert figures(training_section([made_arm(make(), {0: 0.5})], {"dual": history}))[0].caption == ""


def test_training_without_its_history_says_so(make: Make) -> None:
    section = training_section([made_arm(make(), {0: 0.5})], {"dual": []})
    assert not figures(section)
    assert "missing or damaged" in words(section)


def doubt(share: float) -> LabelDoubt:
    return LabelDoubt(share=share, confidence=0.97, kind="extra")


def test_labels_in_doubt_are_listed_by_how_much_and_called_a_suspicion(make: Make) -> None:
    store = make()
    doubts = {0: doubt(0.4), 1: doubt(0.5), 2: doubt(0.9)}
    section = doubt_section([made_arm(store, dict.fromkeys(range(3), 0.5), doubts=doubts)])
    assert [row[0] for row in tables(section)[0].rows] == ["sample-002", "sample-001"]
    assert "suspicion and no proof" in words(section)
    assert "97 %" in tables(section)[0].rows[0][3]


def test_many_doubts_are_counted_and_the_worst_listed(make: Make) -> None:
    store = make()
    doubts = {at: doubt(0.5) for at in range(30)}
    table = tables(doubt_section([made_arm(store, dict.fromkeys(range(30), 0.5), doubts=doubts)]))[0]
    assert len(table.rows) == MOST_LISTED
    assert "30 images in doubt" in table.caption


def test_without_doubts_the_section_says_so(make: Make) -> None:
    assert "no such image" in words(doubt_section([made_arm(make(), {0: 0.5})]))


def test_what_was_left_out_is_counted(make: Make) -> None:
    rows = {row[0]: row[1] for row in tables(left_out_section([made_arm(make(), {0: 0.5, 1: 0.6})]))[0].rows}
    assert rows == {"in the store": "30", "scored here": "2", "in other splits": "28"}


def test_large_numbers_of_images_have_thousands_separators(make: Make) -> None:
    """The scores of a run may be of more images than a test can make."""
    arm = made_arm(make(), {0: 0.5})
    arm = replace(arm, scores={**arm.scores, "n": 1526})
    rows = tables(score_section([arm]))[0].rows
    assert {row[1] for row in rows} == {"1,526"}


def test_provenance_names_store_recipe_licence_seeds_and_definitions(make: Make) -> None:
    arm = made_arm(make(), {0: 0.5}, hd95_definition="pooled", tolerance_px=3.0)
    rows = dict(provenance([arm], {"dual": {"seed": 7, "lr": 0.01, "unknown": [1]}}))
    assert arm.inputs.store.description.contents_sha256[:12] in rows["Store"]
    assert rows["Attention"].startswith("dino_vits8")
    assert rows["Licence of the transformer's weights"] == "Apache-2.0"
    assert rows["Training of dual"] == "seed 7, lr 0.01"
    assert "both directions together" in rows["Distances"]
    assert "within 3 px" in rows["NSD"]
    assert "torch" in rows["Made by"]


def test_licences_that_differ_are_all_listed(make: Make) -> None:
    """A store may have been extracted again with another `--licence` since a run was trained."""
    arms = [made_arm(make(), {0: 0.5}, name=name) for name in ("old", "new")]
    arms[0].inputs.card.weights_licence = "CC BY-NC 4.0"
    rows = {label: text for label, text in provenance(arms, {}) if label.startswith("Licence")}
    assert rows == {
        "Licence of the transformer's weights, as the store records it": "Apache-2.0",
        "Licence of the transformer's weights, as old records it": "CC BY-NC 4.0",
        "Licence of the transformer's weights, as new records it": "Apache-2.0",
    }


@pytest.mark.parametrize(
    ("branches", "licence"),
    [
        (("image", "image"), "none needed (the run takes no attention)"),
        (("image", "dual"), "Apache-2.0"),
        (("dual", "attention"), "Apache-2.0"),
    ],
)
def test_runs_on_images_alone_need_no_licence(make: Make, branches: tuple[str, str], licence: str) -> None:
    arms = [made_arm(make(), {0: 0.5}, name=name) for name in ("one", "other")]
    for arm, one in zip(arms, branches, strict=True):
        arm.inputs.card.network.branches = one  # type: ignore[misc, assignment]
    rows = {label: text for label, text in provenance(arms, {}) if label.startswith("Licence")}
    assert rows == {"Licence of the transformer's weights": licence}


def test_figures_of_many_images_stay_small_and_say_that_not_all_are_drawn(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.reporting.chart_style.MOST_POINTS", 10)
    store = make()
    dice = {at: 0.5 + at / 100 for at in range(30)}
    arms = [made_arm(store, dice), made_arm(store, {at: one - 0.1 for at, one in dice.items()}, name="image")]
    for section in (distribution_section(arms), size_section(arms), difference_section(pair_arms(arms))):
        figure = figures(section)[0]
        assert "10 of 30 images are drawn" in figure.caption
        assert 10 <= figure.svg.count("<use") < 60
