"""Test the statistics of phantoms and real images on images whose values are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from tests.benchmarks import likeness


def disc(centre: tuple[float, float] = (63.5, 63.5), radius: float = 30) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:128, :128]
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]) <= radius)


def painted(mask: NDArray[np.bool_], lesion: tuple[int, int, int], skin: tuple[int, int, int]) -> NDArray[np.float64]:
    return np.where(mask[..., None], np.array(lesion, float), np.array(skin, float))


def test_a_dark_disc_in_the_middle():
    """Its area, place and contrast are those drawn, any threshold finds it, and its border is a step."""
    mask = disc()
    found = likeness.measure(painted(mask, (50, 60, 70), (190, 200, 210)), mask)
    assert found["area"] == pytest.approx(np.pi * 30**2 / 128**2, rel=0.01)
    assert found["offset"] == pytest.approx(0, abs=1e-6)
    assert found["cut"] == 0
    assert found["contrast"] == pytest.approx(140)
    assert found["otsu"] == found["darkness"] == found["colour"] == 1
    assert found["sharpness"] == 1
    assert found["lesion texture"] == found["skin texture"] == 0


def test_a_lesion_at_the_edge_is_cut_and_off_centre():
    """The offset is in half sides."""
    mask = disc(centre=(63.5, 117.5), radius=20)
    found = likeness.measure(painted(mask, (50, 60, 70), (190, 200, 210)), mask)
    assert found["cut"] == 1
    assert 0.7 < found["offset"] < 0.85


def test_colour_finds_what_darkness_does_not():
    """Lesion and skin of one brightness differ in colour only."""
    mask = disc()
    found = likeness.measure(painted(mask, (150, 100, 50), (50, 100, 150)), mask)
    assert found["colour"] == 1
    assert found["darkness"] < 0.6
    assert found["contrast"] == pytest.approx(0)


def test_an_even_slope_is_not_sharp():
    """A border that changes over 30 pixels has a quarter of the change from -8 to 8 within 2 pixels."""
    rows, columns = np.mgrid[:128, :128]
    distance = np.hypot(rows - 63.5, columns - 63.5) - 30
    grey = 100 + np.clip(distance, -15, 15) * 4
    found = likeness.measure(np.repeat(grey[..., None], 3, axis=2), distance <= 0)
    assert found["sharpness"] == pytest.approx(0.25, abs=0.03)


def test_a_jagged_outline_is_less_round():
    """Noise on the outline makes it longer."""
    rows, columns = np.mgrid[:128, :128]
    angle = np.arctan2(rows - 63.5, columns - 63.5)
    jagged = np.hypot(rows - 63.5, columns - 63.5) <= 30 + 8 * np.sin(20 * angle)
    image = painted(jagged, (50, 60, 70), (190, 200, 210))
    assert likeness.measure(image, jagged)["roundness"] < 0.7 * likeness.measure(image, disc())["roundness"]


def test_the_table_has_a_column_for_every_folder(tmp_path: Path):
    """Images without a lesion are left out, and frames that are not square are cropped."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, mask in {"one": disc(), "none": np.zeros((128, 128), bool)}.items():
        wide = np.pad(mask, ((0, 0), (20, 20)))
        image = painted(wide, (50, 60, 70), (190, 200, 210)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(wide.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{name}_segmentation.png")
    app = likeness.typer.Typer()
    app.command()(likeness.main)
    pair = f"{tmp_path}/images:{tmp_path}/masks"
    result = CliRunner().invoke(app, [f"a={pair}", f"b={pair}", "--samples", "2"], catch_exceptions=False)
    assert "| statistic | a | b |" in result.output
    contrast = next(line for line in result.output.splitlines() if line.startswith("| contrast"))
    assert contrast.count("140.00 (140.00, 140.00, 140.00)") == 2
