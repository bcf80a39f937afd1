"""How right text classifiers are with few labels: n-grams, the network from scratch, on a shipped language
model, and on a language model that has read texts of the same kind without labels.

    python benchmarks/few_labels.py --data path/to/data
    python benchmarks/few_labels.py --what docstrings

Reviews (`imdb.parquet`, `imdb_unsup.parquet`): labels from the training rows, accuracy on test rows that
are drawn anew for each seed. Docstrings: of the public functions and classes of installed packages, whose
names are taken out of the texts; the package is the label. Rates and epochs were chosen on training rows of
the reviews.
"""

import argparse
import importlib
import inspect
import json
import os
import pkgutil
import re
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.data.baseline import NaiveBayesWeighted
from zoo_text.data.ngrams import NGrams

PACKAGES = ("numpy", "scipy", "pandas", "sklearn", "torch", "matplotlib", "networkx", "sympy")
KINDS = ("tfidf", "bayes", "scratch", "english", "tuned")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--what", choices=("reviews", "docstrings"), default="reviews")
parser.add_argument("--labels", type=int, nargs="+", default=[100, 500, 2000])
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--test", type=int, default=2000, help="texts to test on, a seed")
parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
parser.add_argument("--lm-docs", type=int, default=30_000, help="texts for the language model of `tuned`")
parser.add_argument("--lm-epochs", type=int, default=1)
parser.add_argument("--encoder", type=Path, help="of `tuned`, if there is one already")
parser.add_argument("--epochs", type=int, default=2, help="of the last stage; 0: where the classifier begins")
parser.add_argument("--lr", type=float, default=1e-2)
parser.add_argument("--out", type=Path, help="a JSON file for the figures")


def reviews(folder: str) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Rows to draw labels from, rows to test on, and texts without labels."""
    table = pd.read_parquet(local_dataset(folder, "imdb.parquet"))
    plain = pd.read_parquet(local_dataset(folder, "imdb_unsup.parquet"))
    train, test = (table[table.split == part][["text", "label"]] for part in ("train", "test"))
    return train, test, plain.text.tolist()


def docstrings() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The same of docstrings: thirds of what is found, equal ones left out."""
    found: dict[str, str] = {}
    given = "|".join([*PACKAGES, "np", "pd", "plt", "nx", "scikit", "learn"])
    names = re.compile(rf"\b({given})\b", re.IGNORECASE)
    for package in PACKAGES:
        for text in package_docstrings(package):
            cleaned = " ".join(names.sub(" ", text).split())
            if len(cleaned.split()) >= 20:
                found.setdefault(cleaned, package)
    table = pd.DataFrame({"text": list(found), "label": list(found.values())}).sample(frac=1, random_state=0)
    cuts = len(table) // 3, 2 * len(table) // 3
    return table[: cuts[0]], table[cuts[0] : cuts[1]], table.text[cuts[1] :].tolist()


def package_docstrings(package: str) -> list[str]:
    """Docstrings of public functions, classes and methods that are defined in a package."""
    root, texts = importlib.import_module(package), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda _: None):
            parts = info.name.split(".")
            if any(part.startswith(("_", "test")) for part in parts):
                continue
            try:
                module = importlib.import_module(info.name)
            except (Exception, SystemExit) as error:  # optional parts of a package lack what they need
                print(f"{info.name} is left out: {type(error).__name__}")
                continue
            for name, member in inspect.getmembers(module):
                own = getattr(member, "__module__", None) == info.name and not name.startswith("_")
                if own and (inspect.isfunction(member) or inspect.isclass(member)):
                    texts.append(inspect.getdoc(member) or "")
    return texts


def tuned_encoder(args: argparse.Namespace, texts: list[str], folder: Path) -> Path:
    """A language model that began as english-small, and has read texts without labels."""
    drawn = np.random.default_rng(0).permutation(len(texts))[: args.lm_docs]
    held = max(20, len(drawn) // 100)
    train, valid = ([texts[row] for row in part] for part in (drawn[held:], drawn[:held]))
    data = LanguageModelData.from_texts(
        Field(clean=["html"]), train, valid, min_freq=5 if len(texts) > 10_000 else 2, max_size=30_000, seed=0
    )
    learn = data.get_model(pretrained="english-small", sampled=2000, seed=0, progress=False)
    learn.unfreeze()
    since = time.perf_counter()
    rows = learn.fit_one_cycle(args.lm_epochs, 4e-3, clip=0.4)
    seconds, read = time.perf_counter() - since, data.train_dl.columns.numel()
    print(f"the language model read {read:,} tokens in {seconds:.0f} s: {rows[-1]}", flush=True)
    return learn.save_encoder(folder / "tuned.safetensors")


def by_bayes(data: TextData) -> float:
    grams, targets = NGrams(data.nt), data.train_dl.targets.numpy()
    model = NaiveBayesWeighted().fit(grams.fit_transform(data.train_dl.texts()), targets)
    found = model.predict_proba(grams.transform(data.test_dl.texts())).argmax(1)
    return float((model.classes_[found] == data.test_dl.targets.numpy()).mean())


def main() -> None:
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    train, test, plain = reviews(args.data) if args.what == "reviews" else docstrings()
    print(f"{len(train):,} texts to draw labels from, {len(test):,} to test on, {len(plain):,} without any")
    encoders: dict[str, str | Path | None] = {"scratch": None, "english": "english-small"}
    if "tuned" in args.kinds:
        encoders["tuned"] = args.encoder or tuned_encoder(args, plain, folder)
    classes = sorted(train.label.unique())
    figures: dict[str, dict[str, list[float]]] = {}
    for n in args.labels:
        row = figures[str(n)] = {kind: [] for kind in args.kinds}
        for seed in range(args.seeds):
            some = train.sample(n, random_state=seed)
            judged = test.sample(min(args.test, len(test)), random_state=100 + seed)
            for kind in args.kinds:
                set_seed(seed)
                if kind == "tfidf":
                    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
                    peer = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
                    row[kind].append(peer.fit(some.text, some.label).score(judged.text, judged.label))
                    continue
                start = encoders.get(kind)
                field = Field(clean=["html"])
                known = None if start is None else Field.from_pretrained(start).vocab
                if known is not None:
                    field = field.with_vocab(known).with_words_of(some.text)
                data = TextData.from_texts(
                    field, (some.text.tolist(), some.label.tolist()), None,
                    (judged.text.tolist(), judged.label.tolist()), bs=16 if n < 1000 else 32, seed=seed,
                    classes=classes,
                )  # fmt: skip
                if kind == "bayes":
                    row[kind].append(by_bayes(data))
                    continue
                learn = data.get_model(pretrained=start, seed=seed, progress=False)
                if args.epochs and start is None:
                    learn.fit_one_cycle(args.epochs + 1, args.lr / 2, clip=0.4)
                elif args.epochs:
                    learn.fine_tune(args.epochs, args.lr, clip=0.4)
                row[kind].append(learn.evaluate(data.test_dl)["accuracy"])
            told = "  ".join(f"{kind} {100 * found[-1]:.1f}" for kind, found in row.items())
            print(f"{n:>6,} labels, seed {seed}:  {told}", flush=True)
    print("\nlabels  " + "  ".join(f"{kind:>14}" for kind in args.kinds))
    for n, row in figures.items():
        cells = [f"{100 * np.mean(found):.1f} (sd {100 * np.std(found):.1f})" for found in row.values()]
        print(f"{n:>6}  " + "  ".join(f"{cell:>14}" for cell in cells))
    if args.out is not None:
        settings = {"what": args.what, "epochs": args.epochs, "lr": args.lr}
        args.out.write_text(json.dumps({**settings, "accuracy": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
