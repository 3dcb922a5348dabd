"""Check that tensors hold numbers, before a training saves or publishes them.

A loss is computed before its step of the optimiser. So a finite loss says nothing about the weights after that step,
and after the last step of a run no further loss is computed. Therefore weights and moments are checked themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stages.errors import PipelineError

__all__ = ["first_not_finite", "named_moments", "require_finite", "require_same_tensors"]


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity; None if all are finite.

    Args:
        tensors: By name, of any types. All floating-point ones are on one device, which is waited for once.
    """
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    if not floating:
        return None
    finite = torch.stack([tensor.isfinite().all() for tensor in floating.values()]).tolist()
    return next((name for name, sound in zip(floating, finite, strict=True) if not sound), None)


def require_finite(tensors: Mapping[str, Tensor], when: str) -> None:
    """Make sure that the weights and moments of a training are numbers.

    Args:
        tensors: by the name that a message gives them.
        when: the epoch or step after which they are checked, for the message.

    Raises:
        PipelineError: one holds NaN or infinity.
    """
    name = first_not_finite(tensors)
    if name is not None:
        raise PipelineError(
            f"{when}: `{name}` holds NaN or infinity; nothing was published.\n"
            "  Train with a lower --lr or --weight-decay, or with --precision float32."
        )


def named_moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the running moments that an optimiser keeps of every parameter, by a name for messages."""
    return {
        f"{slot} of parameter {number}": tensor
        for number, slots in enumerate(optimizer.state.values())
        for slot, tensor in slots.items()
        if isinstance(tensor, Tensor) and tensor.ndim  # the count of steps is a scalar on another device
    }


def require_same_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Make sure that tensors from a file can be the tensors of a module, without any conversion.

    Raises:
        ValueError: A name is missing or unknown, or a shape or a type differs; the message says which.
    """
    for complaint in _complaints(tensors, expected):
        raise ValueError(complaint)


def _complaints(tensors: Mapping[str, Any], expected: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(expected.keys() - tensors.keys()):
        yield f"`{name}` is missing"
    for name in sorted(tensors.keys() - expected.keys()):
        yield f"`{name}` is unknown"
    for name, wanted in expected.items():
        found = tensors.get(name)
        if found is None:
            continue
        if found.shape != wanted.shape:
            yield f"`{name}` has shape {tuple(found.shape)} in place of {tuple(wanted.shape)}"
        if found.dtype != wanted.dtype:
            yield f"`{name}` has type {found.dtype} in place of {wanted.dtype}".replace("torch.", "")
