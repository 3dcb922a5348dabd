"""Hold the rules by which image files become images of a store. A store and a model record them.

A rule at its default is not recorded, so stores and models that were made before there was such a rule have the same
meaning as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import UsageError
from stages.imaging.fitting import Canvas
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.parts import AXIAL
from stages.imaging.tiling import TileRule
from stages.imaging.volumes.geometry import AXES
from stages.settings import Size

__all__ = ["FITS", "PAD", "STRETCH", "ImageRules", "box_of_image"]

STRETCH, PAD = "stretch", "pad"
FITS = (STRETCH, PAD)
"""Stretched to the size of the store; or scaled with their aspect kept, black around them, ignored in the mask."""


@dataclass(frozen=True, kw_only=True)
class ImageRules:
    """Hold the rules for the image files of one store."""

    window: IntensityRule = MINMAX
    """Rule by which values of more than 8 bits become 8-bit values."""
    channels: tuple[str, ...] = ()
    """Channels that are shown, by name or by position from 0; empty for what the files say themselves."""
    axis: str = AXIAL
    """Axis along which scans are cut into planes; one of `stages.imaging.volumes.geometry.AXES`."""
    tile: TileRule | None = None
    """Rule by which images are cut into tiles; None if every image is one sample."""
    orientation: str = ""
    """Orientation of the planes of all scans, such as `axial`; "" where files do not say it, or differ."""
    fit: str = STRETCH
    """Way in which images come to the size of the store; one of `FITS`."""

    def aspect(self, size: Size) -> Size | None:
        """Return the aspect to which images are padded; None if they are stretched.

        Args:
            size: (height, width) of the images of the store.
        """
        return size if self.fit == PAD else None

    def to_dict(self) -> dict[str, Any] | None:
        """Return the rules in JSON's types, without those at their default; None if all are."""
        described = {
            "window": None if self.window == MINMAX else str(self.window),
            "channels": list(self.channels) or None,
            "axis": None if self.axis == AXIAL else self.axis,
            "orientation": self.orientation or None,
            "fit": None if self.fit == STRETCH else self.fit,
            "tile": None if self.tile is None else self.tile.to_dict(),
        }
        return {name: value for name, value in described.items() if value is not None} or None

    @classmethod
    def from_dict(cls, described: Mapping[str, Any] | None) -> ImageRules:
        """Return the rules that a store or a model records; the defaults if it records none.

        Raises:
            UsageError: a rule is not known to this version of the program.
        """
        described = described or {}
        unknown = sorted(described.keys() - {"window", "axis", "channels", "tile", "fit", "orientation"})
        if unknown:
            raise UsageError(
                f"the images were read by rules that this version does not know ({', '.join(unknown)}).\n"
                "  Update the program."
            )
        window = described.get("window")
        axis = str(described.get("axis", AXIAL))
        if axis not in AXES:
            raise UsageError(
                f"the images were cut along an axis that this version does not know ({axis!a}).\n  Update the program."
            )
        fit = str(described.get("fit", STRETCH))
        if fit not in FITS:
            raise UsageError(
                f"the images were fitted in a way that this version does not know ({fit!a}).\n  Update the program."
            )
        tile = described.get("tile")
        return cls(
            window=MINMAX if window is None else IntensityRule.parse(str(window)),
            axis=axis,
            fit=fit,
            orientation=str(described.get("orientation", "")),
            tile=None if tile is None else TileRule.from_dict(tile),
            channels=tuple(map(str, described.get("channels", ()))),
        )


def box_of_image(
    described: Mapping[str, Any] | None, image: Size, stored: Size
) -> tuple[float, float, float, float] | None:
    """Return the place of an image in the picture that a store holds of it.

    Args:
        described: The rules that the store or the model records.
        image: (height, width) of the image in its file.
        stored: (height, width) of the images of the store.

    Returns:
        (left, top, right, bottom) in pixels of the store, with fractions; None if the picture is all of the image.
    """
    aspect = ImageRules.from_dict(described).aspect(stored)
    return None if aspect is None else Canvas.around(image, aspect).box(stored)
