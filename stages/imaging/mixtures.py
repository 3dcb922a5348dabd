"""Describe how the values of images are converted, and warn of a data set whose images are not of one kind.

All of it is known from headers, before anything is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from stages.imaging.image_facts import ImageFacts
from stages.imaging.intensities import IntensityRule
from stages.imaging.samples import SourceSample
from stages.runtime.wording import counted

__all__ = ["describe_channels", "describe_conversion", "describe_mixtures", "describe_orientation", "only_orientation"]

COLOURS = ("red", "green", "blue")
MOST_NAMED = 4
"""Kinds of images that one line names."""
DIGITS = 3
"""Digits that count when the sizes of pixels are compared."""


def describe_conversion(facts: Sequence[ImageFacts], rule: IntensityRule, *, origin: str = "--window") -> str | None:
    """Return how values of more than 8 bits become 8-bit values; None if no image has such values.

    Args:
        facts: What the header of each image says.
        rule: The rule of the data set.
        origin: Where the rule comes from, for the message.
    """
    deep = [one for one in facts if one.deep]
    if not deep:
        return None
    kinds = sorted({one.values for one in deep})
    named = ", ".join(kinds[:MOST_NAMED]) + (", …" if len(kinds) > MOST_NAMED else "")
    count = f"{len(deep):,} of {counted(len(facts), 'image')}" if len(deep) < len(facts) else "images"
    which = f"{named} images" if count == "images" else f"{count} ({named})"
    return f"values: {which}, shown {rule.sentence} ({origin})"


def describe_channels(facts: Sequence[ImageFacts], channels: Sequence[str], *, origin: str = "--channels") -> list[str]:
    """Return the line that says which channels are shown in which colours; none if all files say it themselves.

    Args:
        facts: What the header of each image says.
        channels: The chosen channels; empty for the rule without a choice.
        origin: Where the choice comes from, for the message.
    """
    if channels:
        colours = ["grey"] if len(channels) == 1 else COLOURS
        named = ", ".join(f"{name} as {colour}" for name, colour in zip(channels, colours, strict=False))
        return [f"channels: {named} ({origin})"]
    separate = sum(one.separate for one in facts)
    what = f"the three channels of {counted(separate, 'image')} as red, green and blue, in their order"
    return [f"channels: {what} ({origin})"] if separate else []


def only_orientation(facts: Sequence[ImageFacts]) -> str:
    """Return the orientation that the planes of all images have; "" if one does not say it, or they differ."""
    found = {one.orientation for one in facts}
    return found.pop() if len(found) == 1 else ""


def describe_orientation(facts: Sequence[ImageFacts], trained: str) -> list[str]:
    """Return a warning if planes have another orientation than those that a run was trained on.

    Args:
        facts: What the header of each image says.
        trained: Orientation of the run's planes; "" if it is not known.
    """
    others = sorted({one.orientation for one in facts} - {trained, ""}) if trained else []
    count = sum(one.orientation in others for one in facts)
    if not others:
        return []
    return [
        f"note: the run was trained on {trained} planes, and {count} of {len(facts)} images are {', '.join(others)}"
    ]


def describe_mixtures(
    samples: Sequence[SourceSample], facts: Sequence[ImageFacts], *, stretched: bool = True
) -> list[str]:
    """Return one line for every property in which the images of a data set differ without need.

    Args:
        samples: The samples of the data set.
        facts: What the header of each image says.
        stretched: True if the images are stretched to one size, so that their aspect matters.
    """
    ids = [sample.id for sample in samples]
    return [
        *_kinds(ids, facts, lambda one: one.values, "values", "the same tissue may have another brightness in them"),
        *_kinds(ids, facts, _channels, "channels", "grey becomes R = G = B"),
        *_names_of_channels(samples, facts),
        *_spacings(samples, facts),
        *_kinds(ids, facts, lambda one: one.orientation, "orientations of the planes", "one organ has several shapes"),
        *(
            _kinds(ids, facts, _format, "upright and wide images", "stretched to one size, their shapes differ")
            if stretched
            else ()
        ),
    ]


def _kinds(
    ids: Sequence[str], facts: Sequence[ImageFacts], kind_of: Callable[[ImageFacts], str], what: str, effect: str
) -> Iterable[str]:
    """Yield the line for one property, unless all images whose property is known are of one kind."""
    found: dict[str, list[str]] = defaultdict(list)
    for identifier, one in zip(ids, facts, strict=True):
        if kind := kind_of(one):
            found[kind].append(identifier)
    if len(found) > 1:
        yield f"mixed {what}: {_listed(found)}; {effect}"


def _names_of_channels(samples: Sequence[SourceSample], facts: Sequence[ImageFacts]) -> Iterable[str]:
    """Yield the line about channels that have other names or another order; none if they were chosen by name."""
    named = {name.casefold() for one in facts for name in one.channel_names}
    if any(name.casefold() in named for sample in samples for name in sample.part.channels):
        return
    ids = [sample.id for sample in samples]
    effect = "one colour shows different stains; choose the channels by name with --channels"
    yield from _kinds(ids, facts, lambda one: ", ".join(one.channel_names), "order of channels", effect)


def _spacings(samples: Sequence[SourceSample], facts: Sequence[ImageFacts]) -> Iterable[str]:
    """Yield the line about sizes of pixels, from the table of the user or else from the files."""
    found: dict[tuple[float, float], list[str]] = defaultdict(list)
    for sample, one in zip(samples, facts, strict=True):
        spacing = one.spacing_mm if sample.pixel_mm is None else (sample.pixel_mm, sample.pixel_mm)
        if spacing is not None:
            found[_rounded(spacing[0]), _rounded(spacing[1])].append(sample.id)
    if len(found) > 1:
        named = {f"{rows:g} x {columns:g} mm": found[rows, columns] for rows, columns in sorted(found)}
        yield f"mixed sizes of pixels: {_listed(named)}; the same object has several sizes in pixels"


def _listed(found: dict[str, list[str]]) -> str:
    """Return the kinds with their counts and an example each, the most frequent first."""
    order = sorted(found, key=lambda kind: -len(found[kind]))
    named = [f"{kind} ({counted(len(found[kind]), 'image')}, such as {found[kind][0]})" for kind in order[:MOST_NAMED]]
    return ", ".join(named) + (f" and {len(order) - MOST_NAMED} more" if len(order) > MOST_NAMED else "")


def _channels(facts: ImageFacts) -> str:
    return {1: "grey", 3: "colour"}.get(facts.channels, f"{facts.channels} channels")


def _format(facts: ImageFacts) -> str:
    height, width = facts.upright
    return "" if height == width else "higher than wide" if height > width else "wider than high"


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
