"""Keep the settings that the search found, in a small JSON file that the protocol reads.

    {"isic": {"dual": {"65": {"settings": {"lr": "0.003", …}, "dice": 0.851, "trials": 8, …}}}}

The numbers are those of labelled images. An arm without an entry is trained with the default settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.errors import UsageError
from store.disk.publish import replace_file

__all__ = ["FILE", "Tuned", "read_tuned", "settings_for", "write_tuned"]

FILE = "settings.json"

Tuned = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""By data set, arm and number of labels."""


def read_tuned(folder: Path) -> Tuned:
    """Return the settings that were found; empty if there is no file yet.

    Raises:
        UsageError: the file is damaged.
    """
    path = folder / FILE
    try:
        content: Tuned = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read ({error}). Restore it, or run `choose` again.") from None
    return content


def write_tuned(folder: Path, tuned: Tuned) -> Path:
    """Write the file, sorted, and return its path."""
    path = folder / FILE
    replace_file(path, (json.dumps(tuned, indent=1, sort_keys=True) + "\n").encode())
    return path


def settings_for(tuned: Tuned, dataset: str, arm: str, labels: int | None) -> Mapping[str, str] | None:
    """Return the settings found for an arm at the number of labels nearest to `labels` by ratio; None without any.

    With `labels=None`, for all labels, those found with the most labels are returned.
    """
    found = tuned.get(dataset, {}).get(arm, {})
    if not found:
        return None
    if labels is None:
        nearest = max(found, key=int)
    else:
        nearest = min(found, key=lambda number: (abs(math.log(int(number) / labels)), int(number)))
    settings: Mapping[str, str] = found[nearest]["settings"]
    return settings
