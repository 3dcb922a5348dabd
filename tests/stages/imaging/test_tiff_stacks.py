"""TIFF files of several pages or channels become planes, with the values, axes, channels and spacing of the file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.intensities import IntensityRule
from stages.imaging.parts import Part
from stages.imaging.volumes import shown, tiff_files
from stages.imaging.volumes.channels import parse_channels
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.shown import read_plane_at
from stages.imaging.volumes.tiff_directories import is_usual

GREY = {"photometric": "minisblack"}
NAMES = {"Channel": {"Name": ["DAPI", "GFP"]}}
UM = {
    "PhysicalSizeX": 0.5,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 250,
    "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 2,
}


def values(*shape: int, dtype: str = "u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250 if dtype == "u1" else 4096, shape).astype(dtype)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "tiles": {"tile": (16, 16)},
    "tiles without compression, big endian": {"tile": (16, 16), "byteorder": ">"},
    "deflate and predictor": {"compression": "deflate", "predictor": True, "rowsperstrip": 7},
    "LZW": {"compression": "lzw", "rowsperstrip": 7},
    "Zstandard in tiles": {"compression": "zstd", "tile": (16, 32)},
    "no description": {"metadata": None},
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
}


@pytest.mark.parametrize("form", FORMS)
def test_planes_and_regions_have_the_values_of_the_pages(tmp_path: Path, form: str):
    stack = values(5, 40, 50)
    path = write(tmp_path / "a.tif", stack, **GREY, **FORMS[form])
    volume = open_volume(path)
    assert is_volume_file(path)
    assert (volume.facts.planes, volume.facts.size, volume.facts.channels) == (5, (40, 50), 1)
    for plane in (4, 0, 2):
        np.testing.assert_array_equal(volume.read(plane), stack[plane])
        np.testing.assert_array_equal(volume.read(plane, (5, 15, 30, 20)), stack[plane, 5:35, 15:35])
    assert volume.read(0).dtype == np.dtype("u2")


IMAGEJ_AXES = ["TZCYX", "ZYX", "TZYX", "CYX"]
OME_AXES = [*IMAGEJ_AXES, "ZCTYX", "CTZYX"]


@pytest.mark.parametrize(
    ("axes", "ending"), [*((axes, ".ome.tif") for axes in OME_AXES), *((axes, ".tif") for axes in IMAGEJ_AXES)]
)
def test_axes_of_ome_and_imagej_become_planes_and_channels(tmp_path: Path, axes: str, ending: str):
    shape = tuple({"T": 2, "Z": 3, "C": 4, "Y": 20, "X": 30}[axis] for axis in axes)
    array = values(*shape)
    if ending == ".ome.tif":
        path = write(tmp_path / f"a{ending}", array, metadata={"axes": axes}, **GREY)
    else:
        path = write(tmp_path / f"a{ending}", array, imagej=True, metadata={"axes": axes})
    facts = open_volume(path).facts
    by_plane = np.moveaxis(array, axes.index("C"), 0) if "C" in axes else array[None]
    by_plane = by_plane.reshape(len(by_plane), -1, 20, 30)
    assert (facts.planes, facts.channels) == (by_plane.shape[1], by_plane.shape[0])
    for plane in range(facts.planes):
        found = open_volume(path).read(plane)
        found = found if found.ndim == 3 else found[..., None]
        np.testing.assert_array_equal(np.moveaxis(found, 2, 0), by_plane[:, plane])


def test_sizes_of_pixels_are_millimetres(tmp_path: Path):
    ome = write(tmp_path / "a.ome.tif", values(3, 20, 30), metadata={"axes": "ZYX", **UM}, **GREY)
    assert open_volume(ome).facts.spacing_mm == pytest.approx((0.00025, 0.0005, 0.002))
    imagej = {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3}}
    path = write(tmp_path / "b.tif", values(3, 20, 30), resolution=(2, 4), **imagej)
    assert open_volume(path).facts.spacing_mm == pytest.approx((0.00025, 0.0005, 0.003))
    plain = write(tmp_path / "c.tif", values(3, 20, 30), resolution=(72, 72), resolutionunit="inch", **GREY)
    assert open_volume(plain).facts.spacing_mm is None


def test_colours_of_a_stack_are_its_colours(tmp_path: Path):
    colours = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None] * np.array([8, 4, 2], np.uint8), (3, 20, 30, 3))
    for form, options in {"plain": {}, "jpeg": {"compression": "jpeg"}, "planar": {"planarconfig": "separate"}}.items():
        stored = np.moveaxis(colours, 3, 1) if form == "planar" else colours
        path = write(tmp_path / f"{form}.tif", stored, photometric="rgb", **options)
        shown = read_image(path, Part(plane=1)).pixels
        assert np.abs(shown.astype(int) - colours[1]).mean() < (8 if form == "jpeg" else 1e-9)


def test_opacity_is_composited_on_black(tmp_path: Path):
    colours = np.full((2, 20, 30, 4), 200, np.uint8)
    colours[..., 3] = 51
    path = write(tmp_path / "a.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    assert np.unique(read_image(path, Part(plane=1)).pixels).tolist() == [40]


@pytest.mark.parametrize("mode", ["1", "P", "L"])
def test_pages_of_pillow_look_as_each_page_alone(tmp_path: Path, mode: str):
    pages = [Image.fromarray(values(20, 30, dtype="u1")).convert(mode) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for plane, page in enumerate(pages):
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.tif", Part(plane=plane)).pixels, np.asarray(page.convert("RGB"))
        )


def test_white_as_zero_is_inverted(tmp_path: Path):
    stack = values(3, 20, 30)
    path = write(tmp_path / "a.tif", stack, photometric="miniswhite")
    np.testing.assert_array_equal(open_volume(path).read(1), ~stack[1])


def test_smaller_versions_and_masks_are_no_planes(tmp_path: Path):
    image = values(40, 60)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(image, metadata=None, tile=(16, 16))
        file.write(image[::2, ::2], subfiletype=1, metadata=None)
        file.write(image > 9, subfiletype=4, metadata=None)
    facts = open_volume(tmp_path / "a.tif").facts
    assert (facts.planes, facts.size) == (1, (40, 60))
    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif").read(0), image)


def test_a_pyramid_in_ome_is_read_at_its_full_size(tmp_path: Path):
    stack = values(3, 64, 64)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(stack, subifds=1, metadata={"axes": "ZYX"}, tile=(16, 16), **GREY)
        file.write(stack[:, ::2, ::2], subfiletype=1, tile=(16, 16), **GREY)
    assert open_volume(tmp_path / "a.ome.tif").facts.planes == 3
    np.testing.assert_array_equal(open_volume(tmp_path / "a.ome.tif").read(2), stack[2])


def test_one_page_of_grey_or_rgb_is_read_by_pillow(tmp_path: Path):
    """Its pixels, its digest and its memo key are those of earlier versions."""
    assert not is_volume_file(write(tmp_path / "grey.tif", values(20, 30)))
    assert not is_volume_file(write(tmp_path / "rgb.tif", values(20, 30, 3, dtype="u1"), photometric="rgb"))
    Image.fromarray(values(20, 30, dtype="u1")).save(tmp_path / "png.tif", format="PNG")
    assert not is_volume_file(tmp_path / "png.tif")
    assert not is_volume_file(tmp_path / "missing.tif")


def test_one_page_that_pillow_cannot_read_is_read(tmp_path: Path):
    planar = values(3, 20, 30)
    path = write(tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_volume(path).read(0), np.moveaxis(planar, 0, 2))
    five = values(20, 30, 5)
    path = write(tmp_path / "five.tif", five, planarconfig="contig", **GREY)
    np.testing.assert_array_equal(open_volume(path).read_channel(0, 3), five[..., 3])


def test_a_file_that_is_replaced_is_looked_at_again(tmp_path: Path):
    path = write(tmp_path / "a.tif", values(20, 30))
    assert not is_volume_file(path)
    write(path, values(5, 20, 30), **GREY)
    assert is_volume_file(path)


def channels(tmp_path: Path, count: int, names: tuple[str, ...] = ()) -> Path:
    array = np.stack([values(2, 20, 30) * (at + 1) for at in range(count)], axis=1)
    metadata = {"axes": "ZCYX", **({"Channel": {"Name": list(names)}} if names else {})}
    return write(tmp_path / "a.ome.tif", array.astype("u2"), metadata=metadata, **GREY)


def test_each_channel_is_scaled_by_itself(tmp_path: Path):
    """The second channel is twice as bright as the first and looks the same."""
    path = channels(tmp_path, 2, ("DAPI", "GFP"))
    rule = IntensityRule.parse("percentiles")
    shown = read_image(path, Part(plane=1, channels=("GFP", "dapi")), rule).pixels
    np.testing.assert_array_equal(shown[..., 0], shown[..., 1])
    assert shown[..., 0].max() == 255
    assert not shown[..., 2].any()
    one = read_image(path, Part(plane=1, channels=("1",)), rule).pixels
    np.testing.assert_array_equal(one, np.repeat(shown[..., :1], 3, axis=2))


def test_three_channels_are_red_green_and_blue(tmp_path: Path):
    path = channels(tmp_path, 3)
    part = Part(plane=0)
    chosen = read_image(path, Part(plane=0, channels=("0", "1", "2")))
    np.testing.assert_array_equal(read_image(path, part).pixels, chosen.pixels)
    assert read_image(path, part).digest == chosen.digest


def test_other_channels_have_other_maps_in_the_memo(tmp_path: Path):
    path = channels(tmp_path, 4)
    Image.fromarray(values(20, 30, 3, dtype="u1")).save(tmp_path / "b.png")
    choices = [("0",), ("1",), ("0", "1"), ("1", "0")]
    assert len({read_resized(path, [(8, 8)], Part(plane=0, channels=one)).memo_key for one in choices}) == 4
    pictures = [read_resized(tmp_path / "b.png", [(8, 8)], Part(channels=one)) for one in [(), *choices]]
    assert len({one.memo_key for one in pictures}) == 5
    assert len({one.digest for one in pictures}) == 1


@pytest.mark.parametrize("count", [2, 4])
def test_a_choice_of_channels_is_asked_for(tmp_path: Path, count: int):
    path = channels(tmp_path, count, ("DAPI", "GFP", "mCherry", "Cy5")[:count])
    with pytest.raises(InputProblemsError, match=r"0 DAPI, 1 GFP.*--channels DAPI,GFP"):
        read_image(path, Part(plane=0))


@pytest.mark.parametrize("wanted", ["CFP", "4", "-1", "red"])
def test_a_channel_that_is_not_there_is_a_problem(tmp_path: Path, wanted: str):
    path = channels(tmp_path, 2, ("DAPI", "GFP"))
    with pytest.raises(InputProblemsError, match=f"no channel '{wanted}'.*0 DAPI, 1 GFP"):
        read_image(path, Part(plane=0, channels=(wanted,)))


@pytest.mark.parametrize("text", ["", "a,,b", "0,0", "0,1,2,3"])
def test_a_list_of_channels_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(UsageError, match="--channels"):
        parse_channels(text)


def test_a_compression_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.tif", values(3, 20, 30), compression="lzw", **GREY)

    class Missing:
        def __getitem__(self, key: int) -> object:
            raise KeyError(f"{key!r} requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", Missing())
    with pytest.raises(UsageError, match=r"compressed with LZW(.|\n)*pip install 'diamant-pipeline\[slides\]'"):
        open_volume(path)


def test_the_file_is_closed_when_nobody_reads_it(tmp_path: Path):
    """A volume holds its file open; Python would warn of a file that is left open."""
    volume = tiff_files.open_file(write(tmp_path / "a.tif", values(3, 20, 30), **GREY))
    file = volume._file.filehandle._fh
    assert not file.closed
    del volume
    assert file.closed


@pytest.mark.parametrize("form", ["plain", "LZW", "tiles", "no description"])
def test_many_threads_read_one_file(tmp_path: Path, form: str):
    stack = values(40, 60, 70)
    path = write(tmp_path / "a.tif", stack, **GREY, **FORMS[form])
    with ThreadPoolExecutor(8) as pool:
        for plane, found in enumerate(pool.map(lambda plane: open_volume(path).read(plane), range(40))):
            np.testing.assert_array_equal(found, stack[plane])


KINDS_OF_ONE_PAGE = {
    "grey 16": (values(20, 30), {}),
    "grey 8": (values(20, 30, dtype="u1"), {}),
    "float": (values(20, 30).astype("f4"), {}),
    "white is zero": (values(20, 30, dtype="u1"), {"photometric": "miniswhite"}),
    "RGB 8": (values(20, 30, 3, dtype="u1"), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("kind", KINDS_OF_ONE_PAGE)
def test_ome_of_one_page_has_the_pixels_and_the_key_of_earlier_versions(tmp_path: Path, kind: str):
    """They read it as a picture, as the same bytes under another name are still read."""
    array, options = KINDS_OF_ONE_PAGE[kind]
    path = write(tmp_path / "a.ome.tif", array, **options)
    (tmp_path / "b.tif").write_bytes(path.read_bytes())
    assert (is_volume_file(path), is_volume_file(tmp_path / "b.tif")) == (True, False)
    now, before = (read_resized(one, [(20, 30)]) for one in (path, tmp_path / "b.tif"))
    np.testing.assert_array_equal(now.images[0], before.images[0])
    assert (now.digest, now.memo_key, now.height, now.width) == (before.digest, before.memo_key, 20, 30)


def test_a_large_plane_of_channels_is_shown_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An overlay of a large image reads some rows at a time; every place stays where it is."""
    array = np.zeros((2, 120, 200), np.uint16)
    array[0, 40:80, 50:100] = array[1, 100:, 150:] = 1000
    path = write(tmp_path / "a.ome.tif", array, metadata={"axes": "CYX"}, **GREY)
    part, rule = Part(channels=("0", "1")), IntensityRule.parse("0:1000")
    whole = read_plane_at(path, part, rule, (60, 100))
    read: list[Any] = []
    original = tiff_files.TiffVolume.read_channel
    monkeypatch.setattr(
        tiff_files.TiffVolume, "read_channel", lambda self, *args: read.append(args[2]) or original(self, *args)
    )
    monkeypatch.setattr(shown, "LARGEST_WHOLE", 5000)
    parts = read_plane_at(path, part, rule, (60, 100))
    assert len(read) > 8
    assert max(box[2] * box[3] for box in read) <= 5000
    np.testing.assert_array_equal(parts, whole)


USUAL = {
    "grey": (values(20, 30), {}, True),
    "RGB": (values(20, 30, 3), {"photometric": "rgb"}, True),
    "LZW": (values(20, 30), {"compression": "lzw"}, True),
    "bits": (values(20, 30) > 9, {}, True),
    "big endian": (values(20, 30, 3), {"photometric": "rgb", "byteorder": ">"}, True),
    "BigTIFF": (values(20, 30, 3), {"photometric": "rgb", "bigtiff": True, "byteorder": ">"}, False),
    "planes": (values(3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, False),
    "five samples": (values(20, 30, 5), {"planarconfig": "contig", **GREY}, False),
    "signed": (values(20, 30).astype("i2"), {}, False),
    "float": (values(20, 30).astype("f4"), {}, False),
    "Zstandard": (values(20, 30), {"compression": "zstd"}, False),
}


@pytest.mark.parametrize("kind", USUAL)
def test_usual_pages_are_known_without_opening_them_as_pictures(tmp_path: Path, kind: str):
    """What is called usual is a picture for Pillow, of the same size."""
    array, options, usual = USUAL[kind]
    path = write(tmp_path / "a.tif", array, **options)
    with path.open("rb") as file:
        assert is_usual(file) == usual
    if usual:
        assert not is_volume_file(path)
        with Image.open(path) as opened:
            assert opened.size == (30, 20)
