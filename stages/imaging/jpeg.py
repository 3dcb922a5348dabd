"""Decode JPEG files strictly: a file whose pixels are wrong is an error.

A JPEG has no checksum. When its scan is damaged, libjpeg reports a warning and invents the rest of the pixels; Pillow
drops the warning. Here libjpeg-turbo is called by `simplejpeg`, which raises the first warning as an error.

| warning of libjpeg                                     | the file is |
|--------------------------------------------------------|-------------|
| premature end of data segment, or of the file          | refused     |
| bad Huffman code, bad arithmetic code                  | refused     |
| found a marker instead of a restart marker             | refused     |
| inconsistent progression sequence                      | refused     |
| extraneous bytes before a marker that follows a scan   | refused     |
| the same, if the bytes are all equal (padding)         | read        |
| extraneous bytes between the headers                   | read        |
| bad ICC marker, unknown JFIF revision                  | read        |
| unknown code of Adobe's colour transform               | read        |
| parameters of a progressive scan in a sequential file  | read        |

Warnings that are ignored do not concern the pixels. Bytes after the end of the picture cause no warning. Some damage
cannot be detected, because the decoder still finds the right number of blocks: most changes of a single byte, and some
gaps of a few bytes. Pictures with unusual sampling of their colours (not 4:4:4,
4:4:0, 4:2:2, 4:2:0, 4:1:1 or 4:4:1) are decoded by Pillow without this check.

The pixels are those of Pillow, bit for bit, at full size and reduced: both use libjpeg-turbo with the same settings. So
attention that was cached for pixels from Pillow stays valid. A test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg
from numpy.typing import NDArray

__all__ = ["REDUCIBLE", "JpegDamagedError", "check_scan", "decode_jpeg", "reduction"]

REDUCIBLE = ("JPEG", "MPO")
"""Pillow's names of the formats that can be decoded at a fraction of their size."""
REDUCTIONS = (8, 4, 2)
SMALL = 8
"""Below this many rows and columns, other reductions than the one asked for give the same size."""
MOST_REPAIRS = 8
"""Largest number of harmless warnings in one file. Each costs one more decoding."""
WARNINGS = re.compile(
    "premature end|bad Huffman|bad arithmetic|extraneous bytes|instead of RST|inconsistent progression|bad ICC"
    "|unknown JFIF|unknown Adobe|Invalid SOS parameters",
    re.IGNORECASE,
)
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x(\w\w)")
END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that is neither a restart marker nor a stuffed zero byte."""
SCAN, APP0, APP14 = 0xDA, 0xE0, 0xEE
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
COMPONENTS = 9
"""Position of the number of components in a frame's header."""
WHOLE_SPECTRUM = b"\x00\x3f\x00"
"""First and last frequency, and bit position, of a sequential scan."""
CODE = 15
"""Position of the code of the colour transform in Adobe's segment."""
TRANSFORMS = {3: b"\x01", 4: b"\x02"}
"""By number of components: the code that libjpeg takes an unknown one for."""


class JpegDamagedError(ValueError):
    """The scan of a JPEG is damaged. The text is libjpeg's warning."""


def reduction(size: tuple[int, int], side: int) -> int:
    """Return the largest reduction of a JPEG that leaves both sides at least `side` pixels long: 1, 2, 4 or 8.

    One length serves both sides, so the result does not depend on the orientation in which the picture is stored.

    Args:
        size: The picture's two sides in pixels, in any order.
        side: In pixels, at least 1.
    """
    return next((by for by in REDUCTIONS if min(size) // side >= by), 1)


def decode_jpeg(
    data: bytes, mode: str, size: tuple[int, int], reduced: int = 1, *, padded: bool = False
) -> NDArray[np.uint8] | None:
    """Decode a JPEG, or only check it.

    Args:
        data: The file's bytes.
        mode: Pillow's mode of the picture, from its header.
        size: (height, width) from its header.
        reduced: Reduction along each side: 1, 2, 4 or 8.
        padded: Add an unused byte to each pixel in colour. Pillow resizes such pixels without copying them.

    Returns:
        (height, width, 3) RGB, with `padded` (height, width, 4), or (height, width, 1) grey; each side is divided by
        `reduced` and rounded up. None for a picture that only Pillow decodes: CMYK, very small, or of a kind that
        libjpeg-turbo does not know. Its scan was checked if libjpeg-turbo can read it.

    Raises:
        JpegDamagedError: libjpeg warns about damage of the pixels.
    """
    rows, columns = -(-size[0] // reduced), -(-size[1] // reduced)
    space = {"L": "GRAY", "RGB": "RGBX" if padded else "RGB"}.get(mode)
    if space is None or max(rows, columns) < SMALL:
        check_scan(data)
        return None
    return _decode(data, space, rows, columns)


def check_scan(data: bytes) -> None:
    """Check the scan of a JPEG of any kind of colour.

    Raises:
        JpegDamagedError: as in `decode_jpeg`.
    """
    _decode(data, "GRAY", 1, 1)  # at 1/8 of the size: the whole scan is read, and little is computed


def _decode(data: bytes, space: str, rows: int, columns: int) -> NDArray[np.uint8] | None:
    """Decode to the smallest size that has `rows` and `columns`. Return None if libjpeg-turbo refuses the kind."""
    for _ in range(MOST_REPAIRS):
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, space, min_height=rows, min_width=columns)
        except ValueError as error:
            warning = str(error)
            if not WARNINGS.search(warning):
                return None  # Pillow decodes it, or says what is wrong
            repaired = _without_harmless_part(data, warning)
            if repaired is None or repaired == data:
                raise JpegDamagedError(warning) from None
            data = repaired
        else:
            return pixels
    raise JpegDamagedError(warning)


def _without_harmless_part(data: bytes, warning: str) -> bytes | None:
    """Return the file without the part that caused a harmless warning; None if the warning is not harmless.

    libjpeg reports only the first warning. So the part is removed, to see whether there are others.
    """
    found = EXTRANEOUS.search(warning)
    if found:
        return _without_gaps(data) or _without_padding(data, int(found[1]), int(found[2], 16))
    if re.search("ICC|JFIF|Adobe|SOS", warning):
        return _plain_headers(data)
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield the headers of a JPEG up to its first scan, with that of the scan.

    Yields:
        The marker, the end of the previous segment, the start of this segment (its byte 0xFF) and its end.
    """
    end = 2  # after the start of the image
    while True:
        start = data.find(b"\xff", end)
        while start >= 0 and data[start + 1 : start + 2] in {b"\xff", b"\x00"}:  # fill bytes, and what is no marker
            start = data.find(b"\xff", start + 1)
        if start < 0 or start + 4 > len(data):
            return
        marker = data[start + 1]
        previous, end = end, start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        yield marker, previous, start, end
        if marker == SCAN:
            return


def _without_gaps(data: bytes) -> bytes | None:
    """Return the file without bytes between its headers; None if there are none."""
    parts, last, gaps = [data[:2]], 2, False
    for _, previous, start, end in _segments(data):
        gaps |= start > previous
        parts.append(data[start:end])
        last = end
    return b"".join([*parts, data[last:]]) if gaps else None


def _without_padding(data: bytes, count: int, marker: int) -> bytes | None:
    """Return the file without `count` equal bytes before a marker; None if there are no such bytes."""
    for found in END_OF_SCAN.finditer(data, count):
        at = found.start()
        if data[at + 1] == marker and len(set(data[at - count : at])) == 1:
            return data[: at - count] + data[at:]
    return None


def _plain_headers(data: bytes) -> bytes:
    """Return the file with values in its headers that cause no warning. libjpeg decodes it to the same pixels."""
    segments = list(_segments(data))
    frame, components = next(
        ((marker, data[start + COMPONENTS]) for marker, _, start, _ in segments if marker in FRAMES), (0, 0)
    )
    transform = TRANSFORMS.get(components, b"")
    parts, last = [data[:2]], 2
    for marker, _, start, end in segments:
        segment, last = data[start:end], end
        if marker == APP0 and segment[4:9] == b"JFIF\0":
            segment = segment[:9] + b"\x01" + segment[10:]
        elif marker == APP14 and segment[4:9] == b"Adobe" and segment[CODE : CODE + 1] not in {b"\0", transform}:
            segment = segment[:CODE] + transform + segment[CODE + 1 :]
        elif marker == SCAN and frame not in PROGRESSIVE:
            segment = segment[: -len(WHOLE_SPECTRUM)] + WHOLE_SPECTRUM
        elif APP0 < marker < APP14:
            segment = b""
        parts.append(segment)
    return b"".join([*parts, data[last:]])
