"""What shorter number formats give: speed and final metric of the same short training in four domains.

Each domain trains with the same seed in float32, bfloat16 and float16, in alternating order; the median time
of the fits and the last epoch's numbers count. A CPU has no fast float16: there it trains once only.
Needs the data sets of the examples; what is not there is left out.

    python benchmarks/precision.py --data path/to/data
    python benchmarks/precision.py --quick        # only shows that everything runs
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import problems
import torch
from report import print_table, write_result

from zoo import Learner
from zoo.data.loaders.device import resolve_device

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--rounds", type=int, default=2, help="trainings of each format")
parser.add_argument("--device", help="the best of the machine by default")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--scale", type=float, default=1.0, help="of the number of rows: 20 suits a GPU")
parser.add_argument("--quick", action="store_true", help="as little of everything as possible")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")

FORMATS = {"float32": "to_fp32", "bfloat16": "to_bf16", "float16": "to_fp16"}
# domain: what counts its rows, how many, epochs, rate
PLANS = {
    "pictures": ("each", 100, 3, 5e-3),
    "tables": ("rows", 20_000, 2, 2e-3),
    "text": ("words", 60_000, 1, 5e-3),
    "ratings": ("rows", 100_000, 3, 5e-3),
}


def train(domain: str, form: str, args: argparse.Namespace, *, quick: bool) -> tuple[float, dict[str, float]]:
    """Seconds of a fit and its last epoch's numbers."""
    what, count, epochs, lr = PLANS[domain]
    options: dict[str, Any] = {what: int(count * args.scale), "device": args.device}
    if quick:
        options[what], epochs = max(20, count // 40), 1
    learn: Learner = getattr(problems, domain)(args.data, **options)
    getattr(learn, FORMATS[form])()
    started = time.perf_counter()
    rows = learn.fit_one_cycle(epochs, lr)
    seconds = time.perf_counter() - started
    return seconds, {name: value for name, value in rows[-1].items() if name not in ("epoch", "seconds")}


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    rounds = 1 if args.quick else args.rounds
    on_cpu = resolve_device(args.device).type == "cpu"
    rows: list[dict[str, Any]] = []
    for domain in PLANS:
        seconds: dict[str, list[float]] = {form: [] for form in FORMATS}
        numbers: dict[str, dict[str, float]] = {}
        failed: dict[str, str] = {}
        names = list(FORMATS)
        try:
            for number in range(rounds):
                for form in names[number % 3 :] + names[: number % 3]:
                    if form in failed or (number and form == "float16" and on_cpu):
                        continue
                    try:
                        if not number:  # the first batches of a format are slower
                            train(domain, form, args, quick=True)
                        taken, numbers[form] = train(domain, form, args, quick=args.quick)
                    except RuntimeError as error:
                        failed[form] = str(error).splitlines()[0]
                        print(f"{domain} in {form} does not run: {failed[form]}")
                        continue
                    seconds[form].append(taken)
                    print(f"{domain} in {form}: {taken:.1f} s", flush=True)
        except FileNotFoundError as error:
            print(f"{domain} is left out: {error}")
            continue
        base = statistics.median(seconds["float32"])
        for form in numbers:
            middle = statistics.median(seconds[form])
            rows.append(
                {"domain": domain, "format": form, "seconds": seconds[form], "median": middle,
                 "speedup": base / middle, "final": numbers[form]}
            )  # fmt: skip
        rows += [{"domain": domain, "format": form, "error": text} for form, text in failed.items()]
    table = []
    for row in rows:
        if "error" in row:
            continue
        last = [f"{name} {value:.4f}" for name, value in row["final"].items() if name != "train_loss"]
        cells = [f"{row['median']:.1f}", f"{row['speedup']:.2f}", ", ".join(last)]
        table.append([f"{row['domain']}: {row['format']}", *cells])
    print()
    print_table(["", "seconds", "speedup", "last epoch"], table)
    write_result(args.out, "precision", {"quick": args.quick, "rounds": rounds, "rows": rows})


if __name__ == "__main__":
    main()
