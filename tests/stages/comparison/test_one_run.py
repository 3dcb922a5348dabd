"""One run: another network can be trained by the same loop, and validation samples only watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.comparison import one_run
from stages.comparison.one_run import new_trainer, train_and_score
from stages.comparison.results import RunResult
from stages.runtime.progress import Task
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import TrainSettings
from store import AttentionStore

CPU = torch.device("cpu")
SETTINGS = TrainSettings(width=4, batch_size=2, steps=30, precision="float32")
SPLITS = ["train"] * 4 + ["val"] * 4 + ["test"] * 4


@pytest.fixture
def store(make_store: Callable[..., Path]) -> AttentionStore:
    return AttentionStore.open(make_store(12))


def trained(store: AttentionStore, folder: Path, settings: TrainSettings = SETTINGS, **changes: Any) -> RunResult:
    named = {"arm": "a", "score": "test", "checkpoint": "last", "device": CPU, "task": Task()} | changes
    return train_and_score(settings, store, SPLITS, folder, **named)


def test_another_network_is_trained_by_the_same_loop_and_not_written(store: AttentionStore, tmp_path: Path):
    """All weights of the other network change, and its size is reported."""
    built: list[Segmenter] = []
    before: list[torch.Tensor] = []

    def wider(config: NetworkConfig) -> Segmenter:
        built.append(Segmenter(replace(config, width=6)))
        before.extend(tensor.detach().clone() for tensor in built[0].parameters())
        return built[0]

    result = trained(store, tmp_path / "run", network=wider)
    assert result.parameters == sum(tensor.numel() for tensor in built[0].parameters())
    assert not any(torch.equal(*pair) for pair in zip(before, built[0].parameters(), strict=True))
    assert not (tmp_path / "run").exists()


def test_the_other_network_starts_from_the_seed(store: AttentionStore):
    one, other = (
        new_trainer(replace(SETTINGS, seed=seed), store, SPLITS, CPU, Segmenter).model.state_dict() for seed in (3, 3)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_watching_the_validation_samples_changes_no_weight(
    store: AttentionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    watched = trained(store, tmp_path / "watched")
    monkeypatch.setattr(one_run, "WATCHES", 0)
    alone = trained(store, tmp_path / "alone")
    assert (watched.val_dice is not None, alone.val_dice) == (True, None)
    assert watched.dice == alone.dice


def test_the_validation_samples_are_scored_so_many_times_and_no_more_than_a_limit(
    store: AttentionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    original = one_run.Validation.mean_dice
    monkeypatch.setattr(
        one_run.Validation,
        "mean_dice",
        lambda self, model, samples, positions: (
            seen.append(len(positions)) or original(self, model, samples, positions)
        ),
    )
    monkeypatch.setattr(one_run, "WATCHES", 5)
    monkeypatch.setattr(one_run, "WATCHED", 3)
    trained(store, tmp_path / "run")
    assert seen == [3] * 5


def test_the_model_in_the_folder_of_an_earlier_attempt_is_replaced(store: AttentionStore, tmp_path: Path):
    folder = tmp_path / "run"
    trained(store, folder, replace(SETTINGS, steps=1))
    first = (folder / "model.safetensors").read_bytes()
    trained(store, folder)
    assert (folder / "model.safetensors").read_bytes() != first
    assert sorted(file.name for file in folder.iterdir()) == ["history.csv", "model.safetensors", "splits.csv"]
