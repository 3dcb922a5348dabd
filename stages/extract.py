"""Run the stage `extract`: read images and masks, write an attention store.

Before the transformer starts, all files are found and matched, and all headers are checked. `plan` stops there and
reports what would be done, with estimates of size and time.

The transformer runs only here and in `predict`, once per image and recipe. The memo keeps its maps batch by batch, so
after an interruption, or with new images, only the missing maps are computed. The store appears at its path when it is
complete. Until then, and after any failure, an older store stays there unchanged.

With `--on-error stop` nothing more is computed after the first broken file: the remaining files are only validated, so
that all problems are reported together. With `--on-error skip` the store is made without the broken files.

With `--cluster` the workers of a cluster read the files and compute the maps. Memo and store are still written here.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.hub import weights_without_network
from stages.attention.memo import AttentionMemo
from stages.attention.naming import find_model
from stages.errors import InputProblemsError, Problem, WeightsError
from stages.extraction.cluster import connect, require_cluster
from stages.extraction.on_cluster import ClusterExtraction, TransformerSpec, extract_on_cluster
from stages.extraction.plan import Plan, estimate
from stages.extraction.preparation import Prepared, as_relative, find_all_problems, prepare
from stages.extraction.shard import REMEDY, Extraction, Shard, check_files, extract_shard
from stages.extraction.sizes import require_possible_sizes
from stages.extraction.weights_origin import WeightsOrigin, weights_origin
from stages.imaging.lost_objects import LostObjects
from stages.imaging.mask_sanity import MaskSanityCheck
from stages.imaging.pixel_sizes import size_in_file
from stages.imaging.samples import SourceSample
from stages.outputs.places import require_outside, require_own_folder
from stages.runtime.progress import SILENT, Progress, Task
from stages.runtime.wording import counted
from stages.settings import ExtractSettings, Size
from store.root import STORE
from store.writer import Layout, StoreWriter, new_store

LABEL_COLUMNS = ("objects", "lost_objects", "lost_classes")
"""Optional columns of a store with labels."""
NAMED = 3
"""Number of samples without a mask that a hint names."""


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
    """Images the transformer ran on; the maps of the others came from the memo."""
    skipped: Sequence[Problem]
    input: Sequence[str]
    """Lines for the output: the conversion of values, the rule that found the labels, the files that were not used."""
    mixtures: Sequence[str] = ()
    """Warnings of images that are not of one kind. They were shown before the work began."""
    hint: str
    """Advice for the next step; "" for none."""
    seconds: float

    def __str__(self) -> str:
        remembered = self.samples - self.computed
        lines = [
            f"{self.store}: {counted(self.samples, 'sample')}, {self.labelled:,} with a mask, in {self.seconds:.1f} s",
            f"attention of {self.model}: computed for {self.computed:,}, remembered for {remembered:,}",
            f"{self.model}: {self.source}",
            *self.input,
            *(f"left out: {problem}" for problem in self.skipped),
            *filter(None, [self.hint]),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Hold all that is prepared before the first image is read."""

    settings: ExtractSettings
    prepared: Prepared
    extractor: AttentionExtractor
    weights: Path | None
    """Weights file to load; None for the model's own file or the hub's."""
    origin: WeightsOrigin


@dataclass(kw_only=True)
class _Tally:
    """Count what was written to the store, and collect what the user has to know."""

    problems: list[Problem]
    """Files that cannot be used, found so far."""
    samples: int = 0
    labelled: int = 0
    computed: int = 0
    without_mask: list[str] = field(default_factory=list)
    """Ids of samples in the store that have no mask."""
    sanity: MaskSanityCheck = field(default_factory=MaskSanityCheck)
    lost: LostObjects = field(default_factory=LostObjects)
    """Objects that are too small for the store."""

    def add(self, shard: Shard) -> None:
        """Count the samples of a shard."""
        labelled = [sample for sample in shard.samples if sample.labelled]
        self.samples += len(shard.samples)
        self.labelled += len(labelled)
        self.computed += shard.computed
        self.without_mask += [sample.id for sample in shard.samples if not sample.labelled]
        self.sanity.add(sample.mask for sample in labelled)
        for sample in labelled:
            self.lost.add(
                sample.id,
                objects=sample.objects or 0,
                lost=sample.lost_objects or 0,
                keeping_size=shard.keeping_sizes.get(sample.id),
            )


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
    _require_place(settings)
    if settings.cluster is not None:
        require_cluster(settings.cluster, insecure=settings.cluster_insecure)
    context = require_possible_sizes(settings)
    weights = _weights(settings)
    prepared = prepare(settings, progress, context)
    if prepared.problems and settings.on_error == "stop":
        raise InputProblemsError(find_all_problems(prepared, progress), REMEDY)
    for line in (*prepared.conversion, *prepared.channels, *prepared.mixtures):
        progress.say(line)
    extractor = _load_extractor(settings, weights, context, batch_size=settings.batch_size)
    origin = weights_origin(settings.model, settings.weights, settings.licence, extractor.part)
    work = _Work(settings=settings, prepared=prepared, extractor=extractor, weights=weights, origin=origin)
    tally = _Tally(problems=list(prepared.problems))
    with new_store(settings.store, layout=_layout(work), recipe=extractor.recipe.to_dict()) as writer:
        _fill(writer, work, tally, progress)
    return ExtractionReport(
        store=settings.store,
        model=settings.model,
        source=str(origin),
        samples=tally.samples,
        labelled=tally.labelled,
        computed=tally.computed,
        skipped=[*prepared.plain, *tally.problems],
        input=[
            *prepared.conversion,
            *prepared.channels,
            f"labels: {prepared.found.rule}",
            *(f"not used: {one}" for one in prepared.found.left_out),
        ],
        mixtures=prepared.mixtures,
        hint="\n".join(_hints(work, tally)),
        seconds=time.monotonic() - began,
    )


def _require_place(settings: ExtractSettings) -> None:
    """Make sure that store and memo can be written where they are wanted."""
    model = Path(settings.model)
    inputs = {
        "--images": settings.images if settings.csv is None else None,
        "--masks": settings.masks,
        "--csv": settings.csv,
        "--weights": settings.weights,
        "--model": model if model.is_file() else None,
        "--classes": settings.classes if isinstance(settings.classes, Path) else None,
    }
    require_own_folder(settings.store, STORE, option="--store", others={**inputs, "--memo": settings.memo})
    require_outside(settings.memo, option="--memo", itself=True)


def plan(settings: ExtractSettings, progress: Progress = SILENT) -> Plan:
    """Find the samples, check all headers, try some samples, and estimate the cost. Write nothing.

    Raises:
        UsageError: a folder, a pattern, a model name, a size or a class map is not valid.
        InputProblemsError: no sample was found.

    If the transformer's weights cannot be loaded, `Plan.require_sound` raises the error, after the plan was shown.
    """
    _require_place(settings)
    context = require_possible_sizes(settings)
    extractor: AttentionExtractor | WeightsError
    try:
        extractor = _load_extractor(settings, _weights(settings), context, batch_size=1)
    except WeightsError as error:
        extractor = error
    return estimate(prepare(settings, progress, context), settings, extractor)


def _layout(work: _Work) -> Layout:
    """Return what all samples of the store have in common."""
    settings, recipe, rules = work.settings, work.extractor.recipe, work.prepared.rules
    labelled = any(source.masks for source in work.prepared.sources)
    return Layout(
        size=settings.image_size,
        grid=recipe.grid,
        heads=recipe.heads,
        keys=recipe.keys,
        classes=rules.classes.names,
        images=work.prepared.decoding.images.to_dict(),
        weights_licence=work.origin.recorded,
        masks=rules.to_source(work.prepared.found.rule.to_dict() if labelled else None),
        compress=settings.compress,
        instances=labelled and rules.kind == "instances",
        multilabel=labelled and rules.kind == "multilabel",
        columns=(*(LABEL_COLUMNS if labelled else ()), "perceptual_hash", *_place_columns(work.prepared)),
    )


def _place_columns(prepared: Prepared) -> tuple[str, ...]:
    """Return the columns for samples that are parts of larger images, and for images that say the size of a pixel."""
    slices = any(source.part.plane is not None for source in prepared.sources)
    tiles = any(source.part.box is not None for source in prepared.sources)
    sizes = any(size_in_file(source.image, source.part.axis) is not None for source in prepared.images)
    return (
        *(("parent",) if slices or tiles else ()),
        *(("slice",) if slices else ()),
        *(("row", "column") if tiles else ()),
        *(("pixel_mm",) if sizes else ()),
    )


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
    # With a cluster this extractor only provides the recipe; `device` is for the workers.
    device = settings.device if settings.cluster is None else "cpu"
    return AttentionExtractor.load(config, device=device, batch_size=batch_size)


def _fill(writer: StoreWriter, work: _Work, tally: _Tally, progress: Progress) -> None:
    """Write all samples to the store and count them in `tally`.

    Raises:
        InputProblemsError: a file cannot be used and `on_error` is "stop", or no file can be used.
    """
    done = 0
    with (
        AttentionMemo(work.settings.memo, work.extractor.recipe) as memo,
        progress.task("extracting", len(work.prepared.sources)) as task,
        closing(_shards(work, writer.samples_per_shard, memo, task)) as shards,
    ):
        for files, shard in shards:
            done += files
            tally.problems = list(dict.fromkeys([*tally.problems, *shard.problems]))  # tiles of one file share them
            if tally.problems and work.settings.on_error == "stop":
                tally.problems += check_files(work.prepared.sources[done:], decoding=work.prepared.decoding, task=task)
                raise InputProblemsError(tally.problems, REMEDY)
            for sample in shard.samples:
                writer.append(sample)
            tally.add(shard)
    if not tally.samples:
        raise InputProblemsError(tally.problems, "No sample is left.")
    writer.skipped = [as_relative(one, work.settings) for one in (*work.prepared.plain, *tally.problems)]


def _shards(work: _Work, samples_per_shard: int, memo: AttentionMemo, task: Task) -> Generator[tuple[int, Shard]]:
    """Yield the samples of all files in order, some files at a time, each with the number of files."""
    settings = work.settings
    if settings.cluster is None:
        extraction = Extraction(
            decoding=work.prepared.decoding, extractor=work.extractor, batch_size=settings.batch_size, memo=memo
        )
        for part in _slices(work.prepared.sources, samples_per_shard):
            yield len(part), extract_shard(part, extraction, task)
        return
    transformer = TransformerSpec(
        recipe=work.extractor.recipe,
        weights=_weights_file(work),
        device=settings.device,
        batch_size=settings.batch_size,
    )
    parts = list(_slices(work.prepared.sources, settings.batch_size))
    with connect(settings.cluster) as cluster:
        on_cluster = ClusterExtraction(
            cluster=cluster, decoding=work.prepared.decoding, transformer=transformer, memo=memo
        )
        yield from zip(map(len, parts), extract_on_cluster(parts, on_cluster, task), strict=True)


def _weights_file(work: _Work) -> Path | None:
    """Return the absolute path of the file that workers load as weights or as model. The recipe does not hold it."""
    model = work.settings.model
    given = work.weights or (Path(model) if find_model(model).file == model else None)
    return given.absolute() if given else None


def _hints(work: _Work, tally: _Tally) -> list[str]:
    hints = []
    if any(source.split for source in work.prepared.sources):
        table = work.settings.csv
        hints.append(f"splits are not part of a store: to use those of the table, train with --split-csv {table}")
    without = tally.without_mask
    if not tally.labelled:
        hints.append("no sample has a mask, so the store cannot be used for training or evaluation")
    elif without:
        named = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
        hints.append(f"note: no mask for {len(without)} of {tally.samples} images; they are not trained on: {named}")
    lost = tally.lost.hints(work.settings.image_size)
    return [*work.prepared.found.notes, *hints, *lost, *tally.sanity.hints()]


def _slices(sources: Sequence[SourceSample], size: int) -> Iterator[Sequence[SourceSample]]:
    return (sources[start : start + size] for start in range(0, len(sources), size))
