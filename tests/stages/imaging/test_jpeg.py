"""JPEGs are decoded strictly: damaged scans are refused, harmless faults are not, and the pixels are Pillow's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.jpeg import JpegDamagedError, _segments, decode_jpeg
from stages.imaging.opening import open_picture

SCAN, END = b"\xff\xda", b"\xff\xd9"


def photograph(rows: int, columns: int) -> Image.Image:
    """Return large coloured shapes with the noise of a camera."""
    random = np.random.default_rng([rows, columns])
    shapes = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    broad = np.asarray(shapes.resize((columns, rows), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((broad + random.integers(-12, 13, (rows, columns, 1))).clip(0, 255).astype(np.uint8))


def jpeg(mode: str = "RGB", size: tuple[int, int] = (200, 260), **options: Any) -> bytes:
    """Return the bytes of a JPEG of (rows, columns)."""
    file = io.BytesIO()
    photograph(*size).convert(mode).save(file, "JPEG", **{"quality": 90} | options)
    return file.getvalue()


def by_pillow(data: bytes, reduced: int = 1) -> np.ndarray:
    """Return the pixels as Pillow decodes them, without looking at warnings."""
    image = Image.open(io.BytesIO(data))
    if reduced > 1:
        side = min(image.size) // reduced
        image.draft(None, (side, side))  # type: ignore[arg-type]
    return np.asarray(image)


def decoded(data: bytes, reduced: int = 1) -> np.ndarray:
    """Return the pixels of `decode_jpeg` in the form that Pillow gives them."""
    image = Image.open(io.BytesIO(data))
    pixels = decode_jpeg(data, image.mode, (image.height, image.width), reduced)
    assert pixels is not None
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3]


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_pixels_are_those_of_pillow_at_every_reduction(subsampling: str, progressive: bool, quality: int):  # noqa: FBT001 - a parameter of the test
    """Bit for bit, so that attention cached for Pillow's pixels is still valid. Odd sides have partial blocks."""
    for size in [(65, 91), (600, 401), (16, 8), (123, 257)]:
        data = jpeg(size=size, quality=quality, subsampling=subsampling, progressive=progressive)
        for reduced in (1, 2, 4, 8):
            if min(size) // reduced >= 8:
                np.testing.assert_array_equal(decoded(data, reduced), by_pillow(data, reduced))


def test_grey_pixels_are_those_of_pillow():
    data = jpeg("L")
    for reduced in (1, 2, 4, 8):
        np.testing.assert_array_equal(decoded(data, reduced), by_pillow(data, reduced))


@pytest.mark.parametrize("options", [{"keep_rgb": True}, {"restart_marker_blocks": 3}, {"optimize": True}], ids=str)
def test_other_kinds_of_colour_and_scan_are_those_of_pillow(options: dict[str, Any]):
    data = jpeg(**options)
    np.testing.assert_array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (7, 3)])
@pytest.mark.parametrize("reduced", [1, 2])
def test_tiny_pictures_are_left_to_pillow(size: tuple[int, int], reduced: int):
    """In so few pixels other reductions give the same size, and simplejpeg would choose one of them."""
    data = jpeg(size=size)
    assert decode_jpeg(data, "RGB", size, reduced) is None


@pytest.mark.parametrize("side", [2, 3, 16, 60, 130])
def test_every_size_is_resized_from_the_pixels_of_pillow(tmp_path: Path, side: int):
    """The reference resizes what Pillow decodes at the reduction that the size allows."""
    data = jpeg(size=(264, 520))
    (tmp_path / "a.jpg").write_bytes(data)
    reduced = next((by for by in (8, 4, 2) if 264 // (2 * side) >= by), 1)
    image = Image.fromarray(by_pillow(data, reduced)).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_resized(tmp_path / "a.jpg", [(side, side)]).images[0], np.asarray(image))


def test_a_cmyk_picture_keeps_pillows_colours_and_is_checked(tmp_path: Path):
    data = jpeg("CMYK")
    (tmp_path / "a.jpg").write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").pixels, expected)
    (tmp_path / "a.jpg").write_bytes(without_middle(data))
    with pytest.raises(InputProblemsError, match="damaged"):
        read_image(tmp_path / "a.jpg")


def without_middle(data: bytes) -> bytes:
    """Return a JPEG whose scan lacks a fifth; its end marker is there."""
    return data[: len(data) // 2] + data[len(data) * 7 // 10 :]


def zeros(data: bytes) -> bytes:
    """Return a JPEG with 3000 zero bytes in its scan."""
    return data[: len(data) // 2] + bytes(3000) + data[len(data) // 2 + 3000 :]


def without_last_part(data: bytes) -> bytes:
    """Return a JPEG whose scan lacks its last quarter; its end marker is there."""
    return data[: len(data) * 3 // 4] + END


def with_foreign_bytes(data: bytes) -> bytes:
    """Return a JPEG with 300 other bytes in the middle of its scan."""
    foreign = np.random.default_rng(0).integers(0, 255, 300, np.uint8).tobytes()
    return data[: len(data) // 2] + foreign + data[len(data) // 2 :]


DAMAGES = [without_middle, zeros, without_last_part, with_foreign_bytes]
KINDS = {
    "baseline": {}, "grey": {"mode": "L"}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1},
    "rgb": {"keep_rgb": True}, "fine": {"subsampling": 0}, "cmyk": {"mode": "CMYK"},
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_scan_is_refused(tmp_path: Path, kind: str, damage: Callable[[bytes], bytes]):
    """All these files have their end marker, and Pillow reads most of them without a word."""
    (tmp_path / "a.jpg").write_bytes(damage(jpeg(**KINDS[kind])))
    with pytest.raises(InputProblemsError, match="damaged"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(InputProblemsError, match="damaged"):
        read_resized(tmp_path / "a.jpg", [(16, 16)])  # reduced
    with pytest.raises(InputProblemsError, match="damaged"):
        open_picture(tmp_path / "a.jpg")  # as for masks


def before(marker: bytes, what: bytes) -> Callable[[bytes], bytes]:
    """Return a function that puts bytes before the last marker of a kind."""
    return lambda data: data[: data.rindex(marker)] + what + data[data.rindex(marker) :]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def at_start(what: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:2] + what + data[2:]


def with_odd_scan_parameters(data: bytes) -> bytes:
    """Return a sequential JPEG whose scan claims to hold no frequency."""
    at = data.index(SCAN)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[: end - 3] + bytes(3) + data[end:]


HARMLESS = {
    "zeros before the end": before(END, bytes(20)),
    "ones before the end": before(END, b"\xff" * 20),
    "one byte before the end": before(END, b"\x55"),
    "bytes between headers": before(SCAN, b"between"),
    "bytes after the end": lambda data: data + b"camera" * 100,
    "a bad colour profile": at_start(segment(0xE2, b"ICC_PROFILE\0\5\2garbage")),
    "an unknown JFIF version": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\7"),
    "an unknown colour transform": lambda data: data[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\5") + data[20:],
    "odd parameters of the scan": with_odd_scan_parameters,
    "three of them": lambda data: before(END, bytes(9))(before(SCAN, b"x")(data.replace(b"JFIF\0\1", b"JFIF\0\7"))),
}


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_fault_that_leaves_the_pixels_alone_is_read(fault: str, mode: str):
    """The decoder warns about most of these, and every pixel is right."""
    sound = jpeg(mode)
    data = HARMLESS[fault](sound)
    assert data != sound
    np.testing.assert_array_equal(decoded(data), by_pillow(sound))


@pytest.mark.parametrize("fault", HARMLESS)
def test_a_harmless_fault_does_not_hide_a_damaged_scan(fault: str):
    """The decoder reports only the first warning of a file."""
    data = HARMLESS[fault](without_middle(jpeg()))
    with pytest.raises(JpegDamagedError):
        decode_jpeg(data, "RGB", (200, 260))


@pytest.mark.parametrize("fault", HARMLESS)
def test_headers_that_end_anywhere_are_one_problem(tmp_path: Path, fault: str):
    """The search for the harmless part ends with the file, wherever that is cut."""
    data = HARMLESS[fault](jpeg(size=(40, 40)))
    for end in range(4, data.rindex(SCAN) + 20, 7):
        (tmp_path / "a.jpg").write_bytes(data[:end])
        with pytest.raises(InputProblemsError):
            read_image(tmp_path / "a.jpg")


def test_the_search_for_headers_ends_with_the_file():
    """No scan follows, and no marker at all."""
    for data in (
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\xff\xd8\xff\xff\xff",
        b"\xff\xd8\xff\0\xff\0",
        b"\xff\xd8abc",
    ):
        assert len(list(_segments(data))) <= 1


def test_a_phone_picture_with_previews_is_decoded_as_by_pillow(tmp_path: Path):
    """In an MPO the first picture is read; damage of its scan is seen although others follow."""
    photograph(120, 160).save(tmp_path / "a.mpo", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    data = (tmp_path / "a.mpo").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "a.mpo").pixels, by_pillow(data))
    middle = data.index(END) // 2
    (tmp_path / "a.mpo").write_bytes(data[:middle] + data[middle + 700 :])
    with pytest.raises(InputProblemsError, match="damaged"):
        read_image(tmp_path / "a.mpo")
