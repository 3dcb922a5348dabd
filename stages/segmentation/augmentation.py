"""Augment a whole batch on its device, with one geometry for image, mask and attention.

A sample's geometry is one affine map from output to input positions, in coordinates from -1 to 1 over the field of
view, at any resolution. The same map warps the image (bilinear), the mask (nearest) and the attention (bilinear, from
its own grid directly to the size that the network takes). So the three stay aligned, and enlarging the attention costs
nothing extra. Colours change in the image only; `stages.segmentation.map_augmentation` has the counterpart for maps.

A rotated, shifted or smaller picture leaves part of the field of view outside it: 16 % of the pixels on average with
"full". Image and maps are always reflected there, so the network sees natural content. The mask depends on `border`:

| border | mask outside the picture | effect |
|---|---|---|
| mirror | reflected, like the image | a lesion near the border often gets a mirrored second component |
| ignore | 255 | no loss and no gradient there |

Random numbers come from a CPU generator, so that a seed gives the same numbers on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Generator, Tensor

from stages.runtime.parts import Part
from stages.settings import Border
from store.records import IGNORE

DARKEST = 2.0**-24
"""Lower bound before the logarithm, relative to white. Smaller than one step of 8-bit data."""


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Largest changes of a sample. Amounts are drawn uniformly from ± their range; the noise from 0 to its range."""

    turn: float
    """Rotation in radians."""
    zoom: float
    """Natural logarithm of the scale."""
    shear: float
    """Horizontal displacement per unit of vertical distance."""
    shift: float
    """Translation as a share of half the picture."""
    flip_rows: bool
    """Flip up and down too; left and right are always flipped at random."""
    colour: float
    """Relative change of brightness, contrast and saturation, and of gamma."""
    noise: float
    """Largest standard deviation of Gaussian noise, on the scale 0-255."""


RANGES = {
    "full": Ranges(turn=math.pi, zoom=0.25, shear=0.1, shift=0.1, flip_rows=True, colour=0.2, noise=6.0),
    "light": Ranges(turn=math.pi / 12, zoom=0.15, shear=0.05, shift=0.05, flip_rows=False, colour=0.2, noise=6.0),
    "geometry": Ranges(turn=math.pi, zoom=0.25, shear=0.1, shift=0.1, flip_rows=True, colour=0, noise=0),
}


def draw_affines(count: int, ranges: Ranges, aspect: float, generator: Generator) -> Tensor:
    """Draw random maps from output to input positions.

    Args:
        count: number of maps.
        ranges: largest changes.
        aspect: rows / columns of the picture in pixels, so that rotation and shear are right if it is not square.
        generator: source of the random numbers, on the CPU.

    Returns:
        (count, 2, 3) float32, as `torch.nn.functional.affine_grid` takes them (x before y).
    """

    def uniform(extent: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * extent

    turn, zoom, shear = uniform(ranges.turn), uniform(ranges.zoom).exp(), uniform(ranges.shear)
    shift_x, shift_y = uniform(ranges.shift), uniform(ranges.shift)
    flip_x, flip_y = (torch.randint(0, 2, (count,), generator=generator) * 2 - 1 for _ in range(2))
    if not ranges.flip_rows:
        flip_y = torch.ones_like(flip_y)
    cos, sin = turn.cos() / zoom, turn.sin() / zoom
    # Rows of rotation · shear · flip in pixels of equal sides; `aspect` turns them into [-1, 1] of each side.
    x = torch.stack([cos * flip_x, (cos * shear - sin) * flip_y * aspect, shift_x], dim=1)
    y = torch.stack([sin * flip_x / aspect, (sin * shear + cos) * flip_y, shift_y], dim=1)
    return torch.stack([x, y], dim=1)


def warp(
    image: Tensor,
    mask: Tensor,
    attention: Tensor,
    affines: Tensor,
    attention_size: tuple[int, int],
    border: Border = "mirror",
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply one map per sample to image, mask and attention.

    Args:
        image: (batch, 3, row, column) float.
        mask: (batch, row, column) uint8: class indices, or bits of labels that may overlap; 255 is ignored.
        attention: (batch, head, grid_row, grid_column) float.
        affines: (batch, 2, 3) from `draw_affines`.
        attention_size: (rows, columns) of the returned attention.
        border: what the mask is outside the picture: "mirror" reflects it, "ignore" makes it 255.

    Returns:
        Image and mask in the shapes they came in, and attention as (batch, head, *attention_size).
    """
    affines = affines.to(image.device)
    rows, columns = image.shape[2:]
    grid = sampling_grid(affines, (rows, columns))
    coarse = sampling_grid(affines, attention_size)
    return (
        _sample(image, grid, "bilinear"),
        _sample_mask(mask[:, None].to(image.dtype), grid, border)[:, 0].to(mask.dtype),
        _sample(attention, coarse, "bilinear"),
    )


def sampling_grid(affines: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the input position of every output position, like `affine_grid` with `align_corners=False`.

    This takes a tenth of the time of `affine_grid`, which multiplies matrices: here a term of the column and a term of
    the row are added.

    Args:
        affines: (batch, 2, 3) float32 from `draw_affines`.
        size: (rows, columns) of the output.

    Returns:
        (batch, row, column, 2) float32, x before y.
    """
    rows, columns = ((torch.arange(extent, device=affines.device) + 0.5) * 2 / extent - 1 for extent in size)
    by_column = affines[:, :, 0, None] * columns  # (batch, 2, column)
    by_row = affines[:, :, 1, None] * rows + affines[:, :, 2, None]  # (batch, 2, row)
    x, y = (by_row[:, :, :, None] + by_column[:, :, None]).unbind(dim=1)
    return torch.stack([x, y], dim=-1)


def resize_attention(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (batch, head, grid_row, grid_column) to (batch, head, *size), as `warp` by the identity does."""
    if attention.shape[2:] == size:
        return attention
    if not attention.shape[1]:  # torch refuses to enlarge no maps
        return attention.new_empty((attention.shape[0], 0, *size))
    return F.interpolate(attention, size=size, mode="bilinear", align_corners=False)


def change_colours(image: Tensor, ranges: Ranges, generator: Generator, part: Part | None = None) -> Tensor:
    """Change brightness, contrast, saturation, gamma and noise by amounts drawn per sample.

    Args:
        image: (batch, 3, row, column) float RGB in [0, 255].
        ranges: largest changes.
        generator: source of the random numbers, on the CPU.
        part: which samples of a larger batch these are; None if they are the batch.

    Returns:
        The same shape, clipped to [0, 255].
    """
    part = part or Part.whole(len(image))

    def factor() -> Tensor:
        drawn = 1 + (torch.rand((part.total, 1, 1, 1), generator=generator) * 2 - 1) * ranges.colour
        return part.of(drawn).to(image.device)

    # Saturation, contrast and brightness are one weighted sum of pixel, grey and mean, because saturation does not
    # change the mean. From here on all is done in place, on copies: the argument is not changed.
    grey = image.mean(dim=1, keepdim=True)
    middle = grey.mean(dim=(1, 2, 3), keepdim=True)
    saturation, contrast, brightness, gamma = factor(), factor() / 255, factor(), factor()
    grey.mul_((1 - saturation) * contrast * brightness).add_(middle * (1 / 255 - contrast) * brightness)
    changed = (image * (saturation * contrast * brightness)).add_(grey)
    # x ** gamma through the logarithm: `pow` takes twice as long, and so does the logarithm of zero.
    changed.clamp_(DARKEST, 1).log_().mul_(gamma).exp_()
    deviation = torch.rand((part.total, 1, 1, 1), generator=generator) * ranges.noise
    noise = part.of(torch.randn((part.total, *image.shape[1:]), generator=generator)).mul_(part.of(deviation))
    return noise.to(image.device).add_(changed, alpha=255).clamp_(0, 255)


def _sample_mask(mask: Tensor, grid: Tensor, border: Border) -> Tensor:
    """Return the mask's nearest pixel of every position, (batch, 1, row, column) float.

    With "ignore" a position whose nearest pixel lies outside the picture gets 255. `grid_sample` gives 0 there, so
    the mask is sampled as its difference to 255. This takes no further pass over the grid.
    """
    if border == "mirror":
        return _sample(mask, grid, "nearest")
    inside = F.grid_sample(mask - IGNORE, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return inside.add_(IGNORE)


def _sample(values: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(values, grid, mode=mode, padding_mode="reflection", align_corners=False)
