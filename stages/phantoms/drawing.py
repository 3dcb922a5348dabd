"""Draw a phantom: a synthetic dermoscopy-like image with the mask of its lesion.

Phantoms imitate the difficulties of dermoscopy: skin of every tone with its own texture, lesions paler and darker than
their surroundings, and dark objects that are not lesions. They are no model of a disease, and results on them say
nothing about one.

`draw_phantom` draws from back to front: skin, lesion, objects on the skin, lens, sensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stages.phantoms import artefacts
from stages.phantoms.canvas import HAEMOGLOBIN, MELANIN, Canvas, Plane, step
from stages.phantoms.lesion import Lesion, lesion_outline, no_lesion, pigment_lesion

WITHOUT_LESION = 0.03
"""Share of images without a lesion, unless another one is given."""

_FITZPATRICK = np.array(
    [
        [0.92, 0.83, 0.79],
        [0.87, 0.73, 0.66],
        [0.80, 0.64, 0.55],
        [0.68, 0.50, 0.39],
        [0.50, 0.34, 0.25],
        [0.36, 0.24, 0.18],
    ]
)
"""(6, 3) reflected light (red, green, blue) of skin types I to VI under a dermoscope, in [0, 1]."""


@dataclass(frozen=True)
class Phantom:
    """Hold one drawn sample.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        mask: (height, width) uint8, 255 in the lesion and 0 outside.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def draw_phantom(
    height: int, width: int, generator: np.random.Generator, *, without_lesion: float = WITHOUT_LESION
) -> Phantom:
    """Draw one sample. It depends on the arguments and on the state of the generator only.

    Args:
        height: In pixels, at least 32.
        width: In pixels, at least 32.
        generator: Source of all random choices; it is advanced.
        without_lesion: Probability that the image has no lesion. An image with a lesion is the same with any lower one.
    """
    canvas = Canvas(height, width, generator)
    lesion = no_lesion(canvas) if canvas.chance(without_lesion) else lesion_outline(canvas)
    _draw_skin(canvas)
    _draw_surroundings(canvas, lesion)
    if lesion.mask.any():
        pigment_lesion(canvas, lesion)
    _draw_furrows(canvas)
    _draw_artefacts(canvas, lesion)
    _apply_lighting(canvas)
    visible = _apply_dermoscope_rim(canvas)
    return Phantom(_apply_sensor(canvas), np.where(lesion.mask & visible, 255, 0).astype(np.uint8))


def _draw_skin(canvas: Canvas) -> None:
    """Draw skin: a tone of the Fitzpatrick scale, a random white balance, and mottling by melanin and blood."""
    position = 5 * float(canvas.generator.beta(1.0, 1.9))
    tone = np.array([np.interp(position, range(6), channel) for channel in _FITZPATRICK.T])
    balance = np.exp(canvas.generator.normal(0, [0.03, 0.03, 0.07]))
    canvas.light *= (tone * balance).astype(np.float32)[:, None, None]
    melanin, blood = 0.01 + 0.05 * canvas.between(0, 1) ** 2, 0.01 + 0.045 * canvas.between(0, 1) ** 2
    canvas.absorb(canvas.noise(canvas.between(0.06, 0.3), octaves=3) * np.float32(melanin), MELANIN)
    canvas.absorb(canvas.noise(canvas.between(0.15, 0.6), octaves=2) * np.float32(blood), HAEMOGLOBIN)


def _draw_surroundings(canvas: Canvas, lesion: Lesion) -> None:
    """Draw freckles, naevi, vessels and a halo around the lesion, each in some images only."""
    if canvas.chance(0.22):
        artefacts.draw_freckles(canvas, lesion)
    if canvas.chance(0.25):
        artefacts.draw_neighbours(canvas, lesion)
    if canvas.chance(0.25):
        _draw_vessels(canvas)
    if canvas.chance(0.3):
        _draw_halo(canvas, lesion)


def _draw_vessels(canvas: Canvas) -> None:
    """Draw branching red lines in patches: the places where noise crosses zero."""
    lines = 1 - step(np.abs(canvas.noise(canvas.between(0.06, 0.15), octaves=2, stretch=2.5)), 0.0, 0.15)
    where = step(canvas.noise(0.35), -0.3, 1.0)
    canvas.absorb(lines * where * np.float32(canvas.between(0.06, 0.3)), HAEMOGLOBIN)


def _draw_halo(canvas: Canvas, lesion: Lesion) -> None:
    """Draw a red or pale halo that fades away from the lesion."""
    distance = canvas.distance(lesion.centre) / np.float32(lesion.radius)
    halo = 1 - step(distance, 0.9, canvas.between(1.4, 2.2))
    canvas.absorb(halo * np.float32(canvas.between(-0.12, 0.35)), HAEMOGLOBIN)


def _draw_furrows(canvas: Canvas) -> None:
    """Draw the relief of the skin: fine lines in two directions, over skin and lesion."""
    depth, scale = canvas.between(0.0, 0.05), canvas.between(0.012, 0.03)
    angle = canvas.between(0, math.pi)
    for turn in (0.0, canvas.between(0.8, 1.6)):
        lines = 1 - step(np.abs(canvas.noise(scale, stretch=7, angle=angle + turn)), 0.0, 0.5)
        canvas.absorb(lines * np.float32(depth), (0.8, 1.0, 1.1))
    canvas.absorb(canvas.noise(0.008) * np.float32(canvas.between(0.005, 0.03)), (1.0, 1.0, 1.0))


def _draw_artefacts(canvas: Canvas, lesion: Lesion) -> None:
    """Draw objects on the skin, each in some images only."""
    if canvas.chance(0.1):
        artefacts.draw_ink(canvas, lesion)
    if canvas.chance(0.2):
        artefacts.draw_ruler(canvas)
    if canvas.chance(0.5):
        artefacts.draw_hairs(canvas)
    if canvas.chance(0.15):
        artefacts.draw_bubbles(canvas)
    if canvas.chance(0.03):
        artefacts.draw_plaster(canvas)


def _apply_lighting(canvas: Canvas) -> None:
    """Make the light uneven: a gradient, smooth shading, and darker corners."""
    middle = canvas.height / canvas.side / 2, canvas.width / canvas.side / 2
    _, along = canvas.rotated_coordinates(middle, canvas.between(0, 2 * math.pi))
    shade = np.float32(canvas.between(0, 0.4)) * along + np.float32(canvas.between(0, 0.05)) * canvas.noise(0.6)
    if canvas.chance(0.6):
        shade = shade + np.float32(canvas.between(0.05, 0.5)) * canvas.distance(middle) ** 2
    canvas.absorb(shade + np.float32(canvas.between(-0.12, 0.16)), (0.95, 1.0, 1.02))


def _apply_dermoscope_rim(canvas: Canvas) -> NDArray[np.bool_]:
    """Draw the round rim of the dermoscope in some images.

    Returns:
        (height, width) bool, True inside the rim; all True without one.
    """
    if not canvas.chance(0.12):
        return np.ones((canvas.height, canvas.width), np.bool_)
    rim: Plane = artefacts.dermoscope_rim(canvas)
    canvas.light *= rim
    canvas.light += (1 - rim) * np.float32(canvas.between(0.0, 0.06))
    return rim > 0.5  # noqa: PLR2004 -- half the light


def _apply_sensor(canvas: Canvas) -> NDArray[np.uint8]:
    """Add noise, convert the light to 8 bits, and blur some images; return (height, width, 3) uint8 RGB."""
    grain = canvas.generator.standard_normal((canvas.height, canvas.width), dtype=np.float32)
    canvas.light += grain * np.float32(canvas.between(0.002, 0.012))
    levels = np.clip(canvas.light * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray(channel) for channel in levels])
    if canvas.chance(0.5):
        image = image.filter(ImageFilter.GaussianBlur(canvas.between(0.3, 0.8) * canvas.side / 192))
    return np.asarray(image, np.uint8)
