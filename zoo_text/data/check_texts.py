"""`check_data` for texts: what would make a good score a false one, and what would waste a fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.check.check_data import (
    EXAMPLES,
    Split,
    check_loaders,
    class_counts,
    class_findings,
    constant_target,
    equal_rows,
)
from zoo.data.check.report import DataReport, Finding
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.text_ids import TextIds, text_hashes
from zoo_text.tokens.tokenize import PADDING, UNKNOWN
from zoo_text.tokens.vocab import UNKNOWN_ID

if TYPE_CHECKING:
    from zoo_text.data.labelled_data import TextData

UNKNOWN_SHARE = 0.1  # of the words of a part, from which a warning tells of it
MOSTLY = 0.5  # of the words of one text
FEW_WORDS = 2
_EXCERPT = 40  # characters of a text that an example shows

# what tags and entities leave among tokens, whole or cut: <br, </p, />, &quot; or quot
_HTML = re.compile(r"</?[a-z][a-z0-9]*\b|/>|&(?:[a-z]{2,8}|#\d+);|^(?:nbsp|quot|amp)$", re.IGNORECASE)


def check_text_data(data: TextData) -> DataReport:
    """Look at every text as the model reads it; nothing is changed.

    Told are texts that are there twice in training, on both sides of the split or among those to predict,
    that are labelled in two ways, that are mostly unknown words, very short or cut, that hold html; the share
    of unknown words; classes that are rare or missing on one side. Blank texts never get here: they are
    refused when the data are made.

    Args:
        data: text data with training texts.

    Example:
        >>> from zoo_text import Field, TextData
        >>> texts = [f"film number {i} was so so" for i in range(20)]
        >>> pair = (texts, ["good", "bad"] * 10)
        >>> data = TextData.from_texts(Field(), pair, (texts[:2], ["good", "bad"]), min_freq=1)
        >>> check_text_data(data).findings[0].what
        'training rows in validation'
    """
    parts = {name: getattr(data, f"{name}_dl") for name in ("train", "valid", "test")}
    if any(loader is not None and not isinstance(loader, TextLoader) for loader in parts.values()):
        return check_loaders(data)
    loaders: dict[str, TextLoader] = {name: loader for name, loader in parts.items() if loader is not None}
    texts = {name: loader.texts() for name, loader in loaders.items()}
    keys = {name: text_hashes(own) for name, own in texts.items()}
    rows = {
        name: (keys[name], loader.targets.cpu().numpy()) for name, loader in loaders.items() if name != "test"
    }
    split = Split(
        rows.get("train", ()), rows.get("valid", ()), data.classes, data.task != "regression", data.row_name,
        (keys["test"],) if "test" in keys else (),
    )  # fmt: skip
    findings = [*constant_target(split), *equal_rows(split)]
    own_marks = {UNKNOWN, PADDING, *data.field.marks}  # which look like tags
    itos = data.mapping_values()["words"]
    html = np.array([word not in own_marks and bool(_HTML.search(word)) for word in itos])
    for name, own in texts.items():
        findings += _unknown(data, name, own) + _html(data, name, own, html)
        findings += _lengths(data, name, own, loaders[name])
    classes: dict[str, dict[str, int]] = {}
    if split.labelled and split.train:
        classes = class_counts(split)
        findings += class_findings(classes, bool(split.valid))
    counts = {name: len(own) for name, own in texts.items()}
    return DataReport(findings, counts, classes, tuple(_told(name, own) for name, own in texts.items()))


def _examples(data: Any, part: str, texts: TextIds, rows: np.ndarray) -> tuple[str, ...]:
    """The first few of some texts: what their rows are called, and how they begin."""
    shown = []
    for row in rows[:EXAMPLES].tolist():
        words = data.field.text_of(texts[row][:20])
        cut = words[:_EXCERPT].rstrip() + " ..." if len(words) > _EXCERPT else words
        shown.append(f"{data.row_name(part, row)} ({cut!r})")
    return tuple(shown)


def _per_text(texts: TextIds, flags: np.ndarray) -> np.ndarray:
    """How many tokens of each text are flagged."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    return sums[texts.offsets[1:]] - sums[texts.offsets[:-1]]


def _unknown(data: Any, part: str, texts: TextIds) -> list[Finding]:
    unknown = texts.ids == UNKNOWN_ID
    total = int(unknown.sum())
    share = total / max(1, len(unknown))
    mostly = np.flatnonzero(_per_text(texts, unknown) > MOSTLY * texts.lengths)
    found = []
    if share > UNKNOWN_SHARE:
        cure = "A smaller min_freq or a larger max_size keeps more; a vocabulary of other texts lacks them."
        found.append(Finding("warning", "unknown words", part, total, share, (), cure))
    if len(mostly):
        examples = _examples(data, part, texts, mostly)
        cure = "Look at them: another language, or not text at all? The model can read little of them."
        what = "texts of mostly unknown words"
        found.append(Finding("warning", what, part, len(mostly), len(mostly) / len(texts), examples, cure))
    return found


def _html(data: Any, part: str, texts: TextIds, html: np.ndarray) -> list[Finding]:
    rows = np.flatnonzero(_per_text(texts, html[texts.ids]) > 0)
    if not len(rows):
        return []
    cure = 'The model reads tags as words: Field(clean=["html"]) takes them out.'
    shown = np.unique(texts.ids[html[texts.ids]])[:EXAMPLES].tolist()
    examples = tuple(repr(data.field.vocab.itos[one]) for one in shown)
    return [Finding("note", "html in texts", part, len(rows), len(rows) / len(texts), examples, cure)]


def _lengths(data: Any, part: str, texts: TextIds, loader: TextLoader) -> list[Finding]:
    lengths = texts.lengths
    found = []
    short = np.flatnonzero(lengths <= FEW_WORDS)
    if len(short) and np.median(lengths) > 5 * FEW_WORDS:
        examples = _examples(data, part, texts, short)
        cure = "They tell little: see whether something was cut off."
        what = f"texts of at most {FEW_WORDS} words"
        found.append(Finding("note", what, part, len(short), len(short) / len(texts), examples, cure))
    if loader.max_tokens is not None:
        cut = np.flatnonzero(loader.whole_lengths > loader.max_tokens)
        if len(cut):
            cure = f"Only their last {loader.max_tokens} tokens are read; a larger max_tokens keeps more."
            examples = _examples(data, part, texts, cut)
            found.append(
                Finding("note", "texts that are cut", part, len(cut), len(cut) / len(texts), examples, cure)
            )
    return found


def _told(part: str, texts: TextIds) -> str:
    least, half, most = np.percentile(texts.lengths, [10, 50, 90]).round().astype(int).tolist()
    unknown = float((texts.ids == UNKNOWN_ID).mean()) if len(texts.ids) else 0.0
    return (
        f"tokens a text, {part}: {least:,} to {most:,} for eight tenths, half have more than {half:,}, the "
        f"longest {int(texts.lengths.max()):,}; {unknown:.1%} of them are unknown"
    )
