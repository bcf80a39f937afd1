"""Batch normalisation over a batch whose rows lie in several processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.distributed import group as distributed


class GlobalBatchNorm(TorchFunctionMode):
    """Inside, batch norm in training uses the mean and variance of the whole batch, as one process would.

    It takes the place of `torch.nn.functional.batch_norm`, so that models need no other layers. Layers in
    evaluation mode, and all other functions, are as ever.

    Attributes:
        counts: whether the rows of this process belong to the batch (else they only keep step).
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        out, mean, var, total = _Normalise.apply(input, weight, bias, eps, self.counts)
        if input.numel() // input.shape[1] < 2 and total < 2:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}"
            )
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.mul_(1 - momentum).add_(momentum * mean.to(running_mean.dtype))
                unbiased = var * (total / (total - 1))
                running_var.mul_(1 - momentum).add_(momentum * unbiased.to(running_var.dtype))
        return out


class _Normalise(torch.autograd.Function):
    """`(x - mean) / sqrt(var + eps) * weight + bias` with moments over the rows of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, counts: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        wide = x if x.dtype == torch.float64 else x.float()
        local_mean = wide.mean(dims)
        squares = (wide - _spread(local_mean, x)).square().sum(dims)
        own = float(x.numel() // max(1, x.shape[1])) if counts else 0.0
        parts = distributed.all_gather(torch.cat([local_mean, squares, local_mean.new_full((1,), own)]))
        means, moments = zip(*(part[:-1].chunk(2) for part in parts), strict=True)
        numbers = torch.stack([part[-1] for part in parts])[:, None]
        total = numbers.sum()
        shares = numbers / total
        centres = torch.stack(means)
        # moments of the parts become those of the whole (Chan, Golub & LeVeque 1979)
        mean = (shares * centres).sum(0)
        real = (numbers > 0).to(shares.dtype)
        var = (real * torch.stack(moments)).sum(0) / total
        var = var + (shares * (centres - mean).square()).sum(0)
        scale = (var + eps).rsqrt()
        out = (wide - _spread(mean, x)) * _spread(scale, x)
        if weight is not None:
            out = out * _spread(weight, x)
        if bias is not None:
            out = out + _spread(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, total)
        ctx.dims, ctx.counts, ctx.with_bias = dims, counts, bias is not None
        ctx.mark_non_differentiable(mean, var, total)
        return out.to(x.dtype), mean, var, total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, total = ctx.saved_tensors
        slope = grads[0].to(mean.dtype)
        normed = (x.to(mean.dtype) - _spread(mean, x)) * _spread(scale, x)
        own = slope.sum(ctx.dims), (slope * normed).sum(ctx.dims)
        grad_weight = None if weight is None else own[1].to(weight.dtype)
        grad_bias = own[0].to(x.dtype if weight is None else weight.dtype) if ctx.with_bias else None
        along, across = (distributed.all_reduce_sum(torch.cat(own)) / total).chunk(2)
        if ctx.counts:
            slope = slope - _spread(along, x) - normed * _spread(across, x)
        factor = scale if weight is None else scale * weight
        return (slope * _spread(factor, x)).to(x.dtype), grad_weight, grad_bias, None, None


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel, in the shape of `x`."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
