"""Tables: kinds of columns guessed, dates in parts, the newest rows held out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zoo.cli.frames import joined, read_frame, read_line, with_corrections
from zoo.cli.plans import Choice, Mendable, Plan, Script, Wishes
from zoo.errors import some

_FEWEST = 10  # training rows
_SMALL = 1000  # training rows from which on batch norm gives more than it costs
_LARGE = 200_000  # training rows from which on the network is larger and drops less
_OPTIONS = {"category": "--categories", "number": "--numbers", "date": "--dates"}


class TableRecipe:
    """See `Recipe`."""

    def plan(self, path: Path, wishes: Wishes) -> Plan:
        from zoo_tabular.data.fit_length import auto_batch_size, auto_epochs
        from zoo_tabular.data.from_one_frame import held_out
        from zoo_tabular.frames.guess import guess_table

        of_others = {"text": "texts", "user": "ratings", "item": "ratings", "rating": "ratings"}
        wishes.refuse("table", of_others | dict.fromkeys(("arch", "size", "weights"), "pictures"))
        df, keys = read_frame(path), []
        if wishes.join is not None:
            df, keys = joined(df, Path(wishes.join))
        df, appended = with_corrections(df, wishes.append, str(wishes.target))
        df, gaps = with_target(df, wishes.target, path.name)
        target = str(wishes.target)
        columns = {
            "cat_flds": wishes.categories, "cont_flds": wishes.numbers, "date_flds": wishes.dates,
            "drop": wishes.drop, "task": wishes.task,
        }  # fmt: skip
        held, how = held_out(df, target, columns, wishes.valid, wishes.seed)
        guess = guess_table(df[~held], target, **columns)
        n = int((~held).sum())
        if n < _FEWEST or not held.any():
            raise Mendable(f"{path.name} has {len(df)} rows with a target: too few to learn and to judge")
        bs = auto_batch_size(n) if wishes.bs is None else wishes.bs
        epochs = auto_epochs(n, -(-n // bs)) if wishes.epochs is None else wishes.epochs
        settings = {
            "file": str(path.resolve()),
            "join": None if wishes.join is None else str(Path(wishes.join).resolve()),
            "appended": appended, "keys": keys, "target": target, "gaps": gaps,
            **{kind: guess.of(kind) for kind in (*_OPTIONS, "left out")},
            "task": guess.task, "target_transform": guess.target_transform, "valid": wishes.valid, "bs": bs,
            "szs": [200, 100] if n < _LARGE else [500, 250], "drops": 0.25 if n < _LARGE else 0.1,
            "use_bn": n >= _SMALL, "seed": wishes.seed, "device": wishes.device,
        }  # fmt: skip
        choices = [
            Choice("domain", "table", path.name, "--domain"),
            Choice("target", target, f"{guess.task}: {guess.target_why}", "--target --task"),
        ]
        if gaps:
            choices.append(Choice("rows", f"{len(df):,}", f"{gaps:,} without a target are left out"))
        for kind, option in _OPTIONS.items():
            if guess.of(kind):
                choices.append(Choice(f"{kind} columns", some(guess.of(kind), 40), "", option))
        for column in guess.columns:
            if column.kind == "left out":
                choices.append(Choice("left out", column.name, column.why, "--categories --numbers"))
        choices += [
            Choice("held out", f"{int(held.sum()):,} of {len(df):,} rows", how, "--valid"),
            Choice("batch", f"{bs} rows", f"by {n:,} training rows", "--bs"),
            Choice("epochs", str(epochs), f"by {n:,} training rows", "--epochs"),
        ]
        return Plan("table", settings, choices, 5e-3 if n >= _SMALL else 2e-3, wishes.lr, epochs)

    def script(self, plan: Plan) -> Script:
        s = plan.settings
        lines = [f"df = {read_line(Path(s['file']))}"]
        if s["join"] is not None:
            lines.append(f'df = df.merge({read_line(Path(s["join"]))}, how="left", on={s["keys"]!r})')
        lines += s["appended"]
        if s["gaps"]:
            lines.append(f"df = df[df[{s['target']!r}].notna()].reset_index(drop=True)")
        of_frame = {
            "path": None, "cat_flds": s["category"], "cont_flds": s["number"], "date_flds": s["date"],
            "drop": s["left out"], "task": s["task"], "target_transform": s["target_transform"],
            "valid_pct": s["valid"], "bs": s["bs"], "seed": s["seed"],
        }  # fmt: skip
        given = {name: value for name, value in of_frame.items() if value not in (None, [])}
        lines += [
            "return ColumnarModelData.from_frame(",
            f"    df, {s['target']!r}, path=FOLDER,",
            *(f"    {name}={value!r}," for name, value in given.items()),
            "    show=False,",
            ")",
        ]
        learner = (
            "return data.get_learner(",
            f"    emb_drop=0.05, szs={s['szs']}, drops={s['drops']}, use_bn={s['use_bn']}, clip_cont=3.0,",
            f"    wd=0.01, seed={s['seed']}, device={s['device']!r},",
            ")",
        )
        return Script(
            (
                *plan.fit_imports,
                "import pandas as pd",
                "from zoo_tabular import ColumnarModelData",
                *(["from zoo.serving import corrected"] if s["appended"] else []),
            ),
            tuple(lines),
            learner,
            plan.fit_lines(),
        )


def with_target(df: pd.DataFrame, target: str | None, name: str) -> tuple[pd.DataFrame, int]:
    """The rows that have a target, and how many have none."""
    from zoo_tabular.frames.frame_checks import check_columns

    if target is None:
        raise Mendable(f"{name} has the columns {some(df.columns, 30)}: say which to predict, --target NAME")
    check_columns(df, [target], "--target")
    gaps = int(df[target].isna().sum())
    if gaps == len(df):
        raise Mendable(f"--target {target}: the column has no values")
    return (df[df[target].notna()].reset_index(drop=True) if gaps else df), gaps
