"""Progress: the silent default, and what a display that replaces it receives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from stages.runtime.progress import SILENT, Progress, Task


class Recorder(Progress):
    """Record tasks and steps, as a display would receive them."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        """Record the task, then every step of it."""
        self.events.append((description, total, unit))
        events = self.events

        class Recording(Task):
            def advance(self, steps: int = 1, note: str = "") -> None:
                events.append((steps, note))

        yield Recording()


def test_tracking_yields_every_item_and_counts_it_after_its_work():
    """The step of an item is counted when the next item is asked for."""
    recorder = Recorder()
    tracked = recorder.track(["a", "b"], "reading")
    assert next(tracked) == "a"
    assert recorder.events == [("reading", 2, "images")]
    assert list(tracked) == ["b"]
    assert recorder.events == [("reading", 2, "images"), (1, ""), (1, "")]


def test_the_default_shows_nothing_and_still_yields_the_items(capsys):
    """A library user sees no output."""
    assert list(SILENT.track([1, 2, 3], "reading")) == [1, 2, 3]
    with SILENT.task("training", 2, unit="epochs") as task:
        task.advance(2, note="loss 0.1")
    assert capsys.readouterr() == ("", "")
