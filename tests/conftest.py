"""Fixtures that many tests share: tiny real stores and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store.records import Sample
from store.writer import Layout, new_store

RECIPE: dict[str, Any] = {"model": "test", "layers": [1], "input_size": [16, 24]}


def random_sample(index: int, layout: Layout, seed: int = 0) -> Sample:
    """A sample of random bytes and of attention that sums to less than one."""
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
    """Small, not square, and different in every extent, so that swapped axes are seen."""
    return Layout(size=(10, 14), grid=(2, 3), heads=["L1H0", "L1H1"], keys=7, classes=["skin", "lesion"])


@pytest.fixture
def make_store(tmp_path: Path, layout: Layout) -> Callable[..., Path]:
    """A function that writes a store of random samples and returns its path."""

    def make(samples: int = 5, *, name: str = "test.zarr", layout: Layout = layout, seed: int = 0) -> Path:
        path = tmp_path / name
        with new_store(path, layout=layout, recipe=RECIPE) as writer:
            for index in range(samples):
                writer.append(random_sample(index, layout, seed))
        return path

    return make
