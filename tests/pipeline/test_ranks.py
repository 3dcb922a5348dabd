"""Every command either divides its work, only reads, or is refused under torchrun."""

from __future__ import annotations

import pytest
from typer.main import get_command

from pipeline.cli import app
from pipeline.ranks import ALONE, refuse_several_processes
from stages.errors import UsageError

DIVIDED = {"train", "pretrain"}
READ_ONLY = {"inspect", "verify", "models", "doctor"}


def test_every_command_that_writes_alone_is_refused_in_several_processes() -> None:
    """A new command must be put into one of the three groups."""
    commands = set(getattr(get_command(app), "commands"))  # noqa: B009 - click's group, which typer does not type
    assert commands - DIVIDED - READ_ONLY == ALONE


@pytest.mark.parametrize("command", ["maps", "merge"])
def test_a_command_that_writes_a_store_is_refused(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=rf"`pipeline {command}` cannot divide its work"):
        refuse_several_processes(command)
