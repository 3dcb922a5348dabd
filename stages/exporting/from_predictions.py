"""Read the masks that `pipeline predict` wrote, and their images, for an export.

The run that predicted them (`--run`) gives the classes and their values in the mask files. The folder of images
(`--images`) is searched in the way of `predict`, so the ids are the same. Masks that were corrected by hand are read in
the same way. Scans, stacks and masks of large images as OME-TIFF are not exported: viewers open these files themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import InputProblemsError, Problem, UsageError
from stages.exporting.labelled import Collection, Item, Labels
from stages.imaging.decoding import read_image
from stages.imaging.image_rules import ImageRules
from stages.imaging.opening import open_picture
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.pixel_sizes import size_in_file
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.channels import with_channels
from stages.imaging.volumes.planes import split_into_planes
from stages.imaging.whole_size import is_turned
from stages.prediction.licence_file import notice, with_earlier
from stages.prediction.outputs import label_names
from stages.runs.licences import licence_of_run
from stages.runtime.progress import Progress
from stages.segmentation.checkpoint import ModelCard, load_model
from stages.segmentation.mask_painter import MaskPainter
from stages.settings import ExportSettings

__all__ = ["from_predictions"]

NAMED = 5
"""Number of missing files that a message names."""


def from_predictions(settings: ExportSettings, progress: Progress) -> Collection:
    """Return the images that have a predicted mask.

    Args:
        settings: `predictions`, `images`, `run` and `pixel_mm` are read.
        progress: Receives the rule by which images were found.

    Raises:
        CheckpointError: the run cannot be read.
        UsageError: there are no images, or none has a predicted mask.
        InputProblemsError: the folder of images cannot be used.
    """
    folder = settings.predictions
    assert folder is not None  # noqa: S101 - `places.source_of` made sure
    if settings.images is None:
        raise UsageError(
            f"--predictions {folder}: the images that were segmented are needed too. Give their folder with --images."
        )
    if not folder.is_dir():
        raise UsageError(f"--predictions {folder}: is no folder. Give the folder that `pipeline predict` wrote.")
    _, card = load_model(settings.run, torch.device("cpu"))
    sources = _sources(settings.images, card, progress)
    files = {source.id: _mask_files(folder, source.id, card) for source in sources}
    usable = [one for one in sources if files[one.id] is not None]
    missing = [one.id for one in sources if files[one.id] is None]
    if not usable:
        raise UsageError(
            f"{folder}: has no predicted mask of an image in {settings.images}, such as {sources[0].id}.png.\n"
            "  Give the images that were segmented with --images, and the run that segmented them with --run.\n"
            "  Masks of scans and of large images are not exported: viewers open those files themselves."
        )
    painter = MaskPainter.of(card.classes, (card.masks or {}).get("values"))
    rules = ImageRules.from_dict(card.images)

    def read(position: int) -> Item:
        source = usable[position]
        image = read_image(source.image, source.part, rules.window).pixels
        labels = _read_labels(files[source.id] or {}, image.shape[:2], card, painter)
        given = settings.pixel_mm
        size = size_in_file(source.image, source.part.axis) if given is None else given
        pixel_mm = (size, size) if isinstance(size, float) else size
        return Item(source.id, image, labels, pixel_mm)

    return Collection(
        classes=card.classes,
        multilabel=card.network.multilabel,
        ids=[one.id for one in usable],
        read=read,
        turned=lambda position: is_turned(usable[position].image),
        notes=[_left_out(missing)] if missing else [],
        notice=with_earlier(folder, notice(card.recipe, card.weights_licence, branches=card.network.branches)),
        facts={
            "run": {"recipe_sha256": card.recipe_sha256, "store_contents_sha256": card.store_contents_sha256},
            "weights_licence": licence_of_run(card.recipe, card.weights_licence, branches=card.network.branches),
        },
    )


def _left_out(missing: list[str]) -> str:
    names = ", ".join(missing[:NAMED]) + (" …" if len(missing) > NAMED else "")
    return f"images left out, because they have no predicted mask: {len(missing):,} ({names})"


def _sources(images: Path, card: ModelCard, progress: Progress) -> list[SourceSample]:
    """Find the images as `predict` does."""
    pairing = (card.masks or {}).get("pairing") or {}
    inputs = Inputs(images=images, mask_pattern=pairing.get("mask_pattern"))
    found = find_samples(inputs, labels="ignored", progress=progress)
    rules = ImageRules.from_dict(card.images)
    planes, problems = split_into_planes(found.samples, rules.axis)
    planes, unshown = with_channels(planes, rules.channels)
    if found_problems := [*found.problems, *problems, *unshown]:
        raise InputProblemsError(found_problems)
    return planes


def _mask_files(folder: Path, identifier: str, card: ModelCard) -> dict[int, Path] | None:
    """Return the mask files of an image by class, or by 0 for one file of all classes; None if one is missing."""
    if card.network.multilabel:
        files = {
            index: folder / f"{name}.png" for index, name in enumerate(label_names(identifier, card.classes), start=1)
        }
    else:
        files = {0: folder / f"{identifier}.png"}
    return files if all(file.is_file() for file in files.values()) else None


def _read_labels(files: Mapping[int, Path], size: tuple[int, int], card: ModelCard, painter: MaskPainter) -> Labels:
    ignored = np.zeros(size, np.bool_)
    if card.network.multilabel:
        regions = {index: _values(file, size) > 0 for index, file in files.items()}
    else:
        regions = _decode(files[0], _values(files[0], size), card.classes, painter)
    numbered: dict[int, NDArray[np.int32]] = {}
    for index, file in files.items():
        instances = file.with_name(f"{file.stem}_instances.png")
        if not instances.is_file():
            return Labels(regions, ignored)
        numbers = _values(instances, size).astype(np.int32)
        for one in [index] if index else regions:
            numbered[one] = np.where(regions[one], numbers, 0)
            if np.any(regions[one] & (numbers == 0)):  # the mask was changed after the objects were numbered
                return Labels(regions, ignored)
    return Labels(regions, ignored, numbered)


def _values(file: Path, size: tuple[int, int]) -> NDArray[np.integer]:
    """Return the values of a mask file, (height, width) or (height, width, 3).

    Raises:
        InputProblemsError: it cannot be read, or has another size than the image.
    """
    values = np.asarray(open_picture(file).image)
    if values.shape[:2] != size:
        raise _problem(
            file,
            f"has {values.shape[0]} x {values.shape[1]} pixels, and its image has {size[0]} x {size[1]}. Give the "
            "images that were segmented with --images",
        )
    return values.astype(np.int64)


def _decode(
    file: Path, values: NDArray[np.integer], classes: list[str], painter: MaskPainter
) -> dict[int, NDArray[np.bool_]]:
    """Return the region of every foreground class.

    Raises:
        InputProblemsError: the mask has a value that no class has.
    """
    table = painter.table[: len(classes)].astype(np.int64)
    if table.ndim != values.ndim - 1:
        raise _problem(file, "is not a mask in the values of the run. Give the run that predicted it with --run")
    matches = [values == one if table.ndim == 1 else (values == one).all(axis=-1) for one in table]
    known = np.logical_or.reduce(matches)
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise _problem(
            file,
            f"has the value {values[row, column].tolist()} at row {row}, column {column}, which no class of the run "
            "has. Give the run that predicted it with --run",
        )
    return {index: match for index, match in enumerate(matches) if index > 0}


def _problem(file: Path, what: str) -> InputProblemsError:
    return InputProblemsError([Problem(str(file), what)])
