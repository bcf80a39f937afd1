"""What a look at data found, as a table and as a page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: "error" (a score or a fit would be wrong), "warning" (likely so), "note" (good to know).
        what: what it is, in a few words.
        where: the column or the rows.
        count: how many rows, columns or values.
        share: of all that could be; `None` where that means nothing.
        examples: the first few, rows by their position and index as the user has them.
        cure: what to do.
    """

    severity: str
    what: str
    where: str
    count: int
    share: float | None
    examples: tuple[str, ...]
    cure: str

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, got {self.severity!r}")


@dataclass(frozen=True)
class DataReport:
    """What `zoo.check_data` found; print it, or look at `.table`.

    Attributes:
        findings: the worst first.
        rows: how many there are, by "train", "valid" and "test".
        classes: rows of each class by split, where there are classes.
        remarks: what was looked at only in part.
        looked_at: whether the rows themselves were looked at; otherwise they were only counted.

    Example:
        >>> finding = Finding("warning", "ids", "column 'Id'", 9, None, (), "Leave it.")
        >>> report = DataReport([finding], {})
        >>> report.ok, report.table.what.tolist()
        (False, ['ids'])
    """

    findings: Sequence[Finding]
    rows: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    looked_at: bool = True

    def __post_init__(self) -> None:
        ranked = sorted(self.findings, key=lambda one: SEVERITIES.index(one.severity))
        object.__setattr__(self, "findings", tuple(ranked))

    @property
    def ok(self) -> bool:
        """Whether rows were looked at, and there are neither errors nor warnings."""
        return self.looked_at and all(one.severity == "note" for one in self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding: severity, what, where, count, share, examples, cure."""
        import pandas as pd

        names = list(Finding.__dataclass_fields__)
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self.findings], columns=names)

    def __repr__(self) -> str:
        head = ", ".join(f"{name} {count:,}" for name, count in self.rows.items())
        lines = [f"rows: {head or 'none'}"]
        lines += [f"{one.severity:<8}{_sentence(one)}" for one in self.findings]
        if not self.findings:
            lines.append("nothing was found")
        return "\n".join([*lines, *(f"({remark})" for remark in self.remarks)])

    def html(self, path: str | Path) -> Path:
        """Write the report as one page that needs nothing else.

        Returns:
            The file.
        """
        found = [[*_cells(one), ", ".join(one.examples), one.cure] for one in self.findings]
        parts = [f"<p>Rows: {html.escape(', '.join(f'{k} {v:,}' for k, v in self.rows.items()))}</p>"]
        heads = ["severity", "what", "where", "count", "share", "examples", "what to do"]
        parts.append(_html_table(heads, found) if found else "<p>Nothing was found.</p>")
        if self.classes:
            splits = list(self.rows)
            counts = [[name, *(f"{by.get(s, 0):,}" for s in splits)] for name, by in self.classes.items()]
            parts += ["<h2>Classes</h2>", _html_table(["class", *splits], counts)]
        parts += [f"<p>{html.escape(remark)}</p>" for remark in self.remarks]
        page = _PAGE.format(body="\n".join(parts))
        target = Path(path)
        target.write_text(page, encoding="utf8")
        return target


def _cells(one: Finding) -> list[str]:
    return [one.severity, one.what, one.where, f"{one.count:,}", _percent(one.share)]


def _sentence(one: Finding) -> str:
    share = f" ({_percent(one.share)})" if one.share is not None else ""
    shown = f", such as {', '.join(one.examples)}" if one.examples else ""
    return f"{one.what}, {one.where}: {one.count:,}{share}{shown}. {one.cure}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + "".join([line(heads, "th"), *(line(row, "td") for row in rows)]) + "</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data check</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; color-scheme: light dark }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #8888; padding: .3em .6em; text-align: left }}
</style></head><body><h1>Data check</h1>
{body}
</body></html>
"""
