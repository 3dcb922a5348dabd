"""The loader for other training code: the batches of `train`, whatever the number of workers, and clear errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, dataloader

from stages.runtime.progress import SILENT
from stages.segmentation import data_loader as data_loader_module
from stages.segmentation import trainer as trainer_module
from stages.segmentation import views as views_module
from stages.segmentation.chosen_samples import Splits
from stages.segmentation.data_loader import Augmentation, data_loader
from stages.segmentation.splits import split_by_rule
from stages.segmentation.torch_dataset import SegmentationDataset
from stages.segmentation.trainer import SegmentationTrainer
from stages.segmentation.views import View, augmented_view
from store import AttentionStore, PipelineError, StoreCorruptError, UsageError
from tests.conftest import train_settings

MakeStore = Callable[..., Path]
CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of 3.12
TENSORS = ("image", "attention", "mask", "index")


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two batches are the same, bit for bit."""
    return one["id"] == other["id"] and all(torch.equal(one[name], other[name]) for name in TENSORS)


def damage(path: Path) -> None:
    """Change a byte in the image of the store's first sample."""
    shard = path / "image" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[9] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize("changes", [{}, {"augment": "none", "border": "mirror"}, {"map_dropout": 0, "map_noise": 0}])
def test_the_batches_are_those_of_train(phantom_store: Path, tmp_path: Path, monkeypatch, changes: dict[str, Any]):
    """For one seed, epoch and split: the same samples in the same order, with the same augmentation, bit for bit."""
    settings = train_settings(phantom_store, tmp_path / "run", seed=4, split_seed=1, epochs=2, **changes)
    store = AttentionStore.open(phantom_store)
    splits = split_by_rule(store, rule="auto", seed=1, val=settings.val, test=settings.test)
    trainer = SegmentationTrainer(settings, store, splits, CPU)
    views: list[View] = []

    def noted(*given: Any, **more: Any) -> View:
        views.append(augmented_view(*given, **more))
        return views[-1]

    for module in (trainer_module, views_module):  # whichever makes the batches of an epoch
        monkeypatch.setattr(module, "augmented_view", noted, raising=False)
    with SILENT.task("training", 0) as task:
        for epoch in (1, 2):
            trainer._train(epoch, task)
    loader = data_loader(
        store,
        splits=Splits(seed=1, val=settings.val, test=settings.test),
        batch_size=settings.batch_size,
        seed=4,
        augment=Augmentation(
            strength=settings.augment,
            border=settings.border,
            map_dropout=settings.map_dropout,
            map_noise=settings.map_noise,
        ),
        attention_size=trainer.model.config.attention_size,
        image_scale="imagenet",
    )
    batches = [*loader, *loader]
    assert len(batches) == len(views) > 2
    for batch, view in zip(batches, views, strict=True):
        assert torch.equal(batch["image"], view.image)
        assert torch.equal(batch["attention"], view.attention)
        assert torch.equal(batch["mask"], view.mask.long())


def test_the_default_augmentation_is_that_of_train(tmp_path: Path):
    settings = train_settings(tmp_path, tmp_path)
    assert Augmentation() == Augmentation(
        strength=settings.augment,
        border=settings.border,
        map_dropout=settings.map_dropout,
        map_noise=settings.map_noise,
    )


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_change_no_batch(make_store: MakeStore, way: str):
    """Two workers, started in either way, read one store; two epochs are the same as without workers."""
    path = make_store(11)
    alone = data_loader(path, indices=range(11), shuffle=True, augment=True, batch_size=3, seed=2)
    workers = data_loader(
        path,
        indices=range(11),
        shuffle=True,
        augment=True,
        batch_size=3,
        seed=2,
        workers=2,
        multiprocessing_context=way,
    )
    for _ in range(2):
        one, other = list(alone), list(workers)
        assert len(one) == len(other) == 4
        assert all(map(equal, one, other))


def test_every_pass_is_another_epoch_and_an_epoch_can_be_repeated(make_store: MakeStore):
    loader = data_loader(make_store(9), indices=range(9), shuffle=True, augment=True, batch_size=4, seed=1)
    first, second = list(loader), list(loader)
    assert loader.epoch == 3
    assert [batch["index"].tolist() for batch in first] != [batch["index"].tolist() for batch in second]
    assert sorted(index for batch in first for index in batch["index"].tolist()) == list(range(9))
    loader.set_epoch(2)
    assert all(map(equal, second, loader))
    loader.set_epoch(1)
    next(iter(loader))  # a pass that is given up counts as one
    assert all(map(equal, second, loader))


def test_the_generators_of_other_code_are_not_touched(make_store: MakeStore):
    loader = data_loader(make_store(6), indices=range(6), shuffle=True, augment=True)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global generator is what must not be touched
    expected = torch.rand(3).tolist(), np.random.random(3).tolist()  # noqa: NPY002 - likewise
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - likewise
    list(loader)
    assert (torch.rand(3).tolist(), np.random.random(3).tolist()) == expected  # noqa: NPY002 - likewise


def test_without_augmentation_batches_are_those_of_the_data_set(make_store: MakeStore):
    path = make_store(12)
    loader = data_loader(path, split="val", splits=Splits(val=0.3, test=0.3), attention_size=(10, 14), batch_size=2)
    samples = SegmentationDataset(path, split="val", splits=Splits(val=0.3, test=0.3), attention_size=(10, 14))
    assert isinstance(loader, DataLoader)
    assert len(loader) == -(-len(samples) // 2)
    assert len(loader.dataset) == len(samples)
    for one, other in zip(loader, DataLoader(samples, batch_size=2), strict=True):
        assert equal(one, other)


def test_training_is_shuffled_and_augmented_and_scoring_is_not(make_store: MakeStore):
    path = make_store(20)
    splits = Splits(val=0.3, test=0.3)
    one, other = (data_loader(path, split="train", splits=splits, seed=seed) for seed in (0, 1))
    assert not equal(next(iter(one)), next(iter(other)))
    for split in ("val", "test"):
        one, other = (data_loader(path, split=split, splits=splits, seed=seed) for seed in (0, 1))
        assert all(map(equal, one, other))
    given = data_loader(path, indices=[7, 2, 5])
    assert next(iter(given))["index"].tolist() == [7, 2, 5]


@pytest.mark.parametrize(("workers", "way"), [(0, None), (2, "fork"), (1, "spawn")])
def test_damage_is_an_error_of_the_store_that_names_the_sample(make_store: MakeStore, workers: int, way: str | None):
    """The error arrives from a worker as it was raised there, without the worker's traceback in its message."""
    path = make_store(6)
    loader = data_loader(path, indices=range(6), batch_size=2, workers=workers, multiprocessing_context=way)
    damage(path)
    with pytest.raises(
        StoreCorruptError, match=r"sample 0 does not match its checksum\.\n  `pipeline verify`"
    ) as raised:
        list(loader)
    assert "Traceback" not in str(raised.value)


def test_damage_reaches_users_of_torchs_own_loader_as_an_error_of_the_store(make_store: MakeStore):
    path = make_store(4)
    samples = SegmentationDataset(path)
    damage(path)
    with pytest.raises(StoreCorruptError, match="sample 0 does not match its checksum"):
        list(DataLoader(samples, batch_size=2, num_workers=1, multiprocessing_context="fork"))


def test_a_store_that_is_gone_when_a_worker_starts_is_an_error_of_the_store(make_store: MakeStore):
    path = make_store(4)
    loader = data_loader(path, indices=range(4), workers=1, multiprocessing_context="spawn")
    path.rename(path.with_name("moved.zarr"))
    with pytest.raises(FileNotFoundError, match="there is no store here"):
        list(loader)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": -1}, "workers -1"),
        ({"seed": -1}, "seed -1"),
        ({"split": "val", "splits": Splits(val=0)}, "split `val`"),
        ({"indices": [99]}, "no sample 99"),
        ({"device": "tpu"}, "device 'tpu'"),
    ],
    ids=str,
)
def test_a_wrong_request_says_what_is_wrong(make_store: MakeStore, arguments: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        data_loader(make_store(6), **arguments)


@pytest.mark.parametrize(
    "values", [{"strength": "heavy"}, {"border": "wrap"}, {"map_dropout": 1.0}, {"map_noise": -1}], ids=str
)
def test_an_augmentation_that_does_not_exist_is_refused(values: dict[str, Any]):
    with pytest.raises(UsageError, match="augmentation"):
        Augmentation(**values)


def test_an_epoch_below_zero_is_refused(make_store: MakeStore):
    with pytest.raises(UsageError, match="epoch -1"):
        data_loader(make_store(2), indices=[0]).set_epoch(-1)


def test_a_script_without_a_guard_is_an_error_that_says_what_to_write(make_store: MakeStore, tmp_path: Path):
    """A worker that is not forked imports the script again, which starts workers again: Python stops it."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pipeline import data_loader\n"
        f"list(data_loader({str(make_store(4))!r}, indices=[0], workers=1, multiprocessing_context='spawn'))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PipelineError: workers cannot start while this script is still being imported" in done.stderr
    assert "PipelineError: a worker of the loader has ended" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr


def test_a_killed_worker_is_an_error_that_says_what_to_change(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(data_loader_module._StoredBatches, "__getitems__", killed)
    loader = data_loader(make_store(8), indices=range(8), batch_size=1, workers=1, multiprocessing_context="fork")
    with pytest.raises(PipelineError, match=r"(?s)has ended.*killed.*fewer workers"):
        list(loader)


@pytest.mark.parametrize(
    ("error", "workers"), [(ConnectionResetError, 1), (EOFError, 1), (FileNotFoundError, 1), (FileNotFoundError, 0)]
)
def test_a_worker_killed_while_it_hands_over_a_batch_is_the_same_error(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, error: type[Exception], workers: int
):
    """Torch sees the closed connection before it sees that the process has ended. With 0 workers it means nothing."""
    loader = data_loader(
        make_store(8),
        indices=range(8),
        batch_size=1,
        workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    batches = iter(loader)
    next(batches)

    def closed(*_: object) -> None:
        raise error(104, "Connection reset by peer")

    way = "_MultiProcessingDataLoaderIter" if workers else "_SingleProcessDataLoaderIter"
    monkeypatch.setattr(getattr(dataloader, way), "_next_data", closed)
    with pytest.raises(PipelineError if workers else error) as raised:
        list(batches)
    assert not workers or "fewer workers" in str(raised.value)


def test_an_error_raised_in_a_worker_is_not_said_to_be_a_killed_worker(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
):
    def missing(*_: object) -> None:
        raise FileNotFoundError("the reader's own file")

    monkeypatch.setattr(data_loader_module._StoredBatches, "__getitems__", missing)
    loader = data_loader(make_store(8), indices=range(8), batch_size=1, workers=1, multiprocessing_context="fork")
    with pytest.raises(FileNotFoundError, match=r"(?s)Caught FileNotFoundError.*own file"):
        list(loader)
