"""Images that keep their aspect lie on a canvas, and everything made from them stays aligned with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.imaging.decoding import key_of_maps, read_image, read_resized
from stages.imaging.fitting import Canvas, fit_image
from stages.imaging.resizing import resize_image, resize_probabilities
from stages.imaging.shrinking import shrink_labels
from store.records import IGNORE

SIDE = st.integers(1, 40)
SIZE = st.tuples(SIDE, SIDE)
ASPECTS = [(32, 40), (40, 32), (24, 24)]


@given(image=SIZE, aspect=SIZE)
def test_a_canvas_holds_the_image_and_has_the_aspect(image: tuple[int, int], aspect: tuple[int, int]):
    canvas = Canvas.around(image, aspect)
    assert canvas.size[0] == image[0] or canvas.size[1] == image[1]
    for start, side, whole in zip((canvas.top, canvas.left), image, canvas.size, strict=True):
        assert 0 <= start <= start + side <= whole
        assert abs(whole - side - 2 * start) <= 1  # in the middle
    assert abs(canvas.size[0] * aspect[1] - canvas.size[1] * aspect[0]) <= max(aspect) / 2  # half a pixel


def test_without_an_aspect_nothing_is_padded():
    canvas = Canvas.around((30, 50), None)
    assert (canvas.size, canvas.box((6, 5))) == ((30, 50), (0, 0, 5, 6))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    np.testing.assert_array_equal(fit_image(pixels, (9, 8), canvas), resize_image(pixels, (9, 8)))
    assert canvas.pad(pixels, 0) is pixels


@pytest.mark.parametrize("size", [(30, 50), (50, 30), (31, 31), (1, 60), (60, 1), (7, 9)])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("target", ["store", "input"])
def test_an_image_is_resized_as_if_the_canvas_were_a_file(size: tuple[int, int], aspect: tuple[int, int], target: str):
    """The transformer's input has another aspect than the store: it sees the same canvas."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    canvas = Canvas.around(size, aspect)
    result = fit_image(pixels, aspect if target == "store" else (16, 48), canvas)
    whole = resize_image(canvas.pad(pixels, 0), result.shape[:2])
    assert np.abs(result.astype(int) - whole).max() <= 1  # the order of the axes decides the rounding


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.npy", "a.npz"])
def test_all_kinds_of_files_are_padded(name: str, tmp_path: Path):
    values = np.random.default_rng(0).integers(60, 200, (24, 48)).astype(np.uint8)
    if name == "a.npy":
        np.save(tmp_path / name, values)
    elif name == "a.npz":
        np.savez(tmp_path / name, image=values)
    else:
        Image.fromarray(values).save(tmp_path / name)
    image = read_resized(tmp_path / name, [(16, 16), (32, 32)], aspect=(16, 16))
    assert (image.height, image.width) == (24, 48)
    small, large = image.images
    assert not small[[0, 1, 2, 13, 14, 15]].any()  # rows 4 to 11 hold the image, and one pixel beyond blends
    assert small[4:12].mean() > 80
    assert not large[:7].any()
    assert not large[25:].any()
    assert large[8:24].mean() > 80
    shown = Canvas.around((24, 48), (16, 16)).pad(read_image(tmp_path / name).pixels, 0)
    assert np.abs(small.astype(int) - resize_image(shown, (16, 16))).max() <= 2


@pytest.mark.parametrize("size", [(480, 333), (333, 480)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photograph_lies_where_the_full_one_does(size: tuple[int, int], orientation: int, tmp_path: Path):
    """The sides are no multiples of the reduction, so the picture ends inside the last row or column."""
    y, x = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([x * 250 / size[1], y * 250 / size[0], x * 0 + 99], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_resized(tmp_path / "a.jpg", [(24, 24)], aspect=(24, 24))
    full = read_image(tmp_path / "a.jpg").pixels
    assert (image.height, image.width) == full.shape[:2]
    canvas = Canvas.around(full.shape[:2], (24, 24))
    assert np.abs(image.images[0].astype(int) - resize_image(canvas.pad(full, 0), (24, 24))).max() <= 3


def test_an_image_on_a_canvas_has_maps_of_its_own(tmp_path: Path):
    """The key depends on the aspect, not on the size at which a store keeps the image."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    keys = [
        read_resized(tmp_path / "a.png", [(8, 8)], aspect=aspect).memo_key
        for aspect in (None, (8, 8), (16, 16), (8, 16))
    ]
    assert keys[0] == key_of_maps(tmp_path / "a.png")
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3


@given(size=SIZE, aspect=st.sampled_from(ASPECTS))
def test_a_prediction_is_cut_out_of_the_canvas_exactly(size: tuple[int, int], aspect: tuple[int, int]):
    """It is the prediction of the whole canvas without the padding."""
    probabilities = np.random.default_rng(0).random((2, *aspect), np.float32)
    canvas = Canvas.around(size, aspect)
    found = resize_probabilities(probabilities, size, canvas.box(aspect))
    whole = resize_probabilities(probabilities, canvas.size)
    cut = whole[:, canvas.top : canvas.top + size[0], canvas.left : canvas.left + size[1]]
    np.testing.assert_allclose(found, cut, atol=1e-5)


def labels(size: tuple[int, int], kind: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw the labels of an image: two objects, and ignored pixels."""
    mask, instances = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    mask[: size[0] // 3, : size[1] // 2] = 1  # at the border to the padding
    instances[mask == 1] = 1
    mask[size[0] // 2 :, size[1] // 2 + 1 :] = 1 if kind == "instances" else 2
    instances[(mask > 0) & (instances == 0)] = 2
    if kind != "instances":
        mask[-3:, :5] = IGNORE
    return mask, instances if kind == "instances" else None


@pytest.mark.parametrize("kind", ["classes", "instances", "multilabel"])
@pytest.mark.parametrize("size", [(30, 60), (61, 30), (90, 45), (7, 12)])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_labels_are_shrunk_as_if_the_canvas_were_an_ignored_part_of_the_file(
    kind: str, size: tuple[int, int], aspect: tuple[int, int]
):
    mask, instances = labels(size, kind)
    canvas = Canvas.around(size, aspect)
    found = shrink_labels(mask, instances, aspect, multilabel=kind == "multilabel", canvas=canvas)
    whole = shrink_labels(
        canvas.pad(mask, IGNORE),
        None if instances is None else canvas.pad(instances, 0),
        aspect,
        multilabel=kind == "multilabel",
    )
    np.testing.assert_array_equal(found.mask, whole.mask)
    assert (found.objects, found.lost, found.lost_classes) == (whole.objects, whole.lost, whole.lost_classes)
    assert found.keeping_size == whole.keeping_size
    assert (found.mask == IGNORE).any()
    if found.instances is not None and whole.instances is not None:
        np.testing.assert_array_equal(found.instances, whole.instances)
