"""From three characters to a stateful LSTM: which character comes next in the works of Nietzsche?

python examples/nietzsche.py --data path/to/data --stages lstm

Every stage prints its loss on the last fifth of the text, in nats a character. The first ones are plain
modules that `zoo.fit` trains, the stateful ones are trained by a learner, which `CarriedState` tells where a
text begins. All are batch first: the loaders give inputs of shape (rows, steps).
"""

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import zoo
from zoo.datasets import local_dataset
from zoo.engine.init import identity_recurrent
from zoo.losses import CrossEntropyFlat
from zoo_text import CarriedState, Field, LanguageModelData

GOALS = {"rnn": 1.54, "gru": 1.36, "lstm": 1.25}  # nats
STAGES = ("three", "eight", "torch_rnn", "all_steps", "identity", *GOALS)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES, help="which to climb")
parser.add_argument("--chars", type=int, help="read only so many characters")
parser.add_argument("--cycles", type=int, default=4, help="of stateful models, each twice as long")
parser.add_argument("--hidden", type=int, default=512, help="features of the stateful models")


class ConcatModel(nn.Module):
    """Reads a few characters one after the other, each beside what is known of those before it."""

    def __init__(self, n_chars: int, n_fac: int = 42, n_hid: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_chars, n_fac)
        self.read = nn.Linear(n_fac + n_hid, n_hid)
        self.hidden = nn.Linear(n_hid, n_hid)
        self.out = nn.Linear(n_hid, n_chars)

    def forward(self, chars: Tensor) -> Tensor:
        known = torch.zeros(len(chars), self.hidden.in_features, device=chars.device)
        for step in range(chars.shape[1]):
            seen = self.read(torch.cat([known, self.embed(chars[:, step])], 1)).relu()
            known = self.hidden(seen).tanh()
        return self.out(known)


class CharRNN(nn.Module):
    """A recurrent network that predicts the character after the last one, or after every one."""

    def __init__(self, n_chars: int, n_fac: int = 42, n_hid: int = 256, *, every: bool = True) -> None:
        super().__init__()
        self.every = every
        self.embed = nn.Embedding(n_chars, n_fac)
        self.rnn = nn.RNN(n_fac, n_hid, batch_first=True)  # the loaders give rows first
        self.out = nn.Linear(n_hid, n_chars)

    def forward(self, chars: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(chars))
        return self.out(states if self.every else states[:, -1])


class StatefulRNN(nn.Module):
    """Goes on where the batch before ended. `CarriedState` calls `reset` where a pass over a text begins."""

    def __init__(self, kind: str, n_chars: int, n_fac: int, n_hid: int, layers: int, drop: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_chars, n_fac)
        cell = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.rnn = cell(n_fac, n_hid, layers, batch_first=True, dropout=drop if layers > 1 else 0.0)
        self.drop = nn.Dropout(drop)
        self.out = nn.Linear(n_hid, n_chars)
        self.carried: list[tuple[Tensor, ...]] | None = None

    def reset(self) -> None:
        self.carried = None

    def forward(self, chars: Tensor) -> Tensor:
        state = None if self.carried is None else self.carried[0]
        if state is not None and state[0].shape[1] != len(chars):  # what is left over of a text
            state = None
        if state is not None and not isinstance(self.rnn, nn.LSTM):
            state = state[0]
        states, after = self.rnn(self.embed(chars), state)
        after = after if isinstance(after, tuple) else (after,)
        self.carried = [tuple(part.detach() for part in after)]  # gradients end at the batch
        return self.out(self.drop(states))


class Ladder:
    """The text, and one method a kind of stage."""

    def __init__(self, text: str, args: argparse.Namespace) -> None:
        self.args, held = args, len(text) * 4 // 5
        self.parts = text[:held], text[held:]
        self.field = Field(tokenize="chars", lower=True)
        self.field.build_vocab([self.parts[0]])
        self.n_chars = len(self.field.vocab or ())
        self.ids = [torch.from_numpy(np.array(ids)).long() for ids in self.field.encode(list(self.parts))]

    def windows(self, width: int, *, every: bool) -> zoo.ModelData:
        """Windows of `width` characters and what comes next: after the last, or after every character."""
        loaders = []
        for number, ids in enumerate(self.ids):
            cut = ids.unfold(0, width + 1, width if every else 1)
            target = cut[:, 1:] if every else cut[:, -1]
            loaders.append(zoo.TensorLoader(cut[:, :-1], target, bs=512, shuffle=number == 0, seed=0))
        return zoo.ModelData(*loaders)

    def plain(self, model: nn.Module, data: zoo.ModelData, rates: tuple[float, ...]) -> float:
        """An epoch at each rate with the bare loop."""
        opt = torch.optim.Adam(model.parameters())
        for rate in rates:
            zoo.set_lrs(opt, [rate])
            rows = zoo.fit(model, data, 1, opt, CrossEntropyFlat())
        return rows[-1]["valid_loss"]

    def stateful(self, kind: str) -> float:
        """One text in columns, cosine cycles with restarts, a learner."""
        data = LanguageModelData.from_texts(
            self.field, [self.parts[0]], [self.parts[1]], bs=32, bptt=60, seed=0
        )
        torch.manual_seed(0)
        rate, layers, drop = {"rnn": (1e-3, 1, 0.2), "gru": (3e-3, 1, 0.4), "lstm": (4e-3, 2, 0.5)}[kind]
        model = StatefulRNN(kind, self.n_chars, 64, self.args.hidden, layers, drop)
        options = {"callbacks": [CarriedState()], "clip": 0.5, "seed": 0, "progress": False}
        learn = zoo.Learner(data, model, loss_fn=CrossEntropyFlat(), **options)
        learn.fit(rate, self.args.cycles, cycle_len=1, cycle_mult=2)
        return learn.evaluate()["valid_loss"]

    def climb(self, stage: str) -> Iterator[tuple[str, float]]:
        """What a stage tries, and the loss that it reaches."""
        if stage in GOALS:
            yield f"stateful {stage}", self.stateful(stage)
            return
        torch.manual_seed(0)
        down = (1e-3, 1e-3, 1e-4)
        if stage in ("three", "eight"):
            data = self.windows(3 if stage == "three" else 8, every=False)
            yield f"{stage} characters", self.plain(ConcatModel(self.n_chars), data, down)
        elif stage == "torch_rnn":
            data = self.windows(8, every=False)
            yield "eight characters, nn.RNN", self.plain(CharRNN(self.n_chars, every=False), data, down)
        elif stage == "all_steps":
            model, data = CharRNN(self.n_chars), self.windows(8, every=True)
            yield "a prediction after every character", self.plain(model, data, (1e-3,) * 4)
        else:
            for rate, start in itertools.product((1e-3, 1e-2), ("random", "identity")):
                torch.manual_seed(0)
                model = CharRNN(self.n_chars)
                if start == "identity":
                    identity_recurrent(model)
                loss = self.plain(model, self.windows(8, every=True), (rate,) * 4)
                yield f"{start} start, rate {rate:g}", loss


def main() -> None:
    args = parser.parse_args()
    file = next(Path(local_dataset(args.data, "nietzsche")).rglob("nietzsche.txt"))
    ladder = Ladder(file.read_text(encoding="utf8")[: args.chars], args)
    print(f"{sum(map(len, ladder.parts)):,} characters, {ladder.n_chars} different ones")
    for stage in args.stages:
        started = time.perf_counter()
        for name, loss in ladder.climb(stage):
            goal = f" (goal {GOALS[stage]})" if stage in GOALS else ""
            minutes = (time.perf_counter() - started) / 60
            print(f"{name}: {loss:.3f} nats{goal}, {minutes:.1f} minutes", flush=True)
            started = time.perf_counter()


if __name__ == "__main__":
    main()
