"""Read the files of one shard and compute their attention: the unit of work of `extract` and `predict`.

`extract_shard` takes a list of files. Threads decode files ahead while the transformer computes. Cached maps come from
the memo; the others are computed in full batches, and every batch is committed to the memo. Only one shard is in
memory, whatever the total number of images. Workers run the same function (`stages.extraction.jobs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputProblemsError, Problem
from stages.extraction.source_digests import mask_digest
from stages.imaging.context import read_with_context
from stages.imaging.costs import decoding_bytes
from stages.imaging.decoding import OVERSAMPLING, read_resized
from stages.imaging.fingerprint import perceptual_hash
from stages.imaging.fitting import Canvas
from stages.imaging.image_rules import ImageRules
from stages.imaging.label_regions import ignore_outside, read_labels_of_part
from stages.imaging.labels import LabelRules
from stages.imaging.pixel_sizes import size_in_file, size_text
from stages.imaging.samples import SourceSample, printable
from stages.imaging.shrinking import MOST_INSTANCES, ShrunkLabels, shrink_labels
from stages.runtime.look_ahead import THREADS, look_ahead
from stages.runtime.memory_budget import MemoryBudget
from stages.runtime.progress import Task
from store.records import IGNORE, Sample

REMEDY = "Repair or remove them, or continue without them: --on-error skip."
"""Advice after the list of files that cannot be used."""

BETWEEN_COMMITS = 256
"""Most images that are computed between two commits to the memo, whatever the batch size."""


class Extractor(Protocol):
    """Interface of `AttentionExtractor`: compute maps."""

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Return (n, heads, rows, columns) float16 for (n, height, width, 3) uint8."""


class Memo(Protocol):
    """Interface of `AttentionMemo`: cache maps by image digest."""

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        """Return (heads, rows, columns) float16 for every digest that is cached."""

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Store maps, each (heads, rows, columns) float16, by digest."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Hold one sample that was read and resized. Its attention is not computed yet."""

    source: SourceSample
    image: NDArray[np.uint8]
    """(row, column, 3) RGB at the store's size."""
    labels: ShrunkLabels | None
    """The labels at the store's size; None without a label file."""
    entering: NDArray[np.uint8]
    """(row, column, 3) RGB as the transformer sees it: at its input size, with the context around."""
    digest: str
    """SHA-256 of the image file, in hexadecimal."""
    memo_key: str
    """Key of its maps in the memo: the digest in nearly all cases."""
    height: int
    """Rows of the original image."""
    width: int
    """Columns of the original image."""
    mask_digest: str | None = None
    """Digest of the label files; None if it is not recorded."""
    aspect: tuple[int, int] | None = None
    """The aspect to which the image was padded; None if it was stretched."""


@dataclass
class Shard:
    """Hold the result for the files of one shard."""

    samples: list[Sample] = field(default_factory=list)
    memo_keys: list[str] = field(default_factory=list)
    """Key of each sample's maps in the memo."""
    problems: list[Problem] = field(default_factory=list)
    keeping_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By id, for samples that lost objects: the smallest size that would keep them."""
    computed: int = 0
    """Images the transformer ran on; the maps of the others came from the memo."""

    def add(self, other: Shard) -> None:
        """Append the result for the files that follow."""
        self.samples += other.samples
        self.memo_keys += other.memo_keys
        self.problems += other.problems
        self.keeping_sizes |= other.keeping_sizes
        self.computed += other.computed


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Hold the sizes and the rules that files are decoded with."""

    size: tuple[int, int]
    """(rows, columns) of image and mask."""
    input_size: tuple[int, int]
    """(rows, columns) of the image in what the transformer sees."""
    context: tuple[int, int] = (0, 0)
    """(rows, columns) around the image that the transformer sees too, on every side."""
    images: ImageRules = field(default_factory=ImageRules)
    """The meaning of the image files' values."""
    rules: LabelRules | None = None
    """The meaning of the label files; None where samples have none."""
    record_masks: bool = False
    """True to record the digests of the label files, so that samples can be added to the store later."""

    @property
    def aspect(self) -> tuple[int, int] | None:
        """The aspect to which images are padded; None if they are stretched."""
        return self.images.aspect(self.size)

    def decode(self, source: SourceSample) -> Decoded | list[Problem]:
        """Read the files of one sample, or return their problems. The mask is checked only if the image is sound."""
        try:
            image = read_resized(
                source.image, (self.size, self.input_size), source.part, self.images.window, self.aspect
            )
            stored, entering = image.images
            if any(self.context):
                entering = read_with_context(
                    source.image, source.part, self.input_size, self.context, self.images.window
                )
        except InputProblemsError as error:
            return list(error.problems)
        try:
            labels = self._labels(source, (image.height, image.width))
            recorded = mask_digest(source) if self.record_masks else None
        except InputProblemsError as error:
            return list(error.problems)
        return Decoded(
            source=source,
            image=stored,
            labels=labels,
            entering=entering,
            digest=image.digest,
            memo_key=image.memo_key,
            height=image.height,
            width=image.width,
            mask_digest=recorded,
            aspect=self.aspect,
        )

    def weigh(self, source: SourceSample) -> int:
        """Return the number of bytes that `decode` needs at most, from the header of the image."""
        side = OVERSAMPLING * max(*self.size, *self.input_size)
        one = decoding_bytes(source, side, labels=self.rules is not None, rule=self.images.window)
        (rows, columns), (height, width) = self.context, self.input_size
        return int(one * (1 + 2 * rows / height) * (1 + 2 * columns / width))

    def _labels(self, source: SourceSample, size: tuple[int, int]) -> ShrunkLabels | None:
        if not source.masks or self.rules is None:
            return None
        labels = read_labels_of_part(source.masks, self.rules, size)
        if source.part.box is not None:
            labels = ignore_outside(labels, source.part.box, source.image, source.part)
        if labels.instances is not None and int(labels.instances.max(initial=0)) > MOST_INSTANCES:
            what = f"holds {int(labels.instances.max())} objects, and a store takes {MOST_INSTANCES}; cut the image"
            raise InputProblemsError([Problem(printable(source.masks[0].path), what)])
        return shrink_labels(
            labels.mask,
            labels.instances,
            self.size,
            multilabel=self.rules.kind == "multilabel",
            canvas=Canvas.around(size, self.aspect),
        )


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Hold what all shards of one extraction share."""

    decoding: Decoding
    extractor: Extractor
    batch_size: int
    """Images given to the extractor at a time."""
    memo: Memo
    """Asked before maps are computed; gets the new maps after every batch."""
    processes: int = 1
    """Number of processes that work at the same time on this machine: they share its memory and its processors."""


def extract_shard(sources: Sequence[SourceSample], extraction: Extraction, task: Task) -> Shard:
    """Read files and compute their attention, in the order of the files.

    Args:
        sources: The files of each sample. All samples must fit in memory together, at the store's size.
        extraction: How the files are read and computed.
        task: Advanced by one per sample.

    Returns:
        The samples of all sound files, and the problems of the others.
    """
    shard = Shard()
    decoded: list[Decoded] = []
    maps: dict[str, NDArray[np.float16]] = {}
    waiting: dict[str, NDArray[np.uint8]] = {}
    outcomes = look_ahead(
        extraction.decoding.decode,
        sources,
        weigh=extraction.decoding.weigh,
        budget=MemoryBudget.of_one(extraction.processes),
        threads=max(2, THREADS // extraction.processes),
    )
    at_a_time = min(extraction.batch_size, BETWEEN_COMMITS)
    while group := list(islice(outcomes, at_a_time)):
        sound = [outcome for outcome in group if isinstance(outcome, Decoded)]
        shard.problems += [problem for outcome in group if isinstance(outcome, list) for problem in outcome]
        decoded += sound
        maps |= extraction.memo.get_many({one.memo_key for one in sound} - maps.keys())
        waiting |= {one.memo_key: one.entering for one in sound if one.memo_key not in maps}
        while len(waiting) >= at_a_time:
            maps |= _compute(waiting, at_a_time, extraction)
            shard.computed += at_a_time
        task.advance(len(group))
    shard.computed += len(waiting)
    if waiting:
        maps |= _compute(waiting, len(waiting), extraction)
    shard.samples = [_sample(one, maps[one.memo_key]) for one in decoded]
    shard.memo_keys = [one.memo_key for one in decoded]
    shard.keeping_sizes = {
        one.source.id: one.labels.keeping_size for one in decoded if one.labels and one.labels.keeping_size
    }
    return shard


def check_files(sources: Sequence[SourceSample], *, decoding: Decoding, task: Task) -> list[Problem]:
    """Return the problems of files. The transformer does not run."""
    problems = []
    for outcome in look_ahead(decoding.decode, sources, weigh=decoding.weigh):
        if isinstance(outcome, list):
            problems += outcome
        task.advance()
    return problems


def _compute(
    waiting: dict[str, NDArray[np.uint8]], count: int, extraction: Extraction
) -> dict[str, NDArray[np.float16]]:
    """Remove `count` images from `waiting`, compute their maps and commit them to the memo."""
    digests = list(islice(waiting, count))
    images = np.stack([waiting.pop(digest) for digest in digests])
    maps = dict(zip(digests, extraction.extractor.extract(images), strict=True))
    extraction.memo.put_many(maps)
    return maps


def _sample(decoded: Decoded, maps: NDArray[np.float16]) -> Sample:
    labels = decoded.labels
    return Sample(
        id=decoded.source.id,
        image=decoded.image,
        mask=np.full(decoded.image.shape[:2], IGNORE, np.uint8) if labels is None else labels.mask,
        attention=maps,
        digest=decoded.digest,
        height=decoded.height,
        width=decoded.width,
        group=decoded.source.group,
        labelled=labels is not None,
        instances=_no_instances(decoded) if labels is None else labels.instances,
        objects=0 if labels is None else labels.objects,
        lost_objects=0 if labels is None else labels.lost,
        lost_classes="" if labels is None else ",".join(map(str, labels.lost_classes)),
        perceptual_hash=perceptual_hash(_without_padding(decoded)),
        **_place(decoded.source),
        pixel_mm=size_text(size_in_file(decoded.source.image, decoded.source.part.axis)),
        mask_digest=decoded.mask_digest,
    )


def _without_padding(decoded: Decoded) -> NDArray[np.uint8]:
    """Return the stored image without its padding, which would make all images of one aspect look alike."""
    size = (decoded.image.shape[0], decoded.image.shape[1])
    left, top, right, bottom = map(round, Canvas.around((decoded.height, decoded.width), decoded.aspect).box(size))
    return decoded.image[top : max(bottom, top + 1), left : max(right, left + 1)]


def _place(source: SourceSample) -> dict[str, Any]:
    """Return the columns with the part of its parent that the sample is; a whole image is its own parent."""
    row, column = (0, 0) if source.part.box is None else source.part.box[:2]
    return {
        "parent": source.parent or source.id,
        "slice": source.part.plane or 0,
        "row": row,
        "column": column,
    }


def _no_instances(decoded: Decoded) -> NDArray[np.uint16]:
    """Return the instances of a sample without labels: none."""
    return np.zeros(decoded.image.shape[:2], np.uint16)
