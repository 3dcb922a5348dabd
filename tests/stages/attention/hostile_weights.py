"""Make weights files that no sound program writes."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["HUGE_ARRAY", "View", "doubled", "header_only", "rezipped", "save_pickle", "small_pickle", "zipped_pickle"]

HUGE_ARRAY = b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"
"""Instructions of a pickle that make two gigabytes of zeros."""


class View:
    """Pickle as a tensor with any size, stride and offset over a storage of four numbers."""

    def __init__(self, size: Sequence[int], stride: Sequence[int], offset: int = 0) -> None:
        self._arguments = tuple(size), tuple(stride), offset
        self._numbers = torch.zeros(4)

    def __reduce__(self) -> tuple[Any, ...]:
        size, stride, offset = self._arguments
        storage = torch.storage.TypedStorage(
            wrap_storage=self._numbers.untyped_storage(), dtype=self._numbers.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})


def save_pickle(path: Path, content: Any, *, zipped: bool = True) -> None:
    """Write what `torch.save` writes, in the zip form or in the form of older versions."""
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def rezipped(path: Path, changes: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file of `torch.save` again, with the content of some entries exchanged.

    Args:
        path: the file.
        changes: new contents by the last part of an entry's name, such as `data.pkl`. New names are added.
        compression: of all entries.
    """
    source, written = zipfile.ZipFile(io.BytesIO(path.read_bytes())), io.BytesIO()
    folder = source.namelist()[0].partition("/")[0]
    entries = {name: source.read(name) for name in source.namelist()}
    entries |= {f"{folder}/{name}": content for name, content in changes.items()}
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    path.write_bytes(written.getvalue())


def zipped_pickle(path: Path, pickled: bytes) -> None:
    """Write a zip file of `torch.save` that holds these bytes in place of its pickle."""
    save_pickle(path, {"a": torch.zeros(4)})
    rezipped(path, {"data.pkl": pickled})


def header_only(path: Path, header: Mapping[str, Any], *, body: bytes = b"", claimed: int | None = None) -> None:
    """Write a `.safetensors` file with any header. `claimed` replaces its length."""
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if claimed is None else claimed) + raw + body)


def small_pickle(instructions: bytes) -> bytes:
    """Return a pickle of a dictionary with one value, which these instructions make."""
    return b"\x80\x02}" + _text("a") + instructions + b"s."


def doubled(codec: str, times: int) -> bytes:
    """Return instructions that encode four letters again and again with a codec."""
    content = _encoded(_text("aaaa"), "latin1")
    for _ in range(times):
        content = _encoded(content, codec)
    return content


def _text(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def _encoded(inner: bytes, codec: str) -> bytes:
    return b"c_codecs\nencode\n" + inner + _text(codec) + b"\x86R"
