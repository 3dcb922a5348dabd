"""Test out-of-memory errors: smaller batches where the result stays the same, otherwise one message with the remedy."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline import failures
from stages import evaluate, predict, pretrain, train
from stages.errors import PipelineError
from stages.pretraining.trainer import DistillationTrainer
from stages.runtime.out_of_memory import AdaptiveBatch, is_out_of_memory
from stages.segmentation.checkpoint import load_state
from stages.segmentation.network import Segmenter
from stages.settings import EvaluateSettings, PredictSettings
from tests.conftest import train_settings
from tests.stages.test_pretrain import _settings as pretrain_settings

CPU = torch.device("cpu")
CUDA_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
SHORTAGES = [
    pytest.param(CUDA_FULL, id="cuda"),
    pytest.param(RuntimeError("CUDA error: out of memory"), id="cuda_driver"),
    pytest.param(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), id="cublas"),
    pytest.param(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."), id="cpu"),
    pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"), id="cpu_linux"),
    pytest.param(MemoryError(), id="numpy"),
]


@pytest.fixture
def memory_for(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the segmenter run out of memory above a number of samples."""
    forward = Segmenter.forward

    def limit(samples: int, error: Exception = CUDA_FULL) -> None:
        def limited(self: Segmenter, image: Tensor, attention: Tensor, silenced: Tensor | None = None) -> Tensor:
            if len(image) > samples:
                raise error
            return forward(self, image, attention, silenced)

        monkeypatch.setattr(Segmenter, "forward", limited)

    return limit


@pytest.mark.parametrize("error", SHORTAGES)
def test_every_wording_of_out_of_memory_is_recognised(error):
    """Out-of-memory errors of torch, its libraries and NumPy are recognised, on GPU and CPU. Other errors are not."""
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_batch_is_halved_for_good_and_no_item_is_lost(caplog):
    """Ten items where three fit: a batch of eight fails, then one of four, and batches of two run to the end."""
    tried: list[tuple[int, int]] = []

    def work(batch: slice) -> list[int]:
        tried.append((batch.start, batch.stop))
        if batch.stop - batch.start > 3:
            raise CUDA_FULL
        return list(range(batch.start, batch.stop))

    batches = AdaptiveBatch(8, device=CPU, too_large="too large")
    with caplog.at_level(logging.WARNING):
        assert [item for _, items in batches.run(10, work) for item in items] == list(range(10))
    assert tried == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert [record.message.rsplit(maxsplit=1)[-1] for record in caplog.records] == ["4.", "2."]


def _metrics(store: Path, run: Path, out: Path, *, batch_size: int) -> dict[str, Any]:
    """Evaluate a run on all samples and return its metrics."""
    evaluate.run(
        EvaluateSettings(
            store=store,
            run=run,
            out=out,
            split="all",
            include_training=True,
            overlays=1,
            device="cpu",
            batch_size=batch_size,
        )
    )
    metrics: dict[str, Any] = json.loads((out / "scores.json").read_text())
    return metrics


@pytest.fixture(scope="module")
def whole(phantom_store: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the metrics of an evaluation with enough memory."""
    return _metrics(phantom_store, trained, tmp_path_factory.mktemp("reports") / "whole", batch_size=16)


@pytest.mark.parametrize("error", SHORTAGES)
def test_evaluation_continues_with_smaller_batches(error, phantom_store, trained, whole, tmp_path, memory_for, caplog):
    """The scores stay the same, and one warning is logged for the whole evaluation."""
    memory_for(2, error)
    with caplog.at_level(logging.WARNING):
        halved = _metrics(phantom_store, trained, tmp_path / "halved", batch_size=4)
    assert [record.message for record in caplog.records] == ["Out of memory on cpu: going on with batches of 2."]
    assert halved["n"] == whole["n"] == 16
    assert halved["dice"]["mean"] == pytest.approx(whole["dice"]["mean"], abs=1e-6)


def test_a_prediction_without_memory_is_one_message(phantoms, trained, memo, tmp_path, memory_for, capsys):
    """Prediction runs on one sample at a time, so there is no batch to halve: one message, exit 1."""
    memory_for(0)
    image = phantoms / "images" / "phantom_0000.png"
    with pytest.raises(PipelineError) as caught:
        predict.run(PredictSettings(images=image, run=trained, out=tmp_path / "out", memo=memo, device="cpu"))
    assert failures.report_error(caught.value) == 1
    assert capsys.readouterr().err.startswith("error: not enough memory on cpu for one sample of 32x40")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("error", SHORTAGES[::3])
def test_training_says_what_to_change_and_goes_on_when_there_is_memory(
    error, phantom_store, two_epochs, tmp_path, memory_for, monkeypatch
):
    """A smaller batch changes the training, so the user decides. The saved state is kept for --resume."""
    monkeypatch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
    settings = train_settings(phantom_store, tmp_path / "run", epochs=2, device="cpu")
    run_epoch = train.SegmentationTrainer.run_epoch
    with monkeypatch.context() as patch:

        def failing(self, epoch, task):
            if epoch == 2:
                memory_for(1, error)
            return run_epoch(self, epoch, task)

        patch.setattr(train.SegmentationTrainer, "run_epoch", failing)
        with pytest.raises(PipelineError, match=r"run: not enough memory on cpu to train with batches of 4") as caught:
            train.run(settings)
    assert "smaller --batch-size" in str(caught.value)
    assert "--resume" in str(caught.value)
    assert load_state(tmp_path / ".run.training" / "state.safetensors").done == 1
    memory_for(99)
    train.run(train_settings(phantom_store, tmp_path / "run", epochs=2, resume=True))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (two_epochs / "model.safetensors").read_bytes()


def test_pretraining_says_what_to_change(phantoms, tmp_path, monkeypatch):
    """If the first step runs out of memory, the message names --batch-size and no output is written."""

    def failing(_self: DistillationTrainer, _task: object) -> None:
        raise CUDA_FULL

    monkeypatch.setattr(DistillationTrainer, "run_to_next_row", failing)
    with pytest.raises(PipelineError, match=r"not enough memory on cpu to train with batches of 4(.|\n)*--batch-size"):
        pretrain.run(pretrain_settings(phantoms, tmp_path / "a.safetensors"))
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("error", SHORTAGES)
def test_out_of_memory_outside_the_stages_is_one_message(error, capsys):
    """This happens, for example, if other programs fill the GPU and the network itself does not fit."""
    assert failures.report_error(error) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: not enough memory (")
    assert "--batch-size" in message


def test_another_failure_is_still_a_bug():
    """Any other error keeps its traceback."""
    assert failures.report_error(RuntimeError("shape mismatch")) is None
