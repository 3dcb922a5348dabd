"""Hold the rules by which image files become images of a store. A store and a model record them.

A rule at its default is not recorded, so stores and models that were made before there was such a rule have the same
meaning as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import UsageError
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.parts import AXIAL
from stages.imaging.tiling import TileRule
from stages.imaging.volumes.geometry import AXES

__all__ = ["ImageRules"]


@dataclass(frozen=True, kw_only=True)
class ImageRules:
    """Hold the rules for the image files of one store."""

    window: IntensityRule = MINMAX
    """How values of more than 8 bits become 8-bit values."""
    channels: tuple[str, ...] = ()
    """Channels that are shown, by name or by position from 0; empty for what the files say themselves."""
    axis: str = AXIAL
    """Axis along which scans are cut into planes; one of `stages.imaging.volumes.geometry.AXES`."""
    tile: TileRule | None = None
    """How images are cut into tiles; None if every image is one sample."""

    def to_dict(self) -> dict[str, Any] | None:
        """Return the rules in JSON's types, without those at their default; None if all are."""
        described = {
            "window": None if self.window == MINMAX else str(self.window),
            "channels": list(self.channels) or None,
            "axis": None if self.axis == AXIAL else self.axis,
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
        unknown = sorted(described.keys() - {"window", "axis", "channels", "tile"})
        if unknown:
            raise UsageError(
                f"the images were read by rules that this version does not know ({', '.join(unknown)}).\n"
                "  Update the program."
            )
        window = described.get("window")
        axis = str(described.get("axis", AXIAL))
        if axis not in AXES:
            raise UsageError(f"the images were cut along an axis that this version does not know ({axis!a}).")
        tile = described.get("tile")
        return cls(
            window=MINMAX if window is None else IntensityRule.parse(str(window)),
            axis=axis,
            tile=None if tile is None else TileRule.from_dict(tile),
            channels=tuple(map(str, described.get("channels", ()))),
        )
