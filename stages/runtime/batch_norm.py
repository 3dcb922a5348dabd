"""Normalise over the batch of all processes.

Batch normalisation of a share of the batch would make the result depend on the number of processes. Here mean and
variance are those of the whole batch, and gradients flow through them to the items of every process. A process without
items takes part with none. `torch.nn.SyncBatchNorm` does the same on CUDA only; this module works on every device, so
what the tests run on a CPU is what runs on GPUs.

With x of one channel, n its number of values over all processes, y = (x - mean) / sqrt(var + eps) and g the gradient of
the result (Ioffe & Szegedy 2015):

    result          weight * y + bias
    gradient of x   weight / sqrt(var + eps) * (g - sum(g) / n - y * sum(g * y) / n)

where the sums are over all processes. Running statistics are updated as by torch, with the unbiased variance.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn
from torch.autograd import Function

from stages.runtime.collectives import sum_over_processes

__all__ = ["JointBatchNorm", "normalise_jointly"]

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class JointBatchNorm(nn.Module):
    """Batch normalisation of (item, channel, ...) over the items of all processes.

    It takes parameters and buffers over, under the same names, from the layer whose place it takes. In evaluation mode
    it uses the running statistics and exchanges nothing; a layer without them always uses those of the batch.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum or 0.0
        self._tracks = norm.track_running_stats
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, entering: Tensor) -> Tensor:
        """Return the normalised values in the shape of `entering`."""
        if self._tracks and not self.training:
            return F.batch_norm(entering, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        count, mean, variance = _moments(entering.detach())
        if self._tracks:
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1).clamp_min(1), self.momentum)
        normalised: Tensor = _Normalise.apply(entering, self.weight, self.bias, count, mean, variance, self.eps)
        return normalised


def normalise_jointly(network: nn.Module) -> None:
    """Replace every batch normalisation in a network by one over the items of all processes."""
    for name, module in network.named_children():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(network, name, JointBatchNorm(module).train(module.training))
        else:
            normalise_jointly(module)


class _Normalise(Function):
    @staticmethod
    def forward(
        ctx: Any,
        entering: Tensor,
        weight: Tensor,
        bias: Tensor,
        count: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(entering, weight, count, mean, variance)
        ctx.eps = eps
        return F.batch_norm(entering, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        entering, weight, count, mean, variance = ctx.saved_tensors
        if len(entering):
            # With fixed statistics: weight / sqrt(var + eps) * g, sum(g * y), sum(g); the sums are of this process.
            through, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                gradients[0].contiguous(memory_format=_layout(entering)),
                entering, weight, mean, variance, None, None, train=False, eps=ctx.eps, output_mask=[True, True, True],
            )  # fmt: skip
        else:  # torch 2.15 divides by zero there, which ends the process
            through, of_weight, of_bias = gradients[0], torch.zeros_like(weight), torch.zeros_like(weight)
        sums = sum_over_processes(torch.stack([of_bias, of_weight]).double()) / count
        scale = (variance.double() + ctx.eps).rsqrt()
        slope, level = -weight * scale * scale * sums[1], -weight * scale * sums[0]
        slope, level, middle = (_per_channel(one.float(), entering) for one in (slope, level, mean))
        shared = (entering - middle).mul_(slope).add_(level)
        return (through + shared.to(through.dtype), of_weight, of_bias, *[None] * 4)


def _moments(entering: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the number of values of a channel, () float32, and their mean and variance, (channel,) float32."""
    channels = entering.shape[1]
    number = entering.numel() // channels
    if number:
        values = entering.float()
        variance, mean = torch.var_mean(values, dim=[0, *range(2, entering.ndim)], correction=0)
    else:
        variance = mean = torch.zeros(channels, device=entering.device)
    mean, variance = mean.double(), variance.double()
    own = torch.stack([torch.full_like(mean, number), mean * number, (variance + mean * mean) * number])
    count, first, second = sum_over_processes(own)
    mean = first / count
    return count[0].float(), mean.float(), (second / count - mean * mean).clamp_min(0).float()


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Return (channel,) in a shape that fits (item, channel, ...)."""
    return values.view(1, -1, *[1] * (like.ndim - 2))


def _layout(values: Tensor) -> torch.memory_format:
    """Return the order of the axes in memory: channels last where the values are so."""
    last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004 - images
    return torch.channels_last if last else torch.contiguous_format
