"""Which width and which blocks? Dice against the time that a network takes for an image, for every network of a grid.

    python -m tests.benchmarks.network_curve --store store/isic.zarr --out results/curve --seeds 0,1,2

The grid is every width with plain and with residual blocks, and the full stem at `FULL_WIDTH`; both branches. With
`--usual` the U-Net over ResNet-34 of `tests.benchmarks.usual_setup` joins them, which sees images alone. Dice is that
of `tests.benchmarks.few_labels`, run for run: the same images for all networks of a seed, the last step scored, on the
validation split, since this is for choosing. Runs that are done are found in `--out` and not done again.

Time is forward and backward pass on random tensors of the store's shape, all networks in turn, in this very run: no
reading, no augmentation and no optimiser, which cost every network about the same. It is measured anew each time, so
run the last one, which finds all results, on a machine that does nothing else.
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
"""The width at which the full stem is tried: it is the default's."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network takes."""

    parameters: int
    milliseconds: float
    """Forward and backward pass, for one image."""


def main(
    store: Annotated[Path, typer.Option(help="Attention store to train from.")],
    out: Annotated[Path, typer.Option(help="Folder of results, one JSON file a run.")],
    seeds: Annotated[str, typer.Option(help="Seeds, by commas.")] = "0,1,2",
    widths: Annotated[str, typer.Option(help="Widths, by commas.")] = "8,16,24,32",
    labels: Annotated[int, typer.Option(help="Number of labelled images.")] = 300,
    steps: Annotated[int, typer.Option(help="Steps of every run, to a whole number of epochs.")] = 800,
    batch_size: Annotated[int, typer.Option(help="Samples per step, and of the tensors that are timed.")] = 16,
    rounds: Annotated[int, typer.Option(help="How often every network is timed; the median counts.")] = 7,
    score: Annotated[Literal["test", "val"], typer.Option(help="Split to score; settings are chosen on val.")] = "val",
    precision: Annotated[Literal["float32", "bfloat16", "auto"], typer.Option(help="As in `pipeline train`.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    timed: Annotated[
        Literal["float32", "bfloat16", "auto"] | None, typer.Option(help="Precision of what is timed, if another.")
    ] = None,
    *,
    usual: Annotated[bool, typer.Option("--usual", help="The usual network, too (needs the extra `bench`).")] = False,
) -> None:
    """Train every network with every seed that is not done yet, time them all side by side, and print the table."""
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
    for seed in drawn:  # seeds outermost: interrupted, what is done is done for all networks
        for arm in arms:
            dice[arm.name].append(run_once(arm, out, n=labels, seed=seed, steps=steps, score=score))
            console.print(f"{arm.name}, seed {seed}: {dice[arm.name][-1]:.3f}", style="dim")
    if timed:
        arms = [replace(arm, settings=replace(arm.settings, precision=timed)) for arm in arms]
    costs = cost_of(arms, AttentionStore.open(store), rounds=rounds)
    console.print(table(dice, costs, title=f"Dice on the {score} split, {labels} labels, {len(drawn)} seeds"))


def networks(store: Path, widths: Sequence[int], batch_size: int, precision: str, device: str) -> list[Arm]:
    """The grid: every width with every kind of block, then the full stem."""
    common = common_settings(batch_size, precision, device)
    told = [(f"{width} {blocks}", f"width={width},blocks={blocks}") for width in widths for blocks in BLOCKS]
    told.append((f"{FULL_WIDTH} plain full stem", f"width={FULL_WIDTH},blocks=plain,stem=full"))
    return [parse_arm(f"{name}={store}:dual,{settings}", common) for name, settings in told]


def common_settings(batch_size: int, precision: str, device: str) -> dict[str, int | str]:
    """What is the same for all networks."""
    return {"batch_size": batch_size, "precision": precision, "device": device}


def cost_of(arms: Sequence[Arm], store: AttentionStore, *, rounds: int) -> dict[str, Cost]:
    """Parameters and time of every network by its name, all timed in turn."""
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
    """Forward and backward pass of a trainer's model on a batch of random tensors, to its end on a GPU too."""
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
    """The names of (time, Dice) points that no other beats in one and equals or beats in the other."""
    return {
        name
        for name, (time, dice) in points.items()
        if not any(
            other_time <= time and other_dice >= dice and (other_time, other_dice) != (time, dice)
            for other_time, other_dice in points.values()
        )
    }


def table(dice: Mapping[str, Sequence[float]], costs: Mapping[str, Cost], *, title: str) -> Table:
    """A row a network, the quickest first; Dice is the mean over seeds with its 95 % Student interval."""
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
