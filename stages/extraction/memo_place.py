"""Choose the folder of the memo: for a part of an extraction on a network file system, a folder of its own.

A memo is a SQLite file with a write-ahead log. Processes of one machine may share it. Several machines must not: the
log's index is shared memory, which they do not have in common (https://sqlite.org/wal.html). Locks over NFS are not
reliable either. The tasks of a job array usually run on several machines and have one working folder, so each gets its
own memo there. It is the same folder when the task is repeated, so that nothing is computed twice.
"""

from __future__ import annotations

from pathlib import Path

from stages.extraction.parts import Share
from stages.runtime.file_systems import SHARED, file_system_of
from stages.settings import ExtractSettings

__all__ = ["memo_folder"]


def memo_folder(settings: ExtractSettings) -> Path:
    """Return the folder of the memo of an extraction."""
    if settings.shard is None or file_system_of(settings.memo) not in SHARED:
        return settings.memo
    share = Share.parse(settings.shard)
    return settings.memo / f"part-{share.number}-of-{share.of}"
