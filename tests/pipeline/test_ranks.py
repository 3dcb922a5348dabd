"""Every command either divides its work, only reads, or is refused under torchrun."""

from __future__ import annotations

import os

import pytest
from typer.main import get_command

from pipeline.cli import app
from pipeline.ranks import ALONE, quiet_torch, refuse_several_processes, speaks_here
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


@pytest.mark.parametrize(("given", "level"), [(None, "ERROR"), ("INFO", "INFO")])
def test_several_processes_print_no_stacks_of_torch(
    given: str | None, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level that the user has set stays, and a single process is left alone."""
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", given or "")
    if given is None:
        monkeypatch.delenv("TORCH_CPP_LOG_LEVEL")
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    quiet_torch()
    assert os.environ.get("TORCH_CPP_LOG_LEVEL") == given
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    quiet_torch()
    assert os.environ["TORCH_CPP_LOG_LEVEL"] == level


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, False),
        ({"RANK": "4", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}, True),
    ],
)
def test_one_process_of_each_machine_speaks(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, speaks: bool
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert speaks_here() == speaks
