"""Sizes of the transformer's input: whole patches, and no more of them than the maps can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.attention.input_size import MOST_TOKENS, check_input_size
from stages.attention.models import MODELS
from stages.errors import UsageError


@pytest.mark.parametrize(
    ("model", "size", "tokens", "largest"),
    [
        ("dino_vits8", (16384, 16384), "4,194,304", "2040x2040"),
        ("dino_vits16", (16384, 16384), "1,048,576", "4080x4080"),
        ("dinov2_vits14", (16380, 16380), "1,368,900", "3570x3570"),
        ("untrained_tiny8", (16384, 8), None, None),
        ("untrained_tiny8", (2048, 2048), "65,536", "2040x2040"),
        ("untrained_tiny8", (16384, 256), "65,536", "2040x2040"),
        ("untrained_tiny8", (10**9, 10**9), "15,625,000,000,000,000", "2040x2040"),
    ],
)
def test_too_many_tokens_are_refused_with_their_number_and_the_largest_square(
    model: str, size: Any, tokens: Any, largest: Any
):
    """The largest square itself is valid."""
    if tokens is None:
        check_input_size(MODELS[model], size)
        return
    with pytest.raises(UsageError) as caught:
        check_input_size(MODELS[model], size)
    for words in (f"attention size {size[0]}x{size[1]}", f"{tokens} patches (tokens)", largest, model):
        assert words in str(caught.value)
    side = int(largest.partition("x")[0])
    check_input_size(MODELS[model], (side, side))


@pytest.mark.parametrize("size", [(0, 8), (-8, 8), (8, 12), (-(10**9), -(10**9))])
def test_sides_that_are_no_patches_are_refused(size: tuple[int, int]):
    with pytest.raises(UsageError, match="divisible by its patch of 8"):
        check_input_size(MODELS["dino_vits8"], size)


def test_the_most_tokens_fit_into_a_map():
    """A map holds probability times number of keys, and one patch may have all the probability."""
    assert np.float16(MOST_TOKENS + 5) < np.inf
    assert np.finfo(np.float16).max >= MOST_TOKENS + 5
