"""Write a network as a MONAI bundle, the folder that `monai.bundle`, MONAI Label and MONAI Deploy read.

    configs/metadata.json    description in MONAI's form; our own is in its entry `diamant_pipeline`
    configs/inference.json   reads images, runs the network and writes masks: `python -m monai.bundle run`
    models/model.ts          the whole network as TorchScript, with both files of `configs` inside: it runs without this
                             package, and `monai.bundle.load(…, load_ts_module=True)` reads it
    models/model.pt          its weights alone, which MONAI's specification requires, for `ckpt_export` and
                             `monai.bundle.load`
    docs/README.md           how to use it, and what it must not be used for
    LICENSE                  licence of the weights

The network takes one float32 image in [0, 1] and gives the probabilities, because MONAI's programs know one input and
one output. TorchScript is the form that they share; `torch.jit` is deprecated in favour of `torch.export`, see the
format `torch`. MONAI itself is not needed to write a bundle.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.errors import UsageError
from stages.exporting.checking import Run, check
from stages.exporting.description import describe
from stages.exporting.formats import Exported
from stages.exporting.graphs import quiet, refused
from stages.exporting.loading import Loaded, load
from stages.exporting.marks import DESCRIPTION
from stages.exporting.monai_texts import inference, licence, metadata, readme
from stages.exporting.reports import exported
from stages.imaging.image_rules import ImageRules
from stages.outputs.kinds import MONAI_BUNDLE
from stages.runtime.progress import Progress
from stages.settings import ExportSettings
from store.disk.publish import published_folder, write_synced

__all__ = ["write"]

DEBUGGING = ".debug_pkl"
"""Ending of the archive's entries with paths of source files on this machine. They are needed for tracebacks only."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def write(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    """Write the bundle, after the check of its network.

    Raises:
        UsageError: the part or the values are not those of a bundle, or the run was trained on tiles.
        CheckpointError, WeightsError: the run or the transformer cannot be loaded.
        PipelineError: the traced network does not compute what the network computes.
    """
    _require_possible(settings)
    loaded = load(replace(settings, pixels="float"))
    if ImageRules.from_dict(loaded.card.images).tile is not None:
        raise UsageError(
            f"{settings.run}: was trained on tiles, and a bundle takes whole images.\n"
            "  Export the network of one window with --format onnx or torch, or use `pipeline predict`."
        )
    progress.say("recording the network")
    traced = _trace(loaded)
    about, running = _json(metadata(loaded)), _json(inference(loaded))
    content = _archive(traced, loaded, {"metadata.json": about, "inference.json": running})
    result = check(loaded, _runner(traced), progress)
    files = {
        "configs/metadata.json": about,
        "configs/inference.json": running,
        "models/model.ts": content,
        "models/model.pt": _weights(traced),
        "docs/README.md": readme(loaded).encode(),
        "LICENSE": licence(loaded).encode(),
    }
    with published_folder(out, ours=MONAI_BUNDLE) as folder:
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_synced(folder / name, data)
    return exported(loaded, out, sum(map(len, files.values())), result, {"torch": torch.__version__})


def _require_possible(settings: ExportSettings) -> None:
    """Make sure that a bundle can have what is asked for.

    Raises:
        UsageError: it cannot.
    """
    if settings.part != "whole":
        raise UsageError(
            "--part segmenter: a MONAI bundle takes an image alone, and the segmenter takes maps too.\n"
            "  Leave --part out, or use --format onnx or torch."
        )
    if settings.values != "probabilities":
        raise UsageError("--values logits: a MONAI bundle gives probabilities. Leave --values out.")


class _Probabilities(nn.Module):
    """Give the probabilities of a whole network alone."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, image: Tensor) -> Tensor:
        """Return the second output of the network."""
        values: Tensor = self.whole(image)[1]
        return values


def _trace(loaded: Loaded) -> torch.jit.ScriptModule:
    """Return the network as TorchScript, for batches of any size."""
    with quiet(), torch.no_grad(), refused(loaded):
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call] # not annotated in torch
            _Probabilities(loaded.network), loaded.example(2), check_trace=False
        )
        return traced


def _archive(traced: torch.jit.ScriptModule, loaded: Loaded, configs: Mapping[str, bytes]) -> bytes:
    """Return the bytes of the file with its extra files, without paths of this machine.

    The names of the extra files are those of MONAI's `save_net_with_metadata`.
    """
    saved, cleaned = io.BytesIO(), io.BytesIO()
    with quiet():
        torch.jit.save(traced, saved, _extra_files={**configs, DESCRIPTION: json.dumps(describe(loaded))})
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(cleaned, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            if not name.endswith(DEBUGGING):
                new.writestr(zipfile.ZipInfo(name, EPOCH), old.read(name))
    return cleaned.getvalue()


def _weights(traced: torch.jit.ScriptModule) -> bytes:
    """Return the bytes of the weights as `torch.load` reads them with `weights_only`."""
    saved = io.BytesIO()
    torch.save(dict(traced.state_dict()), saved)
    return saved.getvalue()


def _runner(traced: torch.jit.ScriptModule) -> Run:
    def run(inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            values: Tensor = traced(*map(torch.from_numpy, inputs))
        return [values.numpy()]

    return run


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
