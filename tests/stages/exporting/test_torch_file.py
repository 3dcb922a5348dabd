"""An archive of `torch.export` computes what the pipeline computes, and is read without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from stages.export import run as export
from stages.exporting.formats import FORMATS
from stages.settings import ExportSettings
from store import AttentionStore
from tests.stages.exporting.made_runs import from_images, from_maps, make_run, noise

READ = """
import json, sys
import torch
extra = {"diamant_pipeline.json": ""}
module = torch.export.load(sys.argv[1], extra_files=extra).module()
image = torch.from_numpy(__import__("numpy").load(sys.argv[2]))
for count in (1, 3, 7):
    mask, probabilities = module(image[:count])
    assert mask.shape[0] == count
__import__("numpy").save(sys.argv[3], probabilities.numpy())
print(json.dumps([json.loads(extra["diamant_pipeline.json"])["classes"], [
    name for name in ("pipeline", "stages", "store", "timm") if name in sys.modules
]]))
"""
"""A program that reads the archive."""


def test_another_program_reads_the_whole(tmp_path: Path, phantom_store: Path):
    """In batches of 1, 3 and 7, without a module of this project or timm."""
    run = make_run(tmp_path / "run", phantom_store)
    report = export(ExportSettings(run=run, out=tmp_path / "m.pt2", format="torch"))
    images = noise(7, (32, 48))
    np.save(tmp_path / "images.npy", np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    (tmp_path / "read.py").write_text(READ)
    command = [sys.executable, "-P", "read.py", report.out, "images.npy", "found.npy"]
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    classes, imported = json.loads(read.stdout)
    assert classes == AttentionStore.open(phantom_store).classes
    assert imported == []
    assert np.abs(np.load(tmp_path / "found.npy") - from_images(run, images)).max() <= 1e-4


def test_a_segmenter_of_one_branch(tmp_path: Path, phantom_store: Path):
    run = make_run(tmp_path / "run", phantom_store, branches="attention", norm="minmax")
    report = export(ExportSettings(run=run, out=tmp_path / "m.pt2", format="torch", part="segmenter"))
    batch = AttentionStore.open(phantom_store).read(np.arange(3))
    module = torch.export.load(report.out).module()
    image = torch.from_numpy(batch.image).movedim(-1, 1)
    found = module(image, torch.from_numpy(batch.attention).float()).detach().numpy()
    assert np.abs(found - from_maps(run, batch.image, batch.attention)).max() <= 1e-4


def test_an_earlier_archive_is_replaced_and_another_one_is_not(tmp_path: Path, phantom_store: Path):
    """An archive of another program is no export of this one."""
    run = make_run(tmp_path / "run", phantom_store, branches="image")
    settings = ExportSettings(run=run, out=tmp_path / "m.pt2", format="torch")
    assert export(settings).out == export(settings).out
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "mine.pt2")
    assert FORMATS["torch"].ours(tmp_path / "m.pt2")
    assert not FORMATS["torch"].ours(tmp_path / "mine.pt2")


def test_the_archive_names_no_path_of_this_machine(tmp_path: Path, phantom_store: Path):
    import zipfile

    run = make_run(tmp_path / "run", phantom_store, branches="image")
    export(ExportSettings(run=run, out=tmp_path / "m.pt2", format="torch"))
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert len(contents) > 5
    for path in (Path(__file__).parents[3], tmp_path, Path(torch.__file__).parents[1]):
        assert not any(str(path).encode() in content for content in contents)
