"""Run one input in a process of its own, without a fuzzer: `python -m tests.fuzzing.replay TARGET FILE`.

Exit status 0 if the input is handled as it should be; 1 after a finding, which is printed. A fuzzer's own memory grows with
the number of inputs, so an input that ended its process is a finding only if it fails here, too.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.fuzzing.target import check
from tests.fuzzing.targets import find_target

MOST_ADDRESSES = 12 << 30
"""Bytes of address space: a larger request is a MemoryError, and no other program loses its memory."""


def main(name: str, file: Path) -> int:
    """Run the input and print the finding."""
    target = find_target(name)
    check(target, target.seeds()[0])  # imports what is imported late, before time and memory are measured
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    found = check(target, file.read_bytes())
    if found is None:
        return 0
    sys.stdout.write(f"{found.where}\n{found.kind}\n{found.detail}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
