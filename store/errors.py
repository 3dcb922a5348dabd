"""The errors this project raises on purpose, and how they are told.

    PipelineError                    something a user can mend; the message says how
    ├── UsageError (ValueError)      the request itself makes no sense: exit 2
    ├── StoreError                   an attention store cannot be used
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── NotAStoreError           a path that holds something else
    │   ├── StoreVersionError        written by another version of the format
    │   ├── StoreIncompleteError     a shard or an array is missing
    │   └── StoreCorruptError        bytes that do not match their checksum or shape
    └── … `stages.errors` adds what can go wrong with images, weights and checkpoints

Every message names the file or sample, says what is wrong, and ends with what to do. The command
line prints it without a traceback; anything that is not a `PipelineError` is a bug and keeps its
traceback.
"""


class PipelineError(Exception):
    """A failure that a user can mend. Exit status 1."""


class UsageError(PipelineError, ValueError):
    """The request itself is wrong: an option's value, a combination of options. Exit status 2."""


class StoreError(PipelineError):
    """An attention store cannot be used."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """Nothing lies at the store's path."""


class NotAStoreError(StoreError):
    """Something lies at the path, but it is not an attention store."""


class StoreVersionError(StoreError):
    """The store was written by another version of the format."""


class StoreIncompleteError(StoreError):
    """A part of the store is missing."""


class StoreCorruptError(StoreError):
    """A part of the store does not match its checksum, its shape or its description."""
