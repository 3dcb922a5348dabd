"""Read classes from a file: nnU-Net's `dataset.json`, a JSON object, or a table of colours.

- JSON with a key `labels`: nnU-Net's `dataset.json`, of version 2 (`{"background": 0, "tumour": 1}`) or of version 1
  (`{"0": "background", "1": "tumour"}`).
- Other JSON: an object of names and values, as `--classes` takes them.
- Text: one class per line, `name:r,g,b` as in CVAT's `labelmap.txt`, or `r g b name`. Lines that start with `#` are
  comments.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stages.errors import UsageError
from stages.imaging.samples import printable

__all__ = ["classes_of_dataset", "read_classes"]

LABELMAP = re.compile(r"([^:]+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?")
COLOUR_FIRST = re.compile(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*)")


def read_classes(path: Path) -> dict[str, Any]:
    """Read class names and their values.

    Returns:
        Name to value, as `ClassMap.from_mapping` takes it.

    Raises:
        UsageError: the file cannot be read, or holds no classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"--classes {printable(path)}: there is no such file. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {printable(path)}: cannot be read ({error}). Save it as UTF-8.") from None
    if text.lstrip().startswith(("{", "[")):
        return _from_json(path, text)
    classes: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colour = _from_line(path, number, line.strip())
        if name in classes:
            raise UsageError(f"--classes {printable(path)} line {number}: {name!r} is there twice. Keep one line.")
        classes[name] = colour
    if not classes:
        raise UsageError(f"--classes {printable(path)}: holds no classes. Write a line `name:r,g,b` for each.")
    return classes


def classes_of_dataset(described: Any, path: Path) -> dict[str, int]:
    """Return the classes in the content of an nnU-Net `dataset.json`.

    Raises:
        UsageError: there are none, or a label is a region of several values, which are not read.
    """
    labels = described.get("labels") if isinstance(described, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise UsageError(
            f"{printable(path)}: has no `labels`. Write e.g. " + '"labels": {"background": 0, "lesion": 1}.'
        )
    if all(isinstance(value, str) for value in labels.values()):  # version 1: {"0": "background"}
        labels = {name: value for value, name in labels.items()}
    classes = {}
    for name, value in labels.items():
        if isinstance(value, list):
            raise UsageError(
                f"{printable(path)}: the label {name!r} is a region of the values {value}, and regions overlap. Name "
                f"classes that do not overlap, such as --classes background=0,{name}={'+'.join(map(str, value))}."
            )
        try:
            classes[str(name)] = int(value)
        except (TypeError, ValueError):
            raise UsageError(f"{printable(path)}: the label {name!r} has the value {value!r}, not a number.") from None
    return classes


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--classes {printable(path)}: is not JSON ({error}). Correct it.") from None
    if isinstance(content, dict) and "labels" in content:
        return dict(classes_of_dataset(content, path))
    if not isinstance(content, dict) or not content:
        raise UsageError(f"--classes {printable(path)}: holds no object of names and values.")
    return {str(name): value for name, value in content.items()}


def _from_line(path: Path, number: int, line: str) -> tuple[str, str]:
    """Return the name and the colour of one line."""
    if found := LABELMAP.fullmatch(line):
        name, *parts = found.groups()
    elif found := COLOUR_FIRST.fullmatch(line):
        *parts, name = found.groups()
    else:
        raise UsageError(
            f"--classes {printable(path)} line {number}: {line[:60]!r} is neither `name:r,g,b` nor `r g b name`."
        )
    red, green, blue = map(int, parts)
    if max(red, green, blue) > 255:  # noqa: PLR2004 - 8 bits
        raise UsageError(f"--classes {printable(path)} line {number}: a colour has parts of 0 to 255.")
    return name.strip(), f"#{red:02x}{green:02x}{blue:02x}"
