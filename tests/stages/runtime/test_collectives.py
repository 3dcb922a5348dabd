"""With one process, sums and means over all processes are the plain ones, bit for bit, and failures are explained."""

from __future__ import annotations

import pytest
import torch

from stages.runtime import collectives
from stages.runtime.collectives import ProcessLostError, lost_processes_explained, mean_over_batch, ratio_over_batch


def test_means_of_one_process_are_the_plain_ones():
    """So runs of earlier versions keep their bytes."""
    values = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mean_over_batch(values), values.mean())
    assert torch.equal(ratio_over_batch(values.sum(), torch.tensor(0)), values.sum())
    assert torch.equal(ratio_over_batch(values.sum(), torch.tensor(9)), values.sum() / 9)


def test_gradients_of_one_process_are_left_alone():
    """Nothing is exchanged, also not for a parameter without a gradient."""
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    parameters[0].grad = torch.tensor([1.0, 2.0])
    collectives.sum_gradients(parameters)
    assert parameters[0].grad.tolist() == [1, 2]
    assert parameters[1].grad is None


def test_a_lost_connection_is_explained_and_other_errors_pass():
    """Gloo raises plain runtime errors; an error of the program must keep its own message."""
    with pytest.raises(ProcessLostError, match="--resume"), lost_processes_explained():
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(ValueError, match="own"), lost_processes_explained():
        raise ValueError("own")
