"""Hash the coarse structure of an image, to find images that look the same although their bytes differ.

The hash is the perceptual hash of Zauner 2010 (pHash): grey, 32 x 32 pixels, discrete cosine transform, and one bit for
each of the 8 x 8 lowest frequencies: set if the coefficient is above their median. Saving an image again as JPEG,
scaling it, or changing its brightness a little changes few of the 64 bits. Turning or cropping it changes about
half of them.

An image without structure, all of one colour, has no meaningful bits. Its hash is empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

__all__ = ["perceptual_hash"]

SIDE, LOW = 32, 8
FLAT = 4.0
"""Standard deviation of the grey values, of 255, up to which an image has no structure."""


def perceptual_hash(image: NDArray[np.uint8]) -> str:
    """Return the hash of an image.

    Args:
        image: (height, width, 3) uint8 RGB, at any size; large images and their reductions have nearly the same hash.

    Returns:
        16 hexadecimal digits; "" for an image of one colour. Similar images differ in few bits.
    """
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float64)
    if values.std() <= FLAT:
        return ""
    low = fft.dctn(values, norm="ortho")[:LOW, :LOW].ravel()
    bits = low > np.median(low[1:])  # the first coefficient is the mean brightness
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
