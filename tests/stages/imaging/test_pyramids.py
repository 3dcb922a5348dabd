"""Large TIFFs and slides are read by regions, and every region equals the same region of the whole image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.context import read_with_context
from stages.imaging.decoding import read_resized
from stages.imaging.parts import Part
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.pyramid_rule import is_pyramid
from stages.imaging.volumes.pyramids import PyramidVolume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.slides import SlideVolume
from stages.imaging.volumes.volume import Volume
from tests.pyramids import write_pyramid


def picture(size: tuple[int, int] = (300, 420), channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """Return a picture with a smooth pattern and some noise, (row, column[, channel])."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    random = np.random.default_rng(0)
    shape = size if channels == 1 else (*size, channels)
    pattern = 100 + 60 * np.sin(rows / 17) + 60 * np.cos(columns / 23)
    values = (pattern if channels == 1 else pattern[..., None]) + random.normal(0, 8, shape)
    return np.clip(values * (np.iinfo(dtype).max / 255), 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("where", ["pages", "subifds"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (1, np.uint16), (3, np.uint16)])
def test_regions_equal_those_of_the_whole_image(tmp_path: Path, where: str, channels: int, dtype: Any):
    whole = picture(channels=channels, dtype=dtype)
    path = write_pyramid(tmp_path / "a.tif", whole, levels=3, where=where)
    volume = open_volume(path)
    assert volume.facts.size == (300, 420)
    assert (volume.facts.planes, volume.facts.channels, volume.facts.deep) == (1, channels, dtype != np.uint8)
    np.testing.assert_array_equal(volume.read(0), whole)
    for row, column, rows, columns in [(0, 0, 1, 1), (10, 20, 64, 64), (60, 63, 200, 300), (299, 419, 1, 1)]:
        expected = whole[row : row + rows, column : column + columns]
        np.testing.assert_array_equal(volume.read(0, (row, column, rows, columns)), expected)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "jpeg", "jpeg2000", "zstd", None])
def test_compressions_are_decoded(tmp_path: Path, compression: str | None):
    whole = picture()
    path = write_pyramid(tmp_path / "a.tif", whole, levels=2, compression=compression)
    found = open_volume(path).read(0)
    np.testing.assert_array_equal(found, tifffile.imread(path))
    assert np.abs(found.astype(int) - whole).mean() <= (6 if compression == "jpeg" else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("reduction", [1, 2, 2.5, 4, 7])
def test_a_reduced_region_is_about_the_mean_of_the_full_one(tmp_path: Path, reduction: float, dtype: Any):
    """The result from the stored levels is that of the base class, which averages the full resolution."""
    whole = picture(channels=1, dtype=dtype)
    volume = open_volume(write_pyramid(tmp_path / "a.tif", whole, levels=3))
    for box in [(0, 0, 300, 420), (40, 80, 140, 280)]:
        found = volume.read_reduced(0, box, reduction)
        expected = Volume.read_reduced(volume, 0, box, reduction)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype == dtype
        scale = np.iinfo(dtype).max / 255
        inner = (slice(1, -1), slice(1, -1))
        assert np.abs(found[inner].astype(float) - expected[inner]).mean() < 3 * scale


def test_a_reduction_reads_only_its_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A view of the whole image costs the tiles of a low resolution, not those of the full one."""
    volume: Any = open_volume(write_pyramid(tmp_path / "a.tif", picture((1024, 1024)), levels=4))
    read: list[int] = []
    original = type(volume)._segment

    def spy(self: Any, level: int, index: int) -> Any:
        read.append(level)
        return original(self, level, index)

    monkeypatch.setattr(type(volume), "_segment", spy)
    assert volume.read_reduced(0, (0, 0, 1024, 1024), 8).shape == (128, 128, 3)
    assert set(read) == {3}


def test_which_tiffs_are_pyramids(tmp_path: Path):
    values = picture((256, 256))
    tifffile.imwrite(tmp_path / "strips.tif", values)
    tifffile.imwrite(tmp_path / "tiled.tif", values, tile=(64, 64))
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([values] * 3), tile=(64, 64), photometric="rgb")
    write_pyramid(tmp_path / "pyramid.tif", values, levels=2)
    Image.fromarray(values).save(tmp_path / "photo.png")
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "empty.tif").write_bytes(b"")
    found = {path.name: is_pyramid(path) for path in tmp_path.iterdir()}
    assert {name for name, pyramid in found.items() if pyramid} == {"pyramid.tif"}
    assert not is_volume_file(tmp_path / "tiled.tif")
    assert not is_pyramid(tmp_path / "missing.tif")


def test_a_tiff_that_is_too_large_for_pillow_is_read_by_regions(tmp_path: Path):
    size = (13_500, 13_500)
    blank = np.zeros((512, 512), np.uint8)
    blank[100, 100] = 7
    tiles = (blank for _ in range(27 * 27))
    tifffile.imwrite(tmp_path / "a.tif", tiles, shape=size, dtype=np.uint8, tile=(512, 512), compression="zlib")
    volume = open_volume(tmp_path / "a.tif")
    assert volume.facts.size == size
    assert volume.read(0, (1124, 2148, 1, 1)) == 7


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}, (0.0005, 0.00025, None)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"description": "Aperio Image Library |AppMag = 20|MPP = 0.499"}, (0.000499, 0.000499, None)),
        ({}, None),
    ],
)
def test_the_size_of_a_pixel(tmp_path: Path, options: dict[str, Any], expected: Any):
    path = write_pyramid(tmp_path / "a.tif", picture(), levels=2, **options)
    found = open_volume(path).facts.spacing_mm
    assert found == (expected if expected is None else pytest.approx((*expected[:2], None)))


def test_a_damaged_tile_is_named(tmp_path: Path):
    path = write_pyramid(tmp_path / "a.tif", picture(), levels=2)
    with tifffile.TiffFile(path) as tiff:
        at, size = tiff.pages[0].dataoffsets[8], tiff.pages[0].databytecounts[8]
    data = bytearray(path.read_bytes())
    data[at + size // 2 : at + size] = bytes(size - size // 2)
    path.write_bytes(data)
    volume = open_volume(path)
    volume.read(0, (0, 0, 64, 64))
    with pytest.raises(InputProblemsError, match="tile 8 of resolution 0"):
        volume.read(0)


def test_a_pyramid_that_is_cut_off_is_damaged(tmp_path: Path):
    path = write_pyramid(tmp_path / "a.tif", picture(), levels=2, where="subifds")
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[0].dataoffsets[-1]
    path.write_bytes(whole[: last + 3])
    if is_pyramid(path):  # the header lies before the pixels
        with pytest.raises(InputProblemsError, match="damaged"):
            open_volume(path).read(0)


def test_openslide_reads_the_same_pixels(tmp_path: Path):
    pytest.importorskip("openslide")
    whole = picture()
    path = write_pyramid(tmp_path / "a.tif", whole, levels=3)
    slide = path.rename(tmp_path / "a.svs")
    volume = open_volume(slide)
    assert volume.facts.size == (300, 420)
    np.testing.assert_array_equal(volume.read(0, (60, 63, 200, 300)), whole[60:260, 63:363])
    reduced = volume.read_reduced(0, (0, 0, 300, 420), 4)
    assert np.abs(reduced.astype(int) - whole.reshape(75, 4, 105, 4, 3).mean(axis=(1, 3))).mean() < 3


class BoundedSlide:
    """Stand in for a slide of a scanner that recorded pixels in a rectangle only, with two resolutions."""

    dimensions = (900, 700)
    level_dimensions = ((900, 700), (225, 175))
    level_downsamples = (1.0, 4.0)

    def __init__(self, recorded: np.ndarray, top: int, left: int) -> None:
        self.whole = np.full((700, 900, 3), 255, np.uint8)
        rows, columns = recorded.shape[:2]
        self.whole[top : top + rows, left : left + columns] = recorded
        named = {"x": left, "y": top, "width": columns, "height": rows}
        self.properties = {f"openslide.bounds-{name}": str(value) for name, value in named.items()}

    def read_region(self, place: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """Return (columns, rows) of a level, from a place at full resolution, as OpenSlide does."""
        step = int(self.level_downsamples[level])
        right, bottom = place[0] + size[0] * step, place[1] + size[1] * step
        region = Image.fromarray(self.whole).crop((*place, right, bottom))
        return region.resize(size, Image.Resampling.BOX).convert("RGBA")


def test_a_slide_begins_where_its_scanner_recorded_pixels(tmp_path: Path):
    """QuPath's outlines count from that corner, so image and outlines have the same origin at every resolution."""
    whole = picture()
    volume = SlideVolume(tmp_path / "a.mrxs", BoundedSlide(whole, top=208, left=332))
    assert volume.facts.size == whole.shape[:2]
    np.testing.assert_array_equal(volume.read(0), whole)
    np.testing.assert_array_equal(volume.read(0, (60, 63, 200, 300)), whole[60:260, 63:363])
    reduced = volume.read_reduced(0, (0, 0, 300, 420), 4)
    assert np.abs(reduced.astype(int) - whole.reshape(75, 4, 105, 4, 3).mean(axis=(1, 3))).max() <= 1


def test_files_that_are_no_slides_are_refused(tmp_path: Path):
    pytest.importorskip("openslide")
    for name, content in {"text.svs": b"text", "empty.ndpi": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputProblemsError, match=r"not a slide|empty"):
            open_volume(tmp_path / name)


def test_without_openslide_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.svs").write_bytes(b"text")
    with pytest.raises(UsageError, match=r"pip install 'diamant-pipeline\[slides\]'"):
        open_volume(tmp_path / "a.svs")


@pytest.mark.parametrize("around", [0, 5])
def test_a_coarse_tile_is_read_from_a_coarse_resolution(tmp_path: Path, around: int, monkeypatch: pytest.MonkeyPatch):
    """Tile and tile with context are nearly those that the full resolution gives, and cost a few tiles of the file."""
    whole = picture((1024, 1024))
    many = write_pyramid(tmp_path / "many.tif", whole, levels=4)
    Image.fromarray(whole).save(tmp_path / "one.png")
    part = Part(box=(128, 256, 512, 512))
    read: list[int] = []
    original: Any = PyramidVolume._segment

    def spy(self: Any, level: int, index: int) -> Any:
        read.append(level)
        return original(self, level, index)

    monkeypatch.setattr(PyramidVolume, "_segment", spy)
    if around:
        found, expected = (
            read_with_context(path, part, (32, 32), (around, around)) for path in (many, tmp_path / "one.png")
        )
    else:
        found, expected = (read_resized(path, [(32, 32)], part).images[0] for path in (many, tmp_path / "one.png"))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 1.5
    assert set(read) == {3}


def test_a_coarse_tile_beyond_the_border_is_black_there(tmp_path: Path):
    whole = picture((1024, 1024))
    many = write_pyramid(tmp_path / "many.tif", whole, levels=4)
    Image.fromarray(whole).save(tmp_path / "one.png")
    for box in [(768, 768, 512, 512), (-256, -256, 512, 512), (2000, 2000, 512, 512)]:
        found, expected = (
            read_resized(path, [(32, 32)], Part(box=box)).images[0] for path in (many, tmp_path / "one.png")
        )
        assert np.abs(found.astype(int) - expected).mean() < 1.5


def test_ycbcr_without_jpeg_is_not_shown_as_rgb(tmp_path: Path):
    """Only the decoders of JPEG convert such colours; other values are brightness and differences."""
    path = write_pyramid(tmp_path / "a.tif", picture(), levels=2)
    assert is_pyramid(path)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["PhotometricInterpretation"]
        data[tag.valueoffset : tag.valueoffset + 2] = (6).to_bytes(2, "little")
    (tmp_path / "b.tif").write_bytes(data)
    assert not is_pyramid(tmp_path / "b.tif")
