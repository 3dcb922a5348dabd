"""Check the SQLite file of a memo before it is used: that it is a file, and holds the memo's two tables and no more.

SQLite runs what a database file defines: views in place of tables, triggers, and expressions in indices and columns. A
foreign file could so run a query that never ends. The statements that made the tables are therefore compared word by
word, and SQLite is set to trust no other.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

from stages.attention.foreign_text import quoted
from store.disk.regular import MIB, IrregularFileError, require_regular

__all__ = ["SCHEMA", "is_new", "limit_values", "require_regular_files", "require_schema"]

# A plain table. With 4,000 entries of about 10 kB, WITHOUT ROWID wrote at half the speed, read at a quarter of it, and
# took a third more space.
SCHEMA = (
    "CREATE TABLE recipe (json TEXT NOT NULL)",
    "CREATE TABLE attention (digest TEXT PRIMARY KEY, maps BLOB NOT NULL, crc INTEGER NOT NULL)",
)
"""Statements that make the tables. Every version so far wrote these."""

_INDEX = ("index", "sqlite_autoindex_attention_1", "attention", None)
"""SQLite makes this index for the primary key."""
_EXPECTED = frozenset(
    {("table", "recipe", "recipe", SCHEMA[0]), ("table", "attention", "attention", SCHEMA[1]), _INDEX}
)
_SIDE_FILES = ("-wal", "-shm", "-journal")
_LONGEST_VALUE = 64 * MIB
"""Bytes of a value that is not a map, such as the list of digests that are asked for."""


def require_regular_files(path: Path) -> None:
    """Make sure that a memo and the files that SQLite keeps beside it are regular files, or do not exist.

    Raises:
        IrregularFileError: one of them is something else, or a file beside the memo is a link. `filename` says which.
        OSError: one of them cannot be looked at.
    """
    with contextlib.suppress(FileNotFoundError):
        require_regular(path)
    for ending in _SIDE_FILES:
        side = path.resolve().with_name(path.resolve().name + ending)  # SQLite follows a link to the memo
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.lstat(side).st_mode):
                raise IrregularFileError(0, "is a link; SQLite's own files never are", str(side))
            require_regular(side)


def limit_values(connection: sqlite3.Connection, longest: int) -> None:
    """Let SQLite refuse longer values, and functions in the schema.

    Args:
        connection: to a memo.
        longest: bytes of the maps of an image.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_LONGEST_VALUE, 2 * longest))
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")


def is_new(connection: sqlite3.Connection) -> bool:
    """Return whether the file has no tables yet."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def require_schema(connection: sqlite3.Connection) -> None:
    """Make sure that a file holds the memo's two tables, as this program makes them, and nothing else.

    Raises:
        sqlite3.DatabaseError: it holds other tables, views, triggers or indices. The message names one.
    """
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?"
    found = set(connection.execute(query, (len(_EXPECTED) + 1,)).fetchall())
    if found == _EXPECTED:
        return
    foreign = sorted(quoted(f"{kind} {name!r}") for kind, name, *_ in found - _EXPECTED)
    raise sqlite3.DatabaseError(
        f"it holds things of its own: {', '.join(foreign)}" if foreign else "its tables are incomplete"
    )
