"""What a command is asked for, what was decided, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, Self

DOMAINS = ("image", "table", "text", "ratings")


class Mendable(ValueError):
    """What the user can mend: told in one line, exit code 2."""


@dataclass(frozen=True)
class Wishes:
    """What was said on the command line; None, and no names, where nothing was.

    Attributes:
        domain: of `DOMAINS`.
        target, text, user, item, rating: columns.
        categories, numbers, dates, drop: columns of a table whose kind is known.
        append: the record of a service, whose corrections are further rows.
        join: a further table, joined by the columns that both have.
        task: "regression" or "classification".
        valid: share of the rows to hold out.
        arch, size, weights: network of pictures, their side in pixels, its weights.
        bs, epochs, lr: of the training.
        seconds: that the training may take.
        seed: of all random numbers.
        device: "cpu", "cuda", ...
    """

    domain: str | None = None
    target: str | None = None
    text: str | None = None
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    categories: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    append: str | None = None
    join: str | None = None
    task: str | None = None
    valid: float | None = None
    arch: str | None = None
    size: int | None = None
    weights: str | None = None
    bs: int | None = None
    epochs: int | None = None
    lr: float | None = None
    seconds: float | None = None
    seed: int = 42
    device: str | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise Mendable(f"--{name} must be a number above 0, not {value:g}")

    def refuse(self, domain: str, of_others: Mapping[str, str]) -> None:
        """Raise for options that the domain does not know.

        Args:
            domain: the one that was found.
            of_others: options by name, and what they are of.
        """
        for name, what in of_others.items():
            if getattr(self, name) not in (None, ()):
                raise Mendable(f"--{name.replace('_', '-')} is of {what}, and this is {_WORDS[domain]}")

    def refuse_in_folders(self, valid: str | None, names: tuple[str, ...]) -> None:
        """Raise for options that say what the folders of files say already.

        Args:
            valid: the folder that validates.
            names: of options that name columns.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise Mendable(
                    f"--{name} names a column of a table, and these are folders: they are the classes"
                )
        if valid is not None and self.valid is not None:
            raise Mendable(f"--valid and the folder {valid!r} both say what is held out: leave one out")


_WORDS = {"image": "a set of pictures", "table": "a table", "text": "a set of texts", "ratings": "ratings"}


@dataclass(frozen=True)
class Choice:
    """Something that was decided.

    Attributes:
        what: in a word or two.
        value: what it is.
        why: how it came about.
        option: how to overrule it, such as "--target".
    """

    what: str
    value: str
    why: str = ""
    option: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that a training needs, in plain values that JSON can hold.

    Attributes:
        domain: of `DOMAINS`.
        settings: by name; the recipe of the domain makes a script of them.
        choices: what to tell.
        usual_lr: the rate that a domain's defaults were made with; that of the finder is kept within a factor
            of three of it.
        lr: the rate; None until it was found.
        epochs: of the training.
        seconds: that the fit may take.
        checkpoint: batches after which a checkpoint is written, from which the script goes on.
    """

    domain: str
    settings: dict[str, Any]
    choices: list[Choice] = field(default_factory=list)
    usual_lr: float = 1e-2
    lr: float | None = None
    epochs: int = 1
    seconds: float | None = None
    checkpoint: int | None = None

    def fit_lines(self, call: str = "fit_one_cycle", *options: str) -> tuple[str, ...]:
        """The call that trains: the weights of the best epoch come back at its end, also after Ctrl-C."""
        watch = [f"EarlyStopping(patience={self.epochs})"]
        watch += [] if self.seconds is None else [f"TimeLimit({self.seconds:g})"]
        given = [f"callbacks=[{', '.join(watch)}]", *options]
        given += [] if self.checkpoint is None else [f"checkpoint_every={self.checkpoint}", "resume=True"]
        return (f"learn.{call}({self.epochs}, {self.lr}, {', '.join(given)})",)

    @property
    def fit_imports(self) -> tuple[str, ...]:
        """What `fit_lines` needs."""
        limit = "" if self.seconds is None else ", TimeLimit"
        return (f"from zoo.callbacks import EarlyStopping{limit}",)

    def with_(self, **changes: Any) -> Plan:
        """The same with other values."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` described."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in state.items() if name in known}
        return cls(**{**given, "choices": [Choice(**one) for one in given.get("choices", ())]})


class Recipe(Protocol):
    """How a domain trains what lies somewhere."""

    def plan(self, path: Path, wishes: Wishes) -> Plan:
        """Decides everything but the rate."""
        ...

    def script(self, plan: Plan) -> Script:
        """The lines of Python that train it."""
        ...


@dataclass(frozen=True)
class Script:
    """A training as Python.

    Attributes:
        imports: lines.
        data: body of a function that returns the data; it knows FOLDER, where files of the run are kept.
        learner: expression of the learner of `data`, in lines.
        train: body of a function of `learn` that trains it.
    """

    imports: tuple[str, ...]
    data: tuple[str, ...]
    learner: tuple[str, ...]
    train: tuple[str, ...]

    def text(self, folder: str, about: str) -> str:
        """The whole file; its functions can be called one by one, and it runs in several processes."""
        indented = {
            name: "\n".join(f"    {line}".rstrip() for line in lines)
            for name, lines in (("data", self.data), ("learner", self.learner), ("train", self.train))
        }
        lines = sorted({*self.imports, "import logging"}, key=lambda line: (line.startswith("from"), line))
        return _TEMPLATE.format(imports="\n".join(lines), folder=folder, about=_docstring(about), **indented)


def _docstring(text: str) -> str:
    """A text as a docstring: no file name that it quotes can end it, nor begin an escape."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    plain = plain.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return f'"""{plain}' + (' """' if plain.endswith('"') else '"""')


_TEMPLATE = """{about}

{imports}

FOLDER = {folder!r}


def data():
{data}


def learner(data):
{learner}


def train(learn):
{train}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    learn = learner(data())
    train(learn)
    print(learn.evaluate())
    print(learn.export(f"{{FOLDER}}/model.zip"))
"""
