"""How a model begins with targets, and whether it goes on with those of other data."""

from __future__ import annotations

from typing import Any

from zoo.vision.targets.base import TOLD, Target
from zoo.vision.targets.maps import PictureTarget
from zoo.vision.targets.values import PointsTarget, ValueTarget


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
        raise ValueError(
            f"the new data have {TOLD[new.kind]}, the model was made for {TOLD[old.kind]}"
        )
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
