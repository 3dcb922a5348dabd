"""Plan a comparison: check everything, and list the runs with their samples and identities.

Nothing is written and nothing is trained here. A wrong request is found before the first run starts, also if only the
last run would have met it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stages.comparison.arms import Arm, read_arms, shared_settings
from stages.comparison.identity import run_identity
from stages.comparison.matrix import Matrix, Run, parse_labels, parse_seeds
from stages.comparison.samples import Samples, open_samples
from stages.comparison.stored_results import find_result
from stages.errors import UsageError
from stages.imaging.image_rules import ImageRules
from stages.imaging.stored_parts import stored_parts
from stages.outputs.kinds import COMPARISON
from stages.outputs.places import require_own_folder
from stages.reporting.sources import Sources, find_images
from stages.runs.work_folder import WorkFolder
from stages.runtime.devices import resolve_device
from stages.runtime.wording import counted
from stages.segmentation.arithmetic import arithmetic_of
from stages.segmentation.budget import Budget
from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.labelled_subset import labelled_subset
from stages.segmentation.network import NetworkConfig, Segmenter, require_values_to_normalise
from stages.segmentation.training_report import FEWEST_TO_CHOOSE
from stages.segmentation.unlabelled_samples import mark_unlabelled
from stages.settings import CompareSettings, TrainSettings
from store import AttentionStore
from store.remote.address import Place

__all__ = ["WORK", "Job", "Plan", "make_plan", "plan_of"]

WORK = "compare"
"""Name of the working folder, `.<name>.compare` beside the output."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Hold one run with all that decides its result."""

    run: Run
    settings: TrainSettings
    """With the run's seed and steps."""
    splits: Sequence[str]
    """Split of every sample of the arm's store; only the labelled subset is in train."""
    identity: str
    keep: bool
    """True if the model is kept."""
    samples: int
    """Samples that are trained on, repeats included; the unit of progress."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Hold a checked comparison."""

    settings: CompareSettings
    shared: TrainSettings
    """Settings of `train` that all arms share."""
    matrix: Matrix
    samples: Samples
    sources: Sources
    """Source images for the report, if they were given."""
    device: torch.device
    jobs: Sequence[Job]
    """Every run, seeds outermost."""

    @property
    def out(self) -> Path:
        """Return the output folder, without links."""
        return self.settings.out.resolve()

    @property
    def folders(self) -> tuple[Path, Path]:
        """Return the folders that may hold finished runs: the working folder and the output."""
        return WorkFolder.beside(self.out, WORK).path, self.out

    def count_done(self) -> int:
        """Return the number of runs that are finished already."""
        found = (find_result(self.folders, job.identity, with_model=job.keep) for job in self.jobs)
        return sum(one.stored is not None for one in found)

    def __str__(self) -> str:
        axes = " × ".join(
            (
                counted(len(self.matrix.arms), "arm"),
                f"{len(self.matrix.labels)} number{'s' if len(self.matrix.labels) > 1 else ''} of labels",
                counted(len(self.matrix.seeds), "seed"),
            )
        )
        done = self.count_done()
        runs = f"{counted(len(self.matrix), 'run')} of {counted(self.settings.steps, 'step')}"
        return f"compare: {axes} = {runs}{f' ({done} done)' if done else ''}"


def make_plan(settings: CompareSettings, base: TrainSettings) -> Plan:
    """Check a comparison and list its runs.

    Args:
        settings: of the comparison.
        base: settings of `train` that all arms share, before `settings.common`.

    Raises:
        StoreError: a store cannot be read.
        UsageError: arms, labels, seeds, splits or places cannot be used; the message says what to change.
        InputProblemsError: the table of splits does not fit the store.
    """
    shared = shared_settings(settings, base)
    return plan_of(settings, read_arms(settings, shared), shared)


def plan_of(settings: CompareSettings, arms: Sequence[Arm], shared: TrainSettings) -> Plan:
    """Check a comparison of these arms, whatever `settings.arms` and `settings.arm` say, and list its runs.

    Raises:
        StoreError, UsageError, InputProblemsError: as `make_plan`.
    """
    seeds = parse_seeds(settings.seeds)
    _require_places(settings, arms, shared)
    device = resolve_device(settings.device)
    samples = open_samples(arms, shared)
    _require_scored(settings, samples)
    matrix = Matrix(arms, parse_labels(settings.labels, samples.count("train")), seeds)
    _require_networks(matrix, samples, device)
    return Plan(
        settings=settings,
        shared=shared,
        matrix=matrix,
        samples=samples,
        sources=_sources(settings, samples),
        device=device,
        jobs=_jobs(settings, matrix, samples, device),
    )


def _require_places(settings: CompareSettings, arms: Sequence[Arm], shared: TrainSettings) -> None:
    """Make sure that the comparison can be put at `out`, and that its working folder holds nothing of the user's."""
    if settings.images is not None and not settings.images.is_dir():
        raise UsageError(f"--images {settings.images}: is no folder.\n  Name the folder of the source images.")
    others = {"--store": settings.store, "--images": settings.images, "--common split_csv": shared.split_csv}
    others |= {f"--arm {arm.name} store": arm.settings.store for arm in arms if arm.settings.store != settings.store}
    require_own_folder(settings.out, COMPARISON, option="--out", others=others)
    WorkFolder.beside(settings.out.resolve(), WORK).refuse_foreign()


def _sources(settings: CompareSettings, samples: Samples) -> Sources:
    """Return the source image of every scored sample; nothing if no folder was given."""
    scored = samples.splits.positions(settings.score)
    images = find_images(samples.store, stored_parts(samples.store, scored), settings.images, None)
    return Sources(images=images, window=ImageRules.from_dict(samples.store.description.images).window)


def _require_scored(settings: CompareSettings, samples: Samples) -> None:
    """Make sure that there are samples to score, and that they have not chosen the model.

    Raises:
        UsageError: this is not so.
    """
    if not samples.count(settings.score):
        raise UsageError(
            f"{settings.store}: no sample is in the split {settings.score}, which is to be scored.\n"
            f"  Use a share above 0 (--common {settings.score}=0.2), or a table of splits that has it."
        )
    if settings.checkpoint == "last":
        return
    if settings.score == "val":
        raise UsageError(
            "--checkpoint best chooses the model by the validation samples, so --score val would be biased.\n"
            "  Use --checkpoint last, or --score test."
        )
    if (count := samples.count("val")) < FEWEST_TO_CHOOSE:
        raise UsageError(
            f"--checkpoint best: {counted(count, 'validation sample')} cannot choose an epoch; "
            f"{FEWEST_TO_CHOOSE} are needed.\n  Use --checkpoint last, or a larger share (--common val=0.2)."
        )


def _require_networks(matrix: Matrix, samples: Samples, device: torch.device) -> None:
    """Make sure that every arm's network can be built and trained with every number of labels.

    Raises:
        UsageError: it cannot; the message names the arm.
    """
    for arm in matrix.arms:
        store = samples.store_of(arm)
        try:
            config = NetworkConfig.of(arm.settings, store)
            arithmetic_of(arm.settings, config, device)
            for labels in matrix.labels:
                require_values_to_normalise(arm.settings, config, labels)
            with torch.device("meta"):  # no memory is used
                Segmenter(config)
        except UsageError as error:
            raise UsageError(f"arm {arm.name}: {error}") from None


def _jobs(settings: CompareSettings, matrix: Matrix, samples: Samples, device: torch.device) -> list[Job]:
    """Return every run with its samples and its identity."""
    kept = {"none": (), "first": matrix.seeds[:1], "all": matrix.seeds}[settings.keep_models]
    jobs: list[Job] = []
    splits_of: dict[tuple[Place, bool, int, int], CompactSplits] = {}
    for run in matrix:
        own = replace(run.arm.settings, seed=run.seed)
        store, where = samples.store_of(run.arm), (own.store, own.unlabelled, run.labels, run.seed)
        if where not in splits_of:
            splits_of[where] = samples.splits_in(store, _drawn(run, samples))
        budget = Budget.of(own, run.labels)
        own = _with_precision(own, store, device)
        identity = run_identity(
            run.arm, own, store, splits_of[where], score=settings.score, checkpoint=settings.checkpoint
        )
        job = Job(
            run=run,
            settings=own,
            splits=splits_of[where],
            identity=identity,
            keep=run.seed in kept and run.arm.network is None,
            samples=budget.samples_until(budget.epochs),
        )
        jobs.append(job)
    return jobs


def _with_precision(settings: TrainSettings, store: AttentionStore, device: torch.device) -> TrainSettings:
    """Return the settings with bfloat16 in place of `auto` if `auto` becomes bfloat16 on this machine.

    So a result is found again only where the same arithmetic is used. Where `auto` becomes float32 it stays: then the
    results of earlier versions are found.
    """
    bfloat16 = arithmetic_of(settings, NetworkConfig.of(settings, store), device) == "bfloat16"
    return replace(settings, precision="bfloat16") if bfloat16 else settings


def _drawn(run: Run, samples: Samples) -> list[str]:
    """Return the splits of a run in the order of the comparison's store, with only the labels that it has.

    Raises:
        UsageError: the run is to learn from unlabelled samples, and there are none.
    """
    drawn = labelled_subset(samples.store, samples.splits, count=run.labels, seed=run.seed)
    try:
        return mark_unlabelled(samples.store, samples.splits, drawn, wanted=run.arm.settings.unlabelled)
    except UsageError as error:
        raise UsageError(f"{run}: {error}") from None
