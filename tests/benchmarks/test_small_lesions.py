"""Test the measurement of small lesions: its rules are what they are called, and its figures follow from the masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from PIL import Image
from typer.testing import CliRunner

from stages.imaging.resizing import resize_mask
from tests.benchmarks import small_lesions


def test_nearest_is_that_of_the_masks() -> None:
    """The rule "nearest" gives the pixels of `resize_mask`, here for sizes without a common divisor."""
    source = np.random.default_rng(0).integers(0, 9, (101, 77)).astype(np.int32)
    for size in ((33, 20), (50, 76)):
        expected = resize_mask(source.astype(np.uint8), size)
        np.testing.assert_array_equal(small_lesions.nearest(source, size), expected)


def test_kept_objects_and_dice_of_two_images() -> None:
    """A dot between the centres is kept by `shrink_labels` alone; an aligned square has the same Dice in every way."""
    images = []
    for square in (True, False):
        source = np.zeros((80, 80), np.int32)
        if square:
            source[16:32, 16:32] = 7
        source[41, 41] = 9
        images.append(source)
    lines = [line.split(" | ") for line in small_lesions.measure("made", iter(images), (20, 20))]
    assert [(cells[1], cells[2], cells[3]) for cells in lines] == [
        ("3", "nearest", "33.33%"),
        ("3", "majority", "33.33%"),
        ("3", "shrink_labels", "100.00%"),
    ]
    aligned, dot = 2 * 256 / (256 + 257), 2 * 1 / (1 + 16)
    assert float(lines[1][4]) == round(aligned / 2, 4)
    assert float(lines[2][4]) == round((2 * 257 / (257 + 256 + 16) + dot) / 2, 4)


def test_the_command_reads_folders(tmp_path: Path) -> None:
    """The table has the sets that are drawn and those of the folders: regions of masks, numbers of label images."""
    for kind, values in (("masks", [0, 255]), ("labels", [0, 3])):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.array([values * 16] * 32, np.uint8)).save(tmp_path / kind / "a.png")
    arguments = ["--size", "8", "--masks", f"m={tmp_path / 'masks'}", "--labels", f"l={tmp_path / 'labels'}"]
    command = typer.Typer()
    command.command()(small_lesions.main)
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.startswith("| m | 16 | ")]
    assert [line for line in result.output.splitlines() if line.startswith("| l | 1 | ")]
    assert "| lesions | 61 | shrink_labels |" in result.output
