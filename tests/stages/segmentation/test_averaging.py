"""The moving average of the weights: what it is after some steps, and who uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.runtime.progress import Task
from stages.segmentation.averaging import TEACHER_DECAY, decay_at
from stages.segmentation.checkpoint import load_model
from tests.stages.unlabelled_stores import mixed_store, same, trained, trainer_of, weights_of

CPU = torch.device("cpu")
SPLITS = ["train"] * 4 + ["val"] * 2


@pytest.mark.parametrize(("decay", "steps"), [(0.3, 6), (0.9, 6)])
def test_the_average_is_the_one_computed_by_hand(tmp_path: Path, decay: float, steps: int):
    """Weights and running statistics are averaged step by step, in float64 here; counts of batches are copied."""
    trainer = trainer_of(mixed_store(tmp_path / "s.zarr", masks=6, others=0), SPLITS, unlabelled=False, ema=decay)
    expected = {name: tensor.double().clone() for name, tensor in trainer.model.state_dict().items()}
    seen = 0

    def follow(*_: object) -> None:
        nonlocal seen
        share = min(decay, (1 + seen) / (10 + seen))
        for name, tensor in trainer.model.state_dict().items():
            expected[name] = share * expected[name] + (1 - share) * tensor.double()
        seen += 1

    trainer.optimizer.register_step_post_hook(follow)
    for epoch in range(1, 4):
        trainer.run_epoch(epoch, Task())
    assert seen == steps
    for name, tensor in trainer.evaluated.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, trainer.model.state_dict()[name])


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (8, 0.5), (89, 0.9091), (10_000, 0.99)])
def test_the_first_steps_forget_faster(step: int, decay: float):
    assert decay_at(step, 0.99) == pytest.approx(decay, abs=1e-4)


def test_an_average_changes_no_weight_that_is_trained(tmp_path: Path):
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=0)
    plain = trained(store, SPLITS, unlabelled=False).model.state_dict()
    averaged = trained(store, SPLITS, unlabelled=False, ema=0.9).model.state_dict()
    assert same(plain, averaged)


def test_the_average_is_validated_and_saved(tmp_path: Path):
    """The saved model predicts as the average does, and not as the weights of the last step do."""
    trainer = trained(mixed_store(tmp_path / "s.zarr", masks=6, others=0), SPLITS, unlabelled=False, ema=0.9)
    trainer.finish(tmp_path)
    model, card = load_model(tmp_path, CPU)
    assert same(model.state_dict(), trainer.evaluated.state_dict())
    assert not same(model.state_dict(), trainer.model.state_dict())
    validated = trainer._validation.mean_dice(model, trainer._open("val"), trainer.indices["val"])
    assert card.val_dice == validated


def test_without_an_average_the_weights_themselves_are_saved(tmp_path: Path):
    trainer = trained(mixed_store(tmp_path / "s.zarr", masks=6, others=0), SPLITS, unlabelled=False)
    assert trainer.evaluated is trainer.model


@pytest.mark.parametrize(("ema", "decay"), [(0.0, TEACHER_DECAY), (0.5, 0.5)])
def test_a_teacher_without_a_decay_has_the_usual_one(tmp_path: Path, ema: float, decay: float):
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=2)
    splits = [*SPLITS, "unlabelled", "unlabelled"]
    assert same(weights_of(trained(store, splits, ema=ema)), weights_of(trained(store, splits, ema=decay)))
