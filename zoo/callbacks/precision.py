"""Mixed precision: the forward pass in a shorter number format, the weights in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.callback import Callback

if TYPE_CHECKING:
    from zoo.loop import State


class Autocast(Callback):
    """Runs the forward pass and the loss under `torch.autocast` with bfloat16, which needs no gradient
    scaling.
    """

    order = -60
    in_finder = True

    def before_fit(self, state: State) -> None:
        self._switch(state)

    def before_validate(self, state: State) -> None:
        self._switch(state)

    def cleanup_fit(self, state: State) -> None:
        torch.clear_autocast_cache()

    @staticmethod
    def _switch(state: State) -> None:
        kind = state.device.type
        state.forward_context = lambda: torch.autocast(kind, dtype=torch.bfloat16)
