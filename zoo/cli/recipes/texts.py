"""Texts with labels: in a table, or as files in a folder for each class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zoo.cli.frames import read_frame, read_line, with_corrections
from zoo.cli.plans import Choice, Mendable, Plan, Script, Wishes
from zoo.errors import some

_LABELS = ("label", "labels", "target", "class", "sentiment", "category", "y", "topic", "rating", "stars")
_SAMPLE = 2000
_MOST_HELD_OUT = 2000
_COMMON = frozenset(
    ("the", "of", "and", "to", "in", "a", "is", "that", "it", "for", "was", "on", "with", "as", "this", "are",
     "be", "have", "not", "but", "at", "by")
)  # fmt: skip


class TextRecipe:
    """See `Recipe`."""

    def plan(self, path: Path, wishes: Wishes) -> Plan:
        of_others: dict[str, str] = dict.fromkeys(
            ("categories", "numbers", "dates", "drop", "join"), "tables"
        )
        of_others |= dict.fromkeys(("arch", "size", "weights"), "pictures")
        wishes.refuse("text", of_others | dict.fromkeys(("user", "item", "rating"), "ratings"))
        choices = [Choice("domain", "text", path.name, "--domain")]
        if path.is_dir():
            if wishes.append is not None:
                raise Mendable("--append needs the texts in a table, these are files")
            train, valid = text_folders(path)
            wishes.refuse_in_folders(valid, ("target", "text", "task"))
            settings = {"folder": str(path.resolve()), "train": train, "valid_folder": valid}
            files = sorted(path.joinpath(train).rglob("*.txt"))
            some_texts = [
                file.read_text("utf8", errors="replace") for file in files[:: max(1, len(files) // 50)]
            ]
            empty = 0 if valid else sum(not file.read_bytes().strip() for file in files)
            n = len(files) - empty
            settings["gaps"] = empty
            classes = sorted(entry.name for entry in path.joinpath(train).iterdir() if entry.is_dir())
            choices.append(Choice("classes", some(classes, 20), f"folders of {n:,} files"))
            if empty:
                choices.append(Choice("rows", f"{n:,}", f"{empty:,} empty files are left out"))
            how = f"the folder {valid!r}" if valid else "at random"
            task = "classification"
        else:
            df = read_frame(path)
            text = wishes.text or text_column_of(df)
            if text is None or text not in df.columns:
                raise Mendable(
                    f"{path.name} has the columns {some(df.columns, 30)}: say with --text NAME which holds "
                    "the texts"
                )
            label = wishes.target or next((name for name in df.columns if str(name).lower() in _LABELS), None)
            if label is None or label not in df.columns:
                raise Mendable(
                    f"{path.name} has the columns {some(df.columns, 30)}: say with --target NAME which holds "
                    "the labels"
                )
            if label == text:
                raise Mendable(f"--target and --text name the same column, {text!r}")
            df, appended = with_corrections(df, wishes.append, label, {"text": text})
            filled = df[text].fillna("").astype(str).str.strip() != ""
            kept = df[filled & df[label].notna()]
            if not len(kept):
                raise Mendable(f"{path.name}: no row has both {text!r} and {label!r}")
            n, some_texts = len(kept), kept[text].astype(str).iloc[:: max(1, len(kept) // 50)].tolist()
            numbers = pd.api.types.is_float_dtype(kept[label]) and (kept[label] % 1 != 0).any()
            task = wishes.task or ("regression" if numbers else "classification")
            settings = {"file": str(path.resolve()), "text": text, "label": label, "rows": n}
            settings |= {"gaps": len(df) - n, "appended": appended}
            left = f", {len(df) - n:,} without text or label are left out" if len(df) > n else ""
            choices.append(Choice("texts", text, f"{n:,} rows{left}", "--text"))
            told = "values" if task == "regression" else some(map(str, kept[label].unique()), 10)
            choices.append(Choice("labels", label, f"{task}: {told}", "--target --task"))
            valid, how = None, "at random"
        share = wishes.valid or min(0.2, _MOST_HELD_OUT / max(n, 1))
        english = reads_as_english(some_texts)
        epochs = wishes.epochs or 2
        settings |= {
            "task": task, "valid": None if valid else share, "english": english, "bs": wishes.bs or 32,
            "html": any("<br" in text or "</" in text for text in some_texts), "seed": wishes.seed,
            "device": wishes.device,
        }  # fmt: skip
        choices += [
            Choice(
                "held out", how if valid else f"{share:.1%} of the texts", "" if valid else how, "--valid"
            ),
            Choice(
                "begins as",
                "english-small" if english else "random weights",
                "a language model of English that comes with zoo" if english else "the texts are not English",
            ),
            Choice("epochs", str(epochs), "after one of the head alone" if english else "", "--epochs"),
        ]
        return Plan("text", settings, choices, 1e-2 if english else 5e-3, wishes.lr, epochs)

    def script(self, plan: Plan) -> Script:
        s = plan.settings
        made = 'Field.from_pretrained("english-small"' if s["english"] else "Field("
        clean = ("" if not s["html"] else 'clean=["html"]') if not s["english"] else ""
        lines = [f"field = {made}{clean})"]
        common = f"bs={s['bs']}, seed={s['seed']}"
        if "folder" in s:
            lines += [
                "return TextData.from_folder(",
                f"    {s['folder']!r}, field, {s['train']!r}, {s['valid_folder']!r}, {common},",
                ")",
            ]
            if s["valid_folder"] is None:
                lines = [
                    *lines[:1],
                    f"folder = Path({s['folder']!r}, {s['train']!r})",
                    "files = sorted(folder.glob('*/**/*.txt'))",
                    "df = pd.DataFrame({",
                    "    'text': [file.read_text('utf8', errors='replace') for file in files],",
                    "    'label': [file.relative_to(folder).parts[0] for file in files],",
                    "})",
                    *(["df = df[df['text'].str.strip() != ''].reset_index(drop=True)"] if s["gaps"] else []),
                    "return TextData.from_df(",
                    "    FOLDER, field, df, text='text', label='label',",
                    f"    val_idxs=get_cv_idxs(len(df), {s['valid']}, seed={s['seed']}), {common},",
                    ")",
                ]
        else:
            filled = f"(df[{s['text']!r}].fillna('').astype(str).str.strip() != '')"
            keep = f"df = df[{filled} & df[{s['label']!r}].notna()].reset_index(drop=True)"
            value = ", task='regression'" if s["task"] == "regression" else ""
            lines += [
                f"df = {read_line(Path(s['file']))}",
                *s["appended"],
                *([keep] if s["gaps"] else []),
                "return TextData.from_df(",
                f"    FOLDER, field, df, text={s['text']!r}, label={s['label']!r}{value},",
                f"    val_idxs=get_cv_idxs(len(df), {s['valid']}, seed={s['seed']}), {common},",
                ")",
            ]
        start = 'pretrained="english-small", ' if s["english"] else ""
        learner = (f"return data.get_model({start}seed={s['seed']}, path=FOLDER, device={s['device']!r})",)
        imports = (
            *plan.fit_imports,
            "import pandas as pd",
            "from pathlib import Path",
            "from zoo import get_cv_idxs",
            "from zoo_text import Field, TextData",
            *(["from zoo.serving import corrected"] if s.get("appended") else []),
        )
        return Script(
            imports,
            tuple(lines),
            learner,
            plan.fit_lines("fine_tune" if s["english"] else "fit_one_cycle", "clip=0.4"),
        )


def text_column_of(df: pd.DataFrame) -> str | None:
    """The column that holds texts: of those with more than five words in a cell the one with most."""
    best, most = None, 5.0
    for name in df.columns:
        if pd.api.types.is_object_dtype(df[name].dtype) or pd.api.types.is_string_dtype(df[name].dtype):
            cells = df[name].dropna().iloc[:_SAMPLE].astype(str)
            words = (cells.str.count(r"\s+") + 1).mean() if len(cells) else 0.0
            if words > most and cells.nunique() > 0.5 * len(cells):
                best, most = str(name), float(words)
    return best


def text_folders(path: Path) -> tuple[str, str | None]:
    """Names of the training and of the validation folder below a folder of texts; "." is the folder."""
    names = {entry.name.lower(): entry.name for entry in path.iterdir() if entry.is_dir()}
    train = next((names[name] for name in ("train", "training") if name in names), ".")
    if train == ".":
        return train, None
    return train, next(
        (names[name] for name in ("valid", "val", "validation", "test") if name in names), None
    )


def reads_as_english(texts: list[str]) -> bool:
    """Whether texts are English, by the share of its most common words (they make up a quarter of it)."""
    words = [word for text in texts for word in text.lower().split()[:300]]
    return bool(words) and sum(word in _COMMON for word in words) > 0.12 * len(words)
