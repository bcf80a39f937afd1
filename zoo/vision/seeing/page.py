"""Pages that need nothing else: pictures inside, light or dark as the reader likes it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zoo.storage.files import atomic_write
from zoo.vision.files.depths import ValueRange
from zoo.vision.pictures import DECODE_ERRORS
from zoo.vision.seeing.looks import shown_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = 168  # pixels of the longer side
_FEW = 96  # smaller pictures are enlarged, each pixel as a square


@dataclass(frozen=True)
class Part:
    """A section of a page.

    Attributes:
        title: heading.
        note: a line below it.
        body: HTML.
    """

    title: str
    note: str
    body: str


def table_part(title: str, note: str, table: Any) -> Part:
    """A section with a table: a data frame, or (headings, rows)."""
    if isinstance(table, tuple):
        heads, rows = table
    else:
        heads, rows = list(table.columns), table.values.tolist()
    if not rows:
        return Part(title, note, "<p>None.</p>")
    numbers = [all(isinstance(row[i], int | float | np.number) for row in rows) for i in range(len(heads))]
    marks = ["num" if number else "" for number in numbers]
    body = [_line("th", heads, marks), *(_line("td", [_cell(value) for value in row], marks) for row in rows)]
    return Part(title, note, f'<div class="wide"><table>{"".join(body)}</table></div>')


def figure_part(title: str, note: str, figure: Figure, dpi: int = 80) -> Part:
    """A section with a figure, as PNG on a sheet of white paper."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    source = data_uri(buffer.getvalue(), "png")
    return Part(title, note, f'<img class="paper" alt="{html.escape(title)}" src="{source}">')


def grid_part(title: str, note: str, cards: Sequence[str]) -> Part:
    """A section with cards side by side."""
    return Part(title, note, f'<div class="grid">{"".join(cards)}</div>' if cards else "<p>None.</p>")


def card(
    item: Any, caption: str, *, name: str = "", inner: str = "", value_range: ValueRange | None = None
) -> str:
    """A picture with a caption.

    Args:
        item: what can be opened as a picture; where it cannot, a line says so.
        caption: lines of plain text.
        name: of the file, shown small.
        inner: HTML below.
        value_range: see `thumbnail`.
    """
    source = thumbnail(item, value_range)
    picture = f'<img alt="" src="{source}">' if source else '<p class="gone">cannot be read</p>'
    lines = "<br>".join(html.escape(line) for line in caption.split("\n"))
    told = f'<small title="{html.escape(name)}">{html.escape(_end(name))}</small>' if name else ""
    return f"<figure>{picture}<figcaption>{lines}{told}{inner}</figcaption></figure>"


def thumbnail(item: Any, value_range: ValueRange | None = None) -> str:
    """A small copy of a picture as a data URI; empty where it cannot be read.

    Args:
        item: what can be opened as a picture.
        value_range: the values that are black and white in deep pictures.
    """
    try:
        image = shown_picture(item, value_range)
    except (*DECODE_ERRORS, TypeError):
        return ""
    longest = max(image.size)
    if longest < _FEW:
        times = max(1, THUMBNAIL // longest)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    else:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    if longest < _FEW:
        image.save(buffer, "PNG")
        return data_uri(buffer.getvalue(), "png")
    image.save(buffer, "JPEG", quality=82)
    return data_uri(buffer.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """An encoded picture as an address that holds it.

    >>> data_uri(b"abc", "png")
    'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def write_page(
    path: str | Path, title: str, parts: Sequence[Part], *, head: str = "", foot: str = ""
) -> Path:
    """Write sections as one page; a half-written one never exists.

    Args:
        path: the file.
        title: of the page.
        parts: its sections.
        head: HTML below the title.
        foot: HTML at the end.

    Returns:
        The file.
    """
    sections = [
        f"<section><h2>{html.escape(part.title)}</h2>"
        + (f"<p>{html.escape(part.note)}</p>" if part.note else "")
        + f"{part.body}</section>"
        for part in parts
    ]
    page = _PAGE.replace("@TITLE@", html.escape(title)).replace("@STYLE@", _STYLE)
    page = page.replace("@BODY@", "\n".join([head, *sections, foot]))
    target = Path(path)
    with atomic_write(target) as temporary:
        temporary.write_text(page, encoding="utf8", errors="replace")
    return target


def _end(name: str) -> str:
    """The last two parts of a path."""
    return "/".join(Path(name).parts[-2:]) if "/" in name else name


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def _line(tag: str, cells: Sequence[Any], marks: Sequence[str]) -> str:
    made = [
        f'<{tag} class="{mark}">{html.escape(str(cell))}</{tag}>'
        if mark
        else f"<{tag}>{html.escape(str(cell))}</{tag}>"
        for cell, mark in zip(cells, marks, strict=True)
    ]
    return f"<tr>{''.join(made)}</tr>"


_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1.2em; }
h2 { margin: 1.8em 0 .4em; } p { margin: .3em 0 .8em; }
table { border-collapse: collapse; } .wide { overflow-x: auto; max-height: 40em; }
th, td { border-bottom: 1px solid var(--line); padding: .25em .8em; text-align: left; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
.paper { background: #fff; padding: 6px; border-radius: 6px; max-width: 100%; }
.grid { display: flex; flex-wrap: wrap; gap: 12px; }
figure { margin: 0; width: 184px; padding: 8px; border-radius: 8px; box-sizing: border-box; }
figure { background: var(--soft); }
figure img { width: 168px; height: 168px; object-fit: contain; display: block; margin-bottom: 4px; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
small { display: block; opacity: .7; font-size: 11px; }
.gone { height: 168px; display: grid; place-items: center; opacity: .6; }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>@STYLE@</style></head>
<body><h1>@TITLE@</h1>
@BODY@
</body></html>
"""
