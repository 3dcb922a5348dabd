"""Check the sizes that an extraction is asked for, and estimate what it writes, before an image is read."""

from __future__ import annotations

import math

from stages.attention.input_size import check_input_size, require_few_tokens
from stages.attention.naming import find_model
from stages.errors import UsageError
from stages.extraction.tiles import context_of, tile_rule
from stages.settings import ExtractSettings, Size

__all__ = ["MOST_PIXELS", "expected_bytes", "require_possible_sizes"]

MOST_PIXELS = 2**26
"""Pixels of an image in a store. One such image has 200 MB, and several are in memory at a time."""

BYTES_PER_ROW = 300
"""Approximate bytes of a sample's entries in the columns."""
MASK_RATIO = 50
"""Approximate compression of masks: pixels per byte."""


def expected_bytes(settings: ExtractSettings, samples: int, *, heads: int, grid: Size) -> tuple[int, int]:
    """Return the approximate bytes of the store and of the memo, without compression of images and maps.

    Args:
        settings: Of the extraction.
        samples: Number of samples.
        heads: Number of maps of a sample.
        grid: (rows, columns) of a map.
    """
    pixels = math.prod(settings.image_size)
    maps = heads * math.prod(grid) * 2
    return samples * (pixels * 3 + pixels // MASK_RATIO + maps + BYTES_PER_ROW), samples * maps


def require_possible_sizes(settings: ExtractSettings) -> Size:
    """Check the size of the stored images, the size of the transformer's input for its model, and those of tiles.

    Returns:
        (rows, columns) of the context in pixels of the transformer's input.

    Raises:
        UsageError: a size is not possible; UnknownModelError if there is no such model.
        WeightsError: the model is a file that cannot be read.
    """
    height, width = settings.image_size
    if height * width > MOST_PIXELS:
        raise UsageError(
            f"image size {height}x{width}: {height * width:,} pixels are too many for an image in a store, which is "
            f"loaded whole; at most {MOST_PIXELS:,} are possible, such as 8192x8192. 224x224 is usual."
        )
    model = find_model(settings.model)
    check_input_size(model, settings.attention_size)
    tile_rule(settings)
    rows, columns = context_of(settings, model.patch)
    seen = (settings.attention_size[0] + 2 * rows, settings.attention_size[1] + 2 * columns)
    require_few_tokens(model, seen, what=f"attention size with context {seen[0]}x{seen[1]}")
    return rows, columns
