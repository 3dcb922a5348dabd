"""Define what a fuzzing target is, and what counts as a finding.

A target feeds bytes to one parser. It may give a result or raise one of the project's own errors. These are findings:
any other exception, an error without a message or with an endless one, more than `MOST_SECONDS` of
processor time, and more than `MOST_MEMORY` of additional memory.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import PipelineError

__all__ = ["MOST_MEMORY", "MOST_SECONDS", "Finding", "Mutate", "Target", "check"]

MOST_SECONDS = 8.0
"""Processor time of one input. The first inputs of a process take longer, because modules are imported."""
HANG_SECONDS = 20.0
"""Processor time after which an input is stopped."""
MOST_MEMORY = 768
"""MiB by which one input may raise the peak of the process's memory."""

NO_MEMORY = re.compile(r"allocate|not enough memory|out of memory", re.IGNORECASE)
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "stages", "store")

Mutate = Callable[[bytes, random.Random], bytes]
"""Return a changed copy of an input. It must accept any bytes."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Describe the fuzzing of one parser."""

    name: str
    parser: str
    """What is parsed, in a few words."""
    run: Callable[[bytes], object]
    """Feed one input to the parser."""
    seeds: Callable[[], Sequence[bytes]]
    """Make the inputs to start from, with the project's own writers where possible. The sound ones are first. The others
    lead to places that mutations would hardly find."""
    sound: int
    """Number of sound seeds: they are read without an error, so the mutations start behind all checks."""
    mutate: Mutate
    """Mutations that keep the structure of the format, such as valid JSON with another value."""
    tokens: Sequence[str] = ()
    """Words of the format, for the fuzzer's dictionary."""
    longest: int = 1 << 16
    """Largest number of bytes of an input."""


@dataclass(frozen=True)
class Finding:
    """Hold one way in which a parser failed."""

    kind: str
    """`exception`, `message`, `time` or `memory`."""
    where: str
    """The same for all inputs that fail in the same way: the type of the exception and the project's last lines."""
    detail: str


def check(target: Target, data: bytes) -> Finding | None:
    """Run one input and return what went wrong, or None."""
    _forget_peak()
    start, peak = time.process_time(), _peak()
    try:
        with _limited_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.run(data)
    except _HangError:
        found = Finding("time", f"hang {target.name}", f"more than {HANG_SECONDS} s")
    except PipelineError as error:
        found = _fault_of_message(error)
    except OSError as error:
        # The command line shows system errors of the disk by their `strerror`; others are bugs.
        found = None if error.strerror else _exception(error)
    except Exception as error:  # noqa: BLE001 - any other exception is a finding
        found = _exception(error)
    else:
        found = None
    seconds = time.process_time() - start
    if found is None and seconds > MOST_SECONDS:
        found = Finding("time", f"time {target.name}", f"{seconds:.1f} s")
    grown = _peak() - peak
    if found is None and grown > MOST_MEMORY:
        found = Finding("memory", f"memory {target.name}", f"{grown} MiB more")
    return found


class _HangError(BaseException):
    """Raised in an input that takes too long. No `except Exception` of a parser stops it."""


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    """Raise `_HangError` in the block after `HANG_SECONDS` of processor time, at the next step of Python code."""

    def stop(*_: object) -> None:
        raise _HangError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _fault_of_message(error: PipelineError) -> Finding | None:
    text = str(error)
    place = _place(error)
    if not text.strip():
        return Finding("message", f"empty message {place}", repr(error))
    if NO_MEMORY.search(text):
        return Finding("memory", f"no memory {place}", ascii(text)[:2000])
    if len(text) > 1 << 20:
        return Finding("message", f"endless message {place}", f"{len(text)} characters")
    return None


def _exception(error: BaseException) -> Finding:
    return Finding("exception", f"{type(error).__name__} {_place(error)}", "".join(traceback.format_exception(error)))


def _place(error: BaseException) -> str:
    """Return the last three places in the project's packages that the exception went through."""
    places = [
        f"{Path(frame.filename).relative_to(ROOT)}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(tuple(f"{ROOT}/{name}/" for name in PACKAGES))
    ]
    if not places:  # in a library that the target calls
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frames[-1].filename).name}:{frames[-1].name}"]
    return " > ".join(places[-3:])


def _peak() -> int:
    """Return the peak of the process's resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _forget_peak() -> None:
    """Set the peak to the present size, so that the next input is measured by itself."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
