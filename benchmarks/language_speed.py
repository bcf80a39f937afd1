"""One training step of a language model: zoo, with and without sampled words, against fastai's AWD-LSTM.

Both have the same sizes, batch, dropouts, activation regularisation, clipping and optimizer (AdamW, fused).
They take turns in one process; medians count. fastai is looked for where Python finds it:

    PYTHONPATH=path/to/fastai python benchmarks/language_speed.py --bf16
    python benchmarks/language_speed.py --perplexity 600000 --data path/to/data

The second line tells what sampling costs: the perplexity on WikiText-2's validation text after an epoch over
so many words, of the same model from the same weights, with all words scored in training and with some.
"""

import argparse
import contextlib
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from report import write_result
from torch import Tensor, nn

from zoo.datasets import local_dataset
from zoo_text import Field, LanguageModelData, seq2seq_reg
from zoo_text.model.language_model import LanguageModel
from zoo_text.model.softmax import FusedCrossEntropy

DROPOUTS = {"dropouti": 0.1, "dropoute": 0.02, "dropouth": 0.15, "wdrop": 0.2, "dropout": 0.1}
GOALS = {"zoo": 1.25, "zoo, sampled": 3.0, "zoo, bf16": 1.8}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--vocabulary", type=int, default=20_000)
parser.add_argument("--sizes", type=int, nargs=3, default=(200, 400, 2), help="embedding, hidden, layers")
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--bptt", type=int, default=70)
parser.add_argument("--sampled", type=int, default=2000)
parser.add_argument("--rounds", type=int, default=5, help="of three steps each")
parser.add_argument("--bf16", action="store_true", help="zoo in bfloat16, too")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--perplexity", type=int, metavar="WORDS", help="compare perplexities instead")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")

Step = Callable[[Tensor, Tensor], None]


def update(model: nn.Module, opt: torch.optim.Optimizer, loss: Tensor) -> None:
    """What follows the loss, the same for everybody."""
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.4)
    opt.step()
    opt.zero_grad()


def ours(args: argparse.Namespace, sampled: int | None, bf16: bool = False) -> Step:
    """The model of `LanguageModelData.get_model`, its loss and its regularisation."""
    torch.manual_seed(0)
    model = LanguageModel(args.vocabulary, *args.sizes, **DROPOUTS).train()
    model.defer_output = True  # as a learner has it
    loss_fn = FusedCrossEntropy(sampled, torch.ones(args.vocabulary))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(x: Tensor, y: Tensor) -> None:
        short = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
        with short:
            scores, *extras = model(x)
            loss = loss_fn(scores, y)
        update(model, opt, seq2seq_reg(loss, tuple(extras)))

    return step


def fastais(args: argparse.Namespace) -> Step:
    """fastai's AWD-LSTM with the loss and the regularisation of its language model learner."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.text.models import AWD_LSTM, awd_lstm_lm_config, get_language_model

    emb_sz, n_hid, n_layers = args.sizes
    config = {
        **awd_lstm_lm_config, "emb_sz": emb_sz, "n_hid": n_hid, "n_layers": n_layers,
        "input_p": DROPOUTS["dropouti"], "embed_p": DROPOUTS["dropoute"], "hidden_p": DROPOUTS["dropouth"],
        "weight_p": DROPOUTS["wdrop"], "output_p": DROPOUTS["dropout"],
    }  # fmt: skip
    torch.manual_seed(0)
    model = get_language_model(AWD_LSTM, args.vocabulary, config=config).train()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(x: Tensor, y: Tensor) -> None:
        scores, raw, dropped = model(x)
        loss = nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), y)
        loss = loss + 2 * dropped.float().pow(2).mean() + (raw[:, 1:] - raw[:, :-1]).float().pow(2).mean()
        update(model, opt, loss)

    return step


def batches(args: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Words as often as in a natural text, always the same."""
    generator = torch.Generator().manual_seed(0)
    share = 1 / torch.arange(10.0, args.vocabulary + 10)
    while True:
        words = torch.multinomial(share, args.bs * (args.bptt + 1), True, generator=generator)
        stretch = words.reshape(args.bs, args.bptt + 1)
        yield stretch[:, :-1], stretch[:, 1:].reshape(-1)


def speed(args: argparse.Namespace) -> dict[str, object]:
    """Seconds a step of everybody, by turns."""
    steps = {"zoo": ours(args, None), "zoo, sampled": ours(args, args.sampled)}
    if args.bf16:
        steps["zoo, bf16"] = ours(args, None, bf16=True)
    try:
        steps["fastai"] = fastais(args)
    except ImportError:
        print("fastai is not there: only zoo's own steps are measured")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    source = batches(args)
    for number in range(args.rounds + 1):
        own = list(islice(source, 3))
        for name, step in steps.items():
            started = time.perf_counter()
            for batch in own:
                step(*batch)
            if number:  # the first makes the kernels
                seconds[name].append((time.perf_counter() - started) / len(own))
    medians = {name: statistics.median(some) for name, some in seconds.items()}
    for name, median in medians.items():
        ratio = f", {medians['fastai'] / median:.2f}x fastai" if "fastai" in medians else ""
        goal = f" (goal {GOALS[name]})" if name in GOALS else ""
        print(f"{name}: {median:.3f} s a step{ratio}{goal}")
    return {"seconds_a_step": medians}


def perplexity(args: argparse.Namespace) -> dict[str, object]:
    """What sampling costs after an epoch."""
    folder = Path(local_dataset(args.data, "wikitext-2"))
    texts = [
        next(folder.rglob(f"wiki.{part}.tokens")).read_text(encoding="utf8") for part in ("train", "valid")
    ]
    texts[0] = " ".join(texts[0].split(" ")[: args.perplexity])
    field = Field(tokenize="whitespace")
    cut = {"bs": args.bs, "bptt": args.bptt, "min_freq": 1, "max_size": args.vocabulary, "seed": 0}
    data = LanguageModelData.from_texts(field, [texts[0]], [texts[1]], **cut)
    emb_sz, n_hid, n_layers = args.sizes
    found: dict[str, object] = {"words": data.nt}
    for name, sampled in (("all words", None), (f"{args.sampled} sampled", args.sampled)):
        learn = data.get_model(
            None, emb_sz, n_hid, n_layers, **DROPOUTS, sampled=sampled, seed=0, clip=0.4, progress=False
        )
        started = time.perf_counter()
        row = learn.fit_one_cycle(1, 1e-2)[-1]
        found[name] = row["perplexity"]
        print(
            f"{name}: perplexity {row['perplexity']:.1f}, {time.perf_counter() - started:.0f} s", flush=True
        )
    return found


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.perplexity:
        write_result(args.out, "language_perplexity", perplexity(args))
    else:
        write_result(args.out, "language_speed", speed(args))


if __name__ == "__main__":
    main()
