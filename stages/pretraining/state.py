"""Read and write the state file of a pretraining: tensors in the groups `student`, `teacher` and `objective`."""

from __future__ import annotations

from pathlib import Path

from stages.runs.state import RunState, StateFormat
from stages.runs.state import load_state as load_run_state
from stages.runs.state import save_state as save_run_state

__all__ = ["STATE_FORMAT", "load_state", "save_state"]

STATE_FORMAT = StateFormat(key="diamant_pretraining", counter="step")


def save_state(path: Path, state: RunState) -> None:
    """Write the state of a pretraining. A previous one is replaced atomically."""
    save_run_state(path, state, STATE_FORMAT)


def load_state(path: Path) -> RunState:
    """Read the state of a pretraining.

    Raises:
        CheckpointError: the file is missing, damaged, or of a newer version.
    """
    return load_run_state(path, STATE_FORMAT)
