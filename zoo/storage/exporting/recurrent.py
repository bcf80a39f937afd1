"""Recurrent layers as loops that a graph holds for any number of steps.

Traced as they are, the kernels of PyTorch are unrolled: a graph would be of the one length it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def scanned(
    kind: str, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What `torch.lstm`, `torch.gru` or `torch.rnn_tanh` answer for one layer in one direction.

    Args:
        kind: "lstm", "gru" or "rnn".
        x: (rows, steps, features).
        state: hidden state, and of an LSTM the cell state, each (rows, width). Different tensors: an exporter
            takes two that are the same for one input.
        weights: of the input, of the state, and both biases, in the order of PyTorch.

    Returns:
        The output of each step (rows, steps, width), and the state after the last one.

    Example:
        >>> layer = torch.nn.GRU(2, 3, batch_first=True)
        >>> x, start = torch.randn(4, 5, 2), torch.zeros(4, 3)
        >>> with torch.no_grad():
        ...     out, (last,) = scanned("gru", x, [start], layer._flat_weights)
        ...     torch.allclose(out, layer(x)[0], atol=1e-6)
        True
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    parts = F.linear(x, weight_ih, bias_ih).transpose(0, 1)

    last, out = torch.ops.higher_order.scan(
        _STEPS[kind], [torch.cat(list(state), -1)], [parts], (weight_hh, bias_hh)
    )
    return out.transpose(0, 1), tuple(last.chunk(len(state), -1))


# Steps read what is carried, the part of the input, and the weights of the state; they return what is carried
# on and the output, which must be tensors of their own.


def _lstm(carried: Tensor, part: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    hidden, cell = carried.chunk(2, -1)
    into, forget, new, out = (part + F.linear(hidden, weight, bias)).chunk(4, -1)
    cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
    hidden = out.sigmoid() * cell.tanh()
    return [torch.cat([hidden, cell], -1), hidden]


def _gru(carried: Tensor, part: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    of_reset, of_update, of_new = part.chunk(3, -1)
    reset, update, new = F.linear(carried, weight, bias).chunk(3, -1)
    reset, update = (of_reset + reset).sigmoid(), (of_update + update).sigmoid()
    new = (of_new + reset * new).tanh()
    carried = new + update * (carried - new)
    return [carried, carried.clone()]


def _rnn(carried: Tensor, part: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    carried = (part + F.linear(carried, weight, bias)).tanh()
    return [carried, carried.clone()]


_STEPS: dict[str, Callable[..., list[Tensor]]] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
