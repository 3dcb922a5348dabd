"""A whole slide is predicted in bounded memory, every object of known place is found once, and seams are small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.volumes.opened import open_volume
from stages.predict import run as predict
from stages.settings import PredictSettings
from tests.slide_runs import TILE, colour, discs_on_borders, draw, make_run, write_slide

GIB = 2**30
MEASURED = """
import json, sys
from pathlib import Path
from stages.predict import run
from stages.prediction.large import driver
from stages.settings import PredictSettings
driver.MOST_PIXELS = 1000
slide, folder, out = map(Path, sys.argv[1:])
report = run(PredictSettings(images=slide, run=folder, out=out, memo=out.parent / "memo", batch_size=16,
                             contours=True, table=True, instances="components", overlay=True))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
# `ru_maxrss` would begin at the size of the process that started this one.
peak = 1024 * int(status["VmHWM"].split()[0])
print(json.dumps({"peak": peak, "seconds": report.seconds, "windows": report.windows}))
"""


@pytest.fixture(scope="session")
def run_at(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a function that gives a run that was trained on tiles at a reduction."""
    made: dict[int, Path] = {}

    def make(reduction: int) -> Path:
        if reduction not in made:
            made[reduction] = make_run(tmp_path_factory.mktemp(f"run{reduction}"), reduction=reduction)
        return made[reduction]

    return make


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("side", "reduction", "most"),
    [
        pytest.param(3000, 4, 2 * GIB, id="3000"),
        pytest.param(20_000, 8, 4 * GIB, id="20000", marks=pytest.mark.soak),
    ],
)
def test_a_slide_is_predicted_in_bounded_memory(
    side: int,
    reduction: int,
    most: int,
    run_at: Callable[[int], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    """The memory is that of the whole process, so it includes PyTorch: about half a GiB."""
    discs = discs_on_borders(side, radius=12 * reduction)
    slide = write_slide(tmp_path / "slide.tif", side, discs, seed=None)
    command = [sys.executable, "-c", MEASURED, str(slide), str(run_at(reduction)), str(tmp_path / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    record_property("measured", {**measured, "megapixels_per_second": side**2 / 1e6 / measured["seconds"]})
    assert measured["peak"] < most
    features = json.loads((tmp_path / "out" / "slide.geojson").read_text())["features"]
    found = open_volume(tmp_path / "out" / "slide_instances.tif")
    assert found.facts.size == (side, side)
    numbers = []
    for disc in discs:
        row, column = min(disc.row, side - 1), min(disc.column, side - 1)
        numbers.append(int(found.read(0, (row, column, 1, 1))[0, 0]))
    assert 0 not in numbers
    assert len(set(numbers)) == len(discs)
    large = [one for one in features if one["properties"]["measurements"]["area_px"] > (4 * reduction) ** 2]
    assert len(large) == len(discs)
    areas = sorted(one["properties"]["measurements"]["area_px"] for one in large)
    true = sorted(int(draw([disc], 0, 0, side, side).sum()) for disc in discs) if side < 5000 else areas
    np.testing.assert_allclose(areas, true, rtol=0.25)


def test_the_error_at_seams_is_small(
    run_at: Callable[[int], Path], tmp_path: Path, record_property: Callable[[str, object], None]
):
    """Windows elsewhere give nearly the same probabilities: the prediction depends little on where seams lie."""
    side, shift = 4 * TILE, 24
    region = draw(discs_on_borders(side, tile=TILE, radius=20), 0, 0, side, side)
    pixels = colour(region)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "whole.png")
    Image.fromarray(pixels[shift:, shift:]).save(tmp_path / "images" / "moved.png")
    run = run_at(1)
    predict(
        PredictSettings(
            images=tmp_path / "images", run=run, out=tmp_path / "out", memo=run.parent / "memo", probabilities=True
        )
    )
    whole = np.load(tmp_path / "out" / "whole.npy")[1].astype(np.float32)[shift:, shift:]
    moved = np.load(tmp_path / "out" / "moved.npy")[1].astype(np.float32)
    inner = (slice(TILE // 2, -TILE // 2), slice(TILE // 2, -TILE // 2))  # at the border the windows see less
    difference = np.abs(whole - moved)[inner]
    record_property("seams", {"largest": float(difference.max()), "mean": float(difference.mean())})
    assert difference.mean() < 0.03
    assert ((whole > 0.5) == (moved > 0.5))[inner].mean() > 0.98
