"""Choose width and blocks of the network: Dice against time per image, for every network of a grid.

    python -m tests.benchmarks.network_curve --store store/isic.zarr --out results/curve --seeds 0,1,2

The grid is every width with plain and with residual blocks, and the full stem at `FULL_WIDTH`, all with both branches.
`--usual` adds the U-Net over ResNet-34 of `tests.benchmarks.usual_setup`, which sees only the images. Dice is measured
as in `tests.benchmarks.few_labels`: with the same images for all networks of a seed, after the last step. By default
the validation split is scored, because the result chooses settings. Runs whose results are in `--out` are not repeated.

Time is one forward and backward pass on random tensors of the store's shape, with all networks timed in turn. Reading,
augmentation and optimiser are left out: they cost every network about the same. Every start measures the time again. So
when all results exist, repeat the command on a machine that does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table

from stages.segmentation.losses import dice_cross_entropy
from stages.segmentation.trainer import SegmentationTrainer
from store import AttentionStore
from tests.benchmarks.few_labels import Arm, interval, new_trainer, parse_arm, run_once
from tests.benchmarks.measure import side_by_side
from tests.benchmarks.usual_setup import usual_network

USUAL = "U-Net of ResNet-34"
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
    out: Annotated[Path, typer.Option(help="Folder of results, one JSON file a run.")],
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    widths: Annotated[str, typer.Option(help="Widths, separated by commas.")] = "8,16,24,32",
    labels: Annotated[int, typer.Option(help="Number of labelled images.")] = 300,
    steps: Annotated[int, typer.Option(help="Steps of every run, rounded up to whole epochs.")] = 800,
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
    arms = networks(store, [int(width) for width in widths.split(",")], batch_size, precision, device)
    if usual:
        arms.append(
            replace(
                parse_arm(f"{USUAL}={store}:image", common_settings(batch_size, precision, device)),
                network=usual_network,
            )
        )
    drawn = [int(seed) for seed in seeds.split(",")]
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    dice: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for seed in drawn:  # seeds outermost, so that an interrupted command has the first seeds of all networks
        for arm in arms:
            dice[arm.name].append(run_once(arm, out, n=labels, seed=seed, steps=steps, score=score))
            console.print(f"{arm.name}, seed {seed}: {dice[arm.name][-1]:.3f}", style="dim")
    if timed:
        arms = [replace(arm, settings=replace(arm.settings, precision=timed)) for arm in arms]
    costs = cost_of(arms, AttentionStore.open(store), rounds=rounds)
    console.print(table(dice, costs, title=f"Dice on the {score} split, {labels} labels, {len(drawn)} seeds"))


def networks(store: Path, widths: Sequence[int], batch_size: int, precision: str, device: str) -> list[Arm]:
    """Return the arms of the grid: every width with every kind of block, then the full stem."""
    common = common_settings(batch_size, precision, device)
    shapes = [(f"{width} {blocks}", f"width={width},blocks={blocks}") for width in widths for blocks in BLOCKS]
    shapes.append((f"{FULL_WIDTH} plain full stem", f"width={FULL_WIDTH},blocks=plain,stem=full"))
    return [parse_arm(f"{name}={store}:dual,{settings}", common) for name, settings in shapes]


def common_settings(batch_size: int, precision: str, device: str) -> dict[str, int | str]:
    """Return the settings that all networks share."""
    return {"batch_size": batch_size, "precision": precision, "device": device}


def cost_of(arms: Sequence[Arm], store: AttentionStore, *, rounds: int) -> dict[str, Cost]:
    """Return the parameters and the time of every network by its name. All are timed in turn."""
    trainers = {arm.name: new_trainer(store, arm.settings, ["train"] * len(store), arm.network) for arm in arms}
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
        with trainer._autocast():
            loss = dice_cross_entropy(trainer.model(image, attention), mask)
        trainer.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


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


if __name__ == "__main__":
    typer.run(main)
