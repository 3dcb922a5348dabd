"""Files of runs: the model with its card, and the states of training and pretraining, up to a restored trainer.

The first byte of an input chooses the file. An input of the kinds 0 to 2 holds only the header of the `.safetensors`
format: the tensors are those of a sound file, or zeros, and lie where the header needs them. So inputs stay small. An
input of the kinds 3 to 5 is a whole file.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache

import torch

from stages.attention.recipe import Recipe
from stages.pretraining.state import STATE_FORMAT as PRETRAINING
from stages.pretraining.state import load_state as load_pretraining
from stages.pretraining.state import save_state as save_pretraining
from stages.runs.state import RunState
from stages.segmentation.checkpoint import METADATA_KEY, MODEL_FILE, STATE_FILE, load_model, load_state, require_fit
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import TrainSettings
from store import AttentionStore
from tests.conftest import random_sample
from tests.fuzzing.containers import change_safetensors, lay_out
from tests.fuzzing.target import Target
from tests.fuzzing.targets.memo import SQL_RECIPE
from tests.fuzzing.targets.place import folder, write

MODEL, STATE, PRETRAINING_STATE = range(3)
LENGTH_BYTES = 8
RECIPE = replace(SQL_RECIPE, input_size=(32, 32), grid=(4, 4), keys=17)
SPLITS = ["train", "train", "train", "val"]
WORDS = (
    "network", "classes", "attention_norm", "recipe", "recipe_sha256", "epoch", "val_dice", "masks", "size", "grid", "heads",
    "branches", "dual", "image", "attention", "width", "blocks", "fusion", "stem", "light", "full", "multilabel", "version",
    "settings", "history", "param_groups", "lr", "betas", "eps", "weight_decay", "params", "optimizer.0.step",
    "optimizer.0.exp_avg", "optimizer.9.exp_avg", "optimizer.0.x", "model.x", "best.x", "concat", "gated", "step",
)  # fmt: skip


@cache
def small_store() -> AttentionStore:
    """Return a store of four samples."""
    from store.writer import Layout, new_store

    path = folder() / "runs.zarr"
    layout = Layout(size=(32, 32), grid=(4, 4), heads=["L1H0", "L1H1"], keys=17, classes=["skin", "lesion"])
    with new_store(path, layout=layout, recipe=RECIPE.to_dict()) as writer:
        for index in range(4):
            writer.append(random_sample(index, layout))
    return AttentionStore.open(path)


def new_trainer() -> SegmentationTrainer:
    """Return a trainer of a tiny network that has not begun."""
    settings = TrainSettings(
        store=small_store().path, out=folder() / "run", epochs=2, batch_size=3, width=4, branches="dual", device="cpu"
    )
    return SegmentationTrainer(settings, small_store(), SPLITS, torch.device("cpu"))


def run(data: bytes) -> None:
    """Load the file. A model must fit the store; a state must continue the training."""
    kind, content = data[0] % 6 if data else 0, data[1:]
    if kind < 3:
        content = _with_tensors(content, b"".join(sound_files()[kind]))
    kind %= 3
    if kind == PRETRAINING_STATE:
        load_pretraining(write("pretraining.safetensors", content))
        return
    if kind == MODEL:
        write(MODEL_FILE, content)
        _, card = load_model(folder(), torch.device("cpu"))
        Recipe.from_dict(card.recipe)
        require_fit(card, folder(), small_store())
        return
    path = write(STATE_FILE, content)
    state = load_state(path)
    trainer = new_trainer()
    trainer.restore(state, path)
    for group in trainer.optimizer.param_groups:  # a step with gradients shows whether the optimiser can go on
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()


def _header(content: bytes) -> bytes:
    return content[: LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")]


def _with_tensors(header: bytes, sound: bytes) -> bytes:
    try:
        parsed = json.loads(_header(header)[LENGTH_BYTES:])
    except (ValueError, RecursionError):
        return header
    return lay_out(parsed, sound) if isinstance(parsed, dict) else header


@cache
def sound_files() -> list[tuple[bytes, bytes]]:
    """Return header and tensors of the files of a run of one epoch, and of the state of a pretraining."""
    from stages.runtime.progress import SILENT

    trainer = new_trainer()
    with SILENT.task("training", 3, unit="samples") as task:
        trainer.run_epoch(1, task)
    out = folder() / "trained"
    out.mkdir(exist_ok=True)
    trainer.finish(out)
    state = RunState(
        done=3,
        tensors={name: {"weight": torch.ones(2)} for name in ("student", "teacher", "objective")},
        optimizer={"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        history=[{"step": 1, "loss": 1.0}],
        settings={"seed": 1},
    )
    pretraining = folder() / "sound_pretraining.safetensors"
    save_pretraining(pretraining, state)
    files = [(out / MODEL_FILE).read_bytes(), (out / STATE_FILE).read_bytes(), pretraining.read_bytes()]
    return [(header, file[len(header) :]) for file in files for header in [_header(file)]]


def seeds() -> list[bytes]:
    """Return the headers of the three files, and the smallest file as a whole."""
    whole = bytes([3 + PRETRAINING_STATE]) + b"".join(sound_files()[PRETRAINING_STATE])
    return [*(bytes([kind]) + header for kind, (header, _) in enumerate(sound_files())), whole]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change the header, or the JSON in it."""
    if not data or rng.random() < 0.01:
        return bytes([rng.randrange(6)]) + data[1:]
    key = PRETRAINING.key if data[0] % 3 == PRETRAINING_STATE else METADATA_KEY
    changed = change_safetensors(data[1:], rng, key, WORDS)
    return data[:1] + (_header(changed) if data[0] % 6 < 3 else changed)


TARGET = Target(
    name="runs",
    parser="models and states of runs",
    run=run,
    seeds=seeds,
    sound=4,
    mutate=mutate,
    tokens=WORDS,
    longest=1 << 16,
)
