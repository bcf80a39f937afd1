"""How many English tokens a second, next to spaCy called per text and to fastai's tokeniser.

Film reviews become token ids, cold: what earlier rounds learned is forgotten, processes are started within
the time. zoo also numbers the tokens (`Field.counter`), the others only give strings. fastai does what its
users do, `SpacyTokenizer` with its rules, in as many processes as zoo. Rounds alternate in one
process tree; medians count. `--parts identity` compares tokens with spaCy's, one by one, on all reviews.

`--parts corpus` writes a file of `--gigabytes` out of repeated reviews and makes a `TokenFile` of it in a
process of its own, which is killed half way and started again; it tells the peak of resident memory of each
process.

    python benchmarks/token_speed.py --reviews 25000 --rounds 3
    PYTHONPATH=path/to/fastai python benchmarks/token_speed.py --parts speed
    python benchmarks/token_speed.py --parts identity corpus --gigabytes 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import spacy
from report import print_table, write_result

from zoo_text import Field, TokenFile
from zoo_text.tokens.encoding import blocks_of, encode_blocks
from zoo_text.tokens.english import english

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument("--parts", nargs="+", choices=["speed", "identity", "corpus"], default=["speed"])
parser.add_argument("--reviews", type=int, nargs="+", default=[3000, 25_000])
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--gigabytes", type=float, default=2.0)
parser.add_argument("--folder", type=Path, help="where the large corpus is made; temporary by default")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)

Runs = dict[str, Callable[[], int]]


def spacy_run(texts: list[str]) -> int:
    tokenizer = spacy.blank("en").tokenizer
    return sum(len([token.text for token in tokenizer(text)]) for text in texts)


def zoo_run(texts: list[str], workers: int) -> int:
    blocks = blocks_of((text, False) for text in texts)
    return sum(len(ids) for ids, _, _ in encode_blocks(blocks, Field().counter(), workers))


def fastai_run(texts: list[str], workers: int) -> int:
    from fastai.text.core import SpacyTokenizer, defaults, parallel_tokenize

    found: Iterable[Any] = parallel_tokenize(
        texts, SpacyTokenizer(), defaults.text_proc_rules, n_workers=0 if workers == 1 else workers
    )
    return sum(len(tokens) for _, tokens in found)


def alternate(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Tokens a second of every contestant; the order shifts from round to round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            english.cache_clear()
            english()
            started = time.perf_counter()
            count = runs[name]()
            found[name].append(count / (time.perf_counter() - started))
    return found


def speed_part(reviews: list[str], args: argparse.Namespace) -> list[dict[str, Any]]:
    try:
        import fastai.text.core  # noqa: F401

        with_fastai = True
    except ImportError as error:
        print(f"without fastai ({error})")
        with_fastai = False
    found = []
    for count in args.reviews:
        texts = reviews[:: max(1, len(reviews) // count)][:count]
        runs: Runs = {"spaCy": lambda texts=texts: spacy_run(texts)}
        for workers in sorted({1, args.workers}):
            runs[f"zoo, {workers} processes"] = lambda texts=texts, n=workers: zoo_run(texts, n)
            if with_fastai:
                runs[f"fastai, {workers} processes"] = lambda texts=texts, n=workers: fastai_run(texts, n)
        load = os.getloadavg()[0]
        values = alternate(runs, args.rounds)
        speed = {name: statistics.median(numbers) for name, numbers in values.items()}
        peers = [name for name in speed if not name.startswith("zoo")]
        print(f"\n{len(texts):,} reviews, load {load:.1f}:")
        print_table(
            ["", "tokens/s", *(f"x {name}" for name in peers)],
            [
                [name, f"{value:,.0f}", *(f"{value / speed[peer]:.2f}" for peer in peers)]
                for name, value in speed.items()
            ],
        )
        found.append({"reviews": len(texts), "load": load, "speed": speed, "all": values})
    return found


def identity_part(reviews: list[str]) -> dict[str, int]:
    tokenizer = spacy.blank("en").tokenizer
    field = Field(lower=False, clean=())
    numbers = field.counter()
    different = 0
    for start in range(0, len(reviews), 500):
        texts = reviews[start : start + 500]
        encoded = numbers.encode(texts)
        words = numbers.words()
        for text, ids in zip(texts, encoded, strict=True):
            different += [words[number] for number in ids] != [token.text for token in tokenizer(text)]
    print(f"\n{different} of {len(reviews):,} reviews have other tokens than spaCy's")
    return {"reviews": len(reviews), "different": different}


def write_corpus(path: Path, reviews: list[str], gigabytes: float) -> None:
    """Repeated reviews, some words of which are numbered anew in each repetition."""
    size = int(gigabytes * 1e9)
    with path.open("w", encoding="utf8") as file:
        repetition = 0
        while file.tell() < size:
            for number, review in enumerate(reviews):
                file.write(f"{review}\n{number % 97}x{repetition}\n")
                if number % 1000 == 0 and file.tell() >= size:
                    break
            repetition += 1


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def child(path: Path, workers: int) -> None:
    started = time.perf_counter()
    tokens = TokenFile.build(path, Field(), path.with_name("tokens"), workers=workers, min_freq=10)
    told = {
        "seconds": time.perf_counter() - started,
        "tokens": len(tokens.ids),
        "words": len(tokens.vocab),
        "peak_mb": peak_mb(),
        "peak_worker_mb": peak_mb(resource.RUSAGE_CHILDREN),
    }
    print(json.dumps(told))


def corpus_part(reviews: list[str], args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    path = folder / "corpus.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_corpus(path, reviews, args.gigabytes)
    command = [sys.executable, __file__, "--child", str(path), str(args.workers)]
    progress = folder / ".tokens.build" / "progress.json"
    half = path.stat().st_size / 2
    noted, started = 0.0, time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None and noted < half / 5:  # about five letters a token
            time.sleep(1)
            if progress.is_file():
                noted = json.loads(progress.read_text())["ids.i32"] / 4
        process.kill()
    first = time.perf_counter() - started
    run = subprocess.run(command, capture_output=True, check=True, text=True)
    told = {
        "gigabytes": path.stat().st_size / 1e9,
        "killed_at": noted,
        "first": first,
        **json.loads(run.stdout),
    }
    print(f"\na corpus of {told['gigabytes']:.2f} GB, {told['tokens']:,} tokens, {told['words']:,} words:")
    print(f"killed after {first:.0f} s at {noted:,.0f} tokens; gone on for {told['seconds']:.0f} s")
    print(f"peak {told['peak_mb']:,.0f} MB, of a worker {told['peak_worker_mb']:,.0f} MB")
    return told


def main() -> None:
    args = parser.parse_args()
    if args.child:
        child(Path(args.child[0]), int(args.child[1]))
        return
    reviews = pd.read_parquet(Path(args.data) / "imdb.parquet", columns=["text"]).text.tolist()
    found: dict[str, Any] = {"workers": args.workers, "spacy": spacy.__version__}
    if "speed" in args.parts:
        found["speed"] = speed_part(reviews, args)
    if "identity" in args.parts:
        found["identity"] = identity_part(reviews)
    if "corpus" in args.parts:
        with tempfile.TemporaryDirectory() as work:
            found["corpus"] = corpus_part(reviews, args, args.folder or Path(work))
    write_result(args.out, "token_speed", found)


if __name__ == "__main__":
    main()
