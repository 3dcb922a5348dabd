"""A store records how its masks were found and decoded, and `evaluate` finds them the same way again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.extract import run as extract
from stages.imaging.pairing import MASK_ENDINGS
from stages.imaging.parts import WHOLE, Part
from stages.imaging.samples import LabelFile
from stages.imaging.source_masks import find_source_masks
from store import AttentionStore
from store.description import MaskSource
from tests.conftest import extract_settings
from tests.store.conformance.cases import SOURCE
from tests.store.conformance.draft import Draft


def _whole(*ids: str) -> dict[str, tuple[str, Part]]:
    """Return samples that are whole images."""
    return {identifier: (identifier, WHOLE) for identifier in ids}


BY_NAME = {"rule": "name", "endings": list(MASK_ENDINGS)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"values": None, "decoding": "binary", "pairing": BY_NAME, "resize": "area"}),
        (
            {"classes": {"skin": 0, "lesion": 255}},
            {"values": {"skin": 0, "lesion": 255}, "decoding": "mapped", "pairing": BY_NAME, "resize": "area"},
        ),
        ({"masks": None}, {"values": None, "decoding": "binary", "pairing": None}),
    ],
)
def test_extract_records_how_masks_are_found_and_decoded(
    phantoms: Path, tmp_path: Path, memo: Path, changes: dict[str, Any], expected: dict[str, Any]
):
    """The description has the rule of pairing and of decoding, and no key that is at its default."""
    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, **changes))
    assert AttentionStore.open(tmp_path / "s.zarr").description.to_dict()["masks"] == expected


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
        masks = find_source_masks(_whole("case_01"), store.description.masks, masks=tmp_path / "masks")
        assert masks == {"case_01": (LabelFile(tmp_path / "masks" / f"case_01{ending}.png"),)}
    else:
        with pytest.raises(InputProblemsError, match="no mask for `case_01`") as caught:
            find_source_masks(_whole("case_01"), store.description.masks, masks=tmp_path / "masks")
        assert "by the rule that the store records: pairs by the layout names" in str(caught.value)


def test_a_table_names_the_masks_in_place_of_the_rule(tmp_path: Path):
    """The names in a table need not follow any rule; an id without a mask is named with the option to leave out."""
    Image.fromarray(np.zeros((36, 48), np.uint8)).save(tmp_path / "m.png")
    (tmp_path / "t.csv").write_text("id,image,mask\na,m.png,m.png\nb,m.png,\n")
    found = find_source_masks(_whole("a"), MaskSource(pairing={"rule": "table"}), csv=tmp_path / "t.csv")
    assert found == {"a": (LabelFile(tmp_path / "m.png"),)}
    with pytest.raises(InputProblemsError, match=r"no mask for `b`(.|\n)*leave --csv out"):
        find_source_masks(_whole("a", "b"), MaskSource(), csv=tmp_path / "t.csv")


def test_a_table_and_a_folder_of_masks_exclude_each_other(tmp_path: Path):
    with pytest.raises(UsageError, match="a table or --masks"):
        find_source_masks(_whole("a"), MaskSource(), csv=tmp_path / "t.csv", masks=tmp_path)
