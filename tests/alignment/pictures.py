"""Draw pictures whose pixels encode their position, and measure how far arrays made from them are displaced.

Red rises from left to right and green from top to bottom. Blue has one of two values, so that a mix-up of two pictures
shows. The mask has three classes that depend on the position through `likelihoods`. So a network that knows this
function (`tests.alignment.oracle`) can find the mask from the colours.

A file does not encode the drawn positions exactly: JPEG changes levels by one or more, and one level of 255 is a
sixth of a pixel in a picture of 40 pixels. So results are compared with the positions that the file itself encodes
(`Picture.drift`, `drifted`).

Files are written in each of EXIF's eight orientations. The rotations and reflections are written from the text of the
standard. They do not use Pillow's functions for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Array = NDArray[np.floating]

CLASSES = {"background": 10, "low": 120, "rest": 250}  # the first one lies at the right
"""Names and mask values, in the order of `likelihoods`."""

FEWEST = 12
"""Smallest number of positions from which a displacement is measured."""

STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    # EXIF 2.32, tag 0x0112: the visual side of the file's first row, then that of its first column.
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}
"""Functions from an upright picture to the array in the file, by orientation."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Describe one image and its mask as they are written."""

    size: tuple[int, int]
    """(height, width) upright."""
    image_orientation: int
    """EXIF orientation of the image file."""
    mask_orientation: int
    """EXIF orientation of the mask file; it may differ from the image's."""
    image_kind: str
    """Extension of the image file; it decides the format."""
    mask_kind: str
    """Extension of the mask file; the format is lossless."""
    blue: bool
    """True for the higher of the two values of blue."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Draw (height, width, 3) uint8 RGB, upright."""
        x, y = positions(self.size)
        blue = np.full(self.size, 190 if self.blue else 65)
        return np.rint(np.stack([x * 255, y * 255, blue], axis=2)).astype(np.uint8)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Draw (height, width) uint8 class index, upright."""
        return likelihoods(*positions(self.size), np.full(self.size, float(self.blue))).argmax(axis=0).astype(np.uint8)

    def write(self, folder: Path, name: str) -> None:
        """Write `images/<name>.…` and `masks/<name>_mask.…`."""
        values = np.array(list(CLASSES.values()), np.uint8)[self.mask]
        _write(self.image_file(folder, name), self.pixels, self.image_orientation)
        _write(folder / "masks" / f"{name}_mask.{self.mask_kind}", values, self.mask_orientation)

    def image_file(self, folder: Path, name: str) -> Path:
        """Return the path of the image."""
        return folder / "images" / f"{name}.{self.image_kind}"

    def drift(self, folder: Path, name: str) -> Array:
        """Measure how far the written image encodes other positions than the drawn ones, as a linear function.

        Returns:
            (2, 3) float64: for x and y the constant and the slopes along x and y from the middle, in shares of the
            width and height.
        """
        if self.image_kind != "jpg":  # lossless
            return np.zeros((2, 3))
        with Image.open(self.image_file(folder, name)) as file:
            stored = np.asarray(file)
        places = STORED[self.image_orientation](np.arange(self.size[0] * self.size[1]).reshape(self.size))
        upright = np.empty((places.size, 3))
        upright[places.ravel()] = stored.reshape(-1, 3)
        expected = positions(self.size)
        return np.stack(
            [
                _linear(upright[:, colour].reshape(self.size) / 255 - expected[colour], expected, np.True_)
                for colour in (0, 1)
            ]
        )


def drifted(where: tuple[Array, Array], drift: Array) -> tuple[Array, Array]:
    """Return the x and y that a file encodes at positions of the picture; see `Picture.drift`."""
    x, y = (
        axis + one[0] + one[1] * (where[0] - 0.5) + one[2] * (where[1] - 0.5)
        for axis, one in zip(where, drift, strict=True)
    )
    return x, y


def positions(size: tuple[int, int]) -> tuple[Array, Array]:
    """Return the x and y of every pixel's centre as shares of width and height: two of (rows, columns) float64."""
    rows, columns = size
    y, x = np.mgrid[:rows, :columns]
    return (x + 0.5) / columns, (y + 0.5) / rows


def likelihoods(x: Array, y: Array, blue: Array) -> Array:
    """Return the probability of each class at a position: (3, …) between 0.1 and 0.8, with sum one.

    The probabilities are linear in the position.

    Args:
        x: Share of the width.
        y: Share of the height.
        blue: 0 or 1; moves the border between the first two classes by a third of the picture.
    """
    tag = (blue - 0.5) * 0.12
    right, low = 1 / 3 + (x - 0.5) / 3 + tag, 1 / 3 + (y - 0.5) / 3 - tag
    return np.stack([right, low, 1 - right - low])


def located(likelihood: Array, *, blue: bool) -> tuple[Array, Array]:
    """Return the x and y for which `likelihoods` gives these values."""
    tag = (blue - 0.5) * 0.12
    return (likelihood[0] - tag - 1 / 3) * 3 + 0.5, (likelihood[1] + tag - 1 / 3) * 3 + 0.5


def displacement(
    found: tuple[Array, Array], expected: tuple[Array, Array], cells: tuple[int, int], margin: float
) -> float:
    """Measure the distance of a field of positions from the expected one, in cells.

    A linear function is fitted to the difference, and its largest value at a corner is returned. A shift changes the
    difference everywhere; a wrong scale or rotation changes it most at the rim. Rounding and JPEG noise are averaged
    out. Every smoothing filter distorts a linear field near the rim, so the fit leaves the rim out and is extrapolated
    to the corners. If fewer than `FEWEST` positions are left (a small grid, rotated and enlarged), nothing can be
    measured and 0 is returned.

    Args:
        found: The measured x and y, each (rows, columns), as shares of width and height.
        expected: The expected x and y, of the same shape.
        cells: (rows, columns) of the grid that defines the unit.
        margin: Width of the rim, as a share of height and width.
    """
    inside = np.logical_and.reduce([(axis > margin) & (axis < 1 - margin) for axis in expected])
    if inside.sum() < FEWEST:
        return 0.0
    corners = np.array([[1, x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    off = []
    for axis, count in enumerate((cells[1], cells[0])):
        fit = _linear(found[axis] - expected[axis], expected, inside)
        off.append(np.abs(corners @ fit).max() * count)
    return float(max(off))


def _linear(values: Array, where: tuple[Array, Array], inside: NDArray[np.bool_] | np.bool_) -> Array:
    """Fit a linear function of the position: (3,) constant and slopes along x and y, from the middle."""
    inside = np.broadcast_to(inside, values.shape)
    at = np.stack([np.ones(inside.sum()), *(axis[inside] - 0.5 for axis in where)], axis=1)
    fit, *_ = np.linalg.lstsq(at, values[inside], rcond=None)
    return np.asarray(fit)


def assert_nearest(found: NDArray[np.uint8], source: NDArray[np.uint8], where: tuple[Array, Array]) -> None:
    """Assert that every pixel of a mask is the nearest pixel of another mask.

    Args:
        found: (rows, columns) class index.
        source: The mask that the pixels were taken from, on any grid.
        where: The x and y in the source of each pixel, as shares; reflected beyond the rim. Positions on the line
            between two pixels may be rounded either way and are left out.
    """
    inside = [1 - np.abs(1 - axis % 2) for axis in where]
    x, y = (axis * count for axis, count in zip(inside, source.shape[::-1], strict=True))
    sure = np.logical_and(*(np.abs(axis - np.rint(axis)) > 1e-3 for axis in (x, y)))
    if not sure.any():  # scaled to exactly half, every position is on a line
        return
    np.testing.assert_array_equal(found[sure], source[y[sure].astype(int), x[sure].astype(int)])


def mask_displacement(found: NDArray[np.uint8], expected: NDArray[np.uint8], cells: tuple[int, int]) -> float:
    """Measure the largest distance of a class centroid from the expected one, in cells, along rows or columns.

    Args:
        found: (rows, columns) class index.
        expected: The same on any other grid over the same picture.
        cells: (rows, columns) of the grid that defines the unit.
    """
    off = [0.0]
    for index in range(len(CLASSES)):
        if min((found == index).mean(), (expected == index).mean()) > 0.15:  # a smaller class has no stable centroid
            centres = [_centroid(mask == index) for mask in (found, expected)]
            off.append(float((np.abs(centres[0] - centres[1]) * cells).max()))
    return max(off)


def _centroid(region: NDArray[np.bool_]) -> Array:
    """Return (2,): row and column as shares of height and width."""
    x, y = positions((region.shape[0], region.shape[1]))
    return np.array([y[region].mean(), x[region].mean()])


def _write(path: Path, upright: NDArray[np.uint8], orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    quality = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(path, exif=exif, **quality)
