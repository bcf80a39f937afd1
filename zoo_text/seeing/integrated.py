"""Integrated gradients of a text classifier, in bounded memory whatever the length of the text."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zoo.engine.modes import preserve_modes
from zoo_text.model.awd_lstm import State
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.pooling import PoolState

TOKENS_AT_ONCE = 8192  # of all rows: some 150 MB of activations with 400 features
SHORTEST = 256  # steps of a stretch


@dataclass(frozen=True)
class Integrated:
    """What integrating along the way from a blank text found.

    Attributes:
        scores: one a token, (steps,), float64.
        text: the model's outputs for the text, (1, n).
        blank: the same for the blank text.
    """

    scores: np.ndarray
    text: Tensor
    blank: Tensor


def integrated_gradients(
    model: TextClassifier,
    ids: Tensor,
    output: Callable[[Tensor], Tensor],
    *,
    steps: int = 32,
    kept: Tensor | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Integrated:
    """How much of one number each token of a text makes up (Sundararajan, Taly & Yan 2017).

    The way leads in a straight line from a blank text, as many zero vectors as the text has words, to the
    vectors of its words. All of the text gets gradients, whatever the model's `max_len`: it is read in
    stretches, and what a stretch computed is forgotten and computed again when the gradients come back.

    Nothing of the model changes: modes, gradients of weights, and random generators are as before.

    Args:
        model: on any device; its dropout is off.
        ids: of one text, (steps,).
        output: the number of a row of outputs, (rows, n) -> (rows,).
        steps: points of the way where gradients are taken, at least 1.
        kept: which tokens are the same in the blank text, (steps,); none by default.
        tokens_at_once: of all rows that are in memory together.
    """
    n = len(ids)
    rows = max(1, min(steps, tokens_at_once // min(n, max(SHORTEST, tokens_at_once // steps))))
    stretch = max(SHORTEST, tokens_at_once // rows)
    # cuDNN has no gradients in evaluation mode, which keeps dropout off; tensors of inference mode have none
    with (
        torch.inference_mode(False), preserve_modes(model), torch.backends.cudnn.flags(enabled=False),
        torch.autocast(ids.device.type, enabled=False),
    ):  # fmt: skip
        model.eval()
        points, weights = _points(steps)
        scores = torch.zeros(n, dtype=torch.float64)
        ids = ids[None].clone()
        real = torch.zeros_like(ids, dtype=torch.bool) if kept is None else kept[None].clone()
        with torch.no_grad():
            both = torch.tensor([1.0, 0.0], device=ids.device)
            ends = _outputs_on_the_way(model, ids, real, both, stretch, None).float().cpu()
        for start in range(0, steps, rows):
            part = slice(start, start + rows)
            with torch.enable_grad():
                pushes = torch.zeros(n, device=ids.device, requires_grad=True)
                shares = points[part].to(ids.device)
                found = output(_outputs_on_the_way(model, ids, real, shares, stretch, pushes))
                (slopes,) = torch.autograd.grad(found @ weights[part].to(found), pushes)
            scores += slopes.double().cpu()
    return Integrated(scores.numpy(), ends[:1], ends[1:])


def _points(steps: int) -> tuple[Tensor, Tensor]:
    """Places between 0 and 1, and weights, of the Gauss-Legendre rule."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return torch.tensor((places + 1) / 2, dtype=torch.float32), torch.tensor(weights / 2)


def _outputs_on_the_way(
    model: TextClassifier, ids: Tensor, kept: Tensor, alphas: Tensor, stretch: int, pushes: Tensor | None
) -> Tensor:
    """The outputs, (rows, n), for the vectors of a text multiplied by each of `alphas`.

    The vector of word t is multiplied by `alphas + pushes[t]`: the slope by a push is that of going farther
    with this word alone, the sum over its features of vector times gradient.
    """
    rows, steps = len(alphas), ids.shape[1]
    lengths = torch.full((rows,), steps, device=ids.device)

    def read(start: int, end: int, push: Tensor | None, state: list[State], pool: PoolState) -> tuple:
        with torch.no_grad():
            vectors = model.encoder.embedding(ids[:, start:end]).expand(rows, -1, -1)
        share = alphas[:, None].expand(rows, end - start)
        if push is not None:
            share = share + push
        share = torch.where(kept[:, start:end], 1.0, share)
        x, state = model.encoder.forward_embedded(vectors * share[..., None].to(vectors.dtype), state)
        pool = copy.copy(pool)  # a second reading starts from the same
        pool.add(x, torch.full((rows,), end - start, device=x.device))
        return state, pool

    state, pool = model.encoder.initial_state(rows), PoolState()
    for start, end in itertools.pairwise([*range(0, steps, stretch), steps]):
        push = None if pushes is None else pushes[start:end]
        if push is None or steps <= stretch:
            state, pool = read(start, end, push, state, pool)
        else:
            state, pool = checkpoint(
                read, start, end, push, state, pool, use_reentrant=False, preserve_rng_state=False
            )
    shares = alphas[:, None] + (0.0 if pushes is None else pushes)
    shares = torch.where(kept, 1.0, shares.expand(rows, steps))
    return model.with_linear(model.head(pool.pooled(lengths)), ids.expand(rows, -1), shares)
