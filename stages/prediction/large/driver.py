"""Predict images with a run that was trained on tiles: small ones in memory, large ones row by row.

An image is large if it has more than `MOST_PIXELS` pixels, or if its probabilities would take more than `MOST_BYTES`.
A small image has the same files as with a run that was trained on whole images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.errors import InputProblemsError, Problem
from stages.imaging.image_facts import ImageFacts, image_facts
from stages.imaging.pixel_sizes import spacing_of
from stages.imaging.samples import SourceSample, printable
from stages.imaging.tiling import TileRule
from stages.imaging.volumes.pyramid_rule import MOST_PIXELS_AT_ONCE
from stages.prediction.full_size import Prediction
from stages.prediction.inference import Predictor
from stages.prediction.large.files import LargeFiles
from stages.prediction.large.sliding import ReadTiles, Windows, plan_windows, predicted_rows
from stages.prediction.outputs import OutputWriter
from stages.runtime.progress import Task

__all__ = ["MOST_PIXELS", "TiledPrediction", "is_large", "plan_all", "remove_too_large"]

MOST_PIXELS = 2**26
"""Pixels of the largest image that is predicted in memory."""
MOST_BYTES = 2**30
"""Bytes of the probabilities of such an image, at the resolution of the tiles."""


def plan_all(
    sources: Sequence[SourceSample], rule: TileRule, pixel_mm: float | None = None
) -> tuple[list[Windows], list[Problem]]:
    """Return the windows of all images, and the problems of those that have none.

    Args:
        sources: The images. The size of a pixel in the user's table comes before all others, as in `extract`.
        rule: Of the tiles that the run was trained on.
        pixel_mm: Side of a pixel that the user gives for all images; it comes before what the files say.
    """
    planned: list[Windows] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            size = image_facts(source.image, source.part).upright
            planned.append(plan_windows(source, size, rule, spacing_of(source, pixel_mm)))
        except InputProblemsError as error:
            problems += error.problems
    return planned, problems


def remove_too_large(sources: list[SourceSample], facts: Sequence[ImageFacts]) -> list[Problem]:
    """Remove the images that a run which was not trained on tiles cannot predict, and return their problems.

    Args:
        sources: The images; changed in place.
        facts: What the header of each says.
    """
    problems = []
    for source, one in list(zip(sources, facts, strict=True)):
        if one.size[0] * one.size[1] > MOST_PIXELS_AT_ONCE:
            what = f"has {one.size[0]:,} x {one.size[1]:,} pixels, too many for a run that was not trained on tiles"
            problems.append(Problem(printable(source.image), f"{what}; extract with --tile and train again"))
            sources.remove(source)
    return problems


@dataclass(frozen=True, kw_only=True)
class TiledPrediction:
    """Hold the objects that all images share."""

    read: ReadTiles
    """Reads windows and computes their maps."""
    predictor: Predictor
    batch_size: int
    """Windows through the network at a time."""
    writer: OutputWriter
    """Writes the files of small images, and the table."""
    large: LargeFiles
    """Writes the files of large images."""
    stop_on_error: bool

    def predict_all(self, planned: Sequence[Windows], problems: list[Problem], task: Task) -> int:
        """Write the files of all images that can be read. Add the others to `problems`.

        Args:
            planned: The windows of the images.
            problems: Receives the problems of images that are left out.
            task: Advanced by one for each window.

        Returns:
            The number of images that were predicted.

        Raises:
            InputProblemsError: an image cannot be read, and such images are not to be left out.
        """
        images = 0
        for windows in planned:
            try:
                self._predict(windows, task)
            except InputProblemsError as error:
                if self.stop_on_error:
                    raise
                problems += error.problems
                continue
            images += 1
        return images

    def _predict(self, windows: Windows, task: Task) -> None:
        classes = len(self.predictor.card.classes)
        parts = predicted_rows(windows, self.read, self.predictor, batch_size=self.batch_size, task=task)
        if is_large(windows, classes):
            self.writer.add_rows(windows.source, self.large.write(windows, parts))
            return
        probabilities = np.concatenate(list(parts), axis=1)
        multilabel = self.predictor.card.network.multilabel
        self.writer.write(windows.source, Prediction(probabilities, windows.grid.size, multilabel=multilabel))


def is_large(windows: Windows, classes: int) -> bool:
    """Return True if an image is predicted row by row."""
    pixels = windows.grid.size[0] * windows.grid.size[1]
    return pixels > MOST_PIXELS or 4 * classes * math.prod(windows.grid.shape) > MOST_BYTES
