"""Feed the trainer from files in place of a store: PNG files read by a `DataLoader`, or arrays mapped by `np.memmap`.

Both are sources like those in `stages.segmentation.batches`. They give the tensors that the store gives, in the order
that the trainer asks for. So the trainer computes the same, and only the place differs that the bytes come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stages.segmentation.batches import TensorBatch
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks.usual_setup import write_both

ARRAYS = ("image", "mask", "attention")
Item = tuple[Tensor, Tensor, Tensor]
"""(row, column, 3) uint8, (row, column) uint8, (head, grid_row, grid_column) float16."""


def write_files(folder: Path, samples: int, layout: Layout) -> AttentionStore:
    """Write the same samples as a store, as one file per sample, and as one file per array.

    The folder then has `made.zarr`, `images/ID.png`, `masks/ID.png`, `maps/ID.npy`, and `arrays/image.npy`, `mask.npy`,
    `attention.npy`.
    """
    store = write_both(folder, samples, layout)
    (folder / "maps").mkdir()
    for sample in store:
        np.save(folder / "maps" / f"{sample.id}.npy", sample.attention)
    write_arrays(folder / "arrays", store)
    return store


def write_arrays(folder: Path, store: AttentionStore) -> None:
    """Write the arrays of a store as `image.npy`, `mask.npy` and `attention.npy`."""
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", store.read_array(name, range(len(store))))


@dataclass(frozen=True)
class PngSamples(Dataset[Item]):
    """Read one sample from its files on every access."""

    folder: Path
    ids: tuple[str, ...]
    """In the order of the store."""
    maps: bool
    """Read the maps too. Without them a single zero takes their place: the image branch alone ignores it."""
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    """Augmentation of image (3, row, column) and mask (1, row, column) in the worker; None: the trainer augments."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        """Return image, mask and maps as `Item` describes them."""
        name = self.ids[index]
        with Image.open(self.folder / "images" / f"{name}.png") as picture:
            image = torch.from_numpy(np.array(picture))
        with Image.open(self.folder / "masks" / f"{name}.png") as drawn:
            mask = torch.from_numpy(np.array(drawn))
        if self.change:
            image, mask = _changed(self.change, image, mask)
        if not self.maps:
            return image, mask, torch.zeros(1, 1, 1, dtype=torch.float16)
        return image, mask, torch.from_numpy(np.load(self.folder / "maps" / f"{name}.npy"))


class LoadedSamples:
    """Feed batches that a `DataLoader` puts together from files. Its workers stay alive between epochs."""

    def __init__(self, samples: Dataset[Item], workers: int, device: torch.device) -> None:
        """Prepare the loader.

        Args:
            samples: to load.
            workers: number of processes that read; 0 to read in the training process.
            device: of the batches.
        """
        self._order: list[list[int]] = []
        self._device = device
        self._loader = DataLoader(
            samples,
            batch_sampler=self._order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def batches(self, order: Iterable[NDArray[np.int64]]) -> Iterator[TensorBatch]:
        """Yield one batch for each array of positions."""
        self._order[:] = [indices.tolist() for indices in order]
        for image, mask, attention in self._loader:
            yield _moved(image, mask, attention, self._device)


class MappedArrays:
    """Feed batches from `.npy` files that are mapped into memory: the plain way to cache, without any check."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._arrays = [np.load(folder / "arrays" / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        self._device = device

    def batches(self, order: Iterable[NDArray[np.int64]]) -> Iterator[TensorBatch]:
        """Yield one batch for each array of positions. An array as index copies, so the tensors own their memory."""
        for indices in order:
            image, mask, attention = (torch.from_numpy(array[indices]) for array in self._arrays)
            yield _moved(image, mask, attention, self._device)


def bytes_in(path: Path) -> int:
    """Return the number of bytes in all files of a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _moved(image: Tensor, mask: Tensor, attention: Tensor, device: torch.device) -> TensorBatch:
    """Return a batch on the device. The image keeps its layout in memory, channels last, as from the store."""
    image, mask, attention = (tensor.to(device, non_blocking=True) for tensor in (image, mask, attention))
    return TensorBatch(image.movedim(-1, 1), mask, attention)


def _changed(
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], image: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    from torchvision import tv_tensors

    changed, moved = change(tv_tensors.Image(image.movedim(-1, 0)), tv_tensors.Mask(mask[None]))
    return changed.as_subclass(Tensor).movedim(0, -1).contiguous(), moved.as_subclass(Tensor)[0]
