"""Compare an exported network with PyTorch before it is written.

Inputs are noise and real images: samples of a store, or phantoms. Both networks must give values that differ by at most
`TOLERANCE` (logits: relative to the largest one, if that is above 1), and the same labels. A pixel whose label PyTorch
itself decides by less than that may have another label; such pixels are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.errors import PipelineError
from stages.exporting.loading import Loaded
from stages.imaging.resizing import resize_image
from stages.phantoms.drawing import draw_phantom
from stages.runtime.progress import Progress
from stages.segmentation.checkpoint import require_fit
from store import AttentionStore

__all__ = ["TOLERANCE", "Check", "check"]

TOLERANCE = 1e-4
REAL = 4
"""Real images that are compared."""
BATCHES = (1, 3)
"""Sizes of the batches of noise."""
LARGE = 300_000
"""Pixels of an input from which on batches are of one and two images: a batch of three may not fit into memory."""
SMALLEST = 32
"""Smallest side of a phantom."""

Run = Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
"""Run the exported network: from its inputs to its outputs, in their order."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Report how far an exported network is from PyTorch."""

    images: int
    real: str
    """Origin of the real images, in words."""
    difference: float
    """Largest difference of a value."""
    undecided: int
    """Pixels with another label, all of which PyTorch decides by less than the tolerance."""

    def __str__(self) -> str:
        other = f", {self.undecided} undecided pixels with another label" if self.undecided else ", same labels"
        return (
            f"checked on {self.images} images (noise and {self.real}): largest difference {self.difference:.1e}{other}"
        )


def check(loaded: Loaded, run: Run, progress: Progress) -> Check:
    """Compare an exported network with PyTorch.

    Args:
        loaded: the network in PyTorch.
        run: the exported one.
        progress: shows how far it is.

    Raises:
        PipelineError: the two differ, or PyTorch gives NaN or infinity.
        StoreError, CheckpointError: the store cannot be read, or does not fit the run.
    """
    real, batches = _batches(loaded)
    difference, undecided = 0.0, 0
    for inputs in progress.track(batches, "checking", "batches"):
        with torch.inference_mode():
            outputs = loaded.network(*inputs)
        expected = [one.numpy() for one in (outputs if isinstance(outputs, tuple) else (outputs,))]
        if not np.isfinite(expected[-1]).all():
            raise PipelineError(
                f"{loaded.settings.run}: the network's output is NaN or infinite for a usual image.\n"
                "  Train with a lower --lr or with --precision float32."
            )
        found = list(run([one.numpy() for one in inputs]))
        largest, unlike = _compare(loaded, expected if loaded.gives_mask else expected[-1:], found)
        difference, undecided = max(difference, largest), undecided + unlike
    return Check(
        images=sum(len(inputs[0]) for inputs in batches), real=real, difference=difference, undecided=undecided
    )


def _compare(loaded: Loaded, expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> tuple[float, int]:
    """Return the largest difference of the values, and the number of undecided pixels with another label.

    Raises:
        PipelineError: the difference is too large, or a decided pixel has another label.
    """
    shapes = [[(one.shape, one.dtype) for one in outputs] for outputs in (expected, found)]
    if shapes[0] != shapes[1]:
        raise _differs(loaded, f"its outputs have shapes and types {shapes[1]}, and PyTorch's {shapes[0]}")
    values = np.asarray(expected[-1], np.float32)
    scale = max(1.0, float(np.abs(values).max()))
    difference = float(np.abs(values - found[-1]).max()) / scale
    if not difference <= TOLERANCE:
        raise _differs(loaded, f"its values differ by up to {difference:.2g}; {TOLERANCE:g} is allowed")
    labels, ours = ((_labels(loaded, one[-1]), *one[:-1]) for one in (expected, found))
    unlike = np.zeros(labels[0].shape, np.bool_)
    for one, other in zip(labels, ours, strict=True):
        unlike |= one != other
    decided = unlike & (_margin(loaded, values) > 2 * TOLERANCE * scale)
    if decided.any():
        raise _differs(loaded, f"{int(decided.sum())} pixels have another label")
    return difference, int(unlike.sum())


def _labels(loaded: Loaded, values: NDArray[Any]) -> NDArray[Any]:
    """Return the labels of values, (sample, row, column)."""
    labels, threshold = _of_labels(loaded, values)
    if labels is None:
        return np.asarray(values.argmax(axis=1), np.uint8)
    bits = np.arange(labels.shape[1], dtype=np.uint32)[:, None, None]
    return np.asarray(((labels > threshold).astype(np.uint32) << bits).sum(axis=1), np.uint8)


def _margin(loaded: Loaded, values: NDArray[Any]) -> NDArray[np.float32]:
    """Return by how much each pixel is decided, (sample, row, column)."""
    labels, threshold = _of_labels(loaded, values)
    if labels is None:
        ordered = np.sort(np.asarray(values, np.float32), axis=1)
        margin: NDArray[np.float32] = ordered[:, -1] - ordered[:, -2]
    else:
        margin = np.abs(labels - threshold).min(axis=1)
    return margin


def _of_labels(loaded: Loaded, values: NDArray[Any]) -> tuple[NDArray[np.float32] | None, float]:
    """Return the values of labels that may overlap and the threshold; None without such labels."""
    if not loaded.card.network.multilabel:
        return None, 0.0
    plain = np.asarray(values, np.float32)
    return (plain, 0.0) if loaded.settings.values == "logits" else (plain[:, 1:], 0.5)


def _differs(loaded: Loaded, what: str) -> PipelineError:
    return PipelineError(
        f"{loaded.settings.run}: the network exported as {loaded.settings.format} does not compute what PyTorch "
        f"computes: {what}. Nothing was written.\n  Try another version of torch, or another --format."
    )


def _batches(loaded: Loaded) -> tuple[str, list[tuple[Tensor, ...]]]:
    """Return what the real images are, and the inputs: noise, then the first real image, then the others together."""
    large = loaded.frame.size[0] * loaded.frame.size[1] > LARGE
    noise = [loaded.example(min(size, 2) if large else size) for size in BATCHES]
    what, images, maps = _real(loaded)
    inputs = [loaded.entering(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())]
    if loaded.maps is not None:
        inputs.append(loaded.example(len(images))[1] if maps is None else torch.from_numpy(maps.astype(np.float32)))
    step = 1 if large else len(images)
    return what, [*noise, *_parts(inputs, step)]


def _parts(inputs: Sequence[Tensor], step: int) -> Iterator[tuple[Tensor, ...]]:
    for first in range(0, len(inputs[0]), step):
        yield tuple(one[first : first + step] for one in inputs)


def _real(loaded: Loaded) -> tuple[str, NDArray[np.uint8], NDArray[np.float16] | None]:
    """Return real images, (n, row, column, 3), with their maps if a store has them and the network takes maps."""
    size = loaded.frame.size
    if loaded.settings.store is None:
        sides = max(size[0], SMALLEST), max(size[1], SMALLEST)
        drawn = [draw_phantom(*sides, np.random.default_rng(seed)).image for seed in range(REAL)]
        return "phantoms", np.stack([resize_image(one, size) for one in drawn]), None
    store = AttentionStore.open(loaded.settings.store)
    require_fit(loaded.card, loaded.settings.run, store)
    wanted = np.unique(np.linspace(0, len(store) - 1, min(REAL, len(store))).astype(np.int64))
    batch = store.read(wanted, maps=loaded.maps is not None)
    images = np.stack([resize_image(one, size) for one in batch.image])
    return f"{len(wanted)} samples of {loaded.settings.store}", images, batch.attention
