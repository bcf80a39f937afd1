"""Commands and their options; the work is done elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.console import Console
from zoo.cli.data_sets import data_app
from zoo.cli.plans import Mendable, Wishes

app = typer.Typer(
    help="Train image classifiers, tabular models, text models and recommenders through one fit API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(data_app, name="data")

Out = Annotated[Path | None, typer.Option(help="Folder of the run; by default a new one below runs/.")]
Json = Annotated[bool, typer.Option("--json", help="Say nothing but one JSON object at the end.")]
Source = Annotated[Path, typer.Argument(help="A table, or a folder of pictures, texts or one table.")]
ModelFile = Annotated[Path, typer.Argument(help="An exported model, or the folder of a run.")]
Domain = Annotated[str | None, typer.Option(help="image, table, text or ratings; found by default.")]
Target = Annotated[str | None, typer.Option(help="Column to predict.")]
Text = Annotated[str | None, typer.Option(help="Column of the texts.")]
User = Annotated[str | None, typer.Option(help="Column of the users.")]
Item = Annotated[str | None, typer.Option(help="Column of the items.")]
Rating = Annotated[str | None, typer.Option(help="Column of the ratings.")]
Categories = Annotated[list[str] | None, typer.Option(help="A column of categories; may be repeated.")]
Numbers = Annotated[list[str] | None, typer.Option(help="A column of numbers; may be repeated.")]
Dates = Annotated[list[str] | None, typer.Option(help="A column of dates; may be repeated.")]
Drop = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")]
Join = Annotated[Path | None, typer.Option(help="A further table, joined by the columns that both have.")]
Append = Annotated[Path | None, typer.Option(help="Record of a service whose corrections are further rows.")]
Task = Annotated[str | None, typer.Option(help="regression or classification; found by default.")]
Valid = Annotated[float | None, typer.Option(help="Share of the rows to hold out.", min=0.001, max=0.9)]
Arch = Annotated[str | None, typer.Option(help="Network for pictures: any of torchvision.")]
Size = Annotated[int | None, typer.Option(help="Side of the pictures in pixels.", min=8)]
Weights = Annotated[str | None, typer.Option(help="File with the weights of the network for pictures.")]
BatchSize = Annotated[int | None, typer.Option(help="Rows in a batch.", min=1)]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training rows.", min=1)]
Rate = Annotated[float | None, typer.Option(help="The largest learning rate; by default of the finder.")]
Seconds = Annotated[float | None, typer.Option(help="That all may take; epochs are planned by it.", min=1)]
Seed = Annotated[int | None, typer.Option(help="Of all random numbers; 42 by default.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the best of the machine by default.")]


@app.command()
def train(
    path: Annotated[
        Path | None, typer.Argument(help="A table, or a folder of pictures, texts, one table.")
    ] = None,
    domain: Domain = None,
    target: Target = None,
    text: Text = None,
    user: User = None,
    item: Item = None,
    rating: Rating = None,
    categories: Categories = None,
    numbers: Numbers = None,
    dates: Dates = None,
    drop: Drop = None,
    join: Join = None,
    append: Append = None,
    task: Task = None,
    valid: Valid = None,
    arch: Arch = None,
    size: Size = None,
    weights: Weights = None,
    bs: BatchSize = None,
    epochs: Epochs = None,
    lr: Rate = None,
    seconds: Seconds = None,
    seed: Seed = None,
    device: Device = None,
    out: Out = None,
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Folder of a run whose configuration is run again.")
    ] = None,
    eject: Annotated[
        Path | None, typer.Option(help="Also write the Python that was run into this file.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Write checkpoints; the same command with the same --out goes on."),
    ] = False,
    processes: Annotated[int, typer.Option(help="Processes that share each batch.", min=1)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model of what lies at PATH: pictures, a table, texts or ratings.

    It tells what it took each thing for, and with which option to overrule that; it ends with the metric
    beside that of a quick model. The folder of the run holds configuration, script, history, model, report.
    """
    from dataclasses import replace

    from zoo.cli.planning import make_plan
    from zoo.cli.training import as_command, read_run
    from zoo.cli.training import train as run

    console = Console(as_json)
    given = dict(locals())
    if from_run is not None:
        changed = [name for name in Wishes.__dataclass_fields__ if given.get(name) not in (None, [])]
        if path is not None or changed:
            raise Mendable(
                "--from runs a configuration again as it is: give neither a path nor other options"
            )
        plan = read_run(from_run)
        plan = replace(plan, choices=[one for one in plan.choices if one.what not in ("rate", "time")])
    elif path is None:
        raise Mendable("which data? zoo train PATH, or zoo train --from RUN")
    else:
        plan = make_plan(path, wishes(given))
    if resume:
        if out is None:
            raise Mendable("--resume needs --out: the folder of the run that is to go on")
        plan = replace(plan, checkpoint=200)
    if dry_run:
        console.choices(plan.choices)
        console.answer({"plan": plan.to_dict()})
        return
    try:
        command = as_command(sys.argv[1:])
        found = run(plan, out, console, eject=eject, command=command, processes=processes)
    except KeyboardInterrupt:
        raise Mendable("stopped before the end of the first epoch: nothing is kept") from None
    rows = found.pop("rows")
    names = [name for name in rows[-1] if name != "model"]
    console.table(["", *names], [[row["model"], *(row.get(name, "") for name in names)] for row in rows])
    console.answer(
        found, [f"{found['seconds']:.0f} s. Model: {found['model']}", f"Report: {found['report']}"]
    )


@app.command("lr-find")
def lr_find(
    path: Source,
    domain: Domain = None,
    target: Target = None,
    text: Text = None,
    user: User = None,
    item: Item = None,
    rating: Rating = None,
    categories: Categories = None,
    numbers: Numbers = None,
    dates: Dates = None,
    drop: Drop = None,
    join: Join = None,
    task: Task = None,
    valid: Valid = None,
    arch: Arch = None,
    size: Size = None,
    weights: Weights = None,
    bs: BatchSize = None,
    seed: Seed = None,
    device: Device = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into this picture.")] = None,
    as_json: Json = False,
) -> None:
    """Find a learning rate for what lies at PATH, and train nothing."""
    import tempfile

    from zoo.cli.planning import make_plan, script_of
    from zoo.cli.script import load_script

    console = Console(as_json)
    plan = make_plan(path, wishes(dict(locals()))).with_(lr=1.0)
    console.choices(plan.choices)
    with tempfile.TemporaryDirectory() as folder:
        script = load_script(script_of(plan, Path(folder), ""), "zoo lr-find")
        learn = script.learner(script.data())
        learn.progress = not as_json
        found = learn.lr_find()
        if plot is not None:
            found.plot().savefig(plot)
    told = found.suggestions()
    console.table(["suggestion", "rate"], told.items())
    console.answer({"suggestions": {name: None if lr != lr else lr for name, lr in told.items()}})


@app.command()
def predict(
    model: ModelFile,
    source: Annotated[Path, typer.Argument(help="A table, a picture or text file, or a folder of these.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file of the answers.")] = Path(
        "predictions.csv"
    ),
    text: Text = None,
    join: Join = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Answer any number of new inputs into a CSV file, beside the columns they came with."""
    from zoo.cli.predicting import open_model
    from zoo.cli.predicting import predict as run

    console = Console(as_json)
    found = run(open_model(model, device), source, out, text=text, join=join)
    for line in found["told"]:
        console.say(f"zoo: {line}")
    console.answer(found, [f"{found['rows']:,} rows are answered in {found['out']}"])


@app.command()
def recommend(
    model: ModelFile,
    users: Annotated[list[str], typer.Argument(help="Users as the training rows name them.")],
    n: Annotated[int, typer.Option("-n", help="Items for each.", min=1)] = 10,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV file of the lists.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """List the best items for users of a recommender."""
    from zoo.cli.predicting import as_ids, open_model

    console = Console(as_json)
    learn = open_model(model, device)
    if learn.domain != "collab":
        raise Mendable(f"{model} is a model of {learn.domain}, not a recommender")
    found = learn.recommend(as_ids(users, learn.data.users), n)
    if out is not None:
        found.to_csv(out, index=False)
    console.table(found.columns, found.itertuples(index=False))
    console.answer({"lists": found.to_dict("records"), "out": out and str(out)})


@app.command()
def generate(
    model: ModelFile,
    prompt: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    n: Annotated[int, typer.Option("-n", help="Words to add.", min=1)] = 50,
    temperature: Annotated[
        float, typer.Option(help="Below 1 likelier words, above it others.", min=0.01)
    ] = 0.8,
    seed: Annotated[int | None, typer.Option(help="For the same text again.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Let a language model go on with a text."""
    from zoo.cli.predicting import open_model

    console = Console(as_json)
    learn = open_model(model, device)
    if learn.domain != "language_model":
        raise Mendable(f"{model} is a model of {learn.domain}, not a language model")
    found = learn.generate(prompt, n, temperature=temperature, seed=seed)
    console.answer({"text": str(found)}, [str(found)])


@app.command()
def check(
    path: Source,
    domain: Domain = None,
    target: Target = None,
    text: Text = None,
    user: User = None,
    item: Item = None,
    rating: Rating = None,
    categories: Categories = None,
    numbers: Numbers = None,
    dates: Dates = None,
    drop: Drop = None,
    join: Join = None,
    task: Task = None,
    valid: Valid = None,
    page: Annotated[Path | None, typer.Option(help="Also write an HTML page.")] = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Look at data before training: leaks, duplicates, contradictions.

    The exit code is 1 where something is wrong.
    """
    from zoo.cli.checking import check as run

    console = Console(as_json)
    report = run(path, wishes(dict(locals())), console, page)
    if report["problems"]:
        raise typer.Exit(1)


@app.command()
def info(model: ModelFile, as_json: Json = False) -> None:
    """Tell what an exported model is: domain, inputs, classes, versions."""
    from zoo.cli.checking import info as run

    run(model, Console(as_json))


@app.command()
def export(
    model: ModelFile,
    onnx: Annotated[Path | None, typer.Option(help="Write an ONNX file.")] = None,
    program: Annotated[Path | None, typer.Option(help="Write a program of torch.export (.pt2).")] = None,
    check_: Annotated[
        bool,
        typer.Option("--check", help="Compare what the files answer with the model; exit code 1 if not."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a model as a graph that runs without this library: ONNX, or a program of torch.export."""
    from zoo.cli.predicting import open_model

    if onnx is None and program is None:
        raise Mendable("what shall be written? --onnx FILE, --program FILE, or both")
    console, learn = Console(as_json), open_model(model, "cpu")
    files = [] if onnx is None else [learn.export_onnx(onnx)]
    files += [] if program is None else [learn.export_program(program)]
    found: dict[str, Any] = {"files": [str(file) for file in files]}
    if not check_:
        console.answer(found, found["files"])
        return
    from zoo import check_export

    checked = check_export(learn, files)
    rows = checked.frame()
    console.table(rows.columns, rows.itertuples(index=False))
    console.answer({**found, "same": checked.same, "checked": rows.to_dict("records")})
    if not checked.same:
        raise typer.Exit(1)


@app.command()
def card(
    model: ModelFile,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File ending in .md or .html.")] = None,
    as_json: Json = False,
) -> None:
    """Write a model card from an exported model alone: task, data, history, metrics, limits."""
    from zoo.cli.predicting import model_file
    from zoo.inspect.card import card_of

    made = card_of(model_file(model))
    if out is not None:
        if out.suffix not in (".md", ".html"):
            raise Mendable(f"--out {out}: a card is written as .md or .html")
        out.write_text(made.html() if out.suffix == ".html" else made.markdown(), encoding="utf8")
    sections = {heading: dict(rows) for heading, rows in made.sections}
    told = [made.markdown()] if out is None else [f"The card is in {out}"]
    Console(as_json).answer({"title": made.title, "sections": sections, "out": out and str(out)}, told)


@app.command()
def serve(
    models: Annotated[list[Path], typer.Argument(help="Exported models, or folders of runs.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this machine's must be said.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8000,
    names: Annotated[
        list[str] | None,
        typer.Option("--host-name", help="Names under which the machine may be asked; may be repeated."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Append predictions and corrections to this file, a line of JSON each."),
    ] = None,
    per_minute: Annotated[int | None, typer.Option(help="Requests of one client.", min=1)] = None,
    body_mb: Annotated[float, typer.Option(help="Largest request in millions of bytes.")] = 20.0,
    megapixels: Annotated[float, typer.Option(help="Largest picture in millions of pixels.")] = 50.0,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log nothing but what goes wrong.")] = False,
) -> None:
    """Serve models: JSON, the Open Inference Protocol at /v2, and a page at /."""
    try:
        from zoo.serving import Limits, make_app
        from zoo.serving.run import is_loopback, open_models, run
    except ImportError as error:
        raise Mendable(f'zoo serve needs more packages ({error.name}): pip install "zoo[serve]"') from error
    limits = Limits(per_minute=per_minute, body_mb=body_mb, megapixels=megapixels)
    hosts = list(names) if names else None if is_loopback(host) else ["*"]
    run(make_app(open_models(models, device), limits, record=record, hosts=hosts), host, port, quiet=quiet)


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


def wishes(given: dict[str, Any]) -> Wishes:
    """What was said, out of the arguments of a command."""
    known: dict[str, Any] = {}
    for name in Wishes.__dataclass_fields__:
        value = given.get(name)
        if value is not None:
            known[name] = (
                tuple(value) if isinstance(value, list) else str(value) if isinstance(value, Path) else value
            )
    return Wishes(**known)


def main() -> None:
    """Run the command line; errors the user can mend are told in one line, exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        if os.environ.get("ZOO_DEBUG"):
            raise
        print(f"zoo: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
