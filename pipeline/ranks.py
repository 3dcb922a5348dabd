"""Run a command in several processes under `torchrun`: which commands can, and which process prints.

`torchrun` starts the whole command once for each process. The first one prints what the command prints; the others
print nothing, except an error that only they have.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.runtime.launch import refuse_several

__all__ = ["is_silent", "quiet_torch", "refuse_several_processes", "silent_unless_first", "speaks_here"]

ALONE = frozenset(
    [
        "bundle",
        "compare",
        "evaluate",
        "export",
        "extract",
        "init",
        "maps",
        "merge",
        "phantom",
        "predict",
        "report",
        "upgrade",
        "view",
    ]
)
"""Commands that cannot divide their work: several processes of them would write the same files."""

INSTEAD = {
    "compare": "Run it without torchrun. To use several GPUs, run one comparison on each, of other --arms, with "
    "its own --out and CUDA_VISIBLE_DEVICES."
}
"""Advice, if it is more than to run the command without torchrun."""


def refuse_several_processes(command: str) -> None:
    """Make sure that a command which cannot divide its work runs in one process.

    Raises:
        UsageError: it runs in several.
    """
    if command in ALONE and "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        refuse_several(command, INSTEAD.get(command, "Run it without torchrun."))


def quiet_torch() -> None:
    """Let the compiled code of torch print no warnings in a run of several processes. Call before torch is imported.

    When one process ends, the others would print the stack of every connection that breaks, beside the one message that
    says why. A level that the user has set stays.
    """
    if _several():
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@contextlib.contextmanager
def silent_unless_first() -> Iterator[None]:
    """Drop the output of the block, in all processes of a run except the first one.

    Errors pass the block and are printed outside.
    """
    if os.environ.get("RANK", "0") == "0" or not _several():
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield


def is_silent(error: BaseException) -> bool:
    """Return True if another process of the run says why it failed. torch is used only if already imported."""
    if not _several():
        return False
    if "torch" in sys.modules:
        from stages.runtime.processes import is_said_elsewhere

        return is_said_elsewhere(error)
    return os.environ.get("LOCAL_RANK", "0") != "0"


def speaks_here() -> bool:
    """Return True in the process that says what happens to all processes of a machine, such as a signal to each."""
    return not _several() or os.environ.get("LOCAL_RANK", os.environ["RANK"]) == "0"


def _several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
