"""Training from Parquet files that need not fit into memory, next to training from memory.

Makes a folder of partitioned Parquet files (8 categories, up to 50,000 levels; 8 numbers with gaps; a target
that depends on them), a piece at a time. Then one epoch of the default network runs in processes of their
own, from the files (`from_parquet`) and from memory (`from_data_frame`), alternating; each tells its peak
resident memory. Equal rows, the same batches per epoch; the loaders are also run alone. The process in memory
reads as many rows as `--memory-rows` says (the first files), the streaming one all of them; rates count.

    python benchmarks/larger_than_memory.py --rows 20000000 --memory-rows 5000000
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

LEVELS = {
    "store": 1115, "weekday": 7, "state": 16, "kind": 4, "promo": 2, "month": 12, "item": 50_000,
    "brand": 800,
}  # fmt: skip
TEXTS = {"state", "kind", "item"}
NUMBERS = [f"x{i}" for i in range(8)]
FILE_ROWS, GROUP_ROWS = 500_000, 250_000  # files are larger where row groups are
LIMIT_MB = 1500

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=20_000_000)
parser.add_argument("--memory-rows", type=int, default=5_000_000, help="rows of the run from memory")
parser.add_argument("--group-rows", type=int, default=GROUP_ROWS, help="rows of a row group")
parser.add_argument("--bs", type=int, nargs="+", default=[512, 4096])
parser.add_argument("--rounds", type=int, default=1, help="alternating runs of each kind and batch size")
parser.add_argument("--device", default="cpu")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--folder", type=Path, help="where the files are made, or lie from an earlier run")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
parser.add_argument("--child", choices=["stream", "memory"], help=argparse.SUPPRESS)


def make_files(folder: Path, rows: int, group_rows: int = GROUP_ROWS) -> None:
    """Writes the rows, a file at a time, in folders by year; leaves those of an earlier run alone."""
    done = folder / "_done.json"
    made = {"rows": rows, "group_rows": group_rows}
    file_rows = max(FILE_ROWS, group_rows)
    if done.is_file() and json.loads(done.read_text()) == made:
        return
    effects = np.random.default_rng(0)
    weights = {name: effects.normal(size=n).astype("float32") for name, n in LEVELS.items()}
    spelt = {name: pa.array([f"{name} {i}" for i in range(LEVELS[name])]) for name in TEXTS}
    for number, start in enumerate(range(0, rows, file_rows)):
        rng = np.random.default_rng([1, number])
        n = min(file_rows, rows - start)
        columns: dict[str, Any] = {}
        target = np.zeros(n, dtype="float32")
        for name, levels in LEVELS.items():
            codes = (levels * rng.random(n) ** 1.5).astype("int32")  # some levels are seen more than others
            target += 0.3 * weights[name][codes]
            gaps = rng.random(n) < 0.01 if name == "brand" else None
            if name in TEXTS:
                columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), spelt[name]).cast(pa.string())
            else:
                columns[name] = pa.array(codes, mask=gaps)
        for i, name in enumerate(NUMBERS):
            values = rng.normal(i, 1 + i, n)
            target += (0.1 * np.sin(values)).astype("float32")
            columns[name] = pa.array(values, mask=rng.random(n) < 0.02 * i)
        columns["y"] = pa.array(target + 0.3 * rng.normal(size=n).astype("float32"))
        part = folder / f"year={2010 + 10 * start // rows}"
        part.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), part / f"part-{number:04}.parquet", row_group_size=group_rows)
    done.write_text(json.dumps(made))


def seconds_of(loader: Any) -> float:
    """How long a pass over a loader alone takes."""
    started = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - started


def run_child(args: argparse.Namespace) -> None:
    """A pass over the loader alone, then one epoch; prints a line of JSON."""
    import torch

    from zoo_tabular import ColumnarModelData

    if args.threads:
        torch.set_num_threads(args.threads)
    bare = peak_mb()
    started = time.perf_counter()
    [bs] = args.bs
    options: dict[str, Any] = {"bs": bs, "cont_flds": NUMBERS, "seed": 0}
    if args.child == "stream":
        data = ColumnarModelData.from_parquet(args.out, None, args.folder, "y", [*LEVELS], **options)
    else:
        files = sorted(args.folder.rglob("*.parquet"))[
            : -(-args.memory_rows // max(FILE_ROWS, args.group_rows))
        ]
        frame = pa.concat_tables(parquet.read_table(file, partitioning=None) for file in files).to_pandas()
        data = ColumnarModelData.from_data_frame(
            args.out, None, frame.iloc[: args.memory_rows], "y", [*LEVELS], **options
        )
        del frame
    prepared = time.perf_counter() - started
    alone = seconds_of(data.train_dl)
    learn = data.get_learner(device=args.device, seed=0, progress=False)
    started = time.perf_counter()
    [row] = learn.fit(1e-3, 1)
    found = {
        "rows": data.train_dl.n_rows,
        "prepare_s": prepared,
        "loader_s": alone,
        "fit_s": time.perf_counter() - started,
        "train_loss": row["train_loss"],
        "imports_mb": bare,
    }
    found["peak_mb"] = peak_mb()
    found["arrow_mb"] = pa.default_memory_pool().max_memory() / 1e6
    print("RESULT " + json.dumps(found), flush=True)


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MB (10**6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def child(kind: str, bs: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What a process of its own found."""
    command = [
        sys.executable, __file__, "--child", kind, "--folder", str(folder), "--out", str(folder),
        "--memory-rows", str(min(args.memory_rows, args.rows)), "--threads", str(args.threads),
        "--device", args.device, "--bs", str(bs), "--group-rows", str(args.group_rows),
    ]  # fmt: skip
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"the {kind} process failed:\n{done.stdout}{done.stderr}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Makes the files, runs both kinds alternately, prints and writes down what came out."""
    from report import print_table, write_result

    started = time.perf_counter()
    make_files(folder, args.rows, args.group_rows)
    made = time.perf_counter() - started
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e9
    print(f"{args.rows:,} rows in {size:.2f} GB of Parquet, made in {made:.0f} s")
    runs: dict[int, dict[str, list[dict[str, Any]]]] = {bs: {"stream": [], "memory": []} for bs in args.bs}
    for number in range(args.rounds):
        for bs, found in runs.items():
            for kind in ["stream", "memory"] if number % 2 == 0 else ["memory", "stream"]:
                found[kind].append(child(kind, bs, args, folder))
    rates: dict[int, dict[str, float]] = {}
    table = []
    for bs, found in runs.items():
        rates[bs] = {
            f"{kind}_{what}": statistics.median(one["rows"] / one[f"{what}_s"] for one in found[kind])
            for what in ("fit", "loader")
            for kind in found
        }
        rates[bs]["time_ratio"] = rates[bs]["memory_fit"] / rates[bs]["stream_fit"]
        *cells, ratio = rates[bs].values()
        table.append([f"batch {bs}", *(f"{cell:,.0f}" for cell in cells), f"{ratio:.2f}"])
    print_table(["rows/s", "streamed", "in memory", "loader alone", "loader in memory", "time ratio"], table)
    peaks: dict[str, float] = {}
    for kind, what in (("stream", "statistics"), ("memory", "reading, statistics and coding")):
        every = [one for found in runs.values() for one in found[kind]]
        peaks[kind] = max(one["peak_mb"] for one in every)
        prepared = statistics.median(one["prepare_s"] for one in every)
        print(
            f"{kind}: {every[0]['rows']:,} rows, {what} in {prepared:.1f} s, "
            f"peak resident memory {peaks[kind]:,.0f} MB ({every[0]['imports_mb']:,.0f} after imports)"
        )
    write_result(
        args.out,
        "larger_than_memory",
        {
            "rows": args.rows,
            "group_rows": args.group_rows,
            "device": args.device,
            "file_gb": size,
            "rates": rates,
            "peak_mb": peaks,
            "limit_mb": LIMIT_MB,
            "runs": runs,
        },
    )
    if peaks["stream"] > LIMIT_MB:
        raise SystemExit(f"the streaming process took more than {LIMIT_MB:,} MB")


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
