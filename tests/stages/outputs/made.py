"""Make outputs of every kind for tests, as far as names and beginnings of files matter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden"


def touch(path: Path, text: str = "") -> Path:
    """Write a small file, with the folders around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_run(folder: Path) -> Path:
    """Write a run with a live log, as far as names and beginnings of files matter."""
    shutil.copytree(GOLDEN / "v1" / "run", folder)
    touch(folder / "state.safetensors")
    touch(folder / "dvclive" / "metrics.json", "{}")
    touch(folder / "dvclive" / "plots" / "metrics" / "val_dice.tsv")
    return folder


def make_cross_validation(folder: Path) -> Path:
    """Write a cross-validation whose samples are those of the golden run."""
    for number in (1, 2, 10):
        make_run(folder / f"fold{number}")
    touch(folder / "metrics.json", "{}")
    touch(folder / "scores.json", "{}")
    touch(folder / "per_sample.csv", "id,group,split,fold\n")
    touch(folder / "predictions" / "Fall-ä03.png")
    touch(folder / "predictions" / "Fall-ä03_a_label.png")
    return folder


def make_report(folder: Path) -> Path:
    """Write a report."""
    touch(folder / "metrics.json", json.dumps({"n": 3, "dice": 0.5, "dice_low": None, "dice_high": None}))
    touch(folder / "scores.json", json.dumps({"split": "test", "dice": {}, "includes_training_samples": False}))
    touch(folder / "report.html", "<!doctype html>")
    touch(folder / "per_sample.csv", "id,group,split,dice\n")
    for kind in ("worst", "median", "best"):
        touch(folder / "overlays" / f"{kind}_12.png")
    return folder


def make_comparison(folder: Path) -> Path:
    """Write a comparison with one kept model."""
    touch(folder / "comparison.json", json.dumps({"comparison": 1, "arms": [], "seeds": []}))
    touch(folder / "per_image.csv", "arm,labels,seed,id,group,dice,hd95\n")
    for name in ("metrics.json", "table.md", "curve.png", "report.html", f"results/{'0a' * 32}.json"):
        touch(folder / name)
    shutil.copytree(GOLDEN / "v1" / "run", folder / "runs" / "dual-16-seed0")
    return folder


def make_phantoms(folder: Path) -> Path:
    """Write a set of phantoms."""
    touch(folder / "phantom.json", '{"phantom": {}}')
    touch(folder / "images" / "phantom_0000.png")
    touch(folder / "masks" / "phantom_12345_segmentation.png")
    return folder


def make_monai_bundle(folder: Path) -> Path:
    """Write an exported MONAI bundle."""
    touch(folder / "configs" / "metadata.json", '{"version": "0.1.0", "diamant_pipeline": {}}')
    for name in ("configs/inference.json", "models/model.ts", "docs/README.md", "LICENSE"):
        touch(folder / name)
    return folder


def make_bundle(folder: Path) -> Path:
    """Write a bundle of packages and weights."""
    touch(folder / "MANIFEST.json", '{"bundle": 1, "files": {}}')
    for name in ("verify.py", "install.sh", "README.txt", "requirements.txt", "wheels/a-1-py3-none-any.whl"):
        touch(folder / name)
    touch(folder / "weights" / "dino_vits8.safetensors")
    return folder


def make_store(folder: Path) -> Path:
    """Copy a golden store."""
    return shutil.copytree(GOLDEN / "v2" / "store.zarr", folder)
