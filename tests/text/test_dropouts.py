"""Every dropout of an AWD-LSTM in its place, and what else regularises it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_text import Field, LanguageModelData
from zoo_text.model.awd_lstm import LockedDropout, RecurrentLayer
from zoo_text.model.language_model import LanguageModel

RATES = ("dropouti", "dropoute", "dropouth", "wdrop", "dropout")


def model(n_layers: int = 3, **rates: float) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(40, 12, 16, n_layers, **rates)


def ids() -> Tensor:
    return torch.randint(2, 40, (5, 9), generator=torch.Generator().manual_seed(1))


def passed(net: nn.Module, kind: type[nn.Module]) -> list[tuple[Tensor, Tensor]]:
    """What modules of a kind were given and gave, in order, in one training step."""
    seen: list[tuple[Tensor, Tensor]] = []
    hooks = [
        part.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
        for part in net.modules()
        if isinstance(part, kind)
    ]
    net.train()
    net(ids())
    for hook in hooks:
        hook.remove()
    return [(given.detach(), out.detach()) for given, out in seen]


@pytest.mark.parametrize(
    ("name", "places"),
    [("dropouti", [0]), ("dropouth", [1, 2]), ("dropout", [3]), ("wdrop", []), ("dropoute", [])],
)
def test_activations_are_dropped_in_their_places_the_same_at_every_step(name: str, places: list[int]) -> None:
    calls = passed(model(**{name: 0.5}), LockedDropout)
    assert len(calls) == 4  # of the input, twice between three layers, of the output
    masks = [out / given for given, out in calls]
    for number, mask in enumerate(masks):
        if number not in places:
            assert torch.equal(*calls[number])
            continue
        assert torch.equal(mask.round(), mask[:, :1].round().expand_as(mask))  # locked over the steps
        assert set(mask.round().unique().tolist()) == {0.0, 2.0}
        assert not torch.equal(mask[0].round(), mask[1].round())  # rows have their own
    if name == "dropouth":
        assert not torch.equal(masks[1].round(), masks[2].round())  # so have layers


def test_whole_words_are_dropped_wherever_they_stand() -> None:
    net = model(dropoute=0.4)
    net.train()
    words = torch.arange(2, 40).repeat(3, 2)
    vectors = net.encoder.embedding(words)
    gone = (vectors == 0).all(-1)
    assert torch.equal(gone, gone[:1].expand_as(gone))
    assert torch.equal(gone[0, :38], gone[0, 38:])
    assert 5 < gone[0, :38].sum() < 30
    kept = net.encoder.embedding.weight[2:][~gone[0, :38]]
    torch.testing.assert_close(vectors[0, :38][~gone[0, :38]], kept / 0.6)
    assert net.decoder(torch.ones(1, 12))[:, 2:].ne(0).all()  # the output weights are the same, and whole


@pytest.mark.parametrize("rnn", ["lstm", "gru", "rnn"])
def test_recurrent_weights_are_drawn_once_a_call(rnn: str) -> None:
    layer = RecurrentLayer(5, 7, wdrop=0.5, rnn=rnn)
    reference = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[rnn](5, 7, batch_first=True)
    x = torch.randn(3, 9, 5)
    torch.manual_seed(4)
    out, _ = layer(x, layer.initial_state(3))
    torch.manual_seed(4)
    dropped = F.dropout(layer.weight_hh, 0.5)
    with torch.no_grad():
        reference.weight_hh_l0.copy_(dropped)
        for name in ("weight_ih", "bias_ih", "bias_hh"):
            getattr(reference, f"{name}_l0").copy_(getattr(layer, name))
    torch.testing.assert_close(out, reference(x)[0])  # the same weights at all nine steps
    out.sum().backward()
    assert layer.weight_hh.grad is not None
    assert not layer.weight_hh.grad[dropped == 0].any()
    assert layer.weight_ih.grad is not None
    assert layer.weight_ih.grad.ne(0).all()  # those of the input are never dropped


@pytest.mark.parametrize("name", RATES)
def test_nothing_is_dropped_in_evaluation(name: str) -> None:
    plain, dropping = model(), model(**{name: 0.5})
    dropping.load_state_dict(plain.state_dict())
    plain.eval(), dropping.eval()
    for _ in range(2):
        for net in (plain, dropping):
            net.reset()
        assert torch.equal(plain(ids())[0], dropping(ids())[0])
    dropping.train()
    dropping.reset()
    assert not torch.equal(plain(ids())[0], dropping(ids())[0])


def test_tied_weights_are_one_and_stay_so() -> None:
    net = model()
    for one in (net, copy.deepcopy(net), copy.deepcopy(net).double()):
        assert one.decoder.weight is one.encoder.embedding.weight
    apart = model()
    apart.tie_weights = False
    apart.decoder.weight = nn.Parameter(net.decoder.weight.detach().clone())
    for one in (net, apart):
        F.cross_entropy(one(ids())[0], ids().reshape(-1)).backward()
    both = apart.decoder.weight.grad + apart.encoder.embedding.weight.grad  # type: ignore[operator]
    torch.testing.assert_close(net.decoder.weight.grad, both)


def test_activations_are_regularised_and_the_loss_that_is_told_is_plain() -> None:
    def learner(**options: Any) -> Any:
        data = LanguageModelData.from_texts(
            Field(tokenize="whitespace"), ["a b c d e f g h"] * 20, bs=2, bptt=8, min_freq=1, seed=0
        )
        sizes = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "device": "cpu", "progress": False, "seed": 0}
        return data.get_model(**sizes, **options)

    def losses(change: Any) -> list[float]:
        learn = learner(dropout=0.0, dropouti=0.0, dropoute=0.0, wdrop=0.0)
        change(learn)
        learn.fit(1e-12, 1)
        return learn.sched.losses

    assert losses(lambda learn: None) == pytest.approx(losses(lambda learn: setattr(learn, "reg_fn", None)))

    seen: list[tuple[Tensor, ...]] = []
    learn = learner(dropout=0.5)
    learn.reg_fn = lambda loss, extras: seen.append(extras) or loss
    learn.fit(1e-3, 1)
    raw, dropped = seen[0]
    mask = (dropped / raw).round()
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert set(mask.unique().tolist()) == {0.0, 2.0}
