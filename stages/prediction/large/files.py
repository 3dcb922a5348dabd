"""Write the files of one image that is too large to be in memory.

| option          | file                     | content                                                          |
|-----------------|--------------------------|------------------------------------------------------------------|
|                 | `<id>.tif`               | label image of the image's size; see `label_tiff`                |
| multi-label run | `<id>_<label>.tif`       | one such file for every label, in place of `<id>.tif`            |
| `--contours`    | `<id>.geojson`           | outlines, in pixels of the image; see `outlines`                 |
| `--instances`   | `<id>_instances.tif`     | number of the object at every pixel, 32 bits; 0 for none         |
| `--uncertainty` | `<id>_uncertainty.tif`   | entropy of the probabilities, 8-bit grey                         |
| `--overlay`     | `<id>_overlay.png`       | image with outlines, at most 2,048 pixels long                   |
| `--table`       | rows of `table.csv`      | as for small images                                              |

`--probabilities` and `--instances watershed` need the whole image and are refused. The values are those that smaller
images have (`stages.prediction.outputs`), but classes are decided at the resolution of the tiles and repeated, where
the probabilities of a small image are stretched to its full size first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.decoding import read_resized
from stages.imaging.image_rules import ImageRules
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.shown import read_plane_at
from stages.pictures.outlines import display_size, draw_outlines
from stages.prediction.full_size import Prediction
from stages.prediction.geojson import Feature, feature_of
from stages.prediction.large.connected import Connected, find_connected
from stages.prediction.large.features import write_features
from stages.prediction.large.label_tiff import rows_at, write_label_tiff
from stages.prediction.large.outlines import trace_connected
from stages.prediction.large.row_file import RowFile
from stages.prediction.large.sliding import Windows
from stages.prediction.large.totals import Totals
from stages.prediction.mask_files import MaskPainter, as_png, is_ours
from stages.prediction.outputs import WHITE, label_names
from stages.prediction.table import Row
from stages.segmentation.checkpoint import ModelCard
from stages.segmentation.decisions import decide, region_of
from stages.segmentation.instances import split_instances
from stages.segmentation.metrics import PixelSize
from stages.settings import PredictSettings
from store.disk.publish import replace_file

__all__ = ["LargeFiles"]


class LargeFiles:
    """Write the files of large images, one image at a time."""

    def __init__(self, settings: PredictSettings, card: ModelCard) -> None:
        """Take the options, and the classes with their values from the model's card."""
        self._settings = settings
        self._out = settings.out
        self._classes = card.classes
        self._multilabel = card.network.multilabel
        self._window = ImageRules.from_dict(card.images).window
        self._painter = MaskPainter.of(card.classes, (card.masks or {}).get("values"))

    def require_possible(self, sources: Sequence[SourceSample]) -> None:
        """Make sure that the files that are asked for can be written for large images.

        Raises:
            UsageError: an option needs the whole image, or a file of somebody else would be overwritten.
        """
        settings = self._settings
        for source in sources:
            for wrong, option in (
                (settings.probabilities, "--probabilities"),
                (settings.instances == "watershed", "--instances watershed"),
            ):
                if wrong:
                    raise UsageError(
                        f"{source.image}: is too large for {option}, which needs the whole image in memory.\n"
                        "  Leave it out, or use --instances components."
                    )
            for name in self._names(source.id):
                path = self._out / name
                if path.exists() and not is_ours(path):
                    raise UsageError(
                        f"--out {self._out}: the prediction of {source.image} would overwrite {name}, which was not "
                        "written by `predict`.\n  Give another folder."
                    )

    def write(self, windows: Windows, parts: Iterable[NDArray[np.float32]]) -> list[Row]:
        """Write all files of one image.

        Args:
            windows: Of the image.
            parts: (class, row, column) probabilities, from the first row on.

        Returns:
            The rows of the table, one for each class.

        Raises:
            PipelineError: the disk is full.
            InputProblemsError: the image is damaged.
        """
        settings, grid = self._settings, windows.grid
        with ExitStack() as stack:
            decided = stack.enter_context(RowFile(self._out))
            entropies = stack.enter_context(RowFile(self._out))
            totals = Totals(grid, len(self._classes), multilabel=self._multilabel)
            for probabilities in parts:
                mask = decide(probabilities, multilabel=self._multilabel)
                totals.add(probabilities, mask)
                decided.append(mask)
                if settings.uncertainty:
                    whole = Prediction(probabilities, mask.shape, multilabel=self._multilabel)
                    entropies.append(whole.uncertainty())
            self._write_masks(windows, decided)
            if settings.uncertainty:
                name = f"{windows.source.id}_uncertainty.tif"
                write_label_tiff(self._out / name, lambda: entropies, grid, spacing_mm=windows.spacing_mm)
            if settings.overlay:
                self._write_overlay(windows, decided)
            if settings.contours or settings.table or settings.instances != "none":
                return self._write_objects(windows, decided, totals, stack)
        return []

    def _write_masks(self, windows: Windows, decided: RowFile) -> None:
        spacing, grid = windows.spacing_mm, windows.grid
        if not self._multilabel:
            path = self._out / f"{windows.source.id}.tif"
            write_label_tiff(path, lambda: map(self._painter.paint, decided), grid, spacing_mm=spacing)
            return
        for index, name in enumerate(label_names(windows.source.id, self._classes), start=1):
            picture = partial(self._white_regions, decided, index)
            write_label_tiff(self._out / f"{name}.tif", picture, grid, spacing_mm=spacing)

    def _write_objects(self, windows: Windows, decided: RowFile, totals: Totals, stack: ExitStack) -> list[Row]:
        """Find the objects of every class; write contours and instances, and return the rows of the table."""
        source, grid, settings = windows.source, windows.grid, self._settings
        pixel_mm = self._pixel_mm(windows)
        found: list[Connected] = []
        for index in range(1, len(self._classes)):
            labels = stack.enter_context(RowFile(self._out))
            found.append(find_connected(self._regions(decided, index), grid, labels))
        if settings.contours:
            write_features(self._out / f"{source.id}.geojson", self._features(found, windows, pixel_mm))
        if settings.instances != "none":
            names = label_names(source.id, self._classes) if self._multilabel else [source.id]
            groups = [[one] for one in found] if self._multilabel else [found]
            for name, group in zip(names, groups, strict=True):
                path = self._out / f"{name}_instances.tif"
                write_label_tiff(path, partial(_numbered, group), grid, spacing_mm=windows.spacing_mm)
        return [
            totals.row(source.id, name, index, objects=one.count, pixel_mm=pixel_mm)
            for index, (name, one) in enumerate(zip(self._classes[1:], found, strict=True), start=1)
        ]

    def _features(self, found: list[Connected], windows: Windows, pixel_mm: PixelSize | None) -> Iterator[Feature]:
        for number, (name, connected) in enumerate(zip(self._classes[1:], found, strict=True)):
            for one, polygons in trace_connected(connected, windows.grid):
                yield feature_of(name, number, polygons, area=int(connected.areas[one]), pixel_mm=pixel_mm)

    def _write_overlay(self, windows: Windows, decided: RowFile) -> None:
        source = windows.source
        size = display_size(*windows.grid.size)
        mask = np.concatenate(list(rows_at(decided, windows.grid, size)))
        drawn = [
            (name, split_instances(region_of(mask, index, multilabel=self._multilabel), "components"))
            for index, name in enumerate(self._classes[1:], start=1)
        ]
        if is_volume_file(source.image):
            image = read_plane_at(source.image, source.part, self._window, size)
        else:
            image = read_resized(source.image, (size,), source.part, self._window).images[0]
        content = as_png(np.asarray(draw_outlines(image, drawn, title=source.id)))
        replace_file(self._out / f"{source.id}_overlay.png", content)

    def _regions(self, decided: RowFile, index: int) -> Iterator[NDArray[np.bool_]]:
        return (region_of(block, index, multilabel=self._multilabel) for block in decided)

    def _white_regions(self, decided: RowFile, index: int) -> Iterator[NDArray[np.uint8]]:
        return (region * WHITE for region in self._regions(decided, index))

    def _pixel_mm(self, windows: Windows) -> PixelSize | None:
        """Return the size of a pixel, None if it is not known."""
        return None if windows.spacing_mm is None else windows.spacing_mm[:2]

    def _names(self, identifier: str) -> Iterator[str]:
        """Yield the names of all files that may be written for one image."""
        settings = self._settings
        parts = label_names(identifier, self._classes) if self._multilabel else [identifier]
        yield from (f"{part}.tif" for part in parts)
        if settings.contours:
            yield f"{identifier}.geojson"
        if settings.instances != "none":
            yield from (f"{part}_instances.tif" for part in parts)
        if settings.uncertainty:
            yield f"{identifier}_uncertainty.tif"
        if settings.overlay:
            yield f"{identifier}_overlay.png"

    def kinds(self) -> list[str]:
        """Return the kinds of files that are written for a large image."""
        return list(self._names("<id>"))


def _numbered(found: Sequence[Connected]) -> Iterator[NDArray[np.uint32]]:
    """Yield the numbers of the objects of several classes that do not overlap, counted through all classes."""
    for blocks in zip(*(connected.objects() for connected in found), strict=True):
        numbers = np.zeros(blocks[0].shape, np.uint32)
        count = 0
        for connected, block in zip(found, blocks, strict=True):
            inside = block > 0
            numbers[inside] = block[inside] + count
            count += connected.count
        yield numbers
