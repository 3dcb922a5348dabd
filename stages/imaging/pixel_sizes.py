"""Find the size of a pixel of original images in the table that names them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from stages.imaging.table import read_table
from stages.outputs.cells import safe_cell

__all__ = ["pixel_sizes"]


def pixel_sizes(table: Path, ids: Collection[str]) -> dict[str, float]:
    """Return the side of a pixel of the original image in millimetres by id, where the table's `pixel_mm` gives it.

    Rows with a problem are left out; `stages.imaging.source_masks.find_source_masks` reports them.

    Args:
        table: A table as in `stages.imaging.table`.
        ids: Ids of the samples.

    Raises:
        UsageError: the table does not exist.
        InputProblemsError: the table as a whole cannot be used.
    """
    samples, _ = read_table(table, masks_used=False)
    # Up to version 0.2 marks were taken as part of an id.
    named = {one.id if one.id in ids else safe_cell(one.id): one.pixel_mm for one in samples}
    return {id_: side for id_, side in named.items() if side is not None and id_ in ids}
