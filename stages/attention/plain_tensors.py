"""Refuse tensors that cannot be the weights of a transformer by their kind: their type, layout, device or extent.

| kind | why it is refused |
|---|---|
| integers, bool, quantised, 8-bit floats | rounded values; a copy into float32 would pass silently |
| complex | the imaginary part would be dropped |
| sparse, nested | other memory layouts, which the transformer does not take |
| meta | has a shape and no values |
| a view that repeats its values | a few bytes can claim a shape of terabytes |
| NaN, infinity, or beyond float32 | the attention would be NaN |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stages.attention.foreign_text import quoted
from stages.errors import WeightsError

__all__ = ["require_finite", "require_plain", "require_plain_header"]

_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.float64})
_HEADER_DTYPES = frozenset({"F32", "F16", "BF16", "F64"})
"""The same types as the header of a `.safetensors` file names them."""
_REMEDY = "Pass the weights as published, in float32, float16 or bfloat16."


def require_plain(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check the kind of tensors, without reading their values.

    Args:
        path: file that the tensors come from, for the message.
        tensors: tensors by name.

    Raises:
        WeightsError: the message names the tensor and its kind.
    """
    for name, tensor in tensors.items():
        if (kind := _kind(tensor)) is not None:
            raise WeightsError(f"{path}: the tensor {quoted(name)} {kind}. {_REMEDY}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{path}: the tensor {quoted(name)} of shape {tuple(tensor.shape)} is a view that repeats its "
                f"{tensor.untyped_storage().nbytes():,} bytes. Save it again with `.contiguous()`."
            )


def require_plain_header(path: Path, dtypes: Mapping[str, str]) -> None:
    """Check the types that the header of a `.safetensors` file gives to its tensors.

    Args:
        path: the file, for the message.
        dtypes: types by the names of the tensors, as in the header: `F32`, `I8` and so on.

    Raises:
        WeightsError: the message names the tensor and its type.
    """
    for name, dtype in dtypes.items():
        if dtype not in _HEADER_DTYPES:
            raise WeightsError(
                f"{path}: the tensor {quoted(name)} is of type {quoted(dtype)}, not of floating point with 16 bits or "
                f"more. {_REMEDY}"
            )


def require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that all values are finite in float32, the type in which the transformer is built.

    Raises:
        WeightsError: the message names the tensor.
    """
    for name, tensor in tensors.items():
        if torch.isfinite(tensor.to(torch.float32)).all():
            continue
        beyond = bool(torch.isfinite(tensor).all())
        what = "values that are too large for float32" if beyond else "NaN or infinity"
        raise WeightsError(f"{path}: {quoted(name)} holds {what}. Download the file again.")


def _kind(tensor: Tensor) -> str | None:
    """Describe what a tensor is if it is of no kind that a transformer takes; None if it is plain."""
    if tensor.is_quantized:
        return f"is quantised ({_short(tensor.dtype)}); rounded weights give other attention"
    if tensor.is_nested or tensor.layout != torch.strided:
        return f"is not dense ({_short(tensor.layout)})"
    if tensor.dtype not in _DTYPES:
        return f"is of type {_short(tensor.dtype)}, not of floating point with 16 bits or more"
    if tensor.device.type == "meta":
        return "has a shape and no values (device meta)"
    return None


def _short(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")
