"""Read a plane of a volume as an 8-bit RGB image, by the store's rule of intensities."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.intensities import MINMAX, MOST_VALUES, IntensityRule, spread_values, to_8_bits
from stages.imaging.opening import refuse
from stages.imaging.parts import Part, part_digest
from stages.imaging.resizing import resize_image
from stages.imaging.volumes.channels import MOST_CHANNELS, channel_views, key_of_channels
from stages.imaging.volumes.opened import file_digest, open_part, open_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.imaging.volumes.volume import Volume
    from stages.settings import Size

__all__ = ["read_plane", "read_plane_at", "read_plane_reduced", "shown_range", "volume_memo_key"]

MOST_PLANES = 32
"""Planes from which the percentiles of a file are computed, evenly spaced."""
LARGEST_WHOLE = 2**25
"""Values of a plane that is read as a whole for them. Of a larger one, such as a slide, blocks are read."""
BLOCK, BLOCKS = 256, 16
"""Rows and columns of a block, and the number of blocks along each side, evenly spaced."""
AT_A_TIME = 2**22
"""Values that are read at a time to find the extremes of a plane."""


def read_plane(path: Path, part: Part, rule: IntensityRule) -> NDArray[np.uint8]:
    """Return a plane, or a region of it, as (row, column, 3) uint8 RGB.

    Raises:
        InputProblemsError: the file cannot be read, or the plane holds NaN or infinity.
    """
    volume = open_part(path, part)
    views = channel_views(path, volume, part.channels)
    if not views:
        return _read(path, volume, part, rule)
    shown = [_read(path, view, part, rule)[..., 0] for view in views]
    if len(shown) == 1:
        return np.repeat(shown[0][..., None], 3, axis=2)
    return np.stack([*shown, *[np.zeros_like(shown[0])] * (MOST_CHANNELS - len(shown))], axis=2)


def _read(path: Path, volume: Volume, part: Part, rule: IntensityRule) -> NDArray[np.uint8]:
    """Return a plane of grey or of colours as (row, column, 3) uint8 RGB.

    Raises:
        InputProblemsError: as in `read_plane`.
    """
    return _as_rgb(path, volume, part, rule, volume.read(part.plane or 0, part.box))


def _as_rgb(path: Path, volume: Volume, part: Part, rule: IntensityRule, values: NDArray[Any]) -> NDArray[np.uint8]:
    if not volume.facts.deep:
        grey = values.ndim == 2  # noqa: PLR2004 - no channels
        return np.repeat(values[..., None], 3, axis=2) if grey else np.ascontiguousarray(values)
    unusable = int(values.size - np.isfinite(values).sum())
    if unusable:
        what = f"{unusable} of {values.size} values of plane {part.plane or 0} are NaN or infinite"
        refuse(path, f"{what}; give them a value or remove the file")
    if rule.name == "minmax":  # a rule of a whole plane, so that its tiles look alike
        if part.box is None:
            low, high = rule.range_of(values)
        else:
            plane = part.plane or 0
            low, high = volume.computed.get(("extremes", plane), lambda: _extremes(volume, plane))
    else:
        low, high = shown_range(volume, rule)
    return to_8_bits(values, low, high)


def shown_range(volume: Volume, rule: IntensityRule) -> tuple[float, float]:
    """Return the values that a file shows as black and white, the same for all its planes.

    Args:
        volume: An opened file, or one channel of it.
        rule: any but `minmax`, which is a rule of one plane.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    if rule.low is not None and rule.high is not None:
        return rule.low, rule.high
    if rule.name == "file" and volume.facts.window is not None:
        return volume.facts.window
    return volume.computed.get(rule, lambda: _percentiles(volume, rule))


def volume_memo_key(path: Path, part: Part, rule: IntensityRule) -> str:
    """Return the memo's key for the attention of a plane: it depends on the rule by which its values were shown.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    digest = part_digest(file_digest(path), part)
    digest = key_of_channels(digest, part.channels)
    facts = open_volume(path).facts
    # Grey of one page in OME-TIFF was read as a picture up to version 0.2.0, to the same pixels under this key.
    if not facts.deep or (rule == MINMAX and facts.channels == 1):
        return digest
    return rule.key_of_maps(digest)


def _extremes(volume: Volume, plane: int) -> tuple[float, float]:
    """Return the lowest and the highest value of a plane, which is read a few rows at a time."""
    rows, columns = volume.facts.size
    step = max(1, AT_A_TIME // columns)
    found = []
    for row in range(0, rows, step):
        values = volume.read(plane, (row, 0, min(step, rows - row), columns))
        finite = values[np.isfinite(values)]
        if finite.size:
            found += [float(finite.min()), float(finite.max())]
    return (min(found), max(found)) if found else (0.0, 0.0)


def _blocks(size: Size) -> list[Box | None]:
    """Return the regions of a plane from which percentiles are computed; None for all of it."""
    rows, columns = size
    if rows * columns <= LARGEST_WHOLE:
        return [None]
    high, wide = min(BLOCK, rows), min(BLOCK, columns)
    starts = [
        (row, column) for row in _spread(rows - high + 1, BLOCKS) for column in _spread(columns - wide + 1, BLOCKS)
    ]
    return [(row, column, high, wide) for row, column in starts]


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced numbers from 0 to below `count`."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, most))})


def _percentiles(volume: Volume, rule: IntensityRule) -> tuple[float, float]:
    """Return the percentiles of a file, from evenly spaced planes and blocks; NaN and infinity do not count."""
    boxes = _blocks(volume.facts.size)
    found: list[NDArray[Any]] = []
    lowest, highest = math.inf, -math.inf
    for plane in _spread(volume.facts.planes, MOST_PLANES):
        for box in boxes:
            values = volume.read(plane, box)
            sampled = spread_values(values, MOST_VALUES // len(boxes))
            found.append(sampled[np.isfinite(sampled)])
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            if finite.size:
                lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
    together = np.concatenate(found)
    if not together.size:
        return 0.0, 0.0
    return rule.range_of_sampled(together, lowest, highest)


def read_plane_reduced(path: Path, part: Part, rule: IntensityRule, reduction: float) -> NDArray[np.uint8]:
    """Return a region at a lower resolution, (row, column, 3) uint8 RGB; see `Volume.read_reduced`.

    Args:
        path: of a volume whose channels are grey or colours.
        part: A plane, or a region inside it.
        rule: How values of more than 8 bits are shown.
        reduction: At least 1.

    Raises:
        InputProblemsError: as in `read_plane`.
    """
    volume = open_volume(path, part.axis)
    box = (0, 0, *volume.facts.size) if part.box is None else part.box
    return _as_rgb(path, volume, part, rule, volume.read_reduced(part.plane or 0, box, reduction))


def read_plane_at(path: Path, part: Part, rule: IntensityRule, size: Size) -> NDArray[np.uint8]:
    """Return a plane at another size, (*size, 3) uint8 RGB, from a low resolution where the file has one.

    Raises:
        InputProblemsError: as in `read_plane`.
    """
    volume = open_volume(path, part.axis)
    if channel_views(path, volume, part.channels):
        return _resized_by_rows(path, part, rule, size, volume.facts.size)
    reduction = max(1.0, min(side / wanted for side, wanted in zip(volume.facts.size, size, strict=True)))
    return resize_image(read_plane_reduced(path, part, rule, reduction), size)


def _resized_by_rows(path: Path, part: Part, rule: IntensityRule, size: Size, whole: Size) -> NDArray[np.uint8]:
    """Return a whole plane at another size; a large one is read some rows at a time."""
    if whole[0] * whole[1] <= LARGEST_WHOLE:
        return resize_image(read_plane(path, part, rule), size)
    step = max(1, size[0] * LARGEST_WHOLE // (whole[0] * whole[1]))
    parts = []
    for row in range(0, size[0], step):
        end = min(row + step, size[0])
        top, bottom = row * whole[0] // size[0], end * whole[0] // size[0]
        box = (top, 0, max(1, bottom - top), whole[1])
        parts.append(resize_image(read_plane(path, replace(part, box=box), rule), (end - row, size[1])))
    return np.concatenate(parts)
