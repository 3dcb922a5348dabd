"""Write a network as an archive of `torch.export`, which `torch.export.load(PATH).module()` runs without this package.

The archive is read back and checked before it is written. The description is JSON in its extra file
`diamant_pipeline.json`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from stages.exporting.checking import Run, check
from stages.exporting.description import describe
from stages.exporting.formats import Exported
from stages.exporting.graphs import quiet, record, refused
from stages.exporting.loading import Loaded, load
from stages.exporting.marks import DESCRIPTION
from stages.exporting.reports import exported
from stages.runtime.progress import Progress
from stages.settings import ExportSettings
from store.disk.publish import replace_file

__all__ = ["write"]


def write(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    """Write the file, after its check.

    Raises:
        CheckpointError, WeightsError: the run or the transformer cannot be loaded.
        PipelineError: the file does not compute what the network computes.
    """
    loaded = load(settings)
    progress.say("recording the network")
    program = record(loaded)
    archive = io.BytesIO()
    with quiet(), refused(loaded):
        torch.export.save(program, archive, extra_files={DESCRIPTION: json.dumps(describe(loaded))})
    content = archive.getvalue()
    result = check(loaded, _runner(content, loaded), progress)
    replace_file(out, content)
    return exported(loaded, out, len(content), result, {"torch": torch.__version__})


def _runner(content: bytes, loaded: Loaded) -> Run:
    """Return a function that runs the archive as another program reads it."""
    with quiet(), refused(loaded):
        module = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            outputs = module(*map(torch.from_numpy, inputs))
        return [one.numpy() for one in (outputs if isinstance(outputs, tuple | list) else (outputs,))]

    return run
