"""What happens to gradients between the backward pass and the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.callback import Callback

if TYPE_CHECKING:
    from zoo.loop import State


class ClipGradients(Callback):
    """Scales the gradients down so that their joint L2 norm is at most `max_norm` (Pascanu et al. 2013)."""

    order = 50
    in_finder = True

    def __init__(self, max_norm: float) -> None:
        if not max_norm > 0:
            raise ValueError(f"clip: the largest gradient norm must be positive, got {max_norm}")
        self.max_norm = max_norm

    def before_step(self, state: State) -> None:
        params = [
            param for group in state.opt.param_groups for param in group["params"] if param.grad is not None
        ]
        torch.nn.utils.clip_grad_norm_(params, self.max_norm)
