"""Warnings, log lines and messages of the libraries under the decoding never reach the standard error."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stages.errors import InputProblemsError
from stages.imaging.classes import ClassMap
from stages.imaging.decoding import read_image
from stages.imaging.masks import read_mask
from stages.imaging.opening import check_picture

PICTURE = Image.fromarray(np.arange(40 * 52 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 52, 3))
WHOLE = "the picture is read"
REFUSED = "the picture is refused"


def saved(format_: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def with_entries(tag: int, count: int) -> bytes:
    """Return a TIFF in which one tag claims to have `count` values."""
    data = bytearray(saved("TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<I", data, entry + 4, count)
    return bytes(data)


def with_channels(count: int) -> bytes:
    """Return a TIFF that claims to have `count` channels."""
    data = saved("TIFF")
    return data.replace(struct.pack("<HHIHH", 277, 3, 1, 3, 0), struct.pack("<HHIHH", 277, 3, 1, count, 0))


def palette_with_transparency() -> bytes:
    return saved("PNG", PICTURE.quantize(16), transparency=bytes(range(16)))


def bad_animation() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add(b"acTL", struct.pack(">II", 0, 0))
    return saved("PNG", pnginfo=info)


def bad_mpo() -> bytes:
    """Return a phone's picture whose list of further pictures is damaged."""
    data = saved("MPO", save_all=True, append_images=[PICTURE.resize((8, 8))])
    return data.replace(b"MPF\0II*\0", b"MPF\0II*\1")


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "damaged EXIF in a JPEG": (lambda: saved("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"), WHOLE),
    "damaged EXIF in a PNG": (lambda: saved("PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"), WHOLE),
    "too many rows per strip": (lambda: with_entries(278, 200), WHOLE),
    "too many orientations": (lambda: with_entries(274, 200), WHOLE),
    "too many widths": (lambda: with_entries(256, 200), REFUSED),
    "sixty channels": (lambda: with_channels(60), REFUSED),
    "transparent palette": (palette_with_transparency, WHOLE),
    "an animation without frames": (bad_animation, WHOLE),
    "a damaged list of previews": (bad_mpo, WHOLE),
    "a strip that does not unpack": (lambda: saved("TIFF", compression="tiff_lzw")[:1500] + bytes(5000), REFUSED),
}


@pytest.fixture
def noise(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Return a function that gives all that was written, warned of or logged so far."""
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)  # as the command line has one
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: capfd.readouterr().err + "".join(str(one.message) for one in caught) + caplog.text
    logging.getLogger().removeHandler(handler)


def read(path: Path) -> str:
    """Read a file as an image and as a mask, and check its header."""
    check_picture(path)
    with contextlib.suppress(InputProblemsError):
        read_mask(path, ClassMap.binary(), (40, 52))
    try:
        read_image(path)
    except InputProblemsError:
        return REFUSED
    return WHOLE


@pytest.mark.parametrize("kind", FILES)
def test_a_library_that_complains_is_not_heard(tmp_path: Path, kind: str, noise: Callable[[], str]):
    make, expected = FILES[kind]
    (tmp_path / "a").write_bytes(make())
    assert read(tmp_path / "a") == expected
    assert noise() == ""


def test_a_picture_above_half_the_limit_causes_no_warning(
    tmp_path: Path, noise: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    """Pillow warns above its limit and refuses above twice the limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    for format_ in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        (tmp_path / "a").write_bytes(saved(format_))
        assert read(tmp_path / "a") == WHOLE
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        assert read(tmp_path / "a") == REFUSED
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert noise() == ""


@pytest.mark.parametrize("format_", ["TIFF", "JPEG", "PNG", "GIF", "WEBP", "MPO"])
def test_random_changes_of_headers_are_not_heard(tmp_path: Path, format_: str, noise: Callable[[], str]):
    """Three hundred files with a few changed bytes each, most of them in the first 400."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01"
    options = {"exif": exif} if format_ in {"TIFF", "JPEG", "PNG", "WEBP"} else {}
    sound, chance = saved(format_, **options), random.Random(format_)  # noqa: S311 - no secret
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(400, len(data))) * chance.choice([1, -1])
            data[at] = chance.choice([0, 1, 128, 255, chance.randrange(256)])
        (tmp_path / "a").write_bytes(data)
        read(tmp_path / "a")
    assert noise() == ""
