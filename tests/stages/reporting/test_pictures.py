"""The picture of a case: all layers in one frame, within its bytes."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from stages.reporting.picture_coding import encode_image, encode_maps, encode_probability
from stages.reporting.pictures import Source, case_picture, frame_of, picture_size
from store.agreement import head_agreement
from store.records import IGNORE, Sample
from tests.stages.reporting.rasters import rasterise

CLASSES = ["skin", "lesion", "hair"]
SIZE = (48, 64)


def photo(size: tuple[int, int], seed: int = 0, *, noise: float = 6) -> np.ndarray:
    """Return an image with smooth colours and some grain, (row, column, 3) uint8."""
    random = np.random.default_rng(seed)
    small = gaussian_filter(random.standard_normal((64, 64, 3)), (8, 8, 0))
    smooth = zoom(small, (size[0] / 64, size[1] / 64, 1), order=1)
    grain = random.standard_normal((*size, 3)) * noise
    return np.clip(128 + 900 * smooth + grain, 0, 255).astype(np.uint8)


def sample(*, heads: int = 3, mask: np.ndarray | None = None, **changes: Any) -> Sample:
    """Return a sample with a smooth image, two classes in the mask and random attention; `changes` replace fields."""
    if mask is None:
        mask = np.zeros(SIZE, np.uint8)
        mask[10:30, 10:40] = 1
        mask[20:25, 20:50] = 2
    fields: dict[str, Any] = {
        "id": "a",
        "image": photo(mask.shape),
        "mask": mask,
        "attention": np.random.default_rng(1).random((heads, 6, 8)).astype(np.float16),
        "digest": "0",
        "height": 300,
        "width": 900,
        "group": "g",
        "labelled": True,
    }
    return Sample(**{**fields, **changes})


def names(count: int) -> list[str]:
    return [f"L11H{number}" for number in range(count)]


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_the_frame_and_the_image_have_the_aspect_of_the_original() -> None:
    picture = case_picture(sample(), classes=CLASSES, heads=names(3))
    assert (picture.width, picture.height) == (960, 320)
    image = opened(picture.image)
    assert image.format == "WEBP"
    assert image.width / image.height == pytest.approx(3, rel=0.03)
    assert image.height == SIZE[0]  # nothing of the stored image is thrown away


def test_contours_of_truth_and_prediction_are_those_of_the_masks() -> None:
    one = sample()
    prediction = np.roll(one.mask, 3, axis=1)
    picture = case_picture(one, classes=CLASSES, heads=names(3), predictions={"dual": prediction})
    for shapes, mask in ((picture.truth, one.mask), (picture.predictions["dual"], prediction)):
        assert [shape.name for shape in shapes] == ["lesion", "hair"]
        for index, shape in enumerate(shapes, start=1):
            assert np.array_equal(rasterise(shape.path, SIZE, (320, 960)), mask == index)


def test_labels_that_overlap_have_their_own_outlines() -> None:
    bits = np.zeros(SIZE, np.uint8)
    bits[10:30, 10:40] |= 1
    bits[20:45, 20:60] |= 2
    picture = case_picture(sample(mask=bits), classes=CLASSES, heads=names(3), multilabel=True)
    lesion, hair = picture.truth
    assert np.array_equal(rasterise(lesion.path, SIZE, (320, 960)), bits & 1 > 0)
    assert np.array_equal(rasterise(hair.path, SIZE, (320, 960)), bits & 2 > 0)


def test_ignored_pixels_are_a_layer_of_their_own_and_no_class() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :5] = IGNORE
    picture = case_picture(sample(mask=mask), classes=CLASSES, heads=names(3))
    assert picture.truth == []
    assert np.array_equal(rasterise(picture.ignored, SIZE, (320, 960)), mask == IGNORE)


def test_a_sample_without_a_mask_has_no_truth_and_no_best_head() -> None:
    unlabelled = sample(mask=np.full(SIZE, IGNORE, np.uint8), labelled=False)
    picture = case_picture(unlabelled, classes=CLASSES, heads=names(3))
    assert (list(picture.truth), picture.ignored) == ([], "")
    assert picture.maps is not None
    assert picture.maps.best is None
    assert all(map(math.isnan, picture.maps.agreement))


def test_an_empty_mask_has_no_shapes_and_no_best_head() -> None:
    picture = case_picture(sample(mask=np.zeros(SIZE, np.uint8)), classes=CLASSES, heads=names(3))
    assert picture.truth == []
    assert picture.maps is not None
    assert picture.maps.best is None


def test_the_best_head_is_the_one_that_agrees_most_with_the_mask() -> None:
    one = sample()
    attention = one.attention.copy()
    attention[1] = -(one.mask[4::8, 4::8] == 1).astype(np.float16)  # opposite to the mask, as good as equal to it
    picture = case_picture(sample(attention=attention), classes=CLASSES, heads=names(3))
    assert picture.maps is not None
    assert picture.maps.best == 1
    assert picture.maps.agreement == pytest.approx(head_agreement(attention[None], one.mask[None])[0])


def test_source_image_and_mask_take_the_place_of_the_stored_ones() -> None:
    source_mask = np.zeros((300, 900), np.uint8)
    source_mask[100:200, 300:601] = 1
    source = Source(image=photo((300, 900), 3), mask=source_mask)
    picture = case_picture(sample(), classes=CLASSES, heads=names(3), source=source)
    assert opened(picture.image).size == (900, 300)
    assert np.array_equal(rasterise(picture.truth[0].path, (300, 900), (320, 960)), source_mask == 1)


def test_a_large_source_mask_is_reduced_before_it_is_traced() -> None:
    large = np.zeros((1500, 4500), np.uint8)
    large[500:1000, 1500:3000] = 1
    picture = case_picture(sample(height=1500, width=4500), classes=CLASSES, heads=[], source=Source(mask=large))
    filled = rasterise(picture.truth[0].path, (320, 960), (320, 960))
    assert abs(int(filled.sum()) / filled.size - float(large.mean())) < 0.003


def test_maps_are_kept_to_a_grey_level_each_on_its_own_scale() -> None:
    attention = np.random.default_rng(0).random((4, 6, 8)) * np.array([1, 10, 100, 0])[:, None, None]
    sheet, low, high = encode_maps(attention, levels=64)
    grey = np.asarray(opened(sheet)).reshape(4, 6, 8)
    restored = grey / 255 * (np.array(high) - np.array(low))[:, None, None] + np.array(low)[:, None, None]
    assert np.abs(restored - attention).max(axis=(1, 2)) == pytest.approx(0, abs=100 / 63)
    assert np.all(np.abs(restored - attention) <= ((np.array(high) - low) / 63)[:, None, None])


def test_probability_is_small_and_means_not_background() -> None:
    probabilities = np.zeros((3, 224, 112), np.float32)
    probabilities[0], probabilities[2, :112] = 1, 0.6
    probabilities[0, :112] = 0.4
    picture = opened(encode_probability(probabilities))
    assert picture.size == (48, 96)
    grey = np.asarray(picture)
    assert grey[10, 10] == round(0.6 * 255)
    assert grey[90, 10] == 0


@pytest.mark.parametrize("limit", [4_000, 12_000, 60_000])
def test_an_image_fits_its_limit_and_uses_it(limit: int) -> None:
    encoded = encode_image(photo((800, 1000), noise=14), (800, 1000), limit=limit)
    assert limit / 5 < len(encoded.content) * 4 / 3 <= limit


def test_scarce_bytes_cost_the_image_first_then_the_maps_then_the_probability() -> None:
    one = sample(heads=18, attention=np.random.default_rng(2).random((18, 28, 28)).astype(np.float16))
    probability = np.random.default_rng(3).random((3, 96, 96)).astype(np.float32)

    def made(limit: int) -> Any:
        return case_picture(one, classes=CLASSES, heads=names(18), probabilities={"dual": probability}, limit=limit)

    rich, fair, poor = made(400_000), made(32_000), made(17_000)
    assert len(rich.maps.sheet) > len(fair.maps.sheet) > len(poor.maps.sheet)
    assert fair.probability
    assert not poor.probability
    assert picture_size(fair) <= 32_000
    assert picture_size(poor) <= 17_000


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (6000, 4000)])
def test_any_size_of_an_original_has_a_frame(size: tuple[int, int]) -> None:
    frame = frame_of(*size)
    assert max(frame) == 960
    assert min(frame) >= 1
    picture = case_picture(sample(height=size[0], width=size[1]), classes=CLASSES, heads=names(3))
    assert (picture.height, picture.width) == frame
    assert opened(picture.image).size
