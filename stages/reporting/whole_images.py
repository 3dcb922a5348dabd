"""Score whole images of a store of tiles: blend the predictions of their tiles, and compare row by row.

The attention of the tiles is in the store, so no transformer runs. Overlapping tiles are blended as `predict` blends
its windows (`stages.segmentation.blending`); the tiles are those of the store, with its overlap.

| source masks | the truth is                                              | pixels are those of            |
|--------------|-----------------------------------------------------------|--------------------------------|
| given        | read from them, region by region                          | the image's full resolution    |
| not given    | put together from the stored masks of the tiles           | the resolution of the tiles    |

Only a band of rows is in memory. Overlap scores (Dice, IoU, sensitivity, specificity) come from counts. Distances
(HD95, NSD) need the whole image: they are computed for images of at most `MOST_WITH_DISTANCES` pixels, and are left
out for larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.imaging.class_names import is_annotation_file
from stages.imaging.image_rules import ImageRules, box_of_image
from stages.imaging.label_regions import read_labels_of_part
from stages.imaging.parts import Box
from stages.imaging.resizing import resize_mask, resize_probabilities
from stages.imaging.samples import LabelFile
from stages.imaging.tile_grid import TileGrid, rows_of_boxes
from stages.imaging.whole_size import whole_label_size
from stages.reporting.evaluation_inputs import EvaluationInputs
from stages.reporting.stored_images import StoredImage, stored_images
from stages.runtime.progress import Progress, Task
from stages.segmentation.batches import StreamedSamples, in_order
from stages.segmentation.blending import Blender
from stages.segmentation.decisions import decide
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.metrics import METRICS, ClassScores, SampleScores, score_sample
from stages.segmentation.scoring import name_of
from store import AttentionStore
from store.records import IGNORE

__all__ = ["ImageScores", "score_images"]

MOST_WITH_DISTANCES = 2**24
"""Pixels of the largest image whose distances are computed."""
ROWS_OF_PIXELS = 2**23
"""Pixels of source masks that are read at a time."""
DISTANCES = ("hd95", "nsd")


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """Hold the scores of one image."""

    image: StoredImage
    scores: SampleScores
    original: bool
    """True if pixels are those of the full resolution, False for those of the tiles."""
    complete: bool
    """False if the distances are left out because the image is too large."""


def score_images(inputs: EvaluationInputs, *, batch_size: int, progress: Progress) -> list[ImageScores]:
    """Score every image whose tiles are to be scored; none for a store without tiles.

    Raises:
        InputProblemsError: a source mask cannot be used.
        PipelineError: an output is NaN or infinite, or there is not enough memory for one tile.
        StoreError: a tile cannot be read.
    """
    rule = ImageRules.from_dict(inputs.store.description.images).tile
    if rule is None:
        return []
    images = stored_images(inputs.store, inputs.indices)
    results = []
    with progress.task("scoring whole images", len(inputs.indices), "tiles") as task:
        for image in images:
            files = inputs.masks.get(inputs.ids[image.indices[0]], ())
            size = _size(inputs.store, image, files)
            grid = TileGrid(size, image.boxes[0][2] / rule.size[0], rule.size)
            results.append(_score(inputs, image, files, grid, batch_size, task))
    return results


def _size(store: AttentionStore, image: StoredImage, files: Sequence[LabelFile]) -> tuple[int, int]:
    """Return the size of an image: that of its mask, else the region that its tiles cover.

    An annotation does not say how large its image is. A tile that is larger than the image reaches beyond it. There the
    stored labels are ignored, so these rows and columns are left out.
    """
    if not files:
        return image.extent
    if not is_annotation_file(files[0].path):
        return whole_label_size(files[0].path, replace(files[0].part, box=None))
    (rows, columns), box = image.extent, image.boxes[-1]
    counted = store.read_array("mask", image.indices[-1:])[0] != IGNORE
    if box[0] == 0 and counted.any():
        rows = round((np.flatnonzero(counted.any(axis=1))[-1] + 1) * box[2] / counted.shape[0])
    if box[1] == 0 and counted.any():
        columns = round((np.flatnonzero(counted.any(axis=0))[-1] + 1) * box[3] / counted.shape[1])
    return rows, columns


def _score(
    inputs: EvaluationInputs,
    image: StoredImage,
    files: Sequence[LabelFile],
    grid: TileGrid,
    batch_size: int,
    task: Task,
) -> ImageScores:
    counter = _Counter(inputs, whole=_pixels(grid, original=bool(files)) <= MOST_WITH_DISTANCES)
    for top, prediction, stored in _bands(inputs, image, grid, batch_size, task):
        if not files:
            counter.add(prediction, stored)
            continue
        for rows, truth in _source_rows(inputs, files, grid, top, len(prediction)):
            shown = prediction[grid.source_rows(grid.size[0])[rows] - top]
            counter.add(shown[:, grid.source_columns(grid.size[1])], truth)
    return ImageScores(image=image, scores=counter.scores(), original=bool(files), complete=counter.kept is not None)


def _pixels(grid: TileGrid, *, original: bool) -> int:
    rows, columns = grid.size if original else grid.shape
    return rows * columns


def _bands(
    inputs: EvaluationInputs, image: StoredImage, grid: TileGrid, batch_size: int, task: Task
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield bands of an image from the top: first row, decision, and truth of the stored masks, (row, column) uint8."""
    blender = Blender(grid.shape, grid.tile, len(inputs.card.classes))
    truth = np.full((min(grid.tile[0], grid.shape[0]), grid.shape[1]), IGNORE, np.uint8)
    tiles = _predicted_tiles(inputs, image, batch_size, task)

    def finish(row: int) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
        nonlocal truth
        top = blender.top
        decision = decide(blender.take(row), multilabel=inputs.store.multilabel)
        finished = np.full(decision.shape, IGNORE, np.uint8)
        count = min(row - top, len(truth))
        finished[:count] = truth[:count]
        truth = np.concatenate([truth[count:], np.full((count, grid.shape[1]), IGNORE, np.uint8)])
        return top, decision, finished

    for boxes in rows_of_boxes(image.boxes):
        row = grid.place(boxes[0])[0]
        if row > blender.top:
            yield finish(row)
        for box in boxes:
            probabilities, mask = next(tiles)
            down, right = grid.place(box)
            padded = box_of_image(inputs.store.description.images, box[2:], inputs.store.size)
            blender.add(down, right, resize_probabilities(probabilities, grid.tile, padded))
            place = truth[down - blender.top :, right : right + grid.tile[1]][: grid.tile[0]]
            place[:] = resize_mask(_inside(mask, padded), grid.tile)[: place.shape[0], : place.shape[1]]
    yield finish(grid.shape[0])


def _inside(mask: NDArray[np.uint8], padded: tuple[float, float, float, float] | None) -> NDArray[np.uint8]:
    """Return a stored mask without its padding, to the nearest pixel."""
    if padded is None:
        return mask
    left, top, right, bottom = map(round, padded)
    return np.ascontiguousarray(mask[top:bottom, left:right])


def _predicted_tiles(
    inputs: EvaluationInputs, image: StoredImage, batch_size: int, task: Task
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield the probabilities, (class, row, column), and the stored mask of every tile, in the order of the image."""
    order = in_order(np.array(image.indices, np.int64), batch_size)
    samples = StreamedSamples(inputs.store, inputs.device, maps=inputs.card.network.takes_maps)
    for positions, batch in zip(order, samples.batches(order), strict=True):
        name = name_of(inputs.store, positions)
        found = predict_probabilities(inputs.model, batch, inputs.card.attention_norm, inputs.adaptive_batch, name)
        yield from zip(found.cpu().numpy(), batch.mask.cpu().numpy(), strict=True)
        task.advance(len(positions))


def _source_rows(
    inputs: EvaluationInputs, files: Sequence[LabelFile], grid: TileGrid, top: int, rows: int
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Yield the truth of the rows of an image that a band covers, a few rows at a time, at full resolution."""
    first, last = int(grid.row_edges[top]), int(grid.row_edges[top + rows])
    step = max(1, ROWS_OF_PIXELS // grid.size[1])
    for start in range(first, last, step):
        end = min(start + step, last)
        box: Box = (start, 0, end - start, grid.size[1])
        parts = [replace(file, part=replace(file.part, box=box)) for file in files]
        yield slice(start, end), read_labels_of_part(parts, inputs.labels, box[2:]).mask


class _Counter:
    """Count pixels band by band, and keep small images for their distances."""

    def __init__(self, inputs: EvaluationInputs, *, whole: bool) -> None:
        self._classes = len(inputs.card.classes)
        self._multilabel = inputs.store.multilabel
        self._rules = replace(inputs.rules, pixel_mm=None)
        self.kept: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] | None = [] if whole else None
        self._counts = np.zeros((self._classes - 1, 4), np.int64)

    def add(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Add rows: decision and truth, (row, column) uint8."""
        if self.kept is not None:
            self.kept.append((prediction, truth))
            return
        counted = truth != IGNORE
        for index in range(1, self._classes):
            if self._multilabel:
                bit = np.uint8(1 << (index - 1))
                found, true = prediction & bit > 0, truth & bit > 0
            else:
                found, true = prediction == index, truth == index
            both = np.bincount(2 * found[counted].astype(np.int8) + true[counted], minlength=4)
            self._counts[index - 1] += both[[3, 2, 1, 0]]

    def scores(self) -> SampleScores:
        """Return the scores of all rows."""
        if self.kept is not None:
            prediction, truth = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
            return score_sample(prediction, truth, self._classes, multilabel=self._multilabel, rules=self._rules)
        scores = []
        for tp, fp, fn, tn in self._counts.tolist():
            plain = ClassScores(tp=tp, fp=fp, fn=fn, tn=tn)
            values = {name: np.nan if name in DISTANCES else getattr(plain, name) for name in METRICS}
            scores.append(replace(plain, values=values))
        return SampleScores(tuple(scores))
