"""Measure whether attention helps with few labels: Dice of several segmenters, at several numbers of labels and seeds.

    python -m tests.benchmarks.few_labels --out results/isic --labels 13,65,327,1308 --seeds 0,1,2 \
        --arm dual=store/isic.zarr:dual --arm image=store/isic.zarr:image

An arm is `NAME=STORE:BRANCHES[,setting=value…]`, with any setting of `pipeline train`. All arms of a seed are trained
on the same images for the same number of steps and scored on the same images. Larger training sets of a seed contain
the smaller ones. No checkpoint is chosen, because a user with thirteen labels has no large validation set to choose by:
the model after the last step is scored. Scores are taken on the seeded test split, or with `--score val` on the
validation split, for choosing settings. Neither split is ever trained on.

Every run writes one JSON file into `--out` and is skipped if that file exists. So the command can be interrupted and
run again, or run with more seeds. The table gives the mean over seeds with a 95 % Student interval, and the first arm
minus every other, paired by seed. A seed decides the draw of labelled images, the initial weights and the augmentation.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from pydantic import TypeAdapter
from rich.console import Console
from scipy import stats
from torch.optim import AdamW

from stages.runtime.devices import resolve_device
from stages.runtime.progress import SILENT
from stages.segmentation.batches import in_order, open_samples
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.losses import foreground_dice
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.segmentation.splits import split_by_hash
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from store.disk.publish import replace_file

CONFIDENCE = 0.95
FREE = {"out", "device", "resume", "store"}
"""Settings that do not change a run's result. The store is identified by its contents."""


Network = Callable[[NetworkConfig], Segmenter]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Hold one way to train, under its name in the table."""

    name: str
    settings: TrainSettings
    network: Network | None = None
    """Function that builds another network from the configuration. The arm's name is then part of a run's identity."""


def main(
    arm: Annotated[list[str], typer.Option(help="NAME=STORE:BRANCHES[,setting=value…]; the first is compared.")],
    out: Annotated[Path, typer.Option(help="Folder of results, one JSON file a run.")],
    labels: Annotated[str, typer.Option(help="Numbers of labelled images, separated by commas.")] = "8,16,32,64",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2,3,4",
    steps: Annotated[int, typer.Option(help="Steps of every run, rounded up to whole epochs.")] = 400,
    batch_size: Annotated[int, typer.Option(help="Samples per step.")] = 8,
    score: Annotated[Literal["test", "val"], typer.Option(help="Split to score; settings are chosen on val.")] = "test",
    precision: Annotated[Literal["float32", "bfloat16", "auto"], typer.Option(help="As in `pipeline train`.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> None:
    """Run every arm at every number of labels and every seed that has no result yet, and print the table."""
    common = {"batch_size": batch_size, "precision": precision, "device": device}
    arms = [parse_arm(text, common) for text in arm]
    out.mkdir(parents=True, exist_ok=True)
    counts, drawn = [int(n) for n in labels.split(",")], [int(seed) for seed in seeds.split(",")]
    console = Console()
    results = {}
    for seed in drawn:  # seeds outermost, so that an interrupted command has complete results for the first seeds
        for n in counts:
            for one in arms:
                results[one.name, n, seed] = run_once(one, out, n=n, seed=seed, steps=steps, score=score)
                console.print(f"{one.name}, {n} labels, seed {seed}: {results[one.name, n, seed]:.3f}", style="dim")
    console.print(f"Dice on the {score} split, mean over {len(drawn)} seeds ± 95 %", style="bold")
    print(table(results, [one.name for one in arms], counts, drawn))  # noqa: T201 - rich would fold long lines


def parse_arm(text: str, common: dict[str, Any]) -> Arm:
    """Parse `NAME=STORE:BRANCHES[,setting=value…]` into an arm with settings of `train`."""
    name, _, rest = text.partition("=")
    store, _, options = rest.partition(":")
    branches, *more = options.split(",")
    given = dict(item.split("=", 1) for item in more)
    values = {**common, "store": store, "branches": branches, **given}
    return Arm(name=name, settings=TypeAdapter(TrainSettings).validate_python(values))


def run_once(arm: Arm, out: Path, *, n: int, seed: int, steps: int, score: str) -> float:
    """Return the mean Dice over the scored images, from the file of an earlier run if there is one."""
    store = AttentionStore.open(arm.settings.store)
    epochs = max(1, math.ceil(steps / math.ceil(n / arm.settings.batch_size)))
    settings = replace(arm.settings, epochs=epochs, seed=seed)
    described = {key: str(value) for key, value in asdict(settings).items() if key not in FREE}
    described |= {"store": store.description.contents_sha256, "labels": str(n), "score": score}
    if arm.network:
        described["network"] = arm.name
    identity = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    path = out / f"{arm.name}-{n}-{seed}-{identity}.json".replace(" ", "_")
    if not path.exists():
        dice = train_and_score(store, settings, n=n, score=score, network=arm.network)
        result = {"arm": arm.name, "labels": n, "seed": seed, "settings": described, "dice": dice}
        replace_file(path, (json.dumps(result) + "\n").encode())
    return float(np.mean(list(json.loads(path.read_text(encoding="utf-8"))["dice"].values())))


def train_and_score(
    store: AttentionStore, settings: TrainSettings, *, n: int, score: str, network: Network | None = None
) -> dict[str, float]:
    """Train and return the Dice of every scored image by its id, after the last step."""
    drawn = split_by_hash(store, seed=settings.split_seed, val=settings.val, test=settings.test)
    chosen = set(labelled_subset(store, drawn, n=n, seed=settings.seed))
    splits = ["train" if position in chosen else "" for position in range(len(store))]
    trainer = new_trainer(store, settings, splits, network)
    with SILENT.task("training", 0, unit="samples") as task:
        for epoch in range(1, settings.epochs + 1):
            trainer.run_epoch(epoch, task)
    trainer.model.eval()
    scored = np.flatnonzero(np.array(drawn) == score).astype(np.int64)
    batches = open_samples(store, scored, trainer.device).batches(in_order(scored, 32))
    classes = trainer.model.config.classes
    dice = []
    for batch in batches:
        guess = predict_probabilities(trainer.model, batch, settings.attention_norm).argmax(dim=1)
        dice.append(foreground_dice(guess, batch.mask, classes))
    ids = [str(store.ids[position]) for position in scored]
    return dict(zip(ids, torch.cat(dice).tolist(), strict=True))


def new_trainer(
    store: AttentionStore, settings: TrainSettings, splits: list[str], network: Network | None = None
) -> SegmentationTrainer:
    """Return a trainer of our network, or of another one with the same loop, augmentation, loss and optimiser."""
    trainer = SegmentationTrainer(settings, store, splits, resolve_device(settings.device))
    if network:
        torch.manual_seed(settings.seed)
        model = network(trainer.model.config).to(trainer.device).to(memory_format=torch.channels_last)
        trainer.model = model
        trainer.optimizer = AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    return trainer


def labelled_subset(store: AttentionStore, splits: Sequence[str], *, n: int, seed: int) -> list[int]:
    """Return the positions of n training samples, those with the lowest hash of (seed, id).

    So larger sets contain the smaller ones.

    Raises:
        ValueError: the training split has fewer than n samples.
    """
    train = [position for position, split in enumerate(splits) if split == "train"]
    if len(train) < n:
        raise ValueError(f"{store.path}: {n} labels asked for, the training split has {len(train)}.")
    return sorted(train, key=lambda position: hashlib.sha256(f"{seed}\n{store.ids[position]}".encode()).digest())[:n]


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the half width of the 95 % Student interval. The half width of a single value is nan."""
    array = np.array(list(values))
    if len(array) == 1:
        return float(array[0]), math.nan
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return float(array.mean()), float(half)


def table(
    results: dict[tuple[str, int, int], float], arms: Sequence[str], labels: Sequence[int], seeds: Sequence[int]
) -> str:
    """Return a Markdown table with a row for each number of labels: every arm, and the first minus every other."""
    headings = ["labels", *arms, *(f"{arms[0]} − {other}" for other in arms[1:])]
    rows = [headings, ["---:"] * len(headings)]
    for n in labels:
        scores = {name: np.array([results[name, n, seed] for seed in seeds]) for name in arms}
        cells = ["{:.3f} ± {:.3f}".format(*interval(scores[name])) for name in arms]
        cells += ["{:+.3f} ± {:.3f}".format(*interval(scores[arms[0]] - scores[other])) for other in arms[1:]]
        rows.append([str(n), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    typer.run(main)
