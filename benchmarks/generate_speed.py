"""Does a word of `generate` cost the same wherever it stands? Near the beginning, and far from it.

python benchmarks/generate_speed.py --words 4000
"""

import argparse
import statistics
import time

from zoo_text import Field, LanguageModelData, Vocab

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--words", type=int, default=4000, help="how far from the beginning")
parser.add_argument("--vocabulary", type=int, default=20_000)
parser.add_argument("--prompt", type=int, default=5, help="words that are given")


def main() -> None:
    args = parser.parse_args()
    field = Field(tokenize="whitespace")
    field.vocab = Vocab(["<unk>", "<pad>", *(f"w{number}" for number in range(args.vocabulary))])
    learn = LanguageModelData(field, None).get_model(progress=False, device="cpu", seed=0)
    prompt = " ".join(f"w{number % args.vocabulary}" for number in range(args.prompt))
    for options in ({}, {"top_k": 50, "repetition": 1.2, "no_repeat": 4, "stop": "never said"}):
        pieces = learn.generate(prompt, args.words, seed=0, stream=True, **options)
        seconds, started = [], time.perf_counter()
        for _ in pieces:
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
        part = max(2, len(seconds) // 10)
        early, late = (statistics.median(some) for some in (seconds[2 : part + 2], seconds[-part:]))
        print(
            f"{', '.join(options) or 'plain'}: {1e3 * early:.2f} ms a word at the beginning, "
            f"{1e3 * late:.2f} ms after {args.words:,}; ratio {late / early:.2f}"
        )


if __name__ == "__main__":
    main()
