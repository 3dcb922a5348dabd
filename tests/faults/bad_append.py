"""List the kinds of stores and inputs that `extract --append` cannot add to: `KINDS`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kinds import Kind


def _nothing(_: Path) -> None:
    """Leave the room as it is: its store was extracted without `--append`."""


KINDS = [
    Kind(
        "append_no_record",
        "images to be added to a store that does not record its masks",
        _nothing,
        "extract --append",
        2,
        ("s.zarr", "does not record the digests of its masks", "Move the store away"),
    ),
    Kind(
        "append_tiles",
        "tiles to be added to a store",
        _nothing,
        "extract --append --tile 16",
        2,
        ("--append", "cut into tiles"),
    ),
]
