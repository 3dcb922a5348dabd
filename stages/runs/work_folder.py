"""The hidden folder beside the output in which a run works until it is finished.

Only one run works in it at a time. It holds the state and the history so far, so an interrupted run is resumed from it,
while the previous output stays in place. A file that the user put into it is never removed: a run does not begin while
there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.outputs.kinds import HISTORY_FILE, STATE_FILE, WORK
from store.disk.contents import Contents, refuse_entries, remove_ours
from store.disk.publish import exclusive_folder, remove_partial_files

__all__ = ["HISTORY_FILE", "STATE_FILE", "WorkFolder", "work_folder"]


@dataclass(frozen=True)
class WorkFolder:
    """A working folder and the files in it."""

    path: Path
    work: str
    """Name of the work, such as "training"."""

    @classmethod
    def beside(cls, out: Path, work: str) -> WorkFolder:
        """Return the working folder of an output, `.<name>.<work>` beside it; nothing is created or locked."""
        return cls(out.with_name(f".{out.name}.{work}"), work)

    @property
    def state(self) -> Path:
        """Return the path of the run's state."""
        return self.path / STATE_FILE

    @property
    def history(self) -> Path:
        """Return the path of the run's history."""
        return self.path / HISTORY_FILE

    def refuse_foreign(self) -> None:
        """Make sure that the folder, if there is one, holds only files of such a run.

        Raises:
            UsageError: it holds others; the message names them.
        """
        if self.path.is_dir():
            refuse_entries(self.path, self._contents())

    def clear(self) -> None:
        """Remove the files of an earlier run. The folder, the lock on it and files of the user stay."""
        remove_ours(self.path, self._contents(), itself=False)

    def remove(self) -> None:
        """Remove the folder. If a file of the user is in it by now, that file and the folder stay."""
        remove_ours(self.path, self._contents())

    def remove_partial_files(self) -> None:
        """Remove half-written files of a killed run."""
        remove_partial_files(self.path, self._contents())

    def _contents(self) -> Contents:
        return WORK[self.work](self.path)


@contextlib.contextmanager
def work_folder(out: Path, work: str, *, keep: Callable[[Path], bool] = lambda _: False) -> Iterator[WorkFolder]:
    """Lock the working folder of an output, and create it if it is missing.

    If the block fails before there is a state or a history, the folder is removed.

    Args:
        out: where the result will be.
        work: what the run does, such as "training"; part of the folder's name and of messages.
        keep: called with the folder after a failure; True keeps it also without a state and a history.

    Raises:
        PipelineError: another process works on the same output.
        UsageError: the folder holds files that are not of such a run.
    """
    folder = WorkFolder.beside(out, work)
    with exclusive_folder(folder.path, work):
        folder.refuse_foreign()
        folder.remove_partial_files()
        try:
            yield folder
        except BaseException:
            if not folder.state.is_file() and not folder.history.is_file() and not keep(folder.path):
                folder.remove()
            raise
