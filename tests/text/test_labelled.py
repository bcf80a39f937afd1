"""Labelled texts: labels by value, folders as people have them, bad arguments by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zoo_text import Field, LanguageModelData, TextData, TokenFile
from zoo_text.data.padded_batches import TextLoader

FRAME = pd.DataFrame({"text": ["good film yes"] * 5 + ["bad film no"] * 4, "label": ["p"] * 5 + ["n"] * 4})
SIZES = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "device": "cpu", "progress": False, "seed": 1}


def words() -> Field:
    return Field(tokenize="whitespace")


def from_df(frame: pd.DataFrame = FRAME, valid: pd.DataFrame | None = None, **options) -> TextData:
    return TextData.from_df(None, words(), frame, valid, **{"bs": 4, "min_freq": 1, **options})


def put(file: Path, text: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def reviews(root: Path) -> Path:
    for part in ("train", "test"):
        for number in range(3):
            put(root / part / "neg" / f"{number}.txt", "a bad film")
            put(root / part / "pos" / f"{number}.txt", "a good film")
    return root


def test_spaces_around_delimited_labels_are_cut() -> None:
    data = from_df(FRAME.assign(label=["a; b", "b;"] * 4 + [" a"]), label_delim=";")
    assert data.classes == ["a", "b"]
    assert data.train_dl.targets[:2].tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match="label_delim is empty"):
        from_df(label_delim="")


def test_a_bare_label_among_lists_is_one_label() -> None:
    data = from_df(FRAME.assign(label=[["pos", "neg"], "pos"] * 4 + [["neg"]]))
    assert data.classes == ["neg", "pos"]
    assert data.train_dl.targets[:2].tolist() == [[1, 1], [0, 1]]
    with pytest.raises(
        ValueError, match=r"valid_df, row 0: a list of labels, but the training labels are sing"
    ):
        from_df(FRAME, FRAME.assign(label=[["p"]] * 9))


def test_number_labels_meet_by_value() -> None:
    whole = FRAME.assign(label=[0, 1] * 4 + [1])
    for train, valid in ((whole, whole.astype({"label": float})), (whole.astype({"label": float}), whole)):
        data = from_df(train, valid)
        assert data.classes == ["0", "1"]
        assert data.valid_dl.targets[data.valid_dl.order.argsort()].tolist() == [0, 1] * 4 + [1]
    assert from_df(FRAME.assign(label=[0.5, 1.5] * 4 + [1])).classes == ["0.5", "1", "1.5"]


def test_missing_labels_are_named() -> None:
    for missing in (None, float("nan")):
        with pytest.raises(ValueError, match="train, row 1: the label is missing"):
            TextData.from_texts(words(), (["a b", "c d"], ["x", missing]), min_freq=1)


def test_folders_with_unlabelled_texts_beside_the_classes(tmp_path) -> None:
    root = reviews(tmp_path)
    put(root / "train" / "unsup" / "0.txt", "a film")
    put(root / "train" / "urls_pos.txt", "https://example.org")
    data = TextData.from_folder(root, words(), validation="test", test="test", classes=["pos", "neg"])
    assert data.classes == ["pos", "neg"]
    assert (data.train_dl.n_rows, data.valid_dl.n_rows, data.test_dl.n_rows) == (6, 6, 6)
    with pytest.raises(FileNotFoundError, match=r"neq \(did you mean 'neg'\?\)"):
        TextData.from_folder(root, words(), validation="test", classes=["neq", "pos"])
    with pytest.raises(TypeError, match="classes is one string"):
        TextData.from_folder(root, words(), validation="test", classes="neg")
    with pytest.raises(ValueError, match="holds neg more than once"):
        TextData.from_folder(root, words(), validation="test", classes=["neg", "neg"])


def test_a_class_folder_that_validation_lacks_is_told(tmp_path) -> None:
    """Reviews without labels beside those with labels would become a class of their own."""
    root = reviews(tmp_path)
    put(root / "train" / "unsup" / "0.txt", "a film")
    message = r"folders 'unsup', .*leave them out by classes=\['neg', 'pos'\]"
    with pytest.warns(UserWarning, match=message) as told:
        data = TextData.from_folder(root, words(), validation="test")
    assert told[0].filename == __file__
    assert data.classes == ["neg", "pos", "unsup"]
    TextData.from_folder(root, words(), validation="test", classes=["neg", "pos"])
    TextData.from_folder(root, words(), validation=None)


def test_nested_files_are_read_marks_of_order_dropped_and_hidden_files_skipped(tmp_path) -> None:
    root = reviews(tmp_path)
    put(root / "train" / "neg" / "more" / "x.txt", "a dreadful dreadful film")
    for number in range(2):
        put(root / "train" / "pos" / f"bom{number}.txt", "terrific film".encode("utf-8-sig"))
    put(root / "train" / "neg" / "._0.txt", b"\x00\x05\x16\x07\xb0")
    put(root / "train" / "neg" / ".hidden" / "x.txt", b"\xb0")
    put(root / "train" / ".cache" / "x.txt", b"\xb0")
    field = words()
    data = TextData.from_folder(root, field, validation="test")
    assert data.train_dl.n_rows == 9
    assert {"dreadful", "terrific"} <= set(field.vocab.itos)
    field = words()
    LanguageModelData.from_text_files(root, field, "train", bs=2, min_freq=1)
    assert {"dreadful", "terrific"} <= set(field.vocab.itos)
    assert not any("\ufeff" in word for word in field.vocab.itos)


def test_no_training_batch_holds_a_single_text() -> None:
    for rows in range(2, 20):
        for bs in range(2, 6):
            loader = TextLoader(
                np.arange(rows), np.arange(rows + 1), np.zeros(rows), bs, shuffle=True, seed=0
            )
            sizes = [len(targets) for *_, targets in loader]
            assert sum(sizes) == rows
            assert len(sizes) == len(loader)
            assert 2 <= min(sizes) <= max(sizes) <= bs + 1
    from_df(bs=2).get_model(**SIZES).fit(1e-3, 1)


def test_impossible_sizes_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="at least two texts a batch: bs is 1"):
        from_df(bs=1)
    for tokens in (0, -1):
        with pytest.raises(
            ValueError, match=f"max_tokens must be a whole number of at least 1, not {tokens}"
        ):
            from_df(max_tokens=tokens)
    for build in (
        lambda field: TextData.from_df(None, field, FRAME, min_freq=1000),
        lambda field: LanguageModelData.from_texts(field, ["a b c d"] * 9, bs=2, min_freq=1000),
    ):
        field = words()
        with pytest.raises(ValueError, match="no word is left for the vocabulary with min_freq=1000"):
            build(field)
        assert field.vocab is None


def test_one_string_is_not_a_list_of_texts() -> None:
    texts = ["a b c d e f"] * 9
    for part in ("validation", "test"):
        with pytest.raises(TypeError, match=f"{part} is one string"):
            LanguageModelData.from_texts(words(), texts, bs=2, min_freq=1, **{part: "a b c"})
        for empty in ([], [""]):
            with pytest.raises(ValueError, match=f"the {part} text has no tokens: give None"):
                LanguageModelData.from_texts(words(), texts, bs=2, min_freq=1, **{part: empty})
        with pytest.raises(ValueError, match=f"the {part} text is a single token"):
            LanguageModelData.from_texts(words(), texts, bs=2, min_freq=1, **{part: ["a"]})
    pair = (["a b", "c d"], ["x", "y"])
    with pytest.raises(TypeError, match="test is one string"):
        TextData.from_texts(words(), pair, test="a b", min_freq=1)
    with pytest.raises(TypeError, match=r"valid must be a pair: \(texts, labels\)"):
        TextData.from_texts(words(), pair, ["a b", "c d", "a"], min_freq=1)
    with pytest.raises(TypeError, match=r"train must be a pair"):
        TextData.from_texts(words(), ("a b", ["x", "y", "x"]), min_freq=1)


def test_na_is_a_class_and_a_text_in_csv_files(tmp_path) -> None:
    frame = FRAME.replace({"label": {"n": "NA"}})
    frame.loc[0, "text"] = "null"
    frame.to_csv(tmp_path / "all.csv", index=False)
    data = TextData.from_csv(tmp_path, words(), "all.csv")
    assert data.classes == ["NA", "p"]
    assert data.train_dl.n_rows == 9
    frame.loc[1, "label"] = None
    frame.to_csv(tmp_path / "all.csv", index=False)
    with pytest.raises(ValueError, match="row 1, is missing"):
        TextData.from_csv(tmp_path, words(), "all.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([100], "val_idxs holds 100, but the rows of train_df are 0 to 8"),
        ([-1, 0], "val_idxs holds -1"),
        ([0, 3, 3], "row 3 more than once"),
        ([], "at least one"),
        ([0.5], "list of row numbers"),
        (range(9), "no rows to learn from"),
        ([True] * 3, "a mask of 3 rows, but train_df has 9"),
    ],
)
def test_bad_validation_rows_are_named(rows, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_df(val_idxs=rows)


def test_validation_rows_by_number_or_mask() -> None:
    for rows in ([0, 8], np.array([0, 8]), [True, *[False] * 7, True]):
        data = from_df(val_idxs=rows)
        assert (data.train_dl.n_rows, data.valid_dl.n_rows) == (7, 2)


def test_validation_texts_come_in_the_order_of_their_row_numbers() -> None:
    data = from_df(val_idxs=[8, 0, 3])
    learn = data.get_model(**SIZES)
    _, targets = learn.predict_with_targs()
    expected = [data.classes.index(FRAME["label"].iloc[row]) for row in (8, 0, 3)]
    assert targets.tolist() == expected


def test_a_doubled_column_is_named() -> None:
    for name in ("text", "label"):
        with pytest.raises(ValueError, match=f"more than one column '{name}'"):
            from_df(pd.concat([FRAME, FRAME[[name]]], axis=1))


def test_files_are_named_in_errors(tmp_path) -> None:
    FRAME.to_csv(tmp_path / "all.csv", index=False)
    put(tmp_path / "other.csv", "text,tag\na,b\n")
    put(tmp_path / "ragged.csv", "text,label\na,b\nc,d,e\n")
    put(tmp_path / "old.csv", "text,label\nd\u00e9j\u00e0,b\n".encode("latin1"))
    put(tmp_path / "empty.csv", "")
    for files, message in (
        (("other.csv",), r"other\.csv has no column 'label'"),
        (("all.csv", "other.csv"), r"other\.csv has no column 'label'"),
        (("ragged.csv",), r"ragged\.csv: cannot be read .* line 3"),
        (("old.csv",), r"old\.csv: cannot be read as UTF-8 text"),
        (("empty.csv",), r"empty\.csv: cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            TextData.from_csv(tmp_path, words(), *files)
    data = TextData.from_csv(tmp_path, words(), "all.csv", None, "other.csv", min_freq=1)
    assert data.test_dl.n_rows == 1


def test_labels_of_any_kind() -> None:
    texts = ["good film", "bad film", "good film"]

    def classes(labels, **options):
        data = TextData.from_texts(words(), (texts, labels), bs=2, min_freq=1, **options)
        return data.classes, data.train_dl.targets.tolist()

    assert classes(torch.tensor([5, 7, 5])) == (["5", "7"], [0, 1, 0])
    assert classes(np.array([[5], [7], [5]])) == (["5", "7"], [0, 1, 0])
    marks = np.array([[1, 0], [1, 1], [0, 1]])
    assert classes(marks) == (["0", "1"], marks.tolist())
    assert classes(marks, classes=["x", "y"]) == (["x", "y"], marks.tolist())
    with pytest.raises(TypeError, match=r"train: .*pass frame\[column\]"):
        classes(pd.DataFrame({"label": [1, 2, 1]}))
    with pytest.raises(ValueError, match="train, row 1: the label is missing"):
        classes(["x", "", "y"])


def test_frames_and_dicts_are_no_lists_of_texts(tmp_path) -> None:
    """They would be read by the names of their columns."""
    frame = pd.DataFrame({"text": ["a b c"] * 9, "label": ["x"] * 9})
    for given in (frame, frame[["text"]], frame.to_dict("list")):
        for read in (
            lambda given: LanguageModelData.from_texts(words(), given, bs=1, min_freq=1),
            lambda given: LanguageModelData.from_texts(words(), ["a b c"], given, bs=1, min_freq=1),
            lambda given: TextData.from_texts(words(), (given, ["x", "y"]), min_freq=1),
            lambda given: TextData.from_texts(words(), (["a", "b"], ["x", "y"]), test=given, min_freq=1),
            lambda given: words().build_vocab(given),
            lambda given: TokenFile.build(given, words(), tmp_path / "tokens"),
        ):
            with pytest.raises(TypeError, match="would be read by its names: give a list of texts"):
                read(given)
    with pytest.raises(TypeError, match="is one string: give a list of texts"):
        words().build_vocab("a film")


@pytest.mark.parametrize("wrong", [{"max_size": -1}, {"max_size": 2.5}, {"min_freq": "2"}, {"min_freq": 1.5}])
def test_the_size_of_a_vocabulary_is_checked_before_texts_are_read(wrong: dict, tmp_path) -> None:
    def texts():
        raise AssertionError("texts were read")
        yield ""

    told = f"{next(iter(wrong))} must be a whole number of at least 0"
    for read in (
        lambda: LanguageModelData.from_texts(words(), texts(), **{"bs": 1, **wrong}),
        lambda: words().build_vocab(texts(), **wrong),
        lambda: TokenFile.build(texts(), words(), tmp_path / "tokens", **wrong),
    ):
        with pytest.raises(ValueError, match=told):
            read()


@pytest.mark.parametrize(
    "wrong", [{"bs": 2.5}, {"bs": "8"}, {"bs": True}, {"bptt": "70"}, {"max_tokens": 1.5}]
)
def test_sizes_of_batches_are_whole_numbers(wrong: dict) -> None:
    told = f"{next(iter(wrong))} must be a whole number of at least 1"
    if "bptt" not in wrong:
        with pytest.raises(ValueError, match=told):
            from_df(**wrong)
    if "max_tokens" not in wrong:
        with pytest.raises(ValueError, match=told):
            LanguageModelData.from_texts(words(), ["a b c d"] * 9, **{"bs": 2, "min_freq": 1, **wrong})
