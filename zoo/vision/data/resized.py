"""Shrunken copies of pictures, written once, that are read several times faster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.data.loaders.cores import usable_cores
from zoo.datasets import cache_dir
from zoo.storage.files import atomic_write
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.files.caches import mark_cache
from zoo.vision.files.checking import broken_error, shown
from zoo.vision.files.content import content_keys
from zoo.vision.files.depths import is_deep
from zoo.vision.files.file_list import FileList
from zoo.vision.files.opening import JPEG_FORMATS, opened
from zoo.vision.files.reading import FULL_SIZE, open_image
from zoo.vision.targets.base import Target
from zoo.vision.targets.boxes import BoxTarget
from zoo.vision.targets.labelled import ClassTarget
from zoo.vision.targets.maps import MaskTarget, PictureTarget, open_mask
from zoo.vision.targets.values import PointsTarget, ValueTarget
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import Size, View
from zoo.vision.transforms.warp import warp_mask

log = logging.getLogger(__name__)

CONTENTS = "copies.json"
_FORMAT = 1
_QUALITY = 95
_AS_PNG = ".as_png"  # a folder for copies under another name, in which no original can lie


def resized_dataset(dataset: ImageDataset, size: int, base: Path) -> ImageDataset:
    """The same rows, of pictures whose shorter side is `size`; masks, points, boxes, target pictures follow.

    Pictures that are no larger, and deep grey ones (16 bits and more), are taken as they are. Copies of JPEG
    files are JPEG files of quality 95, others PNG files; they lie in the folders of the originals below
    `base`/tmp/resized, and are made again where the content of an original has changed.

    Args:
        dataset: pictures in files or in memory; it is not changed.
        size: pixels of the shorter side.
        base: folder that names are relative to.

    Raises:
        ValueError: for a size that is none; names all broken files with labels.
        TypeError: for kinds of targets that it does not know how to shrink.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(
            f"resize: the size of the shorter side must be a whole number of pixels, got {size!r}"
        )
    size = int(size)
    if isinstance(dataset.items, np.ndarray):
        items: Any = _shrunk_array(dataset.items, size)
        before, after = dataset.items.shape[1:3], items.shape[1:3]
        sizes: Sequence[tuple[Size, Size]] = [(before, after)] * len(items)
    else:
        copies = Copies(_folder(base) / str(size), base, size)
        items, broken, sizes = copies.of(
            dataset.items, need_sizes=isinstance(dataset.target, PointsTarget | BoxTarget)
        )
        if broken and dataset.y is not None:
            raise broken_error(broken)
        if broken:
            log.warning("%d of %d pictures cannot be read and have no copies", len(broken), len(items))
    y = dataset.y if dataset.y is None else _shrunk_targets(dataset.target, dataset.y, sizes, size, base)
    return ImageDataset(items, y, dataset.tfm, channels=dataset.channels, target=dataset.target)


def checked_side(size: Any) -> int:
    """A number of pixels.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"resize: the shorter side must be a whole number of pixels from 1, got {size!r}")
    return int(size)


class Copies:
    """A folder of shrunken copies.

    What the originals held when they were copied, and the size and time of each copy, stand in one file, so
    that a copy which is half written, or was changed, is made again.

    Args:
        folder: of the copies.
        base: the originals' names are kept from there.
        size: pixels of the shorter side.
        mask: whether these are masks, whose values are never mixed.
    """

    def __init__(self, folder: Path, base: Path, size: int, *, mask: bool = False) -> None:
        self.folder, self.base, self.size, self.mask = folder, base, size, mask
        self._known = self._read()

    def of(
        self, files: Sequence[Path], *, need_sizes: bool = False
    ) -> tuple[FileList, dict[Path, str], list[tuple[Size, Size]]]:
        """The copies, or the originals where these are small enough, in the order of the files.

        Returns:
            The files; broken ones with the reason; and where asked for, height and width of each before and
            after.
        """
        listed = list(files)
        broken: dict[Path, str] = {}
        try:
            keys = [key.tobytes().hex() for key in content_keys(files)]
        except FileNotFoundError:  # which ones is told below
            keys = [""] * len(listed)
        with ThreadPoolExecutor(usable_cores()) as pool:
            found = list(pool.map(self._copied, listed, keys))
        made: list[Path] = []
        entries: dict[str, Any] = {}
        for file, (name, entry, reason) in zip(listed, found, strict=True):
            if reason is not None:
                broken[file] = reason
            else:
                entries[name] = entry
            made.append(self.folder / entry["copy"] if entry and entry["copy"] else file)
        if any(self._known.get(name) != entry for name, entry in entries.items()):
            self._write(entries)
        sizes: list[tuple[Size, Size]] = []
        if need_sizes:
            sizes = [
                (tuple(entry["before"]), tuple(entry["after"])) if entry else ((1, 1), (1, 1))
                for _, entry, _ in found
            ]
        return FileList(made), broken, sizes

    def _copied(self, file: Path, key: str) -> tuple[str, dict[str, Any] | None, str | None]:
        """The name of a file, what is known of its copy (made where there is none), or why it is broken."""
        name = self._name(file)
        known = self._known.get(name)
        if key and known is not None and known["key"] == key and self._is_whole(known):
            return name, known, None
        try:
            return name, {"key": key, **self._make(file, name)}, None
        except (ValueError, FileNotFoundError) as error:
            return name, None, str(error)

    def _make(self, file: Path, name: str) -> dict[str, Any]:
        small, before, kind = self._shrunk(file)
        if small is None:
            return {"copy": None, "before": list(before), "after": list(before), "stamp": None}
        endings = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}.get(kind, ())
        copy = name if endings and name.lower().endswith(endings) else f"{_AS_PNG}/{name}.png"
        target = self.folder / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        try:
            if copy == name and kind == "JPEG":
                small.save(temporary, "JPEG", quality=_QUALITY)
            else:
                small.save(temporary, "PNG", compress_level=1)
            stat = temporary.stat()
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        stamp = [stat.st_size, stat.st_mtime_ns]
        return {"copy": copy, "before": list(before), "after": [small.height, small.width], "stamp": stamp}

    def _shrunk(self, file: Path) -> tuple[Image.Image | None, Size, str]:
        """The small picture, None where the file is kept; the size of the file's, and its format."""
        if self.mask:
            values = open_mask(file)
            before = values.shape[0], values.shape[1]
            after = shrunk_size(before, self.size)
            if after == before:
                return None, before, "PNG"
            small = warp_mask(values, View.fit(before, after, crop="squash"))
            return Image.fromarray(small.astype(np.uint8) if small.dtype == bool else small), before, "PNG"
        with contextlib.suppress(Exception), opened(file) as img:  # what is wrong is told by open_image
            if is_deep(img):
                return None, (img.height, img.width), str(img.format)
        picture = open_image(file, min_size=self.size)
        width, height = picture.info.get(FULL_SIZE, picture.size)
        after = shrunk_size((height, width), self.size)
        if after == (height, width):
            return None, after, ""
        with opened(file) as img:
            kind = "JPEG" if img.format in JPEG_FORMATS else str(img.format)
        return picture.resize((after[1], after[0]), Image.Resampling.LANCZOS), (height, width), kind

    def _name(self, file: Path) -> str:
        """Where the copy of a file lies in the folder."""
        plain, root = (Path(os.path.abspath(path)) for path in (file, self.base))
        if plain.is_relative_to(root):
            return plain.relative_to(root).as_posix()
        place = hashlib.sha256(os.fsencode(plain.parent)).hexdigest()[:12]
        return f"elsewhere/{place}/{plain.name}"

    def _is_whole(self, known: dict[str, Any]) -> bool:
        if known["copy"] is None:
            return True
        try:
            stat = (self.folder / known["copy"]).stat()
        except OSError:
            return False
        return [stat.st_size, stat.st_mtime_ns] == known["stamp"]

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / CONTENTS).read_text(encoding="utf8"))
            return found["files"] if found["format"] == _FORMAT else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self, entries: dict[str, Any]) -> None:
        if hasattr(os, "sync"):
            os.sync()  # a copy that is told of is on the disk
        with atomic_write(self.folder / CONTENTS) as temporary:
            whole = {"format": _FORMAT, "size": self.size, "files": {**self._read(), **entries}}
            temporary.write_text(json.dumps(whole), encoding="utf8")


def shrunk_size(size: Size, shorter: int) -> Size:
    """Height and width with a shorter side of at most so many pixels.

    >>> shrunk_size((400, 600), 100), shrunk_size((50, 80), 100)
    ((100, 150), (50, 80))
    """
    factor = shorter / min(size)
    if factor >= 1:
        return size
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _shrunk_array(pictures: np.ndarray, size: int) -> np.ndarray:
    """Rows x H x W [x C] likewise, in memory."""
    before = pictures.shape[1:3]
    after = shrunk_size(before, size)
    if after == before:
        return pictures
    channels = 1 if pictures.ndim == 3 else pictures.shape[3]
    tfm = ImageTransform(after, crop="squash")
    found = np.empty((len(pictures), *after, *pictures.shape[3:]), pictures.dtype)
    for row, picture in enumerate(pictures):
        pixels = tfm.pixels(picture, channels=channels).numpy().transpose(1, 2, 0)
        found[row] = pixels if pictures.ndim == 4 else pixels[:, :, 0]
    return found


def _shrunk_targets(
    target: Target | None, y: Any, sizes: Sequence[tuple[Size, Size]], size: int, base: Path
) -> Any:
    """Raw targets as they belong to the shrunken pictures."""
    if target is None or isinstance(target, ClassTarget | ValueTarget):
        return y
    if isinstance(target, PointsTarget):
        return _shrunk_points(y, sizes)
    if isinstance(target, BoxTarget):
        return [
            (np.asarray(boxes, np.float64).reshape(-1, 4) * (2 * _factor(*pair)), labels)
            for (boxes, labels), pair in zip(y, sizes, strict=True)
        ]
    if isinstance(target, MaskTarget):
        return _maps(y, base, size, "masks", lambda values: _shrunk_mask(values, size))
    if isinstance(target, PictureTarget):
        return _maps(y, base, size * target.scale, "", lambda picture: _shrunk_picture(picture, target, size))
    raise TypeError(f"resize does not know how to shrink targets of the kind {target.kind!r}")


def _factor(before: Size, after: Size) -> tuple[float, float]:
    """How much x and y shrink."""
    return after[1] / before[1], after[0] / before[0]


def _shrunk_points(y: Any, sizes: Sequence[tuple[Size, Size]]) -> Any:
    rows = [
        (np.asarray(raw, np.float64).reshape(-1, 2) * _factor(*pair)).astype(np.float32)
        for raw, pair in zip(y, sizes, strict=True)
    ]
    return np.stack(rows) if isinstance(y, np.ndarray) else rows


def _maps(y: Any, base: Path, size: int, below: str, shrunk: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Targets that are files or arrays themselves."""
    if not isinstance(y, np.ndarray) and all(isinstance(one, str | os.PathLike) for one in y):
        folder = _folder(base) / str(size) / below
        files, broken, _ = Copies(folder, base, size, mask=below == "masks").of([Path(one) for one in y])
        if broken:
            raise broken_error(broken)
        return list(files)
    return [shrunk(np.asarray(one)) for one in y]


def _shrunk_mask(values: np.ndarray, size: int) -> np.ndarray:
    return warp_mask(values, View.fit(values.shape[:2], shrunk_size(values.shape[:2], size), crop="squash"))


def _shrunk_picture(picture: np.ndarray, target: PictureTarget, size: int) -> np.ndarray:
    after = shrunk_size(picture.shape[:2], size * target.scale)
    tfm = ImageTransform(after, crop="squash")
    return tfm.pixels(picture, channels=target.channels).numpy().transpose(1, 2, 0)


def _folder(base: Path) -> Path:
    """`base`/tmp/resized, or the user's cache where that cannot be written."""
    folder = base / "tmp" / "resized"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            mark_cache(folder.parent)
            return folder
    except OSError:
        log.info("cannot create %s", folder)
    place = hashlib.sha256(os.fsencode(os.path.abspath(base))).hexdigest()[:12]
    fallback = cache_dir() / "resized" / place
    fallback.mkdir(parents=True, exist_ok=True)
    log.warning("%s cannot be written; shrunken pictures are kept in %s", shown(folder), shown(fallback))
    return fallback
