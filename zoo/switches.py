"""The switches of a learner: which groups train, and in which number format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

from zoo.callbacks.precision import Autocast

if TYPE_CHECKING:
    from torch import nn

    from zoo.layer_groups import LayerGroups


class Switches:
    """The part of a `Learner` that says how it trains, as opposed to on what and how long."""

    model: nn.Module
    groups: LayerGroups
    _autocast: Autocast | None

    def freeze(self) -> None:
        """Train only the last layer group."""
        self.groups.freeze()

    def unfreeze(self) -> None:
        """Train all layer groups."""
        self.groups.freeze_to(0)

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from number `n` on; negative numbers count from the end."""
        self.groups.freeze_to(n)

    def bn_freeze(self, on: bool) -> None:
        """Keep the running statistics of all groups but the last fixed, even where they are trained."""
        self.groups.bn_freeze(on)

    def to_bf16(self) -> Self:
        """Run forward passes in bfloat16 from now on; weights stay float32.

        The format of choice: it has the range of float32, so nothing overflows or vanishes.
        """
        self._autocast = Autocast(torch.bfloat16)
        return self

    def to_fp16(self) -> Self:
        """Run forward passes in float16 from now on, with a scaled loss; weights stay float32.

        For devices without bfloat16. Updates whose gradients overflow are left out, which is usual for the
        first few; see `zoo.callbacks.Autocast`. Optimizers that evaluate the loss themselves (LBFGS) can't.
        """
        self._autocast = Autocast(torch.float16)
        return self

    def to_fp32(self) -> Self:
        """Run forward passes in float32 again."""
        self._autocast = None
        return self
