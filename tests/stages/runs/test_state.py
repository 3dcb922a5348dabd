"""State files: written and read back, in old forms too, and refused if damaged or newer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stages.errors import CheckpointError
from stages.runs.state import RunState, StateFormat, load_state, save_state
from stages.runs.tensor_file import load_tensors, save_tensors

FORM = StateFormat(key="test", counter="epoch")


def _network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def _train(network: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.ones(5, 3) * torch.arange(5)[:, None]).square().mean().backward()
        optimizer.step()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the path of the saved state of a small run after three steps."""
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    _train(network, optimizer, 3)
    state = RunState(
        done=3,
        tensors={"model": network.state_dict(), "other": {"centre": torch.arange(2.0)}},
        optimizer=optimizer.state_dict(),
        history=[{"z": 1.0, "a": None}],
        settings={"lr": 0.1, "table": None},
    )
    save_state(tmp_path / "state.safetensors", state, FORM)
    return tmp_path / "state.safetensors"


def test_a_restored_run_goes_on_exactly(saved: Path):
    """After a restart network and optimiser continue with the same steps, bit for bit."""
    state = load_state(saved, FORM)
    assert (state.done, state.history, state.settings) == (3, [{"z": 1.0, "a": None}], {"lr": 0.1, "table": None})
    assert list(state.history[0]) == ["z", "a"], "the order of columns is kept"
    assert torch.equal(state.tensors["other"]["centre"], torch.arange(2.0))
    restored, whole = _network(), _network()
    optimizer = torch.optim.AdamW(restored.parameters(), lr=0.5)
    restored.load_state_dict(state.tensors["model"])
    optimizer.load_state_dict(dict(state.optimizer))
    _train(restored, optimizer, 2)
    _train(whole, torch.optim.AdamW(whole.parameters(), lr=0.1), 5)
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in restored.state_dict().items())


def _changed(path: Path, change: Any) -> None:
    """Rewrite the JSON of a state file."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[FORM.key])
    save_file(load_file(path), path, {FORM.key: json.dumps(change(metadata))})


def test_a_state_of_the_first_version_is_read(saved: Path):
    """It has no version number. In a state of a pretraining the settings have the key `told`."""
    _changed(saved, lambda old: {key: value for key, value in old.items() if key != "version"})
    assert load_state(saved, FORM).settings == {"lr": 0.1, "table": None}
    _changed(saved, lambda old: {"told" if key == "settings" else key: value for key, value in old.items()})
    assert load_state(saved, FORM).settings == {"lr": 0.1, "table": None}


def test_a_state_of_a_newer_version_is_refused_and_says_so(saved: Path):
    """It may hold something that must not be ignored."""
    _changed(saved, lambda old: {**old, "version": 2})
    with pytest.raises(CheckpointError, match="state of version 2; this program reads version 1"):
        load_state(saved, FORM)


@pytest.mark.parametrize("key", ["epoch", "settings", "history", "param_groups"])
@pytest.mark.parametrize("value", [None, "text", 1.5], ids=["missing", "text", "number"])
def test_a_state_that_lacks_a_part_is_refused(saved: Path, key: str, value):
    """A damaged file is an error with a remedy, not a crash."""
    _changed(saved, lambda old: {**old, key: value})
    with pytest.raises(CheckpointError, match=r"state\.safetensors: its description is damaged; start without"):
        load_state(saved, FORM)


def test_a_state_of_another_training_is_refused(saved: Path):
    """Each training has its own key in the header."""
    with pytest.raises(CheckpointError, match=r"not a checkpoint .*start without --resume"):
        load_state(saved, StateFormat(key="another", counter="epoch"))


def test_tensors_and_json_come_back_from_a_file(tmp_path: Path):
    """Dtypes and shapes are kept, also those of a transposed tensor."""
    tensors = {"a": torch.arange(6).view(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16)}
    save_tensors(tmp_path / "t", tensors, {"z": [1, None], "a": "ä"}, key="k")
    found, metadata = load_tensors(tmp_path / "t", key="k", remedy="do this")
    assert metadata == {"z": [1, None], "a": "ä"}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; do this"), (b"", "damaged.*do this"), (b"\x80\x04.", "damaged.*do this")],
    ids=["missing", "empty", "pickle"],
)
def test_a_file_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path, content, message):
    """Each is a `CheckpointError` that names the file."""
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"t: .*{message}"):
        load_tensors(tmp_path / "t", key="k", remedy="do this")


def test_json_that_is_no_object_is_an_error(tmp_path: Path):
    """A list in the header is a damaged description."""
    save_file({"a": torch.zeros(1)}, tmp_path / "t", {"k": "[]"})
    with pytest.raises(CheckpointError, match="description is damaged; do this"):
        load_tensors(tmp_path / "t", key="k", remedy="do this")


def test_a_file_without_read_permission_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The library that parses the file would report it as missing."""
    save_tensors(tmp_path / "t", {"a": torch.zeros(1)}, {}, key="k")

    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stages.runs.tensor_file.open_regular", refuse)
    with pytest.raises(CheckpointError, match=r"t: cannot be read \(Permission denied\)"):
        load_tensors(tmp_path / "t", key="k", remedy="do this")
