"""Load a transformer with its weights for a given input size.

`load_transformer` reads the tensors (from the hub, from a given or shipped file, or random ones), checks that they
belong to the model, converts the publisher's names to timm's, and loads them at the size they were trained for. Then
it resamples the position embeddings to the wanted size (see `stages.attention.positions`). The digest is computed
before the resampling, so it does not depend on the size. It is the same for a `.pth`, a `.safetensors`, the hub's copy
and a file of transformers (see `stages.attention.transformers_layout`).

timm's own file loading is not used, because it may unpickle arbitrary objects.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stages.attention.architectures import build_outline, build_transformer
from stages.attention.attention_check import require_full_attention
from stages.attention.card import read_card
from stages.attention.folder_files import HUB_FILES
from stages.attention.foreign_text import quoted
from stages.attention.hub import hub_file
from stages.attention.hub_folder import CONFIG
from stages.attention.input_size import check_input_size
from stages.attention.models import MODELS, UNTRAINED, ModelEntry
from stages.attention.naming import find_model
from stages.attention.plain_tensors import require_finite
from stages.attention.positions import fit_positions
from stages.attention.recipe import PositionEmbedding
from stages.attention.shown_options import options_in
from stages.attention.timm_models import is_timm_name
from stages.attention.transformers_layout import Arranged, arrange
from stages.attention.untrained import untrained_tensors
from stages.attention.weight_files import read_weights, tensors_sha256
from stages.errors import UsageError, WeightsError
from stages.settings import PositionRule

__all__ = ["Transformer", "load_transformer"]

_DEFAULT_SIDE = 224  # pixels; used if the weights do not say their size
_SHOWN = 3  # names that are listed before "and N more"
_BLOCK = re.compile(r"blocks\.([0-9]{1,4})\.")
_WIDTHS = {192: "T", 384: "S", 768: "B", 1024: "L", 1280: "H", 1536: "g"}


@dataclass(frozen=True)
class Transformer:
    """Hold a frozen transformer and its origin."""

    module: nn.Module
    """In eval mode, float32, on the CPU, without gradients, built for one input size."""
    entry: ModelEntry
    weights_sha256: str
    """Digest of the tensors at their own size, without projection heads (see `tensors_sha256`)."""
    position_embedding: PositionEmbedding
    """Origin of the position embeddings at the input size; see `Recipe.position_embedding`."""
    part: str = ""
    """Part of a training checkpoint that was loaded, in one line; "" if the file holds nothing else."""


def load_transformer(
    name: str, *, input_size: tuple[int, int], weights: Path | None = None, positions: PositionRule = "timm"
) -> Transformer:
    """Build a model and load its weights.

    Args:
        name: As `stages.attention.naming.find_model` takes it.
        input_size: (height, width) of the images in pixels; both divisible by the patch.
        weights: A weights file as published (`.pth`) or `.safetensors`, or a folder of the model hub. Without it the
            weights come from the file that the table or `name` names, else from the hub.
        positions: Rule by which position embeddings are resampled to the input size.

    Returns:
        The transformer, for images of exactly `input_size`.

    Raises:
        UnknownModelError: there is no model of that name.
        UsageError: the size is not divisible by the patch, or `weights` is given although the model needs no file.
        WeightsError: the weights cannot be loaded, belong to another model, are incomplete or not finite.
    """
    entry = find_model(name)
    check_input_size(entry, input_size)
    if entry.name == UNTRAINED:
        return _untrained(entry, input_size, weights, positions)
    source = _source(name, entry, weights)
    file = read_weights(source)
    arranged = arrange(source, file.tensors)
    _check_architecture(source, entry, arranged.tensors)
    side = _native_side(source, entry, arranged.tensors)
    options = options_in(entry, arranged.tensors)
    # Without memory: a file must not make us allocate more than it holds.
    outline = build_outline(entry, side, **options)
    fitted = _convert(source, entry, arranged, outline)
    _check_fit(source, entry, fitted, outline, arranged)
    module = _with_memory(outline) or build_transformer(entry, side, **options)
    module.load_state_dict(fitted)
    return _finish(module, entry, tensors_sha256(fitted), input_size, positions=positions, part=file.part)


def _with_memory(outline: nn.Module) -> nn.Module | None:
    """Give memory to a module whose tensors are all about to be loaded. Drawing random ones takes longer than that.

    Return None if it has tensors that are computed and not loaded, such as rotary embeddings.
    """
    if {name for name, _ in outline.named_buffers()} - outline.state_dict().keys():
        return None
    return outline.to_empty(device="cpu")


def _untrained(
    entry: ModelEntry, input_size: tuple[int, int], weights: Path | None, positions: PositionRule
) -> Transformer:
    if weights is not None:
        raise UsageError(f"{entry.name} takes no weights file ({weights}): its weights are random. Omit --weights.")
    module = build_transformer(entry, _DEFAULT_SIDE)
    tensors = untrained_tensors(module)
    module.load_state_dict(tensors)
    return _finish(module, entry, tensors_sha256(tensors), input_size, positions=positions)


def _source(name: str, entry: ModelEntry, weights: Path | None) -> Path:
    """Return the file to read."""
    if weights is not None:
        if entry.file == name:
            raise UsageError(f"{name}: holds weights itself. Give it or --weights {weights}, not both.")
        return weights
    if entry.file:
        return Path(entry.file)
    if entry.url:
        return hub_file(entry)
    listed = entry.source.partition(". timm has weights: ")[2]
    raise WeightsError(
        f"{name}: is an architecture and has no weights of its own. Pass the file that `pipeline pretrain` wrote "
        f"with `--weights FILE`{f', or name weights that timm has: {listed}' if listed else ''}."
    )


def _check_architecture(source: Path, entry: ModelEntry, tensors: Mapping[str, Tensor]) -> None:
    """Refuse another model's weights by their shapes. Without this, timm would resample patches of another size."""
    kernel = tensors.get("patch_embed.proj.weight")
    if kernel is None or kernel.ndim != 4:  # noqa: PLR2004 - (dim, channels, rows, columns) of a convolution
        shown = _some(sorted(tensors))
        raise WeightsError(
            f"{source}: these are not the weights of a ViT. patch_embed.proj.weight is missing; there is {shown}. "
            f"Pass {entry.url or 'a file of this model'}."
        )
    dim, rows, patch = kernel.shape[0], *kernel.shape[2:]
    if rows != patch:
        raise WeightsError(
            f"{source}: patch_embed.proj.weight is for patches of {rows}x{patch} pixels. Pass weights for squares."
        )
    blocks = [int(found[1]) for found in map(_BLOCK.match, tensors) if found]
    depth = 1 + max(blocks, default=-1)
    if (dim, patch, depth) == (entry.dim, entry.patch, entry.depth):
        _check_heads(source, entry)
        return
    fitting = [other.name for other in MODELS.values() if (other.dim, other.patch, other.depth) == (dim, patch, depth)]
    remedy = f"Ask for {' or '.join(fitting)}" if fitting else f"Pass {entry.url or 'a file of this model'}"
    raise WeightsError(
        f"{source}: the file looks like a {_architecture(dim, patch)} of {depth} blocks, not {entry.name} "
        f"({_architecture(entry.dim, entry.patch)}, {entry.depth} blocks). {remedy}."
    )


def _check_heads(source: Path, entry: ModelEntry) -> None:
    """Compare the number of heads with that of the card or of `config.json`. The tensors' shapes do not show it."""
    folder = source if source.is_dir() else source.parent
    if (source.is_dir() or source.name in HUB_FILES) and (folder / CONFIG).is_file():
        described = find_model(str(folder))
        if described.heads != entry.heads:
            raise WeightsError(
                f"{source}: has {described.heads} heads by its {CONFIG}; {entry.name} has {entry.heads}. "
                f"Name the folder as the model: `--model {folder}`."
            )
    card = read_card(source)
    if card is not None and card.heads != entry.heads:
        raise WeightsError(
            f"{source}: was trained with {card.heads} heads as {card.arch}; {entry.name} has {entry.heads}. "
            f"Ask for {card.arch}."
        )


def _architecture(dim: int, patch: int) -> str:
    return f"ViT-{_WIDTHS.get(dim, f'width-{dim}')}/{patch}"


def _native_side(source: Path, entry: ModelEntry, tensors: Mapping[str, Tensor]) -> int:
    """Return the side in pixels of the images that the file's position embeddings are for."""
    embedding = tensors.get("pos_embed")
    if embedding is None or embedding.ndim != 3:  # noqa: PLR2004 - (1, tokens, dim)
        return _DEFAULT_SIDE - _DEFAULT_SIDE % entry.patch
    count = embedding.shape[1]
    registers = tensors.get("reg_token")  # (1, tokens, dim)
    if registers is not None and registers.ndim == embedding.ndim and math.isqrt(count) ** 2 != count:
        count -= registers.shape[1]  # some models give registers positions too
    side = math.isqrt(max(count, 0))
    if side < 1 or side * side not in (count, count - 1):  # with or without one for the CLS token
        raise WeightsError(
            f"{source}: {count} position embeddings are not those of a square image. "
            "Pass weights that were trained on square images."
        )
    return side * entry.patch


def _convert(source: Path, entry: ModelEntry, arranged: Arranged, module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under timm's names. The conversion function is in the module of the model's class."""
    tensors = arranged.tensors
    convert = sys.modules[type(module).__module__].checkpoint_filter_fn
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the DINOv3 conversion prints
            converted: dict[str, Tensor] = convert(dict(tensors), module)
    except Exception:  # noqa: BLE001 - tensors of unusual names and shapes raise many kinds of exceptions in timm
        raise WeightsError(
            f"{source}: the names and shapes of its tensors are not those of {entry.name} or its publisher. There is "
            f"{_some(sorted(map(arranged.in_file, tensors)))}. Pass {entry.url or 'a file of this model'}."
        ) from None
    for name, bias in tensors.items():
        # timm drops DINOv3's query and value biases because they are zero in the published models. In another file
        # they may differ from zero, and then the attention would be wrong. The key's bias is not checked, because the
        # authors' own code masks it out.
        if name.endswith("attn.qkv.bias") and bias.ndim and _dropped(name, converted):
            width = bias.shape[0] // 3
            if bias[:width].any() or bias[2 * width :].any():
                theirs = arranged.in_file(name)
                raise WeightsError(
                    f"{source}: {theirs} is not zero, but {entry.name} has no such bias. {_with_bias(entry)}"
                )
    return converted


def _with_bias(entry: ModelEntry) -> str:
    """Return which architecture of timm has the biases that the published DINOv3 models lack."""
    name = f"{entry.timm_id.partition('.')[0]}_qkvb"
    return f"Use --model {name} with --weights." if is_timm_name(name) else "Not supported."


def _dropped(name: str, converted: Mapping[str, Tensor]) -> bool:
    return name not in converted and name.replace("qkv.bias", "q_bias") not in converted


def _check_fit(
    source: Path, entry: ModelEntry, tensors: Mapping[str, Tensor], module: nn.Module, arranged: Arranged
) -> None:
    """Compare the tensors with those of the model. Messages have the names of the file."""
    expected: dict[str, Any] = module.state_dict()
    missing = sorted({arranged.in_file(name) for name in expected.keys() - tensors.keys()})
    unexpected = sorted({arranged.in_file(name) for name in tensors.keys() - expected.keys()})
    other_shape = [
        f"{arranged.in_file(name)} {tuple(tensors[name].shape)} in place of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].shape != expected[name].shape
    ]
    found = (("missing", missing), ("not of this model", unexpected), ("of another shape", other_shape))
    complaints = [f"{what}: {_some(names)}" for what, names in found if names]
    if complaints:
        raise WeightsError(
            f"{source}: does not fit {entry.name}; {'; '.join(complaints)}. "
            f"Pass {entry.url or 'a file of this model'}, or ask for the model the file was made for."
        )
    require_finite(source, {arranged.in_file(name): tensor for name, tensor in tensors.items()})


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(map(quoted, names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def _finish(
    module: Any,
    entry: ModelEntry,
    weights_sha256: str,
    input_size: tuple[int, int],
    *,
    positions: PositionRule = "timm",
    part: str = "",
) -> Transformer:
    """Try the module if it is not in our table, resample its position embeddings to the input size, and freeze it."""
    module.eval().requires_grad_(requires_grad=False)
    if entry.timm_id and entry.name not in MODELS:
        require_full_attention(module, entry.name)
    done = fit_positions(module, entry, input_size, positions)
    module.requires_grad_(requires_grad=False)
    return Transformer(module, entry, weights_sha256, done, part)
