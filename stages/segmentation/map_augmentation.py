"""Augment attention maps: silence whole maps, change their scale and level, add noise.

The image of a training sample gets other colours and noise; without this module the maps are only warped. A network may
then rely on them more than it should. Both changes apply to scaled maps at their own grid, before the warp, and in
training only.

Random numbers come from a CPU generator, so that a seed gives the same numbers on every device. It is a generator of
its own (`separate_generator`), so the other augmentation is the same with and without this module. So two trainings
with one seed, with maps and without, see the same images.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from stages.runs.schedules import mixed_seed
from stages.runtime.parts import Part

__all__ = ["change_maps", "separate_generator"]

STREAM = 2
"""Second number of the seed, so that the numbers are others than those that follow in the first generator."""


def change_maps(
    maps: Tensor,
    *,
    dropout: float,
    noise: float,
    generator: Generator,
    unit: Tensor | float = 1.0,
    part: Part | None = None,
) -> Tensor:
    """Change the scale, level and noise of every map, then silence some maps.

    Every map is changed by itself:

    1. `noise`: it is multiplied by a number from 1 ± `noise`, a number from ± `noise` units is added, both uniform, and
       every cell gets Gaussian noise of deviation `noise` units.
    2. `dropout`: it is set to zero with this probability. The other maps are divided by the probability with which a
       map stays, as `torch.nn.Dropout2d` does, so that the expected value stays.

    Every sample keeps at least one map: if all of its maps are drawn, a random one stays. So a network that sees only
    maps always has an input, and a single map is never silenced nor scaled up. With m maps a map stays with
    probability 1 - `dropout` + `dropout`^m / m.

    Args:
        maps: (batch, map, grid_row, grid_column) float, scaled by a `Normalisation`. Not changed.
        dropout: probability in [0, 1).
        noise: amount in [0, 1).
        generator: source of the random numbers, on the CPU.
        unit: of what is added, see `stages.segmentation.normalisation.noise_unit`; (batch, map, 1, 1) or one number.
        part: which samples of a larger batch these are; None if they are the batch.

    Returns:
        The same shape; the argument itself if both amounts are 0.
    """
    part = part or Part.whole(len(maps))
    if noise:
        maps = _with_noise(maps, noise, generator, unit, part)
    if dropout:
        kept = part.of(_draw_kept(part.total, maps.shape[1], dropout, generator))
        staying = 1 - dropout + dropout ** maps.shape[1] / maps.shape[1]
        maps = maps * (kept / staying).to(maps.device)[:, :, None, None]
    return maps


def separate_generator(generator: Generator) -> Generator:
    """Return another generator, which depends on the state of the first one. The first one is not advanced."""
    copy = Generator()
    copy.set_state(generator.get_state())
    return Generator().manual_seed(mixed_seed(int(torch.randint(2**62, (), generator=copy)), STREAM))


def _with_noise(maps: Tensor, amount: float, generator: Generator, unit: Tensor | float, part: Part) -> Tensor:
    """Return maps with another scale, another level, and noise."""
    scale, shift = (torch.rand(2, part.total, maps.shape[1], 1, 1, generator=generator) * 2 - 1) * amount
    drawn = torch.randn((part.total, *maps.shape[1:]), generator=generator)
    noise = part.of(drawn).mul_(amount).add_(part.of(shift))
    return noise.to(maps.device).mul_(unit).addcmul_(maps, (1 + part.of(scale)).to(maps.device))


def _draw_kept(samples: int, maps: int, dropout: float, generator: Generator) -> Tensor:
    """Draw which maps stay: (sample, map) bool with at least one True in every row."""
    kept = torch.rand(samples, maps, generator=generator) >= dropout
    spare = torch.randint(maps, (samples,), generator=generator)  # drawn in any case, so the count of numbers is fixed
    kept[torch.arange(samples), spare] |= ~kept.any(dim=1)
    return kept
