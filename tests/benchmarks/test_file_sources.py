"""Test that other sources give the trainer what the store gives: otherwise their times could not be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.comparison.one_run import new_trainer
from stages.segmentation.batches import ResidentSamples
from stages.settings import TrainSettings
from stages.settings.fields import Branches
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks import files
from tests.benchmarks.file_sources import LoadedSamples, MappedArrays, PngSamples, bytes_in, write_files
from tests.benchmarks.training_step import epoch

LAYOUT = Layout(size=(16, 32), grid=(2, 4), heads=["L1H0", "L1H1"], keys=9, classes=["skin", "lesion"])
CPU = torch.device("cpu")
ORDER = [np.array([4, 1]), np.array([0, 3, 2])]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # how a DataLoader starts its workers


@pytest.fixture
def store(tmp_path: Path) -> AttentionStore:
    """Return a store of five samples beside the same samples as files."""
    return write_files(tmp_path, 5, LAYOUT)


def _ids(store: AttentionStore) -> tuple[str, ...]:
    return tuple(store.ids.tolist())


@pytest.mark.parametrize("kind", ["png", "png with a worker", "mapped"])
def test_every_source_gives_the_batches_of_the_store(tmp_path: Path, store: AttentionStore, kind: str) -> None:
    """Twice, in two orders: a loader whose workers stay must follow the new order."""
    source: LoadedSamples | MappedArrays = MappedArrays(tmp_path, CPU)
    if kind != "mapped":
        source = LoadedSamples(PngSamples(tmp_path, _ids(store), maps=True), int(kind == "png with a worker"), CPU)
    resident = ResidentSamples(store, np.arange(5), CPU)
    for order in (ORDER, ORDER[::-1]):
        for ours, other in zip(resident.batches(order), source.batches(order), strict=True):
            for name in ("image", "mask", "attention"):
                one, two = getattr(ours, name), getattr(other, name)
                assert (one.dtype, one.stride()) == (two.dtype, two.stride())
                assert torch.equal(one, two)


@pytest.mark.parametrize("branches", ["dual", "image"])
def test_training_from_files_gives_the_weights_of_training_from_the_store(
    tmp_path: Path, store: AttentionStore, branches: Branches
) -> None:
    """Also without maps, for the image branch alone: what takes their place changes nothing."""
    settings = replace(TrainSettings(batch_size=3, epochs=3), branches=branches)
    weights = []
    for source in (
        ResidentSamples(store, np.arange(5), CPU),
        LoadedSamples(PngSamples(tmp_path, _ids(store), maps=branches == "dual"), 0, CPU),
    ):
        trainer = new_trainer(settings, store, ["train"] * 5, CPU)
        before = [parameter.clone() for parameter in trainer.model.parameters()]
        epoch(trainer, source)
        weights.append([parameter.detach() for parameter in trainer.model.parameters()])
        assert not all(map(torch.equal, before, weights[-1]))
    assert all(map(torch.equal, *weights))


def test_what_a_worker_augments_keeps_image_and_mask_together(tmp_path: Path, store: AttentionStore) -> None:
    flipped = PngSamples(tmp_path, _ids(store), maps=False, change=lambda image, mask: (image.flip(-1), mask.flip(-1)))
    plain = PngSamples(tmp_path, _ids(store), maps=False)
    for index in range(5):
        (image, mask, none), (source, drawn, _) = flipped[index], plain[index]
        assert torch.equal(image, source.flip(1))
        assert torch.equal(mask, drawn.flip(1))
        assert none.shape == (1, 1, 1)


def test_bytes_are_those_of_all_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"123")
    (tmp_path / "deep" / "deeper" / "two").write_bytes(b"45")
    assert bytes_in(tmp_path) == 5


def test_the_rows_of_files_name_every_number_of_workers(
    tmp_path: Path, store: AttentionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny measurement runs through, and has the lines that a machine without a GPU lists as not measured."""
    monkeypatch.setattr(files, "BATCH", 3)
    monkeypatch.setattr(files, "ROUNDS", 1)
    monkeypatch.setattr(files, "WORKERS", (0, 1))
    lines = list(files.on(CPU, store, tmp_path))
    expected = [name for name in files.NAMES if "2 workers" not in name]
    assert [line.name for line in lines] == [f"{name}, cpu" for name in expected]
    assert all(line.ratio > 0 for line in lines)
