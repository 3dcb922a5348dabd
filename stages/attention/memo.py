"""What the transformer has computed already: attention maps by image digest, kept between runs.

One SQLite file per recipe, named by the recipe's digest and holding the recipe itself. What is put in by one call
is committed by that call, so a killed extraction loses one batch at most; two extractions may use one file at the
same time. An entry that does not match its checksum counts as absent and is computed again.

A memo is a cache: deleting it loses time, never results. It wants a local disk (SQLite's write-ahead log does not
work over a network file system), never shrinks, and is opened by the thread that uses it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from stages.attention.recipe import Recipe
from stages.errors import PipelineError

__all__ = ["AttentionMemo"]

_BUSY_SECONDS = 60.0  # how long one extraction waits for another's commit
_NAME_LENGTH = 16  # hexadecimal digits of the recipe's digest in the file's name
_PRIMARY_CODE = 0xFF  # the low byte of a SQLite result code; the rest says which variant it is
_DTYPE = np.dtype("<f2")
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700  # maps tell about images, and those are patients'

# A plain table: with maps of some 10 kB, WITHOUT ROWID was half as fast to write, a quarter as fast to read and a
# third larger (measured with 4,000 entries).
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS recipe (json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS attention (digest TEXT PRIMARY KEY, maps BLOB NOT NULL, crc INTEGER NOT NULL)",
)


class AttentionMemo:
    """The maps of one recipe, by image digest. A context manager; closed on leaving."""

    path: Path
    """The SQLite file."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Open the recipe's memo in `folder`; both are created, private to the user, if they are not there.

        Raises:
            PipelineError: the file is not a memo of this recipe, or the folder cannot be written to.
        """
        self.path = folder / f"{recipe.sha256[:_NAME_LENGTH]}.sqlite"
        self._shape = (len(recipe.heads), *recipe.grid)
        _create_private(self.path)
        self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._explain_errors():
                _use_write_ahead_log(self._connection)
                self._check_recipe(recipe)
        except BaseException:
            self._connection.close()
            raise

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        """The maps that are known.

        Args:
            digests: SHA-256 of the image files.

        Returns:
            (heads, rows, columns) float16 for every digest that is known and undamaged; others are left out.

        Raises:
            PipelineError: the file cannot be read.
        """
        query = "SELECT digest, maps, crc FROM attention WHERE digest IN (SELECT value FROM json_each(?))"
        with self._explain_errors():
            rows = self._connection.execute(query, (json.dumps(list(digests)),)).fetchall()
        length = int(np.prod(self._shape)) * _DTYPE.itemsize
        return {
            digest: np.frombuffer(maps, _DTYPE).astype(np.float16).reshape(self._shape)
            for digest, maps, crc in rows
            if isinstance(maps, bytes) and len(maps) == length and _checksum(digest, maps) == crc
        }

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Keep maps; all of them are on the disk when this returns, or none.

        Args:
            maps: (heads, rows, columns) float16 by image digest; what is known already is replaced.

        Raises:
            PipelineError: the disk is full or the file cannot be written.
            ValueError: maps of another shape or type.
        """
        rows = []
        for digest, values in maps.items():
            if values.shape != self._shape or values.dtype != np.float16:
                raise ValueError(f"maps of {values.shape} {values.dtype} for a memo of {self._shape} float16")
            content = values.astype(_DTYPE).tobytes()
            rows.append((digest, content, _checksum(digest, content)))
        with self._explain_errors(), _transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO attention VALUES (?, ?, ?)", rows)

    def __len__(self) -> int:
        with self._explain_errors():
            return int(self._connection.execute("SELECT count(*) FROM attention").fetchone()[0])

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_recipe(self, recipe: Recipe) -> None:
        """Write the recipe into a new file; compare it with that of an old one."""
        with _transaction(self._connection):
            for statement in _SCHEMA:
                self._connection.execute(statement)
            known = self._connection.execute("SELECT CAST(json AS BLOB) FROM recipe").fetchone()
            if known is None:
                self._connection.execute("INSERT INTO recipe VALUES (?)", (json.dumps(recipe.to_dict()),))
            elif (found := _parsed(known[0])) is None:
                raise PipelineError(self._unusable_message("its recipe is damaged"))
            elif found != recipe.to_dict():
                raise PipelineError(
                    f"{self.path}: holds the maps of another recipe than its name says. "
                    "Deleting the file is safe: its maps are computed again."
                )

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """SQLite's errors, told so that a user can mend them."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            # The log's index cannot grow: on a full disk SQLite calls that an I/O error.
            code = sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & _PRIMARY_CODE
            raise PipelineError(self._message_for(code, str(error))) from None

    def _message_for(self, code: int, reason: str) -> str:
        """What one of SQLite's primary result codes means to a user, and what to do."""
        if code == sqlite3.SQLITE_FULL:
            return (
                f"No space left in {self.path.parent}; free some, or put the memo elsewhere with `--memo`. "
                "Finished batches are kept."
            )
        if code == sqlite3.SQLITE_BUSY:
            return (
                f"{self.path}: another process has held the memo for {_BUSY_SECONDS:.0f} s. "
                "Wait for it to end, or use another folder with `--memo`."
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
            return (
                f"{self.path}: cannot be read or written ({reason}). "
                "Mend the disk or its permissions, or use another folder with `--memo`."
            )
        return self._unusable_message(reason)

    def _unusable_message(self, reason: str) -> str:
        return f"{self.path}: is not a usable memo ({reason}). Deleting it is safe: its maps are computed again."


def _parsed(content: bytes | None) -> Any:
    """The recipe that a memo holds; None for what is none."""
    try:
        return json.loads(content or b"null")
    except (ValueError, RecursionError):
        return None


def _create_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE_FILE))  # SQLite gives its side files the same mode
    except OSError as error:
        raise PipelineError(
            f"{path}: the memo cannot be created ({error.strerror}). Use another folder with `--memo`."
        ) from None


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Two processes that switch a new file at the same moment can meet "locked" without SQLite waiting for them.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    # NORMAL: a power cut may lose the last commits, never the file; a killed process loses nothing committed.
    connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")  # waits for the other writer now, not in the middle
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _checksum(digest: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(digest.encode()))
