"""Is a film review positive? A language model learns from reviews without labels, a classifier starts from it.

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

from zoo import load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData, TextData

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--labelled", type=int, default=5000, help="labelled reviews to learn from")
parser.add_argument("--test", type=int, default=25_000, help="held-out reviews to test on")
parser.add_argument("--lm-docs", type=int, default=75_000, help="reviews for the language model")
parser.add_argument("--lm-epochs", type=int, default=1)
parser.add_argument("--epochs", type=int, default=4, help="of the classifier, once all its layers train")
parser.add_argument("--full", action="store_true", help="a larger model, three epochs: for a GPU, or a night")
parser.add_argument("--out", type=Path, help="folder for the encoder and the exported model")


def main() -> None:
    args = parser.parse_args()
    out, clock = args.out or Path(tempfile.mkdtemp(prefix="sentiment-")), {}
    sizes = (
        {"emb_sz": 400, "n_hid": 1150, "n_layers": 3}
        if args.full
        else {"emb_sz": 200, "n_hid": 400, "n_layers": 1}
    )
    set_seed(0)
    started = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal started
        clock[what], started = time.perf_counter() - started, time.perf_counter()

    reviews = pd.read_parquet(local_dataset(args.data, "imdb.parquet"))
    train, test = reviews[reviews.split == "train"], reviews[reviews.split == "test"]
    labelled = train.sample(min(args.labelled, len(train)), random_state=0)
    test = test.sample(min(args.test, len(test)), random_state=0)
    unlabelled = pd.read_parquet(local_dataset(args.data, "imdb_unsup.parquet"))
    corpus = pd.concat([train, unlabelled]).sample(frac=1, random_state=0)[: args.lm_docs]
    lap("read")

    field = Field(tokenize="spacy")
    held = max(1, min(300, len(corpus) // 20))
    lm_data = LanguageModelData.from_df(
        out, field, "text", corpus[held:], corpus[:held], bs=64, bptt=70, min_freq=5, max_size=20_000
    )
    data = TextData.from_df(
        out, field, labelled, test[:1000], test, bs=32, max_tokens=None if args.full else 300
    )
    lap("tokenise")

    language = lm_data.get_model(**sizes, sampled=2000)
    language.clip = 0.4
    language.to_bf16().fit_one_cycle(args.lm_epochs * (3 if args.full else 1), 1e-2)
    print(language.generate("This movie is", 30, temperature=0.7, seed=0))
    language.save_encoder("reviews")
    lap("language model")

    learn = data.get_model(**sizes).to_bf16()
    learn.load_encoder("reviews")
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(args.epochs, slice(1e-3, 5e-3))
    lap("classifier")
    accuracy = learn.evaluate(data.test_dl)["accuracy"]
    lap("test")

    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    reference = baseline.fit(labelled.text, labelled.label).score(test.text, test.label)
    lap("TF-IDF, all of it")
    print(f"accuracy on {len(test):,} reviews after {len(labelled):,} labelled ones: {accuracy:.2%}")
    print(f"TF-IDF of 1-2 words + logistic regression: {reference:.2%}")
    print("seconds: " + ", ".join(f"{what} {seconds:.0f}" for what, seconds in clock.items()))
    text = "A slow start, but the last hour is wonderful."
    print(text, "->", load_learner(learn.export(out / "sentiment")).predict_one(text))


if __name__ == "__main__":
    main()
