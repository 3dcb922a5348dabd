from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from comparisons import a_comparison, simulated

from stages.comparison.analysis import analyse
from stages.comparison.sections import comparison_facts, comparison_sections
from stages.reporting.content import Figure, Paragraph, Table


def analysis(arms=("dual", "image"), labels=(8, 16, 64), seeds=3, images=20, **changes: Any):
    step = {"dual": 0.8, "image": 0.6}
    means = {(arm, n): step.get(arm, 0.7) - 0.5 / n for arm in arms for n in labels}
    dice = simulated(np.random.default_rng(0), means, seeds=seeds, images=images)
    return analyse(a_comparison(dice, **changes))


def blocks(one, kind):
    return [block for section in comparison_sections(one) for block in section.blocks if isinstance(block, kind)]


def test_a_comparison_has_dice_differences_curves_seeds_and_cost():
    sections = comparison_sections(analysis())
    assert [section.id for section in sections] == ["dice", "differences", "learning-curve", "seeds", "cost"]


def test_a_single_arm_has_no_differences_and_a_single_seed_no_table_of_seeds():
    ids = [section.id for section in comparison_sections(analysis(arms=("dual",), seeds=1))]
    assert ids == ["dice", "learning-curve", "cost"]


def test_every_figure_is_described_in_words():
    for figure in blocks(analysis(), Figure):
        assert any(name in figure.description for name in ("dual", "image"))
        assert figure.svg.startswith("<svg")


@pytest.mark.parametrize("changes", [{}, {"arms": ("dual", "image", "attention")}, {"seeds": 1}, {"images": 5}])
def test_all_rows_of_a_table_have_its_columns_and_its_numbers_are_in_range(changes):
    for table in blocks(analysis(**changes), Table):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(0 <= number < len(table.columns) for number in table.numeric)


def test_the_table_of_differences_shows_p_before_and_after_the_correction():
    one = analysis()
    [table] = [table for table in blocks(one, Table) if "p (Holm)" in table.columns]
    assert [row[0] for row in table.rows] == ["8", "16", "64"]
    assert [row[1] for row in table.rows] == ["dual − image"] * 3
    assert {row[-1] for row in table.rows} == {"dual"}


def test_without_an_interval_nothing_is_called_ahead():
    [table] = [table for table in blocks(analysis(images=5), Table) if "p (Holm)" in table.columns]
    assert [row[3:6] + row[-1:] for row in table.rows] == [["no interval", "–", "–", "–"]] * 3


def test_two_numbers_of_labels_say_why_there_is_no_learning_curve():
    [section] = [section for section in comparison_sections(analysis(labels=(8, 16))) if section.id == "learning-curve"]
    assert [block.kind for block in section.blocks] == ["note"]
    assert "at least 3 numbers of labels" in section.blocks[0].text


def test_the_learning_curve_answers_for_the_first_arm_in_words_and_for_all_in_a_table():
    one = analysis(arms=("dual", "image", "attention"))
    [text] = [paragraph.text for paragraph in blocks(one, Paragraph) if "0.85 Dice" in paragraph.text]
    assert "50 more labels than 64 would bring dual" in text
    assert "what image reaches with 64" in text
    [table] = [table for table in blocks(one, Table) if "labels for 0.85 Dice" in table.columns]
    assert [row[0] for row in table.rows] == ["dual", "image", "attention"]


def test_seeds_are_shown_by_their_differences_or_by_the_means_of_a_single_arm():
    for arms, name in (("dual", "image"), "dual − image"), (("dual",), "dual"):
        one = analysis(arms=arms)
        [table] = [table for table in blocks(one, Table) if "seed 2" in table.columns]
        assert [row[:2] for row in table.rows] == [["8", name], ["16", name], ["64", name]]


def test_nothing_in_common_gives_one_warning_and_no_facts():
    one = analyse(a_comparison({("dual", 8): [[math.nan]], ("image", 8): [[0.4]]}))
    [section] = comparison_sections(one)
    assert section.blocks[0].kind == "warning"
    assert comparison_facts(one) == []


def test_facts_are_the_differences_at_the_smallest_and_the_largest_number_of_labels():
    facts = comparison_facts(analysis())
    assert [fact.label for fact in facts[:2]] == ["dual − image, 8 labels", "dual − image, 64 labels"]
    assert facts[0].value.startswith("+0.")
    assert "after Holm" in facts[0].detail
    assert (facts[2].label, facts[2].value) == ("test images", "20")
    assert (facts[3].value, facts[3].detail) == ("18", "2 arms × 3 numbers of labels × 3 seeds")


def test_facts_name_the_groups_and_the_validation_split():
    groups = {f"i{image:03}": str(image % 12) for image in range(20)}
    fact = comparison_facts(analysis(groups=groups, score="val"))[2]
    assert (fact.label, fact.detail) == ("validation images", "of 12 groups")


def test_facts_of_a_single_arm_are_its_dice():
    facts = comparison_facts(analysis(arms=("dual",), labels=(8,)))
    assert facts[0].label == "Dice with 8 labels"
    assert facts[0].detail.startswith("95 % 0.")
