"""Where pictures stay in memory: as the network sees them, or as random views are taken from them."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.vision.data.dataset import ImageDataset
from zoo.vision.transforms.batched import can_batch
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import PadMode, Size, View
from zoo.vision.transforms.warp import pixels_tensor, reductions, warp_picture

SHARE = 0.4
"""Of the memory that is free, which pictures may take."""
_UNKNOWN_MEMORY = 4 * 2**30
_MOST_ZOOM = 1.5  # the views of what is kept for it would be shrunk by more than this
_LONG = 1.4  # how much longer than high pictures are thought to be, before they are read

Row = tuple[np.ndarray, Size]
"""Pixels as they are kept, and height and width of the picture as it was."""


class Store(ABC):
    """Pictures of a data set by row; some may not be there yet.

    Args:
        rows: how many there will be.
    """

    def __init__(self, rows: int) -> None:
        self.known = np.zeros(rows, bool)
        self._left = rows

    @property
    def complete(self) -> bool:
        """Whether all are there."""
        return self._left == 0

    def has(self, row: int) -> bool:
        """Whether a row is there."""
        return bool(self.known[row])

    def put(self, row: int, found: Row) -> None:
        """Keep what was read of a row."""
        self._keep(row, found)
        if not self.known[row]:
            self.known[row] = True
            self._left -= 1

    @abstractmethod
    def _keep(self, row: int, found: Row) -> None: ...

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory that is taken."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Go to a device, if there is room."""


class FixedStore(Store):
    """Pictures as the network sees them, N x C x height x width, of transforms that draw nothing."""

    def __init__(self, rows: int, pixels: Tensor | None = None) -> None:
        super().__init__(rows)
        self.pixels = pixels
        if pixels is not None:
            self.known[:], self._left = True, 0

    def _keep(self, row: int, found: Row) -> None:
        values = torch.from_numpy(found[0])
        if self.pixels is None:
            self.pixels = torch.empty((len(self.known), *values.shape), dtype=values.dtype)
        self.pixels[row] = values

    @property
    def nbytes(self) -> int:
        return 0 if self.pixels is None else self.pixels.numel() * self.pixels.element_size()

    def move(self, device: torch.device) -> None:
        if self.pixels is not None and self.pixels.device != device and fits_on(device, self.nbytes):
            self.pixels = self.pixels.to(device)

    def batch(self, rows: np.ndarray) -> Tensor:
        """N x C x height x width of some rows."""
        assert self.pixels is not None  # noqa: S101 (they have been put there)
        return self.pixels.index_select(0, torch.from_numpy(rows).to(self.pixels.device))


class UniformStore(Store):
    """Pictures of one size in memory; for random views.

    Args:
        pictures: N x C x H x W, uint8.
        border: pixels that views may show beyond each edge; on a CPU these are added once.
        mode: what is seen there.
    """

    def __init__(self, pictures: Tensor, border: int = 0, mode: PadMode = "reflect") -> None:
        super().__init__(len(pictures))
        self.known[:], self._left = True, 0
        self.border = border
        self.mode: PadMode = mode
        if border:
            pad = ((0, 0), (0, 0), (border, border), (border, border))
            pictures = torch.from_numpy(np.pad(pictures.numpy(), pad, mode=mode))
        self.bordered = pictures

    def _keep(self, row: int, found: Row) -> None:
        raise NotImplementedError("all pictures are there from the beginning")

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.bordered.device

    @property
    def channels(self) -> int:
        """Channels of each."""
        return self.bordered.shape[1]

    @property
    def pictures(self) -> Tensor:
        """The pictures without borders."""
        height, width = self.bordered.shape[2:]
        return self.bordered[..., self.border : height - self.border, self.border : width - self.border]

    @property
    def nbytes(self) -> int:
        return self.bordered.numel()

    def move(self, device: torch.device) -> None:
        if self.bordered.device != device and fits_on(device, self.nbytes):
            self.bordered = self.bordered.to(device)

    def full_sizes(self, rows: np.ndarray) -> np.ndarray:
        """(rows, 2) height and width."""
        return np.tile(np.array(self.pictures.shape[2:]), (len(rows), 1))

    def batch(self, rows: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Some rows, N x C x H x W, and the size of each."""
        chosen = torch.from_numpy(rows).to(self.bordered.device)
        return self.pictures.index_select(0, chosen), self.full_sizes(rows)


class RaggedStore(Store):
    """Shrunken pictures of different sizes, one after another in one tensor; for random views.

    Args:
        rows: how many there will be.
        nbytes: how much they are thought to take.
    """

    def __init__(self, rows: int, nbytes: int) -> None:
        super().__init__(rows)
        self.flat = torch.empty(max(1, nbytes), dtype=torch.uint8)  # taken as it is filled
        self.starts = np.zeros(rows, np.int64)
        self.sizes = np.zeros((rows, 2), np.int64)
        self._full = np.zeros((rows, 2), np.int64)
        self._end = 0
        self.channels = 3

    def _keep(self, row: int, found: Row) -> None:
        pixels, full = found
        values = torch.from_numpy(pixels).reshape(-1)
        end = self._end + len(values)
        if end > len(self.flat):
            grown = torch.empty(max(end, len(self.flat) * 3 // 2), dtype=torch.uint8)
            grown[: self._end] = self.flat[: self._end]
            self.flat = grown
        self.flat[self._end : end] = values
        self.starts[row], self.sizes[row], self._full[row] = self._end, pixels.shape[:2], full
        self.channels = pixels.shape[2]
        self._end = end

    @property
    def nbytes(self) -> int:
        return self._end

    def move(self, device: torch.device) -> None:
        if self.flat.device != device and fits_on(device, self._end):
            self.flat = self.flat[: self._end].to(device)

    def full_sizes(self, rows: np.ndarray) -> np.ndarray:
        """(rows, 2) height and width of the pictures as they were."""
        return self._full[rows]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.flat.device

    def picture(self, row: int) -> Tensor:
        """One picture, C x H x W."""
        start, (height, width) = int(self.starts[row]), self.sizes[row].tolist()
        pixels = self.flat[start : start + height * width * self.channels]
        return pixels.view(height, width, self.channels).permute(2, 0, 1)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Some rows on one canvas, N x C x H x W, each in the upper left corner, and the size of each."""
        height, width = self.sizes[rows].max(0).tolist()
        if self.device.type != "cpu":
            return self.gathered(rows, height, width), self.sizes[rows]
        canvas = torch.empty((len(rows), height, width, self.channels), dtype=torch.uint8)
        canvas = canvas.permute(0, 3, 1, 2)
        for place, row in enumerate(rows):
            picture = self.picture(row)
            canvas[place, :, : picture.shape[1], : picture.shape[2]] = picture
        return canvas, self.sizes[rows]

    def gathered(self, rows: np.ndarray, height: int, width: int) -> Tensor:
        """The same canvas by one gather, for devices that are slow to be told of every picture."""
        device = self.flat.device
        sizes = torch.from_numpy(self.sizes[rows]).to(device)
        starts = torch.from_numpy(self.starts[rows] // self.channels).to(device)
        y = torch.minimum(torch.arange(height, device=device), sizes[:, :1] - 1)
        x = torch.minimum(torch.arange(width, device=device), sizes[:, 1:] - 1)
        places = starts[:, None, None] + y[:, :, None] * sizes[:, 1, None, None] + x[:, None, :]
        pixels = self.flat[: self._end].view(-1, self.channels)
        canvas = pixels.index_select(0, places.reshape(-1)).view(len(rows), height, width, self.channels)
        return canvas.permute(0, 3, 1, 2)


# ---- which store, and what goes into it


def make_store(dataset: ImageDataset, *, must: bool) -> Store | None:
    """A store for the rows of a data set as its transform needs them; None where rows go one by one.

    Args:
        dataset: its pictures, transform and target.
        must: also of pictures that will hardly fit into memory.
    """
    tfm, items, rows = dataset.tfm, dataset.items, len(dataset)
    in_memory = isinstance(items, np.ndarray)
    if type(dataset) is not ImageDataset or (dataset.target is not None and dataset.target.follows):
        return None
    if not tfm.is_random:
        if in_memory and _as_they_are(items, tfm):
            return FixedStore(rows, _channels_first(items, dataset.channels))
        size = items.shape[1:3] if tfm.size is None and in_memory else tfm.size
        if size is None:
            return None
        unit = items.dtype.itemsize if in_memory else 1
        needed = rows * dataset.channels * (size[0] + 2 * tfm.pad) * (size[1] + 2 * tfm.pad) * unit
        return FixedStore(rows) if must or needed <= SHARE * free_memory() else None
    if tfm.size is None or not can_batch(tfm):
        return None
    if in_memory:
        shrinks = any(
            reductions(items.shape[1:3], scaled) != (1, 1) for scaled in _scaled(items.shape[1:3], tfm, 1.0)
        )
        if items.dtype != np.uint8 or dataset.channels not in (1, 3) or shrinks:
            return None
        return UniformStore(_channels_first(items, dataset.channels), tfm.pad, tfm.pad_mode)
    if tfm.max_zoom > _MOST_ZOOM:
        return None
    side = max(tfm.size) * tfm.max_zoom
    needed = int(rows * dataset.channels * side * side * _LONG)
    return RaggedStore(rows, needed) if must or needed <= SHARE * free_memory() else None


class StoredRows:
    """A data set of what a store keeps of each row, to be read by other processes.

    Args:
        dataset: the pictures.
        fixed: whether they are kept as the network sees them.
    """

    seeds_itself = True

    def __init__(self, dataset: ImageDataset, fixed: bool) -> None:
        self.dataset, self.fixed = dataset, fixed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Row:
        tfm, item = self.dataset.tfm, self.dataset.items[row]
        if self.fixed:
            return tfm.pixels(item, channels=self.dataset.channels).numpy(), (0, 0)
        assert tfm.size is not None  # noqa: S101 (make_store)
        picture, (height, width) = tfm.read(item, channels=self.dataset.channels, roughly=True)
        assert isinstance(picture, Image.Image)  # noqa: S101 (files hold 8-bit pictures of 1 or 3 channels)
        needed = np.max(_scaled((height, width), tfm, tfm.max_zoom), 0).tolist()
        if picture.height > needed[0] and picture.width > needed[1]:
            have = picture.height, picture.width
            view = View.fit(have, (needed[0], needed[1]), crop="squash", interpolation=tfm.interpolation)
            picture = warp_picture(picture, view)
        pixels = pixels_tensor(picture).numpy()
        return np.ascontiguousarray(pixels.transpose(1, 2, 0)), (height, width)


def _scaled(source: Size, tfm: ImageTransform, zoom: float) -> list[Size]:
    """To what sizes a picture is scaled, for upright views and for those after a quarter turn."""
    assert tfm.size is not None  # noqa: S101 (make_store)
    return [View.fit(source, size, crop=tfm.crop, zoom=zoom).scaled for size in {tfm.size, tfm.size[::-1]}]


def _as_they_are(items: np.ndarray, tfm: ImageTransform) -> bool:
    return tfm.pad == 0 and items.dtype == np.uint8 and tfm.size in (None, items.shape[1:3])


def _channels_first(items: np.ndarray, channels: int) -> Tensor:
    """Rows x C x H x W; grey pictures as they lie in memory."""
    whole = items[..., None] if items.ndim == 3 else items
    if whole.shape[3] != channels and whole.shape[3] == 1:
        whole = np.repeat(whole, channels, 3)
    return torch.from_numpy(np.ascontiguousarray(whole.transpose(0, 3, 1, 2)))


def fits_on(device: torch.device, nbytes: int) -> bool:
    """Whether pictures find comfortable room on a device."""
    if device.type == "cuda":
        return nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]
    return True


def free_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that this process may still take; 4 GiB where the system does not tell."""
    found: list[float] = []
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        found.append(_UNKNOWN_MEMORY)
    with contextlib.suppress(OSError, ValueError):  # no group, or one without a limit ("max")
        limit = int((group / "memory.max").read_text())
        found.append(limit - int((group / "memory.current").read_text()))
    return max(0.0, min(found))
