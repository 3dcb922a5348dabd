"""The script of the pictures chooses cases and heads by its rules, and draws every picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs import make_pictures
from tests.docs.demonstration import Case, Demonstration

HEADS = ["L1H0", "L1H1", "L2H0", "L2H1", "L3H0", "L3H1", "L3H2"]


def made_case(number: int, rows: slice = slice(10, 20), dice: float = 0.5) -> Case:
    """Return a case of 30 × 40 pixels with a square lesion in the given rows and columns 10 to 20."""
    random = np.random.default_rng(number)
    truth = np.zeros((30, 40), bool)
    truth[rows, 10:20] = True
    maps = random.random((len(HEADS), 4, 5)).astype(np.float32)
    maps[1] = maps[0] * 1.01  # looks like the first head
    image = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Case(f"case{number}", image, truth, np.roll(truth, 1, axis=0), maps, dice)


@pytest.fixture
def made(tmp_path: Path) -> Demonstration:
    return Demonstration(tmp_path, HEADS, np.arange(len(HEADS)), [made_case(number) for number in range(7)])


def test_cases_come_from_the_middle_and_have_a_whole_lesion():
    whole = [made_case(number) for number in range(5)]
    cut, tiny, filling = made_case(5, slice(0, 9)), made_case(6, slice(10, 12)), made_case(7, slice(0, 30))
    chosen = make_pictures.around_median([cut, *whole[:2], tiny, *whole[2:], filling], 1)
    assert [case.id for case in chosen] == ["case2"]


def test_heads_that_look_alike_are_shown_once(made: Demonstration):
    assert make_pictures._different_heads(made, 3, alike=0.9) == [0, 2, 3]


@pytest.mark.parametrize("name", ["overview", "heads", "case"])
def test_every_picture_is_drawn_with_a_transparent_background(name: str, made: Demonstration, tmp_path: Path):
    figure = make_pictures.draw_case(made.cases[0]) if name == "case" else getattr(make_pictures, f"draw_{name}")(made)
    make_pictures._save(figure, tmp_path / "a.png")
    make_pictures._save(figure, tmp_path / "b.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        assert min(picture.size) > 200
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0
