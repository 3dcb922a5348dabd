"""List the kinds of bad and unusual image files and file names: `KINDS`."""

from __future__ import annotations

import os
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from stages.attention.extractor import AttentionExtractor
from tests.faults.kinds import HEIGHT, IDS, WIDTH, Kind, mask, picture

ORIENTATION = 0x0112
SIX = ("6 samples, 6 with a mask",)
SEVEN = ("7 samples, 7 with a mask",)


def first(room: Path) -> Path:
    """Return the path of the image that a kind damages."""
    return room / "images" / f"{IDS[0]}.png"


def saved(make: Callable[[], Image.Image], format_: str = "PNG", **how: Any) -> Callable[[Path], object]:
    """Return a function that replaces the first image. The name stays: formats are detected by content."""
    return lambda room: make().save(first(room), format=format_, **how)


def added(name: str) -> Callable[[Path], object]:
    """Return a function that adds a seventh image and its mask under a name."""

    def make(room: Path) -> None:
        picture(7).save(room / "images" / f"{name}.png", format="PNG")
        mask(7).save(room / "masks" / f"{name}.png", format="PNG")

    return make


def _cut(share: float, format_: str = "PNG") -> Callable[[Path], object]:
    def make(room: Path) -> None:
        picture(0).save(first(room), format=format_)
        data = first(room).read_bytes()
        first(room).write_bytes(data[: int(len(data) * share)])

    return make


def _grey(dtype: str, scale: float = 1) -> Image.Image:
    return Image.fromarray((np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * scale).astype(dtype))


def _not_a_number() -> Image.Image:
    values = np.ones((HEIGHT, WIDTH), np.float32)
    values[3, 4] = np.nan
    return Image.fromarray(values)


def _pages(format_: str) -> Callable[[Path], object]:
    return saved(lambda: picture(0), format_, save_all=True, append_images=[picture(1), picture(2)])


def _alpha() -> Image.Image:
    image = picture(0).convert("RGBA")
    image.putalpha(mask(0))
    return image


def _turned(room: Path, *, mask_too: bool) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture(0).save(first(room), format="JPEG", exif=exif)
    if mask_too:
        mask(0).transpose(Image.Transpose.ROTATE_270).save(room / "masks" / f"{IDS[0]}_segmentation.png")


def _bomb(room: Path) -> None:
    """Write a PNG of a few bytes whose header claims 2.5 billion pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    first(room).write_bytes(data + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))


def _text_bomb(room: Path) -> None:
    """Write a PNG whose comment unpacks to 64 MiB."""
    data = first(room).read_bytes()
    chunk = b"zTXtComment\0\0" + zlib.compress(bytes(64 * 2**20), 9)
    packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    first(room).write_bytes(data[:33] + packed + data[33:])


def _sized(height: int, width: int) -> Callable[[Path], object]:
    def make(room: Path) -> None:
        picture(0, (height, width)).save(first(room))
        mask(0, (height, width)).save(room / "masks" / f"{IDS[0]}_segmentation.png")

    return make


def _decomposed(room: Path) -> None:
    """Add an image and a mask whose names differ in Unicode form, as on macOS: é as two characters and as one."""
    picture(7).save(room / "images" / (unicodedata.normalize("NFD", "née") + ".png"))
    mask(7).save(room / "masks" / (unicodedata.normalize("NFC", "née") + ".png"))


def _not_utf8(room: Path) -> None:
    shutil.copy(first(room), os.fsencode(room / "images") + b"/caf\xe9.png")


def _twins(room: Path) -> None:
    picture(1).save(room / "images" / f"{IDS[0]}.jpg")


def _loop(room: Path) -> None:
    (room / "images" / "again").symlink_to(room / "images", target_is_directory=True)


def _to_itself(room: Path) -> None:
    (room / "images" / "ouroboros.png").symlink_to("ouroboros.png")


def _pipe(room: Path) -> None:
    os.mkfifo(room / "images" / "pipe.png")


def _clutter(room: Path) -> None:
    for name in (".DS_Store", "._lesion_1.png", "Thumbs.db", "notes.txt"):
        (room / "images" / name).write_bytes(b"not a picture")


@contextmanager
def _vanishing(room: Path) -> Iterator[None]:
    """Delete the first image after the folder was listed and before the image is read."""
    load = AttentionExtractor.load

    def deleting(config: Any, **given: Any) -> AttentionExtractor:
        first(room).unlink()
        return load(config, **given)

    with patch.object(AttentionExtractor, "load", deleting):
        yield


def _matlab_only(room: Path) -> None:
    shutil.rmtree(room / "images")
    (room / "images").mkdir()
    (room / "images" / "scan.mat").write_bytes(b"MATLAB 5.0")


def _as_file(room: Path) -> None:
    shutil.rmtree(room / "images")
    (room / "images").write_text("not a folder")


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


NAME = f"{IDS[0]}.png"
KINDS = [
    Kind("truncated_png", "a PNG cut in half", _cut(0.5), "extract", 1, (NAME, "damaged")),
    Kind("truncated_jpeg", "a JPEG cut in half", _cut(0.5, "JPEG"), "extract", 1, (NAME, "damaged")),
    Kind("truncated_tiff", "a TIFF cut in half", _cut(0.5, "TIFF"), "extract", 1, (NAME, "damaged")),
    Kind("zero_bytes", "an image of 0 bytes", lambda room: first(room).write_bytes(b""), "extract", 1, (NAME, "empty")),
    Kind("renamed_text", "a text named .png", lambda room: first(room).write_text("id,image\n"), "extract", 1, (NAME, "not a picture")),
    Kind("renamed_gif", "a GIF named .png", saved(lambda: picture(0), "GIF"), "extract", 0, SIX),
    Kind("renamed_webp", "a WebP named .png", saved(lambda: picture(0), "WEBP"), "extract", 0, SIX),
    Kind("renamed_dicom", "a DICOM file named .png", lambda room: first(room).write_bytes(bytes(128) + b"DICM\2\0"), "extract", 1, (NAME, "DICOM")),
    Kind("renamed_jpeg", "a JPEG named .png", saved(lambda: picture(0), "JPEG"), "extract", 0, SIX),
    Kind("cmyk", "a CMYK JPEG", saved(lambda: picture(0).convert("CMYK"), "JPEG"), "extract", 0, SIX),
    Kind("palette", "a PNG with a palette", saved(lambda: picture(0).quantize(16)), "extract", 0, SIX),
    Kind("one_bit", "an image of 1 bit", saved(lambda: mask(0).convert("1")), "extract", 0, SIX),
    Kind("grey", "an image in grey", saved(lambda: picture(0).convert("L")), "extract", 0, SIX),
    Kind("sixteen_bit", "a PNG of 16 bits", saved(lambda: _grey("uint16", 30)), "extract", 0, SIX),
    Kind("float_tiff", "a TIFF of floating-point values", saved(lambda: _grey("float32", 0.01), "TIFF"), "extract", 0, SIX),
    Kind("constant", "an image of one single value in 16 bits", saved(lambda: _grey("uint16", 0)), "extract", 0, SIX),
    Kind("nan", "a floating-point TIFF with a NaN", saved(_not_a_number, "TIFF"), "extract", 1, (NAME, "NaN")),
    Kind("multi_page", "a TIFF of three pages", _pages("TIFF"), "extract", 1, (NAME, "3 pages")),
    Kind("animated", "an animated PNG", _pages("PNG"), "extract", 1, (NAME, "3 pages or frames")),
    Kind("alpha", "a PNG with an alpha channel", saved(_alpha), "extract", 0, SIX),
    Kind("exif_rotated", "a photo that EXIF turns, with a mask turned too", lambda room: _turned(room, mask_too=True), "extract", 0, SIX),
    Kind("exif_mask_not", "a photo that EXIF turns, with a mask that was not turned", lambda room: _turned(room, mask_too=False), "extract", 1, (f"{IDS[0]}_segmentation.png", "EXIF")),
    Kind("bomb", "a PNG of 57 bytes that claims 50,000 × 50,000 pixels", _bomb, "extract", 1, (NAME, "pixels", "scale it down")),
    Kind("text_bomb", "a PNG whose comment unpacks to 64 MiB", _text_bomb, "extract", 1, (NAME, "damaged")),
    Kind("one_pixel", "an image and mask of 1 × 1", _sized(1, 1), "extract", 0, SIX),
    Kind("a_line", "an image and mask of 1 × 4000", _sized(1, 4000), "extract", 0, SIX),
    Kind("unicode_name", "a name whose é is composed in one folder and not in the other", _decomposed, "extract", 0, SEVEN),
    Kind("spaces", "a name with spaces", added(" my lesion  7"), "extract", 0, SEVEN),
    Kind("markup_name", "a name that is markup", added("[red]7[bold]"), "extract", 0, SEVEN),
    Kind("emoji_name", "a name in other scripts", added("病変 Ω 🩺"), "extract", 0, SEVEN),
    Kind("newline_name", "a name with a line break", added("two\nlines"), "extract", 1, (r"two\nlines", "line break")),
    Kind("escape_name", "a name that would clear the terminal", added("\x1b[2J"), "extract", 1, (r"\x1b[2J", "control character")),
    Kind("long_name", "a name of 255 bytes", added("x" * 251), "extract", 1, ("251 bytes", "200 are allowed")),
    Kind("not_utf8_name", "a name that is not UTF-8", _not_utf8, "extract", 1, (r"caf\xe9.png", "not valid UTF-8")),
    Kind("dot_name", "an image called `...png`", added(".."), "extract", 0, SIX),
    Kind("twins", "two images with the same stem", _twins, "extract", 1, (IDS[0], "the same id", "rename one")),
    Kind("folder_loop", "a link in the folder to the folder itself", _loop, "extract", 0, SIX),
    Kind("link_loop", "a link to itself", _to_itself, "extract", 1, ("ouroboros.png", "link")),
    Kind("pipe", "a named pipe called .png, which would be waited for for ever", _pipe, "extract", 1, ("pipe.png", "not a file")),
    Kind("clutter", "system files and notes among the images", _clutter, "extract", 0, SIX),
    Kind("vanishing", "an image deleted while the command runs", _nothing, "extract", 1, (NAME, "cannot be read"), _vanishing),
    Kind("vanishing_skipped", "an image deleted while the command runs, with --on-error skip", _nothing, "extract --on-error skip", 0, ("5 samples", f"left out: images/{NAME}"), _vanishing),
    Kind("matlab_only", "a folder of MATLAB files", _matlab_only, "extract", 1, ("no picture", "scan.mat", "MATLAB")),
    Kind("no_folder", "no such folder", _nothing, "extract --images nowhere", 2, ("nowhere", "no such folder")),
    Kind("file_for_folder", "a text file for the folder of images", _as_file, "extract --masks masks --images images", 1, ("none of the 6 masks", "images")),
    Kind("predict_broken", "a broken image among those to predict", _cut(0.5), "predict", 1, (NAME, "damaged", "--on-error skip")),
    Kind("predict_one_missing", "an image to predict that is not there", _nothing, "predict photo.png", 2, ("photo.png", "no such folder or image")),
    Kind("predict_into_images", "masks to be written among the images", _nothing, "predict --out images", 2, ("images", "another folder")),
    Kind("pretrain_broken", "a broken image to pretrain on", _cut(0.5), "pretrain", 1, (NAME, "damaged")),
]  # fmt: skip
