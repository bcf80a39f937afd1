"""AdamW for weights that know something already: no step is larger than a share of what it changes."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from zoo.engine.closures import evaluate_first

_Before: TypeAlias = tuple[float, list[Tensor], list[Tensor], Sequence[Tensor]]
"""Of a group: its share, its weights, these after the decay, and their norms."""

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
    they reach the same outputs. Weight decay is that of AdamW, `1 - lr * weight_decay` a step, whatever the
    share: it is no step of the gradient, and would hardly reach small weights.

    Args:
        params: as of `torch.optim.AdamW`; groups may have a `share` of their own, with None they take the
            steps of AdamW.
        lr: times `share` it is about the part of a tensor that changes in a step.
        betas: of the averages.
        eps: added to the root of the second one.
        weight_decay: decoupled.
        share: for groups that do not say; above 0 and at most 1, or None for steps of AdamW. A learner gives
            new layers None, unless their group says otherwise.
        fused: see `torch.optim.AdamW`.
        options: others of `torch.optim.AdamW`.

    Raises:
        TypeError: a share that is no number.
        ValueError: one outside of its range.

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
        share: float | None = SHARE,
        fused: bool | None = None,
        **options: Any,
    ) -> None:
        self._share = checked_share(share)
        super().__init__(params, lr, betas, eps, weight_decay, fused=fused, **options)
        self.defaults["share"] = self._share
        self._hook()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if isinstance(param_group, dict):
            param_group = {**param_group, "share_given": "share" in param_group}
            checked_share(param_group.setdefault("share", self._share))
        super().add_param_group(param_group)

    def has_own_share(self, param_group: dict[str, Any]) -> bool:
        """Whether somebody chose the share of this group, instead of that of groups that do not say."""
        return bool(param_group.get("share_given")) or param_group["share"] != self.defaults["share"]

    def _hook(self) -> None:
        self._before: list[_Before] = []
        self.register_step_pre_hook(_remember)
        self.register_step_post_hook(_shorten)

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__.get("param_groups", ())
        super().__setstate__(state)
        for number, group in enumerate(self.param_groups):  # a state of AdamW says nothing of them
            before = own[number] if number < len(own) else {}
            if "share" not in group:
                group["share"] = before.get("share", self.defaults["share"])
                group["share_given"] = before.get("share_given", False)
        self._share = self.defaults["share"]
        if "_before" not in self.__dict__:  # a copy; torch leaves hooks behind
            self._hook()


def checked_share(share: Any) -> float | None:
    """A share of a tensor's size, as it is.

    Raises:
        TypeError: it is no number.
        ValueError: it is outside of its range.

    Example:
        >>> checked_share(-1)
        Traceback (most recent call last):
        ValueError: share must be above 0 and at most 1, or None for the steps of AdamW, got -1
    """
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, numbers.Real):
        raise TypeError(f"share is a number above 0 and at most 1, or None, got {share!r}")
    if not 0 < float(share) <= 1:
        raise ValueError(f"share must be above 0 and at most 1, or None for the steps of AdamW, got {share}")
    return float(share)


def _remember(opt: RelativeAdamW, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Keep the weights before a step, as its decay leaves them."""
    opt._before.clear()  # of a step that failed
    given = evaluate_first(opt, args, kwargs)
    # set by whoever found a gradient that must not be applied; the fused kernels look at it too
    skip = getattr(opt, "found_inf", None)
    with torch.no_grad():
        for group in opt.param_groups:
            share = checked_share(group["share"])
            params = [param for param in group["params"] if param.grad is not None]
            if not params or share is None:
                continue
            before = [param.clone() for param in params]
            sizes = torch._foreach_norm(before)
            if group["weight_decay"]:
                decay = group["lr"] * group["weight_decay"]  # a tensor where the rate is one
                torch._foreach_mul_(before, 1 - decay if skip is None else 1 - decay * (1 - skip))
            opt._before.append((share, params, before, sizes))
    return given


@torch.no_grad()
def _shorten(opt: RelativeAdamW, *_: Any) -> None:
    """Go the share of each step that the size of its tensor allows."""
    for share, params, before, norms in opt._before:
        for param, old, norm in zip(params, before, norms, strict=True):
            size = (norm / old.numel() ** 0.5).clamp_min(_LEAST)
            param.copy_(old.lerp(param, (share * size).clamp_max(1.0)))
    opt._before.clear()
