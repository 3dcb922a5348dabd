"""Hold the features of one image, and how the features of a folder are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputProblemsError, Problem

__all__ = ["Features", "FoundFeatures", "checked", "joined", "refuse", "require_encoder"]


@dataclass(frozen=True, eq=False)
class Features:
    """Hold the features of the tiles of one image."""

    values: NDArray[np.float32]
    """(tile, dimension), finite."""
    left: NDArray[np.float64]
    """(tile,) column of each tile's left border, in pixels of the image file."""
    top: NDArray[np.float64]
    """(tile,) row of its upper border."""
    size: tuple[float, float]
    """(height, width) of a tile."""
    relative: bool = False
    """True if places and sizes are shares of the whole image, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class FoundFeatures:
    """Hold where the features of every image are, and how they are read."""

    format: str
    encoder: str
    """Name of the encoder if the files say it, else ""."""
    files: Mapping[str, Path]
    """The file with the features, by the id of the image."""
    read: Callable[[str], Features]
    """Read the features of an image by its id. Raises InputProblemsError if a file cannot be used."""
    further: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """Further files of an image that decide its maps, such as those with the places of its tiles, by its id."""


def refuse(path: Path, what: str) -> Never:
    """Raise the error of one file.

    Raises:
        InputProblemsError: always.
    """
    raise InputProblemsError([Problem(str(path), what)])


def require_encoder(path: Path, found: str, first: str) -> None:
    """Refuse a file of another encoder than that of the first file. Files without a name (`""`) are accepted.

    Raises:
        InputProblemsError: the encoders differ.
    """
    if found and first and found != first:
        refuse(
            path,
            f"was made by the encoder `{found}`, others of the folder by `{first}`. Give a folder with the features of "
            "one encoder",
        )


def joined(parts: Sequence[tuple[Path, Features]]) -> Features:
    """Return the features of all parts of one image, each with its file.

    Raises:
        InputProblemsError: the parts have patches of different sizes or dimensions.
    """
    file, first = parts[0]
    for path, part in parts:
        if part.values.shape[1] != first.values.shape[1] or not np.allclose(part.size, first.size):
            refuse(path, f"has patches of another size or dimension than {file.name}, of the same image")
    return Features(
        np.concatenate([part.values for _, part in parts]),
        np.concatenate([part.left for _, part in parts]),
        np.concatenate([part.top for _, part in parts]),
        first.size,
        relative=first.relative,
    )


def checked(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return features as float32.

    Args:
        path: The file, for messages.
        values: (tile, dimension) of any type of number.

    Raises:
        InputProblemsError: they are no numbers, or not all finite.
    """
    if values.dtype.kind not in "fiu":
        refuse(path, f"has features of the type {values.dtype}. They must be numbers")
    features = values.astype(np.float32)
    if not np.isfinite(features).all():
        refuse(path, "has features that are not finite (NaN or infinity). Compute the features of this image again")
    return features
