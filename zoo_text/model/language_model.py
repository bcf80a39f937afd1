"""The network of a language model, and the regularisation of its activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from zoo.data.ports import Port
from zoo.keywords import completed, takes
from zoo.storage.exporting.graph import Rewritten
from zoo.storage.registry import register_model
from zoo_text.model.awd_lstm import AWDLSTM, ENCODER_DEFAULTS, EncoderOptions, LockedDropout, State, detached
from zoo_text.model.graph import language_graph
from zoo_text.model.softmax import Deferred


def _language_model_example() -> tuple[nn.Module, tuple, Tensor]:
    model = LanguageModel(20, 6, 8, 2, wdrop=0.2, dropout=0.1)
    ids = torch.randint(2, 20, (3, 5))
    return model, (ids,), torch.randint(2, 20, (15,))


@register_model("text.language_model", example=_language_model_example)
class LanguageModel(nn.Module):
    """Predicts the next word. The hidden state is carried from call to call, its history cut, until `reset`.

    Args:
        vocab_sz: Number of words.
        emb_sz: Features of a word.
        n_hid: Features of the inner layers.
        n_layers: Number of recurrent layers.
        dropout: Dropout on the encoder's output.
        tie_weights: Use the embedding as the output weights too (Press & Wolf 2017).
        identity_init: Identity recurrent weights at the start.
        options: Dropouts of the encoder and its kind of layers, see `EncoderOptions`.

    Shape:
        ids (rows, steps) -> logits (rows x steps, vocab_sz), and for regularisation the last layer's output
        before and after dropout (rows, steps, emb_sz). While `defer_output` is True (a learner sets it where
        loss and metrics can do with it) the logits come as `Deferred`, to be computed block by block.
    """

    @takes(EncoderOptions, ENCODER_DEFAULTS)
    def __init__(
        self,
        vocab_sz: int,
        emb_sz: int = 200,
        n_hid: int = 400,
        n_layers: int = 2,
        *,
        dropout: float = 0.0,
        tie_weights: bool = True,
        identity_init: bool = False,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__()
        drop_mult = completed(EncoderOptions, ENCODER_DEFAULTS, options, "LanguageModel")["drop_mult"]
        if not 0 <= dropout * drop_mult < 1:
            raise ValueError(f"dropout x drop_mult must be in [0, 1), not {dropout} x {drop_mult}")
        self.encoder = AWDLSTM(vocab_sz, emb_sz, n_hid, n_layers, identity_init=identity_init, **options)
        self.output_dropout = LockedDropout(dropout * drop_mult)
        self.decoder = nn.Linear(emb_sz, vocab_sz)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.tie_weights = tie_weights
        if tie_weights:
            self.decoder.weight = self.encoder.embedding.weight
        self.defer_output = False
        self._state: list[State] | None = None

    def reset(self) -> None:
        """Forget the carried state."""
        self._state = None

    @property
    def carried(self) -> list[State] | None:
        """The state carried to the next call, a tuple of tensors a layer; `None` after `reset`."""
        return self._state

    @carried.setter
    def carried(self, state: list[State] | None) -> None:
        self._state = state

    def forward(self, ids: Tensor) -> tuple[Tensor | Deferred, Tensor, Tensor]:
        carried = self._state
        if carried is not None and (carried[0][0].shape[1] != len(ids) or carried[0][0].device != ids.device):
            carried = None
        raw, state = self.encoder(ids, carried)
        self._state = detached(state)
        dropped = self.output_dropout(raw)
        flat = dropped.reshape(-1, dropped.shape[-1])
        if self.defer_output:
            return Deferred(flat, self.decoder.weight, self.decoder.bias), raw, dropped
        return self.decoder(flat), raw, dropped

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_state": None}  # type: ignore[misc]

    def as_graph(self, inputs: Sequence[Port]) -> Rewritten:
        """In the form that exporters take, with the state as further inputs and outputs; see
        `zoo_text.model.graph`."""
        return language_graph(self, inputs)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Embedding, each recurrent layer, output layer. Tied weights are the embedding's and train with the
        output layer: they hold the words that a model which was trained on other texts has to learn first."""
        return {**self.encoder.groups(), "decoder": [self.decoder]}


def seq2seq_reg(loss: Tensor, extras: tuple[Tensor, ...], alpha: float = 2.0, beta: float = 1.0) -> Tensor:
    """Adds activation regularisation to a loss (Merity, McCann & Socher 2017).

    Args:
        loss: The loss so far.
        extras: The last layer's output before and after dropout.
        alpha: Weight of the mean square of the activations.
        beta: Weight of the mean square of their change from step to step.
    """
    raw, dropped = extras[0], extras[-1]
    if alpha:
        loss = loss + alpha * dropped.float().square().mean()
    if beta and raw.shape[1] > 1:
        loss = loss + beta * (raw[:, 1:] - raw[:, :-1]).float().square().mean()
    return loss
