"""The language model that `zoo_text` ships: trained on free English, step by step, with checkpoints.

    python benchmarks/pretrain_english.py --data path/to/data --work build/english

`--data` holds `english/english.train.txt.xz` and `english.valid.txt.xz`: one paragraph a line, an empty line
between documents, all of it under licences that let the weights of a model be passed on. Killed and started
again with the same options it goes on where it was. At the end `--work` holds the learner's weights, the
history, and the encoder file with vocabulary, tokeniser, direction and attribution in it.

Nothing was tuned, neither on these texts nor on those that the model is to be judged by: sizes follow from
the 20 MB that the file may have and from two processor cores, the rate is a usual one of AdamW for recurrent
networks in one cycle; there is no dropout, as every word is read once.
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Iterator
from pathlib import Path

import torch

from zoo import load_data, set_seed
from zoo_text import Field, LanguageModelData

NOTICE = (
    "The language model was trained on text from: English Wikipedia, by Wikipedia contributors (CC BY-SA "
    "3.0 and 4.0, en.wikipedia.org); Wikinews, by its contributors (CC BY 2.5, en.wikinews.org); the SCP "
    "Foundation wiki, by its authors (CC BY-SA 3.0, scp-wiki.wikidot.com); OpenStax textbooks, (c) Rice "
    'University, "Life, Liberty, and the Pursuit of Happiness" with the Bill of Rights Institute (CC BY '
    "4.0, access for free at openstax.org); the Schema-Guided Dialogue dataset, by Google (CC BY-SA 4.0); "
    "Open Source Guides, by GitHub and contributors (CC BY 4.0, opensource.guide); posts by Ben Balter "
    "(CC BY 3.0, ben.balter.com); and on works in the public domain or under CC0 from Standard Ebooks, "
    "Mozilla Common Voice, Digital.gov and 18F. The texts were cleaned, shortened and shuffled. Titles and "
    "authors: english-small.sources.tsv.xz, beside this file."
)


def documents(file: Path) -> Iterator[str]:
    """Documents with a line for each paragraph; an empty line ends each."""
    lines: list[str] = []
    with lzma.open(file, "rt", encoding="utf-8") as text:
        for line in text:
            if line.strip():
                lines.append(line.rstrip("\n"))
            elif lines:
                yield "\n".join(lines) + "\n\n"
                lines = []
    if lines:
        yield "\n".join(lines) + "\n\n"


def english_data(args: argparse.Namespace) -> LanguageModelData:
    """The tokens, made once and then read from `--work`; the part of the training text that is asked for."""
    kept = args.work / "tokens"
    if not kept.is_dir():
        folder = Path(args.data) / "english"
        LanguageModelData.from_texts(
            Field(), documents(folder / "english.train.txt.xz"), documents(folder / "english.valid.txt.xz"),
            min_freq=10, max_size=args.words, seed=0,
        ).save(kept)  # fmt: skip
    whole = load_data(kept)
    ids = whole.train_dl.columns.reshape(-1).numpy()
    start, end = (round(share * len(ids)) for share in args.part)
    return LanguageModelData(
        whole.field, ids[start:end], whole.valid_dl.columns.reshape(-1).numpy(),
        bs=args.bs, bptt=args.bptt, seed=0, path=args.work,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with english/english.train.txt.xz and .valid.")
    parser.add_argument("--work", type=Path, default=Path("build/english"))
    parser.add_argument("--words", type=int, default=30_000)
    parser.add_argument("--emb-sz", type=int, default=200)
    parser.add_argument("--n-hid", type=int, default=400)
    parser.add_argument("--n-layers", type=int, default=2)
    parser.add_argument("--bs", type=int, default=64)
    parser.add_argument("--bptt", type=int, default=70)
    parser.add_argument("--sampled", type=int, default=2500)
    parser.add_argument("--parts", type=float, nargs="+", default=[1.0], help="where cycles end")
    parser.add_argument("--lr", type=float, nargs="+", default=[5e-3], help="of each cycle")
    parser.add_argument("--cycles", type=int, help="only so many")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(0)
    begin = 0.0
    for number, (end, lr) in enumerate(list(zip(args.parts, args.lr, strict=True))[: args.cycles]):
        args.part = begin, end
        data = english_data(args)
        data.path = args.work / f"cycle{number}"
        print(f"{data.nt:,} words; {data.train_dl.columns.numel():,} tokens, rate {lr}", flush=True)
        learn = data.get_model(
            emb_sz=args.emb_sz, n_hid=args.n_hid, n_layers=args.n_layers, drop_mult=0.0,
            sampled=args.sampled, seed=0, path=data.path,
        )  # fmt: skip
        learn.reg_fn = None
        learn.clip = 0.3
        if number:
            learn.load_encoder(args.work / f"cycle{number - 1}.safetensors")
        rows = learn.fit_one_cycle(
            1, lr, pct_start=0.1, moms=(0.8, 0.7), wds=0.01, checkpoint_every=100, resume=True
        )
        print(rows, flush=True)
        learn.save_encoder(args.work / f"cycle{number}.safetensors")
        print(learn.generate("This film is", 60, temperature=0.7, seed=0), flush=True)
        begin = end
        if end == args.parts[-1]:
            print(learn.save_encoder(args.work / "english-small.safetensors", half=True, notice=NOTICE))


if __name__ == "__main__":
    main()
