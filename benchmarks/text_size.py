"""What smaller exports of a text classifier cost in accuracy.

    python examples/sentiment.py --out films
    python benchmarks/text_size.py films/sentiment --data path/to/data --mb 5 8

Opens an exported classifier of film reviews, exports it again at each size, and compares all on test reviews.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from zoo import load_learner
from zoo.datasets import local_dataset

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("archive", type=Path, help="what learn.export wrote, of a classifier of film reviews")
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--mb", type=float, nargs="+", default=[5.0, 8.0], help="most million bytes")
parser.add_argument("--test", type=int, default=25_000, help="test reviews")
parser.add_argument("--device", default="cpu")


def main() -> None:
    args = parser.parse_args()
    reviews = pd.read_parquet(local_dataset(args.data, "imdb.parquet"))
    test = reviews[reviews.split == "test"]
    test = test.sample(min(args.test, len(test)), random_state=0)
    truth = test.label.astype(str).to_numpy()
    learn = load_learner(args.archive, args.device)
    folder = Path(tempfile.mkdtemp())
    opened = {"as it is": args.archive}
    for mb in args.mb:
        opened[f"max_mb={mb:g}"] = learn.export(folder / f"{mb:g}", max_mb=mb)
    labels: dict[str, np.ndarray] = {}
    print(f"{'':<12} {'MB':>7} {'words':>7} {'pairs etc.':>10} {'accuracy':>9} {'same label':>10} {'s':>5}")
    for name, path in opened.items():
        size = sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
        one, since = load_learner(path, args.device), time.perf_counter()
        labels[name] = np.array([str(answer.label) for answer in one.predict_batch(test.text)])
        right, same = (labels[name] == truth).mean(), (labels[name] == labels["as it is"]).mean()
        words, grams = len(one.data.field.vocab), 0 if one.model.linear is None else one.model.linear.n_grams
        print(
            f"{name:<12} {size / 1e6:7.2f} {words:7,} {grams:10,} {right:9.2%} {same:10.2%} "
            f"{time.perf_counter() - since:5.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
