"""An editable installation is recognised, and one that is older than its source code too."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from stages.runtime import installation


def test_the_source_code_that_runs_is_found(tmp_path, monkeypatch):
    """A wheel has no `pyproject.toml` beside its packages."""
    assert installation.checkout() == Path(__file__).parents[3]
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "stages" / "runtime" / "installation.py"))
    assert installation.checkout() is None


def test_what_newer_source_code_needs_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["a>=1", "b>=2; extra == 'dev'", "c"])
    for dependencies, expected in (
        (["a>=1", "c"], []),
        (["a>=2", "c"], ["a>=2"]),
        (["a>=1", "new>=3"], ["new>=3"]),
    ):
        (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\ndependencies = {dependencies}\n")
        assert installation.missing_in_metadata(tmp_path) == expected
