"""Names of devices: what they resolve to, and what is told when there is no such device."""

from __future__ import annotations

import pytest
import torch

from stages.errors import UsageError
from stages.runtime.devices import resolve_device


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    """Without a GPU nothing has to be configured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    """With a GPU nothing has to be configured either."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_missing_cuda_is_an_error(monkeypatch, name):
    """A run meant for a GPU does not crawl along on the CPU unnoticed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        resolve_device(name)


def test_missing_mps_is_an_error(monkeypatch):
    """Likewise for Apple's GPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="Apple"):
        resolve_device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cpu:3", "meta", "xpu", "CUDA"])
def test_unknown_device_is_refused(name):
    """Whatever torch might make of it, a device outside the list is a mistake."""
    with pytest.raises(UsageError, match="not known"):
        resolve_device(name)
