"""Test failing system calls: one clean error and unchanged outputs, or the right result.

Every command is run again and again in a small project, each time with another of its system calls on the project's
files disturbed (`tests.faults.injection`). A random sample is tested here; `pytest -m soak` disturbs every single call.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.injection import KINDS, STAGES, compile_shim
from tests.forks import Forks

PROGRAM = "from tests.faults.injection import main; main()"
SAMPLE = {"EIO": 8, "EIO-stays": 3, "ENOSPC": 4, "EINTR": 2, "short": 2}
"""Number of calls of a command that are disturbed, by kind."""
SEED = 5
CASES = [(stage, kind) for stage in STAGES for kind in KINDS]


@pytest.fixture(scope="module")
def disturbed_forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Start programs in a process whose system calls can be disturbed."""
    library = compile_shim(tmp_path_factory.mktemp("shim"))
    if library is None:
        pytest.skip("needs Linux and a C compiler")
    with Forks(preload=library) as forks:
        yield forks


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the project, which the first test builds."""
    return tmp_path_factory.mktemp("injection")


def _disturb(forks: Forks, project: Path, stage: str, kind: str, moments: str) -> None:
    """Disturb calls of a command and fail with a list of all wrong ends."""
    finished = forks.run(PROGRAM, project, stage, kind, moments)
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout.splitlines()[-1])
    sys.stdout.write(f"{stage}, {kind}: {answer['calls']} calls, {answer['disturbed']} disturbed\n")  # for `-rP`
    assert answer["hit"] > answer["disturbed"] // 2, "most runs were not disturbed"
    assert not answer["wrong"], "\n".join(
        f"{end['moment']} of {answer['calls']} ({end['hit']}): {end['wrong']}\n  {end['err']}"
        for end in answer["wrong"]
    )


@pytest.mark.parametrize(("stage", "kind"), CASES)
def test_a_sample_of_disturbed_calls(stage, kind, disturbed_forks, project):
    _disturb(disturbed_forks, project, stage, kind, f"{SAMPLE[kind]}~{SEED}")


@pytest.mark.soak
@pytest.mark.parametrize(("stage", "kind"), CASES)
def test_every_disturbed_call(stage, kind, disturbed_forks, project):
    """Takes about an hour in all. Set MOMENTS to `1,2,3` to disturb only these calls."""
    _disturb(disturbed_forks, project, stage, kind, os.environ.get("MOMENTS", "all"))
