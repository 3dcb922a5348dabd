"""The label TIFF of a stack: its values, its types, its axes and its mark."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from stages.imaging.volumes.opened import open_volume
from stages.prediction.mask_files import MaskPainter
from stages.prediction.parents import PARENT_FORMATS, Gathered
from stages.prediction.tiff_stacks import encode, is_ours

CLASSES = ("background", "nucleus", "cell")


def gathered(
    folder: Path, values: np.ndarray, *, axes: str = "ZYX", content: Any = "classes", **changes: Any
) -> Gathered:
    """Return the predicted planes of a stack of zeros with these axes."""
    shape = {"Z": 3, "T": 2, "Y": values.shape[1], "X": values.shape[2]}
    source = folder / "a.ome.tif"
    metadata = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    image = np.zeros([shape[axis] for axis in axes], np.uint8)
    tifffile.imwrite(source, image, metadata=metadata, photometric="minisblack")
    painter = MaskPainter.of(CLASSES, changes.get("masks"))
    return Gathered(
        source=source,
        axis="axial",
        identifier="Zellen µ & Co",
        content=content,
        values=values,
        classes=CLASSES,
        painter=painter,
    )


def read(data: bytes) -> tuple[np.ndarray, str]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return file.series[0].asarray(), file.series[0].axes


def planes(count: int, dtype: str = "u1") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (count, 10, 12)).astype(dtype)


@pytest.mark.parametrize("axes", ["ZYX", "TZYX", "ZTYX", "TYX"])
def test_planes_keep_their_axes(tmp_path: Path, axes: str):
    count = {"ZYX": 3, "TYX": 2}.get(axes, 6)
    values = planes(count)
    found, named = read(encode(gathered(tmp_path, values, axes=axes), label=None))
    assert named == axes
    np.testing.assert_array_equal(found.reshape(values.shape), values)


def test_values_are_those_of_the_masks(tmp_path: Path):
    values = planes(3)
    data = encode(gathered(tmp_path, values, masks={"background": 0, "nucleus": 7, "cell": 300}), label=None)
    np.testing.assert_array_equal(read(data)[0], np.array([0, 7, 300], np.uint16)[values])
    colours = {"background": "#000000", "nucleus": "#ff0000", "cell": "#00ff00"}
    np.testing.assert_array_equal(read(encode(gathered(tmp_path, values, masks=colours), label=None))[0], values)


def test_a_label_that_may_overlap_has_a_file_of_black_and_white(tmp_path: Path):
    bits = planes(3)
    data = encode(gathered(tmp_path, bits, content="labels"), label=2)
    np.testing.assert_array_equal(read(data)[0], (bits >> 1 & 1) * 255)


@pytest.mark.parametrize(("most", "dtype"), [(65535, "u2"), (65536, "u4")])
def test_objects_have_as_many_bits_as_they_need(tmp_path: Path, most: int, dtype: str):
    objects = planes(3, "i4")
    objects[0, 0, 0] = most
    data = encode(gathered(tmp_path, objects, content="objects"), label=None)
    found, _ = read(data)
    (tmp_path / "b.tif").write_bytes(data)
    assert is_ours(tmp_path / "b.tif")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, objects)


def test_the_file_is_ours_and_is_a_volume_with_the_same_spacing(tmp_path: Path):
    one = gathered(tmp_path, planes(3))
    (tmp_path / "b.tif").write_bytes(encode(one, label=None))
    assert encode(one, label=None) == (tmp_path / "b.tif").read_bytes()
    assert is_ours(tmp_path / "b.tif")
    assert PARENT_FORMATS["tiff"].is_ours(tmp_path / "b.tif")
    assert not is_ours(tmp_path / "a.ome.tif")
    assert open_volume(tmp_path / "b.tif").facts.spacing_mm == pytest.approx((0.00025, 0.0005, 0.002))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.get_resolution("MICROMETER") == pytest.approx((2, 4), rel=1e-6)
