"""Suspicious labels, the cleaning page and the way its corrections come back; `check_data` for pictures."""

import csv
import html.parser
import json
import logging
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.vision.helpers import two_class_arrays
from zoo import check_data
from zoo.data.check.label_errors import confident_doubts
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    apply_corrections,
    cleaning_page,
    imagenet_stats,
    suspicious_labels,
    tfms_from_stats,
)
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.seeing.label_errors import out_of_fold

ODD_NAMES = ('it\'s "quoted", <b>bold & 😀.png', "</script><script>alert(1)</script>.png".replace("/", "-"))
TFMS = tfms_from_stats(imagenet_stats, 16)


def folder(root, n=20, names=ODD_NAMES):
    """Class folders "blue" and "red"; one picture of each with a name that is hard to write."""
    for part, seed in (("train", 0), ("valid", 1)):
        pictures, labels = two_class_arrays(2 * n, seed=seed)
        for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            (root / part / label).mkdir(parents=True, exist_ok=True)
            name = names[i] if part == "train" and i < len(names) else f"{i}.png"
            Image.fromarray(picture).save(root / part / label / name)
    return root


def learner(root):
    data = ImageClassifierData.from_paths(root, tfms=TFMS, bs=8, num_workers=0, seed=0)
    return ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False, seed=0)


def page_table(page):
    """What the page's script reads: file, label, part and row of every picture."""
    text = page.read_text(encoding="utf8")
    return json.loads(re.search(r'id="table">(.*?)</script>', text, re.DOTALL)[1])


def corrections(table, file, changes):
    """The file as the page writes it."""
    with open(file, "w", newline="", encoding="utf8") as opened:
        rows = csv.writer(opened)
        rows.writerow(["file", "label", "part", "row", "action"])
        for name, label, part, row in table:
            action, new = changes.get(name, ("keep", label))
            rows.writerow([name, new, part, row, action])
    return file


def test_the_rule_of_confident_learning():
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    given = np.array([0, 0, 1, 1, 1, 1])
    doubts = confident_doubts(probs, given)
    # mean self-confidence: class 0 0.8, class 1 0.5375; row 2 is no confident 0, row 5 is
    assert [(one.row, one.given, one.suggested) for one in doubts] == [(5, 1, 0)]
    assert not confident_doubts(np.full((3, 2), np.nan), np.array([0, 1, -1]))


def test_rows_are_judged_by_models_that_have_not_seen_them(caplog):
    rng = np.random.default_rng(0)
    values, noise = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    probs = out_of_fold(values, noise, 3)
    assert np.allclose(probs.sum(1), 1)
    assert (probs.argmax(1) == noise).mean() < 0.75  # nothing can be learned
    noise[0] = 2
    assert np.isnan(out_of_fold(values, noise, 3)[0]).all()
    assert "single picture" in caplog.text
    with pytest.raises(ValueError, match="folds"):
        out_of_fold(values, noise, 3, folds=1)


def test_wrong_labels_are_found(tmp_path):
    root = folder(tmp_path)
    shutil.move(root / "train" / "red" / "3.png", root / "train" / "blue" / "wrong.png")
    found = suspicious_labels(learner(root))
    first = found.iloc[0]
    assert first.file.endswith("wrong.png")
    assert (first.part, first.label, first.suggested) == ("train", "blue", "red")
    assert len(found) <= 3
    assert os.path.samefile(learner(root).data.trn_ds.files[first.row], first.file)


def test_wrong_tags_are_found():
    x, y = two_class_arrays(60)
    tags = [[label, "picture"] if i % 3 else [label] for i, label in enumerate(y)]
    tags[4] = [*tags[4], "red"]  # it is blue
    data = ImageClassifierData.from_arrays(None, (x, tags), tfms=TFMS, bs=8)
    learn = ConvLearner.from_model_data(ResNetSmall(3, (4, 8), 1), data, progress=False, seed=0)
    first = suspicious_labels(learn, 1).iloc[0]
    assert (first.row, first.label, first.suggested) == (4, "+red", "-red")


def test_the_page_and_the_way_back(tmp_path):
    root = folder(tmp_path)
    shutil.move(root / "train" / "red" / "3.png", root / "train" / "blue" / "wrong.png")
    shutil.copy(root / "train" / "red" / "5.png", root / "valid" / "red" / "leak.png")
    before = sorted(file for _, _, files in os.walk(root) for file in files)
    learn = learner(root)
    page = cleaning_page(learn, tmp_path / "out" / "clean.html")
    text = page.read_text(encoding="utf8")
    assert 'src="http' not in text
    assert "<script>alert" not in text
    assert "wrong.png" in text
    assert "leak.png" in text
    _check_nesting(text)
    table = page_table(page)
    assert len(table) == 81
    odd = [row[0] for row in table if row[0].endswith(ODD_NAMES)]
    assert len(odd) == 2
    changes = {
        os.path.join("train", "blue", "wrong.png"): ("relabel", "red"),
        os.path.join("valid", "red", "leak.png"): ("delete", "red"),
        os.path.join("train", "blue", ODD_NAMES[0]): ("relabel", "red"),
    }
    clean = tmp_path / "clean.csv"
    kept = apply_corrections(corrections(table, tmp_path / "corrections.csv", changes), clean)
    assert len(kept) == 80
    again = ImageClassifierData.from_csv(
        root, "", clean, tfms=TFMS, cat_separator=None, val_idxs=np.flatnonzero(kept.part == "valid")
    )
    assert again.classes == ["blue", "red"]
    assert not again.is_multi
    assert (len(again.trn_ds), len(again.val_ds)) == (40, 40)
    labels = {file.name: again.classes[y] for file, y in zip(again.trn_ds.files, again.trn_ds.y, strict=True)}
    assert labels["wrong.png"] == labels[ODD_NAMES[0]] == "red"
    new = {"clean.csv", "corrections.csv", "clean.html"}
    after = sorted(f for _, _, files in os.walk(root) for f in files if f not in new)
    assert after == before


class _Nesting(html.parser.HTMLParser):
    void = frozenset({"meta", "img", "input", "br", "option", "link"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


def _check_nesting(text):
    parser = _Nesting()
    parser.feed(text)
    assert not parser.open


def test_labels_are_judged_by_a_network(tmp_path):
    x, y = two_class_arrays(12)
    data = ImageClassifierData.from_arrays(None, (x, y), tfms=TFMS, bs=4)
    with pytest.raises(TypeError, match=r"suspicious_labels needs a learner.*got ImageClassifierData"):
        suspicious_labels(data)


def test_pages_of_tags_and_of_data_alone(tmp_path):
    x, _ = two_class_arrays(12)
    tags = [["a b", "c"], ["c"]] * 6
    data = ImageClassifierData.from_arrays(None, (x, tags), tfms=TFMS, bs=4)
    page = cleaning_page(data, tmp_path / "clean.html", n=2)
    assert page_table(page)[0][1] == "a b;c"
    assert "several labels are separated by &#x27;;&#x27;" in page.read_text(encoding="utf8")
    with pytest.raises(TypeError, match="learner or picture data"):
        cleaning_page(tmp_path, tmp_path / "x.html")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\na,b\n", "no column"),
        ("file,label,part,row,action\na,b,train,0,remove\n", "'remove' is not one of"),
        ("file,label,part,row,action\na,,train,0,relabel\n", "no new label for 'a'"),
        ("file,label,part,row,action\na,b,train,0,keep\na,c,train,0,keep\n", "more than once"),
    ],
)
def test_what_is_no_table_of_corrections(tmp_path, text, told):
    file = tmp_path / "corrections.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        apply_corrections(file)
    with pytest.raises(FileNotFoundError, match="no corrections"):
        apply_corrections(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        ("file,label,part,row,action\na,b,train,0,keep\n".encode("utf-16"), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
        (b"file,label\na,b\nc,d,e,f\n", "Expected 2 fields"),
        (b"PK\0\0\0\0", "corrections.csv"),
    ],
)
def test_files_that_are_no_table_are_named(tmp_path, content, told):
    file = tmp_path / "corrections.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"corrections\.csv .*{told}|{told}.* has no column"):
        apply_corrections(file)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["catt"], "'catt' of 1 picture (did you mean 'cat'?)"),
        (["catt", "catt"], "'catt' of 2 pictures (did you mean 'cat'?)"),
        (["golden retreiver"], "'golden retreiver' of 1 picture (did you mean 'golden retriever'?)"),
        (["zebra"], "'zebra' of 1 picture:"),
        (["zebra", "zebra"], ""),
        (["dog", "cat dog", "cat;golden retriever"], ""),
    ],
)
def test_a_typing_error_in_a_label_is_told(tmp_path, caplog, rows, told):
    file = tmp_path / "corrections.csv"
    lines = ["file,label,part,row,action", "a,cat,train,0,keep", "b,dog,train,1,delete"]
    lines += ["c,golden retriever,train,2,keep"]
    lines += [f"{i},{label},train,{i},relabel" for i, label in enumerate(rows, 3)]
    file.write_text("\n".join(lines))
    with caplog.at_level(logging.WARNING):
        assert len(apply_corrections(file)) == len(rows) + 2
    assert (told in caplog.text) if told else not caplog.records


def test_labels_that_look_like_numbers_or_gaps_stay_as_they_are(tmp_path):
    file = tmp_path / "corrections.csv"
    file.write_text("\ufefffile,label,part,row,action\r\n007.jpg,NA,train,0,keep\r\n", encoding="utf8")
    assert apply_corrections(file).values.tolist() == [["007.jpg", "NA", "train"]]


def test_check_data_of_pictures(tmp_path):
    root = folder(tmp_path)
    shutil.copy(root / "train" / "red" / "5.png", root / "valid" / "red" / "leak.png")
    shutil.copy(root / "train" / "red" / "7.png", root / "train" / "blue" / "twisted.png")
    Image.new("RGB", (16, 16)).save(root / "train" / "red" / "black.png")
    (root / "train" / "green").mkdir()
    Image.fromarray(two_class_arrays(1, seed=9)[0][0]).save(root / "train" / "green" / "0.png")
    data = ImageClassifierData.from_paths(root, tfms=TFMS, num_workers=0)
    (root / "valid" / "red" / "1.png").write_bytes(b"nothing")
    report = check_data(data)
    found = {(one.severity, one.what): one for one in report.findings}
    assert found["error", "training pictures in validation"].count == 1
    assert "leak.png" in found["error", "training pictures in validation"].examples[0]
    assert found["error", "pictures that cannot be read"].count == 1
    assert found["warning", "alike, but labelled differently"].count == 1
    assert found["warning", "blank, dark or bright pictures"].count == 1
    assert found["warning", "rare classes"].examples == ("'green' (1)",)
    assert found["note", "classes without validation rows"].count == 1
    assert report.rows == {"train": 43, "valid": 41}
    assert report.classes["green"] == {"train": 1, "valid": 0}
    assert report.html(tmp_path / "check.html").is_file()
    assert not report.ok
