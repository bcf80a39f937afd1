"""Perplexity on WikiText-2 in an hour and a half of one CPU core, next to the published one.

    python benchmarks/wikitext.py --data path/to/data [--epochs 8] [--threads 1]

Published (Merity, Keskar & Socher 2017, AWD-LSTM, 1,150 features, three layers, 33 million weights,
750 epochs): 68.6 on the validation text, 65.8 on the test text. Found here: 100.8 and 96.0. Words are cut,
counted (`<eos>` at the end of each line, `<unk>` where one is written) and scored alike here: every word but
the first once, all words of the vocabulary in the softmax, the state carried from the first to the last.
"""

import argparse
import os
import time
from pathlib import Path

import torch
from report import write_result

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData

PUBLISHED = {"valid": 68.6, "test": 65.8}
# half of the published ones: the training is a hundredth as long
DROPOUTS = {"dropouti": 0.3, "dropoute": 0.05, "dropouth": 0.1, "wdrop": 0.25, "dropout": 0.2}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--rate", type=float, default=5e-3)
parser.add_argument("--sizes", type=int, nargs=3, default=(300, 500, 2), help="embedding, hidden, layers")
parser.add_argument("--bs", type=int, default=32)
parser.add_argument("--sampled", type=int, default=2000, help="words to score in training; 0 for all")
parser.add_argument("--words", type=int, help="a trial: train on only so many, write no result")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    set_seed(args.seed)
    folder = Path(local_dataset(args.data, "wikitext-2"))
    train, valid, test = (
        next(folder.rglob(f"wiki.{part}.tokens")).read_text(encoding="utf8")
        for part in ("train", "valid", "test")
    )
    if args.words:
        train = " ".join(train.split(" ")[: args.words])
    field = Field(tokenize="whitespace", lower=False, rules=["eos"])
    cut = {"bs": args.bs, "bptt": 70, "min_freq": 1, "max_size": None, "seed": args.seed}
    data = LanguageModelData.from_texts(field, [train], [valid], [test], **cut)
    print(f"{data.nt:,} words", flush=True)
    emb_sz, n_hid, n_layers = args.sizes
    learn = data.get_model(
        None, emb_sz, n_hid, n_layers, **DROPOUTS, sampled=args.sampled or None, seed=args.seed, clip=0.4
    )
    started = time.perf_counter()
    rows = learn.fit_one_cycle(args.epochs, args.rate)
    minutes = (time.perf_counter() - started) / 60
    found = {"valid": rows[-1]["perplexity"], "test": learn.evaluate(data.test_dl)["perplexity"]}
    for part, perplexity in found.items():
        print(f"{part}: perplexity {perplexity:.1f} (published {PUBLISHED[part]})")
    print(f"{args.epochs} epochs in {minutes:.0f} minutes, {torch.get_num_threads()} threads")
    if args.words:
        return  # a trial, no figure
    settings = {name: getattr(args, name) for name in ("epochs", "rate", "sizes", "bs", "sampled", "seed")}
    write_result(args.out, "wikitext", {**found, "minutes": minutes, **settings})


if __name__ == "__main__":
    main()
