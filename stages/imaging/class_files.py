"""Read classes from a file: nnU-Net's `dataset.json`, a JSON object, or a table of colours.

- JSON with a key `labels`: nnU-Net's `dataset.json`, of version 2 (`{"background": 0, "tumour": 1}`) or of version 1
  (`{"0": "background", "1": "tumour"}`).
- Other JSON: an object of names and values, as `--classes` takes them; `[1, 2]` is a list of values.
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
from store.disk.regular import IrregularFileError, read_limited

__all__ = ["read_classes"]

LARGEST = 2**24
"""Largest number of bytes of a file; far more than a list of classes needs."""
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
        text = read_limited(path, limit=LARGEST).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"--classes {printable(path)}: there is no such file. Check the path.") from None
    except IrregularFileError as error:
        raise UsageError(f"--classes {printable(path)}: {error.strerror}. Give a list of classes.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UsageError(f"--classes {printable(path)}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--classes {printable(path)}: cannot be read as text ({error}). Save it as UTF-8.") from None
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


def _from_json(path: Path, text: str) -> dict[str, Any]:
    """Return the classes of a `dataset.json`, or of an object of names and values."""
    try:
        content = json.loads(text, object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--classes {printable(path)}: cannot be read as JSON ({error}). Correct it.") from None
    labels = content["labels"] if isinstance(content, dict) and "labels" in content else content
    if not isinstance(labels, dict) or not labels:
        raise UsageError(
            f"--classes {printable(path)}: holds no object of names and values. "
            'Write e.g. {"background": 0, "lesion": 1}.'
        )
    if all(name.isdecimal() for name in labels):  # nnU-Net version 1: {"0": "background"}
        values: dict[str, list[int]] = {}
        for value, name in labels.items():
            values.setdefault(str(name), []).append(int(value))
        return {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    return labels


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, or raise ValueError if a name is there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r} is there twice")
    return content


def _from_line(path: Path, number: int, line: str) -> tuple[str, str]:
    """Return the name and the colour of one line."""
    if found := LABELMAP.fullmatch(line):
        name, *parts = found.groups()
    elif found := COLOUR_FIRST.fullmatch(line):
        *parts, name = found.groups()
    else:
        raise UsageError(
            f"--classes {printable(path)} line {number}: {line[:60]!r} is no class. Write `name:r,g,b` or `r g b name`."
        )
    red, green, blue = map(int, parts)
    if max(red, green, blue) > 255:  # noqa: PLR2004 - 8 bits
        raise UsageError(f"--classes {printable(path)} line {number}: the parts of a colour are 0 to 255. Correct it.")
    return name.strip(), f"#{red:02x}{green:02x}{blue:02x}"
