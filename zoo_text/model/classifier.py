"""The network of a text classifier: an AWD-LSTM encoder, pooling over real words only, a small head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.ports import Port
from zoo.distributed.group import world_size
from zoo.keywords import completed, takes
from zoo.storage.exporting.graph import Rewritten
from zoo.storage.registry import register_model
from zoo_text.model.awd_lstm import AWDLSTM, ENCODER_DEFAULTS, EncoderOptions, State
from zoo_text.model.document import DocumentVectors
from zoo_text.model.graph import classifier_graph
from zoo_text.model.linear import FOLDS, LinearScores
from zoo_text.model.pooling import PoolState


class QuickBatchNorm(nn.BatchNorm1d):
    """Batch normalisation whose running statistics begin as the plain average of the first ten batches.

    The ordinary rule mixes in the arbitrary start values (0 and 1) for some fifty batches, which is all the
    training a small set of texts gets; predictions would be off by then.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        if len(x) < 2 and world_size() == 1:
            raise ValueError("a training batch needs at least two texts: use a larger bs")
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # with momentum 1 these become the batch's own
        out = F.batch_norm(x, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        with torch.no_grad():
            step = (1 / (self.num_batches_tracked + 1.0)).clamp(min=0.1)  # type: ignore[operator]
            self.running_mean.lerp_(mean, step)
            self.running_var.lerp_(var, step)
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return out


def _classifier_example() -> tuple[nn.Module, tuple, Tensor]:
    model = TextClassifier(20, 3, 6, 8, 2, max_len=4)
    ids = torch.randint(2, 20, (4, 7))
    lengths = torch.tensor([7, 5, 5, 2])
    ids[torch.arange(7) >= lengths[:, None]] = 1
    return model, (ids, lengths), torch.tensor([0, 2, 1, 0])


@register_model("text.classifier", example=_classifier_example)
class TextClassifier(nn.Module):
    """Encoder, then last, max and mean over each text's own words, then a small head (ULMFiT, Howard & Ruder
    2018).

    Padding comes at the end of a row and changes nothing. Long texts: gradients flow through the last
    `max_len` words of each text at most, and at least through seven eighths as many, wherever the other texts
    of its batch end; earlier ones are read without keeping them, so memory stays bounded. All words are
    pooled. The window begins a whole number of eighths of `max_len` after the start of its text.

    Args:
        vocab_sz: Number of words.
        n_classes: Number of classes.
        emb_sz: Features of a word.
        n_hid: Features of the inner layers.
        n_layers: Number of recurrent layers.
        dropout: Dropout on the pooled features; a quarter of it before the last layer.
        max_len: Most words of a text that gradients flow through.
        hidden: Features between the pooled ones and the classes.
        document_sz: Features of a vector of the whole text (`DocumentVectors`), 0 for none.
        n_grams: Words and pairs of words that, with this vector, add scores of a linear model to the logits
            (`LinearScores`).
        folds: Of `LinearScores`.
        options: Dropouts of the encoder and its kind of layers, see `EncoderOptions`.

    Shape:
        ids (rows, steps), lengths (rows,) -> logits (rows, n_classes).
    """

    @takes(EncoderOptions, ENCODER_DEFAULTS)
    def __init__(
        self,
        vocab_sz: int,
        n_classes: int,
        emb_sz: int = 200,
        n_hid: int = 400,
        n_layers: int = 2,
        *,
        dropout: float = 0.0,
        max_len: int = 1400,
        hidden: int = 50,
        document_sz: int = 0,
        n_grams: int = 0,
        folds: int = FOLDS,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__()
        drop_mult = completed(EncoderOptions, ENCODER_DEFAULTS, options, "TextClassifier")["drop_mult"]
        if max_len < 1:
            raise ValueError(f"max_len must be at least 1, not {max_len}")
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        if not 0 <= dropout * drop_mult < 1:
            raise ValueError(f"dropout x drop_mult must be in [0, 1), not {dropout} x {drop_mult}")
        self.max_len = max_len
        self.encoder = AWDLSTM(vocab_sz, emb_sz, n_hid, n_layers, **options)
        self.head = nn.Sequential(
            QuickBatchNorm(3 * emb_sz),
            nn.Dropout(dropout * drop_mult),
            nn.Linear(3 * emb_sz, hidden),
            nn.ReLU(),
            QuickBatchNorm(hidden),
            nn.Dropout(dropout * drop_mult / 4),
            nn.Linear(hidden, n_classes),
        )
        self.document = DocumentVectors(vocab_sz, document_sz) if document_sz else None
        self.linear: LinearScores | None = None
        if n_grams or document_sz:
            self.linear = LinearScores(vocab_sz, n_grams, document_sz, n_classes, folds)

    def features(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The pooled features (rows, 3 x emb_sz)."""
        pool = PoolState()
        if ids.shape[1] <= self.max_len:
            x, _ = self.encoder(ids)
            pool.add(x, lengths)
            return pool.pooled(lengths)
        piece = max(1, self.max_len // 8)
        # where the window of each text begins, a multiple of `piece`
        begins = (lengths - self.max_len).clamp(min=0).add(piece - 1) // piece * piece
        state = self._read_before(ids, begins, piece, pool)
        places = begins[:, None] + torch.arange(self.max_len, device=ids.device)
        x, _ = self.encoder(ids.gather(1, places.clamp(max=ids.shape[1] - 1)), state)
        pool.add(x, lengths - begins)
        return pool.pooled(lengths)

    @torch.no_grad()
    def _read_before(self, ids: Tensor, begins: Tensor, piece: int, pool: PoolState) -> list[State]:
        """Reads what comes before each text's window into the pool, `piece` steps at a time.

        Returns:
            The encoder's state at the step `begins` of each row.
        """
        state = kept = self.encoder.initial_state(len(ids))
        for start in range(0, -(-(ids.shape[1] - self.max_len) // piece) * piece, piece):
            part = ids[:, start : start + piece]
            x, state = self.encoder(part, state)
            pool.add(x, (begins - start).clamp(0, piece))
            here = (begins == start + piece)[:, None]
            kept = [
                tuple(torch.where(here, new, old) for new, old in zip(after, before, strict=True))
                for after, before in zip(state, kept, strict=True)
            ]
        return kept

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.with_linear(self.head(self.features(ids, lengths)), ids)

    def with_linear(self, logits: Tensor, ids: Tensor, shares: Tensor | None = None) -> Tensor:
        """Adds to logits of the head, scaled by `trust`, what the linear model says of the text, if there is
        one.

        Args:
            logits: (rows, n_classes).
            ids: (rows, steps).
            shares: See `LinearScores`.
        """
        if self.linear is None:
            return logits
        vectors = None if self.document is None else self.document(ids, shares)
        return self.linear.trust * logits + self.linear(ids, vectors, shares)

    def as_graph(self, inputs: Sequence[Port]) -> Rewritten:
        """In the form that exporters take; see `zoo_text.model.graph`."""
        return classifier_graph(self, inputs)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Embedding, each recurrent layer, head."""
        return {**self.encoder.groups(), "head": [self.head]}
