"""An editable installation is recognised, and one that is older than its source code too."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from stages.runtime import installation


def test_the_source_code_of_an_editable_installation_is_found(monkeypatch):
    class Installed:
        def __init__(self, text) -> None:
            self.text = text

        def read_text(self, _):
            return self.text

    for text, expected in (
        (None, None),
        ('{"url": "file:///a%20b/c", "dir_info": {"editable": true}}', Path("/a b/c")),
        ('{"url": "https://x/y.whl", "archive_info": {}}', None),
    ):
        monkeypatch.setattr(importlib.metadata, "distribution", lambda _, text=text: Installed(text))
        assert installation.checkout() == expected


def test_what_newer_source_code_needs_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["a>=1", "b>=2; extra == 'dev'", "c"])
    for dependencies, expected in (
        (["a>=1", "c"], []),
        (["a>=2", "c"], ["a>=2"]),
        (["a>=1", "new>=3"], ["new>=3"]),
    ):
        (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\ndependencies = {dependencies}\n")
        assert installation.missing_in_metadata(tmp_path) == expected
