"""How fast tables are prepared, read, trained on and predicted, next to fastai on the same columns.

The columns are the 22 categories and 16 numbers of the store sales in `examples/rossmann_features.py`.
Both sides get the same rows, the same embedding widths, a network of 1000 and 500 hidden values with batch
norm and dropout, batches of the same size, and AdamW with decoupled weight decay. Rounds alternate in one
process; medians count, and ratios above 1 say how much faster zoo is. Without fastai, it is left out.

    python benchmarks/tabular_speed.py --data path/to/data --rows 100000 --rounds 3
    python benchmarks/tabular_speed.py --parts train --device cuda --rows 1000000
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from report import print_table, write_result

from zoo.data import device_batches
from zoo.datasets import local_dataset
from zoo_tabular import ColumnarModelData, TableProcessor, proc_df, train_cats

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from rossmann_features import CATEGORIES, NUMBERS, load_rossmann

HIDDEN, DROPS, EMB_DROP, RANGE = [1000, 500], [0.001, 0.01], 0.04, (0.0, 12.0)
PARTS = ["train", "loader", "frame", "one"]
HELD_OUT = 512

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, default=100_000, help="about this many rows, those of the first stores"
)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--device", default="cpu")
parser.add_argument("--no-fastai", action="store_true")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")

Runs = dict[str, Callable[[], float]]


def alternate(runs: Runs, rounds: int) -> dict[str, float]:
    """Median result of every contestant, after one warming round; the order shifts from round to round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(-1, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            value = runs[name]()
            if number >= 0:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(work: Callable[[], Any], device: str = "cpu") -> float:
    """Time of one call, with what it started on a GPU."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def our_data(df: pd.DataFrame, bs: int) -> ColumnarModelData:
    held_out = np.arange(len(df) - HELD_OUT, len(df))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ColumnarModelData.from_data_frame(
            "/tmp", held_out, df, "Sales", CATEGORIES, bs, cont_flds=NUMBERS, target_transform="log"
        )


def our_learner(md: ColumnarModelData, device: str) -> Any:
    return md.get_learner(
        None, None, EMB_DROP, 1, HIDDEN, DROPS, RANGE, device=device, wd=0.01, metrics=[], progress=False
    )


def fastai_table(df: pd.DataFrame) -> Any:
    from fastai.tabular.all import Categorify, FillMissing, Normalize, RegressionBlock, TabularPandas

    cut = len(df) - HELD_OUT
    return TabularPandas(
        df[[*CATEGORIES, *NUMBERS, "Sales"]], [Categorify, FillMissing, Normalize], list(CATEGORIES),
        list(NUMBERS), y_names="Sales", y_block=RegressionBlock(),
        splits=(list(range(cut)), list(range(cut, len(df)))),
    )  # fmt: skip


def fastai_learner(df: pd.DataFrame, md: ColumnarModelData, device: str) -> Any:
    from fastai.callback import progress  # noqa: F401 (importing it adds Learner.no_bar)
    from fastai.tabular.all import Learner, MSELossFlat, TabularModel

    table = fastai_table(df.assign(Sales=np.log(df["Sales"]).astype("float32")))
    widths = [width for _, width in md.embedding_sizes()]
    levels = [len(table.classes[name]) for name in table.cat_names]
    sizes = list(zip(levels, widths, strict=True))
    model = TabularModel(
        sizes, len(table.cont_names), 1, HIDDEN, ps=DROPS, embed_p=EMB_DROP, y_range=RANGE
    )  # fmt: skip
    loaders = table.dataloaders(bs=512, device=torch.device(device))
    return Learner(loaders, model.to(device), loss_func=MSELossFlat())


def train_part(df: pd.DataFrame, args: argparse.Namespace, with_fastai: bool) -> dict[str, float]:
    """Training rows a second at 512 rows a batch."""
    df = df.assign(
        **{name: df[name].fillna(df[name].median()) for name in NUMBERS}
    )  # the same inputs for both
    md = our_data(df, 512)
    n = len(df) - HELD_OUT
    fp32, bf16 = our_learner(md, args.device).to_fp32(), our_learner(md, args.device).to_bf16()
    runs: Runs = {
        "zoo fp32": lambda: n / seconds(lambda: fp32.fit(1e-3, 1), args.device),
        "zoo bf16": lambda: n / seconds(lambda: bf16.fit(1e-3, 1), args.device),
    }
    if with_fastai:
        theirs = fastai_learner(df, md, args.device)

        def fit() -> None:
            with theirs.no_bar(), theirs.no_logging():
                theirs.fit(1, 1e-3)

        runs["fastai fp32"] = lambda: n / seconds(fit, args.device)
    return alternate(runs, args.rounds)


def loader_part(df: pd.DataFrame, args: argparse.Namespace, with_fastai: bool) -> dict[str, float]:
    """Rows a second of one pass over the training batches, category dropout included."""
    runs: Runs = {}
    n = len(df) - HELD_OUT
    table = fastai_table(df) if with_fastai else None
    for bs in (64, 512):
        loader = our_data(df, bs).train_dl

        def ours(loader: Any = loader) -> None:
            for _ in device_batches(loader, torch.device("cpu"), training=True):
                pass

        runs[f"zoo {bs}"] = lambda work=ours: n / seconds(work)
        if table is not None:
            loaders = table.dataloaders(bs=bs, device=torch.device("cpu"))

            def theirs(loaders: Any = loaders) -> None:
                for _ in loaders.train:
                    pass

            runs[f"fastai {bs}"] = lambda work=theirs: n / seconds(work)
    return alternate(runs, args.rounds)


def frame_part(df: pd.DataFrame, args: argparse.Namespace, with_fastai: bool) -> dict[str, float]:
    """Rows a second from raw columns to codes, filled gaps and scaled numbers."""
    raw = df[[*CATEGORIES, *NUMBERS, "Sales"]]
    plain = [name for name in CATEGORIES if pd.api.types.is_numeric_dtype(raw[name].dtype)]

    def by_functions() -> None:
        proc_df(train_cats(raw.astype(dict.fromkeys(plain, "category"))), "Sales", do_scale=True)

    def by_processor() -> None:
        TableProcessor(CATEGORIES, NUMBERS, scale=True).fit(raw).transform_arrays(raw)

    runs: Runs = {
        "train_cats + proc_df": lambda: len(df) / seconds(by_functions),
        "TableProcessor": lambda: len(df) / seconds(by_processor),
    }
    if with_fastai:
        runs["fastai TabularPandas"] = lambda: len(df) / seconds(lambda: fastai_table(raw))
    return alternate(runs, args.rounds)


def one_part(df: pd.DataFrame, args: argparse.Namespace, with_fastai: bool) -> dict[str, float]:
    """Microseconds of one prediction."""
    md = our_data(df, 512)
    learn = our_learner(md, "cpu").to_fp32()
    row = {str(name): value for name, value in df.iloc[7].to_dict().items()}
    inputs = md.row_inputs(row)
    model = learn.model.eval()

    def bare() -> None:
        with torch.inference_mode():
            model(*inputs)

    def each(work: Callable[[], Any], times: int) -> float:
        return 1e6 * statistics.median(seconds(work) for _ in range(times))

    runs: Runs = {
        "bare model": lambda: each(bare, 300),
        "zoo predict_one": lambda: each(lambda: learn.predict_one(row), 300),
    }
    if with_fastai:
        filled = df.assign(**{name: df[name].fillna(df[name].median()) for name in NUMBERS})
        theirs = fastai_learner(filled, md, "cpu")
        frame = filled.iloc[[7]][[*CATEGORIES, *NUMBERS]]

        def predict() -> None:  # what its predict(row) does, which a row of mixed types breaks with pandas 3
            with theirs.no_bar(), theirs.no_logging():
                theirs.get_preds(dl=theirs.dls.test_dl(frame))

        runs["fastai one row"] = lambda: each(predict, 20)
    return alternate(runs, args.rounds)


TITLES = {
    "train": ("training rows/s, batches of 512", "fastai fp32"),
    "loader": ("rows/s of the training loader alone", None),
    "frame": ("rows/s from raw frame to codes and numbers", "fastai TabularPandas"),
    "one": ("microseconds for one row", "bare model"),
}


def main() -> None:
    args = parser.parse_args()
    logging.getLogger("zoo").setLevel(logging.ERROR)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        import fastai  # noqa: F401

        with_fastai = not args.no_fastai
    except ImportError:
        with_fastai = False
    if not with_fastai:
        print("fastai is left out")
    df, _ = load_rossmann(local_dataset(args.data, "rossmann", "store.csv"), args.rows)
    works = {"train": train_part, "loader": loader_part, "frame": frame_part, "one": one_part}
    result: dict[str, Any] = {
        "rows": len(df),
        "rounds": args.rounds,
        "device": args.device,
        "threads": torch.get_num_threads(),
    }
    for part in args.parts:
        medians = works[part](df, args, with_fastai)
        title, base = TITLES[part]
        ratios = {name: value / medians[_base(name, base, medians)] for name, value in medians.items()}
        print(f"\n{title}")
        print_table(
            ["", "median", "ratio"],
            [[name, f"{value:,.0f}", f"{ratios[name]:.2f}"] for name, value in medians.items()],
        )
        result[part] = {"median": medians, "ratio": ratios}
    name = "tabular_speed" if args.device == "cpu" else f"tabular_speed_{args.device}"
    write_result(args.out, name, result)


def _base(name: str, base: str | None, medians: dict[str, float]) -> str:
    """Whom a contestant is compared with: fastai at the same batch size, where it is here."""
    wanted = base or f"fastai {name.rsplit(maxsplit=1)[-1]}"
    return wanted if wanted in medians else next(iter(medians))


if __name__ == "__main__":
    main()
