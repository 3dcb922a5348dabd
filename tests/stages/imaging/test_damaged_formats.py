"""Damage that Pillow does not report is found in PNG and TIFF; other formats refuse what is cut."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from tests.stages.imaging.test_jpeg import photograph

PHOTO = photograph(200, 260)
OFFSETS, SIZES, TILE_OFFSETS, TILE_SIZES = 273, 279, 324, 325
Chunk = tuple[bytes, bytes]


def saved(format_: str, image: Image.Image = PHOTO, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def pixels(tmp_path: Path, data: bytes) -> np.ndarray:
    (tmp_path / "a").write_bytes(data)
    return read_image(tmp_path / "a").pixels


def refuse(tmp_path: Path, data: bytes, match: str = "damaged") -> None:
    with pytest.raises(InputProblemsError, match=match):
        pixels(tmp_path, data)


def png(chunks: Sequence[Chunk], wrong: int = -1) -> bytes:
    """Return a PNG of chunks; the checksum of chunk `wrong` is wrong."""
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) ^ (at == wrong))
        for at, (kind, content) in enumerate(chunks)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunks_of(image: Image.Image, stream: Callable[[bytes], bytes] = bytes) -> list[Chunk]:
    """Return the chunks of a picture as PNG, with pixels in pieces of 20,000 bytes, and `stream` applied to them."""
    data, at, header, content = saved("PNG", image), 8, b"", b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IHDR":
            header = data[at + 8 : at + 8 + size]
        if data[at + 4 : at + 8] == b"IDAT":
            content += data[at + 8 : at + 8 + size]
        at += size + 12
    content = stream(content)
    pieces = [(b"IDAT", content[at : at + 20_000]) for at in range(0, len(content), 20_000)]
    return [(b"IHDR", header), *pieces, (b"IEND", b"")]


def test_a_png_with_a_wrong_checksum_is_refused(tmp_path: Path):
    """Each chunk of pixels is checked: first, middle and last."""
    chunks = chunks_of(PHOTO)
    assert len(chunks) > 5
    for at in range(1, len(chunks) - 1):
        refuse(tmp_path, png(chunks, wrong=at), "checksum")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_png_whose_rows_end_too_early_is_refused(tmp_path: Path, mode: str, share: float):
    """The stream is complete and its checksums are right, but it unpacks to fewer rows than the header promises."""
    short = chunks_of(
        PHOTO.convert(mode), lambda packed: zlib.compress((raw := zlib.decompress(packed))[: int(len(raw) * share)])
    )
    refuse(tmp_path, png(short), "missing")


def test_a_png_without_chunks_of_its_pixels_is_refused(tmp_path: Path):
    chunks = chunks_of(PHOTO)
    for left in (chunks[:2] + chunks[3:], chunks[:-2] + chunks[-1:], [chunks[0], chunks[-1]]):
        refuse(tmp_path, png(left))


def test_a_png_with_all_its_pixels_is_read(tmp_path: Path):
    """Faults after the pixels leave them alone: no end, wrong checksum of the end, bytes after it, too many rows."""
    expected, chunks = np.asarray(PHOTO), chunks_of(PHOTO)
    longer = chunks_of(PHOTO, lambda packed: zlib.compress(zlib.decompress(packed) + bytes(1000)))
    whole = png(chunks)
    for data in (png(chunks[:-1]), png(chunks, wrong=len(chunks) - 1), whole + b"more", whole[:-14], png(longer)):
        np.testing.assert_array_equal(pixels(tmp_path, data), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "I;16"])
def test_a_black_png_is_complete(tmp_path: Path, mode: str):
    """A last row of zeros is what missing pixels look like, so this picture is unpacked again and found whole."""
    assert not pixels(tmp_path, saved("PNG", Image.new(mode, (13, 7)))).any()


def tiff(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(PHOTO), photometric="rgb", **options)
    return file.getvalue()


def with_list(data: bytes, tag: int, change: Callable[[list[int]], list[int]]) -> bytes:
    """Change the values of one tag of a little-endian TIFF; a shorter list lowers its count."""
    content = bytearray(data)
    at = struct.unpack_from("<I", content, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", content, at)[0], 12):
        number, kind, count = struct.unpack_from("<HHI", content, entry)
        if number == tag:
            form = {3: "H", 4: "I"}[kind]
            place = entry + 8 if count * struct.calcsize(form) <= 4 else struct.unpack_from("<I", content, entry + 8)[0]
            values = change(list(struct.unpack_from(f"<{count}{form}", content, place)))
            struct.pack_into("<I", content, entry + 4, len(values))
            struct.pack_into(f"<{len(values)}{form}", content, place, *values)
            return bytes(content)
    raise AssertionError(tag)


def replaced(at: int, value: Callable[[int], int]) -> Callable[[list[int]], list[int]]:
    return lambda values: [value(one) if number == at else one for number, one in enumerate(values)]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("layout", "offsets", "sizes"),
    [({"rowsperstrip": 16}, OFFSETS, SIZES), ({"tile": (64, 64)}, TILE_OFFSETS, TILE_SIZES)],
    ids=["strips", "tiles"],
)
def test_a_tiff_with_wrong_strips_is_refused(tmp_path: Path, compression, layout, offsets: int, sizes: int, capfd):
    """Lists too short, places outside the file, at its header, or on top of another strip; nothing reaches stderr."""
    data = tiff(compression=compression, **layout)
    np.testing.assert_array_equal(pixels(tmp_path, data), np.asarray(PHOTO))
    refuse(
        tmp_path, with_list(with_list(data, offsets, lambda all_: all_[:-3]), sizes, lambda all_: all_[:-3]), "lists"
    )
    refuse(tmp_path, with_list(data, offsets, replaced(4, lambda _: 0)), "missing")
    refuse(tmp_path, with_list(data, offsets, replaced(4, lambda _: len(data) + 9)), "beyond")
    refuse(tmp_path, with_list(data, offsets, replaced(4, lambda at: at - 2000)))
    if compression:
        refuse(tmp_path, with_list(data, sizes, replaced(4, lambda _: 0)), "missing")
        refuse(tmp_path, with_list(data, sizes, replaced(4, lambda size: size // 2)))
    assert capfd.readouterr().err == ""


def test_wrong_byte_counts_of_strips_without_compression_are_read(tmp_path: Path):
    """Some programs write them wrong, and they are not needed."""
    data = tiff(rowsperstrip=16)
    for size in (0, 10, 60_000):
        read = pixels(tmp_path, with_list(data, SIZES, replaced(4, lambda _, size=size: size)))  # type: ignore[misc]
        np.testing.assert_array_equal(read, np.asarray(PHOTO))


def overwritten(data: bytes, what: bytes, share: float = 0.5) -> bytes:
    at = int(len(data) * share)
    return data[:at] + what + data[at + len(what) :]


NOISE = np.random.default_rng(0).bytes(200)
BITS = PHOTO.convert("1")
PACKED = {
    "deflate": ({"compression": "tiff_deflate"}, PHOTO), "adobe": ({"compression": "tiff_adobe_deflate"}, PHOTO),
    "lzw": ({"compression": "tiff_lzw"}, PHOTO), "packbits": ({"compression": "packbits"}, Image.new("L", (260, 200))),
    "jpeg": ({"compression": "jpeg"}, PHOTO), "jpeg_grey": ({"compression": "jpeg"}, PHOTO.convert("L")),
    "group4": ({"compression": "group4"}, BITS),
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("what", [bytes(200), NOISE], ids=["zeros", "noise"])
def test_a_damaged_strip_is_refused_without_a_word_from_libtiff(tmp_path: Path, kind: str, what: bytes, capfd):
    """Pillow returns wrong pixels for most of these files. libtiff's messages do not reach the standard error."""
    options, image = PACKED[kind]
    data = saved("TIFF", image, **options)
    pixels(tmp_path, data)
    refuse(tmp_path, overwritten(data, what))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "BMP", "TIFF", "PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_file_of_any_format_is_refused(tmp_path: Path, format_: str, share: float):
    data = saved(format_, PHOTO.quantize(64) if format_ == "GIF" else PHOTO)
    refuse(tmp_path, data[: int(len(data) * share)], ".")


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_that_is_cut_and_closed_again_is_refused(tmp_path: Path, lossless: bool):  # noqa: FBT001 - a parameter of the test
    """The sizes in its headers fit the shorter content."""
    data = saved("WEBP", lossless=lossless)
    content = data[20 : 20 + (len(data) - 20) // 4 * 2]
    head = b"RIFF" + struct.pack("<I", 12 + len(content)) + data[8:16] + struct.pack("<I", len(content))
    refuse(tmp_path, head + content)


def test_a_gif_that_is_cut_and_closed_again_is_refused(tmp_path: Path):
    data = saved("GIF", PHOTO.quantize(64))
    refuse(tmp_path, data[: len(data) // 2] + b"\0;")
