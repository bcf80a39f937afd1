"""What a GPU makes of the library: prepare the data here, then check and measure there, against a clock.

    python benchmarks/gpu.py prepare data/gpu --data path/to/data
    python benchmarks/gpu.py check data/gpu --out out --minutes 5
    python benchmarks/gpu.py marks data/gpu --out out --minutes 8

`prepare` makes a folder of at most 55 MB; with it and the repository a machine without network, installation
or tokeniser can do the rest. `check` tells whether everything works there and what a step costs, `marks` how
far whole trainings come. Both write `gpu_check` or `gpu_marks` as JSON and Markdown after every part, report
what fails and go on. `--device cpu --quick` only shows that everything runs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from pathlib import Path

STARTED = time.perf_counter()
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for what must be the same bit for bit
sys.path.insert(0, str(Path(__file__).parent))

from gpu_parts.uninstalled import use_checkout  # noqa: E402

use_checkout()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="pack the data")
    check = commands.add_parser("check", help="does everything work, and what does a step cost")
    marks = commands.add_parser("marks", help="how far do whole trainings come")
    for command in (prepare, check, marks):
        command.add_argument("folder", type=Path, metavar="DIR", help="the prepared folder")
        command.add_argument("--quick", action="store_true", help="as little of everything as possible")
        command.add_argument("--device", help="the GPU by default; of `prepare` without meaning")
    prepare.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ZOO_DATA", "../shared/data")),
        help="folder of the data sets",
    )  # fmt: skip
    prepare.add_argument(
        "--wheel", action="append", default=[], metavar="NAME==VERSION", help="a package to take along"
    )
    for command, minutes in ((check, 5.0), (marks, 8.0)):
        command.add_argument("--out", type=Path, required=True, help="folder of the results")
        command.add_argument("--minutes", type=float, default=minutes, help="after which it has stopped")
        command.add_argument("--only", nargs="*", default=[], help="parts whose names begin so")
        command.add_argument(
            "--break", dest="broken", metavar="PART", help="make a part fail, to see what follows"
        )
        command.add_argument("--going-on", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    args = arguments().parse_args()
    if args.command == "prepare":
        from gpu_parts.prepare import prepare

        prepare(args.data, args.folder, quick=args.quick, packages=args.wheel)
        return 0

    import torch
    from gpu_parts.running import Context, Report, go_on_in_new_process, run_parts

    if args.command == "check":
        from gpu_parts.check import PARTS, TITLE
    else:
        from gpu_parts.marks import PARTS, TITLE

    logging.getLogger("zoo").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    seconds = 60 * args.minutes if args.going_on is None else args.going_on
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    context = Context(args.folder.resolve(), device, args.quick)
    report = Report(args.out, f"gpu_{args.command}", TITLE, going_on=args.going_on is not None)
    for row in report.rows:
        context.ceilings.update(row["found"] if row["part"] == "ceilings" else {})
    parts = [part for part in PARTS if not args.only or part.name.startswith(tuple(args.only))]
    left = seconds - (time.perf_counter() - STARTED)
    if not run_parts(parts, context, report, left, args.broken):
        go_on_in_new_process(seconds - (time.perf_counter() - STARTED))
    done = sum(row["state"] == "done" for row in report.rows)
    print(f"{done} of {len(report.rows)} parts done; failed: {', '.join(report.failed) or 'none'}")
    print(f"results: {report.json} and {report.json.with_suffix('.md')}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
