"""Run the stage `extract`: read images and masks, write an attention store.

Before the transformer starts, all files are found and matched, and all headers are checked. `plan` stops there and
reports what would be done, with estimates of size and time.

The transformer runs only here and in `predict`, once per image and recipe. The memo keeps its maps batch by batch, so
after an interruption, or with new images, only the missing maps are computed. The store appears at its path when it is
complete. Until then, and after any failure, an older store stays there unchanged.

With `--on-error stop` nothing more is computed after the first broken file: the remaining files are only validated, so
that all problems are reported together. With `--on-error skip` the store is made without the broken files.

With `--devices` processes of this machine, and with `--cluster` the workers of a cluster, read the files and compute
the maps. Memo and store are still written here. With `--shard` the store is one part of a larger one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.hub import weights_without_network
from stages.attention.memo import AttentionMemo
from stages.attention.naming import find_model
from stages.errors import InputProblemsError, Problem, WeightsError
from stages.extraction.additions import Additions
from stages.extraction.by_workers import WorkersExtraction, extract_by_workers
from stages.extraction.cluster import connect
from stages.extraction.jobs import TransformerSpec, Workers
from stages.extraction.known_files import KnownFiles, NewMarks, record_of
from stages.extraction.layout import layout_of_samples
from stages.extraction.memo_place import memo_folder
from stages.extraction.on_cluster import ClusterWorkers
from stages.extraction.parts import LeftOut, describe_part, require_own_part
from stages.extraction.plan import Plan, estimate
from stages.extraction.preparation import Prepared, find_all_problems, prepare
from stages.extraction.processes import started_processes
from stages.extraction.requests import require_place, require_workers
from stages.extraction.shard import REMEDY, Extraction, Shard, check_files, extract_shard
from stages.extraction.sizes import require_possible_sizes
from stages.extraction.tally import Tally
from stages.extraction.weights_origin import WeightsOrigin, weights_origin
from stages.imaging.samples import SourceSample
from stages.runtime.collection import frozen_objects
from stages.runtime.devices import resolve_devices
from stages.runtime.progress import SILENT, Progress, Task
from stages.runtime.wording import counted
from stages.settings import ExtractSettings, Size
from store.appending import appended_store
from store.writer import Layout, StoreWriter, new_store


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """Report the result of an extraction."""

    store: Path
    model: str
    source: str
    """Origin of the model's weights, their licence, and the part of their file that was loaded; one a line."""
    samples: int
    labelled: int
    computed: int
    """Images the transformer ran on; the maps of the others came from the memo, or were kept."""
    kept: int = 0
    """Samples of the older store that new ones were added to."""
    skipped: Sequence[Problem]
    input: Sequence[str]
    """Lines for the output: the conversion of values, the rule that found the labels, the files that were not used."""
    mixtures: Sequence[str] = ()
    """Warnings of images that are not of one kind. They were shown before the work began."""
    hint: str
    """Advice for the next step; "" for none."""
    seconds: float

    def __str__(self) -> str:
        remembered = self.samples - self.kept - self.computed
        lines = [
            f"{self.store}: {counted(self.samples, 'sample')}, {self.labelled:,} with a mask, in {self.seconds:.1f} s",
            f"attention of {self.model}: computed for {self.computed:,}, remembered for {remembered:,}",
            f"{self.model}: {self.source}",
            *self.input,
            *(f"left out: {problem}" for problem in self.skipped),
            *filter(None, [self.hint]),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Work:
    """Hold all that is prepared before the first image is read."""

    settings: ExtractSettings
    prepared: Prepared
    extractor: AttentionExtractor
    additions: Additions | None
    """The samples that the store keeps, with `append` and a store at its path; else None."""
    weights: Path | None
    """Weights file to load; None for the model's own file or the hub's."""
    origin: WeightsOrigin

    @property
    def layout(self) -> Layout:
        """Return what all samples of the store have in common."""
        return layout_of_samples(self.settings, self.prepared, self.extractor.recipe, self.origin)


def run(settings: ExtractSettings, progress: Progress = SILENT) -> ExtractionReport:
    """Extract a store.

    Raises:
        UsageError: a folder, a pattern, a model name, a size or a class map is not valid; or the store or the memo
            would be at a place where they would be lost or would replace something else.
        InputProblemsError: a file cannot be used, or with `on_error="skip"` no file can; the error lists all of them.
        WeightsError: the transformer's weights cannot be loaded.
        PipelineError: there is no space for memo or store, or the cluster was lost.
    """
    began = time.monotonic()
    require_place(settings)
    require_own_part(settings)
    require_workers(settings)
    context = require_possible_sizes(settings)
    weights = _weights(settings)
    additions = Additions.open(settings, progress)
    prepared = prepare(settings, progress, context, additions)
    if additions is not None and additions.read:
        KnownFiles.write(record_of(settings.store, memo_folder(settings)), additions.marks)
    if prepared.problems and settings.on_error == "stop":
        raise InputProblemsError(find_all_problems(prepared, progress), REMEDY)
    for line in (*prepared.conversion, *prepared.channels, *prepared.mixtures):
        progress.say(line)
    extractor = _load_extractor(settings, weights, context, batch_size=settings.batch_size)
    origin = weights_origin(settings, extractor.part, kept=additions.weights_licence if additions else None)
    work = _Work(settings, prepared, extractor, additions, weights, origin)
    tally = Tally(problems=list(prepared.problems))
    if additions is None or _fits(work, additions):
        marks = NewMarks(prepared.sources if settings.append and settings.cluster is None else ())
        with frozen_objects(), _open_writer(work) as writer:
            _fill(writer, work, tally, marks, progress)
        if marks.marks:
            kept = additions.marks if additions is not None else []
            KnownFiles.write(record_of(settings.store, memo_folder(settings)), [*kept, *marks.marks])
    return ExtractionReport(
        store=settings.store,
        model=settings.model,
        source=str(origin),
        samples=tally.samples + (len(additions.previous) if additions else 0),
        labelled=tally.labelled + (additions.labelled if additions else 0),
        computed=tally.computed,
        kept=len(additions.previous) if additions else 0,
        skipped=[*prepared.plain, *tally.problems],
        input=[
            *prepared.conversion,
            *prepared.channels,
            *([additions.summary(tally.samples)] if additions else []),
            f"labels: {prepared.found.rule}",
            *(f"not used: {one}" for one in prepared.found.left_out),
        ],
        mixtures=prepared.mixtures,
        hint="\n".join(_hints(work, tally)),
        seconds=time.monotonic() - began,
    )


def _fits(work: _Work, additions: Additions) -> bool:
    """Make sure that new samples fit the store that they are added to. Return False if there are none.

    Raises:
        UsageError: they do not fit.
    """
    some = bool(work.prepared.sources)
    additions.require_same(work.layout, work.extractor.recipe.to_dict(), known_images=some)
    return some


def _open_writer(work: _Work) -> AbstractContextManager[StoreWriter]:
    """Return a writer of a new store, or of one that begins with the samples of the store that is there."""
    if work.additions is not None:
        return appended_store(work.additions.previous)
    return new_store(work.settings.store, layout=work.layout, recipe=work.extractor.recipe.to_dict())


def plan(settings: ExtractSettings, progress: Progress = SILENT) -> Plan:
    """Find the samples, check all headers, try some samples, and estimate the cost. Write nothing.

    Raises:
        UsageError: a folder, a pattern, a model name, a size or a class map is not valid; or with `append` the new
            images do not fit the store.
        InputProblemsError: no sample was found.

    If the transformer's weights cannot be loaded, `Plan.require_sound` raises the error, after the plan was shown.
    """
    require_place(settings)
    require_own_part(settings)
    require_workers(settings)
    context = require_possible_sizes(settings)
    additions = Additions.open(settings, progress)
    extractor: AttentionExtractor | WeightsError
    try:
        weights = _weights(settings)
        extractor = _load_extractor(settings, weights, context, batch_size=1)
    except WeightsError as error:
        return estimate(prepare(settings, progress, context, additions), settings, error, additions)
    prepared = prepare(settings, progress, context, additions)
    if additions is not None:
        origin = weights_origin(settings, extractor.part, kept=additions.weights_licence)
        _fits(_Work(settings, prepared, extractor, additions, weights, origin), additions)
    return estimate(prepared, settings, extractor, additions)


def _weights(settings: ExtractSettings) -> Path | None:
    """Return the weights file to load; with `offline` that of an earlier download if the user gives none.

    Raises:
        WeightsError: with `offline`, the weights are not on this disk.
    """
    return weights_without_network(settings.model, settings.weights) if settings.offline else settings.weights


def _load_extractor(
    settings: ExtractSettings, weights: Path | None, context: Size, *, batch_size: int
) -> AttentionExtractor:
    config = ExtractorConfig(
        model=settings.model,
        weights=weights,
        input_size=settings.attention_size,
        layers=settings.layers,
        precision=settings.precision,
        context=context,
        positions=settings.position_embedding,
    )
    # With workers this extractor only provides the recipe; `device` and `devices` are for them.
    device = settings.device if settings.cluster is None and settings.devices is None else "cpu"
    return AttentionExtractor.load(config, device=device, batch_size=batch_size)


def _fill(writer: StoreWriter, work: _Work, tally: Tally, marks: NewMarks, progress: Progress) -> None:
    """Write all samples to the store, count them in `tally`, and mark their files.

    Raises:
        InputProblemsError: a file cannot be used and `on_error` is "stop", or no file can be used.
    """
    done = 0
    with (
        AttentionMemo(memo_folder(work.settings), work.extractor.recipe) as memo,
        progress.task("extracting", len(work.prepared.sources)) as task,
        closing(_shards(work, writer.samples_at_once, memo, task)) as shards,
    ):
        for files, shard in shards:
            done += files
            tally.problems = list(dict.fromkeys([*tally.problems, *shard.problems]))  # tiles of one file share them
            if tally.problems and work.settings.on_error == "stop":
                tally.problems += check_files(work.prepared.sources[done:], decoding=work.prepared.decoding, task=task)
                raise InputProblemsError(tally.problems, REMEDY)
            for sample in shard.samples:
                writer.append(sample)
                marks.add(sample.id, sample.digest, sample.mask_digest or "")
            tally.add(shard)
    share = work.prepared.share
    if not tally.samples and share is None and work.additions is None:
        raise InputProblemsError(tally.problems, "No sample is left.")
    left_out = LeftOut.of(work.prepared, tally.problems, work.settings)
    writer.skipped = left_out.as_skipped()
    if share is not None:
        writer.part = describe_part(share, work.prepared, tally, left_out, work.settings)


def _shards(work: _Work, at_once: int, memo: AttentionMemo, task: Task) -> Generator[tuple[int, Shard]]:
    """Yield the samples of all files in order, some files at a time, each with the number of files."""
    settings = work.settings
    if settings.cluster is None and settings.devices is None:
        extraction = Extraction(
            decoding=work.prepared.decoding, extractor=work.extractor, batch_size=settings.batch_size, memo=memo
        )
        for part in _slices(work.prepared.sources, at_once):
            yield len(part), extract_shard(part, extraction, task)
        return
    transformer = TransformerSpec(
        recipe=work.extractor.recipe,
        weights=_weights_file(work),
        device=settings.device,
        batch_size=settings.batch_size,
    )
    parts = list(_slices(work.prepared.sources, settings.batch_size))
    with _workers(settings, transformer) as workers:
        by_workers = WorkersExtraction(
            workers=workers, decoding=work.prepared.decoding, transformer=transformer, memo=memo
        )
        yield from zip(map(len, parts), extract_by_workers(parts, by_workers, task), strict=True)


@contextmanager
def _workers(settings: ExtractSettings, transformer: TransformerSpec) -> Iterator[Workers]:
    """Start processes on `--devices`, or connect to the `--cluster`."""
    if settings.devices is not None:
        with started_processes(resolve_devices(settings.devices), transformer) as workers:
            yield workers
    elif settings.cluster is not None:
        with connect(settings.cluster) as cluster:
            yield ClusterWorkers(cluster)


def _weights_file(work: _Work) -> Path | None:
    """Return the absolute path of the file that workers load as weights or as model. The recipe does not hold it."""
    model = work.settings.model
    given = work.weights or (Path(model) if find_model(model).file == model else None)
    return given.absolute() if given else None


def _hints(work: _Work, tally: Tally) -> list[str]:
    prepared, settings = work.prepared, work.settings
    notes = [*prepared.found.notes]
    if any(source.split for source in prepared.sources):
        notes.append(
            f"splits are not part of a store: to use those of the table, train with --split-csv {settings.csv}"
        )
    if prepared.share is not None:
        return [*notes, f"{prepared.share}: join the parts with pipeline merge, which warns of what all samples show"]
    return [*notes, *tally.hints(settings.image_size, added=work.additions is not None)]


def _slices(sources: Sequence[SourceSample], size: int) -> Iterator[Sequence[SourceSample]]:
    return (sources[start : start + size] for start in range(0, len(sources), size))
