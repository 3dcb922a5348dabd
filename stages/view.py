"""Stage `view`: show a store of any size in a browser of this machine, one sample at a time.

The viewer reads the store and changes nothing. It ends with Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import webbrowser
from pathlib import Path

from stages.errors import UsageError
from stages.viewing.api import Api
from stages.viewing.catalogue import Catalogue
from stages.viewing.server import ViewerServer
from store.remote.address import Place

PORT_ERRORS = {
    errno.EADDRINUSE: "another program uses it",
    errno.EACCES: "this user may not use it",
    errno.EPERM: "this user may not use it",
}


def open_viewer(store: str | Place, *, port: int = 0, run: Path | None = None) -> ViewerServer:
    """Open a store and make a server for it. Use it as a context, and call `serve_forever` inside.

    Args:
        store: path or address of the store.
        port: 0 for any free one.
        run: folder of a run that predicts every sample that is shown; None for no predictions.

    Raises:
        StoreError: the store cannot be opened.
        CheckpointError: the run cannot be read, or does not fit the store.
        UsageError: the port cannot be used.
    """
    catalogue = Catalogue(store)
    predictor = None
    if run is not None:
        from stages.viewing.prediction import RunPredictor  # imports torch

        predictor = RunPredictor(run, catalogue.store)
    # While the browser starts, a thread imports what the first sample needs.
    threading.Thread(target=_import_drawing, name="imports", daemon=True).start()
    try:
        return ViewerServer(Api(catalogue, predictor), port)
    except OSError as error:
        if port == 0 or error.errno not in PORT_ERRORS:
            raise
        raise UsageError(
            f"--port {port}: {PORT_ERRORS[error.errno]}.\n  Choose another port, or leave --port out for any free one."
        ) from None


def _import_drawing() -> None:
    import stages.viewing.sample_json  # noqa: F401 - importing is the work


def open_browser(server: ViewerServer) -> bool:
    """Open the page in the user's browser, if there is a display.

    Returns:
        False if there is none, as on a server that is used over ssh: a browser in the terminal could not show the page.
    """
    if not has_display():
        return False
    # Some browsers hold the call until they end.
    threading.Thread(target=webbrowser.open, args=(server.launch_url(),), name="browser", daemon=True).start()
    return True


def has_display() -> bool:
    """Return True if programs can open windows here."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
