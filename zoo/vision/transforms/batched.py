"""Random views of many pictures at once: drawn as `ImageTransform.view` draws them, carried out together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from zoo.vision.transforms.augment import (
    GREY,
    RandomDihedral,
    RandomFlip,
    RandomGeometry,
    RandomLighting,
    RandomPerspective,
    RandomRotate,
)
from zoo.vision.transforms.draws import Draws, draws_agree
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import PadMode, Size, View
from zoo.vision.transforms.warp import Pixels, sampled, to_unit, warp_pixels, warp_values

_KNOWN = (RandomFlip, RandomDihedral, RandomRotate, RandomPerspective, RandomLighting)
_MODES: tuple[PadMode, ...] = ("reflect", "constant", "edge")
_TURNS = np.stack(
    [np.linalg.matrix_power(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), k) for k in range(4)]
)
_MIRROR = np.diag([-1.0, 1.0, 1.0])


def can_batch(tfm: ImageTransform) -> bool:
    """Whether all views of a transform can be drawn and carried out together: no code of users is in it."""
    return type(tfm) is ImageTransform and all(type(one) in _KNOWN for one in tfm.augment) and draws_agree()


@dataclass
class BatchViews:
    """As many views as rows; see `View` for what the numbers mean.

    Attributes:
        sources: height and width of each picture.
        scaled: (rows, 2) height and width.
        size: of all results.
        matrix: (rows, 3, 3).
        mode: (rows,) number of the pad mode.
        lights: factors of brightness and contrast, (rows, 2), for each `RandomLighting`.
        interpolation: as of a `View`.
        bordered: likewise.
    """

    sources: list[Size]
    scaled: np.ndarray
    size: Size
    matrix: np.ndarray
    mode: np.ndarray
    lights: list[np.ndarray]
    interpolation: str
    bordered: bool

    def __len__(self) -> int:
        return len(self.scaled)

    def view(self, row: int) -> View:
        """One of them; what it is of has the size `sources[row]`."""
        height, width = self.scaled[row].tolist()
        return View(
            self.sources[row],
            (height, width),
            self.size,
            tuple(self.matrix[row].ravel().tolist()),
            _MODES[self.mode[row]],
            self.interpolation,
            plain=False,
            bordered=self.bordered,
        )

    def take(self, rows: np.ndarray) -> BatchViews:
        """Some of them."""
        lights = [factors[rows] for factors in self.lights]
        return replace(
            self,
            sources=[self.sources[row] for row in rows],
            scaled=self.scaled[rows],
            matrix=self.matrix[rows],
            mode=self.mode[rows],
            lights=lights,
        )

    def all_show(self, mode: PadMode) -> bool:
        """Whether this is what all of them show beyond the edges."""
        return bool((self.mode == _MODES.index(mode)).all())

    @property
    def on_grid(self) -> np.ndarray:
        """(rows,) of bool: pixels of the result are pixels of the scaled picture."""
        m = self.matrix
        zero = m == 0
        ones = np.abs(m) == 1
        upright = ones[:, 0, 0] & ones[:, 1, 1] & zero[:, 0, 1] & zero[:, 1, 0]
        turned = ones[:, 0, 1] & ones[:, 1, 0] & zero[:, 0, 0] & zero[:, 1, 1]
        plain = zero[:, 2, 0] & zero[:, 2, 1] & (m[:, 2, 2] == 1)
        return (upright | turned) & plain & (m[:, :2, 2] == np.rint(m[:, :2, 2])).all(1)


def batch_views(tfm: ImageTransform, sources: np.ndarray, seeds: np.ndarray) -> BatchViews:
    """The views that `tfm.view(source, default_rng(seed))` gives, and what lighting draws after it.

    Args:
        tfm: of which `can_batch` is true, with a size.
        sources: (rows, 2) height and width of each picture.
        seeds: (rows,) uint64.
    """
    assert tfm.size is not None  # noqa: S101 (of which can_batch is true)
    draws, rows = Draws(seeds), len(seeds)
    zoom = draws.uniform(1.0, tfm.max_zoom)
    moves = [(one, *_drawn(one, draws)) for one in tfm.augment if isinstance(one, RandomGeometry)]
    turned = np.zeros(rows, bool)
    for _, chosen, _, turns in moves:
        turned ^= chosen & turns
    wanted = np.where(turned[:, None], tfm.size[::-1], tfm.size)
    scaled, offset = _fitted(tfm, sources, wanted, zoom, draws)
    matrix = np.tile(np.eye(3), (rows, 1, 1))
    matrix[:, :2, 2] = offset[:, ::-1]
    first = "constant" if tfm.crop == "letterbox" else tfm.pad_mode
    mode = np.full(rows, _MODES.index(first))
    size = wanted
    for one, chosen, moved, turns in moves:
        after = np.where((chosen & turns)[:, None], size[:, ::-1], size)
        onto = _about(moved(size), size, after)
        matrix = np.where(chosen[:, None, None], _product(matrix, onto), matrix)
        if one.pad_mode is not None and tfm.crop != "letterbox":  # whose borders stay black
            mode = np.where(chosen, _MODES.index(one.pad_mode), mode)
        size = after
    lights = [
        np.stack(
            [
                draws.uniform(1 - one.brightness, 1 + one.brightness),
                draws.uniform(1 - one.contrast, 1 + one.contrast),
            ],
            1,
        )
        for one in tfm.augment
        if isinstance(one, RandomLighting)
    ]
    sizes = [(height, width) for height, width in sources.tolist()]
    bordered = tfm.crop == "letterbox"
    return BatchViews(sizes, scaled, tfm.size, matrix, mode, lights, tfm.interpolation, bordered)


Moved: TypeAlias = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], np.ndarray]


def _drawn(one: RandomGeometry, draws: Draws) -> Moved:
    """Which rows are moved; what takes sizes (rows, 2) to the matrices; which rows are turned by quarters."""
    rows = len(draws)
    no_turn = np.zeros(rows, bool)
    if isinstance(one, RandomFlip):
        chosen = draws.random() < one.p
        return chosen, lambda sizes: np.broadcast_to(_MIRROR, (rows, 3, 3)), no_turn
    if isinstance(one, RandomDihedral):
        everyone = np.ones(rows, bool)
        symmetry = draws.integers(np.full(rows, 8), everyone)
        found = _TURNS[symmetry % 4]
        found = np.where((symmetry >= 4)[:, None, None], _MIRROR @ found, found)
        return everyone, lambda sizes: found, symmetry % 2 == 1
    if isinstance(one, RandomRotate):
        chosen = draws.random() < one.p
        angle = np.radians(draws.uniform(-one.degrees, one.degrees))
        turned = np.tile(np.eye(3), (rows, 1, 1))
        turned[:, 0, 0], turned[:, 0, 1] = np.cos(angle), -np.sin(angle)
        turned[:, 1, 0], turned[:, 1, 1] = np.sin(angle), np.cos(angle)
        return chosen, lambda sizes: turned, no_turn
    assert isinstance(one, RandomPerspective)  # noqa: S101 (_KNOWN)
    chosen = draws.random() < one.p
    shifts = np.stack([draws.uniform(-one.magnitude, one.magnitude) for _ in range(8)], 1).reshape(-1, 4, 2)
    return chosen, lambda sizes: _homographies(sizes, shifts), no_turn


def _homographies(sizes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    sides = sizes[:, None, ::-1].astype(np.float64)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (sides / 2)
    moved = corners - shifts * sides
    x, y, u, v = corners[..., 0], corners[..., 1], moved[..., 0], moved[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    first = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    equations = np.stack([first, second], 2).reshape(len(sizes), 8, 8)
    numbers = np.linalg.solve(equations, moved.reshape(len(sizes), 8, 1))[..., 0]
    return np.concatenate([numbers, np.ones((len(sizes), 1))], 1).reshape(-1, 3, 3)


def _fitted(
    tfm: ImageTransform, sources: np.ndarray, wanted: np.ndarray, zoom: np.ndarray, draws: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled sizes and the upper left corners of the cuts, (rows, 2) of y and x; see `View.fit`."""
    scale = wanted / sources
    if tfm.crop == "letterbox":
        scale = np.repeat(scale.min(1, keepdims=True), 2, 1)
    elif tfm.crop != "squash":
        scale = np.repeat(scale.max(1, keepdims=True), 2, 1)
    scaled = np.maximum(1, np.rint(sources * scale * zoom[:, None])).astype(np.int64)
    over = scaled - wanted
    centred = np.where(over >= 0, np.rint(over / 2).astype(np.int64), -(-over // 2))
    spare = over + 2 * tfm.pad
    free = np.full(len(zoom), tfm.crop not in ("center", "letterbox")) & (spare.min(1) >= 0)
    drawn = [draws.integers(np.where(free, spare[:, axis] + 1, 1), free) - tfm.pad for axis in (0, 1)]
    return scaled, np.where(free[:, None], np.stack(drawn, 1), centred)


def _about(matrix: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """See `about_centres`."""
    there, back = np.tile(np.eye(3), (2, len(matrix), 1, 1))
    there[:, :2, 2], back[:, :2, 2] = before[:, ::-1] / 2, -after[:, ::-1] / 2
    return _product(_product(there, matrix), back)


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = first @ second
    return total / total[:, 2:, 2:]


# ---- carried out


def seen_row(item: Pixels, views: BatchViews, row: int) -> tuple[Tensor, View]:
    """What one of the views shows of its picture, C x h x w of the picture's type, and the view.

    Args:
        item: a Pillow image or a C x H x W tensor, as of `warp_picture`.
        views: of which `row` is this picture's.
        row: its number.
    """
    view = views.view(row)
    if not views.lights:
        return warp_pixels(item, view), view
    whole = not isinstance(item, Tensor) or item.dtype == torch.uint8
    values = warp_values(item, view).numpy()
    for factors in views.lights:
        brightness, contrast = factors[row].tolist()
        middle = float(values.mean((1, 2)) @ _grey(len(values)))
        values = values * np.float32(brightness * contrast)  # a copy: they may be the picture's own
        values += np.float32(brightness * (1 - contrast) * middle)
        if whole:
            np.rint(values, out=values)
        np.clip(values, 0, 255 if whole else 1, out=values)
    return torch.from_numpy(values.astype(np.uint8) if whole else values), view


def _grey(channels: int) -> np.ndarray:
    return GREY if channels == 3 else np.full(channels, 1 / channels, np.float32)


def cut_pixels(pictures: Tensor, rows: np.ndarray, views: BatchViews, border: int = 0) -> Tensor:
    """What views on the grid of the pictures show, by moving pixels alone.

    Args:
        pictures: N x C x H x W, any dtype; not scaled.
        rows: which of them; each may come several times.
        views: as many as `rows`, all `on_grid`.
        border: so many pixels on each side were added already, as the views want it.

    Returns:
        rows x C x h x w.
    """
    m = views.matrix
    if pictures.device.type == "cpu" and (m[:, 0, 0] != 0).all() and (m[:, 1, 1] > 0).all():
        found = _windows(pictures, rows, views, border)
        if found is not None:
            return found
    chosen = torch.from_numpy(rows).to(pictures.device)
    inner = pictures[..., border : pictures.shape[2] - border, border : pictures.shape[3] - border]
    return _moved_pixels(inner.index_select(0, chosen), views)


def _windows(pictures: Tensor, rows: np.ndarray, views: BatchViews, border: int) -> Tensor | None:
    """Windows of upright pictures, mirrored or not; None where one reaches beyond the border."""
    height, width = views.size
    m = views.matrix
    mirrored = m[:, 0, 0] < 0
    top = m[:, 1, 2].astype(np.int64) + border
    left = np.where(mirrored, m[:, 0, 2] - width, m[:, 0, 2]).astype(np.int64) + border
    below, right = pictures.shape[2] - height, pictures.shape[3] - width
    if min(top.min(), left.min()) < 0 or top.max() > below or left.max() > right:
        return None
    pixels = pictures.numpy()
    found = np.empty((len(rows), pixels.shape[1], height, width), pixels.dtype)
    for chosen, seen, first in (
        (~mirrored, pixels, left), (mirrored, pixels[..., ::-1], right - left)
    ):  # fmt: skip
        windows = sliding_window_view(seen, views.size, (2, 3))
        found[chosen] = windows[rows[chosen], :, top[chosen], first[chosen]]
    return torch.from_numpy(found)


def _moved_pixels(pictures: Tensor, views: BatchViews) -> Tensor:
    rows, _, height, width = pictures.shape
    m = views.matrix
    y, x = np.arange(views.size[0]) + 0.5, np.arange(views.size[1]) + 0.5
    turned = m[:, 0, 0] == 0
    along_x = np.floor(np.where(turned, m[:, 1, 0], m[:, 0, 0])[:, None] * x + _shift(m, turned)[:, None])
    along_y = np.floor(np.where(turned, m[:, 0, 1], m[:, 1, 1])[:, None] * y + _shift(m, ~turned)[:, None])
    sizes_x = np.where(turned, height, width)[:, None]
    sizes_y = np.where(turned, width, height)[:, None]
    inner_x, beyond_x = _folded(along_x.astype(np.int64), sizes_x, views.mode)
    inner_y, beyond_y = _folded(along_y.astype(np.int64), sizes_y, views.mode)
    step_x, step_y = np.where(turned, width, 1)[:, None], np.where(turned, 1, width)[:, None]
    device = pictures.device
    place = (
        torch.from_numpy(inner_y * step_y).to(device)[:, :, None]
        + torch.from_numpy(inner_x * step_x).to(device)[:, None, :]
    )
    flat = pictures.reshape(rows, -1, height * width)
    wanted = place.view(rows, 1, -1).expand(-1, flat.shape[1], -1)
    found = flat.gather(2, wanted).view(rows, -1, *views.size)
    if beyond_x is not None and beyond_y is not None:
        black = torch.from_numpy(beyond_y[:, :, None] | beyond_x[:, None, :]).to(device)
        found.masked_fill_(black[:, None], 0)
    return found


def _shift(m: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    return np.where(of_y, m[:, 1, 2], m[:, 0, 2])


def _folded(places: np.ndarray, n: np.ndarray, mode: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Whole numbers, (rows, k), brought into 0 to n - 1; and, with constant padding, which were beyond."""
    clipped = places.clip(0, n - 1)
    period = np.maximum(1, 2 * (n - 1))
    mirrored = np.abs(places) % period
    mirrored = np.minimum(mirrored, period - mirrored).clip(0, n - 1)
    found = np.where((mode == _MODES.index("reflect"))[:, None], mirrored, clipped)
    constant = mode == _MODES.index("constant")
    beyond = ((places < 0) | (places >= n)) & constant[:, None] if constant.any() else None
    return found, beyond


def sample_pixels(pictures: Tensor, sizes: np.ndarray, views: BatchViews) -> Tensor:
    """What views show, bilinearly: one step for all rows.

    Args:
        pictures: N x C x H x W, float; each picture fills the upper left part of its own size.
        sizes: (rows, 2) height and width of each.
        views: as many.

    Returns:
        N x C x h x w, float, not rounded.
    """
    onto = views.matrix.copy()
    ratio = sizes / views.scaled
    onto[:, 0] *= ratio[:, 1:]
    onto[:, 1] *= ratio[:, :1]
    modes, whole = set(np.unique(views.mode).tolist()), (pictures.shape[2], pictures.shape[3])
    if len(modes) == 1 and (sizes == whole).all():
        mode = _MODES[modes.pop()]
        unit = np.reshape(to_unit(whole, mode), (3, 3))
        return sampled(pictures, _places(unit @ onto, views.size, pictures.device), mode)
    unit = 2 / np.maximum(1, np.array(whole) - 1)
    if modes == {_MODES.index("reflect")} and _mirrors_once(onto, sizes, views.size):
        # in units of the canvas from the first pixel on: mirrored at both ends, a sweep for each operation
        shift = np.array([[unit[1], 0, -unit[1] / 2], [0, unit[0], -unit[0] / 2], [0, 0, 1]])
        places = _places(shift @ onto, views.size, pictures.device).abs_()
        last = torch.from_numpy(((sizes - 1) * unit)[:, None, None, ::-1].astype(np.float32))
        last = last.to(pictures.device)
        places = torch.sub(last - 1, places.sub_(last).abs_())
        return nnf.grid_sample(pictures, places, padding_mode="border", align_corners=True)
    across, down = _places(onto, views.size, pictures.device).unbind(-1)
    limits = torch.from_numpy(sizes.astype(np.float32) - 1).to(pictures.device)
    modes_of_rows = torch.from_numpy(views.mode).to(pictures.device)[:, None, None]
    across, seen_x = _inside(across - 0.5, limits[:, 1, None, None], modes_of_rows, modes)
    down, seen_y = _inside(down - 0.5, limits[:, 0, None, None], modes_of_rows, modes)
    grid = torch.stack([across * unit[1] - 1, down * unit[0] - 1], -1)
    found = nnf.grid_sample(pictures, grid, padding_mode="border", align_corners=True)
    if seen_x is not None and seen_y is not None:
        found *= (seen_x * seen_y)[:, None]
    return found


def _mirrors_once(onto: np.ndarray, sizes: np.ndarray, size: Size) -> bool:
    """Whether nothing is seen from so far beyond an edge that it would be mirrored again; the corners of the
    results lie the farthest out."""
    corners = np.array([[0.0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]])
    seen = onto @ corners
    places = seen[:, :2] / seen[:, 2:]
    last = sizes[:, ::-1, None] - 1
    return bool(((places - 0.5 >= -last) & (places - 0.5 <= 2 * last)).all() and (seen[:, 2] > 0).all())


def _places(matrix: np.ndarray, size: Size, device: torch.device) -> Tensor:
    """Where the centres of all pixels of the results lie, rows x h x w x 2; see `places_of`."""
    x = torch.arange(size[1], device=device) + 0.5
    y = torch.arange(size[0], device=device)[:, None] + 0.5
    both = (matrix[:, 0] + 1j * matrix[:, 1]).astype(np.complex64)  # x and y as one number
    a, b, c = (torch.from_numpy(both[:, i]).to(device)[:, None, None] for i in range(3))
    found = torch.view_as_real(torch.add(a * x + c, b * y))
    if (matrix[:, 2, :2] == 0).all():
        return found
    last = torch.from_numpy(matrix[:, 2].astype(np.float32)).to(device)
    depth = last[:, 0, None, None] * x + last[:, 1, None, None] * y + last[:, 2, None, None]
    return found / depth[..., None]


def _inside(at: Tensor, last: Tensor, mode: Tensor, modes: set[int]) -> tuple[Tensor, Tensor | None]:
    """Places brought between 0 and `last`; and, with constant padding, how much of each is seen."""
    found = torch.minimum(at.clamp(min=0), last)
    reflect, constant = _MODES.index("reflect"), _MODES.index("constant")
    if reflect in modes:
        period = (2 * last).clamp(min=1)
        mirrored = at.abs() % period
        mirrored = torch.minimum(torch.minimum(mirrored, period - mirrored), last)
        found = mirrored if modes == {reflect} else torch.where(mode == reflect, mirrored, found)
    if constant not in modes:
        return found, None
    seen = (at + 1).clamp(0, 1) * (last + 1 - at).clamp(0, 1)
    return found, torch.where(mode == constant, seen, torch.ones_like(seen))


def lit(values: Tensor, factors: np.ndarray) -> Tensor:
    """`RandomLighting` of N x C x H x W values from 0 to 255, as floats that are not rounded.

    Args:
        values: changed in place.
        factors: (rows, 2) of brightness and contrast.
    """
    brightness, contrast = torch.from_numpy(factors.astype(np.float32)).to(values.device).unbind(1)
    middle = values.mean((2, 3)) @ torch.from_numpy(_grey(values.shape[1])).to(values.device)
    values.mul_((brightness * contrast)[:, None, None, None])
    values.add_((brightness * (1 - contrast) * middle)[:, None, None, None])
    return values.clamp_(0, 255)
