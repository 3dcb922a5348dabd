"""Precision: what `auto` becomes on a machine, and that a resumed run keeps it on every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import pretrain, train
from stages.errors import CheckpointError
from stages.pretraining.trainer import DistillationTrainer
from stages.runs import precision
from stages.runs.precision import autocast, has_amx, resolve, resumed, sentences
from stages.segmentation.checkpoint import load_state
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import PretrainSettings
from tests.conftest import train_settings
from tests.stages.compared_runs import history, same_weights

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a function that makes this machine one with AMX tiles, or one without."""
    return lambda *, amx: monkeypatch.setattr(precision, "has_amx", lambda: amx)


@pytest.mark.parametrize(
    ("setting", "device", "amx", "expected"),
    [
        ("auto", CPU, False, "float32"),
        ("auto", CPU, True, "bfloat16"),
        ("auto", CUDA, False, "bfloat16"),
        ("auto", MPS, True, "float32"),
        ("bfloat16", CPU, False, "bfloat16"),
        ("float32", CPU, True, "float32"),
        ("float32", CUDA, False, "float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
def test_bfloat16_is_used_where_it_is_faster_or_asked_for(machine, monkeypatch, setting, device, amx, expected):
    """`auto` depends on the machine; the others do not. Autocast follows."""
    machine(amx=amx)
    assert resolve(setting, device) == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    context = autocast(setting, device)
    assert context._enabled is (expected == "bfloat16")
    assert context.fast_dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_tile": True, "amx_bf16": True, "avx512_bf16": True}, True),
        ({"amx_tile": False, "amx_bf16": False, "avx512_bf16": True, "avx512_f": True}, False),
        ({"amx_tile": True, "amx_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_amx_is_what_torch_says_of_the_processor(monkeypatch: pytest.MonkeyPatch, capabilities, expected):
    """AVX512-BF16 alone does not count."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_amx() is expected


def test_amx_is_asked_of_earlier_versions_of_torch_too(monkeypatch: pytest.MonkeyPatch):
    """Before `get_capabilities` torch had a query for tiles alone. A torch without any query counts as without AMX."""
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for answer in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda answer=answer: answer, raising=False)
        assert has_amx() is answer
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert has_amx() is False


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize(
    ("state", "setting", "device", "expected"),
    [
        pytest.param({"arithmetic": "bfloat16"}, "auto", CPU, "bfloat16", id="started_in_bfloat16"),
        pytest.param({"arithmetic": "float32"}, "auto", CPU, "float32", id="started_in_float32"),
        pytest.param({"arithmetic": "float32"}, "auto", CUDA, "float32", id="continued_on_a_gpu"),
        pytest.param({}, "auto", CPU, "float32", id="earlier_version"),
        pytest.param({}, "auto", CUDA, "bfloat16", id="earlier_version_on_a_gpu"),
        pytest.param({}, "bfloat16", CPU, "bfloat16", id="asked_for"),
    ],
)
def test_a_resumed_run_keeps_its_arithmetic(machine, amx, state, setting, device, expected):
    """It does not matter what the machine would choose for a new run."""
    machine(amx=amx)
    assert resumed(state, setting, device) == expected


def test_users_are_informed_of_what_is_not_the_plain_case():
    """Nothing is said of float32 that `auto` chose here, nor of a precision that the user gave."""
    assert sentences("auto", CPU, "float32", here="float32") == []
    assert sentences("bfloat16", CPU, "bfloat16", here="bfloat16") == []
    assert "as the run was started" in sentences("auto", CPU, "bfloat16", here="float32")[0]
    assert "computed in float32, as the run was started" in sentences("auto", CPU, "float32", here="bfloat16")[0]
    assert "a processor with AMX" in sentences("auto", CPU, "bfloat16", here="bfloat16")[0]
    assert "cuda devices" in sentences("auto", CUDA, "bfloat16", here="bfloat16")[0]


def interrupt(patch: pytest.MonkeyPatch, kind: type, method: str, at: int) -> None:
    """Interrupt a training when it enters a method for the time `at`."""
    original, calls = getattr(kind, method), iter(range(1, 1000))

    def stopping(self: Any, *args: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return original(self, *args)

    patch.setattr(kind, method, stopping)


@pytest.mark.parametrize("starts_with_amx", [True, False])
def test_a_training_goes_on_on_another_machine_as_it_was_started(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine, starts_with_amx
):
    """Resumed where `auto` would become something else, it ends with the weights of an uninterrupted run."""
    monkeypatch.setattr("stages.segmentation.trainer.SAVE_SECONDS", 0.0)
    machine(amx=starts_with_amx)
    whole = train.run(train_settings(phantom_store, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt(patch, SegmentationTrainer, "run_epoch", at=3)
        with pytest.raises(KeyboardInterrupt):
            train.run(train_settings(phantom_store, tmp_path / "moved"))
    machine(amx=not starts_with_amx)
    moved = train.run(train_settings(phantom_store, tmp_path / "moved", resume=True))
    assert same_weights(tmp_path / "whole", tmp_path / "moved")
    assert history(tmp_path / "whole") == history(tmp_path / "moved")
    arithmetic = "bfloat16" if starts_with_amx else "float32"
    for name in ("whole", "moved"):
        state = load_state(tmp_path / name / "state.safetensors")
        assert (state.settings["precision"], state.settings["arithmetic"]) == ("auto", arithmetic)
    assert ("a processor with AMX" in str(whole)) is starts_with_amx
    assert f"computed in {arithmetic}, as the run was started" in str(moved)
    other = train.run(train_settings(phantom_store, tmp_path / "other"))
    assert not same_weights(tmp_path / "whole", tmp_path / "other")
    assert ("a processor with AMX" in str(other)) is not starts_with_amx


def test_another_precision_is_refused_when_a_run_is_resumed(phantom_store: Path, tmp_path: Path, machine):
    """What `auto` became does not make it the same as a precision that is asked for."""
    machine(amx=False)
    train.run(train_settings(phantom_store, tmp_path / "run", epochs=1))
    before = (tmp_path / "run" / "state.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="precision: was 'auto', now 'bfloat16'"):
        train.run(train_settings(phantom_store, tmp_path / "run", epochs=1, resume=True, precision="bfloat16"))
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before


@pytest.mark.parametrize("starts_with_amx", [True, False])
def test_a_pretraining_goes_on_on_another_machine_as_it_was_started(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine, starts_with_amx
):
    """As for a training. The card of the weights has the arithmetic too."""

    def settings(name: str, *, resume: bool = False) -> PretrainSettings:
        return PretrainSettings(
            images=phantoms / "images", out=tmp_path / f"{name}.safetensors", image_size=32, global_crop=16,
            local_crop=8, steps=2, batch_size=4, prototypes=16, head_width=16, watch_every=1, device="cpu",
            resume=resume,
        )  # fmt: skip

    machine(amx=starts_with_amx)
    whole = pretrain.run(settings("whole"))
    with monkeypatch.context() as patch:
        interrupt(patch, DistillationTrainer, "run_to_next_row", at=2)
        with pytest.raises(KeyboardInterrupt):
            pretrain.run(settings("moved"))
    machine(amx=not starts_with_amx)
    moved = pretrain.run(settings("moved", resume=True))
    other = pretrain.run(settings("other"))
    weights = {name: (tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "moved", "other")}
    assert weights["whole"] == weights["moved"]
    assert weights["whole"] != weights["other"]
    arithmetic = "bfloat16" if starts_with_amx else "float32"
    assert whole.card.settings["arithmetic"] == moved.card.settings["arithmetic"] == arithmetic
    assert other.card.settings["arithmetic"] != arithmetic
    assert f"computed in {arithmetic}, as the run was started" in str(moved)
