"""Weights that came from a file, into a model."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.errors import some


def load_weights(model: nn.Module, tensors: dict[str, Tensor], where: str, kind: str | None) -> None:
    """Put tensors into a model.

    Args:
        model: changed only if all of them fit.
        tensors: by the names of `model.state_dict()`.
        where: the file, for the error.
        kind: class of the model that they were saved from, where that is known.

    Raises:
        ValueError: naming what is missing, too many, or of another shape.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    other = [
        f"{name} ({tuple(tensors[name].shape)} instead of {tuple(value.shape)})"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if missing or extra or other:
        parts = [
            f"{what}: {some(names)}"
            for what, names in (
                ("missing", missing),
                ("not in the model", extra),
                ("of another shape", other),
            )
            if names
        ]
        of = f" of a {kind}" if kind and kind != type(model).__name__ else ""
        raise ValueError(
            f"the weights{of} in {where} do not fit this {type(model).__name__}: {'; '.join(parts)}"
        )
    model.load_state_dict(tensors)
