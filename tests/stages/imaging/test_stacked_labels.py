"""Labels in stacks are the numbers that the file holds, whatever colours it shows them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.errors import InputProblemsError
from stages.imaging.label_values import read_values
from stages.imaging.parts import Part
from stages.imaging.samples import LabelFile, SourceSample
from stages.imaging.volumes.planes import split_into_planes

LABELS = np.random.default_rng(0).integers(0, 200, (3, 20, 30))
COLOURS = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "8 bits": ("u1", {"photometric": "minisblack"}),
    "16 bits of ImageJ": ("u2", {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "32 bits": ("u4", {"photometric": "minisblack", "compression": "deflate"}),
    "signed": ("i4", {"photometric": "minisblack"}),
    "whole numbers as fractions": ("f4", {"photometric": "minisblack"}),
    "a palette": ("u1", {"photometric": "palette", "colormap": COLOURS}),
    "a palette of ImageJ": ("u1", {"imagej": True, "metadata": {"axes": "ZYX"}, "colormap": COLOURS}),
    "OME": ("u2", {"photometric": "minisblack", "ome": True, "metadata": {"axes": "ZYX"}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_of_the_file_are_the_labels(tmp_path: Path, form: str):
    dtype, options = FORMS[form]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS.astype(dtype), **options)
    for plane in range(3):
        found = read_values(LabelFile(path, part=Part(plane=plane)), (20, 30))
        np.testing.assert_array_equal(found, LABELS[plane])
    region = read_values(LabelFile(path, part=Part(plane=1, box=(3, 4, 9, 8))), (9, 8))
    np.testing.assert_array_equal(region, LABELS[1, 3:12, 4:12])


def test_labels_in_another_order_of_planes_are_refused(tmp_path: Path):
    """Both files have six planes, and the planes of one would be paired with others."""
    for name, axes in {"image": "TZYX", "labels": "ZTYX", "plain": "ZYX", "same": "TZYX"}.items():
        shape = [{"T": 2, "Z": 3, "Y": 20, "X": 30}[axis] for axis in axes] if name != "plain" else (6, 20, 30)
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.zeros(shape, np.uint8), metadata={"axes": axes})

    def planes_of(labels: str) -> tuple[int, list[str]]:
        sample = SourceSample("a", tmp_path / "image.ome.tif", (LabelFile(tmp_path / f"{labels}.ome.tif"),))
        found, problems = split_into_planes([sample])
        return len(found), [str(problem) for problem in problems]

    assert planes_of("same") == planes_of("plain") == (6, [])
    count, (problem,) = planes_of("labels")
    assert count == 0
    assert "has its planes as 3 Z x 2 T and its image as 2 T x 3 Z" in problem


def test_large_numbers_of_objects_are_kept(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, (LABELS + 10**6).astype("u4"), photometric="minisblack")
    assert read_values(LabelFile(path, part=Part(plane=0)), (20, 30)).min() >= 10**6


def test_one_bit_is_0_and_1(tmp_path: Path):
    pages = [Image.fromarray(plane > 99) for plane in LABELS]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = read_values(LabelFile(tmp_path / "a.tif", part=Part(plane=2)), (20, 30))
    np.testing.assert_array_equal(found, LABELS[2] > 99)


def test_grey_that_was_saved_in_colours_is_read(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.repeat(LABELS[..., None], 3, axis=3).astype("u1"), photometric="rgb")
    np.testing.assert_array_equal(read_values(LabelFile(path, part=Part(plane=1)), (20, 30)), LABELS[1])


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (np.stack([LABELS, LABELS + 1, LABELS], axis=3).astype("u1"), {"photometric": "rgb"}, "holds colours"),
        (LABELS.astype("f4") + 0.5, {"photometric": "minisblack"}, "fractions or negative"),
        (LABELS.astype("i2") - 5, {"photometric": "minisblack"}, "fractions or negative"),
        (
            np.stack([LABELS, LABELS + 1], axis=1).astype("u1"),
            {"imagej": True, "metadata": {"axes": "ZCYX"}},
            "colours",
        ),
    ],
)
def test_what_is_no_label_is_a_problem(tmp_path: Path, values: np.ndarray, options: dict[str, Any], said: str):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, **options)
    with pytest.raises(InputProblemsError, match=said):
        read_values(LabelFile(path, part=Part(plane=1)), (20, 30))
