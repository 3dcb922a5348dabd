"""Cache the attention maps of images between runs, by image digest.

There is one SQLite file per recipe. The recipe's digest is its name, and the recipe is stored inside. Every `put_many`
is one commit, so a killed extraction loses one batch at most. Two extractions may use one file at the same time. An
entry that does not match its checksum counts as absent and is computed again.

A memo is a cache: deleting it costs time, never results. It must be on a local disk, because SQLite's write-ahead log
does not work between machines (`stages.extraction.memo_place`). It never shrinks. The thread that uses it must open it.
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

from stages.attention.memo_file import SCHEMA, is_new, limit_values, require_regular_files, require_schema
from stages.attention.recipe import Recipe
from stages.errors import PipelineError
from store.disk.regular import IrregularFileError

__all__ = ["AttentionMemo"]

_BUSY_SECONDS = 60.0  # longest wait for the commit of another extraction
_NAME_LENGTH = 16  # hexadecimal digits of the recipe's digest in the file name
_PRIMARY_CODE = 0xFF  # the low byte of a SQLite result code is the primary code; the rest is the variant
_DTYPE = np.dtype("<f2")
_LONGEST_RECIPE = 100_000  # bytes; a recipe has about 1,000
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700  # maps reveal parts of the patients' images


class AttentionMemo:
    """Store and return the maps of one recipe, by image digest. A context manager that closes the file."""

    path: Path
    """The SQLite file."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Open the recipe's memo in `folder`. Create both, private to the user, if they do not exist.

        Raises:
            PipelineError: the file is not a memo of this recipe, or the folder cannot be written to.
        """
        self.path = self.path_of(folder, recipe)
        self._shape = (len(recipe.heads), *recipe.grid)
        self._length = int(np.prod(self._shape)) * _DTYPE.itemsize
        _create_private(self.path)
        with self._explain_errors():
            self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._explain_errors():
                limit_values(self._connection, self._length)
                _use_write_ahead_log(self._connection)
                self._check_recipe(recipe)
        except BaseException:
            self._connection.close()
            raise

    @staticmethod
    def path_of(folder: Path, recipe: Recipe) -> Path:
        """Return the path of a recipe's memo in `folder`; the file need not exist."""
        return folder / f"{recipe.sha256[:_NAME_LENGTH]}.sqlite"

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        """Return the cached maps of some images.

        Args:
            digests: SHA-256 of the image files, in hexadecimal.

        Returns:
            (heads, rows, columns) float16 for every digest with an undamaged entry. Other digests are left out.

        Raises:
            PipelineError: the file cannot be read.
        """
        query = (
            "SELECT digest, maps, crc FROM attention WHERE digest IN (SELECT value FROM json_each(?)) "
            "AND typeof(maps) = 'blob' AND length(maps) = ?"  # SQLite reads the length without the value
        )
        with self._explain_errors():
            rows = self._connection.execute(query, (json.dumps(list(digests)), self._length)).fetchall()
        return {
            digest: np.frombuffer(maps, _DTYPE).astype(np.float16).reshape(self._shape)
            for digest, maps, crc in rows
            if _checksum(digest, maps) == crc
        }

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Store maps in one commit: all of them or, after an error, none.

        Args:
            maps: (heads, rows, columns) float16 by image digest. Existing entries are replaced.

        Raises:
            PipelineError: the disk is full or the file cannot be written.
            ValueError: maps have another shape or type.
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
        """Write the recipe into a new file, or compare it with the recipe of an existing file."""
        with _transaction(self._connection):
            if is_new(self._connection):
                for statement in SCHEMA:
                    self._connection.execute(statement)
            require_schema(self._connection)
            query = "SELECT substr(CAST(json AS BLOB), 1, ?) FROM recipe LIMIT 1"
            known = self._connection.execute(query, (_LONGEST_RECIPE,)).fetchone()
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
        """Turn SQLite's errors into errors that say what to do."""
        try:
            yield
        except UnicodeDecodeError:  # sqlite3 raises it for an error message that quotes a damaged name
            raise PipelineError(self._unusable_message("names in it are not text")) from None
        except MemoryError:  # SQLite reports some damage of the schema so
            raise PipelineError(
                self._unusable_message("SQLite has no memory to read it; if none is free, end other programs instead")
            ) from None
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            # On a full disk the index of the log cannot grow, and SQLite reports that as an I/O error.
            code = sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & _PRIMARY_CODE
            raise PipelineError(self._message_for(code, str(error))) from None

    def _message_for(self, code: int, reason: str) -> str:
        """Return the message for one of SQLite's primary result codes: what happened and what to do."""
        if code == sqlite3.SQLITE_FULL:
            return (
                f"No space left in {self.path.parent}. Free some, or use another folder with `--memo`. "
                "Finished batches are kept."
            )
        if code == sqlite3.SQLITE_BUSY:
            return (
                f"{self.path}: another process has locked the memo for {_BUSY_SECONDS:.0f} s. "
                "Wait for it to end, or use another folder with `--memo`."
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
            return (
                f"{self.path}: cannot be read or written ({reason}). "
                "Repair the disk or the permissions, or use another folder with `--memo`."
            )
        return self._unusable_message(reason)

    def _unusable_message(self, reason: str) -> str:
        return f"{self.path}: is not a usable memo ({reason}). Deleting it is safe: its maps are computed again."


def _parsed(content: bytes | None) -> Any:
    """Return the JSON value of a memo's recipe; None if it is not valid JSON."""
    try:
        return json.loads(content or b"null")
    except (ValueError, RecursionError):
        return None


def _create_private(path: Path) -> None:
    try:
        require_regular_files(path)
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE_FILE))  # SQLite gives its side files the same mode
    except IrregularFileError as error:
        raise PipelineError(
            f"{error.filename}: {error.strerror}. Remove it, or use another folder with `--memo`."
        ) from None
    except OSError as error:
        raise PipelineError(
            f"{path}: the memo cannot be created ({error.strerror}). Use another folder with `--memo`."
        ) from None


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # If two processes switch a new file at the same moment, one can get "locked" at once: SQLite does not wait here.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    # NORMAL: a power cut may lose the last commits, but not the file. A killed process loses no commit.
    connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")  # waits for another writer now, not in the middle
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _checksum(digest: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(digest.encode()))
