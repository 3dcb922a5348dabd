"""Headers alone say how values are converted, and whether the images of a data set are of one kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.image_facts import ImageFacts, image_facts
from stages.imaging.intensities import IntensityRule
from stages.imaging.mixtures import describe_channels, describe_conversion, describe_mixtures
from stages.imaging.parts import WHOLE, Part
from stages.imaging.samples import SourceSample
from tests.stages.imaging.deep_files import save_deep_png

GREY = np.zeros((4, 6), np.uint8)


def facts(**changes: object) -> ImageFacts:
    described = {"size": (4, 4), "upright": (4, 4), "values": "8-bit", "deep": False, "channels": 3, **changes}
    return ImageFacts(**described)  # type: ignore[arg-type]


def mixed(*kinds: ImageFacts, pixel_mm: tuple[float | None, ...] = ()) -> list[str]:
    sizes = pixel_mm or (None,) * len(kinds)
    samples = [SourceSample(f"s{at}", Path(f"s{at}.png"), pixel_mm=size) for at, size in enumerate(sizes)]
    return describe_mixtures(samples, kinds)


@pytest.mark.parametrize(
    ("name", "image", "values", "channels"),
    [
        ("a.png", Image.fromarray(GREY), "8-bit", 1),
        ("a.png", Image.fromarray(GREY).convert("P"), "8-bit", 3),
        ("a.jpg", Image.fromarray(GREY).convert("RGB"), "8-bit", 3),
        ("a.png", Image.fromarray(GREY).convert("LA"), "8-bit", 1),
        ("a.png", Image.fromarray(GREY.astype(np.uint16)), "16-bit", 1),
        ("a.tif", Image.fromarray(GREY.astype(np.uint16)), "16-bit", 1),
        ("a.tif", Image.fromarray(GREY.astype(np.int32)), "32-bit signed", 1),
        ("a.tif", Image.fromarray(GREY.astype(np.float32)), "32-bit float", 1),
    ],
)
def test_the_header_of_a_picture_names_its_values(
    name: str, image: Image.Image, values: str, channels: int, tmp_path: Path
):
    image.save(tmp_path / name)
    found = image_facts(tmp_path / name, WHOLE)
    assert (found.size, found.values, found.channels) == ((4, 6), values, channels)
    assert found.deep == (values != "8-bit")


def test_the_header_of_colour_of_16_bits_names_its_values(tmp_path: Path):
    found = image_facts(save_deep_png(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint16)), WHOLE)
    assert (found.values, found.deep, found.channels) == ("16-bit", True, 3)


@pytest.mark.parametrize(
    ("dtype", "values"), [("u1", "8-bit"), ("?", "1-bit"), ("i1", "8-bit signed"), ("f4", "32-bit float")]
)
def test_the_header_of_an_array_names_its_values(dtype: str, values: str, tmp_path: Path):
    np.savez(tmp_path / "a.npz", image=GREY.astype(dtype))
    found = image_facts(tmp_path / "a.npz", WHOLE)
    assert (found.size, found.values) == ((4, 6), values)
    assert found.deep == (values not in {"8-bit", "1-bit"})


def test_the_header_of_a_volume_names_its_values(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 6), np.int16))
    found = image_facts(tmp_path / "a.npy", Part(plane=1))
    assert (found.size, found.values, found.deep, found.channels) == ((4, 6), "16-bit signed", True, 1)
    assert image_facts(tmp_path / "a.npy", Part(plane=1, box=(0, 0, 2, 3))).size == (2, 3)


def test_a_photograph_that_is_stored_turned_is_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=exif)
    found = image_facts(tmp_path / "a.jpg", WHOLE)
    assert (found.size, found.upright) == ((4, 6), (6, 4))


def test_another_order_of_channels_is_named_unless_they_are_chosen_by_name():
    """Without names, one colour would show DAPI in one file and GFP in another."""
    kinds = [facts(separate=True, channel_names=names) for names in (("DAPI", "GFP", "Cy5"), ("GFP", "DAPI", "Cy5"))]
    (line,) = mixed(*kinds)
    assert "mixed order of channels: DAPI, GFP, Cy5 (1 image, such as s0), GFP, DAPI, Cy5 (1 image, such as s1)" in line
    assert "--channels" in line
    assert mixed(kinds[0], kinds[0]) == []
    for channels, lines in {("dapi", "GFP"): 0, ("0", "1"): 1}.items():
        samples = [SourceSample(f"s{at}", Path(f"s{at}.tif"), part=Part(channels=channels)) for at in range(2)]
        assert len(describe_mixtures(samples, kinds)) == lines


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("percentiles", "shown from the 0.5th to the 99.5th percentile of each file (--window)"),
        ("percentiles:1:92", "shown from the 1st to the 92nd percentile of each file (--window)"),
        ("percentiles:11:93", "shown from the 11th to the 93rd percentile of each file (--window)"),
        ("minmax", "shown from the lowest to the highest value of each image (--window)"),
        ("-160:0", "shown from -160 to 0 (--window)"),
        ("file", "shown by the window that each file names, else from the 0.5th"),
    ],
)
def test_a_conversion_is_named_by_values_and_rule(rule: str, said: str):
    deep = facts(values="16-bit", deep=True)
    parsed = IntensityRule.parse(rule)
    assert describe_conversion([facts()], parsed) is None
    line = describe_conversion([deep, deep], parsed)
    assert line is not None
    assert line.startswith(f"values: 16-bit images, {said}")
    line = describe_conversion([deep, facts(), facts()], parsed)
    assert line is not None
    assert line.startswith(f"values: 1 of 3 images (16-bit), {said}")


def test_images_of_one_kind_are_no_mixture():
    assert mixed(facts(), facts()) == []
    assert mixed(facts(spacing_mm=(0.5, 0.5)), facts(spacing_mm=(0.50001, 0.5))) == []
    assert mixed(facts(size=(4, 6), upright=(6, 4)), facts(upright=(8, 4))) == []
    assert mixed(facts(orientation="axial"), facts()) == []  # one that does not say its orientation
    assert mixed(facts(), facts(), pixel_mm=(0.5, None)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"values": "16-bit", "deep": True},
            "mixed values: 8-bit (2 images, such as s0), 16-bit (1 image, such as s2)",
        ),
        ({"channels": 1}, "mixed channels: colour (2 images, such as s0), grey (1 image, such as s2)"),
        (
            {"upright": (9, 4)},
            "mixed upright and wide images: wider than high (2 images, such as s0), higher than wide",
        ),
        (
            {"orientation": "coronal"},
            "mixed orientations of the planes: axial (2 images, such as s0), coronal (1 image",
        ),
        ({"spacing_mm": (0.5, 0.7)}, "mixed sizes of pixels: 0.4 x 0.4 mm (2 images, such as s0), 0.5 x 0.7 mm (1 im"),
    ],
)
def test_each_mixture_is_named_with_counts_and_examples(changes: dict[str, object], said: str):
    same = {"orientation": "axial", "spacing_mm": (0.4, 0.4), "upright": (4, 9)}
    (line,) = mixed(facts(**same), facts(**same), facts(**{**same, **changes}))
    assert line.startswith(said)


def test_sizes_of_pixels_from_a_table_count_too():
    (line,) = mixed(facts(), facts(spacing_mm=(0.4, 0.4)), pixel_mm=(0.1, None))
    assert "0.1 x 0.1 mm (1 image, such as s0), 0.4 x 0.4 mm (1 image, such as s1)" in line


def test_a_mixture_of_many_kinds_is_one_short_line():
    (line,) = mixed(*(facts(spacing_mm=(at / 10, at / 10)) for at in range(1, 10)))
    assert line.count("such as") == 4
    assert "and 5 more" in line


def test_chosen_channels_are_named_with_their_colours():
    found = [facts(values="16-bit", deep=True, separate=True)]
    assert describe_channels(found, ("GFP", "0")) == ["channels: GFP as red, 0 as green (--channels)"]
    assert describe_channels(found, ("GFP",)) == ["channels: GFP as grey (--channels)"]
    (line,) = describe_channels(found, ())
    assert "the three channels of 1 image as red, green and blue" in line
    colours = [facts()]
    assert describe_channels(colours, ()) == []
