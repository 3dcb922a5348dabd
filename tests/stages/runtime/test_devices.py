"""Names of devices: their torch devices, and errors for devices that do not exist."""

from __future__ import annotations

import pytest
import torch

from stages.errors import UsageError
from stages.runtime.devices import resolve_device


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    """Without a GPU, `auto` is the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    """With a GPU, `auto` is CUDA, and only existing indices are accepted."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_missing_cuda_is_an_error(monkeypatch, name):
    """A run on `cuda` without a GPU is rejected; it does not fall back to the slow CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        resolve_device(name)


def test_missing_mps_is_an_error(monkeypatch):
    """A run on `mps` without an Apple GPU is rejected."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="Apple"):
        resolve_device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "cpu:3", "meta", "xpu", "CUDA"])
def test_unknown_device_is_rejected(name):
    """A device outside the list is rejected, even if torch accepts it."""
    with pytest.raises(UsageError, match="not known"):
        resolve_device(name)
