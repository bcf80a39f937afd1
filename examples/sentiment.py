"""Is a film review positive? The ladder of the method, a row a step, on the same labelled reviews.

    python examples/sentiment.py --data path/to/data --labelled 5000
    python examples/sentiment.py --data path/to/data --labelled 500 --steps baseline scratch tuned

1. baseline: n-grams and logistic regression, what one would try first;
2. scratch: the network with random weights, on the labelled reviews alone, beside the linear model on words
   and pairs of words where every classifier begins;
3. head: a classifier on a pretrained encoder that stays as it is (`--encoder`);
4. gradual: the same one, unfrozen layer by layer with graded rates;
5. tuned: the language model goes on with the reviews first, then 3 and 4 in one call;
6. pair: the same backward, and the mean of both probabilities.

The language model of 5 and 6 reads reviews without their labels: labelled and unlabelled ones, never those of
the test. A tenth of the labelled reviews, 1,000 at most, is held out, only to watch.
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

from zoo import Ensemble, get_cv_idxs, load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData, TextClassifierLearner, TextData

STEPS = ("baseline", "scratch", "head", "gradual", "tuned", "pair")
DROPS = {"dropouti": 0.3, "dropoute": 0.1, "dropout": 0.5, "wdrop": 0.3}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--labelled", type=int, default=5000, help="labelled reviews to learn from")
parser.add_argument("--test", type=int, help="held-out reviews to test on; all from 5,000 labelled ones on")
parser.add_argument("--lm-docs", type=int, default=6_000, help="reviews for the language model")
parser.add_argument("--lm-epochs", type=int, default=1)
parser.add_argument("--epochs", type=int, default=2, help="of the classifier's last stage")
parser.add_argument("--encoder", default="english-small", help="a name, or a file that save_encoder wrote")
parser.add_argument("--steps", nargs="+", choices=STEPS, default=["baseline", "tuned"])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument(
    "--full", action="store_true", help="a larger model that begins with random weights: for a GPU"
)
parser.add_argument("--out", type=Path, help="folder for the encoder and the exported model")


def read_reviews(data: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reviews with a label, and those without: folders as of `zoo data get imdb`, or two tables."""
    if not (Path(data) / "imdb").is_dir():
        reviews = pd.read_parquet(local_dataset(data, "imdb.parquet"))
        return reviews, pd.read_parquet(local_dataset(data, "imdb_unsup.parquet"))
    rows = [
        (split, label, file.read_text(encoding="utf8"))
        for split in ("train", "test")
        for label in ("neg", "pos", "unsup")
        for file in sorted((Path(data) / "imdb" / split / label).glob("*.txt"))
    ]
    table = pd.DataFrame(rows, columns=["split", "label", "text"])
    return table[table.label != "unsup"], table[table.label == "unsup"]


class Ladder:
    """The data of all steps, and the table that they fill."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out or Path(tempfile.mkdtemp())
        self.rows: list[tuple[str, float, float]] = []
        reviews, plain = read_reviews(args.data)
        train, test = reviews[reviews.split == "train"], reviews[reviews.split == "test"]
        self.labelled = train.sample(min(args.labelled, len(train)), random_state=args.seed)
        wanted = args.test or (len(test) if args.labelled >= 5000 else args.labelled)
        self.test = test.sample(min(wanted, len(test)), random_state=args.seed)
        corpus = pd.concat([train, plain]).sample(frac=1, random_state=args.seed)[: args.lm_docs]
        self.field = Field(clean=["html"])
        held = max(1, min(300, len(corpus) // 20))
        self.texts = {False: self.language_data(corpus[held:], corpus[:held])}
        self.corpus = corpus[held:], corpus[:held]
        self.data = {False: self.labelled_data()}
        self.sizes = {"emb_sz": 400, "n_hid": 1150, "n_layers": 3} if args.full else {}

    def language_data(
        self, train: pd.DataFrame, valid: pd.DataFrame, backward: bool = False
    ) -> LanguageModelData:
        return LanguageModelData.from_df(
            self.out, self.field, "text", train, valid, min_freq=5, max_size=60_000, backward=backward
        )

    def labelled_data(self, backward: bool = False) -> TextData:
        held_out = get_cv_idxs(len(self.labelled), min(0.1, 1000 / len(self.labelled)), seed=0)
        return TextData.from_df(
            self.out, self.field, self.labelled, test_df=self.test, val_idxs=held_out, bs=32,
            backward=backward,
        )  # fmt: skip

    def row(self, name: str, accuracy: float, since: float) -> None:
        self.rows.append((name, accuracy, time.perf_counter() - since))
        print(f"{name:<40} {accuracy:8.2%} {self.rows[-1][2]:7.0f} s", flush=True)

    def judge(self, name: str, learn: TextClassifierLearner, since: float) -> None:
        self.row(name, learn.evaluate(learn.data.test_dl)["accuracy"], since)

    def baseline(self) -> float:
        """May learn from the held-out reviews too; `learn.baseline()` judges models on held-out rows."""
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
        return model.fit(self.labelled.text, self.labelled.label).score(self.test.text, self.test.label)

    def tuned_language_model(self, backward: bool = False) -> str:
        """The name of an encoder that has read the reviews."""
        if backward:
            self.texts[True] = self.language_data(*self.corpus, backward=True)
        start = None if backward or self.args.full else self.args.encoder
        sizes = self.sizes if start is None else {}
        learn = self.texts[backward].get_model(pretrained=start, sampled=2000, seed=self.args.seed, **sizes)
        learn.unfreeze()
        learn.fit_one_cycle(self.args.lm_epochs, 1e-2 if start is None else 4e-3, clip=0.4)
        name = "backward" if backward else "forward"
        learn.save_encoder(name)
        if not backward:
            print(learn.generate("This film is", 30, temperature=0.7, seed=0), flush=True)
        return name

    def classifier(self, encoder: str, backward: bool = False) -> TextClassifierLearner:
        if backward:
            self.data[True] = self.labelled_data(backward=True)
        learn = self.data[backward].get_model(pretrained=encoder, seed=self.args.seed, **DROPS)
        learn.fine_tune(self.args.epochs, 1e-2, clip=0.4)
        return learn


def main() -> None:
    args = parser.parse_args()
    set_seed(args.seed)
    started = time.perf_counter()
    ladder = Ladder(args)
    print(f"texts are tokenised after {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{len(ladder.labelled):,} labelled reviews, {len(ladder.test):,} to test on")
    data = ladder.data[False]
    learn: TextClassifierLearner | None = None

    if "baseline" in args.steps:
        since = time.perf_counter()
        ladder.row("TF-IDF (1-2 words), logistic regression", ladder.baseline(), since)
    if "scratch" in args.steps:
        since = time.perf_counter()
        learn = data.get_model(seed=args.seed, **ladder.sizes, **DROPS)
        learn.fit_one_cycle(args.epochs, 5e-3, clip=0.4)
        ladder.judge("from scratch", learn, since)
    if "head" in args.steps:
        since = time.perf_counter()
        learn = data.get_model(pretrained=args.encoder, seed=args.seed, **DROPS)
        learn.fit_one_cycle(1, 1e-2)
        ladder.judge("pretrained, head only", learn, since)
    if "gradual" in args.steps:
        since = time.perf_counter()
        learn = ladder.classifier(args.encoder)
        ladder.judge("pretrained, unfrozen gradually", learn, since)
    if "tuned" in args.steps or "pair" in args.steps:
        since = time.perf_counter()
        learn = ladder.classifier(ladder.tuned_language_model())
        ladder.judge("language model tuned on the reviews", learn, since)
    if "pair" in args.steps and learn is not None:
        since = time.perf_counter()
        other = ladder.classifier(ladder.tuned_language_model(backward=True), backward=True)
        ladder.judge("the same backward", other, since)
        answers, truth = Ensemble([learn, other]).predict_with_targs(is_test=True)
        ladder.row("mean of both", float((answers.argmax(1) == truth).mean()), since)
    if learn is not None:
        text = "A slow start, but the last hour is wonderful."
        print(text, "->", load_learner(learn.export(ladder.out / "sentiment")).predict_one(text))


if __name__ == "__main__":
    main()
