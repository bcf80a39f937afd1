"""Networks for texts as exporters take them: one padded, masked loop over the words, for any number of them.

Answers are those of the networks that are rewritten, from the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.ports import Port
from zoo.storage.exporting.graph import Rewritten
from zoo.storage.exporting.recurrent import scanned
from zoo_text.model.awd_lstm import AWDLSTM
from zoo_text.model.document import occurrences
from zoo_text.model.linear import LinearScores
from zoo_text.model.pooling import PoolState
from zoo_text.model.ports import TOKENS, text_ports
from zoo_text.tokens.vocab import PADDING_ID

if TYPE_CHECKING:
    from zoo_text.model.classifier import TextClassifier
    from zoo_text.model.language_model import LanguageModel


class ScannedEncoder(nn.Module):
    """An encoder whose recurrent layers are loops; its state is a plain list of tensors (rows, width)."""

    def __init__(self, encoder: AWDLSTM) -> None:
        super().__init__()
        self.embedding, self.layers = encoder.embedding, encoder.layers
        self.kind = encoder.rnn
        self.each = 2 if encoder.rnn == "lstm" else 1

    @property
    def widths(self) -> list[int]:
        """Of each tensor of the state."""
        return [int(layer.n_out) for layer in self.layers for _ in range(self.each)]  # type: ignore[arg-type]

    def forward(self, ids: Tensor, state: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        x = self.embedding(ids)
        if state is None:
            state = [x.new_zeros(ids.shape[0], width) for width in self.widths]
        after: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            before = state[number * self.each : (number + 1) * self.each]
            weights: Any = (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)
            x, own = scanned(self.kind, x, before, weights)
            after += own
        return x, after


class LanguageGraph(nn.Module):
    """Tokens and a state to scores (rows, tokens, words) and the state after them."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.encoder, self.decoder = ScannedEncoder(model.encoder), model.decoder

    def forward(self, ids: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        x, after = self.encoder(ids, state)
        return (self.decoder(x), *after)


def language_graph(model: LanguageModel, inputs: Sequence[Port]) -> Rewritten:
    """The graph of a language model, which reads any number of words at once, or one after the other."""
    module = LanguageGraph(model)
    tokens = inputs[0] if inputs[0].name == TOKENS else text_ports(0, ids=inputs[0].example.long())[0]
    # no padding: the state after a text is that after its last word
    meaning = tokens.meaning.partition(";")[0]
    ports = [Port(TOKENS, tokens.axes, meaning, tokens.example)]
    further = []
    for number, width in enumerate(module.encoder.widths):
        layer, part = divmod(number, module.encoder.each)
        name = f"{('hidden', 'cell')[part]}_{layer}"
        start = torch.zeros(2, width)
        ports.append(Port(name, ("rows", width), "the state before these words: zeros for a new text", start))
        meaning = f"the state after these words, the next {name}"
        further.append({"name": f"{name}_after", "axes": ["rows", width], "meaning": meaning})
    return Rewritten(module, ports, further, ("rows", "tokens"))


class LinearGraph(nn.Module):
    """`LinearScores` for answers: words and pairs are looked up by halving, sums are plain ones."""

    def __init__(self, linear: LinearScores) -> None:
        super().__init__()
        self.linear = linear
        size = linear.n_grams
        self.halves = [1 << bit for bit in reversed(range(max(size, 1).bit_length()))]

    def forward(self, ids: Tensor, vectors: Tensor | None) -> Tensor:
        linear = self.linear
        scores = linear.bias[0].expand(ids.shape[0], -1)
        if linear.n_grams:
            scores = scores + self._of_words(ids)
        if vectors is not None and linear.features:
            scores = scores + vectors @ linear.weight[0, linear.n_grams :]
        return scores

    def _of_words(self, ids: Tensor) -> Tensor:
        linear, last = self.linear, self.linear.n_grams - 1
        after = F.pad(ids, (0, 1), value=PADDING_ID)[:, 1:]
        real, pair = ids != PADDING_ID, (ids != PADDING_ID) & (after != PADDING_ID)
        wanted = torch.cat([ids, (1 + ids) * linear.n_words + after], 1)
        places = torch.zeros_like(wanted)
        for half in self.halves:  # the last key that is not above what is wanted
            further = places + half
            fits = (further <= last) & (linear.keys[further.clamp(max=last)] <= wanted)
            places = torch.where(fits, further, places)
        found = (linear.keys[places] == wanted) & torch.cat([real, pair], 1)
        each = found / occurrences(torch.where(found, places, torch.full_like(places, -1)))
        scale = each.sum(1, keepdim=True).clamp(min=1).sqrt()
        weight = linear.weight[0, : linear.n_grams].float()
        return ((each / scale)[:, None] @ F.embedding(places, weight))[:, 0]


class ClassifierGraph(nn.Module):
    """Tokens and lengths to scores: all words in one pass, whatever `max_len` is, which bounds gradients."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.encoder, self.head = ScannedEncoder(model.encoder), model.head
        self.documents = None if model.document is None else model.document.weight.float()
        self.trust = None if model.linear is None else model.linear.trust
        self.linear = None if model.linear is None else LinearGraph(model.linear)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        pool = PoolState()
        pool.add(self.encoder(ids)[0], lengths)
        scores = self.head(pool.pooled(lengths))
        if self.linear is None or self.trust is None:
            return scores
        return self.trust * scores + self.linear(ids, self._vectors(ids))

    def _vectors(self, ids: Tensor) -> Tensor | None:
        if self.documents is None:
            return None
        whole = ((1.0 / occurrences(ids))[:, None] @ F.embedding(ids, self.documents))[:, 0]
        return whole / whole.norm(dim=1, keepdim=True).clamp(min=1e-6)


def classifier_graph(model: TextClassifier, inputs: Sequence[Port]) -> Rewritten:
    """The graph of a text classifier."""
    tokens, lengths = inputs[:2]
    if tokens.name != TOKENS:  # a batch: its shortest text tells how many columns have no padding
        whole = tokens.example[:, : int(lengths.example.min())].long()
        tokens, lengths = text_ports(0, ids=whole)
    return Rewritten(ClassifierGraph(model), [tokens, lengths])
