"""Test the warning about objects that are too small for the store."""

from __future__ import annotations

from stages.imaging.lost_objects import LostObjects


def test_one_warning_sums_up_all_samples() -> None:
    """The warning has the totals, three examples and the largest of the recommended sizes."""
    lost = LostObjects()
    lost.add("whole", objects=788, lost=0, keeping_size=None)
    for number, size in enumerate([(512, 512), (1024, 1024), (256, 320), (512, 640)]):
        lost.add(f"s{number}", objects=6, lost=number + 1, keeping_size=size)
    (text,) = lost.hints((224, 224))
    assert "10 of 812 objects" in text
    assert "224x224" in text
    assert "4 samples (s0, s1, s2, …)" in text
    assert "--image-size 1024x1024" in text


def test_nothing_is_said_if_nothing_is_lost() -> None:
    """A data set whose objects all have pixels gives no warning."""
    lost = LostObjects()
    lost.add("whole", objects=3, lost=0, keeping_size=None)
    assert lost.hints((224, 224)) == []


def test_the_recommended_size_keeps_high_and_wide_images() -> None:
    """Images of both orientations get a size that is large enough along either side."""
    lost = LostObjects()
    lost.add("high", objects=2, lost=1, keeping_size=(1024, 512))
    lost.add("wide", objects=2, lost=1, keeping_size=(480, 960))
    (text,) = lost.hints((224, 224))
    assert "--image-size 1024x960 would keep" in text
