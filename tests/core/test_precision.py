"""bfloat16 and float16 on every kind of learner, and the scale of the float16 gradients."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests import AUTOMATIC
from tests.collab.test_learner import simulated
from tests.core.helpers import digits_data, digits_learner, same, weights
from tests.tabular.test_learner import table
from tests.vision.helpers import two_class_arrays
from zoo import Callback, Learner, ModelData, NonFiniteLossError, TensorLoader, get_cv_idxs
from zoo.callbacks import Autocast
from zoo.data.loaders import device as formats
from zoo.metrics import accuracy
from zoo.training import switches
from zoo.vision import ConvLearner, ImageClassifierData
from zoo_collab import CollabFilterDataset
from zoo_tabular import ColumnarModelData
from zoo_tabular.model.layers import FusedEmbedding
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.model.awd_lstm import RecurrentLayer
from zoo_text.model.softmax import Deferred, FusedCrossEntropy

SWITCHES = ["to_bf16", "to_fp16"]


def tabular(path: Path, **options) -> tuple[Learner, float, int]:
    data = ColumnarModelData.from_data_frame(
        path, range(1200, 1500), table(), "Sales", ["Store", "Kind"], 64, target_transform="log", seed=0
    )
    return data.get_learner(szs=[50, 20], drops=[0.0, 0.01], y_range=(3, 10), **options), 0.01, 5


def ratings(path: Path, **options) -> tuple[Learner, float, int]:
    frame = CollabFilterDataset.from_data_frame(path, simulated(), "who", "film", "stars")
    return frame.get_learner(5, get_cv_idxs(len(frame)), bs=32, y_range=(0, 6), **options), 0.02, 8


def language(path: Path, **options) -> tuple[Learner, float, int]:
    animals = ["cat", "dog", "cow", "fox"]
    texts = [f"the {a} {verb} the {b}" for a in animals for verb in ("sees", "likes") for b in animals] * 6
    field = Field(tokenize="whitespace")  # these tests run where spaCy is not installed, too
    data = LanguageModelData.from_texts(field, texts, texts[:40], bs=8, bptt=12, min_freq=1)
    return data.get_model(None, 24, 32, 2, **options), 0.02, 3


def reviews(path: Path, **options) -> tuple[Learner, float, int]:
    rng = np.random.default_rng(0)
    words = (["bad", "awful", "poor"], ["good", "great", "fine"])
    labels = [number % 2 for number in range(240)]
    texts = [" ".join([*rng.choice(list("abcdefg"), 5), *rng.choice(words[label], 3)]) for label in labels]
    names = [("neg", "pos")[label] for label in labels]
    field = Field(tokenize="whitespace")
    data = TextData.from_texts(
        field, (texts[:200], names[:200]), (texts[200:], names[200:]), bs=16, min_freq=1
    )
    return data.get_model(emb_sz=16, n_hid=16, n_layers=1, **options), 0.01, 3


def pictures(path: Path, **options) -> tuple[Learner, float, int]:
    x, y = two_class_arrays(60, 32)
    data = ImageClassifierData.from_arrays(path, (x[:40], y[:40]), (x[40:], y[40:]), bs=10)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    return ConvLearner.from_model_data(net, data, **options), 0.02, 4


@pytest.mark.parametrize("make", [tabular, ratings, language, reviews, pictures])
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_domain_trains_finds_rates_and_predicts(tmp_path, make: Callable, switch: str) -> None:
    def trained(name: str) -> Learner:
        torch.manual_seed(0)
        learn, lr, epochs = make(tmp_path, seed=0, device="cpu", progress=False)
        getattr(learn, name)()
        before = weights(learn.model)
        learn.lr_find(num_it=8)
        assert same(before, weights(learn.model))
        learn.fit_one_cycle(epochs, lr)
        return learn

    plain, short = trained("to_fp32"), trained(switch)
    assert all(param.dtype == torch.float32 for param in short.model.parameters())
    assert short.history[-1]["valid_loss"] == pytest.approx(plain.history[-1]["valid_loss"], abs=0.05)
    if make is not language:  # its scores are of every word
        answers = short.predict()
        assert answers.dtype == np.float32
        assert np.isfinite(answers).all()
    assert short.evaluate()["valid_loss"] == pytest.approx(short.history[-1]["valid_loss"], rel=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("make", [tabular, ratings, language, reviews, pictures])
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_domain_trains_on_a_gpu(tmp_path, make: Callable, switch: str) -> None:
    learn, lr, epochs = make(tmp_path, seed=0, device="cuda", progress=False)
    rows = getattr(learn, switch)().fit_one_cycle(epochs, lr)
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_close_to_float32_and_metrics_see_float32(switch: str) -> None:
    seen = []

    def kind(preds, targets):
        seen.append(preds.dtype)
        return 0.0

    learn = getattr(digits_learner(metrics=[accuracy, kind]), switch)()
    learn.fit_one_cycle(6, 0.02)
    assert learn.history[-1]["accuracy"] > 0.9
    assert set(seen) == {torch.float32}
    assert learn.predict().dtype == np.float32
    assert learn.to_fp32().evaluate()["valid_loss"] == pytest.approx(
        learn.history[-1]["valid_loss"], rel=1e-2
    )


def test_gradients_that_vanish_in_float16_train_with_the_scale() -> None:
    x = torch.full((8, 1), 1e-3)
    loader = TensorLoader(x, torch.zeros(8, 1), bs=8)

    def gradient(scaled: bool) -> float:
        net = nn.Linear(1, 1, bias=False)
        nn.init.constant_(net.weight, 1.0)
        seen = []

        class Look(Callback):
            def after_backward(self, state) -> None:
                seen.append(state.loss.item())

            def before_step(self, state) -> None:
                seen.append(net.weight.grad.item())

        learn = Learner(
            ModelData(loader), net, loss_fn=lambda p, y: p.mean() * 1e-4, device="cpu", progress=False
        )
        learn.to_fp16()
        if not scaled:
            learn._autocast.after_loss = lambda state: None  # type: ignore[union-attr, method-assign]
            learn._autocast.before_step = lambda state: None  # type: ignore[union-attr, method-assign]
        learn.fit(0.0, 1, callbacks=[Look()])
        assert seen[0] == pytest.approx(1e-7, rel=1e-2)  # the loss that others see is not scaled
        return seen[1]

    assert gradient(scaled=True) == pytest.approx(1e-7, rel=1e-2)
    assert gradient(scaled=False) != pytest.approx(1e-7, rel=0.1)


class Overflow(Callback):
    """Makes the gradients of chosen batches overflow, and counts what happens."""

    def __init__(self, batches: set[int]) -> None:
        self.batches, self.steps, self.ended = batches, [], 0

    def after_backward(self, state) -> None:
        if state.batches_before + state.batch_index in self.batches:
            next(state.model.parameters()).grad[0] = float("inf")

    def after_step(self, state) -> None:
        self.steps.append(state.batches_before + state.batch_index)

    def after_batch(self, state) -> None:
        self.ended += state.training


def test_an_overflow_skips_the_update_halves_the_scale_and_goes_on() -> None:
    learn = digits_learner(clip=1.0).to_fp16()
    watch = Overflow({3, 7})
    learn.fit(0.01, 1, callbacks=[watch])
    assert watch.steps == [n for n in range(19) if n not in (3, 7)]
    assert watch.ended == 19
    state = learn._autocast.state_dict()  # type: ignore[union-attr]
    assert (state["skipped"], state["scaler"]["scale"]) == (2, 2.0**14)
    assert all(torch.isfinite(value).all() for value in weights(learn.model).values())


def test_endless_overflow_is_told_once(caplog) -> None:
    learn = digits_learner().to_fp16()
    before = weights(learn.model)["head.weight"]
    caplog.clear()  # a CPU without float16 said so
    with caplog.at_level(logging.WARNING, "zoo"):
        learn.fit(0.01, 3, callbacks=[Overflow(set(range(60)))])
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "float16: 20 updates in a row were left out" in told[0]
    assert "to_bf16()" in told[0]
    assert torch.equal(before, learn.model.head.weight)  # type: ignore[union-attr]
    assert learn._autocast.state_dict()["scaler"]["scale"] == 2.0**-20  # type: ignore[union-attr]


def test_the_finder_and_predict_leave_no_trace_in_the_scale() -> None:
    learn = digits_learner().to_fp16()
    for _ in range(2):
        before = learn._autocast.state_dict()  # type: ignore[union-attr]
        learn.lr_find(num_it=15)
        learn.predict()
        assert learn._autocast.state_dict() == before  # type: ignore[union-attr]
        learn.fit(0.01, 1, callbacks=[Overflow({2})])
    assert learn._autocast.state_dict()["scaler"]["scale"] == 2.0**14  # type: ignore[union-attr]


def test_the_update_is_that_of_float32_gradients() -> None:
    """Unscaling comes before clipping: the clipped norm does not depend on the scale."""
    found = {}
    for scale in (1.0, 2.0**12):
        norms: list[float] = []

        class Norm(Callback):
            order = 99

            def before_step(self, state, norms=norms) -> None:
                norms.append(nn.utils.get_total_norm([p.grad for p in state.model.parameters()]).item())

        learn = digits_learner(clip=0.05).to_fp16()
        state = learn._autocast.state_dict()  # type: ignore[union-attr]
        state["scaler"] = {**torch.amp.GradScaler("cpu").state_dict(), "scale": scale}
        learn._autocast.load_state_dict(state)  # type: ignore[union-attr]
        learn.fit(0.01, 1, callbacks=[Norm()])
        found[scale] = norms
    assert max(found[1.0]) == pytest.approx(0.05, abs=1e-5)
    assert found[1.0] == pytest.approx(found[2.0**12], abs=1e-5)


class Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        if grad.dtype == torch.half:
            raise RuntimeError("\"floor_backward\" not implemented for 'Half'")
        return grad


def test_a_missing_operation_names_the_switch() -> None:
    class Net(nn.Linear):
        def forward(self, x):
            return Floor.apply(super().forward(x))

    data = digits_data()
    learn = Learner(data, Net(64, 10), device="cpu", progress=False).to_fp16()
    with pytest.raises(RuntimeError, match="not implemented") as caught:
        learn.fit(0.01, 1)
    assert any("learn.to_fp16(): use to_bf16() or to_fp32()" in note for note in caught.value.__notes__)
    learn.to_bf16().fit(0.01, 1)


def test_what_cannot_be_is_said() -> None:
    learn = Learner(digits_data(), nn.Linear(64, 10), opt_fn=torch.optim.LBFGS, device="cpu", progress=False)
    with pytest.raises(ValueError, match="LBFGS evaluates the loss itself"):
        learn.to_fp16().fit(0.1, 1)
    with pytest.raises(ValueError, match=r"torch\.bfloat16 or torch\.float16"):
        Autocast(torch.float64)
    learn = digits_learner().to_fp16()
    learn.model.head.weight.data.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(NonFiniteLossError):
        learn.fit(0.01, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_own_kernels_give_the_gradients_of_float32(dtype: torch.dtype, tolerance: float) -> None:
    def gradients(short: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        embed, layer = FusedEmbedding([(50, 8), (9, 4)]), nn.Linear(12, 16)
        words = nn.Linear(16, 3000)
        codes = torch.stack([torch.randint(50, (400,)), torch.randint(9, (400,))], 1)
        target = torch.cat([torch.full((300,), 7), torch.randint(3000, (100,))])
        with torch.autocast("cpu", dtype=dtype, enabled=short):
            hidden = layer(embed(codes))
            loss = FusedCrossEntropy()(Deferred(hidden, words.weight, words.bias), target)
        leaves = [embed.weight, layer.weight, words.weight, words.bias]
        scale = 2.0**16 if short else 1.0
        return [grad / scale for grad in torch.autograd.grad(loss * scale, leaves)]

    for exact, ours in zip(gradients(False), gradients(True), strict=True):
        assert (ours - exact).norm() < tolerance * exact.norm()


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("kind", [dict, list])
def test_losses_see_float32_also_inside_dicts_and_lists(switch: str, kind: type) -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x):
            out = self.layer(x)
            return {"deep": [out]} if kind is dict else [out, {"x": out}]

    seen: set[torch.dtype] = set()

    def loss(preds, target):
        found = preds["deep"][0] if kind is dict else preds[1]["x"]
        seen.add(found.dtype)
        return ((found - target) ** 2).mean()

    x = torch.randn(20, 3)
    loader = TensorLoader(x, x.sum(1, keepdim=True), bs=10)
    learn = Learner(ModelData(loader, loader), Nested(), loss_fn=loss, device="cpu", progress=False)
    getattr(learn, switch)().fit(0.1, 1)
    assert seen == {torch.float32}


def test_numbers_too_large_for_float16_are_told_to_be_that() -> None:
    x = torch.full((20, 3), 1e5)
    loader = TensorLoader(x, torch.zeros(20, 1), bs=10)
    learn = Learner(ModelData(loader), nn.Linear(3, 1), loss_fn=nn.MSELoss(), device="cpu", progress=False)
    with pytest.raises(NonFiniteLossError) as caught:
        learn.to_fp16().fit(0.1, 1)
    assert any("65,504" in note and "to_bf16()" in note for note in caught.value.__notes__)
    learn.to_bf16().fit(0.0, 1)


# -- which formats a device computes in


@pytest.fixture(params=[True, False], ids=["computes in bfloat16", "does not"])
def capable(request, monkeypatch) -> bool:
    """A CPU that computes in bfloat16 and one that does not, whatever this one does."""
    real = formats._has_kernels

    def mocked(device: torch.device, dtype: torch.dtype, kind: str) -> bool:
        if (device.type, dtype, kind) == ("cpu", torch.bfloat16, "dense"):
            return request.param
        return real(device, dtype, kind)

    monkeypatch.setattr(formats, "_has_kernels", mocked)
    monkeypatch.setattr(switches, "automatic_dtype", AUTOMATIC)
    return request.param


class Formats(Callback):
    """The formats in which training and validation batches were computed."""

    def __init__(self, layer: nn.Module) -> None:
        self.training: set[torch.dtype] = set()
        self.answers: set[torch.dtype] = set()
        layer.register_forward_hook(self.look)

    def look(self, layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        (self.training if layer.training else self.answers).add(output.dtype)


def test_the_default_trains_in_what_the_device_computes_in_and_answers_in_float32(capable: bool) -> None:
    learn = digits_learner()
    assert learn.precision == "auto"
    seen = Formats(learn.model.head)  # type: ignore[union-attr, arg-type]
    learn.lr_find(num_it=5)
    assert seen.training == {torch.bfloat16 if capable else torch.float32}
    rows = learn.fit_one_cycle(4, 0.02)
    assert seen.training == {torch.bfloat16 if capable else torch.float32}
    learn.predict()
    assert learn.evaluate()["valid_loss"] == rows[-1]["valid_loss"]
    assert learn.to_fp32().evaluate()["valid_loss"] == rows[-1]["valid_loss"]
    assert seen.answers == {torch.float32}


def test_a_precision_that_is_asked_for_holds_everywhere(capable: bool) -> None:
    for precision, dtype in {"bf16": torch.bfloat16, "fp32": torch.float32}.items():
        learn = digits_learner(precision=precision)
        seen = Formats(learn.model.head)  # type: ignore[union-attr, arg-type]
        learn.fit(0.01, 1)
        learn.predict()
        assert seen.training == seen.answers == {dtype}
    with pytest.raises(ValueError, match=r"precision='fp23' is not known \(did you mean 'fp32'\?\)"):
        digits_learner(precision="fp23")


def test_a_format_that_the_device_does_not_compute_in_says_what_it_costs(capable: bool, caplog) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        digits_learner(), digits_learner().to_fp32(), digits_learner().to_bf16()
    told = [record.getMessage() for record in caplog.records]
    if capable:
        assert told == []
    else:
        assert len(told) == 1
        assert re.fullmatch(
            r"to_bf16\(\): this CPU does not compute in bfloat16; a product of matrices takes about \d+ "
            r"times as long as in float32: use to_fp32\(\), or precision='auto'",
            told[0],
        )


@pytest.mark.parametrize("make", [tabular, ratings, language, reviews, pictures])
def test_every_domain_trains_by_default(tmp_path, make: Callable, capable: bool) -> None:
    def trained(precision: str) -> Learner:
        torch.manual_seed(0)
        learn, lr, epochs = make(tmp_path, seed=0, device="cpu", progress=False, precision=precision)
        learn.fit_one_cycle(epochs, lr)
        return learn

    plain, automatic = trained("fp32"), trained("auto")
    if not capable:
        assert same(weights(plain.model), weights(automatic.model))
    assert automatic.history[-1]["valid_loss"] == pytest.approx(plain.history[-1]["valid_loss"], abs=0.05)


def test_one_row_is_answered_in_the_format_of_predictions(tmp_path, capable: bool) -> None:
    learn, lr, _ = tabular(tmp_path, seed=0, device="cpu", progress=False)
    learn.fit_one_cycle(1, lr)
    seen = Formats(learn.model.hidden[0])
    row = {"Store": 3, "Kind": "a", "Distance": 1.0, "Promo": 1}
    row = {name: row.get(name, 0.0) for name in learn.data.processor.feature_names_in_}
    learn.predict_one(row)
    assert seen.answers == {torch.float32}
    learn.to_bf16().predict_one(row)
    assert seen.answers == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_of_torch_train_where_their_kernels_are_missing(
    monkeypatch, switch: str, kind: str
) -> None:
    """They run in float32 then; what comes before and after them does not."""
    real = formats._has_kernels
    monkeypatch.setattr(formats, "_has_kernels", lambda *asked: asked[2] != "recurrent" and real(*asked))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 10)
            self.recurrent = getattr(nn, kind)(6, 6, batch_first=True)

        def forward(self, x):
            return self.last(self.recurrent(self.first(x.view(-1, 8, 8)))[0][:, -1])

    torch.manual_seed(0)
    learn = Learner(digits_data(), Net(), device="cpu", progress=False)
    seen: dict[str, torch.dtype] = {}
    for name in ("first", "recurrent", "last"):
        getattr(learn.model, name).register_forward_hook(
            lambda layer, inputs, output, name=name: seen.update(
                {name: (output[0] if isinstance(output, tuple) else output).dtype}
            )
        )
    rows = getattr(learn, switch)().fit_one_cycle(3, 0.02)
    short = torch.bfloat16 if switch == "to_bf16" else torch.float16
    assert seen == {"first": short, "recurrent": torch.float32, "last": short}
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]


def test_own_recurrent_layers_run_under_any_autocast() -> None:
    """Also where no learner is about: the format is float32 where the device has no kernel for it."""
    for dtype in (torch.bfloat16, torch.float16):
        for rnn in ("lstm", "gru", "rnn"):
            layer = RecurrentLayer(4, 3, rnn=rnn)
            with torch.autocast("cpu", dtype=dtype):
                out, _ = layer(torch.randn(2, 5, 4), layer.initial_state(2))
            out.float().sum().backward()
            assert torch.isfinite(layer.weight_hh.grad).all()  # type: ignore[arg-type]


def test_a_device_is_asked_or_tried() -> None:
    assert formats.computes_in("cpu", torch.float32, recurrent=True)
    asked = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert formats.computes_in("cpu", torch.bfloat16) == asked
    assert formats.computes_in("cpu", torch.bfloat16, recurrent=True) <= asked
    assert not formats._has_kernels(torch.device("meta"), torch.bfloat16, "dense")
