"""A store records how its masks were found and decoded, and `evaluate` finds them the same way again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError
from stages.evaluate import _find_source_masks
from stages.extract import _mask_source
from stages.imaging.pairing import MASK_ENDINGS
from stages.settings import ExtractSettings
from store import AttentionStore
from store.description import MaskSource
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft

BY_NAME = {"rule": "name", "endings": list(MASK_ENDINGS)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"masks": Path("m")}, MaskSource(values=None, decoding="binary", pairing=BY_NAME)),
        (
            {"masks": Path("m"), "classes": {"a": 0, "b": "#ff0000"}},
            MaskSource(values={"a": 0, "b": "#ff0000"}, decoding="mapped", pairing=BY_NAME),
        ),
        ({"csv": Path("t.csv")}, MaskSource(values=None, decoding="binary", pairing={"rule": "table"})),
        ({}, MaskSource(values=None, decoding="binary", pairing=None)),
    ],
)
def test_extract_records_how_masks_are_found_and_decoded(settings: dict[str, object], expected: MaskSource):
    assert _mask_source(ExtractSettings(images=Path("i"), store=Path("s.zarr"), **settings)) == expected


@pytest.mark.parametrize(
    ("pairing", "ending", "found"),
    [
        ({"rule": "name", "endings": ["_truth"]}, "_truth", True),
        ({"rule": "name", "endings": ["_truth"]}, "_mask", False),
        ({"rule": "name", "endings": ["_truth"]}, "", True),
        ({"rule": "table"}, "_mask", True),
        (None, "_mask", True),
        (None, "_truth", False),
    ],
)
def test_evaluate_finds_masks_by_the_recorded_endings(tmp_path: Path, pairing: object, ending: str, found: bool):  # noqa: FBT001 - a value of the table above
    """If a store records no endings, `evaluate` uses the program's own list."""
    draft = Draft(shutil.copytree(SOURCE, tmp_path / "s.zarr"))
    draft.described["masks"]["pairing"] = pairing
    draft.seal()
    store = AttentionStore.open(draft.path)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((36, 48), np.uint8)).save(tmp_path / "masks" / f"case_01{ending}.png")
    if found:
        masks = _find_source_masks(store, np.array([2]), tmp_path / "masks")
        assert masks == {"case_01": tmp_path / "masks" / f"case_01{ending}.png"}
    else:
        with pytest.raises(InputProblemsError, match="no mask for `case_01`"):
            _find_source_masks(store, np.array([2]), tmp_path / "masks")
