"""Vectors of words from which of them occur in the same texts: latent semantic indexing."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from zoo_text.tokens.vocab import PADDING_ID, UNKNOWN_ID

SIZE = 50
"""Features. Of 20 to 200 the best for 100 and 500 labelled film reviews with vectors from 15,000 others were
20 to 50, for 2,000 labels 100 (half a point): chosen on training reviews."""

FEWEST_TEXTS = 1_000
"""With fewer there are no vectors: those of 300 reviews were 6 points worse than those of 1,000."""

_MOST_TEXTS = 100_000  # drawn evenly: more change nothing that can be seen
_LONGEST = 500  # words; longer texts are several, so that a book is more than one
_HELD_BY = 5  # texts that a word must occur in


def document_vectors(
    ids: np.ndarray, n_words: int, offsets: np.ndarray | None = None, size: int = SIZE
) -> Tensor | None:
    """What `DocumentVectors` adds up: one row a word.

    Texts are rows of the different words that they hold, each weighted by how rare it is (the logarithm of
    the share of texts that hold it, smoothed, plus one) and scaled to length 1; their first singular vectors
    (Deerwester et al. 1990), weighted likewise, are the rows.

    Args:
        ids: Running text; may be memory-mapped.
        n_words: Size of the vocabulary.
        offsets: Where each text starts, and the end; None where texts cannot be told apart.
        size: Features.

    Returns:
        (n_words, size), float32, zero for words in fewer than 5 texts; None where there are fewer than 1,000
        texts (stretches of at most 500 words), or less than `size` words in them.
    """
    texts = _texts(len(ids), offsets)
    if len(texts) < FEWEST_TEXTS:
        return None
    from scipy.sparse import csr_matrix, diags
    from sklearn.decomposition import TruncatedSVD

    chosen = texts[np.linspace(0, len(texts) - 1, min(len(texts), _MOST_TEXTS)).astype(int)]
    words = [np.unique(ids[begin:end]) for begin, end in chosen]
    places = np.cumsum([0, *map(len, words)])
    ones = np.ones(places[-1], np.float32)
    held = csr_matrix((ones, np.concatenate(words).astype(np.int32), places), shape=(len(words), n_words))
    by = np.bincount(held.indices, minlength=n_words)
    rare = np.log((1 + len(words)) / (1 + by)) + 1
    rare[by < _HELD_BY] = 0
    rare[[UNKNOWN_ID, PADDING_ID]] = 0
    if np.count_nonzero(rare) < size:
        return None
    lengths = np.sqrt(held @ np.square(rare))
    scaled = diags(1 / np.maximum(lengths, 1e-9)) @ held @ diags(rare)
    with np.errstate(divide="ignore", invalid="ignore"):  # shares of the variance of equal texts; not used
        found = TruncatedSVD(size, n_iter=4, random_state=0).fit(scaled)
    return torch.from_numpy(rare[:, None] * np.asarray(found.components_).T).float()


def _texts(n: int, offsets: np.ndarray | None) -> np.ndarray:
    """Where texts begin and end, (texts, 2); a longer one is several."""
    edges = np.unique(np.concatenate([[0, n], np.arange(0) if offsets is None else offsets]))
    pieces = [np.arange(begin, end, _LONGEST) for begin, end in itertools.pairwise(edges)]
    begins = np.concatenate(pieces) if pieces else np.arange(0)
    ends = np.append(begins[1:], n)
    return np.stack([begins, ends], 1)
