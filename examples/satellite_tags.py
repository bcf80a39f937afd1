"""Several labels a picture: satellite tiles with tags, scored by F2, each label with a threshold of its own.

python examples/satellite_tags.py --data path/to/data
python examples/satellite_tags.py --path path/to/planet --epochs 10     (train-jpg/, train_v2.csv)
"""

import argparse
import os
import tempfile
from pathlib import Path

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo.vision import ConvLearner, ImageClassifierData, tfms_from_model, transforms_top_down

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--path", type=Path, help="folder with train-jpg/, test-jpg/ and train_v2.csv")
parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
parser.add_argument("--arch", default="mobilenet_v2", help="any torchvision classifier")
parser.add_argument("--weights", help="weights file, or 'default' to download; else the data set 'weights'")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--bs", type=int, default=16, help="pictures per batch")
parser.add_argument("--out", type=Path, help="folder for the learner's files and the submission")


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="satellite-tags-"))
    out.mkdir(parents=True, exist_ok=True)
    path = args.path or local_dataset(args.data, "planet_tiny")
    weights = args.weights or local_dataset(args.data, "weights") / f"{args.arch}.pth"
    set_seed(42)

    tfms = tfms_from_model(args.arch, args.size, aug_tfms=transforms_top_down, max_zoom=1.05)
    data = ImageClassifierData.from_csv(
        path, "train-jpg", "train_v2.csv", suffix=".jpg", test_name="test-jpg", on_missing="skip",
        tfms=tfms, bs=args.bs, seed=0,
    )  # fmt: skip
    print(f"{data}, {data.c} labels: {' '.join(data.classes or [])}")
    learn = ConvLearner.pretrained(args.arch, data, weights=weights, path=out, seed=0)
    learn.fit_one_cycle(args.epochs, 1e-2)
    print("one threshold for all:", {name: round(value, 3) for name, value in learn.evaluate().items()})

    # a threshold for each label, found on the validation pictures, which then is no longer unseen
    learn.calibrate()
    print("thresholds:", learn.calibration)
    learn.export(out / "model.zip")
    for name, answer in zip(
        data.filenames["test"][:5], learn.predict_batch(data.filenames["test"][:5]), strict=True
    ):
        print(f"{Path(name).name}: {' '.join(answer.label) or '(none)'}")
    print(f"model in {out}")


if __name__ == "__main__":
    main()
