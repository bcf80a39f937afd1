"""What networks for texts read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.data.ports import Port
from zoo_text.tokens.vocab import PADDING_ID

TOKENS, LENGTHS = "tokens", "lengths"


@dataclass(frozen=True)
class Lengths(Port):
    """Lengths of padded texts: drawn, the first text fills its row, later ones are shorter.

    Example:
        >>> lengths = Lengths("lengths", ("rows",), "words of each text", torch.tensor([1]))
        >>> lengths.drawn({"rows": 3, "tokens": 8}).tolist()
        [8, 6, 4]
    """

    def drawn(self, sizes: Mapping[str, int]) -> Tensor:
        rows, tokens = sizes["rows"], sizes["tokens"]
        return (tokens - torch.arange(rows) * tokens // (rows + 1)).clamp(min=1)


@dataclass(frozen=True)
class PaddedTokens(Port):
    """Tokens of texts with such `Lengths`."""

    def drawn(self, sizes: Mapping[str, int]) -> Tensor:
        found = super().drawn(sizes)
        lengths = Lengths("", ("rows",), "", found).drawn(sizes)
        return found.masked_fill(torch.arange(found.shape[1]) >= lengths[:, None], PADDING_ID)


def text_ports(n_words: int, *, backward: bool = False, ids: Tensor | None = None) -> list[Port]:
    """Tokens and lengths.

    Args:
        n_words: size of the vocabulary.
        backward: whether texts are read from their end.
        ids: tokens to draw from, without padding; random ones by default.
    """
    order = ", the last word first" if backward else ""
    if ids is None:
        least = min(2, n_words - 1)
        ids = torch.randint(least, n_words, (16, 101), generator=torch.Generator().manual_seed(0))
    tokens = f"numbers of words in the vocabulary{order}; {PADDING_ID} after the last one of a text"
    return [
        PaddedTokens(TOKENS, ("rows", "tokens"), tokens, ids),
        Lengths(LENGTHS, ("rows",), "how many words each text has", ids[:, 0]),
    ]
