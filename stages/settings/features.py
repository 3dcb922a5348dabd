"""Settings of the command `maps`. They are options only, without `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["MapsSettings"]


@dataclass(frozen=True, kw_only=True)
class MapsSettings:
    """Say which features become the maps of which store."""

    store: Path
    """Store with the images and masks."""
    features: Path
    """Folder of features."""
    out: Path
    """Store to write."""
    format: str = "auto"
    """A name in `stages.features.formats.FORMATS`, or `auto`."""
    components: int = 16
    """Number of maps, 1 to 32."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the maps; None: one cell for each tile of the features."""
    tile_side: int | None = None
    """Side of a tile in pixels of the image file, where the files of features do not say it."""
    seed: int = 0
    """Seed of the draw of features that the components are fitted on."""
    licence: str = ""
    """Licence of the encoder that computed the features; "" if it is not known."""
    on_error: Literal["stop", "skip"] = "stop"
    """Treatment of samples without features."""
