"""Arrange panels in one picture: a caption on top, and below it the title, picture and legend of each panel."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["BACKDROP", "GAP", "LINE", "SMALLEST_SIDE", "Colour", "Panel", "compose", "rim"]

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKDROP: Colour = (24, 24, 24)
TEXT: Colour = (240, 240, 240)

SMALLEST_SIDE = 256
GAP = 8
FONT_SIZE = 13
LINE = 20
SWATCH = 11


@dataclass(frozen=True)
class Panel:
    """Hold one panel before it is placed: title, picture and legend."""

    title: str
    picture: NDArray[np.uint8]
    """(height, width, 3) uint8 RGB."""
    legend: tuple[tuple[tuple[Colour, ...], str], ...]
    """Each colour, or scale of colours, with its meaning."""


def rim(line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels next to a line, (height, width) bool."""
    return binary_dilation(line, structure=np.ones((3, 3), dtype=bool)) & ~line


def compose(panels: Sequence[Panel], caption: str) -> Image.Image:
    """Put the caption on top; below it, side by side, the title, picture and legend of each panel."""
    font = ImageFont.load_default(FONT_SIZE)
    height, width = panels[0].picture.shape[:2]
    column = max(width, SMALLEST_SIDE)  # a narrow picture still needs room for its title and legend
    total = GAP + len(panels) * (column + GAP)
    caption_lines = textwrap.wrap(caption, int((total - 2 * GAP) / font.getlength("0"))) or [""]
    legends = [_place_legend(panel.legend, column, font) for panel in panels]
    legend_lines = 1 + max(entry.line for legend in legends for entry in legend)

    titles_at = GAP + LINE * len(caption_lines)
    pictures_at = titles_at + (LINE if any(panel.title for panel in panels) else GAP // 2)
    legends_at = pictures_at + height + GAP // 2
    canvas = Image.new("RGB", (total, legends_at + LINE * legend_lines + GAP), BACKDROP)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(caption_lines):
        pen.text((GAP, GAP // 2 + LINE * number), line, TEXT, font)
    for number, (panel, legend) in enumerate(zip(panels, legends, strict=True)):
        left = GAP + number * (column + GAP)
        pen.text((left, titles_at), panel.title, TEXT, font)
        canvas.paste(Image.fromarray(panel.picture), (left, pictures_at))
        for entry in legend:
            _draw_entry(pen, entry, (left, legends_at), font)
    return canvas


@dataclass(frozen=True)
class _Entry:
    """Hold one entry of a legend with its position: `x` in pixels from the left, `line` from the top."""

    x: int
    line: int
    colours: tuple[Colour, ...]
    text: str

    @property
    def swatch_width(self) -> int:
        return SWATCH if len(self.colours) == 1 else SWATCH * len(self.colours) // 2


def _place_legend(legend: tuple[tuple[tuple[Colour, ...], str], ...], column: int, font: Font) -> list[_Entry]:
    """Place the entries from left to right; start a new line at the end of the column."""
    entries: list[_Entry] = []
    x = line = 0
    for colours, text in legend:
        entry = _Entry(x, line, colours, text)
        width = entry.swatch_width + GAP // 2 + math.ceil(font.getlength(text))
        if x and x + width > column:
            x, line = 0, line + 1
            entry = _Entry(x, line, colours, text)
        entries.append(entry)
        x += width + 2 * GAP
    return entries


def _draw_entry(pen: ImageDraw.ImageDraw, entry: _Entry, origin: tuple[int, int], font: Font) -> None:
    left, top = origin[0] + entry.x, origin[1] + LINE * entry.line
    step = entry.swatch_width / len(entry.colours)
    for number, colour in enumerate(entry.colours):
        corners = (left + step * number, top + 3, left + step * (number + 1) - 1, top + 3 + SWATCH - 1)
        pen.rectangle(corners, colour)
    pen.text((left + entry.swatch_width + GAP // 2, top), entry.text, TEXT, font)
