"""Processes that are started in the block do not react to Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.spawned import without_interrupt

SCRIPT = """
import multiprocessing, signal
from store.spawned import without_interrupt

def send(pipe):
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=send, args=(theirs,))
        with without_interrupt():
            process.start()
        print(ours.recv(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
        process.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mask of signals")
def test_the_signal_is_blocked_in_every_process_and_not_here(tmp_path: Path):
    """Also in the first one that a program starts: then Python starts its own helper, which allows the signal."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["True False"] * 2


def test_signals_are_not_blocked_where_that_is_not_possible(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.delattr("signal.pthread_sigmask", raising=False)
    with without_interrupt():
        pass
