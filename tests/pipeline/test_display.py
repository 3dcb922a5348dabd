"""Progress: lines without a terminal, bars on one."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from pipeline import display, model_tables, store_commands
from pipeline.display import BarProgress, LineProgress, Speed, progress_display
from stages.runtime.progress import Progress, Task


class _Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_a_long_task_prints_a_line_after_ten_seconds_and_then_one_a_minute(clock: _Clock):
    """Each line has what, how much, how fast, how long it will take, and the note of the last step."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("pretraining", 1_000, unit="steps") as task:
        for step in range(1, 301):
            clock.now += 0.5
            task.advance(1, f"loss {step}")
    assert lines == [
        "pretraining: 20 of 1,000 steps, 2 steps/s, 8 min left, loss 20",
        "pretraining: 140 of 1,000 steps, 2 steps/s, 7 min left, loss 140",
        "pretraining: 260 of 1,000 steps, 2 steps/s, 6 min left, loss 260",
        "pretraining: 300 of 1,000 steps in 2 min",
    ]


def test_the_end_of_a_part_is_a_line_at_once_and_delays_the_next_line(clock: _Clock):
    """A log with a line for every part needs no line a minute between parts that are short."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("training", 100, unit="samples") as task:
        for part in range(4):
            clock.now += 5
            task.advance(10)
            task.report(f"run {part}")
    assert lines == ["run 0", "run 1", "run 2", "run 3"]


def test_a_short_task_prints_nothing(clock: _Clock):
    """A line for every short task would only make a log longer."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("checking", 10) as task:
        for _ in range(10):
            clock.now += 0.9
            task.advance()
    assert lines == []


def test_steps_of_an_earlier_run_do_not_count_as_fast(clock: _Clock):
    """A resumed run reports at its start what was done before."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("training", 1_000, unit="samples") as task:
        task.advance(900)
        for _ in range(12):
            clock.now += 1
            task.advance()
    assert lines[0] == "training: 910 of 1,000 samples, 1 samples/s, 1 min left"


def test_the_rate_is_that_of_the_last_half_minute(clock: _Clock):
    """Images from the memo are quick; they say nothing about those that are computed."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("extracting", 2_000) as task:
        for _ in range(1_000):
            clock.now += 1 / 64
            task.advance()
        for _ in range(14):
            clock.now += 10
            task.advance()
    assert lines[0].startswith("extracting: 640 of 2,000 images, 64 images/s")
    assert lines[1].startswith("extracting: 1,006 of 2,000 images, 0.1 images/s, 2 h 45 min left")


def test_a_batch_that_ends_at_once_is_not_fast(clock: _Clock):
    """Its images are all counted at the moment when the batch ends."""
    lines: list[str] = []
    with LineProgress(lines.append, clock).task("predicting", 100) as task:
        for _ in range(2):
            clock.now += 8
            for _ in range(16):
                task.advance()
    assert lines[0].startswith("predicting: 17 of 100 images, 1.1 images/s")


def test_an_error_prints_no_end(clock: _Clock):
    """A line that says how long the task took would contradict the error."""
    lines: list[str] = []

    def fail() -> None:
        with LineProgress(lines.append, clock).task("reading", 10) as task:
            task.advance()
            clock.now += 11
            task.advance()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(lines) == 1


def test_track_counts_every_item(clock: _Clock):
    """Stages that wrap a loop use it."""
    lines: list[str] = []
    for _ in LineProgress(lines.append, clock).track(range(3), "drawing"):
        clock.now += 11
    assert lines == ["drawing: 1 of 3 images, 0.091 images/s, 22 s left", "drawing: 3 of 3 images in 33 s"]


def test_an_instant_task_has_no_rate():
    """It would be one of thousands of images a second, and differ from that of the report."""
    speed = Speed(lambda: 5.0)
    speed.advance(10)
    assert speed.per_second() is None


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (io.StringIO(), "xterm", LineProgress),
        (_Terminal(), "xterm", BarProgress),
        (_Terminal(), "dumb", LineProgress),
    ],
)
def test_bars_need_a_terminal_that_can_draw_them(monkeypatch: pytest.MonkeyPatch, stream, term: str, kind: type):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    assert type(progress_display()) is kind


def test_a_bar_leaves_standard_output_alone(monkeypatch: pytest.MonkeyPatch):
    """A library that is imported meanwhile may keep the stream, and write a stray line into it at the end."""
    monkeypatch.setattr(sys, "stderr", _Terminal())
    before = sys.stdout
    with BarProgress().task("training", 2) as task:
        task.advance(1, "epoch 1/2")
        assert sys.stdout is before


def test_without_threads_a_bar_becomes_lines(monkeypatch: pytest.MonkeyPatch):
    """The display of progress never ends good work."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    screen = _Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(display, "FIRST_LINE", 0.0)
    with BarProgress().task("training", 2) as task:
        task.advance()
        task.advance()
    assert "training: 2 of 2 images in 0 s" in screen.getvalue()


@pytest.mark.parametrize(
    ("note", "end"),
    [
        ("", "━" * 38),
        ("epoch 3/3 loss 1.502 val Dice 0.369", "val Dice 0.369"),
        ("epoch 1000/1000 loss 1.559 validation Dice 0.369 and more", "validation D…"),
    ],
    ids=["no_note", "short_note", "long_note"],
)
def test_a_bar_fits_80_columns_without_cutting_a_number(monkeypatch: pytest.MonkeyPatch, note: str, end: str):
    """First the bar is shorter, then the note is."""
    screen = _Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with BarProgress().task("pretraining", 200_000, unit="samples") as task:
        task.advance(200_000, note)
    last = screen.getvalue().replace("\r", "\n").splitlines()[-2]
    assert "pretraining" in last
    assert "200000/200000" in last
    assert "0:00:00" in last
    assert end in last


@pytest.mark.parametrize(("command", "unit"), [("verify", "shards"), ("models", "models")])
def test_a_loop_says_what_it_counts(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, command: str, unit: str
):
    """The unit of a task is that of its steps: a store is checked shard by shard, not image by image."""
    units: list[str] = []

    class _Recording(Progress):
        @contextlib.contextmanager
        def task(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
            units.append(unit)
            with super().task(description, total, unit) as task:
                yield task

    for module in (store_commands, model_tables):
        monkeypatch.setattr(module, "progress_display", _Recording)
    if command == "verify":
        with pytest.raises(typer.Exit):
            store_commands.verify(str(make_store(4)))
    else:
        store_commands.models(timm="vit_tiny*")
    assert set(units) == {unit}
