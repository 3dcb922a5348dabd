"""Test that the usual set-up is a fair comparison: it trains on the samples of the store, image and mask together."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from store.writer import Layout
from tests.benchmarks import usual_setup
from tests.benchmarks.measure import Skipped
from tests.benchmarks.usual_setup import PngFolder, usual_training, write_both

LAYOUT = Layout(size=(32, 64), grid=(4, 8), heads=["L1H0"], keys=33, classes=["skin", "lesion"])


def test_the_files_hold_what_the_store_holds(tmp_path: Path) -> None:
    store = write_both(tmp_path, 5, LAYOUT)
    for sample in store:
        assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / f"{sample.id}.png")), sample.image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "masks" / f"{sample.id}.png")), sample.mask)
    assert len(PngFolder(tmp_path)) == len(store) == 5


def test_a_loaded_sample_is_normalised_and_its_mask_moved_with_it(tmp_path: Path) -> None:
    """Augmentation moves image and mask together: bright red is still class 1."""
    write_both(tmp_path, 4, LAYOUT)
    torch.manual_seed(0)
    loaded = list(PngFolder(tmp_path))
    assert len(loaded) == 4
    for image, mask in loaded:
        assert (image.shape, image.dtype) == ((3, 32, 64), torch.float32)
        assert (mask.shape, mask.dtype) == ((32, 64), torch.uint8)
        assert set(mask.unique().tolist()) == {0, 1}
        inside, outside = image[0][mask == 1].mean(), image[0][mask == 0].mean()
        assert inside > outside + 0.5


@pytest.mark.skipif(importlib.util.find_spec(usual_setup.LIBRARY) is None, reason="the extra `bench` is not installed")
def test_the_usual_network_learns_from_them(tmp_path: Path) -> None:
    write_both(tmp_path, 4, LAYOUT)
    torch.manual_seed(0)
    train = usual_training(2, torch.device("cpu"), encoder="resnet18")
    losses = [train(DataLoader(PngFolder(tmp_path), batch_size=2)) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual_setup, "LIBRARY", "a_library_that_is_nowhere")
    with pytest.raises(Skipped, match="bench"):
        next(usual_setup.measure())
