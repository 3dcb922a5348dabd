"""How a stage says how far it is, without knowing who listens.

`Progress` itself is silent, for use as a library and in tests; `pipeline.console` has the one that
draws bars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Task:
    """One piece of long work."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """So many steps more are done; `note` is a short line shown beside the bar."""


class Progress:
    """Listens to stages and shows nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:  # noqa: ARG002 - for heirs
        """Work of `total` steps, counted in `unit`."""
        yield Task()

    def track(self, items: Sequence[Item], description: str) -> Iterator[Item]:
        """The items one by one, each a step of a task."""
        with self.task(description, len(items)) as task:
            for item in items:
                yield item
                task.advance()


SILENT = Progress()
