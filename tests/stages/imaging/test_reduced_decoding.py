"""Large JPEGs decoded at a fraction of their size: close to the full decode; other images are not affected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from stages.errors import InputProblemsError
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.jpeg import reduction
from stages.imaging.resizing import resize_image


def photograph(rows: int, columns: int) -> Image.Image:
    """Return large coloured shapes with the noise of a camera."""
    random = np.random.default_rng([rows, columns])
    shapes = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    broad = np.asarray(shapes.resize((columns, rows), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((broad + random.integers(-12, 13, (rows, columns, 1))).clip(0, 255).astype(np.uint8))


def ramp(rows: int, columns: int) -> Image.Image:
    """Return an image in which red increases to the right and green downwards, to detect stretches and shifts."""
    row, column = np.mgrid[:rows, :columns]
    return Image.fromarray(
        np.stack([column * 255 // columns, row * 255 // rows, np.zeros_like(row)], -1).astype(np.uint8)
    )


@pytest.mark.parametrize(("size", "expected"), [((64, 64), 8), ((100, 60), 4), ((224, 200), 2), ((300, 300), 1)])
def test_a_reduced_decode_equals_the_full_decode_up_to_rounding(tmp_path, size, expected) -> None:
    """At every reduction the mean difference is below 1 of 255 levels, and the largest is below 8."""
    path = tmp_path / "a.jpg"
    photograph(1025, 1331).save(path, quality=92)
    assert reduction((1025, 1331), 2 * max(size)) == expected
    (fast,) = read_resized(path, [size]).images
    apart = np.abs(fast.astype(int) - resize_image(read_image(path).pixels, size))
    assert apart.mean() < 1
    assert apart.max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_picture_keeps_its_place_in_every_orientation(tmp_path, orientation) -> None:
    """Sides that are not a multiple of the reduction leave a margin; turning the picture moves it to another edge."""
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    ramp(121, 129).save(path, quality=95, subsampling=0, exif=exif)
    assert reduction((121, 129), 14) == 8
    read, full = read_resized(path, [(7, 6)]), read_image(path)
    assert (read.height, read.width) == (full.height, full.width)
    assert np.abs(read.images[0].astype(int) - resize_image(full.pixels, (7, 6))).max() <= 4


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(200, 700), columns=st.integers(200, 700), size=st.tuples(st.integers(7, 40), st.integers(7, 40)),
    orientation=st.integers(1, 8),
)  # fmt: skip
def test_no_reduction_moves_a_picture_by_half_a_pixel(tmp_path, rows, columns, size, orientation) -> None:
    """The reference is the picture before JPEG compression, turned upright by Pillow and resized from full size."""
    drawn = ramp(rows, columns)
    drawn.getexif()[0x0112] = orientation
    drawn.save(tmp_path / "a.jpg", quality=95, subsampling=0, exif=drawn.getexif())
    expected = resize_image(np.asarray(ImageOps.exif_transpose(drawn)), size).astype(float)
    (found,) = read_resized(tmp_path / "a.jpg", [size]).images
    for axis in (0, 1):  # means along the other axis reduce the errors of JPEG and rounding
        steps = np.abs(found.astype(float).mean(axis=axis) - expected.mean(axis=axis))[:, :2].max()
        assert steps / (255 / size[1 - axis]) < 0.5


def test_an_image_at_one_size_does_not_depend_on_the_other_sizes(tmp_path: Path) -> None:
    """The memo's key has only the size of the transformer's input, so the size of the store must not affect it."""
    path = tmp_path / "a.jpg"
    photograph(600, 800).save(path)
    sizes = [(30, 32), (224, 200), (64, 64)]
    together = read_resized(path, sizes).images
    for size, image in zip(sizes, together, strict=True):
        np.testing.assert_array_equal(image, read_resized(path, [size]).images[0])


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_other_formats_are_never_reduced(tmp_path, name) -> None:
    """The result equals the full decode, resized, byte for byte."""
    path = tmp_path / name
    photograph(300, 400).save(path)
    (fast,) = read_resized(path, [(16, 16)]).images
    np.testing.assert_array_equal(fast, resize_image(read_image(path).pixels, (16, 16)))


def test_a_jpeg_not_much_larger_than_its_target_is_decoded_in_full(tmp_path: Path) -> None:
    """Below four times the size asked for, the result equals the full decode, resized, byte for byte."""
    path = tmp_path / "a.jpg"
    photograph(255, 300).save(path)
    (fast,) = read_resized(path, [(64, 64)]).images
    np.testing.assert_array_equal(fast, resize_image(read_image(path).pixels, (64, 64)))


def test_a_truncated_jpeg_is_rejected_when_reduced_too(tmp_path: Path) -> None:
    """A reduced decode reports the same damage as a full one."""
    path = tmp_path / "a.jpg"
    photograph(600, 800).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputProblemsError, match="damaged"):
        read_resized(path, [(16, 16)])
