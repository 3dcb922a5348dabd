"""What a run recorded about its training."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.reporting.run_files import read_history, read_settings


def test_history_and_settings_of_a_run(trained: Path) -> None:
    history = read_history(trained)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert all(isinstance(row["loss"], float) for row in history)
    assert read_settings(trained)["seed"] == 0


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"epoch,loss\n1\n", b"epoch,loss\n1,nan\n", b"epoch,loss\n1,x\n"]
)
def test_a_damaged_history_is_no_history(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.csv").write_bytes(content)
    assert read_history(tmp_path) == []


def test_without_files_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    assert read_history(tmp_path) == []
    assert read_settings(tmp_path) == {}
