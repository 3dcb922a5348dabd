"""The stage `extract`: images and masks in, an attention store out.

The transformer runs here, once per image and recipe, and nowhere else but in `predict`. What it
computed is kept in the memo batch by batch: after an interruption, or with new images, only what is
missing is computed. The store appears at its path when it is whole; until then, and after any
failure, what was there stays.

All problems of a folder are told in one go: from the first one on, the transformer rests and the
remaining files are only checked. With `--on-error skip` the store is made without them.

With `--cluster` the workers of a cluster read and compute; memo and store are written here all the same.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.naming import find_model
from stages.errors import InputProblemsError, Problem
from stages.extraction.cluster import connect, require_cluster
from stages.extraction.on_cluster import Transformer, extract_on_cluster
from stages.extraction.shard import Decoding, Shard, check_files, extract_shard
from stages.imaging.classes import ClassMap
from stages.imaging.mask_sanity import MaskSanityCheck
from stages.imaging.pairing import MASK_ENDINGS, find_samples
from stages.imaging.samples import SourceSample
from stages.runtime.progress import SILENT, Progress, Task
from stages.settings import ExtractSettings
from store.description import MaskSource
from store.writer import Layout, StoreWriter, new_store

REMEDY = "Mend or remove them, or go on without them: --on-error skip."
NAMED = 3
"""Images without a mask that are named."""


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """What an extraction came to."""

    store: Path
    model: str
    source: str
    """Where the model's weights come from, or that it has none worth the name."""
    samples: int
    labelled: int
    computed: int
    """Images the transformer ran on; the others came from the memo."""
    skipped: Sequence[Problem]
    hint: str
    """What the user should know to go on; "" for nothing."""
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.store}: {self.samples} samples, {self.labelled} with a mask, in {self.seconds:.1f} s",
            f"attention of {self.model}: computed for {self.computed}, remembered for {self.samples - self.computed}",
            f"{self.model}: {self.source}",
            *(f"left out: {problem}" for problem in self.skipped),
            *filter(None, [self.hint]),
        ]
        return "\n".join(lines)


def run(settings: ExtractSettings, progress: Progress = SILENT) -> ExtractionReport:
    """Extract a store.

    Raises:
        UsageError: a folder, a model name, a size or a class map that makes no sense.
        InputProblemsError: files that cannot be used, all of them; with `on_error="skip"` only if none can.
        WeightsError: the transformer's weights cannot be had.
        PipelineError: no space for memo or store, or a cluster that is lost.
    """
    began = time.monotonic()
    if settings.cluster is not None:
        require_cluster(settings.cluster, insecure=settings.cluster_insecure)
    classes = ClassMap.from_mapping(settings.classes) if settings.classes else ClassMap.binary()
    sources, problems = find_samples(settings.images, settings.masks, settings.csv)
    decoding = Decoding(size=settings.image_size, input_size=settings.attention_size, classes=classes)
    if problems and settings.on_error == "stop":
        problems += _check(sources, decoding, progress)
        raise InputProblemsError(problems, REMEDY)
    extractor = AttentionExtractor.load(
        model=settings.model,
        weights=settings.weights,
        input_size=settings.attention_size,
        layers=settings.layers,
        # Beside a cluster it is only asked for its recipe; the device is one of the workers'.
        device=settings.device if settings.cluster is None else "cpu",
        precision=settings.precision,
        batch_size=settings.batch_size,
    )
    layout = Layout(
        size=settings.image_size,
        grid=extractor.recipe.grid,
        heads=extractor.recipe.heads,
        keys=extractor.recipe.keys,
        classes=classes.names,
        masks=_mask_source(settings),
        compress=settings.compress,
    )
    sanity = MaskSanityCheck()
    with new_store(settings.store, layout=layout, recipe=extractor.recipe.to_dict()) as writer:
        counts = _fill(writer, sources, problems, settings, decoding, extractor, sanity, progress)
    return ExtractionReport(
        store=settings.store,
        model=settings.model,
        source=find_model(settings.model).source,
        **counts,
        skipped=problems,
        hint="\n".join([*_hints(sources, settings), *sanity.hints()]),
        seconds=time.monotonic() - began,
    )


def _mask_source(settings: ExtractSettings) -> MaskSource:
    """Record how masks are found and decoded, for the store's description."""
    pairing = {"rule": "table"} if settings.csv else {"rule": "name", "endings": list(MASK_ENDINGS)}
    return MaskSource(
        values=settings.classes,
        decoding="mapped" if settings.classes else "binary",
        pairing=pairing if settings.csv or settings.masks else None,
    )


def _fill(
    writer: StoreWriter,
    sources: Sequence[SourceSample],
    problems: list[Problem],
    settings: ExtractSettings,
    decoding: Decoding,
    extractor: AttentionExtractor,
    sanity: MaskSanityCheck,
    progress: Progress,
) -> dict[str, int]:
    """Write every sample; `problems` grows by what cannot be used."""
    counts = {"samples": 0, "labelled": 0, "computed": 0}
    done = 0
    with (
        AttentionMemo(settings.memo, extractor.recipe) as memo,
        progress.task("extracting", len(sources)) as task,
        closing(_shards(sources, writer.samples_per_shard, settings, decoding, extractor, memo, task)) as shards,
    ):
        for files, shard in shards:
            done += files
            problems += shard.problems
            if problems and settings.on_error == "stop":
                problems += check_files(sources[done:], decoding=decoding, task=task)
                raise InputProblemsError(problems, REMEDY)
            for sample in shard.samples:
                writer.append(sample)
            sanity.look(sample.mask for sample in shard.samples if sample.labelled)
            counts["samples"] += len(shard.samples)
            counts["labelled"] += sum(sample.labelled for sample in shard.samples)
            counts["computed"] += shard.computed
    if not counts["samples"]:
        raise InputProblemsError(problems, "No sample is left.")
    writer.skipped = [_as_relative(problem, settings) for problem in problems]
    return counts


def _shards(
    sources: Sequence[SourceSample],
    samples_per_shard: int,
    settings: ExtractSettings,
    decoding: Decoding,
    extractor: AttentionExtractor,
    memo: AttentionMemo,
    task: Task,
) -> Generator[tuple[int, Shard]]:
    """What comes of the files, in order, some at a time, each with how many files it is of."""
    if settings.cluster is None:
        for part in _slices(sources, samples_per_shard):
            yield (
                len(part),
                extract_shard(
                    part, decoding=decoding, extractor=extractor, batch_size=settings.batch_size, memo=memo, task=task
                ),
            )
        return
    transformer = Transformer(
        recipe=extractor.recipe,
        weights=_weights_file(settings),
        device=settings.device,
        batch_size=settings.batch_size,
    )
    parts = list(_slices(sources, settings.batch_size))
    with connect(settings.cluster) as cluster:
        shards = extract_on_cluster(
            parts, cluster=cluster, decoding=decoding, transformer=transformer, memo=memo, task=task
        )
        yield from zip(map(len, parts), shards, strict=True)


def _weights_file(settings: ExtractSettings) -> Path | None:
    """The file that was given as weights or as model, absolute; a recipe does not say where it lies."""
    given = settings.weights or (Path(settings.model) if find_model(settings.model).file == settings.model else None)
    return given.absolute() if given else None


def _hints(sources: Sequence[SourceSample], settings: ExtractSettings) -> list[str]:
    hints = []
    if any(source.split for source in sources):
        hints.append(f"splits are not part of a store: to follow the table's, train with --split-csv {settings.csv}")
    without = [source.id for source in sources if source.mask is None]
    if len(without) == len(sources):
        hints.append("no masks were given: the store is for prediction, not for training")
    elif without:
        named = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
        hints.append(f"note: no mask for {len(without)} of {len(sources)} images; they are not trained on: {named}")
    return hints


def _check(sources: Sequence[SourceSample], decoding: Decoding, progress: Progress) -> list[Problem]:
    with progress.task("checking", len(sources)) as task:
        return check_files(sources, decoding=decoding, task=task)


def _slices(sources: Sequence[SourceSample], size: int) -> Iterator[Sequence[SourceSample]]:
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _as_relative(problem: Problem, settings: ExtractSettings) -> dict[str, str]:
    """A problem for the store's description, which must not depend on where the folders lie."""
    where = problem.where
    for folder in (settings.images, settings.masks, settings.csv.parent if settings.csv else None):
        if folder is not None:
            where = where.removeprefix(f"{folder}/")
    return {"where": where, "what": problem.what}
