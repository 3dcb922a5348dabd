"""The example of the page on exports runs where neither this package nor torch can be imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from stages.export import run as export
from stages.settings import ExportSettings
from tests.conftest import pixels_of
from tests.docs.blocks import DOCS, blocks_of
from tests.stages.exporting.made_runs import from_images, make_run

BLOCK = "import sys\nfor name in ('pipeline', 'stages', 'store', 'torch', 'timm'): sys.modules[name] = None\n"
"""Makes the import of these modules an error."""
LINES = 30


def test_the_example_of_the_page_needs_no_torch(tmp_path: Path, phantom_store: Path, phantoms: Path):
    run = make_run(tmp_path / "run", phantom_store)
    export(ExportSettings(run=run, out=tmp_path / "exports" / "mine.onnx"))
    (tmp_path / "new_photos").mkdir()
    photo = shutil.copy(phantoms / "images" / "phantom_0000.png", tmp_path / "new_photos" / "case16.png")
    (example,) = (
        block.text
        for block in blocks_of(DOCS / "export.md")
        if block.language == "python" and "onnxruntime" in block.text
    )
    assert len(example.splitlines()) <= LINES
    (tmp_path / "example.py").write_text(BLOCK + example)
    ran = subprocess.run(
        [sys.executable, "-P", "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "background: " in ran.stdout
    mask = pixels_of(tmp_path / "mask.png")
    assert mask.shape == pixels_of(Path(photo)).shape[:2]
    from PIL import Image

    small = np.asarray(Image.open(photo).convert("RGB").resize((48, 32), Image.Resampling.BILINEAR))
    expected = from_images(run, small[None])[0]
    full = [np.asarray(Image.fromarray(one).resize(mask.shape[::-1], Image.Resampling.BILINEAR)) for one in expected]
    assert np.mean((mask > 0) != (full[1] > full[0])) < 0.001
