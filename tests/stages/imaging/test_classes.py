"""Class maps: the values and the order of classes, and malformed mappings."""

from __future__ import annotations

from typing import Any

import pytest

from stages.errors import UsageError
from stages.imaging.class_values import parse_values
from stages.imaging.classes import ClassMap


def test_binary_has_two_names_and_no_values() -> None:
    """Black-and-white masks need no values."""
    classes = ClassMap.binary()
    assert classes.names == ("background", "foreground")
    assert classes.values == ()


def of(mapping: dict[str, Any]) -> dict[str, str]:
    """Return the classes of a mapping in the order of their indices, each with its values as text."""
    classes = ClassMap.from_mapping(mapping)
    return {name: str(values) for name, values in zip(classes.names, classes.values, strict=True)}


def test_ignore_has_no_index() -> None:
    """`ignore` may be anywhere in the mapping; values may be given as text."""
    classes = ClassMap.from_mapping({"lesion": 255, "ignore": 128, "skin": "0"})
    assert classes.names == ("skin", "lesion")
    assert str(classes.ignore) == "128"
    assert not classes.in_colour


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        pytest.param({"lesion": 255, "skin": 0}, ["skin", "lesion"], id="value_0"),
        pytest.param({"b": 2, "a": 1, "skin": 0}, ["skin", "b", "a"], id="others_keep_their_order"),
        pytest.param({"lesion": 0, "background": 255}, ["background", "lesion"], id="name_before_value_0"),
        pytest.param({"lesion": 0, "BG": 255}, ["BG", "lesion"], id="short_name"),
        pytest.param({"lesion": "#ff0000", "skin": "#000000"}, ["skin", "lesion"], id="black"),
        pytest.param({"lesion": ">=128", "skin": "<128"}, ["skin", "lesion"], id="range_with_0"),
        pytest.param({"gland": "1-255"}, ["background", "gland"], id="one_class"),
        pytest.param({"gland": "#ff0000", "ignore": "#00ff00"}, ["background", "gland"], id="one_colour"),
    ],
)
def test_the_background_comes_first(mapping: dict[str, Any], names: list[str]) -> None:
    """The class called background, else the one with the value 0, has the index 0. Beside one class it is added."""
    assert list(ClassMap.from_mapping(mapping).names) == names


@pytest.mark.parametrize("mapping", [{"a": 1, "b": 2}, {"a": "#ffffff", "b": "#ff0000"}, {"a": "1-9", "b": "10+20"}])
def test_without_a_background_both_readings_are_shown(mapping: dict[str, Any]) -> None:
    """Each reading in the message is a mapping that works."""
    with pytest.raises(UsageError, match="two readings") as caught:
        ClassMap.from_mapping(mapping)
    readings = [line.rpartition("--classes ")[2] for line in str(caught.value).splitlines() if "--classes" in line]
    found = [list(of(dict(pair.split("=", 1) for pair in reading.split(",")))) for reading in readings]
    assert found == [["background", "a", "b"], ["background", "b"]]


def test_two_names_of_the_background_are_refused() -> None:
    """`background` and `bg` in one mapping contradict each other."""
    with pytest.raises(UsageError, match="background and bg"):
        ClassMap.from_mapping({"background": 0, "bg": 1, "lesion": 2})


@pytest.mark.parametrize(
    ("value", "holds", "lacks"),
    [
        (5, [5], [4, 6]),
        ("1-9", [1, 5, 9], [0, 10]),
        (">0", [1, 255, 65535, 2**31], [0]),
        (">=128", [128, 255], [127]),
        ("<10", [0, 9], [10]),
        ("<=10", [0, 10], [11]),
        ("1+4-6+9", [1, 4, 5, 6, 9], [0, 2, 3, 7, 8, 10]),
        ([1, "4-6"], [1, 4, 6], [2, 3, 7]),
        ("#ff0000", [0xFF0000], [0xFF0001]),
        ("#ff0000+#00ff00", [0xFF0000, 0x00FF00], [0]),
    ],
)
def test_values_of_a_class(value: Any, holds: list[int], lacks: list[int]) -> None:
    """A number, a range, a comparison, a colour, and lists of them; as text they can be parsed again."""
    for values in (parse_values("a", value), parse_values("a", str(parse_values("a", value)))):
        assert [values.holds(one) for one in holds + lacks] == [True] * len(holds) + [False] * len(lacks)


def test_overlapping_ranges_are_refused_by_name() -> None:
    """The message names both classes and a value that both hold; ignored values may lie inside a range."""
    with pytest.raises(UsageError, match="low and high have the same value, 100"):
        ClassMap.from_mapping({"background": 0, "low": "1-100", "high": "100-255"})
    assert ClassMap.from_mapping({"background": 0, "low": "1-100", "ignore": 50}).names == ("background", "low")


def test_a_recorded_order_is_kept() -> None:
    """Stores of earlier versions may have another class than the background first."""
    classes = ClassMap.from_mapping({"a": 1, "b": 0, "ignore": 9}, order=("a", "b"))
    assert classes.names == ("a", "b")


@pytest.mark.parametrize(
    "mapping",
    [
        {"skin": 0, "lesion": 255, "ignore": 7},
        {"skin": 0, "lesion": ">0"},
        {"gland": "1+4-9"},
        {"skin": "#000000", "lesion": "#ff0000+#00ff00"},
    ],
)
def test_classes_can_be_written_down(mapping: dict[str, Any]) -> None:
    """The written mapping makes the same classes."""
    classes = ClassMap.from_mapping(mapping)
    written = classes.to_mapping()
    assert written is not None
    assert ClassMap.from_mapping(written) == classes


def test_numbers_beside_colours_become_greys() -> None:
    """If one value is a colour, the numbers become grey colours."""
    classes = ClassMap.from_mapping({"skin": 0, "lesion": 255, "hair": "#ff0000", "ignore": 128})
    assert classes.in_colour
    assert of({"skin": 0, "lesion": 255, "hair": "#ff0000"}) == {
        "skin": "#000000",
        "lesion": "#ffffff",
        "hair": "#ff0000",
    }
    assert str(classes.ignore) == "#808080"


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
        pytest.param({"skin": 0, "lesion": "9-1"}, id="range_backwards"),
        pytest.param({"skin": 0, "lesion": "1-65536"}, id="range_too_large"),
        pytest.param({"skin": 0, "lesion": ">65535"}, id="nothing_above"),
        pytest.param({"skin": 0, "lesion": "1+"}, id="list_with_a_gap"),
        pytest.param({"skin": 0, "lesion": []}, id="empty_list"),
        pytest.param({"skin": 0, "lesion": [1, None]}, id="list_with_nothing"),
        pytest.param({"skin": 0, "lesion": "1+#ff0000"}, id="number_and_colour_in_one"),
        pytest.param({"skin": "#000000", "lesion": "1-9"}, id="range_beside_colours"),
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
