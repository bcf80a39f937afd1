"""How a model begins with targets, and whether it goes on with those of other data."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoo.vision.targets.base import TOLD, Target
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.targets.values import PointsTarget, ValueTarget
from zoo.vision.transforms.warp import VOID


def begins_at_zero(target: Target | None) -> bool:
    """Whether 0 is the middle of what a network learns: of points, and of standardised values.

    Example:
        >>> begins_at_zero(PointsTarget(["nose"])), begins_at_zero(ValueTarget(["age"], [0.0], [1.0]))
        (True, False)
    """
    if isinstance(target, ValueTarget):
        return bool((target.mean != 0).any() or (target.std != 1).any())
    return isinstance(target, PointsTarget)


def check_same_kind(old: Target | None, new: Target | None) -> None:
    """Refuse targets that a model was not made for.

    Args:
        old: what the model was made for; None where that is not known.
        new: of the new data.

    Raises:
        ValueError: another kind, other names of values or points, another scale.

    Example:
        >>> check_same_kind(PointsTarget(["nose"]), PointsTarget(["nose"]))
    """
    if old is None or new is None:
        return
    if old.kind != new.kind:
        if {old.kind, new.kind} == {"class", "tags"}:
            return  # told as several labels per picture
        raise ValueError(f"the new data have {TOLD[new.kind]}, the model was made for {TOLD[old.kind]}")
    before, after = (getattr(target, "names", None) for target in (old, new))
    if before != after:
        raise ValueError(f"the new data have the names {after}, the model was made for {before}")
    if isinstance(old, PictureTarget) and isinstance(new, PictureTarget) and old.scale != new.scale:
        raise ValueError(f"scale {new.scale} in the new data, but the model was made for {old.scale}")


def in_units_of(old: Target | None, data: Any) -> Any:
    """The data with values as the model learned them: by the mean and deviation of its first pictures.

    Args:
        old: the target of the model.
        data: the new data; it is not changed.

    Example:
        >>> in_units_of(None, "data")
        'data'
    """
    new = getattr(data, "target", None)
    if not isinstance(old, ValueTarget) or not isinstance(new, ValueTarget):
        return data
    same = (old.mean == new.mean).all() and (old.std == new.std).all()
    return data if same else data.with_target(old)


def check_void(data: Any, loss_fn: Any) -> None:
    """Refuse a loss that would count the pixels of masks that do not count.

    Args:
        data: pictures with their targets.
        loss_fn: the loss of a learner.

    Raises:
        ValueError: a cross entropy of torch without `ignore_index=255`, where masks hold such pixels.

    Example:
        >>> check_void(None, nn.CrossEntropyLoss())
    """
    target = getattr(data, "target", None)
    if not isinstance(target, MaskTarget) or not isinstance(loss_fn, nn.CrossEntropyLoss):
        return
    crops = [f"crop={tfm.crop!r}" for tfm in data.tfms if tfm.crop == "letterbox"]
    pads = [f"pad_mode={tfm.pad_mode!r}" for tfm in data.tfms if tfm.pad_mode == "constant"]
    why = [*(f"void={name!r}" for name in target.void), *crops, *pads]
    if why and loss_fn.ignore_index != VOID:
        raise ValueError(
            f"pixels of masks that do not count ({why[0]}) are {VOID} in the targets, and this loss counts "
            f"them: CrossEntropyLoss(..., ignore_index={VOID})"
        )
