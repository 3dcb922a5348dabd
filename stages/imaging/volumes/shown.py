"""Read a plane of a volume as an 8-bit RGB image, by the store's rule of intensities."""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.intensities import PERCENTILES, IntensityRule, to_8_bits
from stages.imaging.opening import refuse
from stages.imaging.parts import Part, part_digest
from stages.imaging.resizing import resize_image
from stages.imaging.volumes.opened import file_digest, open_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.volumes.volume import Volume
    from stages.settings import Size

__all__ = ["read_plane", "read_plane_at", "shown_range", "volume_memo_key"]

MOST_PLANES = 32
"""Planes from which the percentiles of a file are computed, evenly spaced."""
MOST_VALUES = 2**20
"""Values of each plane that are used for them, evenly spaced."""
MOST_READ = 2**27
"""Values of the largest plane that is read whole for them."""
_TURN = threading.Lock()


def read_plane(path: Path, part: Part, rule: IntensityRule) -> NDArray[np.uint8]:
    """Return a plane, or a region of it, as (row, column, 3) uint8 RGB.

    Raises:
        InputProblemsError: the file cannot be read, or the plane holds NaN or infinity.
    """
    return _shown(path, part, rule, open_volume(path).read(part.plane or 0, part.box))


def read_plane_at(path: Path, part: Part, rule: IntensityRule, size: Size) -> NDArray[np.uint8]:
    """Return a plane at another size, (*size, 3) uint8 RGB, from a low resolution where the file has one.

    Raises:
        InputProblemsError: as in `read_plane`.
    """
    volume = open_volume(path)
    whole = (0, 0, *volume.facts.size)
    reduction = max(1.0, min(side / wanted for side, wanted in zip(whole[2:], size, strict=True)))
    values = volume.read_reduced(part.plane or 0, whole, reduction)
    return resize_image(_shown(path, part, rule, values), size)


def _shown(path: Path, part: Part, rule: IntensityRule, values: NDArray[Any]) -> NDArray[np.uint8]:
    volume = open_volume(path)
    if not volume.facts.deep:
        grey = values.ndim == 2  # noqa: PLR2004 - no channels
        return np.repeat(values[..., None], 3, axis=2) if grey else np.ascontiguousarray(values)
    unusable = int(values.size - np.isfinite(values).sum())
    if unusable:
        what = f"{unusable} of {values.size} values of plane {part.plane or 0} are NaN or infinite"
        refuse(path, f"{what}; give them a value or remove the file")
    low, high = _range_of_plane(values) if rule.name == "minmax" else shown_range(path, rule)
    return to_8_bits(values, low, high)


def shown_range(path: Path, rule: IntensityRule) -> tuple[float, float]:
    """Return the values that a file shows as black and white, the same for all its planes.

    Args:
        path: of a volume.
        rule: any but `minmax`, which is a rule of one plane.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    if rule.low is not None and rule.high is not None:
        return rule.low, rule.high
    volume = open_volume(path)
    if rule.name == "file" and volume.facts.window is not None:
        return volume.facts.window
    with _TURN:  # several threads would read the same planes
        return _percentiles(volume)


def volume_memo_key(path: Path, part: Part, rule: IntensityRule) -> str:
    """Return the memo's key for the attention of a plane: it depends on the rule by which its values were shown.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    digest = part_digest(file_digest(path), part)
    if not open_volume(path).facts.deep:
        return digest
    return hashlib.sha256(f"{digest} window {rule}".encode()).hexdigest()


def _range_of_plane(values: NDArray[Any]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@lru_cache(maxsize=16)
def _percentiles(volume: Volume) -> tuple[float, float]:
    planes = volume.facts.planes
    chosen = sorted({round(at) for at in np.linspace(0, planes - 1, min(planes, MOST_PLANES))})
    found = []
    for plane in chosen:
        values = _few_values(volume, plane).ravel()
        found.append(values[:: max(1, values.size // MOST_VALUES)].astype(np.float32))
    together = np.concatenate(found)
    together = together[np.isfinite(together)]
    if not together.size:
        return 0.0, 0.0
    low, high = np.percentile(together, PERCENTILES)
    return float(low), float(high)


def _few_values(volume: Volume, plane: int) -> NDArray[Any]:
    """Return the values of a plane; of one that is too large to be read whole, those of a lower resolution."""
    rows, columns = volume.facts.size
    if rows * columns <= MOST_READ:
        return volume.read(plane)
    return volume.read_reduced(plane, (0, 0, rows, columns), (rows * columns / MOST_VALUES) ** 0.5)
