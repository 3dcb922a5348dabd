"""The processes of a run are read from the environment. `tests/faults/bad_processes.py` has the wrong requests."""

from __future__ import annotations

import pytest

from stages.errors import UsageError
from stages.runtime.launch import Launch, refuse_several

TWO = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "first", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("environment", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "3", "MASTER_PORT": "x"}])
def test_one_process_is_the_default(environment):
    """Also under `torchrun --nproc-per-node 1`, and with variables that say nothing about the number."""
    assert Launch.read(environment) == Launch()


def test_processes_without_local_numbers_are_on_one_machine():
    """Programs other than torchrun may set four variables only."""
    launch = Launch.read(TWO)
    assert (launch.rank, launch.count, launch.local_rank, launch.local_count) == (1, 2, 1, 2)
    assert (launch.address, launch.port, launch.agent) == ("first", 29500, False)


def test_local_numbers_are_those_of_the_machine():
    """The fifth of six processes, the second of three on its machine."""
    local = {"RANK": "4", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3"}
    launch = Launch.read({**TWO, **local, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"})
    assert (launch.rank, launch.local_rank, launch.local_count) == (4, 1, 3)
    assert (launch.agent, launch.attempt) == (True, "2")


def test_work_that_cannot_be_divided_is_refused_in_several_processes_only(monkeypatch):
    """The message names the command and what to do instead."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    refuse_several("compare", "Do this.")
    for name, value in TWO.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"`pipeline compare` cannot divide .* 2 processes .*\n  Do this\."):
        refuse_several("compare", "Do this.")
