"""Points in pictures: where the middle of the animal is, learned from masks of pets.

python examples/head_points.py --data path/to/data

Points follow every view (mirrored, turned, zoomed); answers are in the pixels of the picture that is given.
For points of your own give `points_by` a function from a file to its k x 2 numbers.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo.vision import ConvLearner, Items, RandomFlip, RandomLighting, RandomRotate, tfms_from_model
from zoo.vision.targets.maps import open_mask

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
parser.add_argument("--arch", default="mobilenet_v2", help="any torchvision classifier")
parser.add_argument("--weights", help="weights file, or 'default' to download; else the data set 'weights'")
parser.add_argument("--n", type=int, help="use so many pictures only")
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--out", type=Path, help="folder for the learner's files and drawings")


def middle(mask: Path) -> np.ndarray:
    """The centre of the pixels that are the animal, x and y."""
    rows, columns = np.nonzero(open_mask(mask) == 1)
    return np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="points-"))
    out.mkdir(parents=True, exist_ok=True)
    root = local_dataset(args.data, "pets")
    trimaps = root / "trimaps" if (root / "trimaps").exists() else root / "annotations" / "trimaps"
    weights = args.weights or local_dataset(args.data, "weights") / f"{args.arch}.pth"
    set_seed(42)

    moves = [RandomFlip(), RandomRotate(15), RandomLighting()]
    tfms = tfms_from_model(args.arch, args.size, crop="squash", aug_tfms=moves)
    items = Items.from_folder(root / "images")
    if args.n:
        few = {str(file) for file in list(items.pictures)[:: max(1, len(items) // args.n)][: args.n]}
        items = items.filter(lambda file: str(file) in few)
    items = items.filter(lambda f: bool((open_mask(trimaps / f"{f.stem}.png") == 1).any()))
    items = items.split_by_random().points_by(lambda f: middle(trimaps / f"{f.stem}.png"), ["middle"])
    data = items.transform(tfms).data(bs=32, path=out)
    data.show_batch(9).savefig(out / "batch.png")

    learn = ConvLearner.pretrained(args.arch, data, weights=weights, path=out, seed=0)
    learn.fit_one_cycle(args.epochs, 3e-3)
    base = learn.baseline()
    print("distance in halves of the picture's sides")
    print(f"always the same point: {base.reference.metrics['point_distance']:.4f}")
    print(f"{base.name}: {base.metrics['point_distance']:.4f}")
    print(f"network: {base.learner.metrics['point_distance']:.4f}")
    mean, truth = learn.TTA()
    print(f"with test-time augmentation: {np.linalg.norm(mean - truth, axis=1).mean():.4f}")
    learn.show_results(4).savefig(out / "results.png")
    file = data.filenames["valid"][0]
    print(f"{Path(file).name}: middle at {learn.predict_one(file)[0].round(1)}; drawings in {out}")


if __name__ == "__main__":
    main()
