"""Choose width and blocks of the network: Dice against time per image, for every network of a grid.

    python -m tests.benchmarks.network_curve --store store/isic.zarr --out results/curve --seeds 0,1,2

The grid is every width with plain and with residual blocks, and the full stem at `FULL_WIDTH`, all with both branches.
`--usual` adds the U-Net over ResNet-34 of `tests.benchmarks.usual_setup`, which sees only the images. The runs are
those of `pipeline compare`: with the same images for all networks of a seed, scored after the last step. By default the
validation split is scored, because the result chooses settings. Runs whose results are in `--out` are not repeated.

Time is one forward and backward pass on random tensors of the store's shape, with all networks timed in turn. Reading,
augmentation and optimiser are left out: they cost every network about the same. Every start measures the time again. So
when all results exist, repeat the command on a machine that does nothing else.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy import stats

from stages import compare
from stages.comparison.arms import Arm, parse_arm, shared_settings
from stages.comparison.one_run import new_trainer
from stages.comparison.plan import plan_of
from stages.runs.precision import autocast
from stages.runtime.devices import resolve_device
from stages.runtime.progress import Progress, Task
from stages.segmentation.losses import dice_cross_entropy
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import CompareSettings, TrainSettings
from store import AttentionStore
from tests.benchmarks.measure import side_by_side
from tests.benchmarks.usual_setup import usual_network

USUAL = "U-Net-of-ResNet-34"
CONFIDENCE = 0.95
BLOCKS = ("plain", "residual")
FULL_WIDTH = 16
"""Width of the network with the full stem."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Hold the size and the time of a network."""

    parameters: int
    milliseconds: float
    """Milliseconds of the forward and backward pass for one image."""


def main(
    store: Annotated[Path, typer.Option(help="Attention store to train from.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")],
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    widths: Annotated[str, typer.Option(help="Widths, separated by commas.")] = "8,16,24,32",
    labels: Annotated[int, typer.Option(help="Number of labelled images.")] = 300,
    steps: Annotated[int, typer.Option(help="Steps of every run.")] = 800,
    batch_size: Annotated[int, typer.Option(help="Samples per step, in training and timing.")] = 16,
    rounds: Annotated[int, typer.Option(help="How often every network is timed; the median is used.")] = 7,
    score: Annotated[Literal["test", "val"], typer.Option(help="Split to score; settings are chosen on val.")] = "val",
    precision: Annotated[Literal["float32", "bfloat16", "auto"], typer.Option(help="As in `pipeline train`.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    timed: Annotated[
        Literal["float32", "bfloat16", "auto"] | None, typer.Option(help="Precision when timing, if different.")
    ] = None,
    *,
    usual: Annotated[bool, typer.Option("--usual", help="Add the usual network (needs the extra `bench`).")] = False,
) -> None:
    """Train every network with every seed that has no result yet, time all networks in turn, and print the table."""
    settings = CompareSettings(
        store=store,
        out=out,
        labels=(str(labels),),
        seeds=tuple(seeds.split(",")),
        steps=steps,
        score=score,
        keep_models="none",
        device=device,
    )
    shared = shared_settings(settings, TrainSettings(batch_size=batch_size, precision=precision))
    arms = networks(shared, [int(width) for width in widths.split(",")])
    if usual:
        arms.append(replace(parse_arm(USUAL, "image", shared), network=usual_network))
    console = Console()
    runs = compare.run(plan_of(settings, arms, shared), _Lines(console)).comparison.runs
    dice = {arm.name: [fmean(run.dice.values()) for run in runs if run.arm == arm.name] for arm in arms}
    if timed:
        arms = [replace(arm, settings=replace(arm.settings, precision=timed)) for arm in arms]
    costs = cost_of(arms, AttentionStore.open(store), rounds=rounds)
    drawn = next(iter(dice.values()))
    console.print(table(dice, costs, title=f"Dice on the {score} split, {labels} labels, {len(drawn)} seeds"))


def networks(shared: TrainSettings, widths: Sequence[int]) -> list[Arm]:
    """Return the arms of the grid: every width with every kind of block, then the full stem."""
    shapes = [(f"{width}-{blocks}", f"width={width},blocks={blocks}") for width in widths for blocks in BLOCKS]
    shapes.append((f"{FULL_WIDTH}-plain-full-stem", f"width={FULL_WIDTH},blocks=plain,stem=full"))
    return [parse_arm(name, f"dual,{settings}", shared) for name, settings in shapes]


def cost_of(arms: Sequence[Arm], store: AttentionStore, *, rounds: int) -> dict[str, Cost]:
    """Return the parameters and the time of every network by its name. All are timed in turn."""
    splits = ["train"] * len(store)
    trainers = {
        arm.name: new_trainer(arm.settings, store, splits, resolve_device(arm.settings.device), arm.network)
        for arm in arms
    }
    seconds = side_by_side({name: step_of(trainer) for name, trainer in trainers.items()}, rounds=rounds)
    return {
        name: Cost(
            parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
            milliseconds=1000 * seconds[name] / trainer.settings.batch_size,
        )
        for name, trainer in trainers.items()
    }


def step_of(trainer: SegmentationTrainer) -> Callable[[], None]:
    """Return a function that runs a forward and backward pass on random tensors and waits until a GPU has finished."""
    config, count, device = trainer.model.config, trainer.settings.batch_size, trainer.device
    image = torch.randn(count, 3, *config.size, device=device)
    attention = torch.randn(count, config.heads, *config.attention_size, device=device)
    mask = torch.randint(0, config.classes, (count, *config.size), device=device).to(torch.uint8)
    trainer.model.train()

    def step() -> None:
        with autocast(trainer.settings.precision, trainer.device):
            loss = dice_cross_entropy(trainer.model(image, attention), mask)
        trainer.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the half width of the 95 % Student interval. The half width of a single value is nan."""
    array = np.array(list(values))
    if len(array) == 1:
        return float(array[0]), math.nan
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return float(array.mean()), float(half)


def unbeaten(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return the names of the points (time, Dice) that no different point equals or surpasses in both."""
    return {
        name
        for name, (time, dice) in points.items()
        if not any(
            other_time <= time and other_dice >= dice and (other_time, other_dice) != (time, dice)
            for other_time, other_dice in points.values()
        )
    }


def table(dice: Mapping[str, Sequence[float]], costs: Mapping[str, Cost], *, title: str) -> Table:
    """Return a table with a row for each network, the fastest first, with mean Dice and its 95 % Student interval."""
    means = {name: interval(scores) for name, scores in dice.items()}
    kept = unbeaten({name: (costs[name].milliseconds, means[name][0]) for name in dice})
    printed = Table("network", title=title)
    for heading in ("parameters, M", "ms an image", "Dice ± 95 %"):
        printed.add_column(heading, justify="right")
    printed.add_column("unbeaten")
    for name in sorted(dice, key=lambda name: costs[name].milliseconds):
        cost = costs[name]
        numbers = (f"{cost.parameters / 1e6:.2f}", f"{cost.milliseconds:.2f}", "{:.3f} ± {:.3f}".format(*means[name]))
        printed.add_row(name, *numbers, "yes" if name in kept else "")
    return printed


class _Lines(Progress):
    """Print a line for every finished run."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:  # noqa: ARG002 - not shown
        """Yield a task that prints what it is given to report."""
        task = Task()
        task.report = lambda line: self._console.print(line, style="dim")  # type: ignore[method-assign]
        yield task


if __name__ == "__main__":
    typer.run(main)
