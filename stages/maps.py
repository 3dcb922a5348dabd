"""Stage `maps`: make a store whose maps are features that another program has written.

Images, masks and columns are those of a store that exists. The features of TRIDENT, slide2vec or kaiko-eva are reduced
to a few components and placed on a grid. No transformer runs. `train`, `evaluate` and `compare` read the store like any
other; `predict` cannot compute such maps for new images and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.attention.foreign_text import quoted
from stages.errors import UsageError
from stages.features.building import Built, build, licence_of_encoder
from stages.features.formats import find_features
from stages.features.reduction import MOST_COMPONENTS
from stages.outputs.places import require_own_folder
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.settings.features import MapsSettings
from store import AttentionStore
from store.description import LONGEST_LICENCE
from store.root import STORE

__all__ = ["MapsReport", "run"]

NAMED = 5
UNNAMED = "not named by the files of features, so a mixture of several encoders would not be noticed"


@dataclass(frozen=True, kw_only=True)
class MapsReport:
    """Report the store that was written; `str()` is the summary that users see."""

    out: Path
    format: str
    built: Built
    encoder: str
    """Name of the encoder; "" if the features do not name it."""
    licence: str
    """Licence of the encoder, as the store records it."""

    def to_json(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        built = self.built
        return {
            "out": str(self.out),
            "format": self.format,
            "samples": built.samples,
            "maps": built.components.matrix.shape[1],
            "dimensions": built.components.matrix.shape[0],
            "grid": list(built.grid),
            "explained": built.components.explained,
            "covered": built.covered,
            "encoder": self.encoder,
            "licence": self.licence,
            "left_out": list(built.left_out),
            "unused": list(built.unused),
        }

    def __str__(self) -> str:
        built = self.built
        dimensions, maps = built.components.matrix.shape
        grid = f"{built.grid[0]} x {built.grid[1]}"
        lines = [
            f"{self.out}: {counted(built.samples, 'sample')} with {counted(maps, 'map')} of {grid}",
            f"features: {self.format}, {dimensions} dimensions; variance held: {built.components.explained:.0%}",
            f"cells with features: {built.covered:.0%}",
            f"encoder: {quoted(self.encoder) if self.encoder else UNNAMED}",
            f"licence of the encoder: {self.licence}",
        ]
        for names, what in ((built.left_out, "without features, left out"), (built.unused, "features not used")):
            if names:
                more = " …" if len(names) > NAMED else ""
                lines.append(f"{what}: {len(names):,} ({', '.join(names[:NAMED])}{more})")
        return "\n".join(lines)


def run(settings: MapsSettings, progress: Progress = SILENT) -> MapsReport:
    """Write the store.

    Raises:
        UsageError: an option has no possible value, `out` is not free, or images and features do not fit together.
        StoreError: the store cannot be read.
        InputProblemsError: files of features cannot be used, or samples have none.
        PipelineError: the disk is full, or another process writes to `out`.
    """
    if len(settings.licence) > LONGEST_LICENCE:
        raise UsageError(f"--licence: has {len(settings.licence):,} characters; at most {LONGEST_LICENCE:,} are kept.")
    if not 1 <= settings.components <= MOST_COMPONENTS:
        raise UsageError(f"--components {settings.components}: give a number from 1 to {MOST_COMPONENTS}.")
    read = {"--store": settings.store, "--features": settings.features}
    require_own_folder(settings.out, STORE, option="--out", others=read)
    store = AttentionStore.open(settings.store)
    found = find_features(settings.features, settings.format, settings.tile_side)
    return MapsReport(
        out=settings.out,
        format=found.format,
        built=build(settings, store, found, progress),
        encoder=found.encoder,
        licence=licence_of_encoder(settings, found),
    )
