"""Write the history in the form that DVC's plots and its editor extension read while a run goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.outputs.kinds import LIVE_FOLDER
from stages.runs.history import Row

__all__ = ["LIVE_FOLDER", "live_log"]

_STUDIO_OFFLINE = "DVC_STUDIO_OFFLINE"

_LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def live_log(
    folder: Path, history: Sequence[Row], columns: Sequence[str], *, offline: bool = False
) -> Iterator[Callable[[Row], None]]:
    """Write a DVCLive log in `folder`, and yield a function that adds a row to it.

    An interrupted run may have logged epochs whose state was never saved. So the log is always started anew, with the
    rows of `history`. Outside a DVC repository nothing is written, because DVCLive would create a repository there.

    Args:
        folder: where the log's folder is created.
        history: rows so far.
        columns: figures to log, in this order; a figure that is None is left out.
        offline: write the log only. Otherwise DVCLive reports to DVC Studio where the user has set that up.
    """
    shutil.rmtree(folder / LIVE_FOLDER, ignore_errors=True)
    with _studio_switched_off() if offline else contextlib.nullcontext():
        live = _open_live(folder / LIVE_FOLDER)
    if live is None:
        yield lambda _row: None
        return

    def log(row: Row) -> None:
        # By column: DVCLive writes figures in the order of the calls, and a row from a state may have another order.
        for name in columns:
            if (value := row[name]) is not None:
                live.log_metric(name, value)
        live.next_step()

    with live:
        for row in history:
            log(row)
        yield log


@contextlib.contextmanager
def _studio_switched_off() -> Iterator[None]:
    """Set the variable with which DVC's client of DVC Studio is switched off. DVCLive reads it when a log is opened."""
    before = os.environ.get(_STUDIO_OFFLINE)
    os.environ[_STUDIO_OFFLINE] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_STUDIO_OFFLINE]
        else:
            os.environ[_STUDIO_OFFLINE] = before


def _open_live(folder: Path) -> Any:
    """Return a DVCLive log that writes in `folder`; None outside a DVC repository, and where DVCLive cannot write."""
    if not any((parent / ".dvc").is_dir() for parent in (Path.cwd(), *Path.cwd().parents)):
        return None
    try:
        from dvclive.live import Live
    except ModuleNotFoundError:
        _LOGGER.warning("DVCLive is not installed, so this run writes no live log. Install dvclive to have one.")
        return None
    try:
        return Live(
            str(folder),
            report=None,
            save_dvc_exp=False,
            dvcyaml=None,
            cache_images=False,
            monitor_system=False,
        )
    except Exception as error:  # noqa: BLE001 - a log must not stop a training; a repository without a commit raises here
        reason = str(error).strip() or type(error).__name__
        _LOGGER.warning("DVCLive cannot log this run (%s). Training continues without a live log.", reason)
        return None
