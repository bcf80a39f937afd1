"""Tokens as text to read, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_text.tokens.tokenize import CAPITAL, LINE_END, REPEATED, START, UPPER

_CLOSING = set(".,!?;:)]%") | {"...", "''"}
_MOST_REPEATED = 1000  # a model may draw any number; nobody reads more


class Writer:
    """Turns tokens into pieces of text: blanks where words want them, and the marks of rules undone.

    Args:
        rules: Of the field: their tokens are marks, `<cap>` and `<up>` of the word that follows, `<rep>` of
            the number and the character that do.
        apart: Whether blanks stand between words; characters bring their own.
        before: The text that the first token follows.

    Example:
        >>> writer = Writer(["caps", "repetition"])
        >>> [writer.add(token) for token in ["<cap>", "virtuous", "<rep>", "5", "!", "<up>", "he"]]
        ['', 'Virtuous', '', '', '!!!!!', '', ' HE']
    """

    def __init__(self, rules: Iterable[str] = (), *, apart: bool = True, before: str = "") -> None:
        self._rules, self._apart = frozenset(rules), apart
        self._last = before[-1:]
        self._begins = True  # a blank that the text before ends with is not doubled
        self._mark: str | None = None
        self._times: int | None = None

    def add(self, token: str) -> str:
        """What the token adds to the text; nothing for a mark, which changes what follows."""
        if not self._apart:
            return token
        token = "\n" if token == LINE_END else token
        if self._is_mark(token):
            self._mark, self._times = token if token != START else None, None
            return ""
        if self._mark == REPEATED and self._times is None and token.isdecimal():
            self._times = min(int(token), _MOST_REPEATED)
            return ""
        word = token
        if self._mark == UPPER:
            word = token.upper()
        elif self._mark == CAPITAL:
            word = token[:1].upper() + token[1:]
        elif self._times is not None:
            word = token * self._times
        self._mark = self._times = None
        tight = token in _CLOSING or token.startswith(("'", "n't")) or not token.strip()
        follows = not self._last or self._last in "([\n" or (self._begins and self._last.isspace())
        self._last, self._begins = word[-1:] or self._last, False
        return word if tight or follows else f" {word}"

    def _is_mark(self, token: str) -> bool:
        rule = {START: "start", UPPER: "caps", CAPITAL: "caps", REPEATED: "repetition"}.get(token)
        return rule in self._rules
