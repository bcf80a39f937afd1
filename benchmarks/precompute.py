"""Activations of a frozen body: `precompute=True` from files, beside the bare body on batches in memory.

The bare body reads batches that were decoded before, in one loop under `inference_mode`: no program that
decodes can be faster. The second bound is a plain `DataLoader` of as many processes, from the same files
through torchvision's transforms. The ways take turns; medians of the rates are shown.

    python benchmarks/precompute.py --data path/to/data --n 512
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from report import print_table, write_result
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from zoo.data.loaders.device import default_device
from zoo.datasets import local_dataset
from zoo.vision import ImageClassifierData, tfms_from_model
from zoo.vision.data.loaders import default_num_workers, picture_loader
from zoo.vision.models.pretrained import pretrained_model
from zoo.vision.models.transfer import TransferModel
from zoo.vision.precompute import feature_data

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument("--arch", default="mobilenet_v2")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--n", type=int, default=512, help="pictures of cats and dogs")
parser.add_argument("--workers", type=int, help="decoding processes; chosen by default")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


class Files(Dataset):
    """What a user would write: torchvision's decoder and transforms."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files = files
        self.tfm = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        return self.tfm(decode_image(str(self.files[row]), ImageReadMode.RGB))


def weights_of(arch: str, data: str) -> Path | None:
    """The trained weights among the data; None (random ones) where there are none."""
    try:
        file = local_dataset(Path(data), "weights") / f"{arch}.pth"
    except FileNotFoundError:
        return None
    return file if file.is_file() else None


def waited(device: torch.device) -> float:
    """Seconds of a clock, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def bare(body: nn.Module, batches: list[Tensor], device: torch.device) -> float:
    """Seconds of the body alone."""
    started = waited(device)
    with torch.inference_mode():
        for batch in batches:
            body(batch.to(device)).float().mean((2, 3)).cpu()
    return waited(device) - started


def plain(model: TransferModel, loader: DataLoader, device: torch.device) -> float:
    """Seconds of a hand-written loop over files."""
    mean, std = (
        torch.tensor(v, device=device)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    started = waited(device)
    with torch.inference_mode():
        for pictures in loader:
            model.features((pictures.to(device, non_blocking=True).float() / 255 - mean) / std).cpu()
    return waited(device) - started


def main() -> None:
    args = parser.parse_args()
    device = default_device()
    path = local_dataset(Path(args.data), "dogscats")
    data = ImageClassifierData.from_paths(
        path,
        args.bs,
        tfms_from_model(args.arch, args.size),
        val_name=None,
        n_per_class=args.n // 2,
        num_workers=args.workers,
        seed=0,
    )
    data.train_dl.shuffle = False
    dataset = data.trn_ds
    if dataset is None:
        raise SystemExit(f"{path} holds no pictures")
    workers = default_num_workers(dataset) if args.workers is None else args.workers
    torch.set_flush_denormal(True)
    model = pretrained_model(args.arch, 2, 3, weights=weights_of(args.arch, args.data), seed=0)
    model.to(device).eval()
    layout = torch.channels_last if _is_last(model.body) else torch.contiguous_format
    tfm = data.tfms[1]
    decoded = [
        tfm.normalize(pictures).to(device).contiguous(memory_format=layout)
        for pictures, _ in picture_loader(dataset, args.bs, num_workers=workers, seed=0)
    ]
    loader = DataLoader(
        Files(dataset.files, args.size), args.bs, num_workers=workers, pin_memory=device.type == "cuda"
    )
    bare(model.body, decoded[:2], device)
    seconds: dict[str, list[float]] = {"bare body": [], "decoding alone": [], "own loop": [], "zoo": []}
    for _ in range(args.rounds):
        seconds["bare body"].append(bare(model.body, decoded, device))
        started = time.perf_counter()
        for _batch in picture_loader(dataset, args.bs, num_workers=workers, seed=0):
            pass
        seconds["decoding alone"].append(time.perf_counter() - started)
        seconds["own loop"].append(plain(model, loader, device))
        with tempfile.TemporaryDirectory() as folder:
            started = waited(device)
            features = feature_data(data, model, device, Path(folder), progress=False)
            seconds["zoo"].append(waited(device) - started)
    if not np.isfinite(features.train_dl.tensors[0].cpu().numpy()).all():
        raise SystemExit("the activations are no numbers")
    rates = {name: len(dataset) / statistics.median(times) for name, times in seconds.items()}
    print(f"{args.arch}, {args.size} px, {len(dataset)} pictures, {workers} decoding processes, {device}")
    rows = [[name, f"{rate:.0f}", f"{rate / rates['bare body']:.2f}"] for name, rate in rates.items()]
    print_table(["way", "pictures/s", "of bare"], rows)
    write_result(
        args.out, "precompute", {"arguments": {**vars(args), "out": None}, "pictures_a_second": rates}
    )


def _is_last(body: nn.Module) -> bool:
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in body.parameters()
    )


if __name__ == "__main__":
    main()
