"""Read what a run recorded about its training, for the page: figures of every epoch, and settings.

Both are only shown, and no score depends on them. So a missing or damaged file gives nothing instead of an error.
"""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from stages.outputs.kinds import HISTORY_FILE, RUN_KEY, STATE_FILE
from stages.outputs.marks import tensors_metadata
from store.disk.regular import MIB, IrregularFileError, read_limited

__all__ = ["read_history", "read_settings"]

LARGEST = 64 * MIB


def read_history(run: Path) -> list[dict[str, float | None]]:
    """Return the figures of every epoch; None where a cell is empty. Empty if the file is missing or damaged."""
    try:
        text = read_limited(run / HISTORY_FILE, limit=LARGEST).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return [{name: _number(cell) for name, cell in row.items()} for row in rows]
    except (OSError, IrregularFileError, ValueError, TypeError, csv.Error):
        return []


def _number(cell: str) -> float | None:
    """Return a cell as a finite number; None for an empty cell.

    Raises:
        ValueError: it is something else.
    """
    if cell == "":
        return None
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(cell)
    return value


def read_settings(run: Path) -> dict[str, Any]:
    """Return the settings of the training, such as `seed`; empty if they were not recorded or cannot be read."""
    try:
        state = json.loads(tensors_metadata(run / STATE_FILE).get(RUN_KEY, "{}"))
        settings = state.get("settings", {})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
