"""Compute the digests and checksums of a store's files anew, so that a changed store looks sound.

Whatever cannot be signed, because it is damaged, is left as it is.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import google_crc32c
import numpy as np

from store.format import ATTRIBUTE, SHARDED, contents_sha256, metadata_sha256, recipe_sha256, written_json

__all__ = ["sign"]

ROOT_FILE = "zarr.json"
CRC_BYTES = 4
NEVER_WRITTEN = 2**64 - 1

Files = dict[str, bytes]


def sign(files: Files, *, metadata: bool, columns: bool, shards: bool) -> Files:
    """Return the files with right digests.

    Args:
        files: by their path in the store.
        metadata: sign the description and the metadata of arrays.
        columns: sign the chunks of columns; needs `metadata` to have an effect.
        shards: compute the checksums in shards, and the column `checksum`.
    """
    try:
        root = json.loads(files[ROOT_FILE])
        described = root["attributes"][ATTRIBUTE]
        sharded = [name for name in described.get("sharded", SHARDED) if isinstance(name, str)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return files
    signed = dict(files)
    if shards:
        _sign_shards(signed, sharded, at_start=described.get("version") == 1)
    try:
        if columns:
            _sign_columns(signed, described)
        if metadata:
            names = [*sharded, *described["columns_sha256"]]
            described["metadata_sha256"] = metadata_sha256({name: signed[f"{name}/zarr.json"] for name in names})
            described["recipe_sha256"] = recipe_sha256(described["recipe"])
            described["contents_sha256"] = contents_sha256(described)
            signed[ROOT_FILE] = written_json(root)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return signed
    return signed


def _sign_columns(files: Files, described: dict[str, Any]) -> None:
    for name, digests in described["columns_sha256"].items():
        for number in range(len(digests)):
            for path in (f"{name}/c.{number}", f"{name}/c.{number}.0"):
                if path in files:
                    files[path] = _with_crc(files[path][:-CRC_BYTES])
                    digests[number] = hashlib.sha256(files[path]).hexdigest()


def _sign_shards(files: Files, sharded: list[str], *, at_start: bool) -> None:
    """Compute the checksums of all chunks and of the index in each array's first shard."""
    columns = []
    for name in sharded:
        path = next((path for path in files if path.startswith(f"{name}/c.0")), None)
        columns.append(_sign_shard(files, path, at_start=at_start) if path else [])
    table = files.get("checksum/c.0.0", b"")[:-CRC_BYTES]
    samples = min(map(len, columns), default=0)
    if samples and len(table) == samples * len(sharded) * CRC_BYTES:
        values = np.array([column[:samples] for column in columns], "<u4").T
        files["checksum/c.0.0"] = _with_crc(values.tobytes())


def _sign_shard(files: Files, path: str, *, at_start: bool) -> list[int]:
    """Sign one shard and return the checksums of its chunks."""
    content = bytearray(files[path])
    checksums: list[int] = []
    capacity = 1
    while (
        True
    ):  # the number of chunks is not known here: the index whose entries fill the file exactly is the right one
        size = capacity * 16
        if size + CRC_BYTES > len(content):
            return []
        begin = 0 if at_start else len(content) - size - CRC_BYTES
        entries = np.frombuffer(bytes(content[begin : begin + size]), "<u8").reshape(-1, 2)
        written = entries[entries[:, 1] != NEVER_WRITTEN]
        if len(written) and int(written[:, 1].astype(object).sum()) == len(content) - size - CRC_BYTES:
            break
        capacity *= 2
    for offset, length in written.astype(object).tolist():
        if not length >= CRC_BYTES or offset + length > len(content):
            return []
        chunk = _with_crc(bytes(content[offset : offset + length - CRC_BYTES]))
        content[offset : offset + length] = chunk
        checksums.append(int.from_bytes(chunk[-CRC_BYTES:], "little"))
    content[begin : begin + size + CRC_BYTES] = _with_crc(bytes(content[begin : begin + size]))
    files[path] = bytes(content)
    return checksums


def _with_crc(payload: bytes) -> bytes:
    checksum: int = google_crc32c.value(payload)
    return payload + checksum.to_bytes(CRC_BYTES, "little")
