"""Text: a language model of docstrings, then a classifier of the library that a docstring belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from zoo.data.splits import get_cv_idxs
from zoo.demo.docstrings import collect
from zoo.reports.section import Section, confusion, export_and_check, principal_plane, scatter_with_names
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.tokens.vocab import UNKNOWN_ID

SIZES: dict[str, Any] = {"emb_sz": 100, "n_hid": 200, "n_layers": 2}


def run(out: Path, *, seed: int = 42, scale: float = 1.0) -> Section:
    """Train the language model on the training texts, then fine-tune its encoder as a classifier."""
    found = collect(max(40, int(650 * scale)), seed)
    table = pd.DataFrame(
        [(text, library) for library, texts in found.items() for text in texts], columns=["text", "label"]
    )
    held_out = np.zeros(len(table), dtype=bool)
    held_out[get_cv_idxs(len(table), seed=seed)] = True
    train, valid = table[~held_out].reset_index(drop=True), table[held_out].reset_index(drop=True)
    section = Section(
        "Text",
        f"{len(table):,} docstrings of {len(found)} installed libraries, their names and"
        " example code taken out: first a"
        " language model learns from the training texts to guess the next word, then its"
        " encoder learns which library a"
        " text belongs to.",
    )
    encoder = out / "models" / "docstrings.encoder.safetensors"
    field, words = _language_model(section, encoder, train, valid, out, seed, scale)

    data = TextData.from_df(out, field, train, valid, bs=32 if scale > 0.3 else 16, seed=seed)
    learn = data.get_model(**SIZES, drop_mult=0.5, seed=seed)
    learn.load_encoder(encoder)
    finder = learn.lr_find(num_it=50)
    learn.fit_one_cycle(6, 1e-2)
    section.add_curves(learn, finder, "classifier: ")

    simple = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=300)
    )
    reference = float(simple.fit(train["text"], train["label"]).score(valid["text"], valid["label"]))
    majority = float(valid["label"].value_counts(normalize=True).iloc[0])
    section.metric, section.reached = "accuracy", float(learn.history[-1]["accuracy"])
    section.reference = f"majority class {majority:.3f}; TF-IDF + logistic regression {reference:.3f}"
    section.expect("twice the majority", section.reached > 2 * majority)
    answers = learn.predict_batch(valid)
    guessed = [answer.label for answer in answers]
    section.add_figure("confusion matrix", confusion(valid["label"].tolist(), guessed, list(found)))
    section.add_figure("word vectors of the language model", words)
    wrong = pd.DataFrame(
        {
            "text": valid["text"].str.slice(0, 160) + " ...",
            "library": valid["label"],
            "guess": guessed,
            "probability": [answer.probability for answer in answers],
        }
    )
    wrong = wrong[wrong["library"] != wrong["guess"]].nlargest(6, "probability")
    section.add_table("most wrong: sure and mistaken", wrong)
    section.model = export_and_check(learn, out / "models" / "docstrings", valid["text"].tolist()[:100])
    return section


def _unknown(data: LanguageModelData) -> float:
    """Share of the validation text that is not in the vocabulary."""
    return float((data.valid_dl.columns == UNKNOWN_ID).float().mean())


def _language_model(
    section: Section,
    encoder: Path,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    out: Path,
    seed: int,
    scale: float,
) -> tuple[Field, Any]:
    """Train it, keep its encoder; returns the field with the vocabulary, and a plot of word vectors."""
    field = Field(lower=True)
    order = np.random.default_rng(seed).permutation(len(train))
    data = LanguageModelData.from_df(
        out,
        field,
        "text",
        train.iloc[order],
        valid,
        bs=32 if scale > 0.3 else 8,
        bptt=40,
        min_freq=4,
        seed=seed,
    )
    learn = data.get_model(**SIZES, drop_mult=0.3, clip=0.3, seed=seed)
    finder = learn.lr_find(num_it=50)
    learn.fit_one_cycle(3 if scale > 0.3 else 1, 1e-2)
    section.add_curves(learn, finder, "language model: ")
    perplexity = float(np.exp(learn.history[-1]["valid_loss"]))
    samples = [
        learn.generate(prompt, 25, temperature=0.7, seed=seed + number)
        for number, prompt in enumerate(("returns the", "the number of", "if true"))
    ]
    section.add_table(
        f"the language model writes; perplexity on held-out texts {perplexity:.0f}, of {data.nt:,} words,"
        f" {_unknown(data):.0%} of the texts being words it does not know, which count as one",
        pd.DataFrame({"text": samples}),
    )
    learn.save_encoder(encoder)
    vocabulary = field.vocab.itos if field.vocab is not None else []
    chosen = [number for number, word in enumerate(vocabulary) if word.isalpha() and len(word) > 4][:60]
    vectors = learn.model.encoder.embedding.weight.detach().cpu().numpy()[chosen]
    return field, scatter_with_names(principal_plane(vectors), [vocabulary[number] for number in chosen])
