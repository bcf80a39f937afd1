"""Millions of ratings while the catalogue grows tenfold: what a step costs, and how much memory it takes.

Makes Parquet files of ratings (users and items drawn by a power law; a rating depends on the item's quality
and on two tastes), a piece at a time, for a catalogue and for one of ten times the users and items. Then
processes of their own read them (`CollabFilterDataset.from_parquet`) and train some steps of the dot product:
whole tables with AdamW, tables by rows with `RowAdamW`, and the latter in two processes (gloo). Each tells
its seconds, ratings a second, and memory: the peak of what is resident, and how much of that at the end is
its own (the rest are pages of mapped files, which the system takes back when it needs them).

    python benchmarks/ratings_scale.py --rows 20000000 --users 48000 --items 5000
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

FILE_ROWS = 2_000_000
GROWTH = 10
KINDS = {"whole tables": 1, "by rows": 1, "by rows, 2 processes": 2}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=20_000_000)
parser.add_argument("--users", type=int, default=48_000, help="of the smaller catalogue")
parser.add_argument("--items", type=int, default=5_000, help="of the smaller catalogue")
parser.add_argument("--factors", type=int, default=50)
parser.add_argument("--bs", type=int, nargs="+", default=[64, 1024, 8192])
parser.add_argument("--steps", type=int, default=60, help="steps that are timed, after 5 others")
parser.add_argument(
    "--epochs", type=int, default=0, help="instead: whole epochs, by rows, with a tenth held out"
)
parser.add_argument("--rounds", type=int, default=1, help="alternating runs of each kind and batch size")
parser.add_argument("--threads", type=int, default=1, help="torch threads of each process")
parser.add_argument("--folder", type=Path, help="where the files are made, or lie from an earlier run")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
parser.add_argument("--child", choices=list(KINDS), help=argparse.SUPPRESS)


def make_files(folder: Path, rows: int, users: int, items: int) -> None:
    """Writes the ratings, a file at a time; leaves those of an earlier run alone."""
    done = folder / "_done.json"
    made = {"rows": rows, "users": users, "items": items}
    if done.is_file() and json.loads(done.read_text()) == made:
        return
    folder.mkdir(parents=True, exist_ok=True)
    quality = np.random.default_rng(0).normal(0, 0.5, items)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        rng = np.random.default_rng([1, number])
        n = min(FILE_ROWS, rows - start)
        who = (users * rng.random(n) ** 1.5).astype(np.int64)
        what = (items * rng.random(n) ** 2).astype(np.int64)
        taste = np.where(who % 2 == what % 2, 0.6, -0.6)
        stars = np.clip(np.round(2 * (3.5 + quality[what] + taste + rng.normal(0, 0.7, n))) / 2, 0.5, 5)
        table = pa.table(
            {
                "user": who * 7 + 10**9,
                "item": what,
                "stars": stars.astype(np.float32),
                "when": start + np.arange(n),
            }
        )
        parquet.write_table(table, folder / f"part-{number:04}.parquet", row_group_size=500_000)
    done.write_text(json.dumps(made))


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MB (10**6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def own_mb() -> float:
    """What of the resident memory belongs to no file, in MB; not a number where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return float(found[1]) * 1024 / 1e6 if found else float("nan")


def run_child(args: argparse.Namespace) -> None:
    """Reads the files, trains and prints a line of JSON."""
    import torch

    from zoo import distributed
    from zoo.callbacks import Callback
    from zoo.engine.callback import CancelFit
    from zoo_collab import CollabFilterDataset, by_time

    class Timed(Callback):
        """Ends the fit after so many steps and knows how long they took."""

        seconds = 0.0

        def after_step(self, state: Any) -> None:
            if state.step == 5:
                self.started = time.perf_counter()
            if state.step == 5 + args.steps:
                self.seconds = time.perf_counter() - self.started
                raise CancelFit

    torch.set_num_threads(args.threads)
    found: dict[str, Any] = {"imports_mb": peak_mb()}
    started = time.perf_counter()
    table = CollabFilterDataset.from_parquet(args.folder, ".", "user", "item", "stars", time_col="when")
    found["read_s"], found["read_mb"] = time.perf_counter() - started, peak_mb()
    [bs] = args.bs
    started = time.perf_counter()
    learn = table.get_learner(
        args.factors, by_time(0.1) if args.epochs else None, bs, sparse=args.child != "whole tables", seed=0,
        wd=(0.05, 0.05), device="cpu", progress=False,
    )  # fmt: skip
    found["prepare_s"] = time.perf_counter() - started
    started = time.perf_counter()
    if args.epochs:
        rows = learn.fit_one_cycle(args.epochs, 1e-2)
        found["fit_s"], found["rmse"] = time.perf_counter() - started, [row["rmse"] for row in rows]
        found["ratings_per_s"] = args.epochs * learn.data.train_dl.n_rows / found["fit_s"]
    else:
        timed = Timed()
        learn.fit(1e-3, 1, callbacks=[timed])
        found["step_ms"] = 1e3 * timed.seconds / args.steps
        found["ratings_per_s"] = bs * args.steps / timed.seconds
    everyone = distributed.all_objects((peak_mb(), own_mb()))
    found["peak_mb"], found["own_mb"] = (max(values) for values in zip(*everyone, strict=True))
    if distributed.is_main():
        print("RESULT " + json.dumps(found), flush=True)


def child(kind: str, bs: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own (or two) found."""
    run = [sys.executable]
    if KINDS[kind] > 1:
        run += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(KINDS[kind]), "--"]
    options = [
        "--child", kind, "--folder", str(folder), "--bs", str(bs), "--steps", str(args.steps), "--factors",
        str(args.factors), "--threads", str(args.threads), "--epochs", str(args.epochs),
    ]  # fmt: skip
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run([*run, __file__, *options], env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"the process for {kind} failed:\n{done.stdout}{done.stderr}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Makes the files, runs all kinds for both catalogues, prints and writes down what came out."""
    from report import print_table, write_result

    catalogues = {"catalogue": 1, f"{GROWTH} times": GROWTH}
    runs: dict[str, Any] = {}
    for name, times in catalogues.items():
        users, items = args.users * times, args.items * times
        place = folder / f"{users}x{items}"
        make_files(place, args.rows, users, items)
        first = child(
            "by rows", args.bs[-1], place, argparse.Namespace(**{**vars(args), "epochs": 0, "steps": 1})
        )
        print(
            f"{args.rows:,} ratings of {items:,} items by {users:,} users: Parquet to memory maps in "
            f"{first['read_s']:.1f} s at a peak of {first['read_mb']:,.0f} MB "
            f"({first['imports_mb']:,.0f} MB after imports)",
            flush=True,
        )
        runs[name] = {"users": users, "items": items, "first": first, "kinds": {}}
        kinds = ["by rows"] if args.epochs else list(KINDS)
        for number in range(args.rounds):
            for bs in args.bs:
                for kind in kinds[:: 1 if number % 2 == 0 else -1]:
                    found = child(kind, bs, place, args)
                    runs[name]["kinds"].setdefault(f"{kind}, batch {bs}", []).append(found)
        table = []
        for kind, every in runs[name]["kinds"].items():
            best = max(every, key=lambda one: one["ratings_per_s"])
            cells = [
                best.get("step_ms", float("nan")),
                best["ratings_per_s"],
                best["peak_mb"],
                best["own_mb"],
            ]
            table.append([kind, f"{cells[0]:.2f}", *(f"{cell:,.0f}" for cell in cells[1:])])
            if args.epochs:
                print(kind, "rmse", [round(value, 4) for value in best["rmse"]], f"{best['fit_s']:.0f} s")
        print_table(["", "ms a step", "ratings/s", "peak MB", "of its own MB"], table)
    about = {key: getattr(args, key) for key in ("rows", "factors", "steps", "threads", "epochs")}
    write_result(args.out, "ratings_scale", {**about, "catalogues": runs})


def main() -> None:
    args = parser.parse_args()
    if args.child:
        run_child(args)
    elif args.folder is not None:
        compare(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(args, Path(folder))


if __name__ == "__main__":
    main()
