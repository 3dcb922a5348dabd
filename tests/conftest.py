"""Define the fixtures that many tests share: tiny real stores and images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from store.records import Sample
from store.writer import Layout, new_store
from tests.forks import Forks

# A busy machine must not fail a test: no example has a limit of time.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, so that several processes end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable: the order is kept otherwise


RECIPE: dict[str, Any] = {"model": "test", "layers": [1], "input_size": [16, 24]}


def random_sample(index: int, layout: Layout, seed: int = 0) -> Sample:
    """Return a sample with a random image, a random mask, and attention whose probabilities sum to less than one."""
    random = np.random.default_rng([seed, index])
    attention = random.random((len(layout.heads), *layout.grid))
    attention *= 0.9 * layout.keys / attention.sum(axis=(1, 2), keepdims=True)
    return Sample(
        id=f"sample-{index:03d}",
        image=random.integers(0, 256, (*layout.size, 3), dtype=np.uint8),
        mask=random.integers(0, len(layout.classes), layout.size, dtype=np.uint8),
        attention=attention.astype(np.float16),
        digest=f"{index:064x}",
        height=100 + index,
        width=200 + index,
        group=f"patient-{index // 2}",
        labelled=True,
    )


@pytest.fixture
def layout() -> Layout:
    """Return a small layout. Every axis has a different length, so that swapped axes make a test fail."""
    return Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])


@pytest.fixture
def make_store(tmp_path: Path, layout: Layout) -> Callable[..., Path]:
    """Return a function that writes a store of random samples and returns its path."""

    def make(samples: int = 5, *, name: str = "test.zarr", layout: Layout = layout, seed: int = 0) -> Path:
        path = tmp_path / name
        with new_store(path, layout=layout, recipe=RECIPE) as writer:
            for index in range(samples):
                writer.append(random_sample(index, layout, seed))
        return path

    return make


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Run programs in forks of one process that has imported the stages. Use it in place of a new interpreter."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    with Forks() as started:
        yield started


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `images/` and `masks/` of sixteen small phantoms. Tests must not change it."""
    from stages.phantom import run
    from stages.settings import PhantomSettings

    out = tmp_path_factory.mktemp("phantoms") / "set"
    return run(PhantomSettings(out=out, samples=16, image_size=(36, 48), seed=7))


@pytest.fixture(scope="session")
def memo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one memo that all tests share, as the members of a team would."""
    return tmp_path_factory.mktemp("memo")


@pytest.fixture(scope="session")
def phantom_store(phantoms: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the phantoms with the attention of the untrained model. Tests must not change it."""
    from stages.extract import run

    path = tmp_path_factory.mktemp("stores") / "phantoms.zarr"
    run(extract_settings(phantoms, path, memo))
    return path


def extract_settings(phantoms: Path, store: Path, memo: Path, **changes: Any) -> Any:
    """Return the settings of a tiny extraction. `changes` replace single settings."""
    from stages.settings import ExtractSettings

    settings: dict[str, Any] = {
        "images": phantoms / "images",
        "masks": phantoms / "masks",
        "store": store,
        "memo": memo,
        "model": "untrained_tiny8",
        "image_size": (32, 40),
        "attention_size": (32, 48),
        "layers": (-1,),
        "batch_size": 4,
    }
    return ExtractSettings(**{**settings, **changes})


def train_settings(store: Path, out: Path, **changes: Any) -> Any:
    """Return the settings of a tiny training run. `changes` replace single settings."""
    from stages.settings import TrainSettings

    settings: dict[str, Any] = {
        "store": store,
        "out": out,
        "epochs": 3,
        "batch_size": 4,
        "width": 4,
        "val": 0.25,
        "test": 0.25,
    }
    return TrainSettings(**{**settings, **changes})


def pretrain_settings(images: Path, out: Path, **changes: Any) -> Any:
    """Return the settings of a pretraining of one step. `changes` replace single settings."""
    from stages.settings import PretrainSettings

    settings: dict[str, Any] = {
        "images": images,
        "out": out,
        "image_size": 32,
        "global_crop": 16,
        "local_crop": 8,
        "steps": 1,
        "batch_size": 4,
        "prototypes": 16,
        "head_width": 16,
        "device": "cpu",
    }
    return PretrainSettings(**{**settings, **changes})


@pytest.fixture(scope="session")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run on the phantom store. Tests must not change it."""
    from stages.train import run

    out = tmp_path_factory.mktemp("runs") / "dual"
    run(train_settings(phantom_store, out))
    return out


@pytest.fixture(scope="session")
def two_epochs(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted run of two epochs. Resumed runs must equal it; tests must not change it."""
    from stages.train import run

    out = tmp_path_factory.mktemp("runs") / "two_epochs"
    run(train_settings(phantom_store, out, epochs=2))
    return out


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of a picture as Pillow reads them; the file is closed."""
    with Image.open(path) as picture:
        return np.asarray(picture)
