"""The stage `pretrain`: images without labels in, a transformer whose heads have learnt to look out.

    out                       the teacher's weights, with its architecture and record in the header
    <out stem>.history.csv    a row every `watch_every` steps: loss, signs of collapse, every head's figures
    <out stem>.heads.png      every head's map on a few of the images

It works in a hidden folder beside `out`, which holds the state and the history so far; `out` itself appears when the
last step is done. All random numbers of a step come from (seed, step), so `--resume` gives, on a CPU, the same bytes
as a run without an interruption. Images are held in memory, as bytes at `image_size`.

Under `torchrun` every process reads all images and takes its share of each batch; the first one writes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from stages.attention.architectures import find_architecture
from stages.attention.card import METADATA_KEY, Card, read_card
from stages.attention.models import MODELS, ModelEntry
from stages.attention.weights import load_transformer
from stages.errors import CheckpointError, UsageError, WeightsError
from stages.pictures.heads import draw_heads
from stages.pretraining.images import UnlabelledImages, read_images
from stages.pretraining.processes import joined
from stages.pretraining.state import load_state, save_state
from stages.pretraining.trainer import DistillationTrainer
from stages.pretraining.watch import Row, require_sound
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.progress import SILENT, Progress
from stages.settings import PretrainSettings
from store.disk.publish import exclusive_folder, remove_partial_files, replace_file

PICTURED = 6
"""Watched images in the picture of the heads."""
STATE, HISTORY = "state.safetensors", "history.csv"
FREE_TO_CHANGE = {"images", "masks", "out", "device", "resume"}
"""Settings that may differ between a run and its continuation; the images are compared by their digest."""


@dataclass(frozen=True, kw_only=True)
class PretrainReport:
    """What a pretraining came to."""

    card: Card
    out: Path
    seconds: float

    def __str__(self) -> str:
        figures = self.card.figures
        names = ("loss", "entropy", "kl", "contrast", "separation")
        lines = [
            f"{self.out}: {self.card.arch}, {self.card.steps} steps on {self.card.images} images, {self.seconds:.0f} s",
            ", ".join(f"{name} {figures[name]:.3f}" for name in names if figures[name] is not None),
            f"use it with: pipeline extract --model {self.out}",
        ]
        return "\n".join(lines)


def run(settings: PretrainSettings, progress: Progress = SILENT) -> PretrainReport:
    """Pretrain, and put the weights at `settings.out`.

    Raises:
        UsageError: a setting makes no sense, there are fewer images than a batch, or `out` holds something else.
        InputProblemsError: images that cannot be read, all of them.
        WeightsError: the weights to begin with cannot be had or do not fit.
        CheckpointError: `resume` was asked for and the interrupted run was told something else.
        PipelineError: the run collapsed, its loss is not a number, memory ran out, or another run is at work on
            the same output.
    """
    began = time.monotonic()
    entry = find_architecture(settings.arch)
    _check(settings, entry)
    images = read_images(settings, progress)
    initial, init_sha256 = _initial(settings, entry)
    told = _told(settings, images, init_sha256)
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(settings, count)
    work = settings.out.absolute().with_name(f".{settings.out.name}.pretraining")
    # Locked before the processes meet: were the leading one to stop later, the others would wait for it.
    too_large = (
        f"{settings.out}: not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Start anew with a smaller --batch-size or --global-crop (a resumed run keeps those it began with); or end "
        "other programs that hold memory and go on with --resume."
    )
    with (
        _alone(work, leads=rank == 0),
        joined(device, rank=rank, count=count) as processes,
        explain_out_of_memory(too_large),
    ):
        trainer = DistillationTrainer(
            settings,
            entry,
            images=images.pixels,
            watched=images.watched,
            initial=initial,
            device=device,
            processes=processes,
        )
        finished = _resume(trainer, settings, told, work) if settings.resume else None
        if finished is not None:
            if processes.leads:
                shutil.rmtree(work, ignore_errors=True)
            return PretrainReport(card=finished, out=settings.out, seconds=time.monotonic() - began)
        if processes.leads:
            _clear(work, fresh=trainer.step == 0)
        with progress.task("pretraining", settings.steps - trainer.step, unit="steps") as task:
            while trainer.step < settings.steps:
                trainer.run_to_next_row(task)
                if processes.leads:
                    replace_file(work / HISTORY, _as_csv(trainer.history))
                require_sound(trainer.history, prototypes=settings.prototypes, warmup=trainer.schedules.warmup)
                if processes.leads:
                    save_state(work / STATE, trainer.state(told))
        card = _card(settings, entry, told, trainer.history[-1])
        if processes.leads:
            _publish(settings.out, trainer, card)
            shutil.rmtree(work, ignore_errors=True)
    return PretrainReport(card=card, out=settings.out, seconds=time.monotonic() - began)


def _check(settings: PretrainSettings, entry: ModelEntry) -> None:
    """Refuse what can be known to fail before any image is read."""
    for name in ("image_size", "global_crop", "local_crop"):
        side = getattr(settings, name)
        if side % entry.patch:
            near = max(1, round(side / entry.patch)) * entry.patch
            raise UsageError(
                f"--{name.replace('_', '-')} {side}: {entry.name} needs a side divisible by its patch of "
                f"{entry.patch} pixels. Try {near}."
            )
    if settings.out.suffix != ".safetensors":
        raise UsageError(f"--out {settings.out}: weights are written as .safetensors. Give such a name.")
    if settings.out.exists() and (not settings.out.is_file() or read_card(settings.out) is None):
        raise UsageError(
            f"{settings.out}: holds something that `pipeline pretrain` did not write, and would be replaced.\n"
            "  Choose another path, or move it away."
        )


def _initial(settings: PretrainSettings, entry: ModelEntry) -> tuple[dict[str, Tensor] | None, str | None]:
    """The tensors to begin with, at the size of the large crops, and the digest of the weights they come from."""
    if settings.init is None:
        return None, None
    size = (settings.global_crop, settings.global_crop)
    if settings.init in MODELS:
        found = load_transformer(settings.init, input_size=size)
    else:
        found = load_transformer(settings.arch, input_size=size, weights=Path(settings.init))
    same = ("patch", "heads", "dim", "depth")
    if any(getattr(found.entry, name) != getattr(entry, name) for name in same):
        shape = ", ".join(f"{name} {getattr(found.entry, name)} and not {getattr(entry, name)}" for name in same)
        raise WeightsError(f"--init {settings.init}: is of another architecture than {entry.name}: {shape}.")
    return found.module.state_dict(), found.weights_sha256


def _told(settings: PretrainSettings, images: UnlabelledImages, init_sha256: str | None) -> dict[str, Any]:
    """What decides the result, without paths: a run that goes on must have been told the same."""
    told = {name: value for name, value in asdict(settings).items() if name not in FREE_TO_CHANGE}
    told["init"] = settings.init if settings.init in MODELS else None
    return {
        **told,
        "init_sha256": init_sha256,
        "number_of_images": len(images.pixels),
        "images_sha256": images.sha256,
    }


def _device(settings: PretrainSettings, processes: int) -> torch.device:
    device = resolve_device(settings.device)
    if processes > 1 and device.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def _resume(trainer: DistillationTrainer, settings: PretrainSettings, told: dict[str, Any], work: Path) -> Card | None:
    """Restore an interrupted run; the card of one that is finished already, None where there is work to do."""
    if (work / STATE).is_file():
        state = load_state(work / STATE)
        _require_same(state.told, told, work / STATE)
        trainer.restore(state)
        return None
    card = read_card(settings.out) if settings.out.exists() else None
    if card is not None:
        _require_same(card.settings, told, settings.out)
    return card


def _require_same(was: dict[str, Any], told: dict[str, Any], source: Path) -> None:
    differing = [
        f"    {name}: was {was.get(name)!r}, now {told[name]!r}" for name in told if was.get(name) != told[name]
    ]
    if differing:
        raise CheckpointError(
            "\n".join(
                [
                    f"{source}: cannot go on, the run was started with other settings or images:",
                    *differing,
                    "  Resume with the same, or start anew without --resume.",
                ]
            )
        )


def _alone(work: Path, *, leads: bool) -> contextlib.AbstractContextManager[None]:
    """No other run works in `work`; of the processes of one run, the leading one sees to that."""
    return exclusive_folder(work, "pretraining") if leads else contextlib.nullcontext()


def _clear(work: Path, *, fresh: bool) -> None:
    """Remove what no longer counts: of an earlier run everything, of this one half-written files."""
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, exist_ok=True)
    remove_partial_files(work)


def _as_csv(history: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=list(history[0]))
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()


def _card(settings: PretrainSettings, entry: ModelEntry, told: dict[str, Any], last: Row) -> Card:
    return Card(
        arch=entry.name,
        timm_id=entry.timm_id,
        patch=entry.patch,
        heads=entry.heads,
        dim=entry.dim,
        depth=entry.depth,
        size=settings.global_crop,
        steps=settings.steps,
        seed=settings.seed,
        images=told["number_of_images"],
        images_sha256=told["images_sha256"],
        description=settings.description,
        licence=settings.licence,
        init_sha256=told["init_sha256"],
        settings=told,
        figures=last,
    )


def _publish(out: Path, trainer: DistillationTrainer, card: Card) -> None:
    """Write the three files; the weights last, so that where they are, all are."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in trainer.teacher.backbone.state_dict().items()}
    shown = slice(0, PICTURED)
    maps = trainer.watched_maps()[shown].numpy()
    picture = draw_heads(
        trainer.watched.images[shown].movedim(1, -1).contiguous().numpy(),
        maps,
        heads=[f"H{head}" for head in range(maps.shape[1])],
    )
    replace_file(out.with_name(f"{out.stem}.history.csv"), _as_csv(trainer.history))
    replace_file(out.with_name(f"{out.stem}.heads.png"), picture)
    replace_file(out, save(weights, metadata={METADATA_KEY: card.to_json()}))
