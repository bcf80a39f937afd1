"""All kinds of targets, by the names that archives give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import some
from zoo.vision.targets.base import Target
from zoo.vision.targets.boxes import BoxTarget
from zoo.vision.targets.labelled import ClassTarget, TagsTarget
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.targets.values import PointsTarget, ValueTarget

KINDS: dict[str, type[Target]] = {
    kind.kind: kind
    for kind in (ClassTarget, TagsTarget, ValueTarget, PointsTarget, MaskTarget, PictureTarget, BoxTarget)
}


def target_of(state: Mapping[str, Any]) -> Target:
    """The target that an archive describes; those of older archives by their classes."""
    if "target" not in state:
        return (TagsTarget if state["is_multi"] else ClassTarget)(state["classes"])
    kind = state["target"]["kind"]
    if kind not in KINDS:
        raise ValueError(
            f"the archive has targets of the kind {kind!r}, which this version does not know; it knows "
            f"{some(KINDS)}"
        )
    return KINDS[kind].from_state(state["target"])
