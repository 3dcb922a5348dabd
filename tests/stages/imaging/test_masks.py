"""Masks: accepted forms of black and white, rejected masks, and mapped values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from stages.errors import InputProblemsError
from stages.imaging.masks import IGNORE, ClassMap, read_mask

Save = Callable[..., Path]
BINARY = ClassMap.binary()
LESION = np.zeros((12, 20), bool)
LESION[3:8, 5:15] = True


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that saves an array or a Pillow image and returns the path of the file."""

    def make(picture: np.ndarray | Image.Image, name: str = "m.png", **options: Any) -> Path:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return make


def read(path: Path, classes: ClassMap = BINARY, size: tuple[int, int] = LESION.shape) -> np.ndarray:
    """Return the mask, after checking its type."""
    mask = read_mask(path, classes, size)
    assert mask.dtype == np.uint8
    return mask


def refusal(path: Path, classes: ClassMap = BINARY, size: tuple[int, int] = LESION.shape) -> str:
    """Return the only problem that reading the mask raises, after checking that it names the file."""
    with pytest.raises(InputProblemsError) as caught:
        read_mask(path, classes, size)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    return problem.what


def black_and_white() -> dict[str, np.ndarray | Image.Image]:
    """Return the lesion as a black-and-white mask in every accepted form."""
    white = LESION * np.uint8(255)
    palette = Image.fromarray(LESION.astype(np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    grey_palette = Image.fromarray(1 - LESION.astype(np.uint8)).convert("P")
    grey_palette.putpalette([255, 255, 255, 0, 0, 0])
    alpha = Image.new("RGBA", LESION.shape[::-1], (255, 0, 0, 0))
    alpha.putalpha(Image.fromarray(white))
    return {
        "one_bit": LESION,
        "0_255": white,
        "0_1": LESION.astype(np.uint8),
        "rgb": np.repeat(white[..., None], 3, axis=2),
        "rgba_opaque": np.dstack([white, white, white, np.full_like(white, 255)]),
        "rgba_alpha_is_mask": alpha,
        "grey_alpha_dropped": np.dstack([white, white, white, 255 - white // 2]),
        "palette_of_indices": palette,
        "palette_of_greys": grey_palette,
        "16_bit_0_65535": LESION * np.uint16(65535),
        "16_bit_0_255": LESION * np.uint16(255),
        "16_bit_0_1": LESION.astype(np.uint16),
    }


@pytest.mark.parametrize("form", black_and_white())
def test_black_and_white_in_every_form(save: Save, form: str) -> None:
    """The foreground does not depend on depth, palette, channels or alpha."""
    assert np.array_equal(read(save(black_and_white()[form])), LESION)


@pytest.mark.parametrize("name", ["m.bmp", "m.tif", "m.jpg"])
def test_black_and_white_in_other_formats(save: Save, name: str) -> None:
    """BMP, TIFF and JPEG are read too; a JPEG has noise around the edges."""
    options = {"quality": 90} if name == "m.jpg" else {}
    assert np.array_equal(read(save(LESION * np.uint8(255), name, **options)), LESION)


def test_float_masks_of_zero_and_one(save: Save) -> None:
    """Whole numbers stored as float are accepted."""
    assert np.array_equal(read(save(LESION.astype(np.float32), "m.tif")), LESION)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (1, 1), (255, 1)])
def test_empty_and_full_masks(save: Save, value: int, expected: int) -> None:
    """A mask without a lesion, or full of it, is valid."""
    assert (read(save(np.full(LESION.shape, value, np.uint8))) == expected).all()


def test_smooth_edges_are_cut_at_128(save: Save) -> None:
    """Up to a tenth of the picture may be grey; more is rejected, and the message lists the values."""
    mask = LESION * np.uint8(255)
    mask[0, :20], mask[1, :4] = 127, 128
    assert np.array_equal(read(save(mask)), mask >= 128)
    mask[1, 4] = 128
    message = refusal(save(mask))
    assert "127 (20 pixels)" in message
    assert "--classes" in message


@pytest.mark.parametrize("name", ["m.png", "m.jpg"])
def test_a_small_region_of_grey_is_rejected(save: Save, name: str) -> None:
    """A third class may cover less than a tenth of the picture; soft edges of the same share are accepted."""
    mask = np.zeros((48, 64), np.uint8)
    mask[8:24, 8:40] = 255
    options = {"quality": 90} if name == "m.jpg" else {}
    soft = np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(1)))
    assert ((soft > 16) & (soft < 239)).mean() > 0.05
    assert np.array_equal(read(save(soft, name, **options), size=mask.shape), soft >= 128)
    mask[32:40, 8:16] = 127
    assert "regions of grey" in refusal(save(mask, name, **options), size=mask.shape)


@pytest.mark.parametrize(
    "values",
    [(0, 2), (0, 1, 2, 3), (0, 1, 255), (0, 1, 2, 255), (0, 100), (0, 85, 170, 255)],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_class_indices_are_rejected(save: Save, values: tuple[int, ...], dtype: type) -> None:
    """A mask of several classes is rejected; the message lists the values and names the option for them."""
    mask: np.ndarray = np.resize(np.array(values, dtype), LESION.shape)
    message = refusal(save(mask))
    assert "--classes" in message
    assert all(f"{value} (" in message for value in values)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(LESION * np.uint16(1000), id="small_16_bit"),
        pytest.param(LESION * np.int32(-1), id="negative"),
        pytest.param(LESION * np.int32(70000), id="beyond_16_bit"),
        pytest.param(LESION * np.float32(0.5), id="fractions"),
        pytest.param(np.where(LESION, np.float32(np.nan), np.float32(0)), id="nan"),
        pytest.param(np.where(LESION, np.float32(np.inf), np.float32(0)), id="infinity"),
        pytest.param(LESION * np.float32(1e30), id="huge"),
    ],
)
def test_other_numbers_are_rejected(save: Save, mask: np.ndarray) -> None:
    """Values that are neither 0 and 1 nor black and white are rejected."""
    assert "holds the values" in refusal(save(mask, "m.tif"))


def test_a_small_16_bit_value_beside_white_is_rejected(save: Save) -> None:
    """100 of 65535 is not treated as black; the message lists it."""
    mask: np.ndarray = LESION * np.uint16(65535)
    mask[0, 0] = 100
    assert "100 (1 pixels)" in refusal(save(mask))


def test_a_coloured_mask_asks_for_classes(save: Save) -> None:
    """The meaning of red on black cannot be guessed; with a colour mapping it is read."""
    colours = np.zeros((*LESION.shape, 3), np.uint8)
    colours[LESION] = (255, 0, 0)
    assert "#ff0000" in refusal(save(colours))
    assert "colour" in refusal(save(colours), ClassMap.from_mapping({"skin": 0, "lesion": 255}))
    red = ClassMap.from_mapping({"skin": "#000000", "lesion": "#FF0000"})
    assert np.array_equal(read(save(colours), red), LESION)


def test_a_mask_of_another_size_is_rejected(save: Save) -> None:
    """The message has both sizes, height first; swapped sides are explained by EXIF."""
    path = save(LESION)
    message = refusal(path, size=(12, 21))
    assert "12 x 20" in message
    assert "12 x 21" in message
    assert "EXIF" not in message
    assert "EXIF" in refusal(path, size=(20, 12))


def test_a_mask_is_turned_by_its_own_exif(save: Save) -> None:
    """A mask with the EXIF orientation of its image matches the upright image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(LESION * np.uint8(255)))
    assert np.array_equal(read(save(stored, exif=exif)), LESION)


def test_a_broken_mask_is_reported(tmp_path: Path) -> None:
    """An empty file is reported, as for images."""
    (tmp_path / "m.png").touch()
    assert "empty" in refusal(tmp_path / "m.png")


def test_unlisted_values_are_reported(save: Save) -> None:
    """The message names up to five unknown values, the most frequent first, and the known ones."""
    mask = np.zeros(LESION.shape, np.uint8)
    mask[0, :7] = (7, 7, 1, 2, 3, 4, 5)
    message = refusal(save(mask), ClassMap.from_mapping({"skin": 0, "lesion": 255}))
    assert "7 (2 pixels), 1 (1 pixels)" in message
    assert "and 1 more" in message
    assert "skin=0, lesion=255" in message
    colours = ClassMap.from_mapping({"skin": "#000000", "lesion": "#ff0000"})
    assert "#070707 (2 pixels)" in refusal(save(mask), colours)


def test_a_palette_is_read_by_index_or_colour(save: Save) -> None:
    """A coloured palette is read as indices with a mapping of numbers, and as colours with one of colours."""
    image = Image.fromarray(LESION.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    by_index = ClassMap.from_mapping({"skin": 0, "lesion": 1})
    by_colour = ClassMap.from_mapping({"skin": 0, "lesion": "#800000"})
    for options in ({}, {"transparency": b"\0\xff"}):
        path = save(image, **options)
        assert np.array_equal(read(path, by_index), LESION)
        assert np.array_equal(read(path, by_colour), LESION)


def test_colours_do_not_fit_a_16_bit_mask(save: Save) -> None:
    """The message asks for values instead of colours."""
    classes = ClassMap.from_mapping({"skin": 0, "lesion": "#800000"})
    assert "values, not colours" in refusal(save(LESION * np.uint16(999)), classes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=250, unique=True),
    ignore=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_mapped_values_come_back_as_indices(save: Save, values: list[int], seed: int, *, ignore: bool) -> None:
    """Indices written with any values are read back unchanged; ignored pixels are 255."""
    indices = np.random.default_rng(seed).integers(0, len(values), (9, 7))
    written = np.array(values, np.uint16)[indices]
    names = ["background", *(f"class {index}" for index in range(1, len(values)))]
    expected = indices
    if ignore and len(values) > 2:
        names[-1] = "ignore"
        expected = np.where(indices == len(values) - 1, IGNORE, indices)
    classes = ClassMap.from_mapping(dict(zip(names, values, strict=True)))
    assert np.array_equal(read(save(written), classes, (9, 7)), expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.integers(0, 0xFFFFFF), min_size=2, max_size=30, unique=True), seed=st.integers(0, 2**32 - 1))
def test_mapped_colours_come_back_as_indices(save: Save, values: list[int], seed: int) -> None:
    """Indices written with any colours are read back unchanged; the alpha channel has no effect."""
    random = np.random.default_rng(seed)
    indices = random.integers(0, len(values), (9, 7))
    packed = np.array(values)[indices]
    alpha = random.integers(0, 256, (9, 7))
    pixels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255, alpha], axis=2).astype(np.uint8)
    names = ["background", *(f"class {index}" for index in range(1, len(values)))]
    classes = ClassMap.from_mapping({name: f"#{value:06x}" for name, value in zip(names, values, strict=True)})
    assert np.array_equal(read(save(pixels), classes, (9, 7)), indices)
