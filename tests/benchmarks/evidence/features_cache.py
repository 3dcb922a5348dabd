"""Compute features of a store's images, and keep them in a folder for the next derived store.

Many kinds of maps are made from the same features. With `--cache FOLDER` the transformer runs once for each source of
features, and later stores are made at the speed of the disk. A file holds the features of one source: float16 values
of all samples, and a flag for each sample that was computed. So an interrupted run goes on where it stopped. The file
is named by a digest of everything that determines the features. Deleting the folder loses time only.

Features are rounded to float16 with and without a cache, so a derived store does not depend on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.attention.extractor import AttentionExtractor
from stages.errors import PipelineError, UsageError
from tests.benchmarks.evidence.features import patch_features
from tests.benchmarks.evidence.stores_maps import Inputs

__all__ = ["Features", "computed"]

Held = tuple["np.memmap[Any, np.dtype[np.float16]]", "np.memmap[Any, np.dtype[np.uint8]]"]
"""The features of all samples, (sample, patch, dimension), and (sample,) flags: 1 for a sample that was computed."""

Compute = Callable[[Any, Tensor], Tensor]
"""From a transformer and normalised images (batch, 3, height, width) to (batch, …)."""


class Features:
    """Read the features of samples, from the cache if they are in it."""

    def __init__(self, inputs: Inputs, extractor: AttentionExtractor, source: str) -> None:
        """Describe the features; nothing is computed yet.

        Args:
            inputs: the store and its images.
            extractor: holds the transformer.
            source: a name in `features.SOURCES`.
        """
        self._inputs = inputs
        self._extractor = extractor
        self.source = source
        self._path: Path | None = None
        if inputs.cache is not None:
            key = {
                "recipe": inputs.recipe.sha256,
                "weights": extractor.recipe.weights_sha256,
                "source": source,
                "contents": inputs.base.description.contents_sha256,
            }
            digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
            self._path = inputs.cache / f"{source}-{digest[:32]}.npy"

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return (position, patch, dimension) features of the samples at these positions of the store.

        Raises:
            UsageError: the cache cannot be used.
            PipelineError: a feature is not finite in float16.
        """
        if self._path is None:
            return self._compute(positions)
        with _named(self._path):
            kept = self._open(self._path)
        missing = positions if kept is None else positions[kept[1][positions] == 0]
        values = self._compute(missing) if len(missing) else None
        with _named(self._path):
            if values is not None:
                kept = kept or self._create(self._path, values.shape[1:])
                kept[0][missing] = values
                kept[0].flush()
                kept[1][missing] = 1  # only now: a killed run leaves no sample that is half written
            assert kept is not None
            return np.array(kept[0][positions])

    def batches(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.float16]]:
        """Yield the features of samples, some samples at a time."""
        size = self._inputs.batch_size
        for start in range(0, len(positions), size):
            yield self.read(positions[start : start + size])

    def _compute(self, positions: NDArray[np.int64]) -> NDArray[np.float16]:
        images = self._inputs.originals.read(positions)
        with np.errstate(over="ignore"):
            values = computed(
                self._extractor, images, lambda model, some: patch_features(model, some, self.source)
            ).astype(np.float16)
        if not np.isfinite(values).all():
            raise PipelineError(f"{self.source}: features are not finite in float16. Use another source.")
        return values

    def _open(self, path: Path) -> Held | None:
        if not path.exists():
            return None
        for file in (path, _flags(path)):
            np.load(file, mmap_mode="r", allow_pickle=False)  # refuses a short file, which "r+" would fill with zeros
        values, done = (np.load(file, mmap_mode="r+", allow_pickle=False) for file in (path, _flags(path)))
        if values.dtype != np.float16 or values.ndim != 3 or not len(values) == len(done) == len(self._inputs.base):
            raise ValueError("its arrays have other shapes or types than were written")
        return values, done

    def _create(self, path: Path, shape: tuple[int, ...]) -> Held:
        """Make both files, filled with zeros. Another process may make the same ones at the same time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = len(self._inputs.base)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            new = Path(folder) / "new.npy"
            for file, size, dtype in ((_flags(path), (samples,), np.uint8), (path, (samples, *shape), np.float16)):
                np.lib.format.open_memmap(new, mode="w+", dtype=dtype, shape=size).flush()
                with contextlib.suppress(FileExistsError):
                    os.link(new, file)
                new.unlink()
        opened = self._open(path)
        assert opened is not None
        return opened


def computed(extractor: AttentionExtractor, images: NDArray[np.uint8], compute: Compute) -> NDArray[np.float32]:
    """Run the transformer on (n, height, width, 3) images, a few at a time, and return the results."""
    size = max(1, extractor._batch.size)
    parts = [
        compute(extractor._module, extractor._normalise(images[start : start + size])).float().cpu().numpy()
        for start in range(0, len(images), size)
    ]
    return np.concatenate(parts)


def _flags(path: Path) -> Path:
    return path.with_name(f"{path.stem}.done.npy")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a failure of the cache's files into an error that names them.

    Raises:
        UsageError: in place of an error of the system or of numpy.
    """
    try:
        yield
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"{path}: the cached features cannot be used ({error}). Delete the folder of --cache."
        ) from None
