"""Texts that are on every machine: the docstrings of the libraries that this one depends on.

The files are parsed, never imported, so nothing of them runs.
"""

from __future__ import annotations

import ast
import inspect
import random
import re
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = {
    "matplotlib": ("matplotlib", "mpl", "pyplot", "plt"),
    "numpy": ("numpy", "np", "ndarray", "ndarrays", "numpys"),
    "pandas": ("pandas", "pd", "dataframe", "dataframes"),
    "scipy": ("scipy", "sp"),
    "sklearn": ("scikit-learn", "scikit", "sklearn", "learn"),
    "spacy": ("spacy", "thinc", "explosion"),
    "torch": ("pytorch", "torch", "tensor", "tensors", "aten", "autograd"),
}
"""Libraries, with the words that would give each away; they are taken out of every text."""

_GIVEAWAY = re.compile(
    r"\b("
    + "|".join(sorted({w for words in LIBRARIES.values() for w in words}, key=len, reverse=True))
    + r")\b",
    re.I,
)
_CODE = re.compile(r"^\s*(>>>|\.\.\. ).*$", re.M)
_MARKUP = re.compile(r"[`*_|=~#<>\\{}\[\]-]{2,}|:\w+:|`|\.\. \w+::?.*$", re.M)


def clean(text: str) -> str:
    """A docstring as running text without example code, markup and names of libraries.

    Example:
        >>> clean("Like ``numpy.sum``.\\n\\n>>> np.sum([1])\\n1")
        'Like .sum . 1'
    """
    plain = _MARKUP.sub(" ", _CODE.sub(" ", inspect.cleandoc(text)))
    return " ".join(_GIVEAWAY.sub(" ", plain).split())


def _docstrings(file: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            tree = ast.parse(file.read_text(encoding="utf8", errors="replace"))
        except (SyntaxError, ValueError):
            return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield text
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [child for child in getattr(node, "body", []) if isinstance(child, ast.stmt)]


def collect(per_library: int, seed: int, *, seconds: float = 60.0) -> dict[str, list[str]]:
    """Docstrings of at least 12 words, cut after 80, by library.

    Args:
        per_library: at most this many of each, from files drawn at random.
        seed: of the draw.
        seconds: limit for the whole search.

    Returns:
        Distinct texts by library; libraries that are absent or have fewer than 20 texts are left out.
    """
    rng = random.Random(seed)
    found: dict[str, list[str]] = {}
    share = seconds / len(LIBRARIES)
    for library in LIBRARIES:
        spec = find_spec(library)
        if spec is None or not spec.submodule_search_locations:
            continue
        root = Path(next(iter(spec.submodule_search_locations)))
        files = sorted(f for f in root.rglob("*.py") if not {"tests", "testing", "test"} & set(f.parts))
        rng.shuffle(files)
        limit, texts = time.monotonic() + share, dict[str, None]()
        for file in files:
            if len(texts) >= per_library or time.monotonic() > limit:
                break
            drawn = list(_docstrings(file))
            rng.shuffle(drawn)
            for text in drawn[:12]:  # no file, nor its way of writing, shall fill a library
                words = clean(text).split()
                if len(words) >= 12:
                    texts[" ".join(words[:80])] = None
        if len(texts) >= 20:
            found[library] = list(texts)[:per_library]
    return found
