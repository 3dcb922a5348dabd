"""Check locale, limits, clock, the temporary folder, and settings for the network."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stages.checking.findings import Finding, ok, problem, warning
from stages.checking.machine import Machine

__all__ = ["check_clock", "check_encoding", "check_limits", "check_network", "check_temporary"]

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
LEAST_FILES = 1024
"""Open files that a process should be allowed: mapped shards and worker processes need some hundreds."""
LEAST_SHARED = 64 * 2**20
"""Bytes of shared memory that the worker processes of a DataLoader need at least."""
LEAST_TEMPORARY = 10**9
_DAY = 24 * 3600


def check_network(machine: Machine) -> Iterator[Finding]:
    """Say what the environment sets for the network. No connection is opened."""
    if machine.offline:
        yield ok("network", "offline: no connection is opened")
        return
    proxy = next((name for name in PROXIES if os.environ.get(name)), None)
    yield ok("proxy", f"{proxy} is set" if proxy else "none is set in the environment")


def check_encoding(_: Machine) -> Iterator[Finding]:
    """Check that names of files and output are UTF-8."""
    names, output = sys.getfilesystemencoding(), getattr(sys.stdout, "encoding", None) or "unknown"
    if names.replace("-", "").lower() != "utf8":
        yield problem("encoding", f"names of files are {names}", "Set LC_ALL=C.UTF-8, or PYTHONUTF8=1.")
    elif output.replace("-", "").lower() != "utf8":
        yield warning("encoding", f"output is {output}: some characters are written as escapes", "Set PYTHONUTF8=1.")
    else:
        yield ok("encoding", "UTF-8")


def check_limits(_: Machine) -> Iterator[Finding]:
    """Check how many files may be open, and the shared memory of worker processes."""
    if sys.platform == "win32":
        return
    import resource

    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < LEAST_FILES:
        yield warning(
            "limits", f"a process may open {files} files", f"ulimit -n {min(most, 65536) if most > 0 else 65536}"
        )
    else:
        yield ok("limits", f"a process may open {'any number of' if files == resource.RLIM_INFINITY else files} files")
    shared = Path("/dev/shm")  # noqa: S108 - the place that torch uses, only its size is asked
    if shared.is_dir() and (size := shutil.disk_usage(shared).total) < LEAST_SHARED:
        to_do = "In Docker: --shm-size 1g, or --ipc host. Else use no worker processes."
        yield warning("limits", f"{size / 2**20:.0f} MiB of shared memory", to_do)


def check_clock(_: Machine) -> Iterator[Finding]:
    """Check that the clock is not before this program was installed: certificates and DVC's times depend on it."""
    installed = Path(__file__).stat().st_mtime
    if time.time() < installed - _DAY:
        yield warning(
            "clock", f"the clock says {time.strftime('%Y-%m-%d')}, before this program was installed", "Set it."
        )
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M %Z"))


def check_temporary(_: Machine) -> Iterator[Finding]:
    """Check the folder for temporary files."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield problem("temporary", str(error), "Set TMPDIR to a folder that can be written to.")
        return
    free = shutil.disk_usage(folder).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < LEAST_TEMPORARY:
        yield warning("temporary", found, "Free some space, or set TMPDIR to another disk.")
    else:
        yield ok("temporary", found)
