"""A class for every pixel: a U-Net on a pretrained body, with a class that does not count.

python examples/street_segmentation.py --data path/to/data     (pets: animal, ground; the border is void)
python examples/street_segmentation.py --path camvid --codes codes.txt --void Void --height 180 --width 240

A folder of one's own holds pictures in images/ and masks of the same names in labels/ (with or without the
ending _P before .png); the lines of the file of codes name the values 0, 1, 2, ... of the masks.
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo.vision import ConvLearner, Items, RandomFlip, RandomLighting, tfms_from_model

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--path", type=Path, help="folder with images/ and labels/")
parser.add_argument("--codes", type=Path, help="file with a class a line, below --path or as given")
parser.add_argument("--void", nargs="*", default=[], help="classes that do not count")
parser.add_argument("--valid", type=Path, help="file that names the validation pictures; default: a fifth")
parser.add_argument("--height", type=int, default=160)
parser.add_argument("--width", type=int, default=160)
parser.add_argument("--n", type=int, help="use the first so many pictures only")
parser.add_argument("--arch", default="mobilenet_v2", help="any torchvision classifier")
parser.add_argument("--weights", help="weights file, or 'default' to download; else the data set 'weights'")
parser.add_argument("--frozen", type=int, default=4, help="epochs of the decoder alone")
parser.add_argument("--epochs", type=int, default=4, help="epochs of the whole network after them")
parser.add_argument("--bs", type=int, default=8, help="pictures per batch")
parser.add_argument("--out", type=Path, help="folder for the learner's files and drawings")


def street(path: Path, codes: Path | None) -> tuple[Items, list[str], dict[str, Path]]:
    """Pictures, names of classes, and the mask of each picture by its name."""
    listing = next(p for p in (path / (codes or "codes.txt"), codes or path) if p.is_file())
    masks = {re.sub(r"_P$", "", file.stem): file for file in (path / "labels").rglob("*.png")}
    return Items.from_folder(path / "images"), listing.read_text().split(), masks


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="segmentation-"))
    out.mkdir(parents=True, exist_ok=True)
    weights = args.weights or local_dataset(args.data, "weights") / f"{args.arch}.pth"
    set_seed(42)
    codes: list[str] | dict[int, str]
    if args.path:
        items, codes, masks = street(args.path, args.codes)
        void = args.void
    else:
        root = local_dataset(args.data, "pets")
        items = Items.from_folder(root / "images")
        codes, void = {1: "pet", 2: "ground", 3: "border"}, ["border"]
        trimaps = root / "trimaps" if (root / "trimaps").exists() else root / "annotations" / "trimaps"
        masks = {file.stem: file for file in trimaps.glob("*.png")}
    if args.n:
        few = {str(file) for file in list(items.pictures)[:: max(1, len(items) // args.n)][: args.n]}
        items = items.filter(lambda file: str(file) in few)

    items = items.split_by_file(args.valid) if args.valid else items.split_by_random()
    size = (args.height, args.width)
    tfms = tfms_from_model(args.arch, size, crop="squash", aug_tfms=[RandomFlip(), RandomLighting()])
    data = (
        items.masks_by(lambda file: masks[file.stem], codes, void=void)
        .transform(tfms)
        .data(args.bs, path=out)
    )
    print(f"{data}, classes: {', '.join(data.classes or [])}")
    data.show_batch(6).savefig(out / "batch.png")

    learn = ConvLearner.pretrained(args.arch, data, weights=weights, path=out, seed=0)
    started = time.perf_counter()
    learn.fit_one_cycle(args.frozen, 3e-3)
    learn.unfreeze()
    learn.fit_one_cycle(args.epochs, slice(1e-4, 1e-3))
    took = time.perf_counter() - started
    told = ", ".join(f"{name} {value:.4f}" for name, value in learn.evaluate().items())
    print(f"{told} in {took:.0f} s")
    learn.show_results(4).savefig(out / "results.png")
    answer = learn.predict_one(data.filenames["valid"][0])
    shares = {name: round(share, 3) for name, share in answer.shares.items()}
    print(f"{Path(data.filenames['valid'][0]).name}: {shares}; drawings in {out}")


if __name__ == "__main__":
    main()
