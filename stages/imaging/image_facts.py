"""Tell from the header of an image file what kind of values it holds; no pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ExifTags

from stages.imaging.arrays import array_header, is_array_file, is_deep_array
from stages.imaging.deep_values import is_deep, values_name
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import open_header, refuse
from stages.imaging.parts import Part
from stages.imaging.upright import TURNED_ORIENTATIONS
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.volume import DEEP_VALUES, name_of_type
from stages.settings import Size
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["ImageFacts", "image_facts"]

GREY_MODES = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """Hold what the header of an image says."""

    size: Size
    """(height, width) as stored in the file, of the part that the sample is."""
    upright: Size
    """(height, width) after an EXIF orientation; that of a PNG is not known from its header."""
    values: str
    """Type of the values in words, such as "8-bit" or "32-bit float"."""
    deep: bool
    """True if a rule of intensities converts the values."""
    channels: int
    """1 for grey, 3 for colour, any number for signals such as stains; any number if they are separate."""
    separate: bool = False
    """True if the channels are signals of their own, and not red, green and blue."""
    channel_names: tuple[str, ...] = ()
    """Names of separate channels, in the order of the file; none if the file does not name them."""
    spacing_mm: tuple[float, float] | None = None
    """Millimetres between the centres of neighbouring rows, and of columns; None if the file does not say it."""
    orientation: str = ""
    """Orientation of the planes in the body, such as "axial"; "" if the file does not say it."""


def image_facts(path: Path, part: Part) -> ImageFacts:
    """Return what the header of an image file says about a part of it.

    Raises:
        InputProblemsError: the file cannot be used, as far as the header shows it.
    """
    facts = _facts(path, part)
    if part.box is None:
        return facts
    size = part.box[2], part.box[3]
    return ImageFacts(**{**vars(facts), "size": size, "upright": size})


def _facts(path: Path, part: Part) -> ImageFacts:
    if is_volume_file(path):
        return _of_volume(path, part)
    if is_array_file(path):
        size, dtype = array_header(path)
        deep = is_deep_array(dtype)
        return ImageFacts(size=size, upright=size, values=name_of_type(dtype), deep=deep, channels=1)
    try:
        with open_regular(path) as file:
            return _of_picture(open_header(path, file))
    except OSError as error:
        refuse(path, explain_unreadable(error))


def _of_volume(path: Path, part: Part) -> ImageFacts:
    facts = open_volume(path, part.axis).facts
    return ImageFacts(
        size=facts.size,
        upright=facts.size,
        values=facts.values or (DEEP_VALUES if facts.deep else "8-bit"),
        deep=facts.deep,
        channels=facts.channels,
        separate=facts.separate,
        channel_names=facts.channel_names if facts.separate else (),
        spacing_mm=None if facts.spacing_mm is None else facts.spacing_mm[:2],
        orientation=facts.orientation,
    )


def _of_picture(image: ImageFile.ImageFile) -> ImageFacts:
    width, height = image.size
    # For a PNG, the orientation may follow the pixels, and asking for it would decode them. A TIFF's size is upright.
    turned = (
        image.format not in {"PNG", "TIFF"} and image.getexif().get(ExifTags.Base.Orientation) in TURNED_ORIENTATIONS
    )
    grey = image.mode in GREY_MODES or image.mode.startswith("I;16")
    return ImageFacts(
        size=(height, width),
        upright=(width, height) if turned else (height, width),
        values=values_name(image),
        deep=is_deep(image),
        channels=1 if grey else 3,
    )
