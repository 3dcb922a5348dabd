"""Decoding: every row of the table in `stages.imaging.decoding`, and every rejection."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image
from stages.imaging.opening import open_picture
from tests.stages.imaging.deep_files import save_deep_png

Save = Callable[..., Path]
RAMP = np.array([[0, 100, 255], [10, 20, 30]], np.uint8)
COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 8, 7], [200, 100, 50], [1, 1, 1]]], np.uint8)
SAMPLE_FORMAT, PHOTOMETRIC = 339, 262


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves an array or a Pillow image and returns the path of the file."""

    def make(picture: np.ndarray | Image.Image, name: str, **options: Any) -> Path:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return make


def refusal(path: Path) -> str:
    """Return the only problem that reading the file raises, after checking that it names the file."""
    with pytest.raises(InputProblemsError) as caught:
        read_image(path)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    return problem.what


def grey(path: Path) -> list[list[int]]:
    """Return the pixels of an image, after checking that it is grey."""
    pixels = read_image(path).pixels
    assert (pixels == pixels[..., :1]).all()
    values: list[list[int]] = pixels[..., 0].tolist()
    return values


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.TIFF"])
def test_rgb_is_unchanged(save: Save, name: str) -> None:
    """Lossless colours are unchanged and writable, and the digest is that of the file's bytes."""
    path = save(COLOURS, name)
    decoded = read_image(path)
    assert np.array_equal(decoded.pixels, COLOURS)
    assert decoded.pixels.flags.writeable
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.height, decoded.width) == (2, 3)
    assert decoded.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_pixel_is_an_image(save: Save) -> None:
    """The smallest possible image is read."""
    assert read_image(save(COLOURS[:1, :1], "a.png")).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_grey_is_repeated(save: Save, name: str) -> None:
    """8-bit grey keeps its values."""
    assert grey(save(RAMP, name)) == RAMP.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_one_bit_is_black_and_white(save: Save, name: str) -> None:
    """1-bit values become 0 and 255."""
    assert grey(save(RAMP > 15, name)) == [[0, 255, 255], [0, 255, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_palettes_are_expanded(save: Save, name: str) -> None:
    """Palette indices become their colours."""
    image = Image.fromarray(COLOURS).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(read_image(save(image, name)).pixels, COLOURS)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_black(save: Save, mode: str) -> None:
    """A transparent pixel is black, whatever its colour; a half transparent one is half as bright."""
    image = Image.new(mode, (3, 1), "white")
    image.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    assert grey(save(image, "a.png")) == [[0, 128, 255]]


def test_a_transparent_colour_is_black(save: Save) -> None:
    """A palette entry or colour that a PNG declares transparent is treated like alpha."""
    palette = Image.fromarray(RAMP).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    brightest = int(np.asarray(palette)[0, 2])
    assert grey(save(palette, "p.png", transparency=brightest)) == [[0, 100, 0], [10, 20, 30]]
    assert grey(save(RAMP, "l.png", transparency=100)) == [[0, 0, 255], [10, 20, 30]]


def test_cmyk_and_lab_become_rgb(save: Save) -> None:
    """Pillow converts the other colour spaces."""
    cmyk = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
    assert read_image(save(cmyk, "a.tif")).pixels[0, 0].tolist() == [255, 0, 0]
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (2, 2), (200, 30, 40)), to_lab)
    assert lab is not None
    assert np.abs(read_image(save(lab, "b.tif")).pixels[0, 0].astype(int) - (200, 30, 40)).max() < 5


def patch_tag(path: Path, tag: int, before: int, after: int) -> Path:
    """Change the value of a TIFF tag, for pictures that Pillow can read but not write."""
    data = path.read_bytes()
    old = struct.pack("<HHIHH", tag, 3, 1, before, 0)
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, struct.pack("<HHIHH", tag, 3, 1, after, 0)))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_by_their_extremes(save: Save, name: str) -> None:
    """A 12-bit scan is scaled to the whole range."""
    assert grey(save(np.array([[1000, 2000, 3000]], np.uint16), name)) == [[0, 128, 255]]


def test_wide_integers_and_floats_are_scaled_by_their_extremes(save: Save) -> None:
    """Negative, unsigned 32-bit, signed 8-bit and huge values do not wrap around or overflow."""
    signed = save(np.array([[-100, 0, 100]], np.int32), "signed.tif")
    assert grey(signed) == [[0, 128, 255]]
    wide = save(np.array([[0, -(2**31), -1]], np.int32), "wide.tif")  # the bytes of 0, 2^31 and 2^32 - 1
    assert grey(patch_tag(wide, SAMPLE_FORMAT, 2, 1)) == [[0, 128, 255]]
    huge = np.finfo(np.float32).max
    assert grey(save(np.array([[-huge, 0, huge]], np.float32), "float.tif")) == [[0, 128, 255]]
    small = save(np.array([[128, 0, 127]], np.uint8), "small.tif", tiffinfo={SAMPLE_FORMAT: 2})  # -128, 0 and 127
    assert grey(small) == [[0, 128, 255]]


def test_deep_images_in_which_white_is_zero_are_inverted(save: Save) -> None:
    """The TIFF tag is applied to 16 bits, as Pillow applies it to 8 bits."""
    path = save(np.array([[0, 500, 1000]], np.uint16), "a.tif")
    assert grey(patch_tag(path, PHOTOMETRIC, 1, 0)) == [[255, 128, 0]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_constant_deep_image_is_black(save: Save, dtype: type) -> None:
    """A range of zero does not cause a division by zero."""
    assert grey(save(np.full((2, 2), 7, dtype), "a.tif")) == [[0, 0], [0, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_rejected(save: Save, bad: float) -> None:
    """They have no brightness, so the image is rejected, and the message counts them."""
    assert "1 of 3 pixels" in refusal(save(np.array([[0, bad, 1]], np.float32), "a.tif"))


DEEP = np.array([[[448, 1000, 3776], [449, 500, 600]]], np.uint16)
"""12-bit colours: their high bytes are 1, 3, 14, 1, 1, 2."""
SCALED = np.rint((DEEP - 448.0) * 255 / (3776 - 448))


def test_sixteen_bit_colour_is_scaled_by_the_extremes_of_all_channels(tmp_path: Path) -> None:
    """Both bytes of every value count, and the proportions of the channels are kept."""
    assert read_image(save_deep_png(tmp_path / "a.png", DEEP)).pixels.tolist() == SCALED.tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("extra", [None, "unassalpha", "assocalpha", "unspecified"])
def test_sixteen_bit_colour_in_tiff(tmp_path: Path, order: str, compression: str | None, extra: str | None) -> None:
    """Both byte orders, with and without compression; a fourth channel is alpha, or has no meaning."""
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, 4 if extra else 3), dtype=np.uint16)
    path = tmp_path / "a.tif"
    extras = {"extrasamples": [extra]} if extra else {}
    tifffile.imwrite(path, pixels, photometric="rgb", byteorder=order, compression=compression, **extras)  # type: ignore[arg-type]
    found = open_picture(path).deep_colours
    assert found is not None
    assert np.array_equal(found, pixels if extra == "unassalpha" else pixels[..., :3])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_bit_of_sixteen_bit_colour_is_read(tmp_path: Path, channels: int) -> None:
    """Grey with alpha is repeated; RGB and RGBA are as written."""
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, channels), dtype=np.uint16)
    found = open_picture(save_deep_png(tmp_path / "a.png", pixels)).deep_colours
    assert found is not None
    assert np.array_equal(found, pixels[..., [0, 0, 0, 1]] if channels == 2 else pixels)


def test_transparency_of_sixteen_bit_colour_is_composited_on_black(tmp_path: Path) -> None:
    """A transparent pixel is black and a half transparent one half as bright, as in 8 bits."""
    alpha = np.array([[[60000, 0], [60000, 32768], [60000, 65535]]], np.uint16)
    assert grey(save_deep_png(tmp_path / "a.png", alpha)) == [[0, 128, 255]]
    colours = np.array([[[900, 900, 900], [500, 500, 500], [1000, 1000, 1000]]], np.uint16)
    assert grey(save_deep_png(tmp_path / "b.png", colours, transparent=(900, 900, 900))) == [[0, 128, 255]]


def test_sixteen_bit_colour_in_planes_is_read(tmp_path: Path) -> None:
    """Pillow would read wrong values from it. Under a name that says nothing the message asks for the right one."""
    mixed = np.repeat(DEEP, 8, axis=1)
    for name in ("planes.tif", "planes.png"):
        tifffile.imwrite(tmp_path / name, np.moveaxis(mixed, 2, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "mixed.tif", mixed, photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "planes.tif").pixels, read_image(tmp_path / "mixed.tif").pixels)
    assert ".tif" in refusal(tmp_path / "planes.png")


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_gif_and_webp_are_read(save: Save, name: str) -> None:
    """One picture in GIF or lossless WebP is unchanged."""
    options = {"lossless": True} if name == "a.webp" else {}
    image = Image.fromarray(COLOURS)
    path = save(image.convert("P", palette=Image.Palette.ADAPTIVE) if name == "a.gif" else image, name, **options)
    assert np.array_equal(read_image(path).pixels, COLOURS)


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_animations_are_rejected(save: Save, name: str) -> None:
    """The right frame cannot be guessed."""
    second = Image.fromarray(COLOURS[::-1].copy())
    assert "2 pages or frames" in refusal(save(Image.fromarray(COLOURS), name, save_all=True, append_images=[second]))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(save: Save, name: str, orientation: int) -> None:
    """The EXIF orientation is undone in all three formats that have it."""
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255  # the top left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if name.endswith("tif") else {"exif": exif}
    decoded = read_image(save(np.ascontiguousarray(stored), name, **options))
    assert (decoded.height, decoded.width) == (16, 32)
    assert np.abs(decoded.pixels[..., 0].astype(int) - upright).max() < 10


def test_more_than_one_page_is_rejected(save: Save) -> None:
    """The right page cannot be guessed; the message counts the pages."""
    second = Image.fromarray(COLOURS[::-1].copy())
    assert "2 pages" in refusal(save(COLOURS, "a.png", save_all=True, append_images=[second]))
    assert ".tif" in refusal(save(COLOURS, "b.png", format="TIFF", save_all=True, append_images=[second]))


def test_the_preview_in_a_phone_picture_is_ignored(save: Save, tmp_path: Path) -> None:
    """Only the main picture is read from a JPEG with further pictures in it (MPO)."""
    path = save(Image.new("RGB", (16, 8), "red"), "a.mpo", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    path = path.rename(tmp_path / "a.jpg")
    decoded = read_image(path)
    assert (decoded.height, decoded.width) == (8, 16)
    assert decoded.pixels[0, 0, 0] > 250


def test_a_renamed_file_is_read_by_content(save: Save, tmp_path: Path) -> None:
    """A PNG with the extension .jpg is read as a PNG."""
    assert np.array_equal(read_image(save(COLOURS, "a.png").rename(tmp_path / "a.jpg")).pixels, COLOURS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "empty"), (b"id,image,mask\n", "is not a picture"), (b"II*\0\x08\0\0\0", "picture|damaged")],
    ids=["empty", "text", "header_only"],
)
def test_what_is_no_picture_is_rejected(tmp_path: Path, content: bytes, expected: str) -> None:
    """Empty files and other contents each have a message of their own."""
    (tmp_path / "a.png").write_bytes(content)
    assert any(part in refusal(tmp_path / "a.png") for part in expected.split("|"))


def test_other_formats_are_rejected(save: Save, tmp_path: Path) -> None:
    """A file in another format is rejected even if it is named .png; the message names its format."""
    message = refusal(save(RAMP, "a.pdf").rename(tmp_path / "a.png"))
    assert "a PDF" in message
    assert "PNG, JPEG, BMP, TIFF, GIF, WebP" in message


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.gif", "a.webp"])
def test_a_truncated_file_is_rejected(save: Save, name: str) -> None:
    """Half an image is an error, not an image with a grey lower half."""
    path = save(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refusal(path)


def test_a_missing_file_and_a_folder_are_rejected(tmp_path: Path) -> None:
    """The message names a file that cannot be read."""
    assert "cannot be read" in refusal(tmp_path / "gone.png")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_is_rejected(save: Save) -> None:
    """The message names a file that may not be read."""
    path = save(RAMP, "a.png")
    path.chmod(0)
    assert "cannot be read" in refusal(path)


def test_a_decompression_bomb_is_rejected(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice Pillow's limit is an error; the warning above the limit itself does not reach the user."""
    path = save(RAMP, "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    assert read_image(path).pixels.shape == (2, 3, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    assert "more than 4 pixels" in refusal(path)
