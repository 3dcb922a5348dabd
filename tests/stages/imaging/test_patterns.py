"""Patterns of file names: placeholders, wildcards, folders, and ids that hold separators."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UsageError
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.patterns import Match, Pattern


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{id}.{ext}", "a.png", Match("a")),
        ("{id}.{ext}", "a.b.png", Match("a.b")),
        ("{id}.{ext}", "x/y/a.png", Match("a", folder="x/y")),
        ("/{id}.{ext}", "x/a.png", None),
        ("/{id}.{ext}", "a.png", Match("a")),
        ("{id}.png", "a.PNG", Match("a")),
        ("{id}.png", "a.jpg", None),
        ("{id}_ANNO.{ext}", "a_anno.bmp", Match("a")),
        ("{group}/{id}.png", "P1/a.png", Match("a", group="P1")),
        ("{group}/{id}.png", "a.png", None),
        ("{group}_{id}.png", "P1_a_2.png", Match("a_2", group="P1")),
        ("{id}_{label}.png", "a_1_vessel.png", Match("a_1", label="vessel")),
        ("{id}/masks/*.png", "x/a/masks/7.png", Match("a", folder="x")),
        ("{id}/masks/*.png", "a/masks/b/7.png", None),
        ("{id}/**/mask.png", "a/b/c/mask.png", Match("c", folder="a/b")),
        ("/{id}/**/mask.png", "a/b/c/mask.png", Match("a", folder="b/c")),
        ("{id}/images/{id}.png", "a/images/a.png", Match("a")),
        ("{id}/images/{id}.png", "a/images/b.png", None),
        ("{images}/{id}.png", "Imgs/a.png", Match("a")),
        ("{masks}/{id}.png", "Ground Truth/a.png", Match("a")),
        ("{masks}/{id}.png", "foo/a.png", None),
        ("[{id}]+.png", "[a]+.png", Match("a")),
    ],
)
def test_a_pattern_reads_a_path(pattern: str, path: str, expected: Match | None) -> None:
    """Every placeholder and wildcard does what its line in the documentation says."""
    assert Pattern(pattern).match(path) == expected


def test_all_ways_to_read_an_ambiguous_name_are_tried() -> None:
    """The longest id comes first; a shorter one is taken if only that is an image."""
    readings = [(one.id, one.label) for one in Pattern("{id}_{label}.png").matches("a_1_vessel.png")]
    assert readings == [("a_1", "vessel"), ("a", "1_vessel")]
    assert [one.id for one in Pattern("{id}.png").matches("a_1.png")] == ["a_1"]


@given(
    identifier=st.text("ab_-. ", min_size=1).filter(lambda text: text.strip(". ")),
    label=st.text("cd_", min_size=1),
)
def test_the_right_reading_is_always_among_them(identifier: str, label: str) -> None:
    """Whatever separators id and label hold, the pair that made the name is one of the readings."""
    readings = Pattern("{id}_{label}.png").matches(f"{identifier}_{label}.png")
    assert (identifier, label) in [(one.id, one.label) for one in readings]


@pytest.mark.parametrize("pattern", ["{id}.{extension}", "{id", "id}", "{}", "{ID}.png"])
def test_an_unknown_placeholder_is_an_error(tmp_path: Path, pattern: str) -> None:
    """The message shows the pattern and the placeholders that exist."""
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match="means nothing there") as caught:
        find_samples(Inputs(images=tmp_path, image_pattern=pattern + "{id}"))
    assert "{label}" in str(caught.value)


@pytest.mark.parametrize("option", ["image_pattern", "mask_pattern"])
def test_a_pattern_without_an_id_is_an_error(tmp_path: Path, option: str) -> None:
    """Without `{id}` an image and its mask have nothing in common; the message names the option."""
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=r"no \{id\}") as caught:
        find_samples(Inputs(images=tmp_path, **{option: "*.png"}))
    assert option.replace("_", "-") in str(caught.value)
