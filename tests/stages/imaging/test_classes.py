"""Class maps: valid mappings, and malformed ones."""

from __future__ import annotations

from typing import Any

import pytest

from stages.errors import UsageError
from stages.imaging.classes import ClassMap


def test_binary_has_two_names_and_no_values() -> None:
    """Black-and-white masks need no values."""
    classes = ClassMap.binary()
    assert classes.names == ("background", "foreground")
    assert classes.values == ()


def test_order_is_the_index_and_ignore_has_none() -> None:
    """Classes keep the order of the mapping; `ignore` may be anywhere in it."""
    classes = ClassMap.from_mapping({"lesion": 255, "ignore": 128, "skin": "0"})
    assert classes.names == ("lesion", "skin")
    assert classes.values == (255, 0)
    assert classes.ignore == 128
    assert not classes.in_colour


def test_numbers_beside_colours_become_greys() -> None:
    """If one value is a colour, the numbers become grey colours."""
    classes = ClassMap.from_mapping({"skin": 0, "lesion": 255, "hair": "#ff0000", "ignore": 128})
    assert classes.in_colour
    assert classes.values == (0, 0xFFFFFF, 0xFF0000)
    assert classes.ignore == 0x808080


@pytest.mark.parametrize(
    "mapping",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"skin": 0}, id="one_class"),
        pytest.param({"skin": 0, "ignore": 1}, id="one_class_and_ignore"),
        pytest.param({"skin": 0, "": 1}, id="empty_name"),
        pytest.param({"skin": 0, "lesion": 0}, id="same_value"),
        pytest.param({"skin": 0, "lesion": 1, "ignore": 1}, id="same_value_as_ignore"),
        pytest.param({"skin": "#ffffff", "lesion": 255}, id="same_colour_as_grey"),
        pytest.param({"skin": 0, "lesion": -1}, id="negative"),
        pytest.param({"skin": 0, "lesion": 65536}, id="too_large"),
        pytest.param({"skin": "#000000", "lesion": 256}, id="no_grey"),
        pytest.param({"skin": 0, "lesion": True}, id="truth"),
        pytest.param({"skin": 0, "lesion": 1.0}, id="fraction"),
        pytest.param({"skin": 0, "lesion": "red"}, id="colour_by_name"),
        pytest.param({"skin": 0, "lesion": "#ff00"}, id="short_colour"),
        pytest.param({"skin": 0, "lesion": "255\n"}, id="line_break"),
        pytest.param({f"class {index}": index for index in range(251)}, id="too_many"),
    ],
)
def test_malformed_mappings_are_usage_errors(mapping: dict[str, Any]) -> None:
    """A malformed mapping is rejected before any file is read, and the message names `classes`."""
    with pytest.raises(UsageError, match=r"^classes: "):
        ClassMap.from_mapping(mapping)


def test_250_classes_are_possible() -> None:
    """The limit itself is allowed."""
    assert len(ClassMap.from_mapping({f"class {index}": index for index in range(250)}).names) == 250
