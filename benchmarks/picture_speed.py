"""How many pictures a second become augmented training batches, next to torchvision and fastai.

Photos of cats and dogs, shrunk to a shorter side of `--source` pixels, are read from JPEG files with two
workers and turned, flipped, lit, zoomed, cut to 128 or 224 pixels and normalised. torchvision v2 is a
hand-written `DataLoader` that does the same (rotation with `RandomRotation`, brightness and contrast with
`ColorJitter`, a crop of a picture scaled to up to 1.1 times the size); fastai does it with its presizing
(`Resize`, then `aug_transforms` on the batch). Everybody gives float batches on the device. zoo reads the
originals ("files"), shrunken copies (`data.resize`), and pictures that stay in memory ("resident", after a
first pass). Rounds alternate in one process tree; medians count.

A second table: pictures in memory of 28 and 32 pixels, next to a `TensorLoader`, which only picks rows.

    python benchmarks/picture_speed.py --data path/to/data --rounds 5
    PYTHONPATH=path/to/fastai python benchmarks/picture_speed.py --sizes 128
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from report import print_table, write_result

from zoo import TensorLoader
from zoo.data.loaders.batches import device_batches
from zoo.vision import ImageClassifierData, RandomFlip, imagenet_stats, tfms_from_stats, transforms_side_on

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224])
parser.add_argument(
    "--source", type=int, nargs="+", default=[180, 400], help="shorter sides of the originals"
)
parser.add_argument("--pictures", type=int, default=640)
parser.add_argument("--rows", type=int, default=8000, help="pictures in memory")
parser.add_argument("--parts", nargs="+", choices=["memory", "files"], default=["memory", "files"])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument(
    "--threads", type=int, default=0, help="of torch in the main process; 0: as many as workers"
)
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--device", default="cpu")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")

Runs = dict[str, Callable[[], float]]
ROTATE, LIGHT, ZOOM = 10.0, 0.1, 1.1


def make_photos(data: Path, folder: Path, side: int, count: int) -> None:
    """Writes photos in class folders, each with a shorter side of so many pixels."""
    with zipfile.ZipFile(data / "dogscats.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        chosen = [names[i] for i in np.linspace(0, len(names) - 1, count).astype(int)]
        for number, name in enumerate(chosen):
            with Image.open(io.BytesIO(archive.read(name))) as photo:
                scale = side / min(photo.size)
                size = round(photo.width * scale), round(photo.height * scale)
                small = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            target = folder / "train" / Path(name).parent.name / f"{number:05d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            small.save(target, quality=90)


def passed(batches: Any, count: int) -> float:
    """Pictures a second of one pass."""
    started, seen = time.perf_counter(), 0
    for batch in batches:
        seen += len(batch[0])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    assert seen >= count - 64  # noqa: S101
    return seen / (time.perf_counter() - started)


def zoo_run(folder: Path, size: int, args: argparse.Namespace, *, shrink: bool, resident: bool) -> Callable:
    tfms = tfms_from_stats(imagenet_stats, size, aug_tfms=transforms_side_on, max_zoom=ZOOM)
    data = ImageClassifierData.from_paths(
        folder, bs=args.bs, tfms=tfms, val_name=None, num_workers=args.workers, seed=0
    )
    data = data.resize(round(size * ZOOM)) if shrink else data
    data.resident = None if resident else False
    device, epoch = torch.device(args.device), iter(range(10**6))

    def run() -> float:
        data.train_dl.set_epoch(next(epoch))
        return passed(device_batches(data.train_dl, device, training=True), args.pictures)

    if resident:
        run()
    return run


class TorchvisionPhotos(torch.utils.data.Dataset):
    """What many write by hand."""

    def __init__(self, folder: Path, size: int) -> None:
        from torchvision.transforms import v2

        self.files = sorted(folder.rglob("*.jpg"))
        self.transform = v2.Compose(
            [
                v2.Resize(size),
                v2.RandomApply([v2.RandomRotation(ROTATE, v2.InterpolationMode.BILINEAR)], p=0.75),
                v2.RandomResizedCrop(size, scale=(1 / ZOOM**2, 1.0), ratio=(1.0, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(LIGHT, LIGHT),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(*imagenet_stats),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[row]) as picture:
            return self.transform(picture.convert("RGB")), 0


def torchvision_run(folder: Path, size: int, args: argparse.Namespace) -> Callable[[], float]:
    loader = torch.utils.data.DataLoader(
        TorchvisionPhotos(folder, size),
        args.bs,
        shuffle=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    device = torch.device(args.device)
    return lambda: passed(((x.to(device), y) for x, y in loader), args.pictures)


def fastai_run(folder: Path, size: int, args: argparse.Namespace) -> Callable[[], float]:
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms

    loaders = ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.0,
        bs=args.bs,
        num_workers=args.workers,
        device=torch.device(args.device),
        item_tfms=Resize(round(size * ZOOM)),
        batch_tfms=[
            *aug_transforms(size=size, max_rotate=ROTATE, max_zoom=ZOOM, max_lighting=LIGHT, max_warp=0.0),
            Normalize.from_stats(*imagenet_stats),
        ],
    )
    return lambda: passed(loaders.train, args.pictures)


def alternate(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Results of every contestant, after one warming round; the order shifts from round to round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(-1, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            value = runs[name]()
            if number >= 0:
                found[name].append(value)
    return found


def files_part(args: argparse.Namespace, work: Path, with_fastai: bool) -> list[dict[str, Any]]:
    found = []
    for source in args.source:
        folder = work / str(source)
        make_photos(Path(args.data), folder, source, args.pictures)
        for size in args.sizes:
            runs: Runs = {
                "zoo files": zoo_run(folder, size, args, shrink=False, resident=False),
                "zoo resize": zoo_run(folder, size, args, shrink=True, resident=False),
                "zoo resident": zoo_run(folder, size, args, shrink=False, resident=True),
                "torchvision v2": torchvision_run(folder, size, args),
            }
            if with_fastai:
                runs["fastai"] = fastai_run(folder, size, args)
            load = os.getloadavg()[0]
            values = alternate(runs, args.rounds)
            speed = {name: statistics.median(numbers) for name, numbers in values.items()}
            peers = [name for name in ("fastai", "torchvision v2") if name in speed]
            print(f"\noriginals of {source} pixels to {size}, load {load:.1f}:")
            print_table(
                ["", "pictures/s", *(f"x {name}" for name in peers)],
                [
                    [name, f"{value:,.0f}", *(f"{value / speed[peer]:.2f}" for peer in peers)]
                    for name, value in speed.items()
                ],
            )
            ratios = {f"{name} / {peer}": speed[name] / speed[peer] for name in speed for peer in peers}
            found.append(
                {
                    "source": source,
                    "size": size,
                    "load": load,
                    "speed": speed,
                    "ratios": ratios,
                    "all": values,
                }
            )
    return found


def memory_part(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Small pictures in memory next to a `TensorLoader` of the same bytes."""
    found = []
    rng = np.random.default_rng(0)
    device = torch.device(args.device)
    for side, channels in ((28, 1), (32, 3)):
        pictures = rng.integers(0, 256, (args.rows, side, side, channels)).astype(np.uint8)
        x, y = pictures[..., 0] if channels == 1 else pictures, np.arange(args.rows) % 10
        rows = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
        loader = TensorLoader(rows, torch.from_numpy(y), bs=256, shuffle=True, seed=0)

        def data(tfms: Any, x: Any = x, y: Any = y) -> Any:
            return ImageClassifierData.from_arrays(None, (x, y), bs=256, tfms=tfms, seed=0)

        plain = data((None, None)).train_dl
        plain.batch_transform = None  # TensorLoader does not normalise
        cut = data(tfms_from_stats(imagenet_stats, side, aug_tfms=[RandomFlip()], pad=4)).train_dl
        lit = data(tfms_from_stats(imagenet_stats, side, aug_tfms=transforms_side_on, max_zoom=1.1)).train_dl
        runs: Runs = {
            name: lambda one=one: passed(device_batches(one, device, training=True), args.rows)
            for name, one in {
                "TensorLoader": loader,
                "zoo, nothing random": plain,
                "zoo, flips and padded crops": cut,
                "zoo, turned, lit and zoomed": lit,
            }.items()
        }
        load = os.getloadavg()[0]
        values = alternate(runs, args.rounds)
        speed = {name: statistics.median(numbers) for name, numbers in values.items()}
        base = speed["TensorLoader"]
        print(f"\n{side} x {side} x {channels} in memory, load {load:.1f}:")
        print_table(
            ["", "pictures/s", "us a picture", "TensorLoader is x faster"],
            [[name, f"{v:,.0f}", f"{1e6 / v:.2f}", f"{base / v:.2f}"] for name, v in speed.items()],
        )
        found.append({"side": side, "channels": channels, "load": load, "speed": speed})
    return found


def main() -> None:
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads or max(1, args.workers))
    try:
        import fastai.vision.all  # noqa: F401

        with_fastai = True
    except ImportError as error:
        print(f"without fastai ({error})")
        with_fastai = False
    memory = memory_part(args) if "memory" in args.parts else []
    with tempfile.TemporaryDirectory() as work:
        files = files_part(args, Path(work), with_fastai) if "files" in args.parts else []
    settings = {"pictures": args.pictures, "workers": args.workers, "bs": args.bs, "device": args.device}
    write_result(args.out, "picture_speed", {**settings, "files": files, "memory": memory})


if __name__ == "__main__":
    main()
