"""Read what a folder of the model hub says of its weights, as `hf download` writes it: `--model FOLDER`.

    config.json                  architecture: of timm's layout, or of Hugging Face transformers
    preprocessor_config.json     transformers' mean and deviation of the images
    README.md                    licence, in the lines between `---` at its start
    model.safetensors, pytorch_model.bin, or several files with an index; see `stages.attention.folder_files`

timm's layout (UNI, UNI2, Virchow, H-optimus, Prov-GigaPath) names an architecture of timm and the arguments that
differ. transformers' layout (Phikon, DINO, DINOv2, DINOv3) gives the sizes, from which the architecture of timm is
found. Nothing of the folder is executed. An argument that this program does not know is refused, because the attention
may depend on it. The result is the name of a model, such as `vit_giant_patch14_dinov2:patch_size=16`; the recipe holds
it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.attention.foreign_text import quoted
from stages.attention.options import OPTIONS, in_name, value_problem
from stages.errors import WeightsError
from store.disk.regular import MIB, read_limited

__all__ = ["CONFIG", "PREPROCESSOR", "README", "HubFolder", "licence_in", "read_folder"]

CONFIG = "config.json"
README = "README.md"
PREPROCESSOR = "preprocessor_config.json"
_LARGEST = 4 * MIB
_CHANNELS = 3
_WITHOUT_EFFECT = frozenset(
    {
        "img_size", "num_classes", "dynamic_img_size", "dynamic_img_pad", "drop_rate", "pos_drop_rate",
        "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init", "fix_init",
        "num_features", "strict_img_size", "features_only", "pretrained", "scriptable", "exportable",
    }
)  # fmt: skip
"""Arguments of timm that change nothing of the attention, or that the tensors themselves show."""
_LICENCE = re.compile(r"^(license|license_name|license_link)[ \t]*:[ \t]*['\"]?([^'\"\r\n#]{1,300})", re.MULTILINE)
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class HubFolder:
    """Hold what the files beside the weights say."""

    name: str
    """Architecture of timm with options, as `stages.attention.options` writes it."""
    licence: str
    """As the folder states it, such as `cc-by-nc-4.0`; "" if it does not."""
    mean: tuple[float, ...] | None
    """Of red, green and blue in [0, 1]; None if the folder does not say it."""
    std: tuple[float, ...] | None


def read_folder(folder: Path) -> HubFolder:
    """Read the description of the weights in a folder.

    Raises:
        WeightsError: there is no `config.json`, it cannot be read, or it describes a network that is not supported.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise WeightsError(
            f"{folder}: has no {CONFIG}, so the architecture is not known. Name it with --model and pass the folder or "
            "the file with --weights."
        )
    config = _json(path)
    if isinstance(config.get("architecture"), str):
        return _of_timm(path, config, licence_in(folder))
    if isinstance(config.get("model_type"), str):
        return _of_transformers(path, config, licence_in(folder))
    raise WeightsError(
        f"{path}: names neither an `architecture` of timm nor a `model_type` of transformers. Name the model with "
        "--model and pass the weights file with --weights."
    )


def licence_in(folder: Path) -> str:
    """Return the licence that the README of a folder states at its start; "" if there is none."""
    try:
        text = read_limited(folder / README, limit=_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
    front = _FRONT.match(text)
    found: dict[str, str] = {}
    if front is not None:
        found = {match[1]: match[2].strip() for match in _LICENCE.finditer(front[1])}
    if found.get("license", "other") != "other":
        return found["license"]
    return ", ".join(filter(None, [found.get("license_name"), found.get("license_link")]))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_limited(path, limit=_LARGEST))
    except (OSError, ValueError, RecursionError):
        raise WeightsError(f"{path}: cannot be read as JSON. Download the folder again.") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: is no description of a model. Download the folder again.")
    return found


def _of_timm(path: Path, config: Mapping[str, Any], licence: str) -> HubFolder:
    described = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    if not isinstance(described, dict) or not isinstance(arguments, dict):
        raise WeightsError(f"{path}: `pretrained_cfg` or `model_args` is no object. Download the folder again.")
    pooling = arguments.get("global_pool", config.get("global_pool", described.get("global_pool")))
    if pooling not in (None, "", "token"):
        raise WeightsError(
            f"{path}: the model pools the patches ({quoted(str(pooling))}), so its CLS token was not trained to look "
            "at the image. Use another model."
        )
    options: dict[str, Any] = {}
    for key, value in arguments.items():
        if value is None or key in _WITHOUT_EFFECT or key == "global_pool":
            continue
        if (key == "in_chans" and value == _CHANNELS) or (key == "class_token" and value is True):
            continue
        options[key] = _known(path, "model_args", key, value)
    options.pop("init_values", None)  # the tensors show it
    stated = licence or str(described.get("license") or "")
    architecture = config["architecture"].partition(".")[0]
    if re.fullmatch("[a-z0-9_]+", architecture) is None:
        raise WeightsError(
            f"{path}: {quoted(repr(architecture))} is no architecture of timm. Download the folder again."
        )
    return HubFolder(
        in_name(architecture, options), stated, *_colours(path, described.get("mean"), described.get("std"))
    )


def _known(path: Path, where: str, key: str, value: Any) -> Any:
    """Return the value of an argument.

    Raises:
        WeightsError: it is not known, or has no possible value.
    """
    if key not in OPTIONS:
        raise WeightsError(
            f"{path}: {where} has {quoted(f'{key} = {value!r}')}, and the attention of such a model is not known to "
            "this program. Use another model."
        )
    if OPTIONS[key][0] is int and isinstance(value, list | tuple) and len(set(map(str, value))) == 1:
        value = value[0]  # a square patch
    if problem := value_problem(key, value):
        raise WeightsError(f"{path}: {where}: {problem}, not {quoted(repr(value))}. Download the folder again.")
    return OPTIONS[key][0](value)


_BASE = 768
_PATCH = {"vit": 16, "dinov2": 14, "dinov2_with_registers": 14, "dinov3_vit": 16}
_ARCHITECTURES: dict[str, dict[int, tuple[str, int, int]]] = {
    "vit": {
        192: ("vit_tiny_patch16_224", 12, 3),
        384: ("vit_small_patch16_224", 12, 6),
        _BASE: ("vit_base_patch16_224", 12, 12),
        1024: ("vit_large_patch16_224", 24, 16),
    },
    "dinov2": {
        384: ("vit_small_patch14_dinov2", 12, 6),
        _BASE: ("vit_base_patch14_dinov2", 12, 12),
        1024: ("vit_large_patch14_dinov2", 24, 16),
        1536: ("vit_giant_patch14_dinov2", 40, 24),
    },
    "dinov2_with_registers": {
        384: ("vit_small_patch14_reg4_dinov2", 12, 6),
        _BASE: ("vit_base_patch14_reg4_dinov2", 12, 12),
        1024: ("vit_large_patch14_reg4_dinov2", 24, 16),
        1536: ("vit_giant_patch14_reg4_dinov2", 40, 24),
    },
    "dinov3_vit": {
        384: ("vit_small_patch16_dinov3", 12, 6),
        _BASE: ("vit_base_patch16_dinov3", 12, 12),
        1024: ("vit_large_patch16_dinov3", 24, 16),
        1280: ("vit_huge_plus_patch16_dinov3", 32, 20),
        4096: ("vit_7b_patch16_dinov3", 40, 32),
    },
}
"""Architecture of timm with its blocks and heads, by transformers' `model_type` and the width of a token."""
_GATED = {"vit_small_patch16_dinov3": "vit_small_plus_patch16_dinov3"}
"""Architecture with a gated MLP in place of the plain one, where timm has both."""
_WITH_SMALL_PATCHES = ("vit_small_patch8_224", "vit_base_patch8_224")
_LARGEST_EPSILON = 1e-5
"""Largest epsilon of a layer norm that changes no map visibly: timm has 1e-6, and 1e-5 for DINOv3."""


def _of_transformers(path: Path, config: Mapping[str, Any], licence: str) -> HubFolder:
    kind = str(config["model_type"])
    if kind not in _ARCHITECTURES:
        raise WeightsError(f"{path}: model_type {quoted(kind)} is not supported. Known: {', '.join(_ARCHITECTURES)}.")
    names = {
        "embed_dim": "hidden_size", "depth": "num_hidden_layers", "num_heads": "num_attention_heads",
        "patch_size": "patch_size",
    }  # fmt: skip
    absent = [theirs for theirs in names.values() if theirs not in config]
    if absent:
        raise WeightsError(f"{path}: has no {', '.join(absent)}. Download the folder again.")
    _require_usual(path, kind, config)
    wanted = {ours: _known(path, kind, ours, config[theirs]) for ours, theirs in names.items()}
    if config.get("num_channels", _CHANNELS) != _CHANNELS:
        raise WeightsError(
            f"{path}: takes images of {quoted(str(config['num_channels']))} channels, not of 3. Use another model."
        )
    architecture, usual = _nearest(kind, wanted, gated=config.get("use_gated_mlp") is True)
    hidden = config.get("intermediate_size") if kind in {"vit", "dinov3_vit"} else None
    options = {key: value for key, value in wanted.items() if usual.get(key) != value}
    if isinstance(hidden, int) and kind == "vit" and hidden != 4 * wanted["embed_dim"]:
        options["mlp_ratio"] = hidden / wanted["embed_dim"]
    if kind == "vit" and config.get("qkv_bias") is False:
        options["qkv_bias"] = False
    if kind == "dinov2_with_registers" and config.get("num_register_tokens", 4) != 4:  # noqa: PLR2004 - as `reg4` says
        options["reg_tokens"] = _known(path, kind, "reg_tokens", config["num_register_tokens"])
    colours = _json(path.with_name(PREPROCESSOR)) if path.with_name(PREPROCESSOR).is_file() else {}
    mean, std = _colours(path.with_name(PREPROCESSOR), colours.get("image_mean"), colours.get("image_std"))
    return HubFolder(in_name(architecture, options), licence, mean, std)


def _require_usual(path: Path, kind: str, config: Mapping[str, Any]) -> None:
    """Refuse what timm computes in one way only: another activation, or other rotary frequencies, give other maps.

    Raises:
        WeightsError: the network computes otherwise.
    """
    gated_v3 = kind == "dinov3_vit" and config.get("use_gated_mlp") is True
    usual: dict[str, Any] = {"hidden_act": "silu" if gated_v3 else "gelu"}
    if kind == "dinov3_vit":
        usual["rope_theta"] = 100.0
    for key, value in usual.items():
        found = config.get(key, value)
        if found != value:
            raise WeightsError(
                f"{path}: {key} is {quoted(str(found))}. Only {value} is supported: with another value the attention "
                "would not be that of these weights."
            )
    epsilon = config.get("layer_norm_eps", 0)
    if not isinstance(epsilon, int | float) or not 0 <= epsilon <= _LARGEST_EPSILON:
        raise WeightsError(
            f"{path}: layer_norm_eps is {quoted(str(epsilon))}. At most {_LARGEST_EPSILON:g} is supported: with a "
            "larger value the attention would not be that of these weights."
        )


def _nearest(kind: str, wanted: Mapping[str, int], *, gated: bool) -> tuple[str, dict[str, int]]:
    """Return the architecture of timm of the same width, else the base one, and the sizes that it has by itself."""
    known = _ARCHITECTURES[kind]
    width = wanted["embed_dim"] if wanted["embed_dim"] in known else _BASE
    name, depth, heads = known[width]
    usual = {"embed_dim": width, "depth": depth, "num_heads": heads, "patch_size": _PATCH[kind]}
    if gated:
        name = _GATED.get(name, name)
    small = name.replace("patch16", "patch8")
    if kind == "vit" and wanted["patch_size"] == 8 and small in _WITH_SMALL_PATCHES:  # noqa: PLR2004 - DINO's patches
        name, usual["patch_size"] = small, 8
    return name, usual


def _colours(path: Path, mean: Any, std: Any) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and deviation; None for both if the file has none.

    Raises:
        WeightsError: they are no three numbers, or a deviation is not positive.
    """
    if mean is None or std is None:
        return None, None
    sound = all(
        isinstance(values, list)
        and len(values) == _CHANNELS
        and all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= 255 for one in values)  # noqa: PLR2004 - of 8 bits
        for values in (mean, std)
    )
    if not sound or min(std) <= 0:
        raise WeightsError(
            f"{path}: mean and deviation are not three possible numbers each. Download the folder again."
        )
    return tuple(map(float, mean)), tuple(map(float, std))
