"""List the kinds of bad options of `evaluate` that say how scores are defined: `KINDS`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from tests.faults.kinds import IDS, Kind

MASKS = "--masks masks"


def _nothing(_: Path) -> None:
    """Leave the room as it is: the fault is in the command."""


def _table(cell: str) -> Callable[[Path], object]:
    """Return a function that writes a table of the samples in which the first one has this `pixel_mm`."""

    def make(room: Path) -> None:
        with (room / "t.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "image", "mask", "pixel_mm"])
            for number, name in enumerate(IDS):
                table.writerow([name, f"images/{name}.png", f"masks/{name}_segmentation.png", "" if number else cell])

    return make


KINDS = [
    Kind(
        "hd95_unknown",
        "a definition of HD95 that does not exist",
        _nothing,
        "evaluate --hd95 medpy",
        2,
        ("hd95", "pooled"),
    ),
    Kind("tolerance_negative", "a tolerance below zero", _nothing, "evaluate --tolerance -1", 2, ("tolerance", "-1")),
    Kind(
        "tolerance_nan",
        "a tolerance that is no number",
        _nothing,
        "evaluate --tolerance nan",
        2,
        ("tolerance", "finite"),
    ),
    Kind(
        "tolerance_mm_inf",
        "an infinite tolerance",
        _nothing,
        f"evaluate {MASKS} --tolerance-mm inf",
        2,
        ("tolerance-mm", "finite"),
    ),
    Kind(
        "evaluate_pixel_zero", "a pixel without size", _nothing, f"evaluate {MASKS} --pixel-mm 0", 2, ("pixel-mm", "0")
    ),
    Kind(
        "evaluate_pixel_text",
        "a pixel size that is text",
        _nothing,
        f"evaluate {MASKS} --pixel-mm 0,1",
        2,
        ("pixel-mm", "valid number"),
    ),
    Kind(
        "pixel_without_masks",
        "millimetres without source masks",
        _nothing,
        "evaluate --pixel-mm 0.1",
        2,
        ("--pixel-mm 0.1", "--masks or --csv"),
    ),
    Kind(
        "tolerance_without_masks",
        "a tolerance in mm without source masks",
        _nothing,
        "evaluate --tolerance-mm 1",
        2,
        ("--tolerance-mm 1", "--masks or --csv"),
    ),
    Kind(
        "tolerance_without_size",
        "a tolerance in mm, but no size of a pixel",
        _nothing,
        f"evaluate {MASKS} --tolerance-mm 1",
        2,
        ("known for none", "--pixel-mm"),
    ),
    Kind(
        "table_without_size",
        "a tolerance in mm, and a table whose sizes are empty",
        _table(""),
        "evaluate --csv t.csv --tolerance-mm 1",
        2,
        ("known for none", "pixel_mm"),
    ),
    Kind(
        "table_negative_size",
        "a table with a negative size of a pixel",
        _table("-0.1"),
        "evaluate --csv t.csv",
        1,
        ("t.csv line 2", "pixel_mm is '-0.1'"),
    ),
    Kind(
        "table_one_size",
        "a table with the size of one image only",
        _table("0.1"),
        "evaluate --csv t.csv",
        0,
        ("HD95", "1 image", " mm"),
    ),
]
