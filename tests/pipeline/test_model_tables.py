"""`pipeline models`: every model with its licence and source, in at most 80 columns."""

from __future__ import annotations

import pytest

from pipeline.model_tables import show_models
from stages.attention.models import MODELS


@pytest.mark.parametrize("columns", ["80", "200", None], ids=["narrow", "wide", "piped"])
def test_models_fit_80_columns(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Also where nothing says how wide the output is."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    show_models(list(MODELS.values()))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    for model in MODELS.values():
        row = next(line for line in lines if line.split()[:1] == [model.name])
        assert model.licence.partition(" (")[0] in row
        assert str(model.dim) in row
        assert model.licence.partition(" (")[2] in shown  # the conditions, once for all
        assert " ".join(model.source.split()) in shown


def test_models_of_one_source_are_listed_together(capsys: pytest.CaptureFixture[str]):
    show_models(list(MODELS.values()))
    out = capsys.readouterr().out
    assert out.count("Caron et al. 2021, facebookresearch/dino") == 1
    assert out.count("read them before use") == 1
