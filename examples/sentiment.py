"""Is a film review positive? A language model learns from plain reviews, a classifier starts from it.

python examples/sentiment.py --data path/to/data --labelled 5000
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from zoo import get_cv_idxs, load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData, TextData

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--labelled", type=int, default=5000, help="labelled reviews to learn from")
parser.add_argument("--test", type=int, help="held-out reviews to test on; all from 5,000 labelled ones on")
parser.add_argument("--lm-docs", type=int, default=30_000, help="reviews for the language model")
parser.add_argument("--epochs", type=int, default=3, help="of the classifier")
parser.add_argument("--full", action="store_true", help="a larger model and whole reviews: for a GPU")
parser.add_argument("--out", type=Path, help="folder for the encoder and the exported model")


def main() -> None:
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp())
    sizes = {"emb_sz": 400, "n_hid": 1150, "n_layers": 3} if args.full else {"emb_sz": 200, "n_layers": 1}
    set_seed(0)
    reviews = pd.read_parquet(local_dataset(args.data, "imdb.parquet"))
    train, test = reviews[reviews.split == "train"], reviews[reviews.split == "test"]
    labelled = train.sample(min(args.labelled, len(train)), random_state=0)
    n_test = args.test or (len(test) if args.labelled >= 5000 else args.labelled)
    test = test.sample(min(n_test, len(test)), random_state=0)
    plain = pd.read_parquet(local_dataset(args.data, "imdb_unsup.parquet"))
    corpus = pd.concat([train, plain]).sample(frac=1, random_state=0)[: args.lm_docs]

    clock = [time.perf_counter()]

    def step(done: str) -> None:
        clock.append(time.perf_counter())
        print(f"[{clock[-1] - clock[0]:.0f} s] {done}", flush=True)

    field = Field(lower=True, tokenize="spacy")
    held = max(1, min(300, len(corpus) // 20))
    texts = LanguageModelData.from_df(
        out, field, "text", corpus[held:], corpus[:held], bs=64, bptt=70, min_freq=5, max_size=20_000
    )
    keep = None if args.full else 250  # the last words of a review say most
    held_out = get_cv_idxs(
        len(labelled), 0.1, seed=0
    )  # a tenth only to watch; the baseline may learn from it
    data = TextData.from_df(out, field, labelled, test_df=test, val_idxs=held_out, bs=32, max_tokens=keep)
    step("texts are tokenised")

    language = texts.get_model(**sizes, sampled=2000)
    language.clip = 0.4
    language.fit_one_cycle(4 if args.full else 1, 1e-2)
    print(language.generate("This movie is", 30, temperature=0.7, seed=0), flush=True)
    language.save_encoder("reviews")
    step("language model is trained")

    drops = {"dropouti": 0.3, "dropoute": 0.1, "dropout": 0.5, "wdrop": 0.3}
    learn = data.get_model(**sizes, **drops).load_encoder("reviews")
    learn.freeze()
    print(learn.lr_find(num_it=60), flush=True)
    learn.fit(1e-2, 1)
    learn.unfreeze()
    learn.fit_one_cycle(args.epochs, slice(2e-3, 6e-3), clip=0.4)
    step("classifier is trained")
    accuracy = learn.evaluate(data.test_dl)["accuracy"]
    step("test reviews are read")

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    baseline = make_pipeline(words, LogisticRegression(C=10, max_iter=1000)).fit(
        labelled.text, labelled.label
    )
    print(f"accuracy on {len(test):,} reviews after {len(labelled):,} labelled ones: {accuracy:.2%}")
    print(f"TF-IDF (1-2 words) + logistic regression: {baseline.score(test.text, test.label):.2%}")
    steps = zip(("tokenising", "language model", "classifier", "test"), clock, clock[1:], strict=False)
    print("seconds:", ", ".join(f"{name} {end - start:.0f}" for name, start, end in steps))
    text = "A slow start, but the last hour is wonderful."
    print(text, "->", load_learner(learn.export(out / "sentiment")).predict_one(text))


if __name__ == "__main__":
    main()
