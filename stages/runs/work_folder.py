"""The hidden folder beside the output in which a run works until it is finished.

Only one run works in it at a time. It holds the state and the history so far, so an interrupted run is resumed from it,
while the previous output stays in place.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from store.disk.publish import exclusive_folder, remove_partial_files

__all__ = ["HISTORY_FILE", "STATE_FILE", "WorkFolder", "work_folder"]

STATE_FILE = "state.safetensors"
HISTORY_FILE = "history.csv"


@dataclass(frozen=True)
class WorkFolder:
    """A working folder and the files in it."""

    path: Path

    @classmethod
    def beside(cls, out: Path, work: str) -> WorkFolder:
        """Return the working folder of an output, `.<name>.<work>` beside it; nothing is created or locked."""
        return cls(out.with_name(f".{out.name}.{work}"))

    @property
    def state(self) -> Path:
        """Return the path of the run's state."""
        return self.path / STATE_FILE

    @property
    def history(self) -> Path:
        """Return the path of the run's history."""
        return self.path / HISTORY_FILE

    def clear(self) -> None:
        """Remove the files of an earlier run. The folder and the lock on it stay."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        with contextlib.suppress(OSError):  # rmtree raises some errors in spite of `ignore_errors`
            shutil.rmtree(self.path, ignore_errors=True)


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
    """
    folder = WorkFolder.beside(out, work)
    with exclusive_folder(folder.path, work):
        remove_partial_files(folder.path)
        try:
            yield folder
        except BaseException:
            if not folder.state.is_file() and not folder.history.is_file() and not keep(folder.path):
                folder.remove()
            raise
