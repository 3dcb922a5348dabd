"""The errors that this project raises on purpose.

    PipelineError                    a failure with a remedy, which the message names
    ├── UsageError (ValueError)      the request itself is wrong: exit status 2
    ├── StoreError                   an attention store cannot be used
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── NotAStoreError           the path holds something else
    │   ├── StoreVersionError        the store needs another version of this program
    │   ├── StoreIncompleteError     a shard or an array is missing
    │   ├── StoreCorruptError        bytes do not match their checksum or shape
    │   └── StoreUnreachableError    the server of a remote store does not answer, or refuses
    └── … `stages.errors` adds errors about images, weights and checkpoints

Every message names the file or sample, says what is wrong, and ends with what to do. The command
line prints it without a traceback. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

from typing import Any


class PipelineError(Exception):
    """A failure that the user can remedy. Exit status 1."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process sends its errors as pickles. Python's own way calls the constructor with the message, which
        # fails, or gives another message, in a subclass whose constructor takes something else.
        return (_restored, (type(self), self.args, self.__dict__))


class UsageError(PipelineError, ValueError):
    """The request itself is wrong: an option's value, or a combination of options. Exit status 2."""


class StoreError(PipelineError):
    """An attention store cannot be used."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """The store's path does not exist."""


class NotAStoreError(StoreError):
    """The path exists, but it is not an attention store."""


class StoreVersionError(StoreError):
    """The store has a version, or needs a feature, that this program does not know."""


class StoreIncompleteError(StoreError):
    """A part of the store is missing."""


class StoreCorruptError(StoreError):
    """A part of the store does not match its checksum, its shape or its description."""


class StoreUnreachableError(StoreError):
    """The server of a remote store does not answer or refuses, so nothing is known about the store itself."""


def _restored(kind: type[PipelineError], args: tuple[Any, ...], attributes: dict[str, Any]) -> PipelineError:
    """Return a pickled error, without a call of its constructor."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
