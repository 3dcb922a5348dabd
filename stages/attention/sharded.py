"""Recognise checkpoints that are spread over several files, and say how to make one file of them.

| what | made by | advice |
|---|---|---|
| folder with `.metadata` and `*.distcp` | `torch.distributed.checkpoint` (DINOv3) | join with torch's own tool |
| `*.distcp` | one file of such a folder | the same |
| `*.rank_0.pth` | FSDP in DINOv2's training | the teacher's checkpoint under `eval/` is one file |
| `model-00001-of-00003.safetensors` | transformers, for large models | pass the folder with all of them |

Nothing is read: the names decide. A folder with all files and their index is read; see `stages.attention.folder_files`.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["sharded_advice"]

_RANK = re.compile(r"rank_[0-9]+\.(?:pth|pt)$")
_PIECE = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.(?:safetensors|bin)$")
_JOIN = (
    "is a distributed checkpoint in several files (torch.distributed.checkpoint). Make one file of it: "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pth`, and pass weights.pth"
)
_TEACHER = (
    "holds the part of one process of a training with FSDP. Pass the whole teacher, which DINOv2 saves as "
    "eval/training_*/teacher_checkpoint.pth"
)
_ONE_OF_SEVERAL = (
    "is one of several files of a model. Pass the folder that holds all of them and the file that ends with .index.json"
)


def sharded_advice(path: Path) -> str | None:
    """Return what a path is and what to do, if it is a part of a checkpoint in several files; None for others.

    The text continues a sentence that begins with the path, and has no full stop.
    """
    if path.is_dir():
        if (path / ".metadata").is_file() or any(path.glob("*.distcp")):
            return _JOIN.format(folder=path)
        return None
    if path.name.endswith(".distcp"):
        return _JOIN.format(folder=path.parent)
    if _RANK.search(path.name):
        return _TEACHER
    if _PIECE.search(path.name):
        return _ONE_OF_SEVERAL
    return None
