"""Let a stage report its progress, independently of how it is displayed.

`Progress` displays nothing; it serves library use and tests. `pipeline.console` has a subclass that draws bars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Task:
    """Receive the progress of one long piece of work, and display nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more steps as done; `note` is a short line shown beside the bar."""

    def report(self, line: str) -> None:
        """Take a line about a part that has ended. It is displayed only where there are no bars."""


class Progress:
    """Receive the progress of a stage, and display nothing."""

    def say(self, line: str) -> None:
        """Take a line that the user should read before the work goes on."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:  # noqa: ARG002 - used by subclasses
        """Open a task of `total` steps, counted in `unit`."""
        yield Task()

    def track(self, items: Sequence[Item], description: str, unit: str = "images") -> Iterator[Item]:
        """Yield the items one by one, and count each as one step of a task."""
        with self.task(description, len(items), unit) as task:
            for item in items:
                yield item
                task.advance()


SILENT = Progress()
