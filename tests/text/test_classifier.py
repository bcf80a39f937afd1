"""Text classifiers: padding, training, transfer, files, bad input."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.core.processes import fresh
from tests.seeds import check_seed_of_first_weights
from zoo import load_learner
from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.storage.archive import ArchiveError
from zoo_text import Field, LanguageModelData, TextData
from zoo_text.model.classifier import TextClassifier
from zoo_text.model.encoder_file import remap_rows
from zoo_text.tokens.vocab import Vocab

SIZES = {"emb_sz": 16, "n_hid": 16, "n_layers": 1, "device": "cpu", "progress": False}


@pytest.mark.parametrize("rnn", ["lstm", "gru"])
@pytest.mark.parametrize("max_len", [1000, 5])
def test_padding_and_neighbours_change_nothing(rnn: str, max_len: int) -> None:
    model = TextClassifier(50, 3, 8, 12, 2, rnn=rnn, max_len=max_len).eval()
    texts = [torch.randint(2, 50, (length,)) for length in (12, 9, 3, 1)]
    alone = [model(text[None], torch.tensor([len(text)])) for text in texts]
    for extra in (0, 7):
        padded = torch.ones(4, 12 + extra, dtype=torch.long)
        for row, text in enumerate(texts):
            padded[row, : len(text)] = text
        together = model(padded, torch.tensor([12, 9, 3, 1]))
        torch.testing.assert_close(together, torch.cat(alone))


def test_pooling_is_last_max_and_mean_of_real_words() -> None:
    model = TextClassifier(50, 3, 8, 12, 1).eval()
    ids, lengths = torch.randint(2, 50, (2, 6)), torch.tensor([6, 4])
    raw, _ = model.encoder(ids)
    features = model.features(ids, lengths)
    for row, length in enumerate(lengths):
        own = raw[row, :length]
        expected = torch.cat([own[-1], own.amax(0), own.mean(0)])
        torch.testing.assert_close(features[row], expected)


def test_only_the_last_steps_get_gradients() -> None:
    model = TextClassifier(50, 2, 8, 12, 1, max_len=4).eval()
    ids = torch.arange(2, 14).repeat(2, 1)
    model(ids, torch.tensor([12, 12])).sum().backward()
    touched = model.encoder.embedding.weight.grad.abs().sum(1) > 0
    assert not touched[2:10].any()
    model = TextClassifier(50, 2, 8, 12, 1, max_len=12).eval()
    model(ids, torch.tensor([12, 12])).square().sum().backward()
    assert (model.encoder.embedding.weight.grad.abs().sum(1) > 0)[2:14].all()


@pytest.fixture(scope="module")
def libraries(docstrings, tmp_path_factory) -> TextData:
    """Docstrings, by library; every fourth held out."""
    pytest.importorskip("spacy", reason="spaCy is not installed")
    texts, labels = docstrings
    frame = pd.DataFrame({"doc": texts, "library": labels})
    path = tmp_path_factory.mktemp("libraries")
    held = np.arange(0, len(frame), 4)
    return TextData.from_df(
        path, Field(), frame, text="doc", label="library", val_idxs=held, bs=32, max_tokens=60, seed=0
    )


@pytest.fixture(scope="module")
def trained(libraries: TextData):
    torch.manual_seed(1)  # this fixture is made before the seeds of a test are set
    learn = libraries.get_model(**SIZES, seed=0)
    learn.fit_one_cycle(8, 1e-2)
    return learn


def test_it_learns_which_library_a_docstring_belongs_to(trained, libraries) -> None:
    targets = libraries.valid_dl.targets
    majority = float((targets == targets.mode().values).float().mean())
    assert trained.history[-1]["accuracy"] > majority + 0.2
    assert libraries.classes == ["numpy", "pandas", "python"]
    assert trained.groups.names == ["embedding", "rnn 1", "head"]


def test_predictions_come_in_input_order(trained, libraries) -> None:
    log_probs, targets = trained.predict_with_targs()
    assert np.array_equal(targets, libraries.valid_dl.targets.numpy())
    accuracy = (log_probs.argmax(1) == targets).mean()
    assert accuracy == pytest.approx(trained.history[-1]["accuracy"])
    assert np.exp(log_probs).sum(1) == pytest.approx(1, abs=1e-5)


def test_raw_texts_give_what_the_validation_set_gives(trained, docstrings) -> None:
    held = [text for number, text in enumerate(docstrings[0]) if number % 4 == 0]
    probs = trained.predict_proba()
    answers = trained.predict_batch(held)
    for row, answer in zip(probs, answers, strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.get)
        assert answer.probability == max(answer.probabilities.values())
    frame = pd.DataFrame({"doc": held[:3]})
    assert trained.predict_batch(frame) == trained.predict_batch(held[:3])


def test_saved_learner_predicts_the_same_in_a_fresh_process(trained, tmp_path) -> None:
    text = "Return a new array of given shape and type."
    expected = trained.predict_one(text)
    trained.export(tmp_path / "texts.zip")
    code = (
        "import sys; from zoo import load_learner\n"
        "answer = load_learner(sys.argv[1], device='cpu').predict_one(sys.argv[2])\n"
        "print(answer.label, repr(answer.probability))"
    )
    again = fresh(code, tmp_path, str(tmp_path / "texts.zip"), text)
    assert again.returncode == 0, again.stderr
    label, probability = again.stdout.split()
    assert label == expected.label
    assert float(probability) == expected.probability


def test_empty_text_is_refused_by_name(trained) -> None:
    for text in ("", " \n "):
        with pytest.raises(ValueError, match="empty text in row 0"):
            trained.predict_one(text)
    with pytest.raises(ValueError, match="empty text in row 1"):
        trained.predict_batch(["fine", ""])
    with pytest.raises(TypeError, match="row 0: 3"):
        trained.predict_one(3)


def test_freezing_and_graded_rates(libraries) -> None:
    learn = libraries.get_model(**SIZES, seed=0)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    learn.freeze()
    learn.fit(1e-2, 1)
    after = learn.model.state_dict()
    for name, value in before.items():
        if name.startswith("encoder"):
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["head.2.weight"], before["head.2.weight"])
    learn.freeze_to(-2)
    learn.fit([0, 1e-3, 1e-2], 1)
    learn.unfreeze()
    learn.fit(slice(1e-4, 1e-2), 1)
    assert not torch.equal(
        learn.model.state_dict()["encoder.embedding.weight"], before["encoder.embedding.weight"]
    )
    with pytest.raises(ValueError, match="freeze_to"):
        learn.freeze_to(3)
    with pytest.raises(ValueError, match="3"):
        learn.fit([1e-2, 1e-2], 1)


def test_gradual_unfreezing_in_one_call(libraries) -> None:
    learn = libraries.get_model(**SIZES, seed=0)
    rows = learn.fine_tune_gradually(1e-2, last_epochs=2)
    assert len(rows) == 4
    assert all(param.requires_grad for param in learn.model.parameters())


class SpoiltAtLast(Callback):
    """The weights of the last of five epochs are no good."""

    def __init__(self) -> None:
        self.epochs = 0

    def before_validate(self, state: State) -> None:
        self.epochs += 1
        if self.epochs == 5:
            with torch.no_grad():
                state.model.head[-1].bias.add_(torch.tensor([9.0, 0.0, 0.0]))


def test_the_best_weights_are_those_of_all_stages(libraries, tmp_path) -> None:
    learn = libraries.get_model(**SIZES, seed=0, path=tmp_path)
    rows = learn.fine_tune_gradually(
        1e-2, epochs=2, last_epochs=1, best_save_name="best", callbacks=[SpoiltAtLast()]
    )
    losses = [row["valid_loss"] for row in rows]
    learn.load("best")
    assert learn.evaluate()["valid_loss"] == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < losses[-1]


def test_gradual_unfreezing_halves_the_rates_and_grades_them_towards_the_input(
    libraries, monkeypatch
) -> None:
    learn = libraries.get_model(**SIZES, seed=0)
    stages = []

    def note(n_epochs, max_lr, **options):
        trained = [not group.frozen for group in learn.groups]
        stages.append((n_epochs, max_lr, trained))
        return [] if len(stages) == 5 else [{}] * n_epochs

    monkeypatch.setattr(learn, "fit_one_cycle", note)
    learn.fine_tune_gradually(8.0, epochs=1, last_epochs=3, decay=2.0)
    assert stages == [
        (1, [2.0, 4.0, 8.0], [False, False, True]),
        (1, [1.0, 2.0, 4.0], [False, True, True]),
        (3, [0.5, 1.0, 2.0], [True, True, True]),
    ]
    del stages[:]
    learn.fine_tune(3, 8.0, freeze_epochs=2, decay=2.0)
    assert stages == [
        (2, [2.0, 4.0, 8.0], [False, False, True]),
        (2, [1.0, 2.0, 4.0], [False, True, True]),
        (3, [0.5, 1.0, 2.0], [True, True, True]),
    ]
    learn.fine_tune_gradually(8.0)
    assert len(stages) == 5  # this stage was interrupted, the rest is left out
    learn.fine_tune(1, 8.0, freeze_epochs=0)
    assert stages[-1] == (1, slice(0.04, 4.0), [True, True, True])
    with pytest.raises(ValueError, match="epochs must be a whole number"):
        learn.fine_tune(0, 8.0)


def language_model(field: Field, texts: list[str], path: Path):
    data = LanguageModelData.from_texts(
        field, texts, texts[:20], bs=8, bptt=20, min_freq=1, path=path, seed=0
    )
    return data.get_model(None, 16, 16, 1, device="cpu", progress=False)


def test_encoder_goes_from_language_model_to_classifier(docstrings, tmp_path) -> None:
    texts, labels = docstrings
    field = Field()
    source = language_model(field, texts, tmp_path)
    file = source.save_encoder("general")
    assert file == tmp_path / "models" / "general.encoder.safetensors"
    data = TextData.from_texts(field, (texts, labels), path=tmp_path)
    learn = data.get_model(**SIZES)
    assert learn.load_encoder("general") is learn
    for name, value in source.model.encoder.state_dict().items():
        assert torch.equal(learn.model.encoder.state_dict()[name], value)
    with pytest.raises(FileNotFoundError, match="did you mean 'general'"):
        learn.load_encoder("genral")
    wide = data.get_model(**{**SIZES, "n_hid": 20, "n_layers": 2})
    with pytest.raises(ValueError, match="n_hid 16 instead of 20"):
        wide.load_encoder(file)


def test_other_vocabularies_are_remapped_and_new_words_get_the_mean(tmp_path) -> None:
    known = Vocab(["<unk>", "<pad>", "the", "film", "good"])
    weight = torch.randn(5, 3)
    rows, new = remap_rows(weight, known, Vocab(["<unk>", "<pad>", "good", "plot", "the"]))
    mean = weight[[0, 2, 3, 4]].mean(0)
    torch.testing.assert_close(rows, torch.stack([weight[0], weight[1], weight[4], mean, weight[2]]))
    assert new == 1
    source = language_model(Field(), ["the good film the film"] * 20, tmp_path)
    source.save_encoder(tmp_path / "elsewhere.safetensors")
    texts = (["a plot and the film", "good good"], ["x", "y"])
    learn = TextData.from_texts(Field(), texts, min_freq=1).get_model(**SIZES)
    learn.load_encoder(tmp_path / "elsewhere.safetensors")
    ours, theirs = learn.model.encoder.embedding.weight, source.model.encoder.embedding.weight
    there = source.data.field.vocab
    for number, word in enumerate(learn.data.field.vocab.itos):
        if word in there:
            assert torch.equal(ours[number], theirs[there[word]])


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_hostile_pickle_runs_nothing(trained, tmp_path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "evil.safetensors"
    file.write_bytes(pickle.dumps(Bomb(mark)))
    weights = {name: value.clone() for name, value in trained.model.state_dict().items()}
    with pytest.raises(ArchiveError):
        trained.load_encoder(file)
    with pytest.raises(ArchiveError):
        load_learner(file)
    torch.save({"encoder": Bomb(mark)}, file)
    with pytest.raises(ArchiveError):
        trained.load_encoder(file)
    assert not mark.exists()
    assert all(torch.equal(value, weights[name]) for name, value in trained.model.state_dict().items())


def test_weights_that_are_no_encoder_are_refused(trained, tmp_path) -> None:
    with pytest.raises(ArchiveError, match="holds no encoder"):
        trained.load_encoder(trained.save("plain"))


def test_several_labels_a_text(tmp_path) -> None:
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue"])
    marks = rng.random((300, 3)) < 0.5
    texts = [" ".join(["so", *words[row], "it", "is"]) for row in marks]
    cells = [list(words[row]) for row in marks]
    frame = pd.DataFrame({"text": texts, "label": cells})
    before = frame.copy(deep=True)
    data = TextData.from_df(tmp_path, Field(), frame, val_idxs=range(50), min_freq=1, seed=0)
    pd.testing.assert_frame_equal(frame, before)
    assert data.task == "multilabel"
    assert data.classes == ["blue", "green", "red"]
    learn = data.get_model(**SIZES, seed=0)
    rows = learn.fit_one_cycle(8, 2e-2)
    assert rows[-1]["accuracy_thresh"] > 0.95
    assert learn.predict_one("so red blue it is").label == ("blue", "red")
    joined = frame.assign(label=[";".join(cell) for cell in cells])
    wide = frame[["text"]].assign(**{word: marks[:, number].astype(int) for number, word in enumerate(words)})
    for same in (
        TextData.from_df(tmp_path, Field(), joined, label_delim=";"),
        TextData.from_df(tmp_path, Field(), wide, label=["blue", "green", "red"]),
    ):
        assert same.classes == data.classes
        assert torch.equal(same.train_dl.targets[50:], data.train_dl.targets)


def write_reviews(root: Path, **folders: dict[str, list[str]]) -> None:
    for part, classes in folders.items():
        for name, texts in classes.items():
            (root / part / name).mkdir(parents=True)
            for number, text in enumerate(texts):
                (root / part / name / f"{number}.txt").write_text(text)


def test_folders_of_classes_and_csv_files(tmp_path, reviews) -> None:
    by_class = {name: reviews.text[reviews.label == name].tolist()[:20] for name in ("pos", "neg")}
    write_reviews(tmp_path, train=by_class, valid={name: texts[:3] for name, texts in by_class.items()})
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.txt").write_text("Unlabelled and good.")
    data = TextData.from_folder(tmp_path, Field(), test="test")
    assert data.classes == ["neg", "pos"]
    assert (data.train_dl.n_rows, data.valid_dl.n_rows, data.test_dl.n_rows) == (40, 6, 1)
    assert data.valid_dl.targets.tolist() == [0, 0, 0, 1, 1, 1]
    learn = data.get_model(**SIZES)
    assert learn.predict(is_test=True).shape == (1, 2)
    reviews[:40].to_csv(tmp_path / "all.csv", index=False)
    again = TextData.from_csv(tmp_path, Field(), "all.csv", val_idxs=range(8))
    assert (again.train_dl.n_rows, again.valid_dl.n_rows) == (32, 8)
    with pytest.raises(FileNotFoundError, match=r"did you mean 'all.csv'"):
        TextData.from_csv(tmp_path, Field(), "al.csv")


def test_bad_folders_are_named(tmp_path) -> None:
    good = {"neg": ["bad film"], "pos": ["good film"]}
    write_reviews(
        tmp_path, train=good, valid={**good, "neutral": ["film"]}, odd={**good, "none": []}, bare={}
    )
    with pytest.raises(ValueError, match=r"neutral has no counterpart in training"):
        TextData.from_folder(tmp_path, Field())
    with pytest.raises(ValueError, match=r"odd/none holds no \.txt files"):
        TextData.from_folder(tmp_path, Field(), train="odd", validation=None)
    with pytest.raises(FileNotFoundError, match="did you mean 'train'"):
        TextData.from_folder(tmp_path, Field(), train="tran")
    (tmp_path / "train" / "pos" / "0.txt").write_text(" ")
    with pytest.raises(ValueError, match=r"0\.txt is empty"):
        TextData.from_folder(tmp_path, Field(), validation=None)


def test_bad_frames_are_named() -> None:
    frame = pd.DataFrame({"text": ["a b", "c d", "e f"], "label": ["x", "y", "x"]})

    def build(**changes):
        return TextData.from_df(None, Field(), frame.assign(**changes), min_freq=1)

    with pytest.raises(ValueError, match="row 1: nan is not a text"):
        build(text=["a", np.nan, "b"])
    with pytest.raises(ValueError, match="train_df: empty text in row 2"):
        build(text=["a", "b", ""])
    with pytest.raises(ValueError, match="row 0, is missing"):
        build(label=[None, "x", "y"])
    with pytest.raises(ValueError, match="at least two classes"):
        build(label=["x", "x", "x"])
    with pytest.raises(ValueError, match="did you mean 'label'"):
        TextData.from_df(None, Field(), frame, label="labels")
    with pytest.raises(ValueError, match=r"valid_df, row 0: class 'z' does not occur"):
        TextData.from_df(None, Field(), frame, frame.assign(label="z"), min_freq=1)
    with pytest.raises(ValueError, match="2 texts but 3 labels"):
        TextData.from_texts(Field(), (["a", "b"], ["x", "y", "x"]))


@pytest.mark.gpu
def test_classifier_trains_on_a_gpu(libraries) -> None:
    learn = libraries.get_model(**{**SIZES, "device": "cuda"}, seed=0)
    learn.to_bf16().fit_one_cycle(4, 1e-2)
    assert learn.history[-1]["accuracy"] > 0.6


@pytest.mark.parametrize("classes", [True, False])
def test_the_seed_of_a_learner_fixes_its_first_weights_and_no_other_draws(classes, tmp_path):
    texts, labels = ["a good film", "a bad film"] * 8, ["good", "bad"] * 8
    if classes:
        data = TextData.from_texts(Field(), (texts, labels), min_freq=1, seed=0, path=tmp_path)
    else:
        data = LanguageModelData.from_texts(
            Field(), texts, bs=2, bptt=4, min_freq=1, seed=0, path=tmp_path
        )  # fmt: skip

    check_seed_of_first_weights(
        lambda seed: data.get_model(emb_sz=4, n_hid=6, seed=seed, device="cpu", progress=False).model
    )
