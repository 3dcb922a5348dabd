"""Run the command line: `pipeline`, or `python -m pipeline`."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Load the commands and run one. Ctrl-C while they are loaded ends the process at once, without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
