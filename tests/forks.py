"""Run Python programs in forks of one process that has imported the stages already.

Many tests need a process of their own: to kill it, to run two at once, or to set a limit. A new interpreter imports
torch, timm and the stages first, which takes 5 to 20 seconds of a core. So `Forks` starts one interpreter, which
imports them once and then forks a child for every program. A child shares nothing with later children. A test that must
see imports happen, or that must start with other privileges, still needs a new interpreter.

For each request the client sends one line of JSON with the programs, arguments and environment. The server answers with
one line of JSON with the exit statuses and outputs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).parents[1]
IMPORTED = ("tests.faults.forked", "stages.evaluate", "stages.predict", "pipeline.cli")
IMPORTED_IF_INSTALLED = ("dvclive.live", "dvc.repo", "dvc.scm")
"""Modules that training imports late, for its log; they take seconds."""

Finished = subprocess.CompletedProcess[str]


class Forks:
    """Start programs in forks of a process that has imported the stages. Use it as a context manager."""

    def __init__(self, *, preload: Path | None = None) -> None:
        """Take a library that the process loads before all others (`LD_PRELOAD`)."""
        self._preload = {"LD_PRELOAD": str(preload)} if preload is not None else {}

    def __enter__(self) -> Self:
        """Start the server; it imports while the test goes on."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        environment |= self._preload
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server's input, which ends it."""
        self._server.communicate()

    def run(self, program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
        """Run the text of one program and wait for it, as `python -c PROGRAM ARGUMENTS` would."""
        (finished,) = self.run_together([program], *arguments, environment=environment)
        return finished

    def run_together(
        self, programs: Sequence[str], *arguments: object, environment: Mapping[str, str] | None = None
    ) -> list[Finished]:
        """Run several programs at the same time, with the same arguments, and wait for all of them.

        Args:
            programs: the text of each program.
            arguments: `sys.argv[1:]` of every program.
            environment: variables to set in addition to this process's present ones.

        Returns:
            Exit status, standard output and standard error of each; a signal is a negative status.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {
            "programs": list(programs),
            "arguments": [str(argument) for argument in arguments],
            "environment": {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks has ended; its error output says why"
        return [Finished(["python", "-c", "…"], *finished) for finished in json.loads(answer)]


def serve() -> None:
    """Import the stages, then fork children for every request on standard input until it is closed."""
    for name in IMPORTED:
        importlib.import_module(name)
    for name in IMPORTED_IF_INSTALLED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # so that a collection in a child does not touch, and copy, the memory of all these modules
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output that the server itself prints must not mix with the answers
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            programs = enumerate(request["programs"])
            started = [_fork(program, Path(folder) / str(number), request) for number, program in programs]
            finished = [_wait(child, output) for child, output in started]
        answers.write(json.dumps(finished) + "\n")
        answers.flush()
    os._exit(0)  # a normal exit takes seconds to clean up all these modules


def _fork(program: str, output: Path, request: dict[str, Any]) -> tuple[int, Path]:
    """Start a program in a fork that writes to `output` with the endings .out and .err.

    Returns:
        The process number and `output`.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with output.with_suffix(".out").open("w") as out, output.with_suffix(".err").open("w") as err:
                _become(program, request, out, err)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - a fork must never return into the server
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child, output


def _become(program: str, request: dict[str, Any], out: IO[str], err: IO[str]) -> None:
    """Take over output, environment and arguments as a new interpreter would, and run the program."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-c", *request["arguments"]]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - the test's own program


def _wait(child: int, output: Path) -> tuple[int, str, str]:
    """Wait for a child and return its exit status, standard output and standard error."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, output.with_suffix(".out").read_text(), output.with_suffix(".err").read_text()


if __name__ == "__main__":
    serve()
