"""Read stores of version 2. Written from `store/FORMAT.md` alone, with numpy and the standard library."""

import hashlib
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

CORE = {  # name: (encoding, type and dimensions)
    "image": ("rgb", "uint8 sample row column channel"),
    "mask": ("class_index", "uint8 sample row column"),
    "attention": ("attention_map", "float16 sample head grid_row grid_column"),
    **{name: (name, "string sample") for name in ("sample", "digest", "group")},
    **{name: (name, "int32 sample") for name in ("height", "width")},
    "labelled": ("labelled", "bool sample"),
    "head": ("head", "string head"),
    "checksum": ("checksum", "uint32 sample sharded_array"),
}
PARTS = {  # optional, with a fixed meaning
    "instances": ("instance_index", "uint16|uint32 sample row column"),
    **{name: (name, "int32 sample") for name in ("objects", "lost_objects")},
    **{name: (name, "string sample") for name in ("lost_classes", "perceptual_hash", "pixel_mm", "mask_digest")},
}
SHARDED = {"image", "mask", "attention", "instances"}
KINDS = {"required": list, "recipe": dict, "recipe_sha256": str, "classes": list, "masks": dict, "samples": int,
         "samples_per_shard": int, "sharded": list, "skipped": list, "metadata_sha256": str, "columns_sha256": dict,
         "contents_sha256": str}  # fmt: skip
TABLE = list(range(256))  # of CRC-32C, byte by byte
for _ in range(8):
    TABLE = [(value >> 1) ^ (0x82F63B78 if value & 1 else 0) for value in TABLE]
Refused = type("Refused", (Exception,), {"__doc__": "The store is refused: (verdict of the specification, reason)."})


def read_store(root: Path) -> dict[str, Any]:
    """Read every array of a store that this reader understands, by name."""
    described = _description(root)
    columns, names = described["columns_sha256"], [*described["sharded"], *described["columns_sha256"]]
    files = {name: _file(root / name / "zarr.json") for name in names}
    digests = "".join(hashlib.sha256(files[name]).hexdigest() for name in sorted(names))
    _require(hashlib.sha256(digests.encode()).hexdigest() == described["metadata_sha256"], "metadata")
    arrays = {name: json.loads(content) for name, content in files.items()}
    for name, (encoding, layout) in (CORE | {name: PARTS[name] for name in PARTS.keys() & arrays.keys()}).items():
        found = arrays[name]["attributes"].get("encoding")
        bits = name == "mask" and found == {"name": "label_bits", "version": 1}
        _require(not bits or 1 < len(described["classes"]) <= 8, "number of labels")
        if not bits and found != {"name": encoding, "version": 1}:
            _require(name in PARTS and name not in described["required"], f"encoding of {name}", "version")
            continue
        types, *dimensions = layout.split()
        _require(arrays[name]["data_type"] in types.split("|"), f"type of {name}")
        _require(arrays[name]["dimension_names"] == dimensions, f"dimensions of {name}")
        _require((name in described["sharded"]) == (name in SHARDED), f"{name} is listed wrongly")
        _require(name != "instances" or arrays[name]["shape"] == arrays["mask"]["shape"], "shape of instances")
    for name, array in arrays.items():
        _require(array["chunk_key_encoding"]["configuration"] == {"separator": "."}, f"file names of {name}")
        _require(array["dimension_names"][0] != "sample" or array["shape"][0] == described["samples"], name)
    _require(0 < arrays["attention"]["attributes"].get("scale_factor", 0) <= 1, "scale_factor")
    read = {name: _column(root / name, arrays[name], columns[name]) for name in columns}
    for position, name in enumerate(described["sharded"]):
        read[name] = _sharded(root / name, arrays[name], described, read["checksum"][:, position])
    return {name: values for name, values in read.items() if values is not None}


def _description(root: Path) -> dict[str, Any]:
    try:
        group = json.loads(_file(root / "zarr.json", "not_a_store"))
    except ValueError:
        raise Refused("corrupt", "zarr.json is not JSON") from None
    described = group.get("attributes", {}).get("attention_store")
    _require(group["node_type"] == "group" and described is not None, "no attribute", "not_a_store")
    _require(described["version"] == 2, "version", "version")
    _require(all(type(described.get(key)) is kind for key, kind in KINDS.items()), "keys")
    covered = {key: value for key, value in described.items() if key != "contents_sha256"}
    masks, rules = described["masks"], described["masks"].get("rules", {})
    _require(type(masks.get("resize", "")) is str and type(rules) is dict, "masks")
    _require("rules" not in masks or _are_rules(rules), "masks.rules")
    _require("rules" not in masks or "label_rules" in described["required"], "rules")
    for value, digest in ((described["recipe"], "recipe_sha256"), (covered, "contents_sha256")):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        _require(hashlib.sha256(text.encode()).hexdigest() == described[digest], digest)
    known = {*CORE, *PARTS, "label_rules"}
    _require(known.issuperset(described["required"]), "a requirement", "version")
    names = [*described["sharded"], *described["columns_sha256"]]
    _require(set(CORE) <= set(names) and all(re.fullmatch("[a-z][a-z0-9_]{0,63}", name) for name in names), "names")
    _require(set(names) >= {*described["required"]} - {"label_rules"}, "a required array")
    return described


def _are_rules(rules: dict[str, Any]) -> bool:
    threshold, unclear = rules.get("threshold", -1), rules.get("unclear", -1)
    kinds = ("classes", "instances", "multilabel")
    return rules.get("labels") in kinds and 0 <= unclear <= 1 and (threshold is None or 0 <= threshold <= 1)


def _column(folder: Path, array: dict[str, Any], digests: list[str]) -> np.ndarray:
    shape, chunk = array["shape"], array["chunk_grid"]["configuration"]["chunk_shape"]
    _require(len(digests) == -(-shape[0] // chunk[0]) and chunk[1:] == shape[1:], "chunks of a column")
    contents = [_file(folder / f"c.{number}{'.0' * (len(shape) - 1)}") for number in range(len(digests))]
    _require([hashlib.sha256(content).hexdigest() for content in contents] == digests, "a column")
    if array["data_type"] != "string":
        values = np.frombuffer(b"".join(map(_checked, contents)), np.dtype(array["data_type"]).newbyteorder("<"))
        return values.reshape(-1, *shape[1:])[: shape[0]]
    texts: list[str] = []
    for stream in (BytesIO(_checked(content)) for content in contents):
        count = int.from_bytes(stream.read(4), "little")
        texts += [stream.read(int.from_bytes(stream.read(4), "little")).decode() for _ in range(count)]
    return np.array(texts[: shape[0]], dtype=object)


def _sharded(folder: Path, array: dict[str, Any], described: dict[str, Any], recorded: np.ndarray) -> Any:
    sharding, per_shard, shape = array["codecs"][0]["configuration"], described["samples_per_shard"], array["shape"][1:]
    _require(sharding["index_location"] == "end" and sharding["chunk_shape"] == [1, *shape], "sharding")
    _require(array["chunk_grid"]["configuration"]["chunk_shape"] == [per_shard, *shape], "shards")
    packing, samples = [inner["name"] for inner in sharding["codecs"]][1:-1], []
    known = packing in ([], ["blosc"], ["zstd"])
    _require(known or folder.name not in CORE, "codec")
    _require(known or folder.name not in described["required"], "codec", "version")
    for first in range(0, described["samples"], per_shard):
        content, position = _file(folder / f"c.{first // per_shard}{'.0' * len(shape)}"), 0
        index = np.frombuffer(_checked(content[-per_shard * 16 - 4 :]), "<u8").reshape(-1, 2).tolist()
        _require(len(index) == per_shard, "a shard is cut short")
        for sample, (offset, length) in enumerate(index[: described["samples"] - first], first):
            _require(offset == position and 4 <= length <= len(content), "index")
            position += length
            payload = _checked(content[offset:position])
            _require(content[position - 4 : position] == recorded[sample].tobytes(), "another sample's bytes")
            samples.append(_unblosc(payload) if packing == ["blosc"] else payload)
        _require(position == len(content) - per_shard * 16 - 4, "a shard is longer than its samples")
        _require(all(entry == [2**64 - 1] * 2 for entry in index[described["samples"] - first :]), "index")
    _require(packing != ["zstd"], "zstd is not supported", "unsupported")
    dtype = np.dtype(array["data_type"]).newbyteorder("<") if known else None
    _require(not known or all(len(s) == dtype.itemsize * np.prod(shape) for s in samples), "length of a chunk")
    return np.frombuffer(b"".join(samples), dtype).reshape(array["shape"]) if known else None


def _unblosc(payload: bytes) -> bytes:
    flags, (size, block_size, packed) = payload[2], np.frombuffer(payload[4:16], "<u4").tolist()
    _require(packed == len(payload) and block_size >= size and flags & 0b11100101 == 0b100000, "blosc header")
    start = int.from_bytes(payload[16:20], "little") + 4
    block = payload[start : start + int.from_bytes(payload[start - 4 : start], "little")]
    if flags & 2 or len(block) == size:  # stored without compression
        return payload[-size:]
    stream, out = BytesIO(block), bytearray()
    while token := stream.read(1):
        out += stream.read(_extended(token[0] >> 4, stream))
        if offset := int.from_bytes(stream.read(2), "little"):  # the last sequence has only literals
            for _ in range(_extended(token[0] & 15, stream) + 4):
                out.append(out[-offset])
    _require(len(out) == size, "blosc header")
    return bytes(out)


def _extended(length: int, stream: BytesIO) -> int:
    more = 255 if length == 15 else 0
    while more == 255:
        length += (more := stream.read(1)[0])
    return length


def _checked(content: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in content[:-4]:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    _require(len(content) >= 4 and crc ^ 0xFFFFFFFF == int.from_bytes(content[-4:], "little"), "CRC-32C")
    return content[:-4]


def _file(path: Path, verdict: str = "incomplete") -> bytes:
    _require(path.is_file(), f"{path.name} is missing", verdict)
    return path.read_bytes()


def _require(condition: object, why: str, verdict: str = "corrupt") -> None:
    if not condition:
        raise Refused(verdict, why)
