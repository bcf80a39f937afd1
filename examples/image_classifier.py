"""Cats or dogs: a pretrained network, first its head on cached activations, then all of it, graded rates.

python examples/image_classifier.py --data path/to/data
python examples/image_classifier.py --data path/to/data --n 100 --size 128     (a quick trial)
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo import load_learner, set_seed
from zoo.datasets import local_dataset
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    ImageModelResults,
    tfms_from_model,
    transforms_side_on,
)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
parser.add_argument("--n", type=int, help="use the first so many pictures of each class only")
parser.add_argument("--arch", default="mobilenet_v2", help="any torchvision classifier")
parser.add_argument(
    "--weights", help="weights file, or 'default' to download; otherwise the data set 'weights'"
)
parser.add_argument("--epochs", type=int, default=15, help="epochs of the head; the whole network gets one")
parser.add_argument("--out", type=Path, help="folder for cached activations, plots and the exported model")


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    return float((scores.argmax(1) == targets).mean())


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="image-classifier-"))
    path = local_dataset(args.data, "dogscats", marker="train")
    weights = args.weights or local_dataset(args.data, "weights") / f"{args.arch}.pth"
    set_seed(42)

    # the head, on activations that are computed once
    started = time.perf_counter()
    plain = tfms_from_model(args.arch, args.size)
    data = ImageClassifierData.from_paths(path, bs=256, tfms=plain, n_per_class=args.n)
    learn = ConvLearner.pretrained(
        args.arch, data, xtra_fc=[256], ps=[0.8, 0.6], weights=weights, precompute=True, path=out
    )
    print(f"{data}; activations in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    print(learn.lr_find())
    learn.fit_one_cycle(args.epochs, 1e-3)
    seconds = time.perf_counter() - started
    print(f"head: accuracy {accuracy(learn.predict(), data.val_y):.4f}; finder and fit in {seconds:.1f} s")

    # the whole network, on augmented pictures, with low rates for early layers
    learn.precompute = False
    augmented = tfms_from_model(args.arch, args.size, aug_tfms=transforms_side_on, max_zoom=1.05)
    learn.set_data(ImageClassifierData.from_paths(path, tfms=augmented, n_per_class=args.n))
    learn.unfreeze()
    learn.bn_freeze(True)
    learn.fit([1e-4, 1e-3, 1e-2], 1, cycle_len=1)
    probs, targets = learn.TTA(log=False)
    print(f"all layers, test-time augmentation: accuracy {accuracy(probs, targets):.4f}")

    # look, keep, predict a new picture
    results = ImageModelResults(data, np.log(probs.clip(1e-7)), targets)
    print("most confused:", results.most_confused())
    results.plot_most_incorrect(n=9).savefig(out / "most_incorrect.png")
    results.plot_confusion_matrix().savefig(out / "confusion_matrix.png")
    model = learn.export(out / "model.zip")
    picture = data.filenames["valid"][0]
    answer = load_learner(model).predict_one(picture)
    print(f"{Path(picture).name} shows {answer.label} ({answer.probability:.3f}); model and plots in {out}")


if __name__ == "__main__":
    main()
