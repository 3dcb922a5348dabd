"""The trainer's numbers: learning rate step by step, and the epoch that is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.runtime.progress import SILENT
from stages.segmentation.checkpoint import load_model, load_state
from stages.segmentation.trainer import SegmentationTrainer
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings

CPU = torch.device("cpu")
EPOCHS = 5


@pytest.fixture
def trainer(make_store: Callable[..., Path], tmp_path: Path) -> Callable[..., SegmentationTrainer]:
    """Return a function that makes a trainer for a store with one sample per given split."""

    def make(splits: Sequence[str], **changes: Any) -> SegmentationTrainer:
        path = make_store(len(splits))
        settings = train_settings(path, tmp_path / "run", **{"epochs": EPOCHS, "batch_size": 2, **changes})
        return SegmentationTrainer(settings, AttentionStore.open(path), list(splits), CPU)

    return make


def _learning_rates(trainer: SegmentationTrainer) -> list[float]:
    """Return the learning rate at every step of a whole training."""
    rates: list[float] = []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    with SILENT.task("training", 1) as task:
        for epoch in range(1, trainer.budget.epochs + 1):
            trainer.run_epoch(epoch, task)
    return rates


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3, 0.9])
def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine(trainer, warmup: float):
    """Every step uses the schedule's value at the middle of the step. The test has its own formula."""
    made = trainer(["train"] * 7 + ["val"], warmup=warmup, lr=0.02, batch_size=3)
    rates = _learning_rates(made)
    total = EPOCHS * 3  # seven samples, at most three at a time
    rising = round(warmup * total)
    middles = [step + 0.5 for step in range(total)]
    expected = [
        0.02 * at / rising if at < rising else 0.01 * (1 + math.cos(math.pi * (at - rising) / (total - rising)))
        for at in middles
    ]
    assert rates == pytest.approx(expected)
    assert 0 < min(rates) < max(rates) <= 0.02
    assert made.history[-1]["lr"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "val", "kept"),
    [
        pytest.param([0.1, 0.7, 0.3, 0.7, 0.2], 10, 2, id="earliest_of_the_best"),
        pytest.param([0.0, 0.0, 0.0, 0.0, 0.0], 10, 1, id="nothing_was_ever_found"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.5], 10, 5, id="last"),
        pytest.param([0.1, 0.7, 0.3, 0.7, 0.2], 9, 5, id="too_few_to_choose"),
        pytest.param([None] * 5, 0, 5, id="without_validation"),
    ],
)
def test_the_model_is_that_of_its_epoch(trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores, val, kept):
    """The card has the epoch and its score, with the weights of the end of that epoch; also when resumed.

    Ten validation samples choose the epoch; with fewer it is the last one.
    """
    given = iter([*scores, *scores[3:]])
    monkeypatch.setattr(SegmentationTrainer, "_validate", lambda _: next(given))
    splits = ["train"] * 4 + ["val"] * val
    made = trainer(splits)
    weights = []
    with SILENT.task("training", 1) as task:
        for epoch in range(1, EPOCHS + 1):
            made.run_epoch(epoch, task)
            made.finish(tmp_path)
            weights.append({name: tensor.clone() for name, tensor in made.model.state_dict().items()})
            if epoch == 3:
                state = load_state(tmp_path / "state.safetensors")
        _assert_kept(tmp_path, weights[kept - 1], kept, scores)
        if kept <= 3 or val == 9:
            again = SegmentationTrainer(made.settings, made.store, splits, CPU)
            again.restore(state, tmp_path)
            for epoch in range(4, EPOCHS + 1):
                again.run_epoch(epoch, task)
                again.finish(tmp_path)
            _assert_kept(tmp_path, weights[kept - 1], kept, scores)


def _assert_kept(run: Path, weights: dict[str, torch.Tensor], epoch: int, scores: list[float | None]) -> None:
    model, card = load_model(run, CPU)
    assert (card.epoch, card.val_dice) == (epoch, scores[epoch - 1])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "changes", [{}, {"augment": "none"}, {"attention_norm": "minmax"}, {"unlabelled": True}], ids=str
)
def test_a_network_of_the_image_alone_is_trained_without_its_maps(
    tmp_path: Path, layout: Layout, changes: dict[str, Any]
):
    """Its weights and scores are the same with the files of the maps and without them."""
    path = tmp_path / "s.zarr"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for number in range(12):
            writer.append(replace(random_sample(number, layout), labelled=number < 8 or not changes.get("unlabelled")))
    trained = []
    for present in (True, False):
        if not present:
            for shard in (path / "attention").glob("c.*"):
                shard.unlink()
        settings = train_settings(path, tmp_path / "run", branches="image", epochs=2, batch_size=3, **changes)
        splits = ["train"] * 6 + ["val"] * 2 + (["unlabelled"] if changes.get("unlabelled") else ["train"]) * 4
        made = SegmentationTrainer(settings, AttentionStore.open(path), splits, CPU)
        with SILENT.task("training", 1) as task:
            for epoch in range(1, made.budget.epochs + 1):
                made.run_epoch(epoch, task)
        trained.append((made.model.state_dict(), made.history))
    (with_maps, history), (without, other_history) = trained
    assert history == other_history
    assert all(torch.equal(value, without[name]) for name, value in with_maps.items())
