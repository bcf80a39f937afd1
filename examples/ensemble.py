"""Ensembles of film recommenders: snapshots of one fit, and several learners, against the single model.

python examples/ensemble.py --data path/to/data --members 5

Two kinds of model, each alone with the setting that was best for it on held-out ratings (of 2 to 6 epochs and
rates from 2e-3 to 1e-2; more epochs make both worse, so no ensemble wins by training longer), as snapshots of
one fit with warm restarts, and as several learners with different first weights. Several learners gain for
both. Snapshots gain much for the network; for the dot product, whose strong weight decay leaves the cycles
much alike, they gain about 0.002 or, with other held-out rows, nothing. A mean counts every member alike, so
the better kind alone is better than both together.
"""

import argparse
import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from zoo import Ensemble, get_cv_idxs
from zoo.datasets import local_dataset
from zoo_collab import CollabFilterDataset

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--rows", type=int, help="use this many ratings only, drawn at random")
parser.add_argument("--epochs", type=int, help="of each single model; what was best for it by default")
parser.add_argument("--members", type=int, default=5, help="learners of an ensemble")
parser.add_argument("--seed", type=int, default=42, help="of the held-out rows and of the first training")
parser.add_argument("--out", type=Path, help="folder for the snapshots and the table")

KINDS: dict[str, dict[str, Any]] = {
    "dot product": {
        "options": {},
        "single": {"n_epochs": 5, "max_lr": 8e-3},
        "cycles": {"lrs": 1e-2, "n_cycle": 4, "cycle_len": 3},
    },
    "network": {
        "options": {"hidden": [100], "dropouts": [0.05, 0.3]},
        "single": {"n_epochs": 3, "max_lr": 3e-3},
        "cycles": {"lrs": 5e-3, "n_cycle": 5, "cycle_len": 1},
    },
}


def main() -> None:
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    out = args.out or Path(tempfile.mkdtemp(prefix="ensemble-"))
    out.mkdir(parents=True, exist_ok=True)
    ratings = pd.read_csv(local_dataset(args.data, "ml-latest-small", marker="ratings.csv") / "ratings.csv")
    if args.rows:
        ratings = ratings.sample(min(args.rows, len(ratings)), random_state=args.seed, ignore_index=True)
    table = CollabFilterDataset.from_data_frame(
        out, ratings, "userId", "movieId", "rating", rating_range=(0.5, 5)
    )
    held_out = get_cv_idxs(len(table), seed=args.seed)

    rows, everyone = [], []
    for kind, settings in KINDS.items():
        make = partial(table.get_learner, 50, held_out, bs=256, progress=False, **settings["options"])
        single = settings["single"] | ({"n_epochs": args.epochs} if args.epochs else {})
        learners = []
        for number in range(args.members):
            learn = make(seed=args.seed + number)
            learn.fit_one_cycle(**single)
            learners.append(learn)
        everyone += learners

        name = kind.replace(" ", "_")
        snapped = make(seed=args.seed)
        snapped.fit(**settings["cycles"], cycle_save_name=name)
        snapshots = Ensemble.from_snapshots(snapped, name)

        rows.append((kind, "single model", 1, learners[0].evaluate()))
        rows.append((kind, "last snapshot alone", 1, snapped.evaluate()))
        rows.append((kind, "snapshots of one learner", len(snapshots), snapshots.evaluate()))
        rows.append((kind, "several learners", len(learners), Ensemble(learners).evaluate()))

    ensemble = Ensemble(everyone)
    rows.append(("both", "several learners", len(ensemble), ensemble.evaluate()))
    errors = pd.DataFrame(
        [
            {"model": kind, "what": what, "members": count, "MSE": found["valid_loss"], "RMSE": found["rmse"]}
            for kind, what, count, found in rows
        ]
    )
    print("errors on held-out ratings, in stars")
    print(errors.to_string(index=False, float_format="{:.4f}".format))
    errors.to_csv(out / "errors.csv", index=False)

    user, film = ratings[["userId", "movieId"]].iloc[0]
    alone, together = everyone[0].predict_one((user, film)), ensemble.predict_one((user, film))
    print(f"\nuser {user} and film {film}: {alone:.2f} stars alone, {together:.2f} together")


if __name__ == "__main__":
    main()
