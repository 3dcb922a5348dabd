"""Weights of models of timm in a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.bundling import weights
from stages.bundling.weights import copy_weights


def test_a_model_of_timm_is_one_file_with_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is named with `timm/` before it, which would be a folder."""
    (tmp_path / "download").write_bytes(b"weights")
    (tmp_path / "bundle").mkdir()
    monkeypatch.setattr(weights, "hub_file", lambda _: tmp_path / "download")
    (row,) = copy_weights(["timm/vit_base_patch16_224.mae"], [], tmp_path / "bundle", offline=False)
    assert row["file"] == "vit_base_patch16_224.mae.safetensors"
    assert row["licence"].startswith("CC-BY-NC-4.0")
    assert (tmp_path / "bundle" / row["file"]).read_bytes() == b"weights"
