"""Make the picture of one case: image, contours, probability and attention, as small as the page allows.

All layers share one frame: the aspect of the original image, with 960 pixels along the longest side. Contours are
paths in this frame. Image, probability and maps are stretched to it by the page.

The image is the store's, stretched back to the original aspect; or the source image, if it is given. Where bytes are
scarce, the image gets smaller and coarser first. Where too little is left for it, the other layers get smaller in the
steps of `STEPS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.imaging.fitting import Canvas
from stages.reporting.content import CasePicture, Maps, Shape
from stages.reporting.contours import LONGEST_PATH, trace
from stages.reporting.picture_coding import (
    GREY_LEVELS,
    embedded,
    encode_image,
    encode_maps,
    encode_probability,
)
from stages.segmentation.decisions import region_of
from stages.settings import Size
from store.agreement import head_agreement
from store.records import IGNORE, Sample

__all__ = ["FRAME", "LARGE", "Source", "case_picture", "frame_of", "picture_size", "shapes_of"]

FRAME = 960
"""Longest side of the frame, in pixels."""
LARGE = 400_000
"""Characters of one case in a page that shows few cases."""
LEAST_FOR_IMAGE = 6_000
"""Characters that are kept for the image: the other layers get smaller first."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Say how large the layers beside the image are."""

    levels: int
    """Grey levels of the attention maps."""
    longest: int
    """Characters of the outline of a class; longer ones are traced at a lower resolution."""
    probability: bool
    """True if the probability is shown."""


STEPS = (
    Step(levels=GREY_LEVELS, longest=LONGEST_PATH, probability=True),
    Step(levels=32, longest=LONGEST_PATH, probability=True),
    Step(levels=16, longest=LONGEST_PATH, probability=True),
    Step(levels=16, longest=2500, probability=True),
    Step(levels=16, longest=2500, probability=False),
    Step(levels=8, longest=1200, probability=False),
)
"""Sizes of the layers, from the best on."""
LARGEST_MASK = 1024
"""Source masks with a longer side are reduced to it before they are traced."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Hold the source files of a sample, decoded, at their own size."""

    image: NDArray[np.uint8] | None = None
    """(height, width, 3) uint8 RGB; None without the file."""
    mask: NDArray[np.uint8] | None = None
    """(height, width) class index or bits of labels, 255 ignored; None without the file."""


def case_picture(
    sample: Sample,
    *,
    classes: Sequence[str],
    heads: Sequence[str],
    multilabel: bool = False,
    predictions: Mapping[str, NDArray[np.uint8]] | None = None,
    probabilities: Mapping[str, NDArray[np.float32]] | None = None,
    source: Source | None = None,
    aspect: Size | None = None,
    limit: int = LARGE,
) -> CasePicture:
    """Return the picture of one sample of a store.

    Args:
        sample: The sample, as the store holds it.
        classes: Names of all classes, background first.
        heads: Names of the attention maps.
        multilabel: Masks and predictions hold one bit for each label.
        predictions: By arm, (row, column) class index or bits, at any size.
        probabilities: By arm, (class, row, column) in [0, 1], at any size.
        source: Source image and source mask; they are shown in place of the stored ones.
        aspect: The aspect to which the images of the store were padded; None if they were stretched. The picture then
            shows the padding too, because the network saw it.
        limit: Characters that the picture may take in the page, for all layers together.

    Returns:
        The picture. A sample without a mask has no truth. It takes more than `limit` only if all layers at the last of
        `STEPS` and an image of 64 pixels do.
    """
    source = source or Source()
    canvas = Canvas.around((sample.height, sample.width), aspect)
    frame = frame_of(*canvas.size)
    mask = sample.mask if source.mask is None else _reduced(canvas.pad(source.mask, IGNORE))
    encoded = {arm: encode_probability(one) for arm, one in (probabilities or {}).items()}

    @cache
    def shapes(arm: str | None, longest: int) -> list[Shape]:
        drawn = mask if arm is None else (predictions or {})[arm]
        return shapes_of(drawn, classes, frame, multilabel=multilabel, longest=longest)

    for step in STEPS:
        picture = CasePicture(
            width=frame[1],
            height=frame[0],
            image=b"",
            image_type="image/webp",
            truth=shapes(None, step.longest) if sample.labelled else [],
            ignored=trace(mask == IGNORE, frame, longest=step.longest) if sample.labelled else "",
            predictions={arm: shapes(arm, step.longest) for arm in predictions or {}},
            probability=encoded if step.probability else {},
            maps=_maps(sample, heads, step.levels),
        )
        if limit - picture_size(picture) >= LEAST_FOR_IMAGE:
            break
    shown = sample.image if source.image is None else canvas.pad(source.image, 0)
    image = encode_image(shown, canvas.size, limit=max(0, limit - picture_size(picture)))
    return replace(picture, image=image.content)


def frame_of(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of the frame of an image of this size: the longest side has 960 pixels."""
    scale = FRAME / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def shapes_of(
    mask: NDArray[np.uint8],
    classes: Sequence[str],
    frame: tuple[int, int],
    *,
    multilabel: bool = False,
    longest: int = LONGEST_PATH,
) -> list[Shape]:
    """Return the outline of every foreground class that has a pixel.

    Args:
        mask: (row, column) class index or bits of labels; 255 is ignored.
        classes: Names of all classes, background first.
        frame: (height, width) of the picture.
        multilabel: The mask holds one bit for each label.
        longest: Characters of an outline; a longer one is traced at a lower resolution.
    """
    paths = (
        (name, trace(region_of(mask, index, multilabel=multilabel), frame, longest=longest))
        for index, name in enumerate(classes[1:], start=1)
    )
    return [Shape(name=name, path=path) for name, path in paths if path]


def picture_size(picture: CasePicture) -> int:
    """Return the characters that a picture takes in a page, without the names of its fields."""
    shapes = [*picture.truth, *(shape for shapes in picture.predictions.values() for shape in shapes)]
    files = [picture.image, *picture.probability.values(), *([picture.maps.sheet] if picture.maps else [])]
    return len(picture.ignored) + sum(len(shape.path) for shape in shapes) + sum(map(embedded, files))


def _maps(sample: Sample, heads: Sequence[str], levels: int) -> Maps | None:
    """Return the sample's attention maps with their agreement with its mask; None without heads."""
    if not len(heads):
        return None
    sheet, low, high = encode_maps(sample.attention, levels=levels)
    agreement = (
        head_agreement(sample.attention[None], sample.mask[None])[0] if sample.labelled else np.full(len(heads), np.nan)
    )
    return Maps(
        heads=[str(name) for name in heads],
        grid=(sample.attention.shape[1], sample.attention.shape[2]),
        sheet=sheet,
        low=low,
        high=high,
        agreement=agreement.tolist(),
        best=None if np.isnan(agreement).all() else int(np.nanargmax(agreement)),
    )


def _reduced(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask with at most 1,024 pixels a side, by nearest neighbour."""
    longest = max(mask.shape)
    if longest <= LARGEST_MASK:
        return mask
    scale = LARGEST_MASK / longest
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
