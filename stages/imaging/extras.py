"""Say which extra of the package reads a file that needs one."""

from __future__ import annotations

from typing import Never

from stages.errors import UsageError

__all__ = ["require_extra"]


def require_extra(extra: str, where: str, what: str) -> Never:
    """Raise the error for a file that needs a package which is not installed.

    Args:
        extra: Name of the extra in the package's metadata.
        where: The file.
        what: What the file is, such as `a HEIC photo`.

    Raises:
        UsageError: always; the message says how to install the extra.
    """
    raise UsageError(
        f"{where}: is {what}, and the package that reads it is not installed.\n"
        f"  Install it: pip install 'diamant-pipeline[{extra}]'"
    )
