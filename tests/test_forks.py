"""Test the forks that other tests run programs in: they behave as new interpreters do."""

from __future__ import annotations

import os

import pytest

from tests.forks import Forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        pytest.param("pass", 0, id="end"),
        pytest.param("raise SystemExit(3)", 3, id="exit"),
        pytest.param("raise SystemExit('a message')", 1, id="exit_with_a_message"),
        pytest.param("1 / 0", 1, id="error"),
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, id="killed"),
    ],
)
def test_the_exit_status_is_that_of_the_program(forks: Forks, program: str, status: int):
    assert forks.run(program).returncode == status


def test_output_arguments_and_environment_are_the_programs_own(forks: Forks):
    program = "import os, sys; print(sys.argv[1:], os.environ['GIVEN']); print('wrong', file=sys.stderr)"
    finished = forks.run(program, "a", 1, environment={"GIVEN": "x"})
    assert (finished.stdout, finished.stderr) == ("['a', '1'] x\n", "wrong\n")
    assert "ZeroDivisionError" in forks.run("1 / 0").stderr
    assert forks.run("import os; print(os.environ.get('GIVEN'))").stdout == "None\n"


def test_torch_is_imported_already_and_nothing_stays_from_one_program_to_the_next(forks: Forks):
    assert forks.run("import sys; print('torch' in sys.modules); sys.left = 1").stdout == "True\n"
    assert forks.run("import sys; print(hasattr(sys, 'left'))").stdout == "False\n"


def test_programs_that_run_together_run_at_the_same_time(forks: Forks, tmp_path):
    """Each of the two waits for the file of the other."""
    program = (
        "import sys, time; from pathlib import Path; folder = Path(sys.argv[1]); (folder / '{own}').touch()\n"
        "while not (folder / '{other}').exists(): time.sleep(0.01)\n"
    )
    both = [program.format(own=own, other=other) for own, other in ("ab", "ba")]
    assert [finished.returncode for finished in forks.run_together(both, tmp_path)] == [0, 0]
