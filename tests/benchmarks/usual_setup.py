"""Compare an epoch from the store with the usual way: PNG files, augmentation in workers, a U-Net over ResNet-34.

The usual way is the one of tutorials: `segmentation_models_pytorch`, a folder of images and one of masks, a
`DataLoader` whose workers stay alive between epochs, and for each sample the flips, affine warps and colour changes of
`torchvision.transforms.v2`. Both ways use the same pictures, image size, batch size, loss, optimiser and precision;
ours reads attention too. The networks differ. So the time of the usual network on tensors in memory is reported as
well: the difference is the cost of files and workers.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from stages.runs.precision import autocast
from stages.segmentation.augmentation import RANGES
from stages.segmentation.batches import ResidentSamples
from stages.segmentation.losses import dice_cross_entropy
from stages.segmentation.network import NetworkConfig, Segmenter
from stages.settings import IMAGENET_MEAN, IMAGENET_STD
from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.measure import Measurement, NotMeasured, Skipped, side_by_side, without_gpu
from tests.benchmarks.training_step import BATCH, LAYOUT, epoch, new_trainer
from tests.conftest import RECIPE, random_sample

SAMPLES = 64
WORKERS = 2
LIBRARY = "segmentation_models_pytorch"


class PngFolder(Dataset[tuple[Tensor, Tensor]]):
    """Load `images/ID.png` and `masks/ID.png` and augment them on every access."""

    def __init__(self, folder: Path) -> None:
        self._images = sorted((folder / "images").glob("*.png"))
        self._masks = folder / "masks"
        self._augment = usual_augmentation()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the image (3, row, column) float32, normalised, and the mask (row, column) uint8 class index."""
        from torchvision import tv_tensors

        path = self._images[index]
        with Image.open(path) as picture, Image.open(self._masks / path.name) as drawn:
            image, mask = self._augment(tv_tensors.Image(picture), tv_tensors.Mask(drawn))
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)[0]


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield a line for each device."""
    if importlib.util.find_spec(LIBRARY) is None:
        raise Skipped(f"{LIBRARY} is not installed: `uv sync --extra bench`, or `pip install -e '.[bench]'`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_both(folder, SAMPLES, LAYOUT)
        yield compared(store, folder, torch.device("cpu"), rounds=3)
        if torch.cuda.is_available():
            yield compared(store, folder, torch.device("cuda"), rounds=10)
        else:
            yield without_gpu("usual set-up: cuda")


def compared(store: AttentionStore, folder: Path, device: torch.device, *, rounds: int) -> Measurement:
    """Measure the seconds of an epoch: the usual way / ours."""
    trainer = new_trainer(store, device)
    resident = ResidentSamples(store, trainer.indices["train"], device)
    loader = DataLoader(
        PngFolder(folder), batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True,
        pin_memory=device.type == "cuda",
    )  # fmt: skip
    usual_epoch = usual_training(len(store.classes), device)
    in_memory = [(image.to(device), mask.to(device)) for image, mask in loader]
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: epoch(trainer, resident),
        "usual": lambda: usual_epoch(loader),
        "usual network, tensors in memory": lambda: usual_epoch(in_memory),
    }
    seconds = side_by_side(ways, rounds=rounds)
    return Measurement(
        name=f"usual set-up: {device.type}",
        ratio=seconds["usual"] / seconds["ours"],
        target=None,
        claim=f"seconds an epoch, U-Net of ResNet-34 from PNG files with {WORKERS} workers / ours from the store",
        details={f"{name}, ms an image": 1000 * took / len(store) for name, took in seconds.items()},
    )


def usual_augmentation() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return `usual_warps` followed by the scaling of the image to float32 with ImageNet's mean and deviation."""
    from torchvision.transforms import v2

    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.Compose(
        [
            usual_warps(),
            v2.ToDtype(torch.float32, scale=True),  # converts images only, not masks
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    return augment


def usual_warps() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return flips, one affine warp and colour changes, with the ranges of our `full`, for a picture and its mask."""
    from torchvision.transforms import v2

    ranges = RANGES["full"]
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(
                degrees=math.degrees(ranges.turn),
                translate=(ranges.shift / 2, ranges.shift / 2),
                scale=(math.exp(-ranges.zoom), math.exp(ranges.zoom)),
                shear=math.degrees(ranges.shear),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=ranges.colour, contrast=ranges.colour, saturation=ranges.colour),
        ]
    )
    return augment


def usual_training(
    classes: int, device: torch.device, encoder: str = "resnet34"
) -> Callable[[Iterable[tuple[Tensor, Tensor]]], float]:
    """Return a function that trains a new U-Net for one epoch on (image, mask) batches and returns the mean loss."""
    import segmentation_models_pytorch as smp

    model: nn.Module = smp.Unet(encoder, encoder_weights=None, in_channels=3, classes=classes).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        losses = []
        for image, mask in batches:
            entering, wanted = image.to(device, non_blocking=True), mask.to(device, non_blocking=True)
            with autocast("auto", device):
                loss = dice_cross_entropy(model(entering), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run


def usual_network(config: NetworkConfig) -> Segmenter:
    """Return the usual network with the signature of ours; it ignores the attention."""
    import segmentation_models_pytorch as smp

    class Usual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config
            self.network = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=config.classes)

        def forward(self, image: Tensor, _attention: Tensor, _silenced: Tensor | None = None) -> Tensor:
            output: Tensor = self.network(image)
            return output

    return cast("Segmenter", Usual())


def write_both(folder: Path, samples: int, layout: Layout) -> AttentionStore:
    """Write the same samples twice: as `made.zarr`, and as PNG files in `images` and `masks`. Return the store.

    The images are broad shapes with some grain.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir()
    with new_store(folder / "made.zarr", layout=layout, recipe=RECIPE) as writer:
        for index in range(samples):
            sample = random_sample(index, layout)
            rows, columns = layout.size
            broad = Image.fromarray(sample.image[:9, :9]).resize((columns, rows), Image.Resampling.BICUBIC)
            image = (np.asarray(broad).astype(np.uint16) * 15 // 16 + sample.image // 16).astype(np.uint8)
            sample = replace(sample, image=image, mask=(image[..., 0] > 127).astype(np.uint8))
            writer.append(sample)
            Image.fromarray(sample.image).save(folder / "images" / f"{sample.id}.png")
            Image.fromarray(sample.mask).save(folder / "masks" / f"{sample.id}.png")
    return AttentionStore.open(folder / "made.zarr")
