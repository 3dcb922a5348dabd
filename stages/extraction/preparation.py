"""Prepare an extraction: find the samples, settle what their labels mean, and check all headers.

`extract` and its dry run share this, so that the plan shows what the extraction does. Nothing here needs the
transformer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stages.errors import Problem, UsageError
from stages.extraction.additions import Additions
from stages.extraction.parts import Share, step_of
from stages.extraction.shard import Decoding, check_files
from stages.extraction.tiles import cut_into_tiles, leave_out_plain, size_notes, tile_rule
from stages.imaging.headers import read_header
from stages.imaging.image_facts import ImageFacts
from stages.imaging.image_rules import PAD, ImageRules
from stages.imaging.intensities import AUTO, MINMAX, IntensityRule, window_for
from stages.imaging.labels import Kind, LabelRules
from stages.imaging.mixtures import describe_channels, describe_conversion, describe_mixtures, only_orientation
from stages.imaging.pairing import Found, Inputs, find_samples
from stages.imaging.parts import AXIAL
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.channels import parse_channels, with_channels
from stages.imaging.volumes.planes import split_into_planes
from stages.imaging.volumes.readers import is_volume_file
from stages.runtime.collection import without_collection
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
    plain: Sequence[Problem] = ()
    """Images whose tiles were left out in part, because they show nothing."""
    images: Sequence[SourceSample]
    """The same before they were cut into tiles: whole images, and planes of volumes."""
    facts: Sequence[ImageFacts]
    """Facts from the header of each of these images."""
    decoding: Decoding
    rules: LabelRules
    window: str = "auto"
    """The rule of intensities that the user asks for."""
    window_origin: str = "--window"
    """Where the rule of intensities comes from, for messages."""
    share: Share | None = None
    """Part of a divided extraction, to which `sources`, `plain` and `unread` belong; None for a whole extraction."""
    shard_step: int = 1
    """Samples in a full shard of the whole store, if parts begin with a new one; else 1."""
    unread: Sequence[Problem] = ()
    """Those of the `problems` that only this part finds."""
    labelled: bool = False
    """True if any sample has labels."""

    @property
    def sizes(self) -> Counter[Size]:
        """Number of images by (height, width), as stored in the file."""
        return Counter(one.size for one in self.facts)

    @property
    def conversion(self) -> list[str]:
        """The line that says how values become 8-bit values; none if all images have 8 bits."""
        line = describe_conversion(self.facts, self.decoding.images.window, origin=self.window_origin)
        if line is None and self.window != "auto":
            return [f"--window {self.window} has no effect: all images have 8 bits"]
        return [] if line is None else [line]

    @property
    def channels(self) -> list[str]:
        """The line that says which channels are shown; none if all files say it themselves."""
        return describe_channels(self.facts, self.decoding.images.channels)

    @property
    def mixtures(self) -> list[str]:
        """The warnings of images that are not of one kind."""
        stretched = self.decoding.aspect is None
        return [f"note: {line}" for line in describe_mixtures(self.images, self.facts, stretched=stretched)]


def prepare(
    settings: ExtractSettings,
    progress: Progress,
    context: Size = (0, 0),
    additions: Additions | None = None,
) -> Prepared:
    """Find the samples and check the headers of all their files.

    Args:
        settings: Of the extraction.
        progress: Shows how far the headers are.
        context: (rows, columns) that the transformer sees around every image, in pixels of its input.
        additions: chooses those of the samples that are to be added to a store, and knows the rules of its images;
            None for all samples. The headers of the others are not read.

    Raises:
        UsageError: a folder, a pattern, a class map or the rule of intensities is not valid, or two settings exclude
            each other.
        InputProblemsError: no sample was found.
    """
    window_for(settings.window, deep=True)  # a rule that is not valid is found before any file is read
    if settings.fit == PAD and settings.tile is not None:
        raise UsageError("--fit pad: tiles keep their aspect already. Give --tile or --fit pad, not both.")
    with without_collection():
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
        channels = parse_channels(settings.channels) if settings.channels is not None else ()
        chosen = found.samples if additions is None else additions.choose(found.samples, found.problems)
    planes, unsplit = split_into_planes(chosen, settings.axis)
    planes, unshown = with_channels(planes, channels)
    images, problems, facts = check_headers(planes, progress)
    kept = None if additions is None else additions.rules
    rules_of_images = ImageRules(
        window=_window(settings, facts, kept),
        orientation=only_orientation(facts) if kept is None or kept.orientation else "",
        axis=settings.axis if any(is_volume_file(one.image) for one in images) else AXIAL,
        channels=channels,
        fit=settings.fit,
    )
    share = None if settings.shard is None else Share.parse(settings.shard)
    tile = tile_rule(settings)
    step = 1
    if share is not None and tile is None:  # the number of tiles is not known yet
        step = step_of(len(images), share.of, settings.image_size)
    own = range(len(images)) if share is None else share.range_of(len(images), step)
    sources = images[own.start : own.stop]
    if tile is not None:
        sources, uncut = cut_into_tiles(images, tile, own)
        rules_of_images, problems = replace(rules_of_images, tile=tile), [*problems, *uncut]
    plain: list[Problem] = []
    unread: list[Problem] = []
    if tile is not None and settings.tile_background is not None:
        sources, plain, unread = leave_out_plain(
            sources, settings.tile_background, rules_of_images, rules, may_be_empty=share is not None
        )
    notes = size_notes(settings, tile, Counter(one.size for one in facts), len(sources), share)
    return Prepared(
        found=replace(found, notes=[*found.notes, *notes]),
        sources=sources,
        problems=[*found.problems, *unsplit, *unshown, *problems, *unread],
        plain=plain,
        images=images,
        facts=facts,
        decoding=Decoding(
            size=settings.image_size,
            input_size=settings.attention_size,
            context=context,
            images=rules_of_images,
            rules=rules,
            record_masks=settings.append,
        ),
        rules=rules,
        window=settings.window,
        window_origin="as in the store" if kept is not None and settings.window == AUTO else "--window",
        share=share,
        shard_step=step,
        unread=unread,
        labelled=any(sample.masks for sample in found.samples),
    )


def _window(settings: ExtractSettings, facts: Sequence[ImageFacts], kept: ImageRules | None) -> IntensityRule:
    """Return the rule by which values of more than 8 bits become 8-bit values.

    A store that records a rule holds such values already. So new images of 8 bits change nothing, and without a choice
    of the user its rule is that of the new images too.

    Args:
        settings: of the extraction.
        facts: from the header of each image that is extracted.
        kept: the rules of the store that images are added to; None if there is none.

    Raises:
        UsageError: new images need a rule, and neither the store nor the user names one.
    """
    deep = any(one.deep for one in facts)
    if kept is None:
        return window_for(settings.window, deep=deep)
    if kept.window != MINMAX:
        return kept.window if settings.window == AUTO else window_for(settings.window, deep=True)
    if deep and settings.window == AUTO:
        raise UsageError(
            f"{settings.store}: new images have values of more than 8 bits, and the store records no rule for them.\n"
            "  To add them from the lowest to the highest value of each image, give --window minmax. To show all "
            "images by percentiles, move the store away and run the command again."
        )
    return window_for(settings.window, deep=deep)


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
) -> tuple[list[SourceSample], list[Problem], list[ImageFacts]]:
    """Return the samples with sound headers, the problems of the others, and what the header of each sample says."""
    sources: list[SourceSample] = []
    problems: list[Problem] = []
    facts: list[ImageFacts] = []
    with progress.task("checking headers", len(samples)) as task:
        for sample, outcome in zip(samples, look_ahead(read_header, samples), strict=True):
            if isinstance(outcome, list):
                problems += outcome
            else:
                sources.append(sample)
                facts.append(outcome)
            task.advance()
    return sources, problems, facts
