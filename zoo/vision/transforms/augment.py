"""Random views of a picture: how it is turned and warped, and what happens to its pixels.

Every draw comes from the generator that is passed in. A geometric transform says where the points of its
result lie (`matrix`), so that whatever belongs to the picture follows; the views of all of them are carried
out in one step. Other transforms change the pixels of that result.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

from zoo.errors import did_you_mean
from zoo.vision.pictures import check_unit_range
from zoo.vision.transforms.view import PadMode, View, about_centres
from zoo.vision.transforms.warp import Pixels, as_image, picture_size, pixels_tensor, warp_picture


def _check(owner: Any, name: str, low: float, high: float = math.inf, *, below: bool = False) -> None:
    """Refuse an argument of a transform that is no number from `low` to `high`, or `below` it."""
    value, said = getattr(owner, name), f"{type(owner).__name__}: {name}"
    wanted = (
        f"a number {'from' if below else 'between'} {low:g} {'to below' if below else 'and'} {high:g}"
        if high < math.inf
        else f"a number of at least {low:g}"
    )
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{said} must be {wanted}, got {value!r}")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high) or (below and number == high):
        raise ValueError(f"{said} must be {wanted}, got {value!r}")


def _check_pad_mode(owner: Any) -> None:
    modes = [*get_args(PadMode), None]
    if owner.pad_mode not in modes:
        raise ValueError(
            f"{type(owner).__name__}: pad_mode={owner.pad_mode!r} is not one of {modes}"
            f"{did_you_mean(str(owner.pad_mode), get_args(PadMode))}"
        )


_FLIP = np.diag([-1.0, 1.0, 1.0])
_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # a quarter turn to the left


class RandomTransform(ABC):
    """Base class of random transforms of the pixels of one picture; subclass it for your own.

    It is given the picture as it will be shown, cut and turned. A result of another size is scaled and cut.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator, height: int, width: int) -> Any:
        """Pick the parameters of one view of a height x width picture; None leaves the picture as it is."""

    @abstractmethod
    def apply(self, item: Pixels, params: Any) -> Pixels:
        """Carry out what `draw` picked."""


class RandomGeometry(RandomTransform):
    """Base class of random transforms that move the points of a picture."""

    pad_mode: PadMode | None = None
    """What is seen beyond the edges; None: what the whole transform says."""

    @abstractmethod
    def matrix(self, params: Any, height: int, width: int) -> np.ndarray:
        """Where points of the result lie before the transform.

        Args:
            params: what `draw` picked.
            height: of the picture before the transform, pixels.
            width: likewise.

        Returns:
            3 x 3; takes (x, y, 1) about the centre of the result to coordinates about the centre before, up
            to a common factor.
        """

    def turns(self, params: Any) -> bool:
        """Whether height and width change places."""
        return False

    def apply(self, item: Pixels, params: Any) -> Pixels:
        """One picture, moved alone."""
        size = picture_size(item)
        return warp_picture(item, self.onto(View(size, size, size), params))

    def onto(self, view: View, params: Any) -> View:
        """What is seen of a view's result after this transform."""
        height, width = view.size
        size = (width, height) if self.turns(params) else (height, width)
        between = about_centres(self.matrix(params, height, width), view.size, size)
        return view.through(between, size, pad_mode=self.pad_mode)


@dataclass(frozen=True)
class RandomFlip(RandomGeometry):
    """Mirror left-right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check(self, "p", 0, 1)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> bool | None:
        return True if rng.random() < self.p else None

    def matrix(self, params: bool, height: int, width: int) -> np.ndarray:
        return _FLIP


@dataclass(frozen=True)
class RandomDihedral(RandomGeometry):
    """One of the eight symmetries of the square, all equally likely (four quarter turns, mirrored or not).

    After a quarter turn of a rectangular view the picture is scaled anew to cover it.
    """

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, bool]:
        symmetry = int(rng.integers(8))
        return symmetry % 4, symmetry >= 4

    def matrix(self, params: tuple[int, bool], height: int, width: int) -> np.ndarray:
        turns, mirrored = params
        turned = np.linalg.matrix_power(_TURN, turns)
        return _FLIP @ turned if mirrored else turned

    def turns(self, params: tuple[int, bool]) -> bool:
        return params[0] % 2 == 1


@dataclass(frozen=True)
class RandomRotate(RandomGeometry):
    """Turn about the centre of the view by a uniform angle in [-degrees, degrees] with probability `p`.

    Args:
        degrees: largest angle.
        p: how often.
        pad_mode: what is seen beyond the picture's edges.
    """

    degrees: float = 10.0
    p: float = 0.75
    pad_mode: PadMode | None = None

    def __post_init__(self) -> None:
        _check(self, "degrees", 0)
        _check(self, "p", 0, 1)
        _check_pad_mode(self)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> float | None:
        chosen, angle = rng.random() < self.p, float(rng.uniform(-self.degrees, self.degrees))
        return angle if chosen else None

    def matrix(self, params: float, height: int, width: int) -> np.ndarray:
        cos, sin = np.cos(np.radians(params)), np.sin(np.radians(params))
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class RandomPerspective(RandomGeometry):
    """Move each corner by up to `magnitude` of the sides with probability `p`: another point of view.

    Args:
        magnitude: below 0.5.
        p: how often.
        pad_mode: what is seen beyond the picture's edges.
    """

    magnitude: float = 0.1
    p: float = 0.5
    pad_mode: PadMode | None = None

    def __post_init__(self) -> None:
        _check(self, "magnitude", 0, 0.5, below=True)
        _check(self, "p", 0, 1)
        _check_pad_mode(self)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray | None:
        chosen, shifts = rng.random() < self.p, rng.uniform(-self.magnitude, self.magnitude, (4, 2))
        return shifts if chosen else None

    def matrix(self, params: np.ndarray, height: int, width: int) -> np.ndarray:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
        return _homography(corners, corners - params * [width, height])


@dataclass(frozen=True)
class RandomLighting(RandomTransform):
    """Scale brightness and contrast (about the mean grey) by uniform factors in [1 - amount, 1 + amount].

    Args:
        brightness: the amount, at most 1.
        contrast: likewise.
    """

    brightness: float = 0.1
    contrast: float = 0.1

    def __post_init__(self) -> None:
        _check(self, "brightness", 0, 1)
        _check(self, "contrast", 0, 1)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[float, float]:
        return (
            float(rng.uniform(1 - self.brightness, 1 + self.brightness)),
            float(rng.uniform(1 - self.contrast, 1 + self.contrast)),
        )

    def apply(self, item: Pixels, params: tuple[float, float]) -> Pixels:
        if isinstance(item, Image.Image):
            return as_image(self.apply(pixels_tensor(item), params))
        brightness, contrast = params
        values = item.numpy()
        grey = GREY if len(values) == 3 else np.full(len(values), 1 / len(values), np.float32)
        middle = float(values.mean((1, 2), dtype=np.float32) @ grey)
        lit = values * np.float32(brightness * contrast)
        lit += np.float32(brightness * (1 - contrast) * middle)
        if item.dtype != torch.uint8:
            return torch.from_numpy(lit.clip(0, 1))
        return torch.from_numpy(np.rint(lit, out=lit).clip(0, 255, out=lit).astype(np.uint8))


GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""What red, green and blue count in a grey value (ITU-R BT.601)."""


@dataclass(frozen=True)
class RandomCall(RandomTransform):
    """Any callable picture -> picture that draws from torch's global generator (torchvision's transforms do).

    The global generator is seeded from the sample's own seed for the call and put back afterwards.

    Raises:
        TypeError: it is no picture, or no tensor of pixels, what the callable gives.
        ValueError: other channels than before, or values outside of what pictures hold.
    """

    function: Callable[[Any], Any]

    def draw(self, rng: np.random.Generator, height: int, width: int) -> int:
        return int(rng.integers(2**63 - 1))

    def apply(self, item: Pixels, params: int) -> Pixels:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params)
            try:
                found = self.function(item)
            except TypeError as error:
                raise TypeError(
                    f"{error}; the transform {name_of(self)} is called with one picture (a Pillow image, or "
                    "a C x H x W tensor) as its only argument; wrap a library that wants names: "
                    "aug_tfms=[lambda picture: transform(image=picture)['image']]"
                ) from error
        return self._checked(found, item)

    def _checked(self, found: Any, given: Pixels) -> Pixels:
        wanted = len(given.getbands()) if isinstance(given, Image.Image) else len(given)
        if not isinstance(found, Image.Image | torch.Tensor) or (
            isinstance(found, torch.Tensor) and found.ndim != 3
        ):
            shape = f" of shape {tuple(found.shape)}" if hasattr(found, "shape") else ""
            raise TypeError(
                f"the transform {name_of(self)} gave {type(found).__name__}{shape}; a transform in aug_tfms "
                f"gives a Pillow image or a tensor of {wanted} x height x width"
            )
        channels = len(found.getbands()) if isinstance(found, Image.Image) else len(found)
        if channels != wanted:
            raise ValueError(
                f"the transform {name_of(self)} gave a picture of {channels} channels where {wanted} went in"
                + (
                    ": torchvision.transforms.Grayscale(3) keeps three"
                    if (channels, wanted) == (1, 3)
                    else ""
                )
            )
        if isinstance(found, torch.Tensor) and found.is_floating_point():
            check_unit_range(
                found.detach().numpy(),
                f"the transform {name_of(self)} (pictures are normalised after aug_tfms, with the statistics "
                "of tfms_from_stats: leave out your own Normalize)",
            )
        return found


def name_of(transform: RandomTransform) -> str:
    """What a transform is called in messages; that of a callable is its own name."""
    own = transform.function if isinstance(transform, RandomCall) else transform
    return getattr(own, "__name__", type(own).__name__)


def _homography(corners: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The 3 x 3 matrix that takes four points to four others (direct linear transform: Hartley and Zisserman
    2004, "Multiple View Geometry", section 4.1)."""
    rows = []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    numbers = np.linalg.solve(np.array(rows), moved.ravel())
    return np.append(numbers, 1.0).reshape(3, 3)


transforms_basic: list[RandomTransform] = [RandomRotate(10), RandomLighting(0.1, 0.1)]
"""Small rotations, brightness and contrast: for pictures with a fixed left and right (digits, text)."""

transforms_side_on: list[RandomTransform] = [*transforms_basic, RandomFlip()]
"""For photos taken from the side: also mirrored left-right."""

transforms_top_down: list[RandomTransform] = [*transforms_basic, RandomDihedral()]
"""For pictures taken from above (satellite, microscope): also all eight symmetries of the square."""
