"""Recurrent layers as loops that a graph holds for any number of steps.

Traced as they are, the kernels of PyTorch are unrolled: a graph would be of the one length it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class Looped(nn.Module):
    """An `nn.LSTM`, `nn.GRU` or `nn.RNN` (tanh), of one direction or two, as loops; called as they are.

    Args:
        layer: its weights are used, not copied.

    Example:
        >>> layer = nn.LSTM(3, 5, num_layers=2, bidirectional=True).eval()
        >>> x = torch.randn(6, 4, 3)
        >>> with torch.no_grad():
        ...     torch.allclose(Looped(layer)(x)[0], layer(x)[0], atol=1e-6)
        True
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = (
            layer.input_size,
            layer.hidden_size,
            layer.num_layers,
        )
        self.bidirectional, self.batch_first = layer.bidirectional, layer.batch_first
        self.kind = KINDS[type(layer)]
        self.directions = 2 if layer.bidirectional else 1
        for name, weight in layer.named_parameters():
            self.register_parameter(name, weight)
        self.register_buffer(
            "no_bias", next(layer.parameters()).detach().new_zeros(GATES[self.kind] * layer.hidden_size)
        )
        self.bias = layer.bias

    def flatten_parameters(self) -> None:
        """There is nothing to do here."""

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Any]:
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise TypeError("recurrent layers are exported for padded batches, not for packed sequences")
        x = x if self.batch_first else x.transpose(0, 1)
        if state is None:
            given = [self._zeros(x) for _ in range(2 if self.kind == "lstm" else 1)]
        else:
            given = list(state) if self.kind == "lstm" else [state]
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for direction in range(self.directions):
                before = [part[layer * self.directions + direction] for part in given]
                out, after = scanned(
                    self.kind, x.flip(1) if direction else x, before, self._weights(layer, direction)
                )
                outs.append(out.flip(1) if direction else out)
                last.append(after)
            x = torch.cat(outs, -1)
        ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        return x if self.batch_first else x.transpose(0, 1), ends if self.kind == "lstm" else ends[0]

    def _zeros(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.num_layers * self.directions, x.shape[0], self.hidden_size)

    def _weights(self, layer: int, direction: int) -> list[Tensor]:
        end = f"l{layer}{'_reverse' if direction else ''}"
        weights = [self.get_parameter(f"weight_{part}_{end}") for part in ("ih", "hh")]
        return weights + [
            self.get_parameter(f"bias_{part}_{end}") if self.bias else self.get_buffer("no_bias")
            for part in ("ih", "hh")
        ]


def with_loops(model: nn.Module) -> nn.Module:
    """The model with its recurrent layers as loops, changed in place; those of other kinds stay."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if _can_loop(part):
                setattr(parent, name, Looped(part))  # type: ignore[arg-type]
    return Looped(model) if _can_loop(model) else model  # type: ignore[arg-type]


KINDS: dict[type, str] = {nn.LSTM: "lstm", nn.GRU: "gru", nn.RNN: "rnn"}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def _can_loop(part: nn.Module) -> bool:
    return (
        isinstance(part, nn.RNNBase)
        and type(part) in KINDS
        and not part.proj_size
        and getattr(part, "nonlinearity", "tanh") == "tanh"
    )
