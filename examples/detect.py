"""Boxes around things: a torchvision detector through the same fit, mean average precision by torchmetrics.

python examples/detect.py --data path/to/data

Boxes follow every view; answers are in the pixels of the picture that is given. Without published weights
(`--weights default` downloads those of the backbone) 200 photos teach a detector little: this shows the way.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo.vision import ConvLearner, Items, RandomFlip, RandomLighting, imagenet_stats, tfms_from_stats

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--size", type=int, default=320, help="side of the pictures in pixels")
parser.add_argument("--arch", default="ssdlite320_mobilenet_v3_large", help="a detector of torchvision")
parser.add_argument("--weights", help="of the backbone: a file, or 'default' to download; else random")
parser.add_argument("--classes", nargs="*", default=["person"], help="what to look for; none: everything")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--bs", type=int, default=8, help="pictures per batch")
parser.add_argument("--out", type=Path, help="folder for the learner's files and drawings")


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="detect-"))
    out.mkdir(parents=True, exist_ok=True)
    root = local_dataset(args.data, "coco_small")
    names = re.findall(r"^  \d+: (.+)$", (root / "config.yaml").read_text(), re.MULTILINE)
    wanted = args.classes or names
    set_seed(42)

    def boxes(file: Path) -> tuple[np.ndarray, list[str]]:
        """Corners and names; the files hold class, centre and sides in fractions of the picture."""
        with Image.open(file) as picture:
            width, height = picture.size
        listed = root / "labels" / f"{file.stem}.txt"
        rows = np.loadtxt(listed, ndmin=2) if listed.is_file() else np.zeros((0, 5))
        rows = rows[[names[int(row[0])] in wanted for row in rows]]
        centre, sides = rows[:, 1:3] * [width, height], rows[:, 3:5] * [width, height]
        return np.concatenate([centre - sides / 2, centre + sides / 2], 1), [
            names[int(n)] for n in rows[:, 0]
        ]

    moves = [RandomFlip(), RandomLighting()]
    tfms = tfms_from_stats(imagenet_stats, args.size, crop="letterbox", aug_tfms=moves)
    items = Items.from_folder(root / "images").split_by_random().boxes_by(boxes, wanted)
    data = items.transform(tfms).data(args.bs, path=out)
    print(f"{data}, looking for {', '.join(wanted)}")
    data.show_batch(9).savefig(out / "batch.png")

    learn = ConvLearner.pretrained(args.arch, data, weights=args.weights, path=out, seed=0)
    if args.weights is None:
        learn.unfreeze()
    learn.fit_one_cycle(args.epochs, 1e-3)
    learn.show_results(4).savefig(out / "results.png")
    answer = learn.predict_one(data.filenames["valid"][0])
    print(f"{Path(data.filenames['valid'][0]).name}: {len(answer)} boxes; drawings in {out}")


if __name__ == "__main__":
    main()
