"""The mean over several views of answers that lie in the picture: maps of its pixels, and points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.vision.targets.base import Target
from zoo.vision.transforms.view import View


class ViewTarget(Target):
    """In the place of a target: the view through which each picture is seen, as numbers."""

    kind: ClassVar[str] = "view"
    follows: ClassVar[bool] = True

    @property
    def n_out(self) -> int:
        return 0

    def row(self, raw: Any, view: View | None) -> Tensor:
        if view is None:
            raise TypeError("there is no view")
        return torch.tensor([*view.source, *view.scaled, *view.size, *view.matrix], dtype=torch.float64)

    def text(self, value: Any) -> str:
        return ""


def views_of(numbers: Tensor) -> list[View]:
    """The views that rows of `ViewTarget` stand for."""
    found = []
    for row in numbers.tolist():
        sides = [int(side) for side in row[:6]]
        found.append(View((sides[0], sides[1]), (sides[2], sides[3]), (sides[4], sides[5]), tuple(row[6:])))
    return found


class MeanOfMaps:
    """Adds up maps of several views of the same pictures, each where it was seen from.

    Example:
        >>> plain = View.fit((4, 4), (4, 4))
        >>> mirrored = plain.through((-1, 0, 4, 0, 1, 0, 0, 0, 1), (4, 4))
        >>> first = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> mean = MeanOfMaps()
        >>> mean.add(first, [plain], [plain])
        >>> mean.add(first.flip(3), [mirrored], [plain])
        >>> torch.allclose(mean.result(), first)
        True
    """

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._seen: Tensor | None = None

    def add(self, maps: Tensor, views: Sequence[View], plain: Sequence[View]) -> None:
        """Add the maps of one view of every picture.

        Args:
            maps: N x C x h x w, of the size of the views or a multiple of it.
            views: through which the pictures were seen.
            plain: the views in which the mean is wanted.
        """
        back = maps.float()
        inside = torch.ones_like(back[:, :1])
        if any(own != wanted for own, wanted in zip(views, plain, strict=True)):
            height, width = maps.shape[-2:]
            grids = [_grid(own, wanted, height, width) for own, wanted in zip(views, plain, strict=True)]
            grid = torch.stack(grids)
            back = F.grid_sample(back, grid, align_corners=False, padding_mode="border")
            inside = ((grid >= -1) & (grid <= 1)).all(-1)[:, None].float()
        if self._total is None or self._seen is None:
            self._total, self._seen = back * inside, inside
        else:
            self._total, self._seen = self._total + back * inside, self._seen + inside

    def result(self) -> Tensor:
        """N x C x h x w."""
        if self._total is None or self._seen is None:
            raise ValueError("there are no maps")
        return self._total / self._seen.clamp(min=1)


def _grid(own: View, wanted: View, height: int, width: int) -> Tensor:
    """Where the pixels of a map of the wanted view lie in the own one, as `grid_sample` counts (-1 to 1)."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    points = np.stack([x.ravel(), y.ravel()], 1) / [width / wanted.size[1], height / wanted.size[0]]
    if own != wanted:
        points = own.from_source(wanted.to_source(points))
    places = points / [own.size[1], own.size[0]] * 2 - 1
    return torch.from_numpy(places.reshape(height, width, 2)).float()


def points_in(values: np.ndarray, views: Sequence[View], plain: Sequence[View]) -> np.ndarray:
    """Points in [-1, 1] of views as they lie in the plain views.

    Args:
        values: N x 2k.
        views: through which the pictures were seen.
        plain: those in which the points are wanted.
    """
    found = np.empty_like(values, dtype=np.float64)
    for row, (own, wanted) in enumerate(zip(views, plain, strict=True)):
        points = (values[row].reshape(-1, 2) + 1) / 2 * [own.size[1], own.size[0]]
        moved = wanted.from_source(own.to_source(points))
        found[row] = (moved / [wanted.size[1], wanted.size[0]] * 2 - 1).ravel()
    return found
