"""Look through the instructions of a `.pth`, without following them, for those that let a small file fill the memory.

torch's restricted unpickler runs no foreign code, but it lets a pickle call a few functions of Python. Two of them can
make a thousand bytes into terabytes: `bytearray(n)`, and `_codecs.encode`, called again and again on its own result
with a codec that doubles the length. Bytes that are pickled in earnest need the codec latin-1 only.
"""

from __future__ import annotations

import codecs
import contextlib
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from store.disk.regular import open_regular

__all__ = ["pickle_problem"]

_PICKLE = "data.pkl"  # the entry of a zip of torch.save that names the tensors
_OLD_FORM = 5  # pickles at the start of the form without a zip: three of versions, the content, the keys of the bytes
_BYTES = "_codecs encode"
_ARRAY = " bytearray"
_LONGEST_CODEC = 40  # characters of a codec's name


def pickle_problem(path: Path, *, zipped: bool) -> str | None:
    """Return why the pickle of a file is not followed; None if it can be left to torch's restricted unpickler.

    A pickle that ends too early or has unknown instructions is left to torch, which refuses it.

    Args:
        path: a file that begins like one of the two forms of `torch.save`.
        zipped: it is the zip form; its directory has been checked.

    Raises:
        OSError: the file is missing, is not a regular file, or cannot be read.
    """
    calls, texts = set(), set()
    with open_regular(path) as file:
        pickles: Sequence[bytes | BinaryIO] | None = _zipped_pickles(file) if zipped else [file] * _OLD_FORM
        if pickles is None:  # torch does not check the sums of a zip, so it would follow what cannot be looked through
            return "has a damaged list of tensors"
        try:
            for pickled in pickles:
                with contextlib.suppress(ValueError):
                    for instruction, argument, _ in pickletools.genops(pickled):
                        if instruction.name == "GLOBAL":
                            calls.add(str(argument))
                        elif isinstance(argument, str) and len(argument) <= _LONGEST_CODEC:
                            texts.add(argument)
        except (MemoryError, OverflowError):  # an instruction claims an argument of terabytes
            return "has a damaged list of tensors"
    if any(call.endswith(_ARRAY) for call in calls):
        return "holds a bytearray, which can have any length"
    if _BYTES in calls and (found := sorted(filter(_is_other_codec, texts))):
        return f"encodes bytes as {found[0]!r}, which can fill the memory"
    return None


def _zipped_pickles(file: BinaryIO) -> Sequence[bytes] | None:
    """Return the pickles of a zip; None if one is damaged, encrypted or cannot be read for another reason."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [archive.read(entry) for entry in archive.infolist() if entry.filename.endswith(_PICKLE)]
    except (zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error, zlib.error):
        return None


def _is_other_codec(text: str) -> bool:
    """Return whether a text names a codec of Python other than latin-1."""
    try:
        return codecs.lookup(text).name != codecs.lookup("latin-1").name
    except (LookupError, ValueError):
        return False
