"""A text classifier that answers as another one does, and takes less room."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.storage.registry import spec_of
from zoo_text.model.classifier import TextClassifier
from zoo_text.tokens.vocab import Vocab

if TYPE_CHECKING:
    from zoo_text.data.labelled_data import TextData

SHARES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
"""Of the words, and of the words and pairs of the linear model, from the largest version to the smallest."""

_FEWEST_WORDS = 100
_BY_WORD = ("encoder.embedding.weight", "document.weight")  # tensors with a row a word


def versions(model: nn.Module, data: TextData, *, smaller: bool) -> Iterator[tuple[nn.Module, Any]]:
    """The model as it answers, without what only training needs, and its data; with `smaller` followed by
    versions with fewer words. The rarest words are left out (the others read them as unknown), and the words
    and pairs of words that weigh least.
    """
    vocab = data.field.vocab
    if type(model) is not TextClassifier or vocab is None:  # nobody knows what a subclass holds
        yield model, data
        return
    for share in SHARES if smaller else SHARES[:1]:
        words = len(vocab) if share == 1 else max(_FEWEST_WORDS, int(share * len(vocab)))
        if words > len(vocab):
            return
        part = copy.copy(data)
        part.field = data.field.with_vocab(Vocab(vocab.itos[:words]))
        part.nt = words
        yield with_fewer_words(model, words, share), part


@torch.no_grad()
def with_fewer_words(model: TextClassifier, words: int, share: float = 1.0) -> TextClassifier:
    """The model for the first `words` words of its vocabulary, on the CPU, without the folds of its
    `LinearScores`, of which a share of the words and pairs stays.
    """
    spec, state = spec_of(model), {name: value.detach().cpu() for name, value in model.state_dict().items()}
    state |= {name: state[name][:words] for name in _BY_WORD if name in state}
    args = {**spec.args, "vocab_sz": words}
    if model.linear is not None:
        weight, n_words = state["linear.weight"][0], model.linear.n_words
        keys, rows = _kept(state["linear.keys"], weight, n_words, words, share)
        vectors = torch.arange(model.linear.n_grams, len(weight))
        state["linear.keys"] = keys
        state["linear.weight"] = state["linear.weight"][:1, torch.cat([rows, vectors])]
        state["linear.bias"] = state["linear.bias"][:1]
        args |= {"n_grams": len(keys), "folds": 0}
    made = TextClassifier(**args)
    if made.linear is None and model.linear is not None:  # no word or pair is left, and there are no vectors
        state = {name: value for name, value in state.items() if not name.startswith("linear.")}
    made.load_state_dict(state)
    return made.eval()


def _kept(keys: Tensor, weight: Tensor, n_words: int, words: int, share: float) -> tuple[Tensor, Tensor]:
    """Keys for the smaller vocabulary, ascending, and the rows of their weights."""
    first, second = keys // n_words - 1, keys % n_words
    alone = keys < n_words
    rows = torch.nonzero((second < words) & (alone | (first < words)))[:, 0]
    most = int(share * len(keys))
    if len(rows) > most:
        weights = weight[rows].abs().amax(1)
        rows = rows[torch.argsort(weights, descending=True, stable=True)[:most]].sort().values
    renamed = torch.where(alone, keys, (1 + first) * words + second)[rows]
    order = torch.argsort(renamed)
    return renamed[order], rows[order]
