"""Prepare an extraction: find the samples, settle what their labels mean, and check all headers.

`extract` and its dry run share this, so that the plan shows what the extraction does. Nothing here needs the
transformer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stages.errors import Problem
from stages.extraction.shard import Decoding, check_files
from stages.imaging.headers import read_header
from stages.imaging.image_rules import ImageRules
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.labels import Kind, LabelRules
from stages.imaging.pairing import Found, Inputs, find_samples
from stages.imaging.parts import AXIAL
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.planes import split_into_planes
from stages.imaging.volumes.readers import is_volume_file
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Progress
from stages.settings import ExtractSettings, Size

__all__ = ["Prepared", "check_headers", "find_all_problems", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Hold all facts about the input that are known before decoding."""

    found: Found
    sources: Sequence[SourceSample]
    """The samples whose headers are sound, sorted by id."""
    problems: Sequence[Problem]
    """Problems of pairing and of headers."""
    sizes: Counter[Size]
    """Number of images by (height, width), as stored in the file."""
    decoding: Decoding
    rules: LabelRules


def prepare(settings: ExtractSettings, progress: Progress) -> Prepared:
    """Find the samples and check the headers of all their files.

    Raises:
        UsageError: a folder, a pattern or a class map is not valid.
        InputProblemsError: no sample was found.
    """
    found = find_samples(
        Inputs(
            images=settings.images,
            masks=settings.masks,
            csv=settings.csv,
            layout=settings.layout,
            image_pattern=settings.image_pattern,
            mask_pattern=settings.mask_pattern,
            group_pattern=settings.group_pattern,
        ),
        progress=progress,
    )
    rules = LabelRules.for_samples(
        found.samples,
        classes=settings.classes or found.classes,
        kind=_kind(settings, found),
        threshold=settings.threshold,
        unclear=settings.unclear,
    )
    planes, unsplit = split_into_planes(found.samples, settings.axis)
    sources, problems, sizes = check_headers(planes, progress)
    return Prepared(
        found=found,
        sources=sources,
        problems=[*found.problems, *unsplit, *problems],
        sizes=sizes,
        decoding=Decoding(
            size=settings.image_size,
            input_size=settings.attention_size,
            images=_image_rules(sources, settings),
            rules=rules,
        ),
        rules=rules,
    )


def _image_rules(sources: Sequence[SourceSample], settings: ExtractSettings) -> ImageRules:
    """Return the rules for image files. Values of volumes are shown by the percentiles of each file."""
    deep = any(is_volume_file(one.image) and open_volume(one.image).facts.deep for one in sources)
    volumes = any(is_volume_file(one.image) for one in sources)
    return ImageRules(
        window=IntensityRule.parse("percentiles") if deep else MINMAX, axis=settings.axis if volumes else AXIAL
    )


def _kind(settings: ExtractSettings, found: Found) -> Kind:
    """Return the kind of labels that the user asks for; with `auto`, the kind of the layout."""
    if settings.labels != "auto":
        return settings.labels
    if found.labels == "instances":
        return "instances"
    return "multilabel" if found.labels == "multilabel" else "classes"


def find_all_problems(prepared: Prepared, progress: Progress) -> list[Problem]:
    """Return the known problems, and decode all other files to find theirs."""
    with progress.task("checking", len(prepared.sources)) as task:
        return [*prepared.problems, *check_files(prepared.sources, decoding=prepared.decoding, task=task)]


def check_headers(
    samples: Sequence[SourceSample], progress: Progress
) -> tuple[list[SourceSample], list[Problem], Counter[Size]]:
    """Return the samples with sound headers, the problems of the others, and the sizes of the images."""
    sources: list[SourceSample] = []
    problems: list[Problem] = []
    sizes: Counter[Size] = Counter()
    with progress.task("checking headers", len(samples)) as task:
        for sample, outcome in zip(samples, look_ahead(read_header, samples), strict=True):
            if isinstance(outcome, list):
                problems += outcome
            else:
                sources.append(sample)
                sizes[outcome] += 1
            task.advance()
    return sources, problems, sizes
