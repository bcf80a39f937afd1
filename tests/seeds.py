"""What a `seed` of a new learner promises, in every domain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def check_seed_of_first_weights(make_model: Callable[[int | None], nn.Module]) -> None:
    """The seed alone decides the first weights, and torch's global draws go on as if nothing had happened."""

    def weights(seed: int | None) -> torch.Tensor:
        return torch.cat([part.detach().flatten() for part in make_model(seed).parameters()])

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = weights(0)
    assert torch.rand(1) == expected
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)
    assert not torch.equal(weights(None), weights(None))
