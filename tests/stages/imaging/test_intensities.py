"""Values of more than 8 bits become 8-bit values by one rule, in pictures, arrays and volumes alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.decoding import key_of_maps, read_image, read_resized
from stages.imaging.intensities import MINMAX, IntensityRule, to_8_bits
from stages.imaging.parts import WHOLE, Box
from stages.imaging.volumes import shown
from stages.imaging.volumes.numpy_files import NumpyVolume
from stages.imaging.volumes.opened import open_volume
from tests.stages.imaging.deep_files import save_deep_png

PERCENTILES = IntensityRule(name="percentiles")
VALUES = np.random.default_rng(0).integers(500, 3500, (40, 50))
"""Values of 12 bits."""


def _png(folder: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint16)).save(folder / "a.png")
    return folder / "a.png"


def _tiff(folder: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.float32)).save(folder / "a.tif")
    return folder / "a.tif"


def _colour(folder: Path, values: np.ndarray) -> Path:
    return save_deep_png(folder / "a.png", np.repeat(values[..., None].astype(np.uint16), 3, axis=2))


def _array(folder: Path, values: np.ndarray) -> Path:
    np.savez(folder / "a.npz", image=values.astype(np.int32), label=np.zeros(values.shape, np.uint8))
    return folder / "a.npz"


def _stack(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "a.npy", values.astype(np.int16))
    return folder / "a.npy"


DEEP: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "16-bit grey": _png,
    "float TIFF": _tiff,
    "16-bit colour": _colour,
    "array": _array,
    "stack": _stack,
}


@pytest.mark.parametrize("save", DEEP.values(), ids=DEEP)
def test_one_hot_pixel_darkens_nothing_by_percentiles(save: Callable[[Path, np.ndarray], Path], tmp_path: Path):
    values = VALUES.copy()
    values[3, 4] = 30000
    path = save(tmp_path, values)
    by_percentiles, by_extremes = (read_image(path, rule=rule).pixels for rule in (PERCENTILES, MINMAX))
    assert np.percentile(by_percentiles, 90) > 220
    assert np.percentile(by_extremes, 90) < 40
    assert by_percentiles[3, 4].tolist() == [255] * 3
    (resized,) = read_resized(path, [values.shape], rule=PERCENTILES).images
    np.testing.assert_array_equal(resized, by_percentiles)


@pytest.mark.parametrize("save", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("rule", ["1000:3000", "percentiles:10:90", "file", "percentiles"])
def test_values_between_the_two_are_scaled_linearly(
    save: Callable[[Path, np.ndarray], Path], rule: str, tmp_path: Path
):
    low, high = {"1000:3000": (1000, 3000), "percentiles:10:90": np.percentile(VALUES, (10, 90))}.get(
        rule, np.percentile(VALUES, (0.5, 99.5))
    )
    shown = read_image(save(tmp_path, VALUES), rule=IntensityRule.parse(rule)).pixels
    expected = np.rint(np.clip((VALUES - low) / (high - low), 0, 1) * 255)
    assert np.abs(shown[..., 0] - expected).max() <= 1  # a percentile in 32 bits may round another way
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize("save", DEEP.values(), ids=DEEP)
def test_every_rule_has_its_own_maps_in_the_memo(save: Callable[[Path, np.ndarray], Path], tmp_path: Path):
    path = save(tmp_path, VALUES)
    rules = [IntensityRule.parse(one) for one in ("minmax", "percentiles", "percentiles:1:99", "0:4095", "0:4096")]
    keys = [read_resized(path, [(8, 8)], rule=rule).memo_key for rule in rules]
    assert len(set(keys)) == 5
    assert keys == [key_of_maps(path, WHOLE, rule) for rule in rules]


def test_without_a_rule_keys_are_those_of_earlier_versions(tmp_path: Path):
    """A picture's key is its digest, so its maps are found in a memo of an earlier version."""
    for save in (_png, _tiff, _array):
        image = read_resized(save(tmp_path, VALUES), [(8, 8)])
        assert image.memo_key == image.digest


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npz"])
def test_images_of_8_bits_are_the_same_by_every_rule(name: str, tmp_path: Path):
    values = (VALUES // 20).astype(np.uint8)
    if name == "a.npz":
        np.savez(tmp_path / name, image=values)
    else:
        Image.fromarray(values).save(tmp_path / name)
    images = [read_resized(tmp_path / name, [(40, 50)], rule=rule) for rule in (MINMAX, IntensityRule.parse("90:100"))]
    np.testing.assert_array_equal(images[0].images[0], images[1].images[0])
    assert images[0].memo_key == images[1].memo_key == images[0].digest


@pytest.mark.parametrize("save", DEEP.values(), ids=DEEP)
def test_few_bright_pixels_on_black_are_not_lost(save: Callable[[Path, np.ndarray], Path], tmp_path: Path):
    """Both percentiles are 0 here."""
    values = np.zeros((40, 50), int)
    values[20, 20:24] = 1000, 2000, 3000, 4000
    shown = read_image(save(tmp_path, values), rule=PERCENTILES).pixels
    assert shown[20, 20:25, 0].tolist() == [64, 128, 191, 255, 0]


@pytest.mark.parametrize("save", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("rule", ["percentiles", "minmax", "file"])
def test_a_constant_image_is_black(save: Callable[[Path, np.ndarray], Path], rule: str, tmp_path: Path):
    for value in (0, 700):
        assert not read_image(save(tmp_path, np.full((5, 6), value)), rule=IntensityRule.parse(rule)).pixels.any()


def test_an_image_of_few_pixels_keeps_its_contrast(tmp_path: Path):
    assert read_image(_png(tmp_path, np.array([[5]])), rule=PERCENTILES).pixels.tolist() == [[[0, 0, 0]]]
    shown = read_image(_png(tmp_path, np.array([[0, 1000], [2000, 3000]])), rule=PERCENTILES).pixels[..., 0]
    assert shown.ravel().tolist() == [0, 85, 170, 255]


def test_signed_and_fractional_values_are_converted(tmp_path: Path):
    window = IntensityRule.parse("-1:1")
    values = np.array([[-2, -1, 0], [0.5, 1, 3]])
    assert read_image(_tiff(tmp_path, values), rule=window).pixels[..., 0].tolist() == [[0, 0, 128], [191, 255, 255]]
    assert read_image(_stack(tmp_path, values), rule=window).pixels[..., 0].tolist() == [[0, 0, 128], [128, 255, 255]]


def test_nan_is_a_problem_by_every_rule(tmp_path: Path):
    values = np.ones((4, 4), np.float32)
    values[1, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    for rule in ("percentiles", "0:1", "minmax"):
        with pytest.raises(InputProblemsError, match="1 of 16 pixels are NaN"):
            read_image(tmp_path / "a.tif", rule=IntensityRule.parse(rule))


def test_the_channels_of_a_colour_image_are_converted_together(tmp_path: Path):
    """A dark channel stays dark."""
    values = np.stack([VALUES, VALUES // 2, VALUES // 4], axis=2).astype(np.uint16)
    shown = read_image(save_deep_png(tmp_path / "a.png", values), rule=PERCENTILES).pixels
    means = shown.reshape(-1, 3).mean(axis=0)
    assert means[0] > 1.5 * means[1] > 2.5 * means[2] > 0


def test_the_rows_and_columns_of_a_large_image_are_thinned_evenly():
    """Every n-th value alone would be of one column where n divides the width."""
    values = np.zeros((1024, 4096), np.uint16)
    values[:] = np.arange(4096)
    low, high = PERCENTILES.range_of(values)
    assert abs(low - 20) < 5
    assert abs(high - 4075) < 5


@pytest.mark.parametrize("largest", [1e300, 1.7e308])
def test_values_of_any_size_fit(largest: float):
    values = np.array([[-largest, 0, largest]])
    for limit in (largest, 1.0):
        black, grey, white = to_8_bits(values, -limit, limit)[0, :, 0].tolist()
        assert (black, white) == (0, 255)
        assert grey in {127, 128}  # exactly between the two


@pytest.mark.parametrize(
    "text", ["percentiles", "minmax", "file", "-160:240", "0.125:1e+22", "percentiles:1:99", "percentiles:0:100"]
)
def test_a_rule_is_read_as_it_was_written(text: str):
    assert str(IntensityRule.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "auto ", "max", "5", "5:", ":5", "5:5", "6:5", "nan:1", "0:inf", "1:2:3", "minmax:1:2"],
)
def test_anything_else_is_no_rule(text: str):
    with pytest.raises(UsageError, match="--window"):
        IntensityRule.parse(text)


@pytest.mark.parametrize("text", ["percentiles:", "percentiles:9:1", "percentiles:-1:9", "percentiles:1:101"])
def test_percentiles_are_two_from_0_to_100(text: str):
    with pytest.raises(UsageError, match="from 0 to 100"):
        IntensityRule.parse(text)


def test_of_a_slide_only_blocks_are_read_for_the_percentiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They are near those of the whole plane, and memory does not grow with it."""
    values = np.add.outer(np.arange(900), np.arange(1300)).astype(np.uint16)
    np.save(tmp_path / "a.npy", values)
    monkeypatch.setattr(shown, "LARGEST_WHOLE", 10_000)
    monkeypatch.setattr(shown, "BLOCK", 16)
    read: list[object] = []
    original = NumpyVolume.read

    def recorded(self: NumpyVolume, plane: int, box: Box | None = None) -> np.ndarray:
        read.append(box)
        return original(self, plane, box)

    monkeypatch.setattr(NumpyVolume, "read", recorded)
    low, high = shown.shown_range(open_volume(tmp_path / "a.npy"), PERCENTILES)
    assert len(read) == 16 * 16
    assert all(isinstance(box, tuple) and box[2:] == (16, 16) for box in read)
    expected = np.percentile(values, (0.5, 99.5))
    assert np.abs(np.array([low, high]) - expected).max() < 0.05 * values.max()
