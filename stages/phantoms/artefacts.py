"""Draw distractors: freckles, small naevi, hair, bubbles, ink, rulers, plasters, and the rim of the dermoscope.

A segmenter has to learn to ignore them, so some are as dark as a lesion and some cross one. Hair and bubbles are drawn
anywhere. Marks that look like a lesion (small naevi, freckles, ink) are drawn outside the lesion only, so that the mask
stays correct.

Every function draws on the canvas in place; its random numbers come from the canvas's generator.
"""

from __future__ import annotations

import math

import numpy as np

from stages.phantoms.canvas import MELANIN, Canvas, Colour, Plane, Point, Stroke, blur, step
from stages.phantoms.lesion import Lesion

_INKS: tuple[Colour, ...] = ((0.9, 1.3, 0.35), (1.2, 0.8, 0.2), (0.5, 1.3, 0.6))
"""Absorption of surgical ink: violet, blue, magenta."""
_HAIRS: tuple[Colour, ...] = ((0.06, 0.05, 0.05), (0.16, 0.09, 0.06), (0.38, 0.24, 0.14), (0.72, 0.62, 0.48))
"""Reflected light of black, brown, auburn and blond hair."""


def draw_freckles(canvas: Canvas, lesion: Lesion) -> None:
    """Draw freckles: small soft brown spots over the frame or a part of it. Some of them merge."""
    size = canvas.between(0.006, 0.025)
    count = int(min(canvas.between(0.02, 0.2) * canvas.area / size**2 / 3, 250))
    dots = [(canvas.place(-0.05), size * canvas.between(0.4, 1.6)) for _ in range(count)]
    spots = blur(canvas.dots(dots), 0.5 * size * canvas.side) * step(canvas.noise(0.02), -1.5, 1.0)
    where = step(canvas.noise(0.5), -0.7, 0.7) * (1 - lesion.opacity)
    canvas.absorb(spots * where * np.float32(canvas.between(0.15, 0.7)), MELANIN)


def draw_neighbours(canvas: Canvas, lesion: Lesion) -> None:
    """Draw one to three small naevi beside the lesion. They are not in the mask."""
    roughness = np.float32(0.2) * canvas.noise(0.03, octaves=3)
    for _ in range(int(canvas.generator.integers(1, 4))):
        radius = canvas.between(0.012, 0.05)
        shape = canvas.distance(canvas.place(-0.02), canvas.between(1, 1.6), canvas.between(0, math.pi))
        spot = 1 - step(shape / np.float32(radius) + roughness, 0.3, 1.5)
        canvas.absorb(spot * (1 - lesion.opacity) * np.float32(canvas.between(0.3, 1.1)), (0.5, 1.0, 1.2))


def draw_ink(canvas: Canvas, lesion: Lesion) -> None:
    """Draw the mark of a surgeon's pen: an arc around the lesion, worn off in places."""
    start, span = canvas.between(0, 2 * math.pi), canvas.between(0.6, 3.5)
    radius = lesion.radius * canvas.between(1.5, 2.0) + 0.08
    turns = np.linspace(start, start + span, 24)
    wobble = 1 + 0.04 * np.cumsum(canvas.generator.standard_normal(turns.size)) / 3
    points = tuple(
        (lesion.centre[0] + radius * r * math.sin(turn), lesion.centre[1] + radius * r * math.cos(turn))
        for turn, r in zip(turns, wobble, strict=True)
    )
    line = canvas.strokes([Stroke(points, canvas.between(0.015, 0.06))])
    worn = step(canvas.noise(0.02, octaves=2), -2.0, 1.2) * line * (1 - lesion.opacity)
    canvas.absorb(worn * np.float32(canvas.between(0.4, 1.1)), _INKS[int(canvas.generator.integers(len(_INKS)))])


def draw_ruler(canvas: Canvas) -> None:
    """Draw a millimetre scale: a line with ticks, every fifth one longer, often partly outside the frame."""
    angle = canvas.between(-0.5, 0.5) + (math.pi / 2 if canvas.chance(0.25) else 0.0)
    down, right = math.cos(angle), math.sin(angle)
    row, column = _near_edge(canvas)
    gap = canvas.between(0.03, 0.06)
    width = canvas.between(0.004, 0.009)
    count = int(canvas.between(10, 28))

    def at(along: float, across: float) -> Point:
        return row - right * along + down * across, column + down * along + right * across

    strokes = [Stroke((at(-gap * count / 2, 0), at(gap * count / 2, 0)), width)]
    for tick in range(count + 1):
        along = gap * (tick - count / 2)
        length = 0.055 if tick % 5 == 0 else 0.03
        strokes.append(Stroke((at(along, 0), at(along, -length)), width))
    canvas.cover(canvas.strokes(strokes) * np.float32(canvas.between(0.5, 0.95)), (0.13, 0.11, 0.12))


def _near_edge(canvas: Canvas) -> Point:
    """Return a random point near the upper or lower edge of the frame."""
    _, column = canvas.place(0.25)
    share = canvas.between(0.02, 0.15)
    return (share if canvas.chance(0.5) else canvas.height / canvas.side - share), column


def draw_hairs(canvas: Canvas) -> None:
    """Draw hairs of one colour and roughly one direction: a few long ones, many, or shaved stubble."""
    colour = _HAIRS[int(canvas.generator.integers(len(_HAIRS)))]
    direction = canvas.between(0, 2 * math.pi)
    spread = canvas.between(0.15, 1.2)
    width = canvas.between(0.003, 0.010)
    if canvas.chance(0.3):
        count, length = int(canvas.between(8, 60)), canvas.between(0.03, 0.08)
    else:
        count, length = int(math.exp(canvas.between(0.7, 3.5))), canvas.between(0.3, 1.6)
    hairs = [
        _hair(canvas, direction + spread * canvas.generator.standard_normal(), length, width) for _ in range(count)
    ]
    coverage = canvas.strokes(hairs) * np.float32(canvas.between(0.6, 0.95))
    shifted = np.roll(coverage, 1, axis=0) * np.float32(0.2)
    canvas.absorb(shifted, (1.0, 1.0, 1.0))  # their shadow
    canvas.cover(coverage, colour)


def _hair(canvas: Canvas, angle: float, length: float, width: float) -> Stroke:
    """Return a hair: a line whose curvature changes along its length."""
    row, column = canvas.place(-0.1)
    turns = np.linspace(0, 1, 16)
    bend, curl = canvas.generator.normal(0, (0.8, 0.6))
    headings = angle + bend * turns + curl * turns**2
    pace = length * canvas.between(0.5, 1.3) / turns.size
    rows = row + pace * np.cumsum(np.sin(headings))
    columns = column + pace * np.cumsum(np.cos(headings))
    points = tuple(zip(rows.tolist(), columns.tolist(), strict=True))
    return Stroke(points, width * canvas.between(0.5, 1.3))


def draw_bubbles(canvas: Canvas) -> None:
    """Draw a cluster of gel bubbles: a dim ring each, with a bright reflection of the lamp."""
    lamp = canvas.between(0, 2 * math.pi)
    rings, highlights = [], []
    cluster = canvas.place(0)
    for _ in range(int(math.exp(canvas.between(0, 3)))):
        radius = 0.012 * math.exp(canvas.between(0, 2.2))
        row, column = (c + 0.15 * float(canvas.generator.standard_normal()) for c in cluster)
        rings.append(_arc((row, column), radius, 0, 2 * math.pi, 0.006))
        highlights.append(_arc((row, column), 0.8 * radius, lamp - 0.5, lamp + 0.5, 0.008 + 0.1 * radius))
    ring = canvas.strokes(rings)
    canvas.absorb(ring * np.float32(canvas.between(0.05, 0.3)), (1.0, 1.0, 1.0))
    canvas.cover(np.roll(ring, (1, 1), axis=(0, 1)) * np.float32(0.25), (1.0, 1.0, 1.0))
    canvas.cover(canvas.strokes(highlights) * np.float32(canvas.between(0.5, 0.95)), (1.0, 1.0, 1.0))


def _arc(centre: Point, radius: float, start: float, end: float, width: float) -> Stroke:
    """Return a circular arc; angles in radians, lengths in short sides."""
    turns = np.linspace(start, end, 24)
    points = tuple((centre[0] + radius * math.sin(turn), centre[1] + radius * math.cos(turn)) for turn in turns)
    return Stroke(points, width)


def draw_plaster(canvas: Canvas) -> None:
    """Draw the round edge of a coloured sticker at the upper or lower edge of the frame."""
    _, column = canvas.place(-0.1)
    radius = canvas.between(0.3, 0.8)
    reach = canvas.between(0.05, 0.3) - radius
    row = reach if canvas.chance(0.5) else canvas.height / canvas.side - reach
    inside = 1 - step(canvas.distance((row, column)), radius - 0.008, radius + 0.008)
    red, green, blue = canvas.generator.uniform(0.1, 0.9, 3).tolist()
    canvas.cover(inside, (red, green, blue))
    canvas.absorb(inside * np.float32(0.06) * canvas.noise(0.008), (1.0, 1.0, 1.0))


def dermoscope_rim(canvas: Canvas) -> Plane:
    """Return the share of light that passes the round opening of the dermoscope: 1 inside, 0 outside."""
    middle = canvas.height / canvas.side / 2, canvas.width / canvas.side / 2
    centre = middle[0] + canvas.between(-0.05, 0.05), middle[1] + canvas.between(-0.05, 0.05)
    radius = math.hypot(*middle) * canvas.between(0.78, 0.98)
    softness = canvas.between(0.008, 0.06)
    return 1 - step(canvas.distance(centre), radius - softness, radius + softness)
