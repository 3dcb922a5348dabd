"""A page with 500 pictures stays below 15 MB, and one with 10,000 cases lists them all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stages.reporting.case_table import PICTURES_SIZE
from stages.reporting.content import Case, CasePicture, CaseTable, Page
from stages.reporting.page import render
from stages.reporting.pictures import LARGE, Source, case_picture, picture_size
from store.records import Sample
from tests.stages.reporting.test_pictures import names, photo

MB = 1_000_000
CASES = 500
MADE = 12
"""Pictures that are really made; each stands for many cases."""


def detailed(seed: int) -> Sample:
    """Return a sample as DINO at 224 pixels gives it: 18 heads of 28 × 28, and a lesion with a rough border."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.standard_normal((224, 224)), 12)
    maps = gaussian_filter(random.random((18, 28, 28)), (0, 0.7, 0.7)) ** 4
    return Sample(
        id=str(seed),
        image=photo((224, 224), seed, noise=12),
        mask=(field > np.quantile(field, 0.8)).astype(np.uint8),
        attention=(maps / maps.mean()).astype(np.float16),
        digest="",
        height=767,
        width=1022,
        group="",
        labelled=True,
    )


def pictures(total: int, count: int, *, large: bool) -> list[CasePicture]:
    """Return pictures as `case_table` makes them for so many cases; each step has the share of the whole page."""
    made = []
    for seed in range(MADE):
        sample = detailed(seed)
        probability = gaussian_filter(sample.mask.astype(np.float32), 3)
        picture = case_picture(
            sample,
            classes=["skin", "lesion"],
            heads=names(18),
            predictions={"dual": np.roll(sample.mask, 4, axis=0), "image": np.roll(sample.mask, 9, axis=1)},
            probabilities=dict.fromkeys(("dual", "image"), np.stack([1 - probability, probability])),
            source=Source(image=photo((767, 1022), seed, noise=12)) if large else None,
            limit=min(LARGE, total // count),
        )
        made.append(picture)
    return made


@pytest.mark.parametrize("large", [False, True])
def test_500_cases_of_two_runs_stay_below_15_mb(large: bool) -> None:  # noqa: FBT001 - a parameter
    made = pictures(PICTURES_SIZE, CASES, large=large)
    assert max(map(picture_size, made)) <= PICTURES_SIZE // CASES
    cases = [
        Case(
            id=f"ISIC_{number:07d}",
            group="patient",
            height=767,
            width=1022,
            scores={arm: dict.fromkeys(("dice", "iou", "hd95", "nsd"), 0.912345) for arm in ("dual", "image")},
            size=0.2,
            picture=made[number % MADE],
        )
        for number in range(CASES)
    ]
    table = CaseTable(arms=["dual", "image"], scores={"dice": "Dice"}, cases=cases)
    assert len(render(Page(title="t", verdict="v", cases=table)).encode()) < 15 * MB


def test_10_000_cases_are_listed_in_a_few_megabytes() -> None:
    one = Case(
        id="ISIC_0000000", group="g", height=767, width=1022, scores={"dual": {"dice": 0.912345, "hd95": 4.0}}, size=0.2
    )
    cases = [replace(one, id=f"ISIC_{number:07d}") for number in range(10_000)]
    table = CaseTable(arms=["dual"], scores={"dice": "Dice"}, cases=cases)
    html = render(Page(title="t", verdict="v", cases=table))
    assert "ISIC_0009999" in html
    assert len(html.encode()) < 3 * MB
