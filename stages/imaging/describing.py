"""Read the classes from a data set's own description, such as nnU-Net's `dataset.json`.

Version 2 lists `{"labels": {"background": 0, "tumour": 1}}`, version 1 `{"labels": {"0": "background", …}}`.
Regions (a list of values for one name) overlap and are not supported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.layouts import Layout
from stages.imaging.samples import printable
from stages.imaging.trees import Trees
from store.disk.regular import IrregularFileError, read_limited

__all__ = ["describe_classes"]

HIGHEST = 0xFFFF
"""Highest value in a mask of 16 bits."""
LARGEST = 16 * 2**20
"""Largest number of bytes of a description; far more than a list of classes and cases needs."""


def describe_classes(layout: Layout, trees: Trees) -> dict[str, int | str] | None:
    """Return class names and mask values from the data set's description; None without a description.

    Raises:
        UsageError: the folder holds the descriptions of several data sets.
        InputProblemsError: the description cannot be read, or names regions.
    """
    if layout.description is None:
        return layout.classes
    found = [file.path for file in trees.images.files if file.path.name.lower() == layout.description]
    beside = trees.images.root.resolve().parent / layout.description
    if not found and beside.is_file():
        found = [beside]
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(
            f"{printable(trees.images.root)}: holds several data sets, {printable(found[0])} and "
            f"{printable(found[1])}.\n  Extract each into a store of its own."
        )
    try:
        return _read_labels(found[0])
    except OSError as error:
        what = error.strerror if isinstance(error, IrregularFileError) else f"cannot be read ({error.strerror})"
        raise InputProblemsError(
            [Problem(printable(found[0]), f"{what}; restore the file or allow reading it")]
        ) from None
    except ValueError as error:
        raise InputProblemsError([Problem(printable(found[0]), f"{error}; correct it, or give --classes")]) from error


def _read_labels(file: Path) -> dict[str, int | str] | None:
    """Return the labels in a description.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not JSON, or its labels are not names with one value each.
    """
    content = read_limited(file, limit=LARGEST)
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    labels = described.get("labels") if isinstance(described, dict) else None
    if labels is None:
        return None
    if not isinstance(labels, dict) or not labels:
        raise ValueError("has `labels` that are not names with values")
    if all(isinstance(value, str) and name.isdecimal() for name, value in labels.items()):  # version 1
        return _unique({str(name): int(value) for value, name in labels.items()}, len(labels))
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise ValueError(f"defines {regions[0]!a} as a region of several values, and regions may overlap")
    return _unique({name: _value(name, value) for name, value in labels.items()}, len(labels))


def _value(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= HIGHEST:
        return value
    raise ValueError(f"gives {name!a} the value {value!r}, which is no whole number from 0 to 65535")


def _unique(classes: dict[str, int], count: int) -> dict[str, int | str]:
    if len(classes) < count or len(set(classes.values())) < count:
        raise ValueError("names a class or a value twice")
    return dict(classes)
