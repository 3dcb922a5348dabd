"""Read all images of a folder into memory at one size, for training without labels.

Masks are read only for the few images that are watched, and never used for training. Masks without an image are
ignored, so the folder may hold the masks of a larger data set. All problems of the folder are reported together. At 128
pixels an image takes 48 KiB, so 100,000 of them take 4.6 GiB.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.classes import ClassMap
from stages.imaging.costs import decoding_bytes
from stages.imaging.decoding import OVERSAMPLING, read_resized
from stages.imaging.image_facts import ImageFacts, image_facts
from stages.imaging.intensities import IntensityRule, window_for
from stages.imaging.label_values import has_values, read_values
from stages.imaging.masks import binary_values, read_mask
from stages.imaging.mixtures import describe_conversion
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.resizing import resize_mask
from stages.imaging.samples import LabelFile, SourceSample
from stages.imaging.volumes.channels import parse_channels, with_channels
from stages.imaging.volumes.planes import split_into_planes
from stages.pretraining.watch import Watched
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Progress
from stages.settings import PretrainSettings, Size
from store.records import IGNORE

__all__ = ["UnlabelledImages", "read_images"]

WATCHED = 16
"""Largest number of images that are watched."""

REMEDY = "Repair them or remove them."


@dataclass(frozen=True)
class UnlabelledImages:
    """The images to train on."""

    pixels: Tensor
    """(n, 3, side, side) uint8 RGB, stretched to a square as in extraction."""
    watched: Watched
    """Some of them, with their masks if there are any."""
    window: IntensityRule
    """The rule by which values of more than 8 bits became 8-bit values."""
    conversion: str | None
    """The same in words; None if all images have 8 bits."""
    sha256: str
    """SHA-256 over the sorted hexadecimal digests of the files, one per line."""


def read_images(settings: PretrainSettings, progress: Progress) -> UnlabelledImages:
    """Read `settings.images` at `settings.image_size`.

    Raises:
        UsageError: a folder does not exist, the rule of intensities is not valid, or there are fewer images than a
            batch.
        InputProblemsError: images, or masks of watched images, cannot be used; the error lists all of them.
    """
    window_for(settings.window, deep=True)  # a rule that is not valid is found before any file is read
    found = find_samples(
        Inputs(images=settings.images, masks=settings.masks),
        orphans="ignored",
        labels="ignored" if settings.masks is None else "wanted",
    )
    samples, unsplit = split_into_planes(found.samples)
    channels = parse_channels(settings.channels) if settings.channels is not None else ()
    samples, unshown = with_channels(samples, channels, command="pretrain")
    problems = [*found.problems, *unsplit, *unshown]
    if len(samples) < settings.batch_size and not problems:
        raise UsageError(
            f"{settings.images}: holds {len(samples)} images, fewer than a batch of {settings.batch_size}.\n"
            f"  Give more images, or --batch-size {len(samples)} or less."
        )
    facts = [one for one in look_ahead(_facts, samples) if one is not None]
    window = window_for(settings.window, deep=any(one.deep for one in facts))
    conversion = describe_conversion(facts, window)
    if conversion is not None:
        progress.say(conversion)
    side = settings.image_size
    pixels = torch.empty((len(samples), 3, side, side), dtype=torch.uint8)
    masks = torch.full((WATCHED, side, side), IGNORE, dtype=torch.uint8)
    watched = _spread(samples)
    digests = []
    with progress.task("reading", len(samples)) as task:
        outcomes = look_ahead(
            lambda at: _decode(samples[at], side, window, with_mask=at in watched),
            range(len(samples)),
            weigh=lambda at: decoding_bytes(samples[at], OVERSAMPLING * side, labels=at in watched),
        )
        for at, outcome in enumerate(outcomes):
            task.advance()
            if isinstance(outcome, list):
                problems += outcome
                continue
            image, mask, digest = outcome
            pixels[at] = torch.from_numpy(image).permute(2, 0, 1)
            digests.append(digest)
            if mask is not None:
                masks[watched.index(at)] = torch.from_numpy(mask)
    if problems:
        raise InputProblemsError(problems, REMEDY)
    sha256 = hashlib.sha256("".join(f"{digest}\n" for digest in sorted(digests)).encode()).hexdigest()
    return UnlabelledImages(pixels, Watched(pixels[watched], masks[: len(watched)]), window, conversion, sha256)


def _facts(sample: SourceSample) -> ImageFacts | None:
    """Return what the header of an image says; None if it cannot be read: decoding it will say why."""
    try:
        return image_facts(sample.image, sample.part)
    except InputProblemsError:
        return None


def _read_mask(file: LabelFile, size: Size) -> NDArray[np.uint8]:
    """Return a black-and-white mask, (row, column) of 0 and 1."""
    if has_values(file):
        return binary_values(file.path, read_values(file, size))
    return read_mask(file.path, ClassMap.binary(), size)


def _spread(samples: list[SourceSample]) -> list[int]:
    """Return the positions of the images to watch, spread over all images, or over those with a mask if any has one."""
    candidates = [at for at, sample in enumerate(samples) if sample.masks] or list(range(len(samples)))
    count = min(WATCHED, len(candidates))
    return [candidates[at * len(candidates) // count] for at in range(count)]


def _decode(
    sample: SourceSample, side: int, window: IntensityRule, *, with_mask: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str] | list[Problem]:
    """Read the image, (side, side, 3), the mask, (side, side), if wanted and present, and the file's digest."""
    try:
        image = read_resized(sample.image, [(side, side)], sample.part, window)
        mask = None
        if with_mask and sample.masks:
            mask = _read_mask(sample.masks[0], (image.height, image.width))
    except InputProblemsError as error:
        return list(error.problems)
    return (
        image.images[0],
        None if mask is None else resize_mask(mask, (side, side)),
        image.digest,
    )
