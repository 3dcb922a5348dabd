"""List the kinds of files with damaged pixels, of files that are not regular, and of small files that unpack to much."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.kinds import IDS, Kind, mask, picture

SIZE = (180, 240)
NAME, MASK = f"{IDS[0]}.png", f"{IDS[0]}_segmentation.png"
SIX = ("6 samples, 6 with a mask",)
Change = Callable[[bytes], bytes]
END = b"\xff\xd9"
STRIP_OFFSETS = 273


def _packed(image: Image.Image, format_: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **how)
    return file.getvalue()


def damaged(format_: str, change: Change, mode: str = "RGB", **how: Any) -> Callable[[Path], object]:
    """Return a function that replaces the first image, and its mask by one of the same size, and changes its bytes."""

    def make(room: Path) -> None:
        image = picture(0, SIZE)
        data = _packed(image.quantize(32) if mode == "P" else image.convert(mode), format_, **how)
        (room / "images" / NAME).write_bytes(change(data))
        mask(0, SIZE).save(room / "masks" / MASK)

    return make


def damaged_mask(format_: str, change: Change, **how: Any) -> Callable[[Path], object]:
    """Return a function that replaces the first image and its mask by larger ones, and changes the mask's bytes."""

    def make(room: Path) -> None:
        picture(0, SIZE).save(room / "images" / NAME)
        bits = mask(0, SIZE)
        data = _packed(bits.convert("1") if how.get("compression") == "group4" else bits, format_, **how)
        (room / "masks" / MASK).write_bytes(change(data))

    return make


def without(begin: float, end: float) -> Change:
    """Return a function that removes a part, given by its shares of the file."""
    return lambda data: data[: int(len(data) * begin)] + data[int(len(data) * end) :]


def zeroed(begin: float, end: float) -> Change:
    """Return a function that writes zeros over a part, given by its shares of the file."""
    return lambda data: (
        data[: (at := int(len(data) * begin))] + bytes((stop := int(len(data) * end)) - at) + data[stop:]
    )


def _closed_early(data: bytes) -> bytes:
    return data[: len(data) * 3 // 4] + END


def _padded(data: bytes) -> bytes:
    """Return a JPEG with zeros before its end, as some cameras write it."""
    return data[:-2] + bytes(64) + END


def _wrong_checksum(data: bytes) -> bytes:
    at = data.index(b"IDAT")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def _few_rows(data: bytes) -> bytes:
    """Return a PNG that is sound in all its parts and holds half of its rows."""
    at = data.index(b"IDAT")
    rows = b"".join(b"\0" + bytes([60]) * SIZE[1] * 3 for _ in range(SIZE[0] // 2))
    content = b"IDAT" + zlib.compress(rows)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[: at - 4] + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


def _strip(offset: int) -> Change:
    """Return a function that gives the last strip of a TIFF another place."""

    def change(data: bytes) -> bytes:
        at = struct.unpack_from("<I", data, 4)[0]
        for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
            tag, kind, count, place = struct.unpack_from("<HHII", data, entry)
            if tag == STRIP_OFFSETS:
                size = {3: 2, 4: 4}[kind]
                last = (place if count * size > 4 else entry + 8) + (count - 1) * size
                return data[:last] + struct.pack("<I", offset)[:size] + data[last + size :]
        raise AssertionError

    return change


def _shortened_webp(data: bytes) -> bytes:
    content = data[20 : 20 + (len(data) - 20) // 4 * 2]
    return b"RIFF" + struct.pack("<I", 12 + len(content)) + data[8:16] + struct.pack("<I", len(content)) + content


def _sixty_channels(data: bytes) -> bytes:
    return data.replace(struct.pack("<HHIHH", 277, 3, 1, 3, 0), struct.pack("<HHIHH", 277, 3, 1, 60, 0))


def _bomb(format_: str) -> Callable[[Path], object]:
    """Return a function that writes a small file of 16,000 x 16,000 pixels."""

    def make(room: Path) -> None:
        small = _packed(Image.new("L", (16, 16)), format_)
        sizes = {"GIF": (6, "<HH"), "BMP": (18, "<ii")}
        if format_ == "TIFF":
            for tag in (256, 257, 278):
                small = small.replace(struct.pack("<HHI", tag, 4, 1), struct.pack("<HHI", tag, 3, 1))
                small = small.replace(
                    struct.pack("<HHIHH", tag, 3, 1, 16, 0), struct.pack("<HHIHH", tag, 3, 1, 16_000, 0)
                )
        else:
            at, form = sizes[format_]
            small = small[:at] + struct.pack(form, 16_000, 16_000) + small[at + struct.calcsize(form) :]
        (room / "images" / NAME).write_bytes(small)

    return make


def linked(name: str) -> Callable[[Path], object]:
    """Return a function that puts a link to an endless device in the place of a file."""

    def make(room: Path) -> None:
        (room / name).unlink(missing_ok=True)
        (room / name).symlink_to("/dev/zero")

    return make


def fifo(name: str) -> Callable[[Path], object]:
    """Return a function that puts a FIFO in the place of a file."""

    def make(room: Path) -> None:
        (room / name).unlink(missing_ok=True)
        os.mkfifo(room / name)

    return make


def sparse(name: str, size: int) -> Callable[[Path], object]:
    """Return a function that writes a file of a size that takes no room on the disk."""

    def make(room: Path) -> None:
        with (room / name).open("wb") as file:
            file.truncate(size)

    return make


def slices(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return a function that writes a folder with one array file; `change` gets the bytes of the image's array."""

    def make(room: Path) -> None:
        (room / "slices").mkdir()
        file = io.BytesIO()
        np.save(file, np.zeros((32, 32), np.float32))
        with zipfile.ZipFile(room / "slices" / "case0001_slice000.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("image.npy", change(file.getvalue()))
            archive.writestr("label.npy", file.getvalue())

    return make


def _promising(data: bytes) -> bytes:
    """Return an array whose header promises ten billion values."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (100_000, 100_000)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data[-4096:]


SLICES = "extract --images slices --layout slices"
LATE = f"{IDS[5]}.png"


def _late(room: Path) -> None:
    """Damage the header of the last image."""
    (room / "images" / LATE).write_bytes(b"not a picture")


KINDS = [
    Kind("jpeg_middle", "a JPEG whose scan lacks a part in the middle, with its end marker", damaged("JPEG", without(0.5, 0.7), quality=90), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_closed", "a JPEG that was cut and got a new end marker", damaged("JPEG", _closed_early, quality=90), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_zeros", "a JPEG with zeros in its scan", damaged("JPEG", zeroed(0.4, 0.6), quality=90), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_progressive", "a progressive JPEG without a part of its scans", damaged("JPEG", without(0.4, 0.6), progressive=True), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_grey", "a grey JPEG without a part of its scan", damaged("JPEG", without(0.5, 0.7), "L", quality=90), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_cmyk", "a CMYK JPEG without a part of its scan", damaged("JPEG", without(0.5, 0.7), "CMYK", quality=90), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_restarts", "a JPEG with restart markers, without a part of its scan", damaged("JPEG", without(0.5, 0.7), restart_marker_rows=1), "extract", 1, (NAME, "damaged")),
    Kind("jpeg_skipped", "a JPEG without a part of its scan, with --on-error skip", damaged("JPEG", without(0.5, 0.7), quality=90), "extract --on-error skip", 0, ("5 samples", "left out", "damaged")),
    Kind("jpeg_predict", "a JPEG to predict, without a part of its scan", damaged("JPEG", without(0.5, 0.7), quality=90), "predict", 1, (NAME, "damaged")),
    Kind("jpeg_pretrain", "a JPEG to pretrain on, without a part of its scan", damaged("JPEG", without(0.5, 0.7), quality=90), "pretrain", 1, (NAME, "damaged")),
    Kind("jpeg_padded", "a JPEG with zeros before its end marker", damaged("JPEG", _padded), "extract", 0, SIX),
    Kind("jpeg_trailing", "a JPEG with other bytes after its end", damaged("JPEG", lambda data: data + b"camera" * 99), "extract", 0, SIX),
    Kind("jpeg_mask", "a mask in JPEG without a part of its scan", damaged_mask("JPEG", without(0.5, 0.8), quality=95), "extract", 1, (MASK, "damaged")),
    Kind("png_checksum", "a PNG whose pixels have a wrong checksum", damaged("PNG", _wrong_checksum), "extract", 1, (NAME, "damaged", "checksum")),
    Kind("png_rows", "a PNG that holds half of its rows and is sound otherwise", damaged("PNG", _few_rows), "extract", 1, (NAME, "damaged", "missing")),
    Kind("png_zeros", "a PNG with zeros over its second half", damaged("PNG", zeroed(0.5, 1)), "extract", 1, (NAME, "damaged")),
    Kind("png_no_end", "a PNG without its end chunk", damaged("PNG", lambda data: data[:-12]), "extract", 0, SIX),
    Kind("tiff_deflate", "a TIFF of deflate with zeros in a strip", damaged("TIFF", zeroed(0.4, 0.41), compression="tiff_deflate"), "extract", 1, (NAME, "damaged", "unpack")),
    Kind("tiff_lzw", "a TIFF of LZW with zeros in a strip", damaged("TIFF", zeroed(0.4, 0.5), compression="tiff_lzw"), "extract", 1, (NAME, "damaged")),
    Kind("tiff_jpeg", "a TIFF of JPEG with zeros in a strip", damaged("TIFF", zeroed(0.4, 0.5), compression="jpeg", quality=95), "extract", 1, (NAME, "damaged")),
    Kind("tiff_group4", "a mask in CCITT group 4 with zeros in its strip", damaged_mask("TIFF", zeroed(0.1, 0.3), compression="group4"), "extract", 1, (MASK, "damaged")),
    Kind("tiff_no_strip", "a TIFF whose last strip has no place", damaged("TIFF", _strip(0)), "extract", 1, (NAME, "damaged", "missing")),
    Kind("tiff_beyond", "a TIFF whose last strip lies beyond its end", damaged("TIFF", _strip(2**31)), "extract", 1, (NAME, "damaged", "beyond the end")),
    Kind("tiff_channels", "a TIFF that claims sixty channels", damaged("TIFF", _sixty_channels), "extract", 1, (NAME,)),
    Kind("webp_shortened", "a WebP that was cut and has new sizes in its headers", damaged("WEBP", _shortened_webp), "extract", 1, (NAME, "damaged")),
    Kind("gif_shortened", "a GIF that was cut and got a new end", damaged("GIF", lambda data: data[: len(data) // 2] + b"\0;", "P"), "extract", 1, (NAME, "damaged")),
    Kind("bmp_cut", "a BMP cut before its last row", damaged("BMP", lambda data: data[:-3]), "extract", 1, (NAME, "damaged")),
    Kind("gif_bomb", "a GIF of a few bytes that claims 16,000 x 16,000 pixels", _bomb("GIF"), "extract", 1, (NAME, "pixels", "scale it down")),
    Kind("bmp_bomb", "a BMP of a few bytes that claims 16,000 x 16,000 pixels", _bomb("BMP"), "extract", 1, (NAME, "pixels", "scale it down")),
    Kind("tiff_bomb", "a TIFF of a few bytes that claims 16,000 x 16,000 pixels", _bomb("TIFF"), "extract", 1, (NAME, "pixels", "scale it down")),
    Kind("array_bomb", "an array file whose header promises ten billion values", slices(_promising), SLICES, 1, ("case0001_slice000.npz", "damaged")),
    Kind("array_damaged", "an array file with an array of objects", slices(lambda data: data.replace(b"'<f4'", b"'|O' ")), SLICES, 1, ("case0001_slice000.npz", "no plain arrays")),
    Kind("image_device", "a link to an endless device among the images", linked("images/zero.png"), "extract", 1, ("zero.png", "a pipe or a device")),
    Kind("mask_fifo", "a FIFO among the masks", fifo("masks/lesion_9_segmentation.png"), "extract", 1, ("lesion_9_segmentation.png", "a pipe or a device")),
    Kind("table_fifo", "a FIFO for a table", fifo("table.csv"), "extract --csv table.csv", 1, ("table.csv", "is a FIFO")),
    Kind("table_device", "a link to an endless device for a table", linked("table.csv"), "extract --csv table.csv", 1, ("table.csv", "is a character device")),
    Kind("table_huge", "a table of 300 MiB", sparse("table.csv", 300 * 2**20), "extract --csv table.csv", 1, ("table.csv", "is larger than 256 MiB")),
    Kind("classes_fifo", "a FIFO for a file of classes", fifo("classes.json"), "extract --classes classes.json", 2, ("classes.json", "is no file")),
    Kind("classes_device", "a link to an endless device for a file of classes", linked("classes.json"), "extract --classes classes.json", 2, ("classes.json", "is no file")),
    Kind("annotation_device", "a link to an endless device for an annotation", linked("masks/lesion_9.json"), "extract", 1, ("lesion_9.json", "a pipe or a device")),
    Kind("image_huge", "an image file of 3 GiB", sparse(f"images/{NAME}", 3 * 2**30), "extract", 1, (NAME,)),
    Kind("predict_late_header", "a text among the images to predict, found before any is computed", _late, "predict --out new", 1, (LATE, "not a picture")),
    Kind("predict_late_skipped", "a text among the images to predict, with --on-error skip", _late, "predict --on-error skip", 0, ("5 masks", f"left out: images/{LATE}")),
    Kind("pretrain_late_header", "a text among the images to pretrain on", _late, "pretrain", 1, (LATE, "not a picture")),
]  # fmt: skip
