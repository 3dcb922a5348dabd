"""Check the size of the transformer's input before a model is built or an image is read."""

from __future__ import annotations

import math

from stages.attention.models import ModelEntry
from stages.errors import UsageError

__all__ = ["MOST_TOKENS", "check_input_size", "require_few_tokens"]

MOST_TOKENS = 65_504 - 8
"""Patches of one image. Maps are float16, whose largest number is 65,504, times the number of keys.

Eight keys are left for the tokens that are no patches: CLS and registers.
"""


def check_input_size(entry: ModelEntry, input_size: tuple[int, int]) -> None:
    """Check that a size is a whole number of patches, and not more of them than the maps can hold.

    Args:
        entry: the model.
        input_size: (height, width) in pixels.

    Raises:
        UsageError: the size is not valid. The message names the nearest valid sizes, or the largest one.
    """
    height, width = input_size
    require_few_tokens(entry, input_size, what=f"attention size {height}x{width}")
    if all(side > 0 and side % entry.patch == 0 for side in input_size):
        return
    smaller = "x".join(str(max(side // entry.patch, 1) * entry.patch) for side in input_size)
    larger = "x".join(str(max(-(-side // entry.patch), 1) * entry.patch) for side in input_size)
    nearest = smaller if smaller == larger else f"{smaller} or {larger}"
    raise UsageError(
        f"attention size {height}x{width}: {entry.name} needs sides divisible by its patch of {entry.patch} pixels. "
        f"The nearest: {nearest}."
    )


def require_few_tokens(entry: ModelEntry, input_size: tuple[int, int], *, what: str) -> None:
    """Check that an image is cut into no more patches than are possible.

    Args:
        entry: the model.
        input_size: (height, width) in pixels; of any value.
        what: the setting and its value, for the message.

    Raises:
        UsageError: there are too many. The message has the number of tokens and the largest square.
    """
    tokens = math.prod(math.ceil(max(side, 0) / entry.patch) for side in input_size)
    if tokens > MOST_TOKENS:
        largest = math.isqrt(MOST_TOKENS) * entry.patch
        raise UsageError(
            f"{what}: {entry.name} would cut every image into {tokens:,} patches (tokens) of {entry.patch} pixels, and "
            f"at most {MOST_TOKENS:,} are possible. The largest square is {largest}x{largest}; 224x224 is usual."
        )
