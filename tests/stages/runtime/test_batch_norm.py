"""Joint batch normalisation in one process is torch's own. `test_processes_gradients.py` has several processes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stages.runtime.batch_norm import JointBatchNorm, normalise_jointly


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_results_gradients_and_running_statistics_are_those_of_torch(layout: torch.memory_format):
    """In training and afterwards in evaluation; values far from zero would show a variance that cancels."""
    torch.manual_seed(0)
    usual = nn.Sequential(nn.BatchNorm2d(5), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(4)))
    nn.init.normal_(usual[0].weight)
    joint = copy.deepcopy(usual)
    normalise_jointly(joint)
    assert sum(isinstance(one, JointBatchNorm) for one in joint.modules()) == 2
    assert list(joint.state_dict()) == list(usual.state_dict())
    images = (torch.randn(4, 5, 9, 8) + 100).contiguous(memory_format=layout)
    results = []
    for network in (usual, joint):
        entering = images.clone().requires_grad_()
        leaving = network(entering)
        (leaving * torch.linspace(-1, 1, leaving.numel()).view_as(leaving)).sum().backward()
        gradients = [entering.grad, *(one.grad for one in network.parameters())]
        results.append([leaving.detach(), *gradients, *network.state_dict().values(), network.eval()(images).detach()])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(1.0, float(expected.abs().max())))


def test_a_layer_without_running_statistics_uses_those_of_the_batch():
    """As in the projection head of pretraining, also in evaluation mode."""
    torch.manual_seed(0)
    usual = nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False))
    joint = copy.deepcopy(usual)
    normalise_jointly(joint)
    values = torch.randn(5, 6) * 3 + 2
    for training in (True, False):
        torch.testing.assert_close(joint.train(training)(values), usual.train(training)(values))
