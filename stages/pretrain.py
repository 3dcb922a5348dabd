"""The stage `pretrain`: train a transformer with DINO on images without labels.

    out                       the teacher's weights; the header holds the architecture and a record of the training
    <out stem>.history.csv    a row every `watch_every` steps: loss, signs of collapse, figures of every head
    <out stem>.heads.png      the map of every head on a few of the images

The run works in a hidden folder beside `out`, which holds the state and the history so far; `out` itself appears after
the last step. All random numbers of a step come from (seed, step), so on a CPU `--resume` gives the same bytes as an
uninterrupted run. Images are kept in memory, as bytes at `image_size`.

Under `torchrun` every process reads all images and computes its share of each batch; the first one writes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from stages.attention.architectures import find_architecture
from stages.attention.card import METADATA_KEY, Card, read_card
from stages.attention.hub import weights_without_network
from stages.attention.input_size import require_few_tokens
from stages.attention.models import MODELS, ModelEntry
from stages.attention.naming import licence_beside
from stages.attention.weights import load_transformer
from stages.errors import UsageError, WeightsError
from stages.outputs.marks import starts_with
from stages.outputs.places import require_outside, resolved_place
from stages.pictures.heads import draw_heads
from stages.pictures.marked import is_heads_picture
from stages.pretraining.images import UnlabelledImages, read_images
from stages.pretraining.state import load_state, save_state
from stages.pretraining.trainer import DistillationTrainer
from stages.pretraining.watch import require_sound
from stages.runs.history import Row, history_csv
from stages.runs.identity import RunIdentity
from stages.runs.licences import UNKNOWN_FILE, derived_licence, require_whole
from stages.runs.precision import ARITHMETIC, Arithmetic, recorded_values, resolve, sentences
from stages.runs.state import explain_misfit
from stages.runs.work_folder import WorkFolder, work_folder
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import explain_out_of_memory
from stages.runtime.processes import Processes, joined
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from stages.settings import PretrainSettings
from store.disk.publish import replace_file
from store.disk.regular import present

PICTURED = 6
"""Watched images in the picture of the heads."""


@dataclass(frozen=True, kw_only=True)
class PretrainReport:
    """Summary of a finished pretraining."""

    card: Card
    out: Path
    seconds: float
    notes: Sequence[str] = ()
    """Sentences that the user should know."""

    def __str__(self) -> str:
        figures = self.card.figures
        names = ("loss", "entropy", "kl", "contrast", "separation")
        work = f"{counted(self.card.steps, 'step')} on {counted(self.card.images, 'image')}"
        lines = [
            f"{self.out}: {self.card.arch}, {work}, {self.seconds:.0f} s",
            ", ".join(f"{name} {figures[name]:.3f}" for name in names if figures[name] is not None),
        ]
        return "\n".join([*lines, *self.notes])


def run(settings: PretrainSettings, progress: Progress = SILENT) -> PretrainReport:
    """Pretrain a transformer and put its weights at `settings.out`.

    Raises:
        UsageError: a setting is not valid, there are fewer images than a batch, or `out` holds something else.
        InputProblemsError: images cannot be read; the error lists all of them.
        WeightsError: the initial weights cannot be loaded or do not fit.
        CheckpointError: the run cannot be resumed: its state is damaged, or settings or images differ.
        PipelineError: the run collapsed, its loss is not finite, memory ran out, or another run works on the same
            output.
    """
    began = time.monotonic()
    entry = find_architecture(settings.arch)
    _check(settings, entry)
    with joined(settings.device) as processes:
        return _run(settings, entry, progress, processes, began)


def _run(
    settings: PretrainSettings, entry: ModelEntry, progress: Progress, processes: Processes, began: float
) -> PretrainReport:
    """Pretrain a transformer with the other processes of the run; the first one writes."""
    images = read_images(settings, progress)
    initial, init_sha256 = _initial(settings, entry)
    licence = _licence(settings)
    device = processes.device or resolve_device(settings.device)
    with (
        _work_folder(settings.out.absolute(), leads=processes.leads) as work,
        explain_out_of_memory(_out_of_memory_message(settings, device)),
    ):
        trainer = DistillationTrainer(settings, entry, images, initial, processes, device)
        identity = _identity(settings, images, init_sha256, trainer.arithmetic)
        processes.agree(identity.values)
        card = _resume(trainer, identity, work, settings.out) if settings.resume else None
        identity = _identity(settings, images, init_sha256, trainer.arithmetic)  # as in the run that is resumed
        processes.wait()  # the first one changes the folder from here on
        if card is None:
            if processes.leads and trainer.step == 0:
                work.clear()
            _train(trainer, identity, work, progress, leads=processes.leads)
            card = _card(settings, entry, identity.values, trainer.history[-1], licence)
            if processes.leads:
                _publish(settings.out, trainer, card)
        if processes.leads:
            work.remove()
    here = resolve(settings.precision, device)
    notes = sentences(settings.precision, device, trainer.arithmetic, here=here)
    return PretrainReport(card=card, out=settings.out, seconds=time.monotonic() - began, notes=notes)


def _check(settings: PretrainSettings, entry: ModelEntry) -> None:
    """Refuse settings that are certain to fail, before any image is read."""
    for name in ("image_size", "global_crop", "local_crop"):
        side = getattr(settings, name)
        if side % entry.patch:
            near = max(1, round(side / entry.patch)) * entry.patch
            raise UsageError(
                f"--{name.replace('_', '-')} {side}: {entry.name} needs a side divisible by its patch of "
                f"{entry.patch} pixels. Try {near}."
            )
        require_few_tokens(entry, (side, side), what=f"--{name.replace('_', '-')} {side}")
    if settings.out.suffix != ".safetensors":
        raise UsageError(f"--out {settings.out}: weights are written as .safetensors. Give such a name.")
    _require_place(settings)
    require_whole(_licence(settings), "with that of --init, the weights would have one" if settings.init else "has one")


def _require_place(settings: PretrainSettings) -> None:
    """Make sure that the files can be written where they are wanted, and that the working folder can be cleared.

    Raises:
        UsageError: they would lie inside another output or among the images, or would replace files that are not ours.
    """
    out = settings.out
    require_outside(out, option="--out")
    for option, folder in (("--images", settings.images), ("--masks", settings.masks)):
        if folder is not None and resolved_place(folder, option) in out.resolve().parents:
            raise UsageError(
                f"--out {out}: lies in the folder of {option} {folder}, and the picture that is written beside the "
                "weights would join the images.\n  Choose a path outside that folder."
            )
    if settings.init is not None and resolved_place(Path(settings.init), "--init") == out.resolve():
        raise UsageError(
            f"--out {out}: is also the path of --init, and the initial weights would be replaced.\n"
            "  Choose another path."
        )
    _require_own_files(out)
    WorkFolder.beside(out.absolute(), "pretraining").refuse_foreign()


def _require_own_files(out: Path) -> None:
    """Make sure that the three files replace only files of an earlier pretraining.

    Earlier versions did not mark the picture. It counts as ours if the weights beside it are.

    Raises:
        UsageError: one of them is something else.
    """
    ours = out.is_file() and read_card(out) is not None
    replaced = {
        out: ours,
        _history_file(out): starts_with(_history_file(out), "step,"),
        _picture_file(out): is_heads_picture(_picture_file(out)) or (ours and _picture_file(out).is_file()),
    }
    for path, known in replaced.items():
        if path.exists() and not known:
            raise UsageError(
                f"{path}: holds something that `pipeline pretrain` did not write, and would be replaced.\n"
                "  Choose another path, or move it away."
            )


def _initial(settings: PretrainSettings, entry: ModelEntry) -> tuple[dict[str, Tensor] | None, str | None]:
    """Return the initial tensors, at the size of the large crops, and the digest of the weights they come from."""
    if settings.init is None:
        return None, None
    size = (settings.global_crop, settings.global_crop)
    if settings.init in MODELS:
        weights = weights_without_network(settings.init, None) if settings.offline else None
        found = load_transformer(settings.init, input_size=size, weights=weights)
    else:
        found = load_transformer(settings.arch, input_size=size, weights=Path(settings.init))
    same = ("patch", "heads", "dim", "depth")
    if any(getattr(found.entry, name) != getattr(entry, name) for name in same):
        shape = ", ".join(f"{name} {getattr(found.entry, name)} and not {getattr(entry, name)}" for name in same)
        raise WeightsError(
            f"--init {settings.init}: is of another architecture than {entry.name}: {shape}.\n"
            "  Give the architecture of these weights with --arch, or other initial weights."
        )
    return found.module.state_dict(), found.weights_sha256


def _licence(settings: PretrainSettings) -> str:
    """Return the licence of the new weights, with that of the initial ones."""
    return derived_licence(settings.licence, _initial_licence(settings))


def _initial_licence(settings: PretrainSettings) -> str:
    """Return the licence of the initial weights, which binds the new ones too; "" without such weights."""
    if settings.init is None:
        return ""
    if settings.init in MODELS:
        return MODELS[settings.init].licence
    file = Path(settings.init)
    card = read_card(file)
    return licence_beside(file) or UNKNOWN_FILE if card is None else card.licence


def _identity(
    settings: PretrainSettings, images: UnlabelledImages, init_sha256: str | None, arithmetic: Arithmetic
) -> RunIdentity:
    """Return the settings and data that decide the result, without paths: files are compared by digest."""
    return RunIdentity.of(
        settings,
        {
            "init": settings.init if settings.init in MODELS else None,
            "init_sha256": init_sha256,
            "number_of_images": len(images.pixels),
            "images_sha256": images.sha256,
            "window": str(images.window),
            ARITHMETIC: arithmetic,
        },
        equivalent={ARITHMETIC: recorded_values()},
    )


def _out_of_memory_message(settings: PretrainSettings, device: torch.device) -> str:
    return (
        f"{settings.out}: not enough memory on {device} to train with batches of {settings.batch_size}.\n"
        "  Start anew with a smaller --batch-size or --global-crop (a resumed run keeps its own); or end other "
        "programs that use memory and continue with --resume."
    )


def _work_folder(out: Path, *, leads: bool) -> contextlib.AbstractContextManager[WorkFolder]:
    """Return the working folder; of the processes of one run, only the first locks it."""
    return work_folder(out, "pretraining") if leads else contextlib.nullcontext(WorkFolder.beside(out, "pretraining"))


def _resume(trainer: DistillationTrainer, identity: RunIdentity, work: WorkFolder, out: Path) -> Card | None:
    """Restore an interrupted run, if there is one. Return the card of `out` if this run has already finished."""
    if present(work.state):
        state = load_state(work.state)
        identity.require_match(state.settings, work.state)
        with explain_misfit(work.state):
            trainer.restore(state)
        return None
    card = read_card(out) if out.exists() else None
    if card is not None:
        identity.require_match(card.settings, out)
    return card


def _train(
    trainer: DistillationTrainer, identity: RunIdentity, work: WorkFolder, progress: Progress, *, leads: bool
) -> None:
    """Take the steps that are left; write history and state after every row."""
    settings = trainer.settings
    with progress.task("pretraining", settings.steps - trainer.step, unit="steps") as task:
        while trainer.step < settings.steps:
            trainer.run_to_next_row(task)
            trainer.require_finite()
            if leads:
                replace_file(work.history, _history_csv(trainer.history))
            require_sound(trainer.history, prototypes=settings.prototypes, warmup=trainer.schedules.warmup)
            if leads:
                save_state(work.state, trainer.state(identity.values))


def _history_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.history.csv")


def _picture_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.heads.png")


def _history_csv(history: list[Row]) -> bytes:
    return history_csv(history, list(history[0]))


def _card(settings: PretrainSettings, entry: ModelEntry, recorded: dict[str, Any], last: Row, licence: str) -> Card:
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
        images=recorded["number_of_images"],
        images_sha256=recorded["images_sha256"],
        description=settings.description,
        licence=licence,
        init_sha256=recorded["init_sha256"],
        settings=recorded,
        figures=last,
    )


def _publish(out: Path, trainer: DistillationTrainer, card: Card) -> None:
    """Write the three files. The weights come last: if they exist, the other two are complete."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in trainer.teacher.backbone.state_dict().items()}
    shown = slice(0, PICTURED)
    maps = trainer.watched_maps()[shown].numpy()
    picture = draw_heads(
        trainer.watched.images[shown].movedim(1, -1).contiguous().numpy(),
        maps,
        heads=[f"H{head}" for head in range(maps.shape[1])],
    )
    _require_own_files(out)
    replace_file(_history_file(out), _history_csv(trainer.history))
    replace_file(_picture_file(out), picture)
    replace_file(out, save(weights, metadata={METADATA_KEY: card.to_json()}))
