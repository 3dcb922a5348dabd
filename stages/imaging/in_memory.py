"""Take an image that is an array in memory, and show it by the rules for image files.

| the array                                    | the same as a file                                          |
|----------------------------------------------|-------------------------------------------------------------|
| (row, column, 3) uint8                       | an 8-bit RGB picture                                        |
| (row, column) uint8                          | an 8-bit grey picture                                       |
| (row, column) bool                           | a picture of 1 bit: 0 and 255                               |
| (row, column, 4) uint8 or uint16             | a picture with alpha: composited on black                   |
| other integers and floats, grey or RGB       | a picture of more than 8 bits: the rule of intensities      |

The pixels at every size are those that a PNG or TIFF file with the same values gives (`stages.imaging.decoding`).
Arrays of other shapes and types are refused; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.errors import UsageError
from stages.imaging.context import cut_with_context
from stages.imaging.decoding import choose_channels, on_black, scale_to_8_bits, to_rgb
from stages.imaging.fitting import Canvas, fit_image
from stages.imaging.regions import cut_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.image_rules import ImageRules
    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["ArrayImage"]

RGB, RGBA = 3, 4
WHITE = np.uint8(255)
BYTES_OF_ALPHA = 2
"""Most bytes of a value of an image with alpha."""
DEEP = "iuf"
"""Kinds of NumPy's types whose values a rule of intensities converts: signed, unsigned, float."""


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """Hold an image in memory, already converted to 8 bits."""

    name: str
    """Name of the image in messages."""
    pixels: NDArray[np.uint8]
    """(row, column, 3) RGB."""
    deep: bool
    """True if the rule of intensities converted its values."""

    @classmethod
    def of(cls, values: Any, rules: ImageRules, *, name: str) -> ArrayImage:
        """Convert an array by the rules of a store or a model.

        Args:
            values: The array, see the module.
            rules: Give the rule of intensities and the channels.
            name: Names the image in messages.

        Raises:
            UsageError: it is no such array; the message says what to change.
            InputProblemsError: values are NaN or infinite, or the image has not the channels of the rules.
        """
        array = _require_image(values, name)
        deep = array.dtype not in (np.uint8, np.bool_)
        path = Path(name)  # only names the image in messages
        if deep:
            opaque = on_black(array) if array.shape[2:] == (RGBA,) else array
            pixels = scale_to_8_bits(path, opaque, rules.window)
        else:
            pixels = _shown(array)
        return cls(name, choose_channels(path, pixels, rules.channels) if rules.channels else pixels, deep)

    @property
    def size(self) -> Size:
        """(rows, columns) of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def resized(self, box: Box | None, size: Size, aspect: Size | None) -> NDArray[np.uint8]:
        """Return the image at another size, as `stages.imaging.decoding.read_resized` does for a file.

        Args:
            box: A region; None for all of the image.
            size: (rows, columns) of the result.
            aspect: Pad to this aspect first; None to stretch.

        Returns:
            (*size, 3) uint8 RGB.
        """
        pixels = self.pixels if box is None else cut_out(self.pixels, box, 0)
        return fit_image(pixels, size, Canvas.around((pixels.shape[0], pixels.shape[1]), aspect))

    def with_context(self, box: Box | None, input_size: Size, context: Size) -> NDArray[np.uint8]:
        """Return the image with its surroundings; see `stages.imaging.context.read_with_context`."""
        return cut_with_context(self.pixels, box, input_size, context)


def _shown(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return values of 8 bits or 1 bit as (row, column, 3) RGB."""
    if array.shape[2:] == (RGBA,):
        return np.array(to_rgb(Image.fromarray(np.ascontiguousarray(array))))
    shown = array * WHITE if array.dtype == np.bool_ else array
    return np.repeat(shown[..., None], RGB, axis=2) if shown.ndim < RGB else np.ascontiguousarray(shown)


def _require_image(values: Any, name: str) -> NDArray[Any]:
    """Return the values if they are an image.

    Raises:
        UsageError: they are not.
    """
    if not isinstance(values, np.ndarray):
        kind = type(values)
        raise UsageError(
            f"{name}: is a {kind.__module__}.{kind.__qualname__}, and a NumPy array is needed.\n"
            "  Convert it with numpy.asarray, (row, column) grey or (row, column, 3) RGB."
        )
    if values.dtype.kind not in DEEP and values.dtype != np.bool_:
        raise UsageError(
            f"{name}: holds values of type {values.dtype}, and an image has numbers that are not complex.\n"
            "  Convert it to uint8, uint16 or float32."
        )
    if np.ma.is_masked(values):
        raise UsageError(
            f"{name}: is a masked array, and masked values have no colour.\n  Give them a value: image.filled(0)."
        )
    with_alpha = values.shape[2:] == (RGBA,) and values.dtype.kind == "u" and values.dtype.itemsize <= BYTES_OF_ALPHA
    if not (values.ndim == RGB - 1 or values.shape[2:] == (RGB,) or with_alpha):
        raise UsageError(
            f"{name}: has the shape {values.shape}; give (row, column), (row, column, 3) or (row, column, 4)."
            f"{_hint(values)}"
        )
    if not values.size:
        raise UsageError(f"{name}: has the shape {values.shape}, which holds no pixel.\n  Leave the image out.")
    return values


def _hint(values: NDArray[Any]) -> str:
    """Return what to do about an array of another shape; "" if that is not clear."""
    shape = values.shape
    if values.ndim == RGB and shape[2] == 1:
        return "\n  Remove the last axis: image[..., 0]."
    if values.ndim == RGB and shape[2] == RGB + 1:
        return "\n  With alpha, values are uint8 or uint16. Convert the image, or remove the channel: image[..., :3]."
    if values.ndim == RGB and shape[2] == RGB - 1:
        return "\n  Choose one channel, such as the grey values beside alpha: image[..., 0]."
    if values.ndim == RGB and shape[0] in (1, RGB):
        return "\n  Channels come last: numpy.moveaxis(image, 0, -1)."
    if values.ndim == RGB + 1:
        return "\n  For several images use `batch`."
    return ""
