"""Where a network looked: activation maps over the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.engine.modes import preserve_modes
from zoo.errors import did_you_mean, some
from zoo.inspect.plots import figure
from zoo.vision.files.depths import ValueRange
from zoo.vision.pictures import as_pixels
from zoo.vision.seeing.feature_map import FeatureMap, watched
from zoo.vision.seeing.looks import range_of, shown_picture
from zoo.vision.seeing.sets import data_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["hires", "gradcam"]
_LONGEST = 1024  # pixels of a picture by which the view of the network is found


def activation_map(
    learn: Any, picture: Any, label: str | int | None = None, *, method: Method = "hires"
) -> np.ndarray:
    """Which parts of a picture speak for a class; see `Seeing.activation_map` for the arguments."""
    if method not in get_args(Method):
        raise ValueError(
            f"method must be 'hires' or 'gradcam', got {method!r}{did_you_mean(method, get_args(Method))}"
        )
    data, model = data_of(learn), learn.model
    tfm = data.tfms[1].without_augmentation()
    with torch.inference_mode(False), torch.enable_grad(), preserve_modes(model):
        model.eval()
        (inputs,) = next(iter(data.batches_from_raw([picture])))
        inputs = inputs.to(learn.device)
        found = FeatureMap.of(model, inputs)
        with watched(model, found.name) as values_of:
            outputs = model(inputs)
            outputs = outputs[0] if isinstance(outputs, tuple | list) else outputs
            if not isinstance(outputs, Tensor):
                raise ValueError(
                    f"activation_map needs a network that gives one row of numbers a picture, this "
                    f"{type(model).__name__} gives a {type(outputs).__name__}"
                )
            score = outputs.reshape(-1)[output_number(learn, outputs, label)]
            values = values_of()
            (slope,) = torch.autograd.grad(score, values)
        values, slope = values.detach().float(), slope.float()
    if found.channels_last:
        values, slope = values.permute(0, 3, 1, 2), slope.permute(0, 3, 1, 2)
    weights = slope.mean((2, 3), keepdim=True) if method == "gradcam" else slope
    speaks = (weights * values).sum(1, keepdim=True).clamp(min=0).cpu()
    speaks = F.interpolate(speaks, inputs.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    over = _over_picture(speaks, picture, tfm, data.channels)
    highest = float(over.max())
    return over / highest if highest > 0 else over


def output_number(learn: Any, outputs: Tensor, label: str | int | None) -> int:
    """Which of a network's outputs speaks for a class; by default the highest one.

    Raises:
        ValueError: for a class that does not exist.
        TypeError: for anything but a name or a number.
    """
    n = outputs.numel()
    if label is None:
        return int(outputs.reshape(-1).argmax())
    classes = [str(name) for name in getattr(data_of(learn), "classes", None) or []]
    if isinstance(label, str):
        if label not in classes:
            raise ValueError(
                f"there is no class {label!r}{did_you_mean(label, classes)}; classes: {some(classes, 10)}"
            )
        number = classes.index(label)
    else:
        if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
            raise TypeError(f"label is the name or the number of one class, got {label!r}")
        number = int(label)
        if not 0 <= number < n:
            raise ValueError(f"there is no class number {label!r}: the network has {n} outputs, 0 to {n - 1}")
    return 0 if n == 1 else number


def _over_picture(speaks: Tensor, picture: Any, tfm: Any, channels: int) -> np.ndarray:
    """A map over what the network read, laid over the whole picture; what it did not read is 0.

    Which place of the picture each place of the network's view comes from is found by passing pictures of
    coordinates through the transform, so that any crop, border and scale is followed.
    """
    width, height = _size(picture, channels, tfm.value_range)
    scale = min(1.0, _LONGEST / max(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    plain = replace(tfm, value_range=None)  # these planes are in [0, 1] already
    planes = [(x + 0.5) / columns, (y + 0.5) / rows, np.ones_like(x)]
    seen = [plain.pixels(plane, channels=1)[0].numpy() for plane in planes]
    read = seen[2] > 0.999
    if read.shape != tuple(speaks.shape) or not read.any():
        raise ValueError(
            f"the network read {tuple(speaks.shape)} places, but the transform gives {read.shape}: give the "
            "learner data with the transforms that it was trained with"
        )
    across = _places_read(seen[0], read, (np.arange(width) + 0.5) / width)
    down = _places_read(seen[1].T, read.T, (np.arange(height) + 0.5) / height)
    places = np.stack(np.broadcast_arrays(across[None, :], down[:, None]), -1).astype(np.float32)
    grid = torch.from_numpy(places)[None]
    laid = F.grid_sample(speaks[None, None], grid, padding_mode="border", align_corners=False)[0, 0].numpy()
    laid[(np.abs(places) > 1).any(-1)] = 0
    return laid


def _places_read(origin: np.ndarray, read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where along one side of the view some places of the picture lie, from -1 to 1; beyond that: nowhere.

    Args:
        origin: rows x columns of the view: the place in the picture, 0 to 1, of which each column shows.
        read: whether there is a picture, likewise; the rest is border.
        wanted: places of the picture, 0 to 1.
    """
    columns = np.flatnonzero(read.any(0))
    n = read.shape[1]
    if len(columns) < 2:
        return 2 * wanted - 1
    inner = columns[2:-2] if len(columns) > 6 else columns  # at the rims a scaled ramp is bent
    shown = np.array([origin[read[:, column], column].mean() for column in inner], np.float64)
    slope, start = np.polyfit((inner + 0.5) / n, shown, 1)
    if abs(slope) < 1e-9:
        return 2 * wanted - 1
    seen = (wanted - start) / slope
    first, last = columns[0] / n, (columns[-1] + 1) / n
    slack = 0.5 / n
    seen = np.where((seen < first - slack) | (seen > last + slack), np.nan, np.clip(seen, first, last))
    return np.nan_to_num(2 * seen - 1, nan=2.0)


def _size(picture: Any, channels: int, value_range: ValueRange | None) -> tuple[int, int]:
    """Width and height of a picture as it is given, upright."""
    found = as_pixels(picture, channels=channels, value_range=value_range)
    if isinstance(found, Tensor):
        return int(found.shape[2]), int(found.shape[1])
    return found.size


def plot_activation_map(
    learn: Any,
    picture: Any,
    label: str | int | None = None,
    *,
    method: Method = "hires",
    alpha: float = 0.5,
) -> Figure:
    """The picture, and beside it the map laid over it; see `Seeing.plot_activation_map`."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 (only the picture) and 1 (only the map), got {alpha}")
    found = activation_map(learn, picture, label, method=method)
    answer = learn.predict_batch([picture])[0]
    title = _title(learn, answer, label)
    shown = np.asarray(shown_picture(picture, range_of(learn)))
    height, width = found.shape
    drawn = figure(2 * min(4.0, 4.0 * width / height) + 0.4, min(4.0, 4.0 * height / width) + 0.6)
    axes = drawn.subplots(1, 2)
    for axis in axes:
        axis.imshow(shown)
        axis.set_axis_off()
    axes[1].imshow(found, cmap="inferno", alpha=alpha, vmin=0, vmax=1, interpolation="bilinear")
    axes[0].set_title(title[0], fontsize=9, parse_math=False)
    axes[1].set_title(title[1], fontsize=9, parse_math=False)
    return drawn


def _title(learn: Any, answer: Any, label: str | int | None) -> tuple[str, str]:
    """What the network says, and which class the map speaks for."""
    classes = [str(name) for name in getattr(data_of(learn), "classes", None) or []]
    if not hasattr(answer, "probabilities"):
        return f"answer: {np.asarray(answer).reshape(-1)[:4].round(3).tolist()}", "where it looked"
    likeliest = max(answer.probabilities, key=answer.probabilities.__getitem__)
    named = likeliest if label is None else label if isinstance(label, str) else classes[int(label)]
    said = answer.label if isinstance(answer.label, str) else " ".join(answer.label) or "(none)"
    return f"{said} {answer.probability:.2f}", f"what speaks for {named} ({answer.probabilities[named]:.2f})"


def blended(picture: np.ndarray, heat: np.ndarray, *, alpha: float = 0.5) -> np.ndarray:
    """A picture with a heat map over it.

    Args:
        picture: H x W x 3 uint8.
        heat: H x W, values in [0, 1].
        alpha: how much the map covers.

    Returns:
        H x W x 3 uint8.

    Example:
        >>> blended(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2)), alpha=0.0).max()
        np.uint8(0)
    """
    import matplotlib

    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    return np.clip((1 - alpha) * picture + alpha * colours, 0, 255).astype(np.uint8)
