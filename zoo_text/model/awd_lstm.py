"""AWD-LSTM (Merity, Keskar & Socher 2017): a recurrent encoder with dropout everywhere it helps.

All tensors are batch first: token ids (rows, steps), activations (rows, steps, features). The recurrent
layers are single fused kernels, without a Python loop over steps.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.loaders.device import computes_in
from zoo.engine.init import identity_gates_
from zoo.errors import did_you_mean
from zoo.keywords import completed, takes

State = tuple[Tensor, ...]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def locked_mask(x: Tensor, p: float) -> Tensor:
    """A dropout mask for activations (rows, steps, features) that is the same at every step (Gal & Ghahramani
    2016)."""
    return x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - p).div_(1 - p)


class LockedDropout(nn.Module):
    """Dropout whose mask is drawn once per row and kept over the steps.

    Args:
        p: Share of features set to zero.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * locked_mask(x, self.p) if self.training and self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


class WordEmbedding(nn.Embedding):
    """An embedding that drops whole words: all occurrences of a word in a batch are zero together.

    Args:
        n_words: Size of the vocabulary.
        emb_sz: Features a word.
        p: Share of words dropped in training.
        padding: Id of the padding word, whose vector stays zero; None for none.
    """

    def __init__(self, n_words: int, emb_sz: int, p: float = 0.0, padding: int | None = 1) -> None:
        super().__init__(n_words, emb_sz, padding_idx=padding)
        self.p = p
        nn.init.uniform_(self.weight, -0.1, 0.1)
        if padding is not None:
            with torch.no_grad():
                self.weight[padding] = 0

    def forward(self, ids: Tensor) -> Tensor:
        vectors = super().forward(ids)
        if self.training and self.p:
            mask = vectors.new_empty(self.num_embeddings, 1).bernoulli_(1 - self.p).div_(1 - self.p)
            vectors = vectors * F.embedding(ids, mask)
        return vectors


class RecurrentLayer(nn.Module):
    """One LSTM, GRU or plain tanh layer whose recurrent weights are dropped in training (DropConnect, Wan et
    al. 2013).

    Args:
        n_in: Input features.
        n_out: Output features.
        wdrop: Share of recurrent weights set to zero, drawn once per call.
        rnn: "lstm", "gru" or "rnn".
        identity_init: Start with recurrent weights that hand the state on unchanged (Le, Jaitly & Hinton
            2015).
    """

    compile_apart = True

    def __init__(
        self, n_in: int, n_out: int, wdrop: float = 0.0, rnn: str = "lstm", identity_init: bool = False
    ) -> None:
        super().__init__()
        if rnn not in GATES:
            raise ValueError(
                f"rnn={rnn!r} is not known{did_you_mean(rnn, GATES)}: use 'lstm', 'gru' or 'rnn'"
            )
        rows = GATES[rnn] * n_out
        self.n_in, self.n_out, self.wdrop, self.rnn = n_in, n_out, wdrop, rnn
        self.weight_ih = nn.Parameter(torch.empty(rows, n_in))
        self.weight_hh = nn.Parameter(torch.empty(rows, n_out))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        for weight in self.parameters():
            nn.init.uniform_(weight, -(n_out**-0.5), n_out**-0.5)
        if identity_init:
            identity_gates_(self.weight_hh)

    def initial_state(self, rows: int) -> State:
        """Zeros for `rows` sequences."""
        zeros = self.weight_hh.new_zeros(1, rows, self.n_out)
        return (zeros, zeros) if self.rnn == "lstm" else (zeros,)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight_hh = F.dropout(self.weight_hh, self.wdrop, self.training) if self.wdrop else self.weight_hh
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        # (weights, has_biases, layers, dropout, training, bidirectional, batch_first)
        options = (weights, True, 1, 0.0, self.training, False, True)
        if torch.is_autocast_enabled(x.device.type) and x.is_floating_point():
            x = x.to(self.weight_ih.dtype)
        with _no_flattening_warning(x), _existing_kernel(x):
            if self.rnn == "lstm":
                out, hidden, cell = torch.lstm(x, state, *options)
                return out, (hidden, cell)
            kernel = torch.gru if self.rnn == "gru" else torch.rnn_tanh
            out, hidden = kernel(x, state[0], *options)
        return out, (hidden,)

    def extra_repr(self) -> str:
        return f"{self.rnn}, {self.n_in}, {self.n_out}, wdrop={self.wdrop}"


@contextlib.contextmanager
def _no_flattening_warning(x: Tensor) -> Iterator[None]:
    # cuDNN would like all weights in one block of memory; freshly dropped weights never are
    if not x.is_cuda:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")
        yield


def _existing_kernel(x: Tensor) -> contextlib.AbstractContextManager:
    # many devices have no LSTM in short formats; the recurrence then runs in the weights' own
    kind = x.device.type
    if not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()
    exists = computes_in(x.device, torch.get_autocast_dtype(kind), recurrent=True)
    return contextlib.nullcontext() if exists else torch.autocast(kind, enabled=False)


class EncoderOptions(TypedDict, total=False):
    """What the encoder takes beside its sizes.

    Args:
        dropouti: Dropout on the embedded input.
        dropoute: Share of words dropped.
        dropouth: Dropout between the layers.
        wdrop: Dropout of recurrent weights.
        drop_mult: Multiplies all dropouts.
        rnn: "lstm", "gru" or "rnn".
    """

    dropouti: float
    dropoute: float
    dropouth: float
    wdrop: float
    drop_mult: float
    rnn: str


ENCODER_DEFAULTS: dict[str, Any] = {
    "dropouti": 0.0,
    "dropoute": 0.0,
    "dropouth": 0.0,
    "wdrop": 0.0,
    "drop_mult": 1.0,
    "rnn": "lstm",
}


class AWDLSTM(nn.Module):
    """Embedding and recurrent layers; the last layer is as wide as the embedding, so that weights can be
    tied.

    Args:
        vocab_sz: Number of words.
        emb_sz: Features of a word.
        n_hid: Features of the inner layers.
        n_layers: Number of recurrent layers.
        identity_init: Identity recurrent weights at the start.
        options: Dropouts and the kind of layers, see `EncoderOptions`.
    """

    @takes(EncoderOptions, ENCODER_DEFAULTS)
    def __init__(
        self,
        vocab_sz: int,
        emb_sz: int,
        n_hid: int,
        n_layers: int,
        *,
        identity_init: bool = False,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__()
        rates = completed(EncoderOptions, ENCODER_DEFAULTS, options, "AWDLSTM")
        drop_mult, rnn = rates.pop("drop_mult"), rates.pop("rnn")
        for name, size in (
            ("vocab_sz", vocab_sz),
            ("emb_sz", emb_sz),
            ("n_hid", n_hid),
            ("n_layers", n_layers),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        for name, rate in rates.items():
            if not 0 <= rate * drop_mult < 1:
                raise ValueError(f"{name} x drop_mult must be in [0, 1), not {rate} x {drop_mult}")
        self.emb_sz, self.n_hid, self.n_layers, self.rnn = emb_sz, n_hid, n_layers, rnn
        self.embedding = WordEmbedding(vocab_sz, emb_sz, rates["dropoute"] * drop_mult)
        self.input_dropout = LockedDropout(rates["dropouti"] * drop_mult)
        sizes = [emb_sz, *[n_hid] * (n_layers - 1), emb_sz]
        self.layers = nn.ModuleList(
            RecurrentLayer(n_in, n_out, rates["wdrop"] * drop_mult, rnn, identity_init)
            for n_in, n_out in itertools.pairwise(sizes)
        )
        self.hidden_dropout = LockedDropout(rates["dropouth"] * drop_mult)

    def initial_state(self, rows: int) -> list[State]:
        """Zeros for `rows` sequences, one state a layer."""
        return [layer.initial_state(rows) for layer in self.layers]  # type: ignore[operator]

    def forward(self, ids: Tensor, state: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Encodes token ids.

        Args:
            ids: (rows, steps), any integer type.
            state: What an earlier call returned; zeros if None.

        Returns:
            The last layer's output (rows, steps, emb_sz), and the state after the last step.
        """
        return self.forward_embedded(self.embedding(ids), state)

    def forward_embedded(
        self, vectors: Tensor, state: list[State] | None = None
    ) -> tuple[Tensor, list[State]]:
        """Encodes vectors (rows, steps, emb_sz) in the place of words; otherwise as `forward`."""
        state = self.initial_state(len(vectors)) if state is None else state
        x = self.input_dropout(vectors)
        after = []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            x, own = layer(x, before)
            after.append(own)
            if number < self.n_layers - 1:
                x = self.hidden_dropout(x)
        return x, after

    def groups(self) -> dict[str, list[nn.Module]]:
        """Layer groups, input to output: the embedding, then each recurrent layer."""
        groups: dict[str, list[nn.Module]] = {"embedding": [self.embedding]}
        for number, layer in enumerate(self.layers, 1):
            groups[f"rnn {number}"] = [layer]
        return groups


def detached(state: list[State]) -> list[State]:
    """The same state with its history cut."""
    return [tuple(part.detach() for part in own) for own in state]
