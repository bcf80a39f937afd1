"""Are the words that `learn.explain` names those that decide? The deletion test on film reviews.

A small classifier is trained on some thousand reviews. Of test reviews the ten words that speak most for the
answer are taken out of the text, and the answer's probability is asked for again; the same with ten words
drawn at random. The more the probability falls, the more the words had to do with it. Reviews have at most
400 words, which occlusion hides one by one.

    python benchmarks/word_reasons.py --data path/to/data
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from report import print_table, write_result

from zoo import set_seed
from zoo_text import Field, TextClassifierLearner, TextData
from zoo_text.seeing.attribution import WordAttribution

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument("--train", type=int, default=5000, help="training reviews")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--reviews", type=int, default=200, help="test reviews to explain")
parser.add_argument("--words", type=int, default=10, help="words taken out of each")
parser.add_argument("--draws", type=int, default=10, help="random choices of words a review")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def trained(frame: pd.DataFrame, args: argparse.Namespace) -> TextClassifierLearner:
    """A classifier with one recurrent layer of 64 features."""
    set_seed(0)
    train = frame[frame["split"] == "train"].sample(args.train, random_state=0)
    valid = frame[frame["split"] == "test"].sample(1000, random_state=1)
    data = TextData.from_df(
        None, Field(), train[["text", "label"]], valid[["text", "label"]], bs=32, min_freq=3, seed=0
    )
    learn = data.get_model(
        emb_sz=64, n_hid=64, n_layers=1, dropoute=0.1, device="cpu", progress=False, seed=0
    )
    learn.fit_one_cycle(args.epochs, 5e-3)
    return learn


def without(found: WordAttribution, words: np.ndarray) -> str:
    """The text of a review without some of its words."""
    kept, end = [], 0
    for word in sorted(words):
        start, after = found.spans[word]
        kept.append(found.text[end:start])
        end = after
    return "".join([*kept, found.text[end:]])


def deletion(learn: TextClassifierLearner, reviews: list[str], method: str, args: argparse.Namespace) -> dict:
    """What taking out words does to the probability of the answer."""
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    explained = [learn.explain(review, method=method) for review in reviews]
    seconds = (time.perf_counter() - started) / len(reviews)
    chosen = [without(found, np.argsort(-found.scores)[: args.words]) for found in explained]
    drawn = [
        without(found, rng.choice(len(found.words), args.words, replace=False))
        for found in explained
        for _ in range(args.draws)
    ]
    labels = [found.label for found in explained]
    before = np.array([found.probability for found in explained])
    left = [
        answer.probabilities[label] for answer, label in zip(learn.predict_batch(chosen), labels, strict=True)
    ]
    random = [
        answer.probabilities[label]
        for answer, label in zip(learn.predict_batch(drawn), np.repeat(labels, args.draws), strict=True)
    ]
    sums = [abs(found.scores.sum() - (found.output - found.baseline)) for found in explained]
    return {
        "probability": float(before.mean()),
        "important": float(np.mean(before - np.array(left))),
        "random": float(np.mean(np.repeat(before, args.draws) - random)),
        "flipped_important": float(np.mean(np.array(left) < 0.5)),
        "flipped_random": float(np.mean(np.array(random) < 0.5)),
        "missed_log_odds": float(np.median(sums)) if method == "integrated" else None,
        "seconds_a_review": seconds,
    }


def main() -> None:
    args = parser.parse_args()
    frame = pd.read_parquet(Path(args.data) / "imdb.parquet")
    learn = trained(frame, args)
    accuracy = learn.evaluate()["accuracy"]
    print(f"accuracy on 1,000 test reviews: {accuracy:.3f}", flush=True)
    test = frame[frame["split"] == "test"].sample(frac=1, random_state=2)["text"]
    few = (text for text in test if 4 * args.words <= len(learn.data.field.tokens(text)) <= 400)
    reviews = [text for text, _ in zip(few, range(args.reviews), strict=False)]
    found = {method: deletion(learn, reviews, method, args) for method in ("integrated", "occlusion")}
    print(f"\nfall of the probability of the answer when {args.words} words of {len(reviews)} reviews go")
    print_table(
        ["method", "important", "random", "ratio", "flipped", "flipped (random)", "s a review"],
        [
            [
                method,
                f"{one['important']:.3f}",
                f"{one['random']:.3f}",
                f"{one['important'] / max(one['random'], 1e-9):.0f}",
                f"{one['flipped_important']:.1%}",
                f"{one['flipped_random']:.1%}",
                f"{one['seconds_a_review']:.2f}",
            ]
            for method, one in found.items()
        ],
    )
    write_result(
        args.out,
        "word_reasons",
        {"train": args.train, "accuracy": accuracy, "reviews": len(reviews), "words": args.words, **found},
    )


if __name__ == "__main__":
    main()
