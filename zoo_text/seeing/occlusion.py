"""What an answer changes by when parts of a text are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_text.tokens.vocab import UNKNOWN_ID

TOKENS_AT_ONCE = 16_384


def hidden_outputs(learn: Any, ids: Tensor, parts: np.ndarray, *, hidden_by: int = UNKNOWN_ID) -> Tensor:
    """The outputs of a text without each of its parts: their tokens become the unknown word.

    The text keeps its length, so that nothing else moves. Works with any model that the learner has.

    Args:
        learn: a learner of texts.
        ids: of one text, (steps,).
        parts: the number of the part that each token belongs to, from 0 on, (steps,); -1 for those that are
            never hidden.
        hidden_by: the id that takes their place.

    Returns:
        (parts + 2, n), on the CPU: of the whole text, without each of its parts, without all of them.
    """
    n = int(parts.max()) + 1
    rows = max(1, TOKENS_AT_ONCE // len(ids))
    belongs = torch.from_numpy(parts)

    def batches(_: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(-1, n + 1, rows):
            hidden = torch.arange(start, min(start + rows, n + 1))[:, None]
            taken = (belongs == hidden) & (hidden >= 0)
            taken |= (hidden == n) & (belongs >= 0)
            batch = ids.expand(len(hidden), -1).masked_fill(taken, hidden_by)
            yield batch, torch.full((len(batch),), len(ids))

    return learn.outputs_of(batches)
