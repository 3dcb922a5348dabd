"""Predict one image through windows that overlap, from the top to the bottom.

The windows have the size and the resolution of the tiles that the run was trained on. Every window goes the way of a
training tile: it is read by the same function, the transformer computes its maps (or the memo has them), and the
network predicts it. The predictions are blended by `stages.segmentation.blending`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.imaging.image_rules import box_of_image
from stages.imaging.opening import refuse
from stages.imaging.parts import Box
from stages.imaging.resizing import resize_probabilities
from stages.imaging.samples import SourceSample
from stages.imaging.tile_grid import TileGrid, rows_of_boxes, sliding_boxes
from stages.imaging.tiling import TileRule, tile_id
from stages.imaging.volumes.volume import Spacing
from stages.prediction.inference import Predictor
from stages.runtime.progress import Task
from stages.segmentation.blending import Blender
from stages.settings import Size
from store import Sample

__all__ = ["ReadTiles", "Windows", "plan_windows", "predicted_rows"]

ReadTiles = Callable[[Sequence[SourceSample], Task], list[Sample]]
"""Reads tiles and computes their maps, in their order. Advances the task by one for each, and raises
`InputProblemsError` for a tile that cannot be read."""
WINDOWS_AT_A_TIME = 64
"""Windows that are in memory together, at the network's size."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Hold the windows of one image."""

    source: SourceSample
    grid: TileGrid
    boxes: Sequence[Box]
    spacing_mm: Spacing | None
    """Size of a pixel of the image: what the user gives, else what the file says; None if it is not known."""


def plan_windows(source: SourceSample, size: Size, rule: TileRule, spacing_mm: Spacing | None) -> Windows:
    """Return the windows of one image.

    Args:
        source: The image; a plane of a file, or a whole file.
        size: Its (rows, columns).
        rule: Of the tiles that the run was trained on.
        spacing_mm: Size of its pixels; None if it is not known.

    Raises:
        InputProblemsError: the rule is in micrometres, and the file has no spacing that fits.
    """
    try:
        own = rule.for_file(spacing_mm)
    except ValueError as error:
        refuse(source.image, str(error))
    return Windows(
        source=source,
        grid=TileGrid(size, own.reduction, own.size),
        boxes=sliding_boxes(size, own),
        spacing_mm=spacing_mm,
    )


def predicted_rows(
    windows: Windows, read: ReadTiles, predictor: Predictor, *, batch_size: int, task: Task
) -> Iterator[NDArray[np.float32]]:
    """Yield the blended probabilities of an image, (class, row, column) float32, from the first row on.

    All parts together have the shape of the grid.

    Args:
        windows: Of the image.
        read: Reads windows and computes their maps.
        predictor: Holds the network.
        batch_size: Windows through the network at a time.
        task: Advanced by one for each window.

    Raises:
        InputProblemsError: a part of the image is damaged.
        PipelineError: an output is not finite, or there is not enough memory for one window.
    """
    grid = windows.grid
    blender = Blender(grid.shape, grid.tile, len(predictor.card.classes))
    for boxes in rows_of_boxes(windows.boxes):
        row = grid.place(boxes[0])[0]
        if row > blender.top:
            yield blender.take(row)
        for first in range(0, len(boxes), WINDOWS_AT_A_TIME):
            group = boxes[first : first + WINDOWS_AT_A_TIME]
            samples = read([_window(windows, box) for box in group], task)
            for start in range(0, len(group), batch_size):
                some = slice(start, start + batch_size)
                found = predictor.probabilities(samples[some])
                for box, probabilities in zip(group[some], found, strict=True):
                    padded = box_of_image(predictor.card.images, box[2:], predictor.card.network.size)
                    blender.add(*grid.place(box), resize_probabilities(probabilities, grid.tile, padded))
    yield blender.take(grid.shape[0])


def _window(windows: Windows, box: Box) -> SourceSample:
    source = windows.source
    identifier = tile_id(source.id, box, windows.grid.size)
    return replace(source, id=identifier, part=replace(source.part, box=box), parent=source.id, masks=())
