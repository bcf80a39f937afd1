"""AdamW for weights that know something already: no step is larger than a share of what it changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LEAST = 0.01

SHARE = 0.3
"""With it the published rates of SGD for pretrained bodies, [1e-4, 1e-3, 1e-2], change a body about as much
as SGD does; chosen on one half of the training photos of cats and dogs (96 pixels, 1,000 of them)."""


class RelativeAdamW(torch.optim.AdamW):
    """AdamW whose steps are in units of the size of each weight tensor, where that is below 1.

    Adam moves every weight by about the rate, however large the weights are. Those of a trained convolution
    are often 0.01 to 0.1 in size, so that a rate of 1e-3 carries its outputs away in some ten steps; the
    first ones are the worst, when the averages know a single gradient. Here the step of a tensor is
    multiplied by `share` times its root mean square (that at least 0.01, together at most 1), as Adafactor
    scales its steps (Shazeer & Stern 2018, section 8). That goes for scales and biases of normalisation, too:
    they reach the same outputs.

    Args:
        params: as of `torch.optim.AdamW`; groups may have a `share` of their own, with None they take the
            steps of AdamW.
        lr: times `share` it is about the part of a tensor that changes in a step.
        betas: of the averages.
        eps: added to the root of the second one.
        weight_decay: decoupled; made smaller with the steps.
        share: for groups that do not say.
        fused: see `torch.optim.AdamW`.
        options: others of `torch.optim.AdamW`.

    Example:
        >>> weight = torch.nn.Parameter(torch.full((2, 2), 0.1))
        >>> opt = RelativeAdamW([weight], lr=0.1, weight_decay=0.0, share=1.0)
        >>> weight.grad = torch.ones(2, 2)
        >>> opt.step()
        >>> round(weight[0, 0].item(), 4)
        0.09
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        share: float = SHARE,
        fused: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=fused, **options)
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.defaults["share"] = share
        for group in self.param_groups:
            group.setdefault("share", share)
        self._hook()

    def _hook(self) -> None:
        self._before: list[tuple[float, list[Tensor], list[Tensor]]] = []
        self.register_step_pre_hook(_remember)
        self.register_step_post_hook(_shorten)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a state of AdamW says nothing of them
            group.setdefault("share", self.defaults["share"])
        if "_before" not in self.__dict__:  # a copy; torch leaves hooks behind
            self._hook()


@torch.no_grad()
def _remember(opt: RelativeAdamW, *_: Any) -> None:
    """Keep the weights before a step."""
    for group in opt.param_groups:
        params = [param for param in group["params"] if param.grad is not None]
        if params and group["share"] is not None:
            opt._before.append((group["share"], params, [param.clone() for param in params]))


@torch.no_grad()
def _shorten(opt: RelativeAdamW, *_: Any) -> None:
    """Go the share of each step that the size of its tensor allows."""
    for share, params, before in opt._before:
        for param, old, norm in zip(params, before, torch._foreach_norm(before), strict=True):
            size = (norm / old.numel() ** 0.5).clamp_min(_LEAST)
            param.copy_(old.lerp(param, (share * size).clamp_max(1.0)))
    opt._before.clear()
