"""Language models: batches, carried state, regularisation, losses, training, generation, files."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from tests.core.processes import fresh
from zoo import Callback, load_learner
from zoo.engine.init import identity_gates_
from zoo_text import Field, LanguageModelData
from zoo_text.data.running_text import LanguageModelLoader
from zoo_text.model.awd_lstm import (
    AWDLSTM,
    LockedDropout,
    RecurrentLayer,
    WordEmbedding,
)
from zoo_text.model.language_model import LanguageModel, seq2seq_reg
from zoo_text.model.softmax import Deferred, FusedCrossEntropy, _blocks


def columns_of(loader: LanguageModelLoader) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = [], []
    for x, y in loader:
        assert y.shape == (x.numel(),)
        inputs.append(x)
        targets.append(y.reshape(x.shape))
    return torch.cat(inputs, 1), torch.cat(targets, 1)


def test_golden_batches() -> None:
    loader = LanguageModelLoader(np.arange(26, dtype=np.int32), bs=4, bptt=3)
    assert [(x.tolist(), y.tolist()) for x, y in loader] == [
        (
            [[0, 1, 2], [6, 7, 8], [12, 13, 14], [18, 19, 20]],
            [1, 2, 3, 7, 8, 9, 13, 14, 15, 19, 20, 21],
        ),
        ([[3, 4], [9, 10], [15, 16], [21, 22]], [4, 5, 10, 11, 16, 17, 22, 23]),
    ]


def test_columns_are_the_text_itself_shifted_by_one_whatever_the_lengths() -> None:
    ids = np.random.default_rng(0).integers(0, 1000, 20_003).astype(np.int32)
    loader = LanguageModelLoader(ids, bs=8, bptt=70, random_length=True, seed=3)
    whole = torch.from_numpy(ids[:20_000].reshape(8, 2500)).long()
    for epoch in range(3):
        loader.set_epoch(epoch)
        x, y = columns_of(loader)
        assert torch.equal(x, whole[:, :-1])
        assert torch.equal(y, whole[:, 1:])


def test_lengths_are_random_by_epoch_and_seed_and_about_bptt() -> None:
    loader = LanguageModelLoader(np.zeros(4_000_000, np.int32), bs=4, bptt=70, random_length=True, seed=3)
    first = list(loader.lengths)
    loader.set_epoch(1)
    assert loader.lengths != first
    loader.set_epoch(0)
    assert loader.lengths == first
    inner = np.array(first[:-1])
    short = inner < 52
    assert 0.04 < short.mean() < 0.06
    assert abs(inner[~short].mean() - 70) < 0.2
    assert abs(inner[short].mean() - 35) < 1
    assert 4.5 < inner[~short].std() < 5.5
    assert inner.max() <= 95


def test_an_epoch_can_start_in_its_middle() -> None:
    loader = LanguageModelLoader(np.arange(5000), bs=4, bptt=20, random_length=True, seed=1)
    whole = [x for x, _ in loader]
    loader.set_epoch(0, start_batch=7)
    rest = [x for x, _ in loader]
    assert len(rest) == len(whole) - 7
    assert all(torch.equal(a, b) for a, b in zip(whole[7:], rest, strict=True))


def test_texts_that_are_too_short_say_so() -> None:
    with pytest.raises(ValueError, match="use bs of at most 5, or more text"):
        LanguageModelLoader(np.arange(10), bs=8)
    with pytest.raises(ValueError, match="no tokens"):
        LanguageModelData.from_texts(Field(), [""])
    with pytest.raises(TypeError, match="from_text_files"):
        LanguageModelData.from_texts(Field(), "one string")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text 1 is None"):
        LanguageModelData.from_texts(Field(), ["a", None])  # type: ignore[list-item]


def test_from_files_folders_and_frames_agree(tmp_path) -> None:
    texts = ["One fine day.", "Two fine days."] * 20
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / part / f"{number:03}.txt").write_text(text)
    frame = pd.DataFrame({"text": texts})
    options = {"bs": 4, "bptt": 5, "min_freq": 1}
    many = [
        LanguageModelData.from_text_files(tmp_path, Field(), "train", "valid", **options),
        LanguageModelData.from_folder(tmp_path, Field(), **options),
        LanguageModelData.from_df(tmp_path, Field(), "text", frame, frame, **options),
        LanguageModelData.from_texts(Field(), texts, texts, **options),
    ]
    for data in many:
        assert data.field.vocab.itos == many[0].field.vocab.itos
        assert data.nt == 8
        assert torch.equal(data.train_dl.columns, many[0].train_dl.columns)
    with pytest.raises(FileNotFoundError, match="did you mean 'train'"):
        LanguageModelData.from_text_files(tmp_path, Field(), "trian")
    with pytest.raises(ValueError, match="did you mean 'text'"):
        LanguageModelData.from_df(tmp_path, Field(), "txt", frame)


@pytest.mark.parametrize("rnn", ["lstm", "gru", "rnn"])
def test_recurrent_layer_is_torchs_and_chunks_make_no_difference(rnn: str) -> None:
    layer = RecurrentLayer(5, 7, rnn=rnn)
    reference = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[rnn](5, 7, batch_first=True)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(reference, f"{name}_l0").copy_(getattr(layer, name))
    x = torch.randn(3, 9, 5)
    out, state = layer(x, layer.initial_state(3))
    torch.testing.assert_close(out, reference(x)[0])
    first, between = layer(x[:, :4], layer.initial_state(3))
    second, after = layer(x[:, 4:], between)
    torch.testing.assert_close(torch.cat([first, second], 1), out)
    torch.testing.assert_close(after, state)


def test_dropped_recurrent_weights_change_training_only_and_get_gradients() -> None:
    layer = RecurrentLayer(4, 6, wdrop=0.5)
    x, state = torch.randn(2, 5, 4), layer.initial_state(2)
    layer.train()
    assert not torch.equal(layer(x, state)[0], layer(x, state)[0])
    layer(x, state)[0].sum().backward()
    assert layer.weight_hh.grad is not None
    assert layer.weight_hh.grad.abs().sum() > 0
    layer.eval()
    assert torch.equal(layer(x, state)[0], layer(x, state)[0])
    assert [name for name, _ in layer.named_parameters()] == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


def test_locked_dropout_keeps_its_mask_over_the_steps() -> None:
    out = LockedDropout(0.5)(torch.ones(3, 8, 10))
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(out[0], out[1])


def test_embedding_dropout_takes_whole_words() -> None:
    embedding = WordEmbedding(50, 4, p=0.5)
    out = embedding(torch.arange(2, 50).repeat(2, 1))
    assert torch.equal(out[0], out[1])
    dropped = (out[0] == 0).all(-1)
    assert 5 < dropped.sum() < 43
    kept = embedding.weight[2:][~dropped]
    torch.testing.assert_close(out[0][~dropped], kept * 2)


def test_state_is_carried_cut_and_forgotten() -> None:
    model = LanguageModel(30, 6, 8, 2).eval()
    ids = torch.randint(2, 30, (4, 12))
    whole = model(ids)[0].reshape(4, 12, -1)
    model.reset()
    parts = [model(ids[:, :5])[0].reshape(4, 5, -1), model(ids[:, 5:])[0].reshape(4, 7, -1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert all(not part.requires_grad for own in model._state for part in own)
    carried = model(ids)[0]
    model.reset()
    torch.testing.assert_close(model(ids)[0].reshape(4, 12, -1), whole)
    assert not torch.allclose(carried.reshape(4, 12, -1), whole)


def test_tied_weights_and_sizes() -> None:
    model = LanguageModel(30, 6, 8, 3)
    assert model.decoder.weight is model.encoder.embedding.weight
    assert [(layer.n_in, layer.n_out) for layer in model.encoder.layers] == [(6, 8), (8, 8), (8, 6)]
    assert LanguageModel(30, 6, 8, tie_weights=False).decoder.weight is not model.encoder.embedding.weight
    assert list(model.layer_groups()) == ["embedding", "rnn 1", "rnn 2", "rnn 3", "decoder"]


def test_identity_start_and_wrong_options() -> None:
    assert identity_gates_(torch.randn(6, 2)).tolist() == [[1, 0], [0, 1]] * 3
    encoder = AWDLSTM(9, 4, 5, 1, rnn="rnn", identity_init=True)
    assert torch.equal(encoder.layers[0].weight_hh, torch.eye(4))
    with pytest.raises(ValueError, match="did you mean 'lstm'"):
        AWDLSTM(9, 4, 5, 1, rnn="lstn")
    with pytest.raises(ValueError, match="wdrop x drop_mult"):
        AWDLSTM(9, 4, 5, 1, wdrop=0.5, drop_mult=2)


def test_one_multiplier_scales_all_dropouts() -> None:
    rates = {"dropouti": 0.1, "dropout": 0.2, "wdrop": 0.3, "dropoute": 0.4, "dropouth": 0.5}
    model = LanguageModel(9, 4, 5, 2, **rates, drop_mult=0.5)
    encoder = model.encoder
    found = [
        encoder.input_dropout.p, model.output_dropout.p, encoder.layers[0].wdrop, encoder.embedding.p,
        encoder.hidden_dropout.p,
    ]  # fmt: skip
    assert found == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


def test_fused_loss_is_cross_entropy_with_its_gradients(monkeypatch) -> None:
    monkeypatch.setattr("zoo_text.model.softmax._BLOCK_SCORES", 200)
    parts = [torch.randn(50, 8), torch.randn(30, 8), torch.randn(30)]
    target = torch.randint(0, 30, (50,))
    ours = [part.clone().requires_grad_() for part in parts]
    theirs = [part.clone().requires_grad_() for part in parts]
    loss = FusedCrossEntropy()(Deferred(*ours), target)
    reference = F.cross_entropy(theirs[0] @ theirs[1].t() + theirs[2], target)
    torch.testing.assert_close(loss, reference)
    (3 * loss).backward()
    (3 * reference).backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_sampled_loss_is_close_to_the_full_one_on_average() -> None:
    share = 1 / torch.arange(1, 2001.0)
    target = torch.multinomial(share, 400, replacement=True)
    hidden, weight, bias = torch.randn(400, 16), torch.randn(2000, 16) / 4, torch.zeros(2000)
    full = FusedCrossEntropy()(Deferred(hidden, weight, bias), target)
    loss = FusedCrossEntropy(300, share * 1e6)
    sampled = torch.stack([loss(Deferred(hidden, weight, bias), target) for _ in range(30)])
    assert abs(sampled.mean() - full) < 0.05 * full


def test_words_that_fill_up_a_sample_change_nothing() -> None:
    share = 1 / torch.arange(1, 2001.0)
    parts = [torch.randn(90, 16), torch.randn(2000, 16) / 4, torch.randn(2000)]
    target = torch.multinomial(share, 90, replacement=True)
    loss = FusedCrossEntropy(300, share * 1e6)
    torch.manual_seed(3)
    words, places, correction = loss._choose(target, torch.ones(90, dtype=torch.bool), 2000)
    real = torch.isfinite(correction)
    assert len(words) % 128 == 0
    assert 0 < int((~real).sum()) < 128
    assert set(target.tolist()) <= set(words[real].tolist())
    assert words[places].equal(target)

    ours = [part.clone().requires_grad_() for part in parts]
    theirs = [part.clone().requires_grad_() for part in parts]
    torch.manual_seed(3)
    found = loss(Deferred(*ours), target)
    hidden, weight, bias = theirs
    scores = hidden @ weight[words[real]].t() + bias[words[real]] - correction[real]
    rows = torch.arange(90)
    right = torch.zeros_like(scores)
    right[rows, places] = correction[places]  # the right word is there for certain
    expected = F.cross_entropy(scores + right, places)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("sampled", [None, 60])
def test_targets_that_do_not_count_change_nothing_in_training(sampled: int | None) -> None:
    parts = [torch.randn(50, 8), torch.randn(300, 8), torch.randn(300)]
    target = torch.randint(0, 300, (50,))
    counted = torch.arange(50) % 5 > 0
    loss = FusedCrossEntropy(sampled, None if sampled is None else torch.ones(300))
    found = []
    for hidden, labels in (
        (parts[0], target.where(counted, -100)),
        (parts[0][counted], target[counted]),
    ):
        given = [part.clone().requires_grad_() for part in (hidden, *parts[1:])]
        torch.manual_seed(0)
        value = loss(Deferred(*given), labels)
        value.backward()
        found.append((value.detach(), given[1].grad, given[2].grad, given[0].grad))
    (with_them, *slopes, rows), (without, *others, kept) = found
    torch.testing.assert_close(with_them, without)
    torch.testing.assert_close(slopes, others)
    torch.testing.assert_close(rows[counted], kept)
    assert not rows[~counted].any()
    with torch.no_grad():
        evaluated = loss(Deferred(*parts), target.where(counted, -100))
    if sampled is None:
        torch.testing.assert_close(with_them, evaluated)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fused_loss_of_other_number_formats(dtype: torch.dtype) -> None:
    parts = [torch.randn(50, 8), torch.randn(30, 8), torch.randn(30)]
    target = torch.randint(0, 30, (50,))
    ours = [part.to(dtype).requires_grad_() for part in parts]
    theirs = [part.to(dtype).requires_grad_() for part in parts]
    loss = FusedCrossEntropy()(Deferred(*ours), target)
    reference = F.cross_entropy(F.linear(*theirs), target)
    loss.backward()
    reference.backward()
    bound = 1e-12 if dtype == torch.float64 else 2e-2
    torch.testing.assert_close(loss.double(), reference.double(), rtol=bound, atol=bound)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == dtype
        torch.testing.assert_close(mine.grad, other.grad, rtol=bound, atol=bound)


@pytest.mark.parametrize("sampled", [0, 2.5, True, float("nan"), "x"])
def test_a_number_of_sampled_words_is_whole(sampled) -> None:
    with pytest.raises(ValueError, match="sampled must be a whole number of at least 1"):
        FusedCrossEntropy(sampled, torch.ones(9))


def test_targets_and_counts_that_do_not_fit_the_words_are_named() -> None:
    scores = Deferred(torch.randn(5, 4), torch.randn(9, 4), torch.zeros(9))
    with pytest.raises(ValueError, match="counts are of 20 words, the output layer has 9"):
        FusedCrossEntropy(3, torch.ones(20))(scores, torch.zeros(5, dtype=torch.long))
    with pytest.raises(TypeError, match=r"word numbers as targets, got torch.float32"):
        FusedCrossEntropy()(scores, torch.zeros(5))
    with pytest.raises(ValueError, match=r"5 rows of scores, but targets of shape \(4,\)"):
        FusedCrossEntropy()(scores, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("most", [1, 7, 209, 1129, 10_000])
def test_blocks_of_scores_have_few_lengths(most) -> None:
    lengths = set()
    for steps in range(30, 100):
        for few in (False, True):
            blocks = list(_blocks(64 * steps, most, few))
            assert [row for block in blocks for row in range(64 * steps)[block]] == list(range(64 * steps))
        lengths |= {block.stop - block.start for block in blocks}
    assert max(lengths) <= most
    assert len(lengths) <= 8
    assert len(list(_blocks(100, 10_000))) == 1


def test_regularisation_formula() -> None:
    raw, dropped = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    expected = 1 + 2 * dropped.pow(2).mean() + (raw[:, 1:] - raw[:, :-1]).pow(2).mean()
    torch.testing.assert_close(seq2seq_reg(torch.tensor(1.0), (raw, dropped)), expected)


@pytest.fixture(scope="module")
def nietzsche(data_dir) -> str:
    return next(data_dir("nietzsche").rglob("nietzsche.txt")).read_text(encoding="utf-8")[:40_000]


@pytest.fixture
def characters(nietzsche: str, tmp_path) -> LanguageModelData:
    options = {"bs": 32, "bptt": 20, "min_freq": 1, "seed": 0, "path": tmp_path}
    return LanguageModelData.from_texts(
        Field(tokenize=list), [nietzsche[:36_000]], [nietzsche[36_000:]], **options
    )


def test_perplexity_falls_on_characters_and_the_file_continues_texts(characters, tmp_path) -> None:
    learn = characters.get_model(None, 24, 64, 1, dropouti=0, dropout=0, seed=0, device="cpu", progress=False)
    learn.clip = 0.3
    before = learn.evaluate()
    assert before["perplexity"] == pytest.approx(characters.nt, rel=0.25)
    rows = learn.fit_one_cycle(4, 2e-2)
    assert rows[-1]["perplexity"] < 11
    assert rows[-1]["accuracy"] > 0.3
    assert rows[-1]["valid_loss"] == pytest.approx(math.log(rows[-1]["perplexity"]), rel=1e-4)
    text = learn.generate("the ", 40, temperature=0.5, seed=1)
    assert text.startswith("the ")
    assert len(text) == 44
    assert text == learn.generate("the ", 40, temperature=0.5, seed=1)
    learn.export(tmp_path / "lm.zip")
    code = (
        "import sys; from zoo import Callback, load_learner\n"
        "print(load_learner(sys.argv[1], device='cpu').generate('the ', 40, temperature=0.5, seed=1), end='')"
    )
    again = fresh(code, tmp_path, str(tmp_path / "lm.zip"))
    assert (again.returncode, again.stdout) == (0, text), again.stderr


def test_every_pass_starts_with_a_fresh_state(characters) -> None:
    learn = characters.get_model(None, 8, 8, 1, seed=0, device="cpu", progress=False)
    first, second = learn.evaluate(), learn.evaluate()
    assert first == second
    learn.model(torch.randint(2, 9, (32, 5)))
    carried = learn.model.carried
    assert carried is not None
    assert learn.evaluate() == first
    assert learn.model.carried is carried  # an evaluation leaves the model as it was
    learn.fit(1e-3, 1)
    assert learn.model.carried is None


def test_finder_leaves_no_trace_and_regularisation_can_change(characters) -> None:
    def weights(find: bool, regularise: bool = True) -> torch.Tensor:
        learn = characters.get_model(None, 8, 8, 1, seed=0, device="cpu", progress=False)
        torch.manual_seed(5)
        for param in learn.model.parameters():
            torch.nn.init.normal_(param, std=0.1)
        if not regularise:
            learn.reg_fn = None
        if find:
            learn.lr_find(num_it=10)
        learn.fit(1e-2, 1)
        return learn.model.encoder.layers[0].weight_hh.detach().clone()

    plain = weights(find=False)
    assert torch.equal(weights(find=True), plain)
    assert not torch.equal(weights(find=False, regularise=False), plain)


def test_generation_options() -> None:
    data = LanguageModelData.from_texts(Field(), ["a b c d e f g h"] * 20, bs=2, bptt=4, min_freq=1, seed=0)
    learn = data.get_model(None, 16, 16, 1, device="cpu", progress=False, seed=0)
    learn.reg_fn = None
    learn.fit(2e-2, 12)
    assert learn.generate("a b", 4, temperature=0) == "a b c d e f"
    assert learn.generate("a b", 4, top_k=1) == "a b c d e f"
    assert learn.generate("a b", 0) == "a b"
    with pytest.raises(ValueError, match="top_p"):
        learn.generate("a", top_p=2)
    with pytest.raises(ValueError, match="prompt"):
        learn.generate("")
    with pytest.raises(TypeError, match=r"learn\.generate"):
        learn.predict_one("a")


def test_loaded_model_has_the_vocabulary_but_no_rows(tmp_path) -> None:
    data = LanguageModelData.from_texts(Field(), ["a b c d"] * 9, bs=2, bptt=4, min_freq=1)
    data.get_model(None, 4, 4, 1, device="cpu").export(tmp_path / "lm")
    loaded = load_learner(tmp_path / "lm", device="cpu")
    assert loaded.data.field.vocab.itos == data.field.vocab.itos
    with pytest.raises(ValueError, match="no training data"):
        loaded.fit(1e-3, 1)


@pytest.mark.gpu
def test_language_model_trains_on_a_gpu(characters) -> None:
    learn = characters.get_model(None, 24, 64, 2, sampled=20, device="cuda", progress=False)
    rows = learn.to_bf16().fit_one_cycle(3, 2e-2)
    assert rows[-1]["perplexity"] < 15


def test_an_evaluation_inside_an_epoch_leaves_the_carried_state(characters) -> None:
    class Look(Callback):
        def after_batch(self, state) -> None:
            if state.training and state.batch_index == 2:
                state.learner.evaluate()

    losses = []
    for callbacks in ([], [Look()]):
        learn = characters.get_model(None, 8, 8, 1, seed=0, device="cpu", progress=False)
        torch.manual_seed(0)
        for param in learn.model.parameters():
            torch.nn.init.uniform_(param, -0.1, 0.1)
        learn.fit(1e-2, 1, callbacks=callbacks)
        losses.append(learn.sched.losses)
    assert losses[0] == losses[1]


def test_the_schedule_counts_the_batches_of_the_learners_own_seed() -> None:
    for seed in range(4):
        data = LanguageModelData.from_texts(
            Field(), ["a b c d e f g h"] * 200, bs=2, bptt=20, min_freq=1, seed=9
        )
        learn = data.get_model(None, 4, 4, 1, device="cpu", progress=False, seed=seed)
        learn.fit(1.0, 1, cycle_len=1)
        n = len(learn.sched.lrs)
        assert learn.sched.lrs[-1] == pytest.approx((1 + math.cos(math.pi * (n - 1) / n)) / 2)
