"""Choose the folder of the memo: for a part of an extraction on a network file system, a folder of its own.

A memo is a SQLite file with a write-ahead log. Processes of one machine may share it. Several machines must not: the
log's index is shared memory, which they do not have in common (https://sqlite.org/wal.html). Locks over NFS are not
reliable either. The tasks of a job array usually run on several machines and have one working folder, so each gets its
own memo there. It is the same folder when the task is repeated, so that nothing is computed twice.
"""

from __future__ import annotations

from pathlib import Path

from stages.extraction.parts import Share
from stages.settings import ExtractSettings

__all__ = ["memo_folder"]

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of mounted file systems (man 5 proc)."""
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


def memo_folder(settings: ExtractSettings) -> Path:
    """Return the folder of the memo of an extraction."""
    if settings.shard is None or not _is_shared(settings.memo):
        return settings.memo
    share = Share.parse(settings.shard)
    return settings.memo / f"part-{share.number}-of-{share.of}"


def _is_shared(folder: Path) -> bool:
    """Return True if a folder, which need not exist, is on a file system that other machines may write to."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # another system than Linux: nothing is known
        return False
    types = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:  # noqa: PLR2004 - the fifth field is the mount point
            types[fields[4].replace("\\040", " ")] = after.split()[0]
    place = folder.resolve()
    return next((types[str(one)] for one in (place, *place.parents) if str(one) in types), "") in SHARED
