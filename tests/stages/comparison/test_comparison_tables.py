from __future__ import annotations

import json
import math

import numpy as np
import pytest
from comparisons import a_comparison, simulated

from pipeline.console import show_table
from stages.comparison.analysis import analyse
from stages.comparison.paired import paired_difference
from stages.comparison.tables import as_json, markdown_table, per_image_rows, terminal_table
from stages.comparison.wording import labels_text, listed, p_text, wins_text
from stages.reporting.wording import number, signed


def analysis(arms=("dual", "image"), labels=(8, 16, 64), seeds=3, images=12):
    means = {(arm, n): 0.8 - 0.5 / n - 0.03 * number for number, arm in enumerate(arms) for n in labels}
    return analyse(a_comparison(simulated(np.random.default_rng(0), means, seeds=seeds, images=images)))


@pytest.mark.parametrize(
    "arms", [("dual",), ("dual", "image"), ("dual", "image", "attention"), ("dual", "wide", "attention", "untrained")]
)
def test_the_terminal_table_fits_80_columns(arms, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = analysis(arms, labels=(8, 16, 1156))
    show_table("Dice", *terminal_table(found))
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    rows = [line for line in printed if line.split()[:1] in (["8"], ["16"], ["1,156"])]
    assert len(rows) == max(len(found.rows), 3)  # no cell was folded into a second line
    assert all("[" in row and "]" in row for row in rows)


def test_the_markdown_table_has_a_row_for_each_number_of_labels():
    found = analysis(("dual", "image", "attention"))
    heading, rule, *rows = markdown_table(found).splitlines()
    assert heading == (
        "| labels | dual | image | attention | dual − image (95 %) | p (Holm) | wins | dual − attention (95 %) "
        "| p (Holm) | wins |"
    )
    assert rule.count("---:") == 10
    assert [row.split(" | ")[0] for row in rows] == ["| 8", "| 16", "| 64"]
    row = found.rows[0].difference
    difference = f"{signed(row.mean)} ({signed(row.low)} to {signed(row.high)})"
    assert f"| {difference} | {p_text(found.rows[0].p_corrected)} |" in rows[0]


def test_a_bar_in_the_name_of_an_arm_stays_in_its_cell():
    assert "| a\\|b |" in markdown_table(analysis(("a|b",)))


def test_without_an_interval_the_mean_stands_alone():
    [row] = markdown_table(analysis(labels=(8,), images=5)).splitlines()[2:]
    assert row.endswith("| – | 100 % |") or "| – |" in row
    assert "(" not in row


def test_everything_can_be_computed_again_from_the_rows_per_image():
    found = analysis()
    rows = per_image_rows(found.comparison)
    assert list(rows[0]) == ["arm", "labels", "seed", "id", "group", "dice", "hd95"]
    assert len(rows) == 2 * 3 * 3 * 12
    dice = {(row["arm"], row["labels"], row["seed"], row["id"]): float(row["dice"]) for row in rows}
    ids = sorted({row["id"] for row in rows})
    arrays = [
        np.array([[dice[arm, "16", str(seed), i] for i in ids] for seed in range(3)]) for arm in ("dual", "image")
    ]
    again = paired_difference(*arrays, ids)
    assert (again.mean, again.low, again.p) == pytest.approx(
        (found.rows[1].difference.mean, found.rows[1].difference.low, found.rows[1].difference.p), abs=1e-5
    )


def test_a_score_that_is_not_defined_is_an_empty_cell():
    rows = per_image_rows(a_comparison({("dual", 8): [[0.5, math.nan]]}, groups={"i000": "p"}))
    assert [(row["dice"], row["hd95"], row["group"]) for row in rows] == [("0.5", "10", "p"), ("", "", "")]


@pytest.mark.parametrize(
    "changes", [{}, {"images": 5}, {"seeds": 1}, {"labels": (8,)}, {"arms": ("dual",)}, {"labels": (8, 16)}]
)
def test_json_is_complete_and_has_no_nan(changes):
    found = analysis(**changes)
    value = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert len(value["means"]) == len(found.means)
    assert len(value["differences"]) == len(found.rows)
    assert set(value["costs"]) == set(found.comparison.arms)
    assert value["verdict"]
    assert value["answers"]


def test_json_of_nothing_in_common_has_no_nan():
    found = analyse(a_comparison({("dual", 8): [[math.nan]], ("image", 8): [[0.4]]}))
    value = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert value["left_out"] == ["i000"]
    assert value["means"][0]["mean"] is None
    assert value["differences"][0]["wins"] is None


def test_json_holds_the_mean_hd95_over_the_images_that_define_it():
    comparison = a_comparison({("dual", 8): [[0.5, 0.7], [0.9, 0.7]]})
    comparison.results["dual", 8, 0].hd95["i001"] = math.nan
    [mean] = as_json(analyse(comparison))["means"]
    assert mean["hd95"] == pytest.approx((10 + (2 + 6) / 2) / 2)


def test_figures_as_text():
    assert [number(0.7434), number(math.nan)] == ["0.743", "–"]
    assert [signed(0.0312), signed(-0.0312), signed(-0.0001), signed(math.nan)] == ["+0.031", "−0.031", "0.000", "–"]
    assert [p_text(0.0004), p_text(0.0412), p_text(1.0), p_text(None)] == ["< 0.001", "0.041", "1.000", "–"]
    assert [wins_text(0.666), wins_text(math.nan)] == ["67 %", "–"]
    assert [labels_text(n) for n in (0.2, 41.3, 99.6, 313, 1612)] == ["1", "41", "100", "310", "1,600"]
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
