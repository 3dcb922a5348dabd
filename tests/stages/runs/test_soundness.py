"""Tensors are checked for NaN and infinity, and against the tensors that they replace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stages.runs.soundness import first_not_finite, named_moments, require_same_tensors
from stages.runs.state import RunState, restore_optimizer


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_tensor_that_is_not_finite_is_named(value: float) -> None:
    tensors = {
        "count": torch.tensor(3),
        "a": torch.ones(3),
        "b": torch.tensor([1.0, value]),
        "c": torch.tensor([value]),
    }
    assert first_not_finite(tensors) == "b"


def test_the_largest_finite_numbers_are_finite() -> None:
    """No sum is taken that could overflow."""
    assert first_not_finite({"a": torch.full((1000,), 3e38), "empty": torch.empty(0)}) is None
    assert first_not_finite({}) is None


def test_moments_are_named_by_slot_and_parameter() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    assert named_moments(optimizer) == {}
    parameter.sum().backward()
    optimizer.step()
    assert sorted(named_moments(optimizer)) == ["exp_avg of parameter 0", "exp_avg_sq of parameter 0"]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        pytest.param({}, "`a` is missing", id="missing"),
        pytest.param({"a": torch.zeros(2), "b": torch.zeros(1)}, "`b` is unknown", id="unknown"),
        pytest.param({"a": torch.zeros(3)}, r"shape \(3,\) in place of \(2,\)", id="shape"),
        pytest.param({"a": torch.zeros(2, dtype=torch.int8)}, "type int8 in place of float32", id="type"),
    ],
)
def test_tensors_that_would_be_converted_are_refused(tensors: dict[str, Tensor], words: str) -> None:
    """Torch copies int8 into float32 without a word, and drops the imaginary part of complex numbers."""
    with pytest.raises(ValueError, match=words):
        require_same_tensors(tensors, {"a": torch.zeros(2)})


@pytest.mark.parametrize("step", [torch.empty(0), torch.ones(2)])
def test_the_step_of_a_moment_is_one_number(step: Tensor) -> None:
    """Torch takes any tensor, and fails at the next step of the training."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    state = RunState(done=1, tensors={}, optimizer=saved, history=[{}], settings={})
    restore_optimizer(optimizer, state)
    saved["state"][0]["step"] = step
    with pytest.raises(ValueError, match="the step of parameter 0 is no number"):
        restore_optimizer(optimizer, state)
