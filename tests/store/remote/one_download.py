"""Download a file into a cache in a process of its own, which stops at chosen steps until it is let go on.

    python -m tests.store.remote.one_download FILE STEP,STEP

The steps are `lock` (before the lock is waited for), `begin` (the lock is held), `half` (half of the file is written),
`rename` (all of it is), `renamed`, `removed` (what was not finished), `end`. Each step is a line of output. The
process then waits for a line of standard input if the step is named. The line `drop` lets the connection break. The
server is replaced by a function.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from store.remote import tasks
from store.remote.blocks import BLOCK
from store.remote.clients import Patience
from store.remote.failures import FetchError
from store.remote.room import Room

CONTENT = bytes(range(256)) * (8 * BLOCK // 256)
HALF = len(CONTENT) // 2


def main(file: Path, stops: list[str]) -> None:
    """Download `CONTENT` as `file`."""

    def at(step: str) -> None:
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        if step.split(maxsplit=1)[0] in stops and sys.stdin.readline() == "drop\n":
            raise FetchError("network", "the connection was dropped")

    def read(_client: object, _path: str, write: Callable[[bytes], object], **options: Any) -> int:
        begun = options["begun"]
        done = begun.done if begun else 0
        options["sized"](len(CONTENT), "tag")
        write(CONTENT[done:HALF])
        at(f"half {done}")
        write(CONTENT[max(done, HALF) :])
        return len(CONTENT)

    really_locked, really_replaced = tasks.lock_file, Path.replace

    @contextlib.contextmanager
    def lock(partial: Path) -> Iterator[Callable[[], bool]]:
        at("lock")
        with really_locked(partial) as remove:
            at("begin")

            def removed() -> bool:
                done = remove()
                at("removed")
                return done

            yield removed

    def replace(self: Path, target: Path) -> Path:
        at("rename")
        moved = really_replaced(self, target)
        at("renamed")
        return moved

    tasks.read_object = read  # type: ignore[assignment]
    tasks.lock_file = lock
    tasks.LARGE = 1
    Path.replace = replace  # type: ignore[method-assign]
    download = tasks._Download(None, "c.0", file, Room(file.parent), None)  # type: ignore[arg-type]
    with contextlib.suppress(FetchError):
        download.kept(Patience(), known=True)
    at("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","))
