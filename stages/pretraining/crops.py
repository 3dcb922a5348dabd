"""Multi-crop (Caron et al. 2020, 2021): two large and several small views of every image, each with new augmentation.

A view is one random resized crop with a random flip, sampled with one affine grid; then colour jitter, grey, blur and
solarisation with the paper's probabilities. All of it works on a whole batch on its device. Random numbers are drawn on
the CPU for the whole batch of a step before a process takes its share. So the same seed gives the same views on every
device and with any number of processes.

Differences from the paper's code: the width of the blur scales with the size of the crop (the paper's is for 224
pixels), hue is rotated in YIQ instead of HSV, the parts of the jitter have one fixed order, and crops are antialiased
by sampling more finely and averaging.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Generator, Tensor

from stages.settings import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["Crops", "View", "boxes", "normalise", "take"]

SMALLEST_AREA = 0.05
ASPECT = (3 / 4, 4 / 3)
JITTER, BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.8, 0.4, 0.4, 0.2, 0.1
GREY = 0.2
BLUR_OF_224 = (0.1, 2.0)  # standard deviation in pixels
LUMA = (0.299, 0.587, 0.114)
TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True, kw_only=True)
class View:
    """One kind of view: its size, and the probabilities of its augmentations."""

    size: int
    """Side in pixels."""
    area: tuple[float, float]
    """Smallest and largest share of the image's area."""
    blur: float
    """Probability of a blur."""
    solarise: float
    """Probability of a solarisation."""


@dataclass(frozen=True, kw_only=True)
class Crops:
    """The views of every image. The first two are the large ones, which the teacher sees too."""

    views: tuple[View, ...]

    @classmethod
    def of(cls, *, global_crop: int, local_crop: int, local_crops: int, split: float) -> Crops:
        """Return the paper's views: two large, of which the second may be solarised, and `local_crops` small.

        Args:
            global_crop: side of the large ones in pixels.
            local_crop: side of the small ones.
            local_crops: number of small ones.
            split: share of the image's area: large ones cover more, small ones less.
        """
        large = (split, 1.0)
        first = View(size=global_crop, area=large, blur=1.0, solarise=0.0)
        second = View(size=global_crop, area=large, blur=0.1, solarise=0.2)
        small = View(size=local_crop, area=(SMALLEST_AREA, split), blur=0.5, solarise=0.0)
        return cls(views=(first, second, *[small] * local_crops))

    def draw(self, count: int, generator: Generator) -> list[Callable[[Tensor, slice], Tensor]]:
        """Return one function per view, which makes the view from images. All random numbers are drawn now.

        Args:
            count: images of the whole step.
            generator: source of the random numbers, on the CPU.

        Returns:
            Functions of (images, share). `images` is (n, 3, rows, columns) uint8: the slice `share` of the step's
            images. They return (n, 3, size, size) float32, normalised.
        """
        return [_drawn(view, count, generator) for view in self.views]


def boxes(count: int, area: tuple[float, float], generator: Generator) -> Tensor:
    """Draw random crops and flips, as maps from the crop to the image.

    Args:
        count: number of crops.
        area: range of the share of the image's area, uniform; the aspect is log-uniform from 3/4 to 4/3. A box that
            does not fit gets the height or width of the image.
        generator: source of the random numbers, on the CPU.

    Returns:
        (count, 2, 3) float32, as `torch.nn.functional.affine_grid` takes them; half of them mirrored left to right.
    """
    share = area[0] + torch.rand(count, generator=generator) * (area[1] - area[0])
    low, high = (math.log(side) for side in ASPECT)
    aspect = torch.exp(low + torch.rand(count, generator=generator) * (high - low))
    width = (share * aspect).sqrt().clamp(max=1)
    height = (share / aspect).sqrt().clamp(max=1)
    # Coordinates run from -1 to 1, so a box of half width w has its centre within ±(1 - w).
    x = (torch.rand(count, generator=generator) * 2 - 1) * (1 - width)
    y = (torch.rand(count, generator=generator) * 2 - 1) * (1 - height)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - both are equally likely
    none = torch.zeros(count)
    return torch.stack([torch.stack([width * mirror, none, x], 1), torch.stack([none, height, y], 1)], dim=1)


def take(images: Tensor, maps: Tensor, size: int, area: tuple[float, float]) -> Tensor:
    """Sample the crops that `boxes` describes.

    Args:
        images: (n, 3, rows, columns) float.
        maps: (n, 2, 3).
        size: side of the crops in pixels.
        area: as given to `boxes`; determines how much more finely to sample before averaging.

    Returns:
        (n, 3, size, size) float.
    """
    finer = max(1, round(max(images.shape[2:]) * math.sqrt(area[1]) / size))
    grid = F.affine_grid(maps.to(images.device), [len(images), 3, size * finer, size * finer], align_corners=False)
    sampled = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, finer) if finer > 1 else sampled


def normalise(images: Tensor) -> Tensor:
    """Scale RGB in [0, 1], (n, 3, rows, columns), by ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)


def _drawn(view: View, count: int, generator: Generator) -> Callable[[Tensor, slice], Tensor]:
    def uniform(low: float, high: float) -> Tensor:
        return low + torch.rand(count, generator=generator) * (high - low)

    def happens(probability: float) -> Tensor:
        return torch.rand(count, generator=generator) < probability

    maps = boxes(count, view.area, generator)
    jitter = happens(JITTER)
    brightness = torch.where(jitter, uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS), 1.0)
    contrast = torch.where(jitter, uniform(1 - CONTRAST, 1 + CONTRAST), 1.0)
    colour = _colour_matrices(
        turn=torch.where(jitter, uniform(-HUE, HUE), 0.0) * 2 * math.pi,
        saturation=torch.where(happens(GREY), 0.0, torch.where(jitter, uniform(1 - SATURATION, 1 + SATURATION), 1.0)),
    )
    scale = view.size / 224
    deviation = torch.where(happens(view.blur), uniform(*BLUR_OF_224) * scale, 0.0)
    reach = math.ceil(3 * BLUR_OF_224[1] * scale)
    solarise = happens(view.solarise)

    def make(images: Tensor, share: slice) -> Tensor:
        def here(drawn: Tensor) -> Tensor:
            return drawn[share].to(images.device)

        crops = take(images.float() / 255, here(maps), view.size, view.area)
        crops = (crops * here(brightness).view(-1, 1, 1, 1)).clamp(0, 1)
        luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
        middle = (crops * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
        crops = (middle + (crops - middle) * here(contrast).view(-1, 1, 1, 1)).clamp(0, 1)
        crops = torch.einsum("nij,njhw->nihw", here(colour), crops).clamp(0, 1)
        crops = _blur(crops, here(deviation), reach)
        solarised = torch.where(crops >= 0.5, 1 - crops, crops)  # noqa: PLR2004 - 128 of 255
        return normalise(torch.where(here(solarise).view(-1, 1, 1, 1), solarised, crops))

    return make


def _colour_matrices(*, turn: Tensor, saturation: Tensor) -> Tensor:
    """Return (count, 3, 3) matrices for RGB: they rotate the hue by `turn` in radians and scale the saturation.

    Brightness (luma) does not change.
    """
    to_yiq = torch.tensor(TO_YIQ)
    cos, sin = saturation * turn.cos(), saturation * turn.sin()
    zero, one = torch.zeros_like(turn), torch.ones_like(turn)
    turned = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    matrices: Tensor = torch.linalg.inv(to_yiq) @ turned @ to_yiq
    return matrices


def _blur(images: Tensor, deviation: Tensor, reach: int) -> Tensor:
    """Blur each image by a Gaussian of its own deviation in pixels; 0 leaves the image unchanged."""
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    # At deviation 0 all weights but the middle one underflow to 0, which is correct.
    weights = torch.exp(-0.5 * (offsets / deviation.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)[:, None]  # (3 n, 1, taps)
    stacked = images.flatten(0, 1)[None]  # (1, 3 n, rows, columns): each channel is a group
    padded = F.pad(stacked, (reach, reach, reach, reach), mode="reflect")
    blurred = F.conv2d(padded, weights[:, :, None], groups=stacked.shape[1])
    return F.conv2d(blurred, weights[:, :, :, None], groups=stacked.shape[1]).view_as(images)
