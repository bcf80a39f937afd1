"""What evaluations of language models measure, and in how much memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from tests.core.processes import fresh
from zoo import metrics
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.data.running_text import LanguageModelLoader, evaluated_columns
from zoo_text.model.softmax import Deferred, FusedCrossEntropy

WORDS = [f"w{number}" for number in range(30)]


def walk(n: int, seed: int = 0) -> str:
    """Every word is followed by its neighbour or the one after that."""
    steps = np.random.default_rng(seed).integers(1, 3, n)
    return " ".join(WORDS[number] for number in np.cumsum(steps) % 30)


def learner(valid: int = 500, bs: int = 4, bptt: int = 20, **options: Any) -> Any:
    data = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), [walk(3000)], [walk(valid, 1)], [walk(valid + 7, 2)],
        bs=bs, bptt=bptt, min_freq=1, seed=0,
    )  # fmt: skip
    sizes = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "seed": 0, "device": "cpu", "progress": False}
    return data.get_model(**{**sizes, **options})


@pytest.mark.parametrize("n", [2, 3, 10, 61, 64, 65])
@pytest.mark.parametrize(("bs", "bptt"), [(1, 7), (3, 2), (5, 100), (9, 1)])
def test_every_word_is_a_target_once_after_the_word_before_it(n: int, bs: int, bptt: int) -> None:
    if n <= bs:
        with pytest.raises(ValueError, match=f"bs of at most {n // 2}"):
            LanguageModelLoader(np.arange(n), bs, bptt, whole=True)
        return
    loader = LanguageModelLoader(np.arange(n, dtype=np.int32), bs, bptt, whole=True)
    batches = list(loader)
    assert len(batches) == len(loader)
    pairs = sorted(pair for x, y in batches for pair in zip(x.reshape(-1).tolist(), y.tolist(), strict=True))
    assert pairs == [(word, word + 1) for word in range(n - 1)]
    assert loader.n_rows == n - 1
    assert {len(x) for x, _ in batches} <= {bs, 1}
    for start in range(len(batches)):
        loader.set_epoch(0, start)
        rest = list(loader)
        assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, batches[start:], strict=True))


def test_perplexity_is_a_figure_of_the_text() -> None:
    found = []
    for bs, bptt in ((1, 70), (4, 20), (64, 5), (300, 3)):
        learn = learner(bs=bs, bptt=bptt)
        found.append({**learn.evaluate(), "test": learn.evaluate(learn.data.test_dl)["perplexity"]})
    assert all(one == pytest.approx(found[0], rel=1e-5) for one in found[1:])
    ids = torch.tensor([learn.data.field.numericalize(walk(500, 1))])
    learn.model.eval()
    learn.model.reset()
    logits = learn.model(ids[:, :-1])[0]
    assert found[0]["valid_loss"] == pytest.approx(F.cross_entropy(logits, ids[0, 1:]).item(), rel=1e-5)
    assert found[0]["perplexity"] == pytest.approx(math.exp(found[0]["valid_loss"]), rel=1e-6)
    assert found[0]["accuracy"] == pytest.approx((logits.argmax(1) == ids[0, 1:]).float().mean().item())


def test_columns_of_an_evaluation_are_long_and_leave_few_words_over() -> None:
    for words in (1, 10, 1023, 2048, 5000, 65_536, 217_645, 10**7):
        columns = evaluated_columns(words)
        assert 1 <= columns <= 64
        assert columns == 1 or words // columns >= 1024
        assert words % columns <= 3


def half_right(preds: torch.Tensor, targets: torch.Tensor) -> float:
    return float((preds.argmax(-1) == targets).float().mean()) / 2


def test_loss_and_metrics_agree_whether_scores_are_there_or_computed_as_they_are_read(monkeypatch) -> None:
    monkeypatch.setattr("zoo_text.model.softmax._BLOCK_SCORES", 100)
    learn, seen = learner(), []
    learn.loss_fn.register_forward_pre_hook(lambda module, inputs: seen.append(type(inputs[0])))
    lazy = learn.evaluate(metrics=["accuracy", "error_rate", "perplexity"])
    assert set(seen) == {Deferred}
    seen.clear()
    full = learn.evaluate(metrics=["accuracy", "error_rate", "perplexity", half_right])
    assert set(seen) == {torch.Tensor}
    assert full.pop("half_right") == pytest.approx(lazy["accuracy"] / 2)
    assert full == pytest.approx(lazy, rel=1e-5)
    logs = torch.from_numpy(learn.predict())  # predictions are there at once for who asks for them
    assert logs.shape == (499, learn.data.nt)
    targets = torch.from_numpy(learn.predict_with_targs()[1])
    assert F.nll_loss(logs, targets).item() == pytest.approx(lazy["valid_loss"], rel=1e-5)
    assert isinstance(learn.model(targets[None, :5])[0], torch.Tensor)  # nothing is left switched on


def test_an_own_loss_gets_scores() -> None:
    plain, own = learner(), learner(loss_fn=F.cross_entropy)
    assert own.evaluate() == pytest.approx(plain.evaluate(), rel=1e-5)


def test_the_exact_loss_is_measured_whatever_is_sampled_in_training() -> None:
    hidden, weight, bias = torch.randn(40, 8), torch.randn(500, 8), torch.randn(500)
    target = torch.randint(0, 500, (40,))
    loss = FusedCrossEntropy(20, torch.ones(500))
    with torch.no_grad():
        found = loss(Deferred(hidden, weight, bias), target)
        torch.testing.assert_close(found, F.cross_entropy(hidden @ weight.t() + bias, target))
        target[::2] = -100
        found = loss(Deferred(hidden, weight, bias), target)
        torch.testing.assert_close(found, F.cross_entropy(hidden @ weight.t() + bias, target))
        right = metrics.accuracy(hidden @ weight.t() + bias, target)
    meter = metrics.named_meters([metrics.accuracy])["accuracy"]
    meter.update(Deferred(hidden, weight, bias), target)
    assert meter.compute() == pytest.approx(right.item())


def test_a_frozen_model_trains_its_words_when_they_are_the_output_weights() -> None:
    """F1: they were of the first group alone, so that a frozen model trained a bias."""
    learn = learner()
    learn.freeze()
    trained = [name for name, param in learn.model.named_parameters() if param.requires_grad]
    assert trained == ["encoder.embedding.weight", "decoder.bias"]
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    learn.fit(1e-2, 1)
    after = learn.model.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["encoder.embedding.weight", "decoder.weight", "decoder.bias"]
    learn.unfreeze()
    assert all(param.requires_grad for param in learn.model.parameters())
    apart = learner(tie_weights=False)
    apart.freeze()
    trained = [name for name, param in apart.model.named_parameters() if param.requires_grad]
    assert trained == ["decoder.weight", "decoder.bias"]


def test_answers_to_texts_of_unknown_words_only_are_told(caplog: pytest.LogCaptureFixture) -> None:
    texts = (["a good film", "a bad film"] * 4, ["pos", "neg"] * 4)
    data = TextData.from_texts(Field(tokenize="whitespace", rules=["start"]), texts)
    learn = data.get_model(emb_sz=4, n_hid=4, n_layers=1, device="cpu", progress=False)
    asked = pd.Series(["a dull film", "отличный фильм", "good", "\U0001f600"], index=[3, 5, 7, 9])
    learn.predict_batch(asked[[3, 7]])
    assert not caplog.records
    learn.predict_batch(asked)
    assert "input: the vocabulary knows no word of row 5 (position 1), 9 (position 3), whose" in caplog.text
    caplog.clear()
    learn.explain("отличный фильм")
    assert len(caplog.records) == 1


def test_texts_of_unknown_words_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """T26: a vocabulary of the few frequent words gives a perplexity that looks excellent."""
    rare = " ".join(f"rare{number} w1" for number in range(300))
    for min_freq, told in ((10, ["training", "validation"]), (1, ["validation"])):
        caplog.clear()
        LanguageModelData.from_texts(
            Field(tokenize="whitespace"), [walk(1000), rare], [rare.replace("rare", "odd")], [walk(50)],
            bs=4, min_freq=min_freq,
        )  # fmt: skip
        messages = [record.getMessage() for record in caplog.records]
        assert [message.split(" of the words of the ")[1].split()[0] for message in messages] == told
        assert messages[-1].startswith("50% of the words of the validation text are unknown")
        assert "a smaller min_freq" in messages[-1]


CHILD = """
import resource
import numpy as np
from zoo_text import Field, LanguageModelData, Vocab

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def used(n, n_ids, prompt):
    field = Field(tokenize="whitespace")
    field.vocab = Vocab(["<unk>", "<pad>", *(f"w{i}" for i in range(n))])
    ids = np.random.default_rng(0).integers(2, n, n_ids).astype(np.int32)
    data = LanguageModelData(field, ids[:4000], bs=32, bptt=60, seed=0)
    other = LanguageModelData(field, ids[:4000], ids, bs=32, bptt=60, seed=0)
    learn = data.get_model(emb_sz=16, n_hid=16, n_layers=1, device="cpu", progress=False)
    learn.fit(1e-3, 1)
    trained = peak()
    for what in ("validation", "training text", "generate"):
        if what == "generate":
            learn.generate(" ".join(f"w{i}" for i in range(prompt)), 2)
        else:
            learn.evaluate(data.train_dl if what == "training text" else other.valid_dl)
        yield what, peak() - trained

list(used(50, 6_000, 20))  # what is loaded when it is first asked for
for what, grown in used(60_000, 20_000, 5_000):
    print(what, grown)
"""


def test_evaluation_and_generation_need_no_more_memory_than_training(tmp_path: Path) -> None:
    """T21, T22: the scores of one batch over 60,000 words take 461 MB, a prompt's 1,200; blocks of them 17,
    of which an allocator may keep several."""
    ended = fresh(CHILD, tmp_path)
    assert ended.returncode == 0, ended.stderr
    grown = {line.rpartition(" ")[0]: float(line.split()[-1]) for line in ended.stdout.splitlines()}
    assert len(grown) == 3
    assert max(grown.values()) < 150, grown
