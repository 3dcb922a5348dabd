from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparisons import a_comparison, simulated

from stages.comparison.analysis import Analysis, analyse
from stages.comparison.verdict import summary_lines, verdict

CLEAR = {"dual": 0.75, "image": 0.6, "attention": 0.751}


def analysis(arms=("dual", "image"), labels=(16, 64), seeds=3, images=40, means=CLEAR, **changes: Any) -> Analysis:
    truth = {(arm, n): means[arm] - 0.5 / n for arm in arms for n in labels}
    dice = simulated(np.random.default_rng(2), truth, seeds=seeds, images=images, image_sd=0.05)
    return analyse(a_comparison(dice, **changes))


def with_p(found: Analysis, *p: float) -> Analysis:
    """Return the analysis with other corrected p."""
    rows = tuple(replace(row, p_corrected=value) for row, value in zip(found.rows, p, strict=True))
    return replace(found, rows=rows)


def test_a_clear_difference_is_claimed_with_all_its_figures():
    found = analysis(labels=(16,))
    [row] = found.rows
    expected = (
        f"With 16 labels, dual is ahead of image by {row.difference.mean:.3f} Dice (95 % {row.difference.low:+.3f} to "
        f"{row.difference.high:+.3f}, p = {row.p_corrected:.3f}; 3 seeds, 40 test images)."
    )
    assert verdict(found) == expected


def test_the_better_arm_is_named_also_if_it_is_the_second():
    text = verdict(analysis(arms=("image", "dual"), labels=(16,)))
    assert text.startswith("With 16 labels, dual is ahead of image by 0.1")
    assert "(image − dual: 95 % −0.1" in text


def test_without_significance_nothing_is_claimed_whatever_the_interval_says():
    """The interval is not corrected, so it may leave zero out."""
    found = with_p(analysis(), 0.06, 0.2)
    assert found.rows[0].difference.low > 0
    text = verdict(found)
    assert text.startswith("With 16 labels, no difference between dual and image can be shown: +0.1")
    assert text.endswith("Nor can one be shown with 64 labels.")


def test_the_row_that_is_named_is_the_smallest_number_of_labels_and_not_the_best():
    text = verdict(with_p(analysis(labels=(16, 64, 156)), 0.5, 0.001, 0.2))
    assert text.startswith("With 16 labels, no difference")
    assert text.endswith("Of 3 numbers of labels, dual is ahead of image in 1 (64) and behind in none.")


def test_rows_in_both_directions_are_counted_apart():
    means = {"dual": 0.7, "image": 0.6}
    found = analysis(means=means, labels=(16, 64))
    first, second = found.rows
    back = replace(second, difference=replace(second.difference, mean=-0.05))
    text = verdict(replace(found, rows=(replace(first, p_corrected=0.01), replace(back, p_corrected=0.01))))
    assert text.endswith("Of 2 numbers of labels, dual is ahead of image in 1 (16) and behind in 1 (64).")


def test_every_other_arm_is_counted():
    text = verdict(analysis(arms=("dual", "image", "attention")))
    assert text.endswith(
        "Of 2 numbers of labels, dual is ahead of image in all 2 and behind in none; "
        "no difference from attention can be shown in any."
    )
    assert " after Holm; 3 seeds" in text


def test_one_number_of_labels_names_every_other_arm():
    text = verdict(analysis(arms=("dual", "image", "attention"), labels=(16,)))
    assert text.count("ahead of image") == 1
    assert "No difference between dual and attention can be shown (" in text


def test_too_few_images_show_nothing():
    text = verdict(analysis(images=8))
    assert "without an interval (3 seeds, 8 test images): this shows nothing yet." in text
    assert "ahead" not in text


def test_one_seed_is_no_proof_for_another_training():
    assert verdict(analysis(seeds=1)).endswith("There is one seed, so another training may give another result.")
    assert "another training" not in verdict(analysis(seeds=2))


def test_groups_and_the_validation_split_are_named():
    groups = {f"i{image:03}": str(image % 12) for image in range(40)}
    assert "40 validation images of 12 groups" in verdict(analysis(groups=groups, score="val"))


def test_a_single_arm_is_only_measured():
    found = analysis(arms=("dual",))
    assert verdict(found).startswith("With 16 labels, dual reaches 0.7")
    assert verdict(found).endswith("There is no other arm to compare it with.")
    assert summary_lines(found)[0].startswith("Measured dual, trained on 16 and 64 labels")


def test_nothing_in_common_is_said():
    found = analyse(a_comparison({("dual", 8): [[math.nan]], ("image", 8): [[0.4]]}))
    assert verdict(found) == "Nothing can be compared: no image has a Dice in every run."
    assert verdict(found) in summary_lines(found)


@pytest.mark.parametrize("arms", [("dual",), ("dual", "image"), ("dual", "image", "attention")])
def test_the_summary_has_at_most_four_lines_with_every_arm(arms):
    found = analysis(arms=arms)
    lines = summary_lines(found)
    assert len(lines) <= 4
    for arm in arms:
        mean = found.means[arm, 64].mean
        assert any(f"{arm} " in line and f"{mean:.3f} with 64" in line for line in lines[1:-1])
    assert lines[-1] == verdict(found)
