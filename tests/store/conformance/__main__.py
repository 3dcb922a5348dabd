"""Write every store of the conformance set: `python -m tests.store.conformance OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.store.conformance.cases import CASES, write_case


def main(out: Path) -> None:
    """Write `<case>.zarr` for every case, and `expected.json` with the verdicts, into a new folder."""
    out.mkdir(parents=True)
    for case in CASES:
        write_case(case, out / f"{case.name}.zarr")
    expected = {case.name: {"verdict": case.verdict, "change": case.what, "codecs": case.codecs} for case in CASES}
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.store.conformance OUT   (OUT: a folder that does not exist yet)")
    main(Path(sys.argv[1]))
