"""Train nnU-Net's plain 2-D configuration on the samples of a run of `pipeline compare`, and score it in the same way.

    python -m tests.benchmarks.evidence.nnunet --store store/isic.zarr --split-csv isic-0.csv --labels 65 --steps 2000 \
        --bin nnunet-venv/bin --work /scratch/nnunet --out work/part-nnunet/raw/isic-0-test.csv

nnU-Net v2 (Isensee et al. 2021, package `nnunetv2`) does not fit the seam of the other rivals: it has its own planning,
augmentation, loss, optimiser and sampling. So it runs as its own program, from an environment of its own (`--bin`), and
only the images, the draw of labelled samples and the scores are ours. All of it is nnU-Net's default but the length of
the training: the default is 1,000 epochs of 250 steps. Here `--steps` steps are made, in epochs of 50, over which the
learning rate falls as usual. All drawn samples are trained on (fold `all`), the last weights count, and prediction
averages over mirrored images, as by default.

The table is one of raw results (`tests.benchmarks.evidence.raw`): the run becomes a line in it. With the path above,
`python -m tests.benchmarks.evidence collect --work work` adds it to the results. A summary in JSON beside the table
says what was run: steps, batch and patch size, parameters, and the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.failures import report_error
from stages.errors import PipelineError, UsageError
from stages.segmentation.labelled_subset import labelled_subset
from stages.segmentation.metrics import score_sample
from stages.segmentation.splits import split_by_csv
from store import AttentionStore
from store.disk.publish import replace_file
from tests.benchmarks.evidence.nnunet_dataset import NAME, NUMBER, read_prediction, write_dataset
from tests.benchmarks.evidence.raw import NO, RawRun, merge_runs, read_runs, write_runs

__all__ = ["ARM", "EPOCH", "TRAINER", "score_predictions", "trainer_source"]

ARM = "nnunet"
TRAINER = "nnUNetTrainerSteps"
EPOCH = 50
"""Steps of an epoch. nnU-Net changes the learning rate between epochs."""
PROGRAMS = ("nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict")

_TRAINER_SOURCE = '''"""Trainer of nnU-Net with a stated number of steps, a seed and a stated number of threads."""

import random
import time

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class {name}(nnUNetTrainer):
    """nnU-Net's trainer, but shorter, seeded, and without a final validation on the training samples."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        random.seed({seed})
        np.random.seed({seed})
        torch.manual_seed({seed})
        self.num_epochs = {epochs}
        self.num_iterations_per_epoch = {epoch}
        self.num_val_iterations_per_epoch = 1

    def on_train_start(self):
        super().on_train_start()
        torch.set_num_threads({threads})
        count = sum(parameter.numel() for parameter in self.network.parameters())
        self.print_to_log_file("parameters:", count)

    def on_epoch_start(self):
        super().on_epoch_start()
        self._began = time.process_time()

    def on_epoch_end(self):
        self.print_to_log_file("processor time of the epoch:", round(time.process_time() - self._began, 2))
        super().on_epoch_end()

    def perform_actual_validation(self, save_probabilities=False):
        pass
'''


def main(
    store: Annotated[Path, typer.Option(help="Store with the samples.")],
    split_csv: Annotated[Path, typer.Option(help="Table id,split.")],
    labels: Annotated[int, typer.Option(help="Number of labelled samples.")],
    bin: Annotated[Path, typer.Option(help="Folder with the programs of nnU-Net.")],  # noqa: A002 - name of the option
    work: Annotated[Path, typer.Option(help="Folder for nnU-Net's files; is created.")],
    out: Annotated[Path, typer.Option(help="Table of raw results, to which the run is added.")],
    seed: Annotated[int, typer.Option(help="Seed of the draw, the weights and the augmentation.")] = 0,
    steps: Annotated[int, typer.Option(help=f"Steps, a multiple of {EPOCH}.")] = 2000,
    score: Annotated[Literal["test", "val"], typer.Option(help="Split to score.")] = "test",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where nnU-Net computes.")] = "cpu",
) -> None:
    """Write the data set, plan, train, predict, score, and write table and summary."""
    if steps % EPOCH or steps < EPOCH:
        raise UsageError(f"--steps {steps}: is no multiple of {EPOCH}.\n  nnU-Net is trained in epochs of {EPOCH}.")
    read_runs(out)  # a file that is no table of runs is found before the training
    opened = AttentionStore.open(store)
    splits = labelled_subset(opened, split_by_csv(opened, split_csv), count=labels, seed=seed)
    chosen = {name: np.flatnonzero(np.array(splits) == name).astype(np.int64) for name in ("train", score)}
    programs = Programs(bin, work, device=device)
    write_dataset(work / "raw" / NAME, opened, chosen["train"], chosen[score])
    programs.write_trainer(trainer_source(steps=steps, seed=seed, threads=programs.threads))
    programs.run("nnUNetv2_plan_and_preprocess", "-d", str(NUMBER), "-c", "2d", "-np", "1", "-npfp", "1")
    began = time.perf_counter()
    programs.run("nnUNetv2_train", str(NUMBER), "2d", "all", "-tr", TRAINER, "-device", device)
    seconds = time.perf_counter() - began
    predictions = work / "predictions"
    where = ("-i", str(work / "raw" / NAME / "imagesTs"), "-o", str(predictions), "-device", device)
    network = ("-d", str(NUMBER), "-c", "2d", "-f", "all", "-tr", TRAINER)
    programs.run("nnUNetv2_predict", *where, *network, "-npp", "1", "-nps", "1", "--disable_progress_bar")
    dice = score_predictions(opened, chosen[score], predictions)
    plan, parameters, count = programs.plan(), programs.parameters(), len(chosen["train"])
    contents = opened.description.contents_sha256[:12]
    settings = f"network=nnunet;batch_size={plan['batch_size']};patch_size={'x'.join(map(str, plan['patch_size']))}"
    summary = plan | {
        "store": store.name, "split": split_csv.name, "scored": score, "labels": count, "seed": seed,
        "steps": steps, "parameters": parameters, "seconds_of_training": round(seconds, 1),
        "processor_seconds_per_step": round(programs.seconds_of_epoch() / EPOCH, 4), "threads": programs.threads,
        "mean_dice": round(float(np.nanmean(list(dice.values()))), 5),
    }  # fmt: skip
    identity = hashlib.sha256(f"{settings} {contents} {splits} {steps} {seed}".encode()).hexdigest()[:16]
    run = RawRun(
        arm=ARM, labels=count, seed=seed, steps=steps, tuned=NO, settings=settings,
        store=f"{store.stem.partition('-')[2]}:{contents}", parameters=parameters, seconds=round(seconds, 1),
        improving="", identity=identity, finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), dice=dice,
    )  # fmt: skip
    write_runs(out, merge_runs(read_runs(out), [run]))
    replace_file(out.with_name(f"{out.stem}-{count}-{seed}-{steps}.json"), json.dumps(summary, indent=1).encode())
    typer.echo(json.dumps(summary))


class Programs:
    """Run the programs of nnU-Net with its folders inside one working folder."""

    def __init__(self, folder: Path, work: Path, *, device: str) -> None:
        """Check that the programs are there; nothing is written.

        Args:
            folder: with the programs.
            work: working folder.
            device: cpu or cuda.

        Raises:
            UsageError: a program is missing.
        """
        self._folder, self._work, self._device = folder, work, device
        missing = [name for name in PROGRAMS if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{folder}: has no {missing[0]}.\n"
                "  Install nnunetv2 in an environment of its own, and name its folder of programs with --bin."
            )
        self.threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "nnUNet_raw": str(work / "raw"),
            "nnUNet_preprocessed": str(work / "preprocessed"),
            "nnUNet_results": str(work / "results"),
            "nnUNet_extTrainer": str(work / "trainer"),
            "nnUNet_compile": "false",
        }

    def write_trainer(self, source: str) -> None:
        """Write the module of the trainer where nnU-Net looks for it."""
        (self._work / "trainer").mkdir(parents=True)
        (self._work / "trainer" / f"{TRAINER}.py").write_text(source)

    def run(self, name: str, *arguments: str) -> None:
        """Run a program and keep what it prints as `NAME.log` in the working folder.

        Raises:
            PipelineError: it failed.
        """
        log = self._work / f"{name}.log"
        # The planner needs one process or more. On a CPU, augmentation in the process of the training takes turns with
        # it, so that the time of a step holds all that is computed.
        own = 0 if self._device == "cpu" and name == "nnUNetv2_train" else os.cpu_count() or 1
        environment = self._environment | {"nnUNet_n_proc_DA": str(own)}
        with log.open("wb") as file:
            ended = subprocess.run(
                [str(self._folder / name), *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT,
                check=False,
            )  # fmt: skip
        if ended.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise PipelineError(
                f"{name} ended with status {ended.returncode}. Its log is {log}:\n  " + "\n  ".join(last)
            )

    def plan(self) -> dict[str, Any]:
        """Return batch size, patch size and features of the plan."""
        path = self._work / "preprocessed" / NAME / "nnUNetPlans.json"
        plan = json.loads(path.read_text())["configurations"]["2d"]
        features = plan["architecture"]["arch_kwargs"]["features_per_stage"]
        return {"batch_size": plan["batch_size"], "patch_size": plan["patch_size"], "features": features}

    def parameters(self) -> int:
        """Return the number of trained parameters that the trainer printed."""
        return int(self._printed(r"parameters: (\d+)")[0])

    def seconds_of_epoch(self) -> float:
        """Return the median processor time of an epoch in seconds, with its one step of validation.

        Processor time counts all threads, and does not grow when other programs run on the same machine.
        """
        return float(np.median([float(seconds) for seconds in self._printed(r"time of the epoch: ([\d.]+)")]))

    def _printed(self, pattern: str) -> list[str]:
        log = self._work / "nnUNetv2_train.log"
        found = re.findall(pattern, log.read_text(errors="replace"))
        if not found:
            raise PipelineError(f"{log}: holds no line like {pattern!r}; another version of nnU-Net may print less.")
        return found


def trainer_source(*, steps: int, seed: int, threads: int) -> str:
    """Return the source of a trainer with so many steps and so many threads."""
    return _TRAINER_SOURCE.format(name=TRAINER, seed=seed, epochs=steps // EPOCH, epoch=EPOCH, threads=threads)


def score_predictions(store: AttentionStore, positions: NDArray[np.int64], folder: Path) -> dict[str, float]:
    """Return the Dice of every predicted sample by its id, by the metric of `pipeline compare`.

    Raises:
        PipelineError: a prediction is missing or has another size.
    """
    dice = {}
    for position in positions.tolist():
        (truth,) = store.read_array("mask", np.array([position]))
        predicted = read_prediction(folder, position, store.size)
        dice[str(store.ids[position])] = score_sample(predicted, truth, len(store.classes)).dice
    return dice


if __name__ == "__main__":
    try:
        typer.run(main)
    except PipelineError as error:
        sys.exit(report_error(error))
