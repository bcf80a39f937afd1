"""Recurrent networks as graphs of any length, and texts that go on from an ONNX file alone."""

import json
from string import ascii_lowercase

import numpy as np
import pytest
import torch
from torch import nn

from tests.core.exported import both_files, by_onnx, session_of
from zoo import Learner
from zoo.storage.exporting.graph import graph_of
from zoo.storage.exporting.onnx_file import write_onnx
from zoo.storage.exporting.program_file import load_program, traced
from zoo.storage.exporting.recurrent import scanned
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.language_model import LanguageModel

PAIR = (["a good film it is", "bad film", "good good", "not a good film"] * 6, ["p", "n", "p", "n"] * 6)


def continued(path, words, never, n):
    """The likeliest words after some, by an ONNX file: one after the other, with the state handed on."""
    session = session_of(path)
    inputs, outputs = session.get_inputs(), [one.name for one in session.get_outputs()]
    state = {one.name: np.zeros((1, one.shape[1]), np.float32) for one in inputs[1:]}
    given, found = np.array([words]), []
    for _ in range(n):
        probs, *after = session.run(outputs, {"tokens": given, **state})
        state = {name.removesuffix("_after"): part for name, part in zip(outputs[1:], after, strict=True)}
        scores = probs[0, -1].copy()
        scores[never] = 0
        found.append(int(scores.argmax()))
        given = np.array([[found[-1]]])
    return found


@pytest.mark.parametrize("rnn", ["lstm", "gru", "rnn"])
def test_a_text_goes_on_from_the_file_as_from_the_learner(rnn, tmp_path):
    field = Field(tokenize="whitespace")
    data = LanguageModelData.from_texts(
        field, [" ".join(ascii_lowercase)] * 20, bs=4, bptt=9, min_freq=1, seed=0
    )
    learn = data.get_model(None, 16, 24, 2, rnn=rnn, device="cpu", progress=False, seed=0)
    learn.reg_fn = None
    learn.fit(2e-2, 8)
    onnx_path, program = both_files(learn, tmp_path)
    prompt = "d e"
    words = continued(onnx_path, field.numericalize(prompt), [0, 1], 20)
    text = learn.generate(prompt, 20, temperature=0)
    assert prompt + " " + field.text_of(torch.tensor(words)) == text
    assert len(set(words)) > 10, "twenty times the same word proves nothing"
    # the program: all words at once answer as one after the other, with the state handed on
    module = load_program(program)[0].module()
    ids = torch.tensor([words])
    state = [torch.zeros(1, one["axes"][1]) for one in load_program(program)[1]["inputs"][1:]]
    whole, *after = module(ids, *state)
    parts = []
    for word in words:
        part, *state = module(torch.tensor([[word]]), *state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-6)
    for one, other in zip(state, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_loop_is_the_kernel_of_torch(kind):
    torch.manual_seed(0)
    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](3, 5, batch_first=True)
    x, state = torch.randn(4, 9, 3), [torch.randn(1, 4, 5) for _ in range(1 + (kind == "lstm"))]
    with torch.no_grad():
        out, last = layer(x, tuple(state) if len(state) > 1 else state[0])
        found, after = scanned(kind, x, [part[0] for part in state], layer._flat_weights)
    torch.testing.assert_close(found, out)
    for one, other in zip(after, last if isinstance(last, tuple) else (last,), strict=True):
        torch.testing.assert_close(one, other[0])


@pytest.mark.parametrize(
    ("rnn", "n_grams", "size"), [("lstm", 170, 0), ("lstm", 0, 4), ("lstm", 1, 0), ("gru", 128, 5)]
)
def test_classifiers_with_linear_models_and_long_texts(rnn, n_grams, size, tmp_path):
    torch.manual_seed(1)
    model = TextClassifier(20, 3, 6, 8, 2, max_len=40, rnn=rnn, n_grams=n_grams, document_sz=size).eval()
    if model.linear is not None:
        # also pairs with padding, which no key of a fitted model has: they must not be found
        pairs = [20 * (1 + a) + b for a in range(1, 20) for b in range(1, 20)]
        keys = torch.tensor([*range(2, 20), *pairs])
        model.linear.keys.copy_(keys[torch.randperm(len(keys))[:n_grams]].sort().values)
        model.linear.weight.normal_()
        model.linear.bias.normal_()
        model.linear.trust.fill_(0.7)
    if model.document is not None:
        model.document.weight.normal_()
    graph = graph_of(model, (torch.randint(2, 20, (7, 93)), torch.full((7,), 93)))
    module, path = traced(graph).module(), write_onnx(graph, tmp_path / "a.onnx")
    for rows, tokens in ((1, 1), (1, 5), (7, 5), (7, 93)):
        inputs = graph.drawn(rows, tokens)
        assert rows == 1 or (inputs[1] < tokens).any(), "texts of different lengths"
        with torch.no_grad():
            truth = model(*inputs)
        torch.testing.assert_close(module(*inputs)[0], truth, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(by_onnx(path, inputs)[0], truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True])
def test_a_classifier_answers_raw_texts_from_the_file(backward, tmp_path):
    data = TextData.from_texts(Field(tokenize="whitespace"), PAIR, bs=4, backward=backward, seed=0)
    learn = data.get_model(None, 8, 8, 1, device="cpu", progress=False, seed=0)
    learn.fit(2e-2, 4)
    path, program = both_files(learn, tmp_path)
    texts = ["a good film", "bad film it is"]
    ids, lengths = next(iter(data.batches_from_raw(texts)))
    (found,) = by_onnx(path, (ids.long(), lengths.long()))
    order = torch.as_tensor(data.batches_from_raw(texts).order)
    truth = learn.outputs_of(lambda own: own.batches_from_raw(texts)).softmax(1)[order]
    np.testing.assert_allclose(found, truth, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == data.classes == ["n", "p"]
    assert ("the last word first" in told["inputs"]) == backward
    assert load_program(program)[1]["classes"] == ["n", "p"]


def test_values_of_texts_come_in_their_units(tmp_path):
    texts, values = PAIR[0], [100.0 if label == "p" else 300.0 for label in PAIR[1]]
    data = TextData.from_texts(Field(tokenize="whitespace"), (texts, values), bs=4, task="regression", seed=0)
    learn = data.get_model(None, 8, 8, 1, device="cpu", progress=False, seed=0)
    learn.fit(2e-2, 4)
    path, _ = both_files(learn, tmp_path)
    ids, lengths = next(iter(data.batches_from_raw(["good"])))
    (found,) = by_onnx(path, (ids.long(), lengths.long()))
    np.testing.assert_allclose(found.ravel(), np.ravel(learn.predict_batch(["good"])), rtol=1e-4)
    assert found.ravel()[0] > 50


def test_exporting_leaves_the_model_and_its_state_alone(tmp_path):
    torch.manual_seed(0)
    model = LanguageModel(20, 6, 8, 2, wdrop=0.2).train()
    ids = torch.randint(2, 20, (3, 5))
    model(ids)
    before = [part.clone() for own in model.carried for part in own]
    weights = {name: part.clone() for name, part in model.state_dict().items()}
    traced(graph_of(model, (ids,)))
    assert model.training
    assert all(param.requires_grad for param in model.parameters())
    assert all(
        torch.equal(a, b) for a, b in zip(before, (p for own in model.carried for p in own), strict=True)
    )
    assert all(torch.equal(part, weights[name]) for name, part in model.state_dict().items())


class OwnNetwork(nn.Module):
    """Reads texts in both directions, as many write it by hand."""

    def __init__(self, n_words, n_out, kind, packed=False):
        super().__init__()
        self.embedding = nn.Embedding(n_words, 6)
        self.recurrent = kind(6, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, n_out)
        self.packed = packed

    def forward(self, ids, lengths):
        x = self.embedding(ids)
        if self.packed:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            return self.out(
                nn.utils.rnn.pad_packed_sequence(self.recurrent(x)[0], batch_first=True)[0].mean(1)
            )
        x, _ = self.recurrent(x)
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        return self.out((x * real[..., None]).sum(1) / lengths[:, None])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_own_networks_of_two_directions_read_any_length(kind, tmp_path):
    data = TextData.from_texts(Field(tokenize="whitespace"), PAIR, bs=4, seed=0)
    torch.manual_seed(0)
    model = OwnNetwork(data.nt, 2, kind)
    learn = Learner(data, model, device="cpu", progress=False, seed=0)
    learn.fit(1e-2, 1)
    both_files(learn, tmp_path)
    assert type(model.recurrent) is kind


def test_what_an_exporter_cannot_take_is_refused_in_one_line(tmp_path):
    data = TextData.from_texts(Field(tokenize="whitespace"), PAIR, bs=4, seed=0)
    learn = Learner(data, OwnNetwork(data.nt, 2, nn.LSTM, packed=True), device="cpu", progress=False)
    for export in (learn.export_onnx, learn.export_program):
        with pytest.raises(TypeError, match=r"OwnNetwork can't be exported as a graph: .*packed") as caught:
            export(tmp_path / "own")
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_labels_come_with_their_thresholds(tmp_path):
    texts = ["good film", "bad film", "good bad", "film"] * 60
    labels = [["p"], ["n"], ["p", "n"], []] * 59 + [["n"], ["p"], [], ["p"]]  # a few are wrong
    data = TextData.from_texts(Field(tokenize="whitespace"), (texts, labels), (texts, labels), bs=32, seed=0)
    learn = data.get_model(None, 8, 8, 1, device="cpu", progress=False, seed=0)
    learn.fit(2e-2, 3)
    learn.calibrate()
    path, _ = both_files(learn, tmp_path)
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert told["activation"] == "sigmoid"
    assert json.loads(told["thresholds"]) == pytest.approx(list(learn.calibration.thresholds))
    assert len(learn.calibration.thresholds) == 2
