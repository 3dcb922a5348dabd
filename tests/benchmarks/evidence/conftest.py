"""Fixtures of the tests of the evidence."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def encoder_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with random weights of the encoder of photographs, under timm's names."""
    import timm
    import torch
    from safetensors.torch import save_file

    from tests.benchmarks.evidence.unet_weights import ENCODER

    path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        tensors = timm.create_model(ENCODER, pretrained=False).state_dict()
    save_file({name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}, path)
    return path
