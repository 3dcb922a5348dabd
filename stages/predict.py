"""Run the stage `predict`: predict the masks of new images with a trained run, and write them.

The attention of the images is computed by the run's own recipe: the same transformer, checked by the digest of its
weights, at the same size. Each image gets a mask at its original size, in the values of the masks that the run was
trained on. `stages.prediction.outputs` lists the other files that can be written. Masks that lie among the images are
recognised by the layout of the folder and are never segmented.

A run with `--branches image` takes no attention: then no transformer is loaded. With `--devices` processes of this
machine read the images and compute the attention (`stages.extraction.reading`).

Every file in `out` is written by an atomic replace. Nothing else is written except the memo.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.extraction.preparation import check_headers
from stages.extraction.reading import NoTransformer, Reader, Transformer, network_device, tiles_of
from stages.extraction.shard import REMEDY, Decoding, check_files
from stages.imaging.image_facts import ImageFacts
from stages.imaging.image_rules import ImageRules
from stages.imaging.mixtures import describe_channels, describe_conversion, describe_orientation
from stages.imaging.pairing import Found, Inputs, find_samples
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.channels import with_channels
from stages.imaging.volumes.planes import split_into_planes
from stages.outputs.places import require_outside
from stages.prediction.inference import Predictor
from stages.prediction.large.driver import TiledPrediction, is_large, plan_all, remove_too_large
from stages.prediction.large.files import LargeFiles
from stages.prediction.large.sliding import Windows
from stages.prediction.loading import load_run, weights_of
from stages.prediction.outputs import OutputWriter
from stages.prediction.table import TABLE_FILE
from stages.runs.licences import licence_of_run
from stages.runtime.devices import resolve_device
from stages.runtime.progress import SILENT, Progress, Task
from stages.runtime.wording import counted, rate
from stages.segmentation.checkpoint import ModelCard
from stages.settings import PredictSettings

ONE_DEVICE = "note: this run takes no attention, so --devices has no work to share; only its first device is used."


@dataclass(frozen=True, kw_only=True)
class PredictionReport:
    """Report the result of a prediction."""

    out: Path
    images: int
    """Number of images that were segmented."""
    licence: str
    """Licence of the transformer's weights."""
    files: Sequence[str]
    """Kinds of files that were written."""
    input: Sequence[str]
    """The rule by which images were found, the files that were not used, and notes on the files that were written."""
    skipped: Sequence[Problem]
    """Images that could not be used."""
    seconds: float
    windows: int = 0
    """Windows through which the images were predicted, for a run that was trained on tiles."""

    def __str__(self) -> str:
        done, unit = (self.windows, "windows") if self.windows else (self.images, "images")
        speed = rate(done / max(self.seconds, 1e-9), unit)
        lines = [
            f"{self.out}: {counted(self.images, 'mask')} in {self.seconds:.1f} s ({speed})",
            f"written: {', '.join(self.files)}",
            f"licence of the transformer's weights: {self.licence}",
        ]
        return "\n".join([*lines, *self.input, *(f"left out: {problem}" for problem in self.skipped)])


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Hold the objects that all images share."""

    reader: Reader
    decoding: Decoding
    predictor: Predictor
    writer: OutputWriter
    batch_size: int
    stop_on_error: bool


def run(settings: PredictSettings, progress: Progress = SILENT) -> PredictionReport:
    """Predict the masks of images.

    Raises:
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        UsageError: `out` would overwrite images, masks drawn by hand, a store or a run, or lies inside another output;
            the images cannot be found as asked; or a device cannot be used.
        InputProblemsError: an image cannot be read, or with `on_error="skip"` none can; the error lists all of them.
    """
    began = time.monotonic()
    require_outside(settings.out, option="--out", itself=True)
    require_outside(settings.memo, option="--memo", itself=True)
    device = resolve_device(network_device(settings))
    loaded = load_run(settings.run, device)
    card, recipe, rules = loaded.card, loaded.recipe, loaded.rules
    found = _find(settings, card, progress)
    writer = OutputWriter(settings, card)
    writer.require_free(found.samples)
    weights = weights_of(recipe, settings.weights, offline=settings.offline) if loaded.takes_attention else None
    decoding = Decoding(size=card.network.size, input_size=recipe.input_size, context=recipe.context, images=rules)
    sources, problems, facts = _check(found, decoding, settings, progress)
    conversion = describe_conversion(facts, rules.window, origin="the rule of the run")
    shown = [
        *filter(None, [conversion]),
        *describe_channels(facts, rules.channels, origin="the rule of the run"),
        *describe_orientation(facts, rules.orientation),
        *([ONE_DEVICE] if settings.devices is not None and not loaded.takes_attention else []),
    ]
    for line in shown:
        progress.say(line)
    large = LargeFiles(settings, card)
    planned = _plan(sources, facts, problems, rules, settings)
    large_images = [one for one in planned if is_large(one, len(card.classes))]
    large.require_possible([one.source for one in large_images])
    transformer = Transformer.load(settings, recipe, weights) if loaded.takes_attention else NoTransformer(recipe)
    settings.out.mkdir(parents=True, exist_ok=True)
    windows = sum(len(one.boxes) for one in planned)
    total, unit = (windows, "windows") if rules.tile else (len(sources), "images")
    with transformer.reader(decoding) as reader, progress.task("predicting", total, unit) as task:
        work = _Work(
            reader=reader,
            decoding=decoding,
            predictor=Predictor(model=loaded.model, card=card, device=device, flips=settings.flips),
            writer=writer,
            batch_size=settings.batch_size,
            stop_on_error=settings.on_error == "stop",
        )
        if rules.tile is None:
            images = _predict_all(sources, problems, work, task)
        else:
            images = _tiled(work, large).predict_all(planned, problems, task)
        problems += writer.close()
    if not images:
        raise InputProblemsError(problems, "No image is left.")
    writer.write_table()
    writer.write_licence()
    return PredictionReport(
        out=settings.out,
        images=images,
        licence=licence_of_run(card.recipe, card.weights_licence, branches=card.network.branches),
        files=_kinds(writer, large, len(large_images), len(planned)),
        input=[*shown, *_describe_input(found), *writer.notes()],
        skipped=problems,
        seconds=time.monotonic() - began,
        windows=windows,
    )


def _tiled(work: _Work, large: LargeFiles) -> TiledPrediction:
    """Return the prediction through windows, which are read and computed like the tiles of an extraction."""
    return TiledPrediction(
        read=partial(tiles_of, work.reader),
        predictor=work.predictor,
        batch_size=work.batch_size,
        writer=work.writer,
        large=large,
        stop_on_error=work.stop_on_error,
    )


def _plan(
    sources: list[SourceSample],
    facts: Sequence[ImageFacts],
    problems: list[Problem],
    rules: ImageRules,
    settings: PredictSettings,
) -> list[Windows]:
    """Return the windows of all images, for a run that was trained on tiles; none for other runs.

    Images that are too large for the run are removed from `sources` and added to `problems`.

    Raises:
        InputProblemsError: an image has no windows, or is too large, and `on_error` is "stop".
    """
    if rules.tile is None:
        planned: list[Windows] = []
        unplanned = remove_too_large(sources, facts)
    else:
        planned, unplanned = plan_all(sources, rules.tile, settings.pixel_mm)
    if unplanned and settings.on_error == "stop":
        raise InputProblemsError(unplanned, REMEDY)
    problems += unplanned
    return planned


def _kinds(writer: OutputWriter, large: LargeFiles, large_images: int, planned: int) -> list[str]:
    """Return the kinds of files that were written, for the output."""
    if not large_images:
        return writer.kinds()
    kinds = writer.kinds()
    table = [TABLE_FILE] if TABLE_FILE in kinds else []
    small = kinds if large_images < planned else []
    return list(dict.fromkeys([*small, *large.kinds(), *table]))


def _check(
    found: Found, decoding: Decoding, settings: PredictSettings, progress: Progress
) -> tuple[list[SourceSample], list[Problem], list[ImageFacts]]:
    """Check the headers of all images before the transformer runs on any.

    Returns:
        The images with sound headers, the problems of the others, and what the header of each sound one says.

    Raises:
        InputProblemsError: there are problems and `on_error` is "stop". All other images are decoded to find theirs.
    """
    sources, problems, facts = check_headers(found.samples, progress)
    problems = [*found.problems, *problems]
    if problems and settings.on_error == "stop":
        if decoding.images.tile is None:  # large images are not decoded whole
            with progress.task("checking", len(sources)) as task:
                problems += check_files(sources, decoding=decoding, task=task)
        raise InputProblemsError(problems, REMEDY)
    return sources, problems, facts


def _predict_all(sources: Sequence[SourceSample], problems: list[Problem], work: _Work, task: Task) -> int:
    """Write the files of all images that can be read. Add the other images to `problems`.

    Returns:
        The number of images that were segmented.

    Raises:
        InputProblemsError: an image cannot be read and `on_error` is "stop"; the message names all such images.
    """
    images = 0
    at_a_time = work.reader.at_a_time
    parts = [sources[at : at + at_a_time] for at in range(0, len(sources), at_a_time)]
    done = 0
    for part, shard in zip(parts, work.reader.shards(parts, task), strict=True):
        done += len(part)
        problems += shard.problems
        if problems and work.stop_on_error:
            problems += check_files(sources[done:], decoding=work.decoding, task=task)
            raise InputProblemsError(problems, REMEDY)
        by_id = {source.id: source for source in part}
        for sample in shard.samples:
            work.writer.write(by_id[sample.id], work.predictor.predict(sample))
        images += len(shard.samples)
    return images


def _find(settings: PredictSettings, card: ModelCard, progress: Progress) -> Found:
    """Find the images; a file with several planes becomes one sample for each plane."""
    found = find_samples(_inputs(settings, card), labels="ignored", progress=progress)
    rules = ImageRules.from_dict(card.images)
    planes, problems = split_into_planes(found.samples, rules.axis)
    planes, unshown = with_channels(planes, rules.channels)
    return replace(found, samples=planes, problems=[*found.problems, *problems, *unshown])


def _inputs(settings: PredictSettings, card: ModelCard) -> Inputs:
    """Return the images' folder or table, and the rules for their names, from the settings.

    If the masks of the training data were found by a pattern, files of that form are masks here too.
    """
    plain = settings.csv is None and settings.layout == "auto" and settings.image_pattern is None
    pairing = (card.masks or {}).get("pairing") or {}
    return Inputs(
        images=settings.images,
        csv=settings.csv,
        layout=settings.layout,
        image_pattern=settings.image_pattern,
        mask_pattern=pairing.get("mask_pattern") if plain else None,
    )


def _describe_input(found: Found) -> list[str]:
    """Return the lines of the report about the files that were found."""
    left_out = [str(files) for files in found.left_out]
    plain = found.rule.layout == "names" and not left_out  # the default rule needs no explanation
    return [*([] if plain else [f"images: {found.rule}"]), *found.notes, *left_out]
