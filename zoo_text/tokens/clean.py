"""Cleaning texts before they become tokens, by rules that travel with the field."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable

from zoo.data.utf8 import writable
from zoo.errors import did_you_mean

CleaningRule = str | tuple[str, str]

_BREAKS = "br|p|div|li|ul|ol|dl|dt|dd|tr|table|h[1-6]|hr|blockquote|pre|section|article|header|footer"
_INLINE = (
    "a|abbr|acronym|address|b|bdo|big|body|caption|center|cite|code|col|del|em|figure|font|form|head|html|i"
    "|iframe|img|input|ins|kbd|label|link|main|mark|meta|nav|q|s|samp|small|span|strike|strong|sub|sup"
    "|tbody|td|tfoot|th|thead|title|tt|u|var|video"
)
_OPENS = re.compile(r"<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
_CLOSES = {
    "": re.compile("-->"),
    **{name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")},
}
_BREAK = re.compile(rf"<(?:br|hr)\b[^<>]*>|</(?:{_BREAKS})\s*>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_BREAKS}|{_INLINE})(?:\s[^<>]*|/)?>", re.IGNORECASE)
# with the semicolon: "&copy=" in a link is no copyright sign
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LINE_END = re.compile(r"\r\n?")
_BLANKS = re.compile(r"[^\S\n]+")
_BESIDE_LINE_END = re.compile(r" ?\n ?")


def _entities(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _html(text: str) -> str:
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _shown(text)))
    return _entities(text)


def _shown(text: str) -> str:
    """A text without comments, scripts and style sheets; those that have no end stay."""
    parts: list[str] = []
    place, endless = 0, set()
    for opening in _OPENS.finditer(text):
        kind = (opening[1] or "").lower()
        if opening.start() < place or kind in endless:
            continue
        closing = _CLOSES[kind].search(text, opening.end())
        if closing is None:
            endless.add(kind)  # no later one ends either: time stays linear in the length
        else:
            parts.append(text[place : opening.start()])
            place = closing.end()
    return "".join([*parts, text[place:]])


def _line_ends(text: str) -> str:
    return _LINE_END.sub("\n", text) if "\r" in text else text


def _spaces(text: str) -> str:
    text = _BLANKS.sub(" ", text)
    return _BESIDE_LINE_END.sub("\n", text) if "\n" in text else text


_NAMED: dict[str, Callable[[str], str]] = {
    "line_ends": _line_ends,
    "html": _html,
    "entities": _entities,
    "spaces": _spaces,
}


class Cleaner:
    r"""Cleans texts by rules that are carried out one after the other.

    Halves of surrogate pairs, which no file can hold, become replacement characters in any case.

    Args:
        rules: Names or pairs (regular expression, replacement as of `re.sub`). The names are "line_ends"
            ("\r\n" and "\r" become "\n"), "html" (tags go, `<br />` and the ends of paragraphs become line
            ends, entities are decoded), "entities" (`&amp;` becomes "&"), and "spaces" (blanks in a row
            become one, blanks beside line ends go).

    Attributes:
        rules: As given.

    Raises:
        ValueError: For a name that is not known, or an expression that is none.
        TypeError: For a rule of another type.

    Example:
        >>> Cleaner(["html"])("A <i>good</i> film.<br /><br />Tom &amp; Jerry <3")
        'A good film.\n\nTom & Jerry <3'
        >>> Cleaner([(r"(?i)\bhttps?://\S+", "<link>")])("see HTTP://example.com now")
        'see <link> now'
    """

    def __init__(self, rules: Iterable[CleaningRule] = ()) -> None:
        self.rules: tuple[CleaningRule, ...] = tuple(
            [
                rule if isinstance(rule, str) else _pair(rule)
                for rule in ([rules] if isinstance(rules, str) else rules)
            ]
        )
        self._steps: list[Callable[[str], str]] = [_step(rule) for rule in self.rules]

    @property
    def by_patterns(self) -> bool:
        """Whether some rule is an expression of the user's, which may look anywhere in a text."""
        return any(not isinstance(rule, str) for rule in self.rules)

    def __call__(self, text: str) -> str:
        """The cleaned text."""
        text = writable(text)
        for step in self._steps:
            text = step(text)
        return text

    def __reduce__(self) -> tuple[type[Cleaner], tuple[tuple[CleaningRule, ...]]]:
        return Cleaner, (self.rules,)

    def state(self) -> list[str | list[str]]:
        """The rules as JSON-able values, which the constructor takes."""
        return [rule if isinstance(rule, str) else list(rule) for rule in self.rules]


def _pair(rule: object) -> tuple[str, str]:
    pair = list(rule) if isinstance(rule, tuple | list) else []
    if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise TypeError(
            f"a cleaning rule is a name ({', '.join(_NAMED)}) or a pair of strings (expression, "
            f"replacement), not {rule!r}; flags stand in the expression, as in '(?i)...'"
        )
    return pair[0], pair[1]


def _step(rule: CleaningRule) -> Callable[[str], str]:
    if isinstance(rule, str):
        if rule not in _NAMED:
            raise ValueError(
                f"no cleaning rule {rule!r}{did_you_mean(rule, _NAMED)}: the rules are {', '.join(_NAMED)}, "
                "or pairs (regular expression, replacement)"
            )
        return _NAMED[rule]
    pattern, replacement = rule
    try:
        compiled = re.compile(pattern)
        re.compile(f"{pattern}|").sub(replacement, "")  # something is replaced, so that groups are looked up
    except (re.error, IndexError) as error:
        raise ValueError(f"the cleaning rule {rule!r} cannot be used: {error}") from None
    return lambda text: compiled.sub(replacement, text)
