"""Provide the canvas that phantoms are drawn on: basic marks, textures, and a model of light.

Light follows a simple model of skin. A pigment absorbs light in each colour by the Beer–Lambert law: light times
exp(−amount · absorption). Objects on the skin, and scattering above a pigment, cover it. So one lesion looks right on
dark skin and on pale skin.

Lengths are fractions of the image's short side ("in short sides"), so a phantom of another size shows the same objects.

Textures are made from one kind of noise (random values on a rotated, stretched lattice with cubic interpolation) and
one regular mesh. Skin and lesions are drawn by other modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane = NDArray[np.float32]
"""(height, width) float32, one value per pixel."""

Colour = tuple[float, float, float]
"""(red, green, blue): reflected light in [0, 1], or absorption per unit of a pigment."""

Point = tuple[float, float]
"""(row, column) from the top left corner, in short sides."""

MELANIN: Colour = (0.32, 1.00, 1.38)
"""Absorption of melanin near the surface: brown. The ratios were fitted to lesions and skin in images of ISIC 2018."""
DEEP_MELANIN: Colour = (1.05, 1.00, 0.86)
"""Absorption of melanin in the dermis: black to slate, because the tissue above it scatters light."""
HAEMOGLOBIN: Colour = (0.16, 0.80, 0.68)
"""Absorption of blood: pink to red."""

_SUPERSAMPLING = 3
_COARSE_SPACING = (
    4.0  # pixels between random values; at this spacing or more, half the resolution gives the same texture
)
_OCTAVE_STRENGTH = 0.6
_NOISE_GAIN = 1.25  # cubic interpolation averages; this restores a deviation of about 1


@dataclass(frozen=True)
class Stroke:
    """Describe a curved line of constant width."""

    points: tuple[Point, ...]
    width: float
    """In short sides. The smallest width that is drawn is a third of a pixel."""


class Canvas:
    """Hold the reflected light of an image while it is drawn, and the generator of all random choices.

    Attributes:
        light: (3, height, width) float32, reflected light. It may leave [0, 1] until the image is finished.
        rows, columns: (height, 1) and (1, width) float32, pixel centres in short sides.
        side: The short side in pixels.
        area: Area of the canvas in short sides squared.
    """

    def __init__(self, height: int, width: int, generator: np.random.Generator) -> None:
        """Start with white light on (height, width) pixels; drawing advances `generator`."""
        self.height, self.width = height, width
        self.side = float(min(height, width))
        self.area = height * width / self.side**2
        self.generator = generator
        self.light = np.ones((3, height, width), np.float32)
        self.rows: Plane = ((np.arange(height, dtype=np.float32) + 0.5) / self.side)[:, None]
        self.columns: Plane = ((np.arange(width, dtype=np.float32) + 0.5) / self.side)[None, :]

    def chance(self, share: float) -> bool:
        """Return True with probability `share`."""
        return bool(self.generator.random() < share)

    def between(self, low: float, high: float) -> float:
        """Return a random number, uniform in [low, high)."""
        return float(self.generator.uniform(low, high))

    def place(self, margin: float) -> Point:
        """Return a random point, uniform in the frame without a margin.

        Args:
            margin: Fraction of each side; a negative one allows points outside the frame.
        """
        low, high = margin, 1 - margin
        return self.between(low, high) * self.height / self.side, self.between(low, high) * self.width / self.side

    def mean_light(self) -> Colour:
        """Return the mean colour of the canvas."""
        red, green, blue = self.light.mean(axis=(1, 2))
        return float(red), float(green), float(blue)

    def absorb(self, amount: Plane | float, pigment: Colour) -> None:
        """Let `amount` of a pigment absorb light; a negative amount brightens."""
        for channel, absorption in enumerate(pigment):
            self.light[channel] *= np.exp(np.multiply(amount, -absorption, dtype=np.float32))

    def cover(self, coverage: Plane, colour: Colour) -> None:
        """Lay an opaque colour over the light; `coverage` in [0, 1]."""
        for channel, value in enumerate(colour):
            self.light[channel] += coverage * (np.float32(value) - self.light[channel])

    def noise(self, scale: float, stretch: float = 1.0, angle: float | None = None, octaves: int = 1) -> Plane:
        """Return a smooth random texture with mean 0 and deviation about 1.

        Args:
            scale: Distance between random values of the coarsest octave, in short sides; at least a pixel is used.
            stretch: Length of the texture along `angle`, relative to its length across it.
            angle: In radians; random if None, so that the lattice does not show.
            octaves: Layers of noise. Each has half the scale of the one before and 0.6 times its strength. Small images
                get fewer layers.
        """
        octaves = min(octaves, 1 + max(0, math.floor(math.log2(max(scale * self.side, 1.0)))))
        spacing = max(scale * self.side / 2 ** (octaves - 1), 1.0)
        if octaves == 1 and stretch == 1.0 and spacing < _COARSE_SPACING:
            return self._axis_aligned_noise(spacing)
        angle = self.between(0, math.pi) if angle is None else angle
        return self._rotated_noise(spacing, stretch, angle, octaves)

    def _axis_aligned_noise(self, spacing: float) -> Plane:
        """Return one octave whose lattice is too fine to be seen; costs a quarter of a rotated one."""
        lattice = self._lattice(math.ceil(self.height / spacing) + 5, math.ceil(self.width / spacing) + 5, 1)
        box = 2, 2, 2 + self.width / spacing, 2 + self.height / spacing
        return np.asarray(Image.fromarray(lattice).resize((self.width, self.height), Image.Resampling.BICUBIC, box))

    def _rotated_noise(self, spacing: float, stretch: float, angle: float, octaves: int) -> Plane:
        """Interpolate random values on a rotated and stretched lattice by cubics.

        Rotating is expensive, so a coarse texture is rotated at a fraction of the resolution and then enlarged.
        """
        coarseness = 1 if spacing < _COARSE_SPACING else int(min(spacing // (_COARSE_SPACING / 2), 8))
        height, width = math.ceil(self.height / coarseness), math.ceil(self.width / coarseness)
        across, along = spacing / coarseness, spacing / coarseness * stretch
        reach = math.hypot(height, width)
        lattice = self._lattice(math.ceil(reach / across) + 5, math.ceil(reach / along) + 5, octaves)
        a, b = math.cos(angle) / along, math.sin(angle) / along
        d, e = -math.sin(angle) / across, math.cos(angle) / across
        c = lattice.shape[1] / 2 - a * width / 2 - b * height / 2
        f = lattice.shape[0] / 2 - d * width / 2 - e * height / 2
        plane = Image.fromarray(lattice).transform(
            (width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC
        )
        if coarseness > 1:
            box = 0, 0, self.width / coarseness, self.height / coarseness
            plane = plane.resize((self.width, self.height), Image.Resampling.BICUBIC, box)
        return np.asarray(plane)

    def _lattice(self, height: int, width: int, octaves: int) -> Plane:
        """Return the sum of the random values of all octaves, on the lattice of the finest one."""
        levels = [(height, width)]
        for _ in range(octaves - 1):
            levels.append((math.ceil(levels[-1][0] / 2) + 2, math.ceil(levels[-1][1] / 2) + 2))
        values = self.generator.standard_normal(levels[-1], dtype=np.float32)
        for octave, (rows, columns) in enumerate(reversed(levels[:-1]), start=1):
            box = 1, 1, 1 + columns / 2, 1 + rows / 2
            coarser = Image.fromarray(values).resize((columns, rows), Image.Resampling.BICUBIC, box)
            finer = self.generator.standard_normal((rows, columns), dtype=np.float32)
            values = np.asarray(coarser) * np.float32(_NOISE_GAIN) + finer * np.float32(_OCTAVE_STRENGTH**octave)
        deviation = math.hypot(*(_OCTAVE_STRENGTH**octave for octave in range(octaves)))
        return values * np.float32(_NOISE_GAIN / deviation)

    def mesh(self, period: float) -> Plane:
        """Return a warped honeycomb, 1 on its lines and 0 in its holes: three plane waves at 60°, bent by noise."""
        angle = self.between(0, math.pi)
        bend = np.float32(0.5 * period)
        rows = self.rows + bend * self.noise(3 * period, octaves=2)
        columns = self.columns + bend * self.noise(3 * period, octaves=2)
        waves = np.zeros((self.height, self.width), np.float32)
        for turn in range(3):
            direction = angle + turn * math.pi / 3
            wave_number = 2 * math.pi / period
            waves += np.cos(
                np.float32(wave_number * math.sin(direction)) * rows
                + np.float32(wave_number * math.cos(direction)) * columns
            )
        return step(-waves, -1.2, 1.4)

    def strokes(self, strokes: Iterable[Stroke]) -> Plane:
        """Return the fraction of each pixel that the strokes cover, in [0, 1]."""
        factor = _SUPERSAMPLING
        sheet = Image.new("L", (self.width * factor, self.height * factor))
        pen = ImageDraw.Draw(sheet)
        for stroke in strokes:
            pixels = [(column * self.side * factor, row * self.side * factor) for row, column in stroke.points]
            pen.line(pixels, fill=255, width=max(1, round(stroke.width * self.side * factor)), joint="curve")
        return _to_unit_range(sheet.reduce(factor))

    def dots(self, dots: Iterable[tuple[Point, float]]) -> Plane:
        """Return the fraction of each pixel that discs cover, in [0, 1]; a disc is (centre, radius in short sides)."""
        scale = self.side * _SUPERSAMPLING
        sheet = Image.new("L", (self.width * _SUPERSAMPLING, self.height * _SUPERSAMPLING))
        pen = ImageDraw.Draw(sheet)
        for (row, column), radius in dots:
            box = (column - radius) * scale, (row - radius) * scale, (column + radius) * scale, (row + radius) * scale
            pen.ellipse(box, fill=255)
        return _to_unit_range(sheet.reduce(_SUPERSAMPLING))

    def distance(self, centre: Point, elongation: float = 1.0, angle: float = 0.0) -> Plane:
        """Return the distance of every pixel from `centre` in short sides.

        Distances along `angle` count `elongation` times less than distances across it.
        """
        down, right = self.rotated_coordinates(centre, angle)
        longer = np.float32(elongation**0.5)
        return np.asarray(np.hypot(down * longer, right / longer), np.float32)

    def rotated_coordinates(self, centre: Point, angle: float) -> tuple[Plane, Plane]:
        """Return the coordinates of every pixel relative to `centre`, in short sides: across and along `angle`."""
        rows, columns = self.rows - np.float32(centre[0]), self.columns - np.float32(centre[1])
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return cosine * rows - sine * columns, sine * rows + cosine * columns


def step(values: Plane, low: float, high: float) -> Plane:
    """Return 0 below `low`, 1 above `high`, and a smooth cubic between them."""
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def blur(plane: Plane, pixels: float) -> Plane:
    """Blur a plane with a Gaussian. Edges are extended.

    Args:
        plane: Values in [0, 1].
        pixels: Standard deviation of the Gaussian.

    Returns:
        The same shape, in steps of 1/255.
    """
    sheet = Image.fromarray((plane * 255 + 0.5).astype(np.uint8))
    return _to_unit_range(sheet.filter(ImageFilter.GaussianBlur(pixels)))


def _to_unit_range(sheet: Image.Image) -> Plane:
    """Convert 8-bit grey to [0, 1]."""
    return np.asarray(sheet, np.float32) / np.float32(255)
