"""Text: tokens, vocabularies, language models and classifiers that start from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_text.classifier import TextClassifierLearner as TextClassifierLearner
    from zoo_text.data import LanguageModelData as LanguageModelData
    from zoo_text.labelled import TextData as TextData
    from zoo_text.learner import LanguageLearner as LanguageLearner
    from zoo_text.vocab import Field as Field
    from zoo_text.vocab import Vocab as Vocab

_HOMES = {
    "Field": "zoo_text.vocab",
    "LanguageLearner": "zoo_text.learner",
    "LanguageModelData": "zoo_text.data",
    "TextClassifierLearner": "zoo_text.classifier",
    "TextData": "zoo_text.labelled",
    "Vocab": "zoo_text.vocab",
}

__all__ = ["Field", "LanguageLearner", "LanguageModelData", "TextClassifierLearner", "TextData", "Vocab"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo_text' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
