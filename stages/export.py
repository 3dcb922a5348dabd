"""Stage `export`: write a trained network for programs that do not have this package.

`stages.exporting.formats` lists the formats. What is written is checked first, and appears at its path complete or not
at all. Nothing else is written.
"""

from __future__ import annotations

from contextlib import nullcontext

from stages.exporting.formats import FORMATS, Exported
from stages.exporting.places import place_of, require_free, source_of
from stages.runtime.progress import SILENT, Progress
from stages.settings import ExportSettings
from store.disk.locks import exclusive_lock

__all__ = ["Exported", "place_of", "run"]


def run(settings: ExportSettings, progress: Progress = SILENT) -> Exported:
    """Write an export.

    Raises:
        UsageError: the format cannot be made of what is named or needs packages that are not installed, or `out` is not
            free.
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        PipelineError: what was exported does not compute what PyTorch computes, the disk is full, or another process
            writes the same export. Nothing was written then.
    """
    source_of(settings)
    out = place_of(settings)
    require_free(out, settings)
    entry = FORMATS[settings.format]
    out.parent.mkdir(parents=True, exist_ok=True)
    # A folder is locked when it is published.
    with exclusive_lock(out, "exporting") if entry.ending else nullcontext():
        return entry.write(settings, out, progress)
