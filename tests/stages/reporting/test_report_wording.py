"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from stages.reporting.wording import named_classes, number, percent, signed, with_interval


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.316, "32 %"), (0.0123, "1.2 %"), (0.00051, "0.051 %"), (0.02, "2 %")],
)
def test_shares_keep_two_digits(share: float, text: str) -> None:
    assert percent(share) == text


def test_what_is_not_defined_is_a_dash() -> None:
    assert {number(None), number(math.nan), percent(None), percent(math.nan), signed(None), signed(math.nan)} == {"–"}


def test_differences_have_a_sign() -> None:
    assert (signed(0.0412), signed(-0.02)) == ("+0.041", "−0.020")
    assert {signed(0.0), signed(0.0004), signed(-0.0004)} == {"0.000"}


def test_a_mean_without_an_interval_stands_alone() -> None:
    assert with_interval({"mean": 0.5, "low": None, "high": None}) == "0.500"
    assert with_interval({"mean": 0.5, "low": 0.4, "high": 0.6}).split(" ", 1)[1].split() == ["(0.400", "to", "0.600)"]


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (["skin", "lesion"], "the lesion"),
        (["skin", "lesion", "hair"], "lesion and hair"),
        (["skin", "a", "b", "c"], "a, b and c"),
        (["skin", "a", "b", "c", "d"], "4 classes"),
    ],
)
def test_classes_are_named_as_long_as_a_sentence_can_hold_them(classes: list[str], text: str) -> None:
    assert named_classes(classes) == text
