"""Check the files of this bundle against MANIFEST.json. Needs nothing but Python.

    python verify.py

Exit status: 0 if every file is as it was written, 1 if not.
"""

import hashlib
import json
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Check everything, print what is wrong, and return the exit status."""
    manifest = json.loads((HERE / "MANIFEST.json").read_text(encoding="utf-8"))
    wrong = []
    for name, expected in manifest["files"].items():
        path = HERE / name
        if not path.is_file():
            wrong.append(f"{name}: is missing")
        elif path.stat().st_size != expected["bytes"]:
            wrong.append(f"{name}: has {path.stat().st_size} bytes, not {expected['bytes']}")
        elif _sha256(path) != expected["sha256"]:
            wrong.append(f"{name}: is damaged")
    python = ".".join(map(str, sys.version_info[:2]))
    if python != manifest["python"]:
        wrong.append(f"this is Python {python}; the bundle is for Python {manifest['python']}")
    if sysconfig.get_platform() != manifest["platform"]:
        wrong.append(f"this machine is {sysconfig.get_platform()}; the bundle is for {manifest['platform']}")
    for line in wrong:
        print(line)
    count = len(manifest["files"])
    print(f"{count} files checked: {'all are as they were written' if not wrong else 'copy the bundle again'}")
    return 1 if wrong else 0


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
