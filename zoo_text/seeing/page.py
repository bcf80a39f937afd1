"""A text with coloured words, for notebooks and as a page that needs nothing else."""

from __future__ import annotations

import html
import zlib
from typing import TYPE_CHECKING

import numpy as np

from zoo_text.seeing.words import shown_word, told_score

if TYPE_CHECKING:
    import pandas as pd

    from zoo_text.seeing.attribution import WordAttribution

_LONG = 150  # words from which on a text has a strip and sums of paragraphs
_BARS = 120
_FAINT = 0.12  # of the strongest colour; what is fainter stays plain
_METHODS = {
    "integrated": ("integrated gradients: the scores add up", "for a blank text"),
    "occlusion": ("occlusion: what the answer loses when that {unit} alone is hidden", "with all hidden"),
}


def as_page(found: WordAttribution) -> str:
    """A whole page."""
    title = f"Why {found.told()}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_PAGE_STYLE}</style></head>\n<body>{as_fragment(found)}</body></html>\n"
    )


def as_fragment(found: WordAttribution) -> str:
    """The same as a part of a page, such as the output of a cell."""
    strongest = _strongest(found.scores)
    sums = found.paragraphs()
    name = f"zoo{zlib.crc32(repr((found.text, found.label, found.method)).encode('utf8', 'replace')):08x}"
    long = len(sums) > 1 and (len(found.words) >= _LONG or found.unit != "word")
    parts = [_head(found, strongest), _chips(found)]
    if long:
        parts.append(_strip(found, sums["start"].to_numpy(), name))
    parts.append(_body(found, sums, strongest, name, sides=len(sums) > 1))
    return f'<div class="zoo-why"><style>{_STYLE}</style>{"".join(parts)}</div>'


def _strongest(scores: np.ndarray) -> float:
    """The score of the full colour: few words may reach it, so that others are still seen."""
    sizes = np.sort(np.abs(scores))[::-1]
    return float(sizes[min(len(sizes) - 1, len(sizes) // 100)]) or 1.0


def _colour(score: float, strongest: float) -> str:
    """A background by the size of a score; empty for hardly any."""
    share = min(1.0, abs(score) / strongest)
    if share < _FAINT:
        return ""
    return f"--a:{0.85 * share:.2f}"


def _head(found: WordAttribution, strongest: float) -> str:
    label = html.escape(found.label)
    if found.probability is None:
        answer, meter = f"<b>{label}</b> {found.output:.4g}", ""
    else:
        answer = f"<b>{label}</b> {found.probability:.1%}"
        meter = f'<span class="meter"><i style="width:{found.probability:.1%}"></i></span>'
    said, names = "", [found.predicted] if isinstance(found.predicted, str) else found.predicted
    if names is not None and found.label not in names:
        said = f'<span class="said">the model says {html.escape(", ".join(names) or "no label")}</span>'
    for_, against = ("raises it", "lowers it") if found.probability is None else ("for", "against")
    about = label if found.probability is not None else ""
    legend = (
        f'<div class="legend"><span>{against} {about}</span><span>{told_score(-strongest)}</span><i></i>'
        f"<span>{told_score(strongest)}</span><span>{for_} {about}</span></div>"
    )
    method, blank = _METHODS[found.method]
    note = (
        f"{len(found.words):,} {found.unit}s, {method.format(unit=found.unit)}. "
        f"In {html.escape(found.unit_of_scores)}: {told_score(found.baseline)} {blank}, "
        f"{told_score(found.output)} for this text"
    )
    return f'<div class="answer">{answer}{meter}{said}</div>{legend}<p class="note">{note}</p>'


def _chips(found: WordAttribution, most: int = 12) -> str:
    order = np.argsort(-np.abs(found.scores), kind="stable").tolist()
    ranked = [(found.words[number], float(found.scores[number])) for number in order]
    most = most if found.unit == "word" else 3
    names = ("raises", "lowers") if found.probability is None else ("for", "against")
    rows = []
    for name, sign in zip(names, (1, -1), strict=True):
        chips = [
            f'<span class="chip {_side(score)}">{html.escape(shown_word(word, 60))} '
            f"<small>{told_score(score)}</small></span>"
            for word, score in [pair for pair in ranked if sign * pair[1] > 0][:most]
        ]
        if chips:
            rows.append(f'<div class="chips"><small>{name}</small><div>{"".join(chips)}</div></div>')
    return "".join(rows)


def _side(score: float) -> str:
    return "up" if score > 0 else "down"


def _strip(found: WordAttribution, starts: np.ndarray, name: str) -> str:
    """Bars over the length of the text, upward for sums that speak for the answer."""
    n = min(_BARS, len(found.words))
    edges = np.linspace(0, len(found.words), n + 1).astype(int)
    sums = np.add.reduceat(found.scores, edges[:-1])
    tallest = float(np.abs(sums).max()) or 1.0
    bars = []
    for i, total in enumerate(sums):
        height = 19 * abs(total) / tallest
        first = found.spans[edges[i]][0]
        paragraph = int(np.searchsorted(starts, first, side="right"))
        top = 20 - height if total > 0 else 20
        bars.append(
            f'<a href="#{name}-{paragraph}"><rect class="hit" x="{i}" y="0" width="1" height="40"/>'
            f'<rect class="{_side(total)}" x="{i + 0.1:.1f}" y="{top:.2f}" width=".8" height="{height:.2f}"/>'
            f"<title>paragraph {paragraph}: {told_score(total)}</title></a>"
        )
    return (
        f'<div class="strip"><small>Which part decided</small><svg viewBox="0 0 {n} 40" '
        f'preserveAspectRatio="none" role="img" aria-label="sums of scores along the text">'
        f'<line x1="0" x2="{n}" y1="20" y2="20"/>{"".join(bars)}</svg>'
        "<small><span>beginning</span><span>end</span></small></div>"
    )


def _body(found: WordAttribution, sums: pd.DataFrame, strongest: float, name: str, *, sides: bool) -> str:
    totals = sums["score"].to_numpy()
    tallest = float(np.abs(totals).max()) or 1.0
    rows, word = [], 0
    if (unread := found.text[: found.spans[0][0]]).strip():
        rows.append(
            f'<div class="row unread" title="not read">{_side_cell("", sides)}<p>{_text(unread)}</p></div>'
        )
    places = zip(sums["start"].tolist(), sums["end"].tolist(), sums["words"].tolist(), strict=True)
    for number, (at, until, count) in enumerate(places, 1):
        pieces: list[str] = []
        for i in range(word, word + count):
            start, end = found.spans[i]
            style = _colour(found.scores[i], strongest)
            pieces.append(_text(found.text[at:start]))
            shown = _text(found.text[start:end])
            if style and shown:
                score = found.scores[i]
                shown = (
                    f'<span class="{_side(score)}" style="{style}" title="{told_score(score)}">{shown}</span>'
                )
            pieces.append(shown)
            at = end
        word += count
        if pieces and pieces[-1].isspace():  # line breaks that are words: the next row is a line of its own
            pieces.pop()
        pieces.append(_text(found.text[at:until].rstrip("\n")))
        total = float(totals[number - 1])
        width = 100 * abs(total) / tallest
        cell = f'{told_score(total)}<i class="{_side(total)}" style="width:{width:.0f}%"></i>'
        rows.append(
            f'<div class="row" id="{name}-{number}">{_side_cell(cell, sides)}<p>{"".join(pieces)}</p></div>'
        )
    return f'<div class="text">{"".join(rows)}</div>'


def _side_cell(inner: str, sides: bool) -> str:
    return f'<div class="sum">{inner}</div>' if sides else ""


def _text(part: str) -> str:
    return html.escape(part, quote=False)


_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1.2em; }
"""

_STYLE = """
.zoo-why { --up: 37,119,214; --down: 226,112,20; line-height: 1.5; }
.zoo-why small { opacity: .7; font-size: 12px; }
.zoo-why .answer { font-size: 1.35em; display: flex; align-items: center; gap: .6em; flex-wrap: wrap; }
.zoo-why .meter { width: 8em; height: 8px; border-radius: 4px; background: #8883; overflow: hidden; }
.zoo-why .meter i { display: block; height: 100%; background: rgb(var(--up)); }
.zoo-why .said { font-size: .65em; opacity: .75; }
.zoo-why .note { margin: .2em 0 .8em; font-size: 13px; opacity: .75; }
.zoo-why .legend { display: flex; align-items: center; gap: .5em; font-size: 13px; margin-top: .6em; }
.zoo-why .legend i { width: 9em; height: 10px; border-radius: 5px; background: linear-gradient(to right,
  rgba(var(--down),.85), rgba(var(--down),0) 50%, rgba(var(--up),0) 50%, rgba(var(--up),.85)); }
.zoo-why .chips { display: flex; align-items: baseline; margin: 6px 0; }
.zoo-why .chips > small { flex: 0 0 4.2em; }
.zoo-why .chips > div { display: flex; flex-wrap: wrap; gap: 5px; }
.zoo-why .chip { padding: 0 7px; border-radius: 10px; font-size: 14px; overflow-wrap: anywhere; }
.zoo-why .chip.up { background: rgba(var(--up),.2); }
.zoo-why .chip.down { background: rgba(var(--down),.2); }
.zoo-why .strip { margin: 1em 0 .4em; }
.zoo-why .strip small { display: flex; justify-content: space-between; }
.zoo-why .strip svg { width: 100%; height: 64px; display: block; background: #8881; border-radius: 6px; }
.zoo-why .strip line { stroke: #8886; vector-effect: non-scaling-stroke; }
.zoo-why rect.up { fill: rgb(var(--up)); }
.zoo-why rect.down { fill: rgb(var(--down)); }
.zoo-why rect.hit { fill: transparent; }
.zoo-why a:hover rect.hit { fill: #8883; }
.zoo-why .text { margin-top: .8em; }
.zoo-why .row { display: flex; gap: 1em; align-items: flex-start; padding: .2em 0; }
.zoo-why .row:target { background: #8882; }
.zoo-why .row.unread { opacity: .45; }
.zoo-why .row p { margin: 0; flex: 1; min-width: 0; max-width: 48em; line-height: 1.65; }
.zoo-why .row p { white-space: pre-wrap; overflow-wrap: anywhere; }
.zoo-why .sum { flex: 0 0 4.2em; text-align: right; padding-top: .25em; }
.zoo-why .sum { font-size: 13px; font-variant-numeric: tabular-nums; }
.zoo-why .sum i { display: block; height: 4px; border-radius: 2px; margin: 2px 0 0 auto; }
.zoo-why i.up { background: rgb(var(--up)); }
.zoo-why i.down { background: rgb(var(--down)); }
.zoo-why p span { border-radius: 3px; padding: 1px 0; }
.zoo-why p .up { background: rgba(var(--up),var(--a)); }
.zoo-why p .down { background: rgba(var(--down),var(--a)); }
"""
