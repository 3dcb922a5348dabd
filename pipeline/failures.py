"""Turn an exception into one message and an exit status.

Errors that this project raises on purpose have their messages. Some errors of the system have a cause outside this
program, such as a full disk or a limit on files: they get a message with a remedy here. Everything else is a bug, and
keeps its traceback.
"""

from __future__ import annotations

import errno
import sys

from pipeline.console import say
from pipeline.ranks import is_silent
from pipeline.streams import OutputError
from store.errors import PipelineError, UsageError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_READER_HAS_ENDED = 141
"""The status that shells report for SIGPIPE: the reader of the output, such as `head`, has ended."""

OTHER_PLACE = "Choose another path, or change the permissions of this one."
IN_THE_WAY = "A file stands where a folder is needed, or the other way round; choose another path."
BAD_DISK = "Check the disk, or the network it is on, and run the command again."
MORE_FILES = "Close other programs, or raise the limit of open files (`ulimit -n 4096`)."
MORE_PROCESSES = "End other programs, or raise the limit of processes and threads (`ulimit -u`)."
MORE_SPACE = "Free some space, or choose another path."
USER_ERRORS = {
    errno.EACCES: OTHER_PLACE,
    errno.EAGAIN: MORE_PROCESSES,
    errno.EDQUOT: MORE_SPACE,
    errno.EEXIST: IN_THE_WAY,
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f`), or choose another disk.",
    errno.EINTR: "Run the command again.",
    errno.EIO: BAD_DISK,
    errno.EISDIR: IN_THE_WAY,
    errno.ELOOP: "Its links lead in a circle; correct them.",
    errno.EMFILE: MORE_FILES,
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENFILE: MORE_FILES,
    errno.ENOENT: "Check the path.",
    errno.ENOSPC: MORE_SPACE,
    errno.ENOTDIR: IN_THE_WAY,
    errno.EPERM: OTHER_PLACE,
    errno.EROFS: OTHER_PLACE,
    errno.ESTALE: BAD_DISK,
    errno.ETIMEDOUT: BAD_DISK,
}
"""System errors whose cause is the user's disk, folders or limits, not this program, and what to do about each."""


def report_error(error: BaseException) -> int | None:
    """Print an error and return the exit status. Return None, and print nothing, if the error is a bug.

    Of several processes under `torchrun`, only one prints it.
    """
    if isinstance(error, OutputError) and error.reader_has_ended:
        return EXIT_READER_HAS_ENDED
    message = _message(error)
    if is_silent(error):
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE
    if message is None:
        return None
    say(f"error: {message}")
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE


def _message(error: BaseException) -> str | None:
    """Return what happened and what to do; None if the error is a bug."""
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError) and error.errno in USER_ERRORS:
        return f"{error.filename or 'the system'}: {error.strerror}.\n  {USER_ERRORS[error.errno]}"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"the system does not allow another thread.\n  {MORE_PROCESSES}"
    if _is_out_of_memory(error):
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (
            f"not enough memory ({reason}).\n"
            "  End other programs that use much memory, or choose smaller sizes or a smaller --batch-size."
        )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means out of memory. torch is slow to import, so it is used only if already imported."""
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from stages.runtime.out_of_memory import is_out_of_memory

    return is_out_of_memory(error)
