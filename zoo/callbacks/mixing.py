"""Training on mixtures of pairs of rows: mixup and cutmix."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.seeding import mix_seeds
from zoo.engine.callback import Callback
from zoo.engine.closures import needs_closure
from zoo.engine.state import State


class Mixing(Callback):
    """Base of the callbacks that mix every training batch with itself in another order.

    The loss is the mean of those against both targets, weighed by their shares, so that any loss will do:
    one that smooths labels, or one of several labels. It is what the recorder and the progress bar show.
    Validation and metrics see rows as they are. The draws are a pure function of the loader's seed, the
    epoch and the batch, so that a fit that goes on from a checkpoint draws the same.

    Args:
        alpha: both parameters of the beta distribution that the share of the first row is drawn from, once
            a batch; small ones leave most batches nearly as they are, 1 draws all shares alike.

    Raises:
        ValueError: if `alpha` is not positive; in the fit, if two of them mix at once.
        TypeError: in the fit, for inputs or targets that cannot be mixed.
    """

    order = 0
    event_orders = {"after_loss": -120}  # the loss of the batch, before others weigh or exchange it
    in_finder = True
    _at_work: ClassVar[dict[int, Mixing]] = {}

    def __init__(self, alpha: float) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
            raise ValueError(f"{type(self).__name__}: alpha must be a positive number, got {alpha!r}")
        self.alpha = float(alpha)
        self._other: Any = None
        self._share = 1.0

    def mixed(self, inputs: tuple, order: Tensor, share: float, rng: np.random.Generator) -> tuple:
        """Inputs mixed with themselves in another order.

        Returns:
            The new inputs, and the share of the first rows that they have.
        """
        raise NotImplementedError

    def before_fit(self, state: State) -> None:
        name = type(self).__name__
        if needs_closure(state.opt):
            raise ValueError(
                f"{name}: {type(getattr(state.opt, 'opt', state.opt)).__name__} evaluates the loss of a "
                "batch itself, without what is mixed in: use another optimizer"
            )
        other = self._at_work.setdefault(id(state), self)
        if other is not self:
            raise ValueError(
                f"{type(other).__name__} and {name} cannot both mix the batches of a fit: give one of them"
            )

    def before_batch(self, state: State) -> None:
        if not state.training:
            return
        self._check_target(state)
        seed = mix_seeds(getattr(state.loader, "seed", 0), state.epoch, state.batch_index)
        rng = np.random.default_rng(seed)
        share = float(rng.beta(self.alpha, self.alpha))
        device = state.inputs[0].device if isinstance(state.inputs[0], Tensor) else state.device
        generator = torch.Generator(device).manual_seed(seed)
        order = torch.randperm(len(state.target), generator=generator, device=device)
        state.inputs, self._share = self.mixed(state.inputs, order, share, rng)
        self._other = state.target[order]

    def after_loss(self, state: State) -> None:
        if not state.training or self._other is None:
            return
        with state.forward_context():
            other = state.loss_fn(state.preds, self._other)
        state.loss = self._share * state.loss + (1 - self._share) * other

    def cleanup_batch(self, state: State) -> None:
        self._other = None

    def cleanup_fit(self, state: State) -> None:
        self._at_work.pop(id(state), None)
        self._other = None

    def _check_target(self, state: State) -> None:
        if not isinstance(state.target, Tensor) or not state.target.ndim:
            raise TypeError(
                f"{type(self).__name__} mixes pairs of rows, which needs targets in one tensor with a row "
                f"for each, got {type(state.target).__name__}"
            )


class Mixup(Mixing):
    """Trains on weighed means of pairs of inputs (Zhang et al. 2018, "mixup: Beyond Empirical Risk
    Minimization").

    For classes, several labels and numbers. Usual values of alpha are 0.1 to 0.4 for pictures.

    Args:
        alpha: see `Mixing`.

    Example:
        >>> import zoo
        >>> from torch import nn
        >>> data = zoo.ModelData(zoo.TensorLoader(torch.rand(8, 2), torch.tensor([0, 1] * 4), bs=4, seed=1))
        >>> learn = zoo.Learner(data, nn.Linear(2, 2), device="cpu", progress=False)
        >>> rows = learn.fit(0.1, 1, callbacks=[Mixup(0.4)])
    """

    def __init__(self, alpha: float = 0.4) -> None:
        super().__init__(alpha)

    def mixed(self, inputs: tuple, order: Tensor, share: float, rng: np.random.Generator) -> tuple:
        for part in inputs:
            if not isinstance(part, Tensor) or not part.is_floating_point() or len(part) != len(order):
                kind = part.dtype if isinstance(part, Tensor) else type(part).__name__
                raise TypeError(f"Mixup takes means of inputs, which need float tensors, got {kind}")
        return tuple(torch.lerp(part[order], part, share) for part in inputs), share


class Cutmix(Mixing):
    """Trains on pictures with a rectangle of another one in them (Yun et al. 2019, "CutMix: Regularization
    Strategy to Train Strong Classifiers with Localizable Features").

    The share of each target is that of its pixels, so targets are classes or labels of whole pictures.

    Args:
        alpha: see `Mixing`.

    Example:
        >>> mixed, share = Cutmix().mixed(
        ...     (torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 8, 8),), torch.tensor([1, 0]), 0.75,
        ...     np.random.default_rng(0))
        >>> bool(torch.isclose(mixed[0][0].mean(), torch.tensor(1 - share)))
        True
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def mixed(self, inputs: tuple, order: Tensor, share: float, rng: np.random.Generator) -> tuple:
        pictures = inputs[0] if len(inputs) == 1 else None
        if not isinstance(pictures, Tensor) or pictures.ndim != 4 or len(pictures) != len(order):
            shapes = [
                tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in inputs
            ]
            raise TypeError(
                f"Cutmix needs pictures, N x channels x height x width, as the only input; got {shapes}"
            )
        height, width = pictures.shape[2:]
        side = math.sqrt(1 - share)
        y, x = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = _cut(y, height, side)
        left, right = _cut(x, width, side)
        found = pictures.clone()
        found[:, :, top:bottom, left:right] = pictures[order, :, top:bottom, left:right]
        return (found,), 1 - (bottom - top) * (right - left) / (height * width)

    def _check_target(self, state: State) -> None:
        super()._check_target(state)
        task = getattr(state.data, "task", None)
        if task not in (None, "classification", "multilabel") or state.target.ndim > 2:
            raise TypeError(
                "Cutmix gives each target the share of its pixels, which means nothing for "
                f"{task or 'targets of this shape'}: it is for classes and labels; Mixup takes others too"
            )


def _cut(centre: int, length: int, share: float) -> tuple[int, int]:
    """Where a stretch of a share of a length begins and ends, cut at the edges."""
    half = round(length * share) / 2
    return max(0, round(centre - half)), min(length, round(centre + half))
