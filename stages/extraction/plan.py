"""Plan an extraction without doing it: list the input and the rules, and estimate size and time.

All headers are read. Some samples, evenly spaced, are decoded as in the extraction: they give the shares of the
classes, the objects that are too small for the store, and the time for reading. Two single images through the
transformer give the time for computing; with larger batches a GPU is faster than this. Without the transformer's
weights the plan of images and masks is the same, and only the size and the time are missing.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import InputProblemsError, Problem, WeightsError
from stages.extraction.additions import Additions
from stages.extraction.memo_place import memo_folder
from stages.extraction.preparation import Prepared
from stages.extraction.shard import REMEDY, Decoded
from stages.extraction.sizes import expected_bytes
from stages.extraction.weights_origin import weights_origin
from stages.imaging.lost_objects import LostObjects
from stages.imaging.samples import SourceSample
from stages.runtime.look_ahead import look_ahead
from stages.runtime.wording import counted
from stages.settings import ExtractSettings, Size
from store.records import IGNORE

__all__ = ["Plan", "estimate"]

MOST_TRIED = 24
"""Number of samples that are decoded for the estimates."""
MOST_SIZES = 3
"""Number of image sizes that are named."""
FITTED = "images keep their aspect (--fit pad): black around them, ignored in the mask"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Describe an extraction that was not done. `str()` gives the text for users."""

    lines: Sequence[tuple[str, str]]
    """Title and text of each line."""
    problems: Sequence[Problem]
    """Inputs that cannot be used."""
    no_weights: WeightsError | None = None
    """Error of loading the transformer; None if it was loaded."""

    def require_sound(self) -> None:
        """Raise an error if the extraction would stop.

        Raises:
            InputProblemsError: names all inputs that cannot be used.
            WeightsError: the inputs can be used, and the transformer could not be loaded.
        """
        if self.problems:
            raise InputProblemsError(self.problems, REMEDY)
        if self.no_weights is not None:
            raise self.no_weights

    def __str__(self) -> str:
        width = max(len(title) for title, _ in self.lines)
        texts = [f"{title:<{width}}  {text}" for title, text in self.lines]
        return "\n".join(["plan (nothing was computed or written)", *texts])


def estimate(
    prepared: Prepared,
    settings: ExtractSettings,
    extractor: AttentionExtractor | WeightsError,
    additions: Additions | None = None,
) -> Plan:
    """Return the plan of an extraction.

    Args:
        prepared: The samples, as the extraction finds them.
        settings: The settings of the extraction.
        extractor: The transformer of the extraction, with a batch size of one; or why it could not be loaded.
        additions: The store that the samples are added to; None for a new store.
    """
    tried = [prepared.sources[at] for at in _evenly_spaced(len(prepared.sources), MOST_TRIED)]
    began = time.monotonic()
    outcomes = list(look_ahead(prepared.decoding.decode, tried, weigh=prepared.decoding.weigh))
    reading = _seconds_to_read(prepared, tried, time.monotonic() - began)
    decoded = [outcome for outcome in outcomes if isinstance(outcome, Decoded)]
    damaged = [problem for outcome in outcomes if isinstance(outcome, list) for problem in outcome]
    lines = [
        ("pairs", f"{_pairs(prepared)}; {prepared.found.rule}"),
        *([] if additions is None else [("added", additions.planned())]),
        ("groups", _groups(prepared)),
        ("sizes", _sizes(prepared.sizes)),
        *([] if prepared.decoding.aspect is None else [("fit", FITTED)]),
        *(("values", line.removeprefix("values: ")) for line in prepared.conversion),
        *(("channels", line.removeprefix("channels: ")) for line in prepared.channels),
        ("labels", _labels(prepared, decoded)),
        *(("note", line.removeprefix("note: ")) for line in prepared.mixtures),
        *(("left out", str(left_out)) for left_out in prepared.found.left_out),
        *(("left out", str(image)) for image in prepared.plain),
        *(("note", note) for note in prepared.found.notes),
        *(("note", text) for text in _lost(decoded).hints(settings.image_size)),
    ]
    problems = [*prepared.problems, *damaged]
    origin = weights_origin(settings, "", kept=additions.weights_licence if additions else None)
    lines.append(("weights", f"{settings.model}; licence: {origin.shown_licence}"))
    if isinstance(extractor, WeightsError):
        lines.append(("store", "size and time are not known without the transformer's weights"))
        return Plan(lines=lines, problems=problems, no_weights=extractor)
    remembered = _remembered(settings, extractor.recipe, decoded)
    computing = _seconds_per_image(extractor)
    lines += [
        ("store", _size_of_store(settings, extractor.recipe, len(prepared.sources))),
        ("time", _time(len(prepared.sources), reading, computing, remembered, len(decoded))),
    ]
    return Plan(lines=lines, problems=problems)


def _seconds_to_read(prepared: Prepared, tried: Sequence[SourceSample], seconds: float) -> float:
    """Return the time for reading one sample.

    Tiles of one file share the time for opening or decoding it. So a tile is read once more: what this takes less is
    counted once for each file.

    Args:
        prepared: All samples.
        tried: The samples that were read.
        seconds: The time that this took.
    """
    each = seconds / max(1, len(tried))
    if not tried or tried[-1].part.box is None:
        return each
    began = time.monotonic()
    prepared.decoding.decode(tried[-1])
    again = min(each, time.monotonic() - began)
    files = len({one.image for one in prepared.sources})
    opening = (seconds - again * len(tried)) / len({one.image for one in tried})
    return again + opening * files / len(prepared.sources)


def _evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced positions below `count`."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, most))})


def _pairs(prepared: Prepared) -> str:
    samples = prepared.found.samples
    labelled = sum(bool(sample.masks) for sample in samples)
    files = sum(len(sample.masks) for sample in samples)
    several = f" in {files} files" if files > labelled else ""
    return f"{counted(len(samples), 'image')}, {labelled} of them with labels{several}"


def _groups(prepared: Prepared) -> str:
    groups = Counter(sample.group for sample in prepared.sources)
    if len(groups) == len(prepared.sources):
        return "none: every image counts as a patient of its own"
    name, most = groups.most_common(1)[0]
    return f"{len(groups)}; the largest is {name!r} with {counted(most, 'image')}"


def _sizes(sizes: Counter[Size]) -> str:
    common = [f"{height} x {width} ({count})" for (height, width), count in sizes.most_common(MOST_SIZES)]
    more = f" and {len(sizes) - MOST_SIZES} more" if len(sizes) > MOST_SIZES else ""
    return f"{', '.join(common)}{more} (height x width, number of images)"


def _labels(prepared: Prepared, decoded: Sequence[Decoded]) -> str:
    """Return the classes with their shares of the pixels, measured on the samples that were decoded."""
    rules = prepared.decoding.rules
    masks = [one.labels.mask for one in decoded if one.labels is not None]
    if rules is None or not masks:
        read = any(sample.masks for sample in prepared.found.samples)
        return "none could be read; see the problems below" if read else "none"
    pixels = np.concatenate([mask.ravel() for mask in masks])
    names = rules.classes.names
    if rules.kind == "multilabel":
        known = pixels[pixels != IGNORE]
        shares = [float((known >> (label - 1) & 1).mean()) for label in range(1, len(names))]
        named = list(zip(names[1:], shares, strict=True))
    else:
        counts = np.bincount(pixels, minlength=IGNORE + 1)
        background = f"{names[0]} (background)" if names[0] != "background" else names[0]
        named = [(name, counts[index] / pixels.size) for index, name in enumerate([background, *names[1:]])]
        if counts[IGNORE]:
            named.append(("ignored", counts[IGNORE] / pixels.size))
    listed = ", ".join(f"{name} {100 * share:.3g} %" for name, share in named)
    objects = sum(one.labels.objects for one in decoded if one.labels is not None)
    return f"{rules.kind}: {listed} of the pixels of {len(masks)} masks, which hold {objects} objects"


def _lost(decoded: Sequence[Decoded]) -> LostObjects:
    lost = LostObjects()
    for one in decoded:
        if one.labels is not None:
            lost.add(
                one.source.id,
                objects=one.labels.objects,
                lost=one.labels.lost,
                keeping_size=one.labels.keeping_size,
            )
    return lost


def _remembered(settings: ExtractSettings, recipe: Recipe, decoded: Sequence[Decoded]) -> float:
    """Return the share of the decoded images whose maps are in the memo."""
    digests = {one.memo_key for one in decoded}
    folder = memo_folder(settings)
    if not digests or not AttentionMemo.path_of(folder, recipe).is_file():
        return 0.0
    with AttentionMemo(folder, recipe) as memo:
        return len(memo.get_many(digests)) / len(digests)


def _seconds_per_image(extractor: AttentionExtractor) -> float:
    """Return the time of one image through the transformer; a first one warms it up."""
    image = np.zeros((1, *extractor.recipe.seen_size, 3), np.uint8)
    extractor.extract(image)
    began = time.monotonic()
    extractor.extract(image)
    return time.monotonic() - began


def _size_of_store(settings: ExtractSettings, recipe: Recipe, samples: int) -> str:
    height, width = settings.image_size
    store, memo = expected_bytes(settings, samples, heads=len(recipe.heads), grid=recipe.grid)
    free = shutil.disk_usage(_existing(settings.store)).free
    text = (
        f"{settings.store}: {counted(samples, 'sample')} of {height} x {width} with {len(recipe.heads)} maps of "
        f"{recipe.grid[0]} x {recipe.grid[1]}, about {_bytes(store)}"
    )
    text += " before compression" if settings.compress else ""
    text += f"; memo {settings.memo}: {_bytes(memo)}; free: {_bytes(free)}"
    return text if store + memo < free else f"{text}. THIS IS NOT ENOUGH: free some space, or choose another disk"


def _existing(path: Path) -> Path:
    """Return the nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _time(samples: int, reading: float, computing: float, remembered: float, tried: int) -> str:
    """Return the expected time. Reading runs on other threads while the transformer computes."""
    new = samples * (1 - remembered)
    seconds = max(samples * reading, new * computing) + reading + computing
    known = f"{round(remembered * tried)} of {tried} images tried are in the memo"
    return f"about {_duration(seconds)}: {computing:.2g} s an image to compute, {reading:.2g} s to read; {known}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step between decimal units
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
