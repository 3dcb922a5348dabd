"""Find out on which type of file system a folder lies."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["SHARED", "file_system_of"]

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of mounted file systems (man 5 proc)."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""A blank, tab, line end or backslash in a name of the list."""
SHARED = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "orangefs",
        "panfs",
        "smb3",
        "smbfs",
        "wekafs",
    }
)
"""Types of file systems that several machines may have mounted."""


def file_system_of(path: Path) -> str:
    """Return the type of the file system of a folder or a file, which need not exist, such as `ext4` or `nfs4`.

    It is "" where the system does not say it: on another system than Linux.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    types = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:  # noqa: PLR2004 - the fifth field is the mount point
            types[_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])] = after.split()[0]
    place = path.resolve()
    return next((types[str(one)] for one in (place, *place.parents) if str(one) in types), "")
