"""Commands and their options; the work is done elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train image classifiers, tabular models, text models and recommenders through one fit API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def zoo() -> None:
    """Keeps the commands named even while there is only one."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and the exported models.")] = Path(
        "zoo-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the simulated data and of the training.")] = 42,
    scale: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Share of the full demo's data; small values only show that it runs."
        ),
    ] = 1.0,
) -> None:
    """Train all four domains offline, on data made on the spot, and write one HTML report."""
    from zoo.demo import run

    run(out, seed=seed, scale=scale)


def main() -> None:
    """Run the command line; errors the user can mend are told in one line, exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        print(f"zoo: {error}", file=sys.stderr)
        sys.exit(2)
