"""Run the command line in a process: streams, signals, errors, and the exit status they lead to."""

from __future__ import annotations

import atexit
import contextlib
import logging
import signal
import sys

import typer

from pipeline import console
from pipeline.failures import report_error
from pipeline.ranks import is_silent, quiet_torch, refuse_several_processes, silent_unless_first, speaks_here
from pipeline.signals import StopRequest, cause_of, stop_signals
from pipeline.streams import guard_streams

GOING_ON = {
    "train": " with --resume: it goes on from the last saved epoch",
    "pretrain": " with --resume: it goes on from the last saved step",
    "extract": ": the attention computed so far is in the memo",
    "predict": ": the attention computed so far is in the memo",
    "compare": ": finished runs are not trained again",
}
"""Name what a command uses again when it is run again after an interruption."""

ENDED_BY_CTRL_C = frozenset({"view"})
"""Commands that run until Ctrl-C, so that it is their normal end: the exit status is 0."""


def run_process(app: typer.Typer) -> None:
    """Run the command that `sys.argv` names, and end the process.

    This is the only place where an error or a signal becomes an exit status.
    """
    guard_streams()
    quiet_torch()
    _allow_many_files()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[console.MessageHandler()])
    with stop_signals(_end_line) as received:
        atexit.register(received.end_by_signal)  # runs last, so that everything else is cleaned up
        try:
            status = _run_command(app)
        except StopRequest as stop:
            command = _command(sys.argv[1:])
            if stop.number == signal.SIGINT and command in ENDED_BY_CTRL_C:
                console.say(f"{command}: ended")
                received.forget()
                status = 0
            else:
                if not is_silent(stop):
                    console.say(f"interrupted by {stop.cause}; run the command again{GOING_ON.get(command, '')}")
                status = stop.exit_status
    sys.exit(status)


def _run_command(app: typer.Typer) -> int:
    """Run the command that `sys.argv` names and return the exit status."""
    try:
        try:
            refuse_several_processes(_command(sys.argv[1:]))
            with silent_unless_first():
                app(prog_name="pipeline")  # also for `python -m pipeline`
        except SystemExit as left:
            status = left.code
        sys.stdout.flush()  # help is not written by `console`
    except Exception as error:
        reported = report_error(error)
        if reported is None:
            raise
        return reported
    return status if isinstance(status, int) else int(status is not None)


def _end_line(number: int) -> str:
    """Return the line about the end at a second signal; "" if another process of the run prints it."""
    if not speaks_here():
        return ""
    command = _command(sys.argv[1:])
    return (
        f"ended at once by a second signal, {cause_of(number)}; temporary files may be left, and the next run removes "
        f"them; run the command again{GOING_ON.get(command, '')}"
    )


def _command(arguments: list[str]) -> str:
    """Return the name of the command that these arguments run: the first that is no option."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _allow_many_files() -> None:
    """Raise the limit of open files as far as the system allows: every mapped shard is an open file."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # some systems refuse a value that they report as allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
