"""The values that a predicted mask is written in, and the marks of written files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stages.prediction.mask_files import MaskPainter, as_png, as_tiff, is_ours

TWO, THREE = ("background", "gland"), ("background", "gland", "vessel")


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        pytest.param(TWO, None, [0, 255], id="black_and_white"),
        pytest.param(THREE, None, [0, 1, 2], id="values_not_recorded"),
        pytest.param(TWO, {"background": 0, "gland": 128}, [0, 128], id="one_value"),
        pytest.param(TWO, {"gland": "7", "background": "3"}, [3, 7], id="by_name_whatever_the_order"),
        pytest.param(TWO, {"background": 0, "gland": "1-255"}, [0, 255], id="white_where_allowed"),
        pytest.param(TWO, {"background": 0, "gland": "1-9"}, [0, 1], id="range_without_white"),
        pytest.param(TWO, {"gland": ">0"}, [0, 255], id="everything_above_0"),
        pytest.param(TWO, {"background": "<128", "gland": ">=128"}, [0, 255], id="bounds"),
        pytest.param(THREE, {"background": 0, "gland": "4-9+1", "vessel": ">9"}, [0, 1, 10], id="lowest_of_a_list"),
        pytest.param(THREE, {"background": 0, "gland": 300, "vessel": 65535}, [0, 300, 65535], id="sixteen_bits"),
        pytest.param(
            THREE,
            {"background": 0, "gland": "#ff0080", "vessel": "#00ff00+#00ee00"},
            [[0, 0, 0], [255, 0, 128], [0, 255, 0]],
            id="colours",
        ),
        pytest.param(TWO, {"background": "#ffffff", "gland": 9}, [[255, 255, 255], [9, 9, 9]], id="grey_beside_colour"),
    ],
)
def test_every_class_is_written_in_a_value_of_its_own(classes, values, expected):
    """The file holds the first value or colour of each class, in as many bits as are needed."""
    mask = np.arange(len(classes), dtype=np.uint8)[None]
    with Image.open(io.BytesIO(as_png(MaskPainter.of(classes, values).paint(mask)))) as written:
        assert np.asarray(written)[0].tolist() == expected


def test_only_marked_files_are_ours(tmp_path):
    """A picture or outlines without the mark may be the user's own."""
    (tmp_path / "mask.png").write_bytes(as_png(np.zeros((2, 2), np.uint8)))
    (tmp_path / "objects.tif").write_bytes(as_tiff(np.full((2, 2), 70000, np.int32)))
    (tmp_path / "ours.geojson").write_text('{"type": "FeatureCollection", "generator": "diamant-pipeline"}')
    Image.new("L", (2, 2)).save(tmp_path / "drawn.png")
    Image.new("I", (2, 2)).save(tmp_path / "drawn.tif")
    (tmp_path / "drawn.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "list.geojson").write_text("[1]")
    (tmp_path / "broken.geojson").write_text("{")
    assert sorted(path.name for path in tmp_path.iterdir() if is_ours(path)) == [
        "mask.png",
        "objects.tif",
        "ours.geojson",
    ]
    assert np.asarray(Image.open(tmp_path / "objects.tif"))[0, 0] == 70000
