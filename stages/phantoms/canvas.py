"""The sheet a phantom is drawn on: its lengths, its light, and the few marks everything else is made of.

Light follows the skin's own optics in small: a pigment absorbs (Beer–Lambert, light · exp(−amount · absorption) in
each colour), and only what lies on the skin or scatters in front of it covers. That keeps a brown lesion on dark skin
and the same lesion on pale skin the same lesion. Lengths are shares of the image's short side, so a phantom of another
size shows the same things, not the same pixels.

Textures come from one kind of noise (random values on a turned, stretched lattice, interpolated by cubics) and one
regular mesh. Nothing here knows what skin or a lesion is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane = NDArray[np.float32]
"""(height, width) float32, one value a pixel."""

Colour = tuple[float, float, float]
"""Red, green, blue: reflected light in [0, 1], or absorption for one unit of a pigment."""

Point = tuple[float, float]
"""(row, column) in short sides from the top left corner."""

MELANIN: Colour = (0.32, 1.00, 1.38)
"""Melanin near the surface: brown. The three ratios fit lesion against skin in ISIC 2018's images."""
DEEP_MELANIN: Colour = (1.05, 1.00, 0.86)
"""Melanin in the dermis: the scatter above it turns brown to black and slate."""
HAEMOGLOBIN: Colour = (0.16, 0.80, 0.68)
"""Blood: pink to red."""

_SUPERSAMPLING = 3
_COARSE_SPACING = 4.0  # pixels between random values from which half the resolution shows the same texture
_OCTAVE_STRENGTH = 0.6
_NOISE_GAIN = 1.25  # cubic interpolation averages: this brings the deviation back to about one


@dataclass(frozen=True)
class Stroke:
    """A curved line of one width."""

    points: tuple[Point, ...]
    width: float
    """In short sides; thinner than a third of a pixel is drawn as a third of a pixel."""


class Canvas:
    """Light on a sheet of skin, and the generator whose numbers decide what is drawn.

    Attributes:
        light: (3, height, width) float32, reflected light in [0, 1] (it may leave that range until the image is made).
        rows, columns: (height, 1) and (1, width) float32, pixel centres in short sides.
        area: the sheet's area in short sides squared.
    """

    def __init__(self, height: int, width: int, generator: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.side = float(min(height, width))
        self.area = height * width / self.side**2
        self.generator = generator
        self.light = np.ones((3, height, width), np.float32)
        self.rows: Plane = ((np.arange(height, dtype=np.float32) + 0.5) / self.side)[:, None]
        self.columns: Plane = ((np.arange(width, dtype=np.float32) + 0.5) / self.side)[None, :]

    def chance(self, share: float) -> bool:
        """True in `share` of the draws."""
        return bool(self.generator.random() < share)

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly from [low, high)."""
        return float(self.generator.uniform(low, high))

    def place(self, margin: float) -> Point:
        """A point drawn evenly from the frame less `margin` (a share of each side; negative reaches outside)."""
        low, high = margin, 1 - margin
        return self.between(low, high) * self.height / self.side, self.between(low, high) * self.width / self.side

    def mean_light(self) -> Colour:
        """The mean colour of the sheet."""
        red, green, blue = self.light.mean(axis=(1, 2))
        return float(red), float(green), float(blue)

    def absorb(self, amount: Plane | float, pigment: Colour) -> None:
        """Let `amount` of a pigment absorb light; a negative amount makes the place paler."""
        for channel, absorption in enumerate(pigment):
            self.light[channel] *= np.exp(np.multiply(amount, -absorption, dtype=np.float32))

    def cover(self, coverage: Plane, colour: Colour) -> None:
        """Lay an opaque colour over the light; `coverage` in [0, 1]."""
        for channel, value in enumerate(colour):
            self.light[channel] += coverage * (np.float32(value) - self.light[channel])

    def noise(self, scale: float, stretch: float = 1.0, angle: float | None = None, octaves: int = 1) -> Plane:
        """Smooth random texture, mean 0, deviation about 1.

        Args:
            scale: distance between neighbouring random values of the coarsest octave; not finer than a pixel.
            stretch: how many times longer the texture is along `angle` than across it.
            angle: in radians; drawn when not given, so that no lattice shows.
            octaves: layers of noise, each at half the scale of the last and 0.6 times as strong; fewer in few pixels.
        """
        octaves = min(octaves, 1 + max(0, math.floor(math.log2(max(scale * self.side, 1.0)))))
        spacing = max(scale * self.side / 2 ** (octaves - 1), 1.0)
        if octaves == 1 and stretch == 1.0 and spacing < _COARSE_SPACING:
            return self._axis_aligned_noise(spacing)
        angle = self.between(0, math.pi) if angle is None else angle
        return self._rotated_noise(spacing, stretch, angle, octaves)

    def _axis_aligned_noise(self, spacing: float) -> Plane:
        """One octave, too fine for its lattice to show: four times cheaper than a turned one."""
        lattice = self._lattice(math.ceil(self.height / spacing) + 5, math.ceil(self.width / spacing) + 5, 1)
        box = 2, 2, 2 + self.width / spacing, 2 + self.height / spacing
        return np.asarray(Image.fromarray(lattice).resize((self.width, self.height), Image.Resampling.BICUBIC, box))

    def _rotated_noise(self, spacing: float, stretch: float, angle: float, octaves: int) -> Plane:
        """Random values on a turned and stretched lattice, interpolated by cubics.

        Turning is the dear part, so a coarse texture is turned at a fraction of the resolution and then enlarged.
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
        """The random values of all octaves, on the finest one's lattice."""
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
        """A warped honeycomb: 1 on its lines, 0 in its holes; three plane waves at 60°, bent by noise."""
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
        """How much of each pixel the strokes cover, in [0, 1]."""
        factor = _SUPERSAMPLING
        sheet = Image.new("L", (self.width * factor, self.height * factor))
        pen = ImageDraw.Draw(sheet)
        for stroke in strokes:
            pixels = [(column * self.side * factor, row * self.side * factor) for row, column in stroke.points]
            pen.line(pixels, fill=255, width=max(1, round(stroke.width * self.side * factor)), joint="curve")
        return _to_unit_range(sheet.reduce(factor))

    def dots(self, dots: Iterable[tuple[Point, float]]) -> Plane:
        """How much of each pixel the discs cover, in [0, 1]; a disc is its centre and its radius in short sides."""
        scale = self.side * _SUPERSAMPLING
        sheet = Image.new("L", (self.width * _SUPERSAMPLING, self.height * _SUPERSAMPLING))
        pen = ImageDraw.Draw(sheet)
        for (row, column), radius in dots:
            box = (column - radius) * scale, (row - radius) * scale, (column + radius) * scale, (row + radius) * scale
            pen.ellipse(box, fill=255)
        return _to_unit_range(sheet.reduce(_SUPERSAMPLING))

    def distance(self, centre: Point, elongation: float = 1.0, angle: float = 0.0) -> Plane:
        """Distance of every pixel from `centre`, measured `elongation` times shorter along `angle`."""
        down, right = self.rotated_coordinates(centre, angle)
        longer = np.float32(elongation**0.5)
        return np.asarray(np.hypot(down * longer, right / longer), np.float32)

    def rotated_coordinates(self, centre: Point, angle: float) -> tuple[Plane, Plane]:
        """Coordinates of every pixel from `centre`, across and along `angle`."""
        rows, columns = self.rows - np.float32(centre[0]), self.columns - np.float32(centre[1])
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return cosine * rows - sine * columns, sine * rows + cosine * columns


def step(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, and a smooth cubic between them."""
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def blur(plane: Plane, pixels: float) -> Plane:
    """A plane of values in [0, 1] blurred by a Gaussian of this deviation, to 1/255; the edge is continued outwards."""
    sheet = Image.fromarray((plane * 255 + 0.5).astype(np.uint8))
    return _to_unit_range(sheet.filter(ImageFilter.GaussianBlur(pixels)))


def _to_unit_range(sheet: Image.Image) -> Plane:
    return np.asarray(sheet, np.float32) / np.float32(255)
