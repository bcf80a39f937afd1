"""When the speed switches pay: training with and without each, on an embedding net, an LSTM, a small convnet.

Every switch is tried alone and with bfloat16, in alternating passes over the same number of batches; medians
count. Compiling costs time once: the table says how much, and after how many batches it has paid for itself
("never": it is not faster). Needs the data sets of the examples; what is not there is left out.

    python benchmarks/speed_switches.py --data path/to/data
    python benchmarks/speed_switches.py --quick        # only shows that everything runs
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import problems
import torch
from report import print_table, write_result

from zoo import Callback, CancelEpoch, Learner
from zoo.engine.speed import find_compiler

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--batches", type=int, default=20, help="batches a pass")
parser.add_argument("--rounds", type=int, default=3, help="passes of each contestant")
parser.add_argument("--device", help="the best of the machine by default")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--only", nargs="*", choices=("tables", "text", "pictures"), help="some of the networks")
parser.add_argument("--quick", action="store_true", help="as little of everything as possible")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")

FULL = {"tables": {"rows": 60_000}, "text": {"words": 60_000}, "pictures": {"each": 200}}
QUICK = {
    "tables": {"rows": 2000, "bs": 128},
    "text": {"words": 6000, "bs": 4},
    "pictures": {"each": 10, "bs": 32},
}
Switch = Callable[[Learner], Any]
SWITCHES: dict[str, Switch] = {
    "as it is": lambda learn: learn.to_fp32(),
    "bf16": lambda learn: learn.to_bf16(),
    "compile": lambda learn: learn.compile().to_fp32(),
    "compile + bf16": lambda learn: learn.compile().to_bf16(),
    "channels_last": lambda learn: learn.channels_last().to_fp32(),
    "channels_last + bf16": lambda learn: learn.channels_last().to_bf16(),
    "CUDA graphs": lambda learn: learn.compile(mode="reduce-overhead").to_fp32(),
    "CUDA graphs + bf16": lambda learn: learn.compile(mode="reduce-overhead").to_bf16(),
}


class StopAfter(Callback):
    """Ends a training pass after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def before_batch(self, state: Any) -> None:
        if state.training and state.batch_index >= self.batches:
            raise CancelEpoch


def contestants(network: str, device: torch.device) -> Iterator[tuple[str, Switch]]:
    """The switches that make sense for a network on a device."""
    for name, switch in SWITCHES.items():
        if "channels_last" in name and network != "pictures":
            continue
        if "CUDA" in name and (
            device.type != "cuda" or network == "text"
        ):  # a carried state has no fixed place
            continue
        if ("compile" in name or "CUDA" in name) and find_compiler() is None:
            continue
        yield name, switch


def one_pass(learn: Learner, batches: int) -> float:
    """Seconds of a training pass without validation."""
    started = time.perf_counter()
    learn.fit(1e-3, 1, callbacks=[StopAfter(batches)])
    return time.perf_counter() - started


def measure(network: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a contestant."""
    sizes = (QUICK if args.quick else FULL)[network]
    make = getattr(problems, network)
    learners: dict[str, Learner] = {}
    first: dict[str, float] = {}
    for name, switch in contestants(network, make(args.data, device=args.device, **sizes).device):
        learn = make(args.data, device=args.device, **sizes)
        learn.data.valid_dl = None
        switch(learn)
        learners[name], first[name] = learn, one_pass(learn, args.batches)
        print(f"{network}: {name} is warm after {first[name]:.1f} s", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    names = list(learners)
    for number in range(args.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(one_pass(learners[name], args.batches))
    batches = min(args.batches, len(learners[names[0]].data.train_dl))
    each = {name: statistics.median(values) / batches for name, values in seconds.items()}
    base = each["as it is"]
    rows = []
    for name in names:
        once = max(0.0, first[name] - batches * each[name])
        pays = once / (base - each[name]) if each[name] < 0.99 * base else None
        rows.append(
            {
                "network": network,
                "switch": name,
                "ms_per_batch": 1e3 * each[name],
                "speedup": base / each[name],
                "seconds_once": once,
                "pays_after_batches": None if name == "as it is" or pays is None else round(pays),
                "seconds": seconds[name],
                "batches": batches,
                "bs": learners[name].data.train_dl.bs,
            }
        )
    return rows


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.quick:
        args.batches, args.rounds = min(args.batches, 3), 1
    rows: list[dict[str, Any]] = []
    for network in args.only or ("tables", "text", "pictures"):
        try:
            rows += measure(network, args)
        except FileNotFoundError as error:
            print(f"{network} is left out: {error}")
    table = []
    for row in rows:
        pays = row["pays_after_batches"]
        told = "-" if row["switch"] == "as it is" else "never" if pays is None else f"{pays:,}"
        cells = [f"{row['ms_per_batch']:.1f}", f"{row['speedup']:.2f}", f"{row['seconds_once']:.1f}", told]
        table.append([f"{row['network']}: {row['switch']}", str(row["bs"]), *cells])
    print()
    print_table(["", "rows", "ms/batch", "speedup", "once (s)", "pays after batches"], table)
    write_result(args.out, "speed_switches", {"quick": args.quick, "rounds": args.rounds, "rows": rows})


if __name__ == "__main__":
    main()
