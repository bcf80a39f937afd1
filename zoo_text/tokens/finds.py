"""Exceptions that spaCy finds among the tokens of a text, after all chunks were taken apart.

They are mostly emoticons inside chunks: "film:)" is "film", ":", ")" at first. Finds are looked for in the
whole text. The longest come first, of equal ones the earliest, and each keeps off all others that begin or
end in it, whether it changes anything or not: one that spans several chunks never does, as no exception
holds a blank, yet it can keep one inside a chunk from being joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from zoo_text.tokens.affixes import Affixes


class _Find(NamedTuple):
    start: int
    stop: int
    tokens: tuple[str, ...] | None  # what the exception makes of them, None where nothing would change


class Finds:
    """Looks for exceptions among tokens.

    Args:
        affixes: The tokeniser's rules.
        candidates: Exceptions that are looked for.
    """

    def __init__(self, affixes: Affixes, candidates: Sequence[str]) -> None:
        self._trie: dict[str | None, Any] = {}
        self._parts: set[str] = set()
        for text in candidates:
            parts, node = tuple(affixes.split(text, exceptions=False)), self._trie
            self._parts.update(parts)
            for part in parts:
                node = node.setdefault(part, {})
            # tokens are strings, so that the end of an exception is another kind of key
            node[None] = affixes.rules[text] if affixes.rules[text] != parts else None

    def may_take_part(self, tokens: Sequence[str]) -> bool:
        """Whether a find could reach through all of these tokens."""
        return self._parts.issuperset(tokens)

    def changes(self, tokens: Sequence[str]) -> bool:
        """Whether a find inside a chunk of these tokens would change them, if nothing kept it off."""
        return any(find.tokens is not None for find in self._all(tokens))

    def apply(self, chunks: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tokens of successive chunks, after exceptions among them."""
        tokens = [token for chunk in chunks for token in chunk]
        chunk_of = [number for number, chunk in enumerate(chunks) for _ in chunk]
        found = sorted(self._all(tokens), key=lambda find: (find.start - find.stop, find.start))
        taken = bytearray(len(tokens))
        changes: dict[int, _Find] = {}
        for find in found:
            free = not taken[find.start] and not taken[find.stop - 1]
            if free and find.tokens is not None and chunk_of[find.start] == chunk_of[find.stop - 1]:
                changes[find.start] = find
            taken[find.start : find.stop] = b"\1" * (find.stop - find.start)
        done: list[list[str]] = [[] for _ in chunks]
        place = 0
        while place < len(tokens):
            own = done[chunk_of[place]]
            find = changes.get(place)
            if find is None or find.tokens is None:
                own.append(tokens[place])
                place += 1
            else:
                own += find.tokens
                place = find.stop
        return done

    def _all(self, tokens: Sequence[str]) -> Iterator[_Find]:
        for start, token in enumerate(tokens):
            node = self._trie.get(token)
            stop = start + 1
            while node is not None:
                if None in node:
                    yield _Find(start, stop, node[None])
                node = node.get(tokens[stop]) if stop < len(tokens) else None
                stop += 1
