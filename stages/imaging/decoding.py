"""Decode an image file to 8-bit RGB.

| the file holds                       | the result                                                       |
|--------------------------------------|------------------------------------------------------------------|
| 8-bit RGB                            | unchanged                                                        |
| 8-bit grey; 2 and 4 bits (PNG)       | repeated to three channels; 2 and 4 bits spread over 0-255       |
| 1 bit                                | 0 and 255                                                        |
| palette                              | its colours                                                      |
| alpha or a transparent colour, 8-bit | composited on black                                              |
| CMYK, YCbCr, LAB                     | RGB as Pillow converts it; embedded colour profiles are not used |
| grey in 16 or 32 bits, float, signed | converted by a rule of `stages.imaging.intensities`              |
| 16-bit RGB, RGBA, grey + alpha       | composited on black, then converted so over all channels         |
| 16-bit CMYK                          | the high byte of every value; Pillow reads no more               |
| HEIC, AVIF of more than 8 bits       | converted to 8 bits from the full range of their bits            |
| an array file (`.npz`)               | its array `image`, (row, column), converted so; 8-bit values are |
|                                      | scaled from their lowest to their highest by every rule          |
| EXIF orientation (TIFF and XMP too)  | applied; height and width are those of the upright image         |

Volumes, whose files have several planes, channels, or forms that Pillow cannot read, are decoded by
`stages.imaging.volumes`.

Rejected, each with a message that says what to do: NaN or infinity in a float image; several pages or frames in a file
whose name does not say so; contents of other formats; files that are empty, truncated, damaged, unreadable, or larger
than Pillow's limit against decompression bombs (see `stages.imaging.opening`).

`read_image` returns the image at the file's own size. `read_resized` returns it at other sizes. It decodes a JPEG at
1/2, 1/4 or 1/8 of its size if both sides stay at least twice the longer side asked for, so that the antialiased resize
has at least two source pixels for each pixel of the result. The reduction depends on the file and on the size only. So
an image at one size is the same whatever other sizes are asked for with it.

Without a rule, values of more than 8 bits are scaled from the lowest to the highest of the image. A rule that depends
on the image or its file keeps the contrast of scans in 12 or 16 bits. As a consequence, brightness cannot be compared
between such images. With two given values, `LOW:HIGH`, it can.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.imaging.arrays import is_array_file, is_deep_array, read_image_array
from stages.imaging.deep_values import deep_values
from stages.imaging.fitting import Canvas, fit_image, key_on_canvas
from stages.imaging.intensities import MINMAX, IntensityRule, to_8_bits
from stages.imaging.jpeg import reduction
from stages.imaging.kept import file_version
from stages.imaging.levels import read_from_level
from stages.imaging.memo_keys import memo_key
from stages.imaging.opening import (
    Picture,
    decode_picture,
    open_picture,
    read_file,
    refuse,
)
from stages.imaging.parts import WHOLE, Box, Part, part_digest
from stages.imaging.regions import PICTURES, cut_out, inside, widened
from stages.imaging.volumes.channels import key_of_channels, picture_channels
from stages.imaging.volumes.opened import file_digest, open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.shown import read_plane, volume_memo_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = [
    "OVERSAMPLING",
    "DecodedImage",
    "ResizedImage",
    "choose_channels",
    "key_of_maps",
    "on_black",
    "read_image",
    "read_resized",
    "scale_to_8_bits",
    "to_rgb",
]

OVERSAMPLING = 2
"""Minimum number of pixels of a reduced JPEG, along each side, for one pixel of the size asked for."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Hold the pixels of an image, and the digest of its file."""

    pixels: NDArray[np.uint8]
    """(height, width, 3) uint8 RGB, writable and contiguous, upright."""
    digest: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""

    @property
    def height(self) -> int:
        """Number of rows of the upright image."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns of the upright image."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class ResizedImage:
    """Hold an image at the sizes asked for, with the digest and the size of its file."""

    images: tuple[NDArray[np.uint8], ...]
    """One (height, width, 3) uint8 RGB per size, upright. Equal sizes share one array."""
    digest: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    height: int
    """Number of rows of the upright image in the file."""
    width: int
    """Number of columns of the upright image in the file."""
    memo_key: str
    """The memo's key for its attention; see `stages.imaging.memo_keys`."""


def read_image(path: Path, part: Part = WHOLE, rule: IntensityRule = MINMAX) -> DecodedImage:
    """Read an image file by the table above.

    Args:
        path: A picture, as in `stages.imaging.opening`, an array file (`.npz`), or a volume.
        part: The part of the file.
        rule: How values of more than 8 bits are shown.

    Returns:
        Its pixels and its digest. The file is read once, so both come from the same bytes.

    Raises:
        InputProblemsError: the file cannot be used. The error has one problem, which says why.
    """
    if part.box is not None:
        return _read_region(path, part, part.box, rule)
    if is_volume_file(path):
        return DecodedImage(read_plane(path, part, rule), part_digest(file_digest(path), part))
    if is_array_file(path):
        values, digest = read_image_array(path)
        return DecodedImage(scale_to_8_bits(path, values, rule if is_deep_array(values.dtype) else MINMAX), digest)
    picture = open_picture(path)
    pixels = _pixels(path, picture, rule)
    return DecodedImage(choose_channels(path, pixels, part.channels) if part.channels else pixels, picture.digest)


def read_resized(
    path: Path,
    sizes: Sequence[Size],
    part: Part = WHOLE,
    rule: IntensityRule = MINMAX,
    aspect: Size | None = None,
) -> ResizedImage:
    """Read an image file by the table above, and stretch it to one or more sizes.

    Args:
        path: A picture, as in `stages.imaging.opening`, an array file (`.npz`), or a volume.
        sizes: (height, width) of each result; at least one size.
        part: The part of the file.
        rule: How values of more than 8 bits are shown.
        aspect: Pad the image to this aspect first, as in `stages.imaging.fitting`; None to stretch it.

    Returns:
        The image at each size. The file is read once. It is decoded once, unless the sizes need different reductions
        of a JPEG.

    Raises:
        InputProblemsError: the file cannot be used. The error has one problem, which says why.
        UsageError: a side of a size is less than 1.
    """
    if is_volume_file(path) or part.box is not None:
        return _resize_part(path, part, sizes, rule, aspect)
    if is_array_file(path):
        slice_ = read_image(path, rule=rule)
        return _resize_whole(slice_, sizes, memo_key(path, b"", slice_.digest, rule), aspect)
    data = read_file(path)
    if part.channels:
        return _resize_whole(read_image(path, part, rule), sizes, key_of_maps(path, part, rule), aspect)
    first = _decode_for(path, data, sizes[0])
    resized: dict[Size, NDArray[np.uint8]] = {}
    image, canvas = _to_image(path, first, rule), Canvas.around(first.size, aspect)
    for size in sizes:
        if size in resized:
            continue
        picture = first
        # Decode again only if this size needs another reduction of a JPEG.
        if first.reducible and reduction(first.size, OVERSAMPLING * max(size)) != first.reduced:
            picture = _decode_for(path, data, size)
        source = image if picture is first else _to_image(path, picture, rule)
        resized[size] = fit_image(source, size, canvas, picture.box)
    key = key_on_canvas(memo_key(path, data, first.digest, rule), aspect)
    return ResizedImage(tuple(resized[size] for size in sizes), first.digest, *first.size, key)


def key_of_maps(path: Path, part: Part = WHOLE, rule: IntensityRule = MINMAX) -> str:
    """Return the memo's key of an image's maps, as `ResizedImage.memo_key`, without decoding the image.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    if is_volume_file(path):
        return volume_memo_key(path, part, rule)
    if part.box is not None:
        key = part_digest(_key_of_picture(file_version(path), path, rule), part)
        return key_of_channels(key, part.channels)
    data = read_file(path)
    key = memo_key(path, data, hashlib.sha256(data).hexdigest(), rule)
    return key_of_channels(key, part.channels)


def choose_channels(path: Path, pixels: NDArray[np.uint8], channels: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return (row, column, 3) with some of the colours of a picture: one as grey, two as red and green, or three.

    Raises:
        InputProblemsError: it has no such channel.
    """
    chosen = [pixels[..., at] for at in picture_channels(path, channels)]
    if len(chosen) == 1:
        chosen *= 3
    return np.stack([*chosen, *[np.zeros_like(chosen[0])] * (3 - len(chosen))], axis=2)


@lru_cache(maxsize=64)
def _key_of_picture(version: object, path: Path, rule: IntensityRule) -> str:  # noqa: ARG001 - a changed file is read again
    return key_of_maps(path, WHOLE, rule)


def _read_region(path: Path, part: Part, box: Box, rule: IntensityRule) -> DecodedImage:
    """Return a region of an image, black outside of it. See `stages.imaging.regions`."""
    if is_volume_file(path):
        inner = inside(box, open_volume(path, part.axis).facts.size)
        pixels = np.zeros((*inner[2:], 3), np.uint8)
        if pixels.size:
            pixels = read_plane(path, replace(part, box=inner), rule)
        return DecodedImage(widened(pixels, inner, box, 0), part_digest(file_digest(path), part))
    pixels, digest = PICTURES.get((file_version(path), str(rule)), lambda: _whole_picture(path, rule))
    cut = cut_out(pixels, box, 0)
    return DecodedImage(choose_channels(path, cut, part.channels) if part.channels else cut, part_digest(digest, part))


def _whole_picture(path: Path, rule: IntensityRule) -> tuple[NDArray[np.uint8], str]:
    image = read_image(path, WHOLE, rule)
    return image.pixels, image.digest


def _decode_for(path: Path, data: bytes, size: Size) -> Picture:
    """Decode the file's bytes, a JPEG reduced as far as `size` allows."""
    # At least 1: `resize_image` is the one that rejects a size without pixels.
    return decode_picture(path, data, side=max(1, OVERSAMPLING * max(size)))


def _resize_part(
    path: Path, part: Part, sizes: Sequence[Size], rule: IntensityRule, aspect: Size | None
) -> ResizedImage:
    """Stretch a volume or a region; from a lower resolution of the file if there is one that is fine enough."""
    key = key_of_maps(path, part, rule)
    coarse = {size: read_from_level(path, part, size, rule) for size in dict.fromkeys(sizes)}
    if any(pixels is None for pixels in coarse.values()):
        return _resize_whole(read_image(path, part, rule), sizes, key, aspect)
    resized = {
        size: fit_image(pixels, size, Canvas.around((pixels.shape[0], pixels.shape[1]), aspect))
        for size, pixels in coarse.items()
        if pixels is not None
    }
    digest = part_digest(file_digest(path), part)
    height, width = open_volume(path, part.axis).facts.size if part.box is None else part.box[2:]
    return ResizedImage(tuple(resized[size] for size in sizes), digest, height, width, key_on_canvas(key, aspect))


def _resize_whole(image: DecodedImage, sizes: Sequence[Size], key: str, aspect: Size | None) -> ResizedImage:
    """Stretch an image that was read whole to the sizes."""
    canvas = Canvas.around((image.height, image.width), aspect)
    resized = {size: fit_image(image.pixels, size, canvas) for size in dict.fromkeys(sizes)}
    images = tuple(resized[size] for size in sizes)
    return ResizedImage(images, image.digest, image.height, image.width, key_on_canvas(key, aspect))


def _pixels(path: Path, picture: Picture, rule: IntensityRule) -> NDArray[np.uint8]:
    """Return the picture as (height, width, 3) uint8 RGB, writable."""
    if picture.pixels is not None:
        return np.repeat(picture.pixels, 3, 2) if picture.pixels.shape[2] == 1 else picture.pixels[..., :3]
    return np.array(_to_image(path, picture, rule))  # array, not asarray: a view of Pillow's memory would be read-only


def _to_image(path: Path, picture: Picture, rule: IntensityRule) -> Image.Image:
    """Return the picture in mode L, RGB or RGBX, with as few copies of its pixels as possible."""
    if picture.pixels is not None:
        height, width, channels = picture.pixels.shape
        if channels == 3:  # noqa: PLR2004 - RGB
            return Image.fromarray(picture.pixels)
        # Pillow uses the same memory for this image: nothing is copied.
        return Image.frombuffer("L" if channels == 1 else "RGBX", (width, height), picture.pixels)
    if picture.deep_colours is not None:
        colours = on_black(picture.deep_colours, picture.image.info.get("transparency"))
        return Image.fromarray(scale_to_8_bits(path, colours, rule))
    deep = deep_values(picture.image)
    return to_rgb(picture.image) if deep is None else Image.fromarray(scale_to_8_bits(path, deep, rule))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of 8 bits or fewer to RGB; transparency is composited on black."""
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def on_black(colours: NDArray[np.uint16], transparent: object = None) -> NDArray[Any]:
    """Composite colours of 16 bits on black.

    Args:
        colours: (height, width, 3 or 4) RGB or RGBA.
        transparent: The one colour of a PNG that is transparent, as (red, green, blue); anything else for none.

    Returns:
        (height, width, 3), uint16 or float32.
    """
    if colours.shape[2] == 4:  # noqa: PLR2004 - RGBA
        return colours[..., :3] * (colours[..., 3:] / np.float32(65535))
    if isinstance(transparent, tuple):
        return np.where((colours == np.array(transparent)).all(axis=2, keepdims=True), np.uint16(0), colours)
    return colours


def scale_to_8_bits(path: Path, values: NDArray[Any], rule: IntensityRule) -> NDArray[np.uint8]:
    """Convert an image of more than 8 bits to RGB by a rule, over all channels.

    Args:
        path: Names the file in messages.
        values: (height, width) grey or (height, width, 3) RGB.
        rule: How the values are shown.

    Raises:
        InputProblemsError: values are NaN or infinite.
    """
    unusable = int(values.size - np.isfinite(values).sum())
    if unusable:
        refuse(path, f"{unusable} of {values.size} pixels are NaN or infinite; give them a value or remove the image")
    return to_8_bits(values, *rule.range_of(values))
