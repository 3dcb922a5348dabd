from __future__ import annotations

import math

import numpy as np
import pytest
from comparisons import a_comparison, a_run

from stages.comparison.results import Comparison
from stages.errors import UsageError


def test_dice_is_an_array_of_seeds_and_images_in_the_order_of_the_ids():
    comparison = a_comparison({("dual", 8): [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]})
    assert comparison.ids == ("i000", "i001", "i002")
    assert np.array_equal(comparison.dice("dual", 8), [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


def test_only_images_that_every_run_has_a_dice_of_are_compared():
    comparison = a_comparison({("dual", 8): [[0.1, 0.2, 0.3]], ("image", 8): [[0.4, math.nan, 0.6]]})
    del comparison.results["dual", 8, 0].dice["i002"]
    assert comparison.ids == ("i000",)
    assert comparison.left_out == ("i001", "i002")
    assert comparison.dice("image", 8).tolist() == [[0.4]]


def test_no_common_image_gives_an_empty_array():
    comparison = a_comparison({("dual", 8): [[math.nan]], ("image", 8): [[0.4]]})
    assert comparison.ids == ()
    assert comparison.dice("dual", 8).shape == (1, 0)


def test_images_without_a_group_are_groups_of_their_own():
    comparison = a_comparison({("dual", 8): [[0.1, 0.2, 0.3, 0.4]]}, groups={"i000": "p", "i001": "p", "i002": ""})
    clusters = comparison.clusters
    assert clusters[0] == clusters[1] == "p"
    assert len(set(clusters)) == 3


def test_a_missing_run_is_named():
    with pytest.raises(UsageError, match=r"lacks the results of 2 runs, the first is dual with 8 labels, seed 1"):
        matrix(arms=("dual", "image"), results={("dual", 8, 0): a_run(), ("image", 8, 0): a_run("image")})


@pytest.mark.parametrize("axis", ["arms", "labels", "seeds"])
def test_an_axis_that_is_empty_or_names_something_twice_is_refused(axis):
    whole = matrix()
    for values in ((), getattr(whole, axis) * 2):
        with pytest.raises(UsageError, match=axis):
            matrix(**{axis: values})


def test_runs_come_seed_by_seed():
    comparison = a_comparison({(arm, n): [[0.5], [0.6]] for arm in ("dual", "image") for n in (4, 8)})
    assert [(run.arm, run.labels, run.seed) for run in comparison.runs][:5] == [
        ("dual", 4, 0),
        ("image", 4, 0),
        ("dual", 8, 0),
        ("image", 8, 0),
        ("dual", 4, 1),
    ]
    assert [run.seed for run in comparison.of("image", 8)] == [0, 1]


def matrix(**changes: object) -> Comparison:
    values = {
        "arms": ("dual",),
        "labels": (8,),
        "seeds": (0, 1),
        "results": {("dual", 8, seed): a_run(seed=seed) for seed in (0, 1)},
        "groups": {},
        "score": "test",
        "settings": {},
        "all_labels": 8,
    }
    return Comparison(**values | changes)
