"""Targets that are pictures themselves: a class for every pixel, or other pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.errors import did_you_mean, some
from zoo.losses import CrossEntropyFlat, L1Flat
from zoo.metrics import accuracy, dice, iou
from zoo.vision.pictures import as_pixels
from zoo.vision.targets.base import Head, Target, check_proportions
from zoo.vision.transforms.view import View
from zoo.vision.transforms.warp import VOID, picture_size, pixels_tensor, warp_mask, warp_picture


def open_mask(source: str | os.PathLike[str] | np.ndarray) -> np.ndarray:
    """The numbers in a mask, H x W: those of a palette or grey picture as they stand, never colours.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or one of several channels.
    """
    if isinstance(source, np.ndarray):
        values, name = source, f"array of shape {source.shape}"
    else:
        name = os.fspath(source)
        try:
            with Image.open(name) as img:
                values = np.asarray(img)
        except FileNotFoundError:
            raise FileNotFoundError(f"mask {name} does not exist") from None
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"cannot read mask {name}: {error}") from error
    if values.ndim != 2 or values.dtype.kind not in "iub":
        raise ValueError(
            f"mask {name}: expected one whole number a pixel (a grey or palette picture, or H x W integers), "
            f"got {values.dtype} of shape {values.shape}"
            + ("; masks_by may give an array: the number of each colour" if values.ndim == 3 else "")
        )
    return values


@dataclass(frozen=True)
class Mask:
    """The answer of a segmentation for one picture.

    Attributes:
        numbers: H x W of class numbers in the pixels of the picture (uint8); 255 where the network saw
            nothing.
        classes: names of the classes.
    """

    numbers: np.ndarray
    classes: list[str]

    @property
    def shares(self) -> dict[str, float]:
        """The share of the seen pixels that each class takes."""
        counts = np.bincount(self.numbers[self.numbers != VOID], minlength=len(self.classes))
        total = max(1, int(counts.sum()))
        return {name: count / total for name, count in zip(self.classes, counts.tolist(), strict=True)}


class MaskTarget(Target):
    """A class for every pixel; raw targets are files or arrays of masks.

    Args:
        codes: names of the classes by the value that stands for them in the masks: a list counts from 0, a
            dict names the values.
        void: names among `codes` whose pixels do not count, in training and in metrics.

    Example:
        >>> target = MaskTarget({1: "pet", 2: "background", 3: "border"}, void=["border"])
        >>> target.classes, target.row(np.array([[1, 2, 3]]), View.fit((1, 3), (1, 3))).tolist()
        (['pet', 'background'], [[0, 1, 255]])
    """

    kind: ClassVar[str] = "mask"
    task: ClassVar[str | None] = "segmentation"
    head: ClassVar[Head] = "map"
    follows: ClassVar[bool] = True
    ignored: ClassVar[int] = VOID

    def __init__(self, codes: Sequence[str] | Mapping[int, str], void: str | Sequence[str] = ()) -> None:
        if isinstance(codes, str):
            raise TypeError(f"codes takes a list of names, or a dict from values to names, got {codes!r}")
        named = dict(codes) if isinstance(codes, Mapping) else dict(enumerate(codes))
        self.codes = {int(value): str(name) for value, name in named.items()}
        self.void = [void] if isinstance(void, str) else [str(name) for name in void]
        unknown = [name for name in self.void if name not in self.codes.values()]
        if unknown:
            raise ValueError(
                f"void={unknown[0]!r} is none of the classes of the masks"
                f"{did_you_mean(unknown[0], list(self.codes.values()))}: {some(self.codes.values())}"
            )
        self.classes: list[str] = list(
            dict.fromkeys(name for name in self.codes.values() if name not in self.void)
        )
        if not 2 <= len(self.classes) <= VOID:
            raise ValueError(
                f"masks need 2 to {VOID} classes that count, got {len(self.classes)}: {self.classes}"
            )
        if min(self.codes) < 0 or max(self.codes) > 65535:
            raise ValueError(
                f"values of masks lie between 0 and 65535, got {min(self.codes)} to {max(self.codes)}"
            )
        self._numbers = np.full(max(self.codes) + 1, -1, np.int16)
        for value, name in self.codes.items():
            self._numbers[value] = VOID if name in self.void else self.classes.index(name)

    @property
    def n_out(self) -> int:
        return len(self.classes)

    def numbers(self, raw: Any) -> np.ndarray:
        """Class numbers of a raw mask, H x W uint8; 255 where it does not count.

        Raises:
            ValueError: for values that `codes` does not name.
        """
        values = open_mask(raw).astype(np.int64, copy=False)
        inside = (values >= 0) & (values < len(self._numbers))
        found = self._numbers[np.where(inside, values, 0)]
        strange = ~inside | (found < 0)
        if strange.any():
            raise ValueError(
                f"mask {_name(raw)} holds the values {some(np.unique(values[strange]).tolist())}, for which "
                f"codes has no name; it has {some(f'{value}: {told}' for value, told in self.codes.items())}"
            )
        return found.astype(np.uint8)

    def row(self, raw: Any, view: View | None) -> Tensor:
        if view is None:
            raise TypeError("masks follow the view of their picture, which is not given")
        numbers = self.numbers(raw)
        check_proportions(numbers.shape, f"mask {_name(raw)}", view.source)  # type: ignore[arg-type]
        return torch.from_numpy(warp_mask(numbers, view))

    def default_loss(self) -> Callable:
        return CrossEntropyFlat(axis=1, ignore_index=VOID)

    def default_metrics(self) -> list[Any]:
        return [accuracy, iou, dice]

    def decode(self, outputs: Any, views: Sequence[View]) -> list[Mask]:
        """The most probable class of every pixel of each picture."""
        best = torch.as_tensor(outputs).argmax(1).to(torch.uint8).numpy()
        return [Mask(unwarped(one, view), list(self.classes)) for one, view in zip(best, views, strict=True)]

    def text(self, value: Any) -> str:
        return ""

    def to_state(self) -> dict[str, Any]:
        codes = [[value, name] for value, name in self.codes.items()]
        return {"kind": self.kind, "codes": codes, "void": self.void}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls({int(value): name for value, name in state["codes"]}, state["void"])

    def keep(self, raw: Any, name_of: Callable[[Path], str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return keep_files(raw, name_of)

    def kept(self, settings: Mapping[str, Any], arrays: Mapping[str, Tensor], base: Path) -> Any:
        return kept_files(settings, arrays, base)


class PictureTarget(Target):
    """Another picture, of the same size or a multiple of it: super-resolution, denoising, colour.

    Raw targets are pictures in any form, with the proportions of the inputs. The network's outputs are
    values in [0, 1], N x channels x H x W.

    Args:
        scale: height and width of the answer, in those of what the network sees.
        channels: of the answer.

    Example:
        >>> target = PictureTarget(scale=2)
        >>> target.row(np.zeros((40, 40, 3), np.uint8), View.fit((20, 20), (10, 10))).shape
        torch.Size([3, 20, 20])
    """

    kind: ClassVar[str] = "picture"
    task: ClassVar[str | None] = None
    head: ClassVar[Head] = "map"
    follows: ClassVar[bool] = True

    def __init__(self, scale: int = 1, channels: Literal[1, 3] = 3) -> None:
        if scale < 1 or scale != int(scale):
            raise ValueError(f"scale must be a whole number from 1, got {scale}")
        self.scale, self.channels = int(scale), channels

    @property
    def n_out(self) -> int:
        return self.channels

    def row(self, raw: Any, view: View | None) -> Tensor:
        if view is None:
            raise TypeError("pictures as targets follow the view of their input, which is not given")
        item = as_pixels(raw, channels=self.channels)
        check_proportions(picture_size(item), f"target picture {_name(raw)}", view.source)
        seen = pixels_tensor(warp_picture(item, view.enlarged(self.scale)))
        return seen.float() / 255 if seen.dtype == torch.uint8 else seen

    def default_loss(self) -> Callable:
        return L1Flat()

    def default_metrics(self) -> list[Any]:
        return [psnr]

    def named_metrics(self) -> dict[str, Any]:
        return {"psnr": psnr}

    def decode(self, outputs: Any, views: Sequence[View]) -> list[np.ndarray]:
        """H x W x channels uint8 of each picture as the network saw it, enlarged `scale` times."""
        values = torch.as_tensor(outputs).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [one.permute(1, 2, 0).numpy() for one in values]

    def text(self, value: Any) -> str:
        return ""

    def to_state(self) -> dict[str, Any]:
        return {"kind": self.kind, "scale": self.scale, "channels": self.channels}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["scale"], state["channels"])

    def keep(self, raw: Any, name_of: Callable[[Path], str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return keep_files(raw, name_of)

    def kept(self, settings: Mapping[str, Any], arrays: Mapping[str, Tensor], base: Path) -> Any:
        return kept_files(settings, arrays, base)


def _name(raw: Any) -> str:
    """What a mask or picture is called in errors."""
    if isinstance(raw, str | os.PathLike):
        return os.fspath(raw)  # type: ignore[return-value]
    return (
        f"array of shape {raw.shape}" if isinstance(raw, np.ndarray) else f"of the type {type(raw).__name__}"
    )


def psnr(preds: Tensor, targets: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of values in [0, 1]: -10 log10 of the mean squared error.

    Example:
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))
        20.0
    """
    error = (preds.float().clamp(0, 1) - targets.float()).square().mean().item()
    return round(-10 * float(np.log10(max(error, 1e-12))), 4)


def unwarped(mask: np.ndarray, view: View) -> np.ndarray:
    """A mask of a view's result in the pixels of the picture; 255 where the view shows nothing."""
    height, width = view.source
    grid_y, grid_x = np.mgrid[0:height, 0:width] + 0.5
    at = np.floor(view.from_source(np.stack([grid_x.ravel(), grid_y.ravel()], 1))).astype(np.int64)
    seen = (at >= 0).all(1) & (at[:, 0] < view.size[1]) & (at[:, 1] < view.size[0])
    found = np.full(height * width, VOID, np.uint8)
    found[seen] = mask[at[seen, 1], at[seen, 0]]
    return found.reshape(height, width)


def keep_files(raw: Any, name_of: Callable[[Path], str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Targets that are files or one array, as saved data keep them."""
    if isinstance(raw, np.ndarray):
        return {}, {"targets": torch.from_numpy(raw)}
    arrays = [one for one in raw if isinstance(one, np.ndarray)]
    if len(arrays) == len(raw) and len({(one.shape, one.dtype) for one in arrays}) == 1:
        return {}, {"targets": torch.from_numpy(np.stack(arrays))}
    if not all(isinstance(one, str | os.PathLike) for one in raw):
        raise TypeError("its targets are neither files nor arrays of one size, which save cannot keep")
    return {"target_files": [name_of(Path(one)) for one in raw]}, {}


def kept_files(settings: Mapping[str, Any], arrays: Mapping[str, Tensor], base: Path) -> Any:
    """The inverse of `keep_files`."""
    if "target_files" in settings:
        return [base / name for name in settings["target_files"]]
    return arrays["targets"].numpy()
