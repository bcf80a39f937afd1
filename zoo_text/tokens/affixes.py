"""How spaCy's tokeniser takes one chunk of a text apart, in time linear in the length of the chunk.

spaCy peels prefixes and suffixes off a chunk, one of each a round, until an exception or nothing more is
found, and cuts what is left at its infixes. It looks through the whole rest of the chunk in every round,
which is quadratic for rows of marks. Its expressions see only a few characters, so that looking at the two
ends of the rest is enough; rows of dots, which one expression takes whole, are followed to their end.
"""

from __future__ import annotations

import re
from typing import Any

_ORTH = 65  # spaCy's number for "the text of the token"
_ESCAPED = re.compile(r"\\.")
_CLASS = re.compile(r"\[[^\]]*\]")
_ROW_OF_DOTS = r"\.\.+"
_GROUP = re.compile(r"\((?:\?(?:<?[=!]|:))?([^()]*)\)")
# what stands before the "@" of an address, in time linear in its length; it allows exactly the same texts
_BEFORE_AT, _BEFORE_AT_LINEAR = r"(?:\S+(?::\S*)?@)?", r"(?:\S+@)?"
_KEPT = 50_000


def _reach(source: str) -> int:
    """How many characters an expression can look at, at most, but for rows of dots.

    Raises:
        ValueError: If it repeats something else without end.
    """
    source = _CLASS.sub("x", _ESCAPED.sub("x", source.replace(_ROW_OF_DOTS, "xx")))
    while (inner := _GROUP.sub(lambda group: "x" * max(map(len, group[1].split("|"))), source)) != source:
        source = inner
    if re.search(r"[+*{()]", source):
        raise ValueError("an expression of spaCy's repeats something without end")
    return max(map(len, source.split("|")))


class Affixes:
    """Prefixes, suffixes, infixes and exceptions of a spaCy tokeniser.

    Args:
        tokenizer: As `spacy.blank("en").tokenizer`.

    Attributes:
        rules: Exceptions and their tokens.
        words: Runs of letters that the rules and expressions name.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.rules: dict[str, tuple[str, ...]] = {
            text: tuple([part.get(_ORTH, part.get("ORTH", "")) for part in rule])
            for text, rule in tokenizer.rules.items()
        }
        self._longest = max(map(len, self.rules))
        prefix: re.Pattern[str] = tokenizer.prefix_search.__self__
        suffix: re.Pattern[str] = tokenizer.suffix_search.__self__
        infix: re.Pattern[str] = tokenizer.infix_finditer.__self__
        self._prefix, self._suffix, self._infixes = prefix.match, suffix.search, infix.finditer
        self._before, self._after = _reach(prefix.pattern), _reach(suffix.pattern)
        address: re.Pattern[str] = tokenizer.url_match.__self__
        self._address = re.compile(address.pattern.replace(_BEFORE_AT, _BEFORE_AT_LINEAR)).match
        self._suffixes: dict[str, int] = {}
        named = [*self.rules, prefix.pattern, suffix.pattern, infix.pattern]
        self.words = frozenset(word for text in named for word in re.findall("[A-Za-z]+", text))

    def split(self, chunk: str, exceptions: bool = True) -> list[str]:
        """The tokens of a chunk, before exceptions are looked for among them.

        Args:
            chunk: A text without whitespace, or nothing but whitespace.
            exceptions: Heed exceptions that are the whole chunk, or are left when affixes are peeled.
        """
        rules = self.rules if exceptions else {}
        longest = self._longest
        start, end = 0, len(chunk)
        before: list[str] = []
        after: list[str] = []
        while start < end:
            if end - start <= longest and chunk[start:end] in rules:
                break
            prefix = self._prefix_length(chunk, start, end)
            inner = start + prefix
            if prefix and end - inner <= longest and chunk[inner:end] in rules:
                before.append(chunk[start:inner])
                start = inner
                break
            suffix = self._suffix_length(chunk, inner, end)
            outer = end - suffix
            if suffix and outer - start <= longest and chunk[start:outer] in rules:
                after.append(chunk[outer:end])
                end = outer
                break
            if prefix:
                before.append(chunk[start:inner])
            if suffix:
                after.append(chunk[outer:end])
            if not prefix and not suffix:
                break
            start, end = inner, outer
        if start < end:
            self._middle(chunk[start:end], rules, before)
        after.reverse()
        return before + after

    def _middle(self, rest: str, rules: dict[str, tuple[str, ...]], tokens: list[str]) -> None:
        if rest in rules:
            tokens += rules[rest]
            return
        if "." in rest and self._address(rest):
            tokens.append(rest)
            return
        # an infix at the very start is passed over, and stays with what follows it
        start = 0
        for match in self._infixes(rest):
            first, last = match.span()
            if first == 0:
                continue
            if first != start:
                tokens.append(rest[start:first])
            if first != last:
                tokens.append(rest[first:last])
            start = last
        if start < len(rest):
            tokens.append(rest[start:])

    def _prefix_length(self, chunk: str, start: int, end: int) -> int:
        seen = chunk[start : min(end, start + self._before)]
        match = self._prefix(seen)
        if match is None:
            return 0
        length = match.end()
        if length == len(seen) and seen[-1] == ".":
            while start + length < end and chunk[start + length] == ".":
                length += 1
        return length

    def _suffix_length(self, chunk: str, start: int, end: int) -> int:
        first = max(start, end - self._after)
        seen = chunk[first:end]
        length = self._suffixes.get(seen)
        if length is None:
            match = self._suffix(seen)
            length = 0 if match is None else match.end() - match.start()
            if len(self._suffixes) >= _KEPT:
                self._suffixes.clear()
            self._suffixes[seen] = length
        if length and length == len(seen) and seen[0] == ".":
            while end - length > start and chunk[end - length - 1] == ".":
                length += 1
        return length
