"""Submission, dropout, going on with what is wrong, and the baseline."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from torch import nn

from tests.vision.helpers import link_slice, two_class_arrays, two_class_folders
from zoo import load_learner
from zoo.vision import ConvLearner, ImageClassifierData, imagenet_stats, tfms_from_model, tfms_from_stats
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.seeing.dropout import set_dropout

TFMS = tfms_from_stats(imagenet_stats, 16)


def arrays_learner(n=24, labels=None, **options):
    x, y = two_class_arrays(n)
    labels = y if labels is None else labels
    data = ImageClassifierData.from_arrays(None, (x, labels), (x, labels), tfms=TFMS, bs=8, test=x[:3])
    return ConvLearner.from_model_data(
        ResNetSmall(data.c, (4, 8), 1), data, progress=False, seed=0, **options
    )


@pytest.fixture
def learn(tmp_path):
    root = two_class_folders(tmp_path, 4)
    (root / "test").mkdir()
    for i, name in enumerate(("10", "2")):
        (root / "test" / f"{name}.png").write_bytes(
            (root / "valid" / "red" / f"00{2 * i + 1}.png").read_bytes()
        )
    data = ImageClassifierData.from_paths(root, tfms=TFMS, test_name="test", bs=4, num_workers=0)
    return ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False, seed=0, path=tmp_path)


def test_submission(learn, tmp_path):
    written = learn.write_submission(tmp_path / "out.csv.gz")
    read = pd.read_csv(tmp_path / "out.csv.gz", dtype={"id": str})
    assert list(read.columns) == ["id", "blue", "red"]
    assert read.id.tolist() == ["10", "2"]  # in the order of the test pictures
    assert np.allclose(read[["blue", "red"]], learn.predict_proba(True), atol=1e-6)
    assert written.id.tolist() == read.id.tolist()
    labels = learn.write_submission(tmp_path / "labels.csv", [1, 2], "Id", "Class", answers="label")
    assert labels.columns.tolist() == ["Id", "Class"]
    assert labels.Class.tolist() == [learn.data.classes[i] for i in learn.predict(True).argmax(1)]
    with pytest.raises(ValueError, match="1 ids for 2 test pictures"):
        learn.write_submission(tmp_path / "x.csv", [1])
    with pytest.raises(ValueError, match="would head more than one column"):
        learn.write_submission(tmp_path / "x.csv", id_column="red")
    with pytest.raises(ValueError, match="answers must be"):
        learn.write_submission(tmp_path / "x.csv", answers="labels")
    with pytest.raises(ValueError, match="leave it out"):
        learn.write_submission(tmp_path / "x.csv", thresh=0.3)
    with pytest.raises(ValueError, match="1 columns of answers"):
        learn.write_submission(tmp_path / "x.csv", target_column=["a", "b"], answers="label")


def test_submission_of_tags(tmp_path):
    learn = arrays_learner(12, [["a"], ["a", "b"], []] * 4)
    probs = learn.predict_proba(True)
    found = learn.write_submission(tmp_path / "tags.csv", answers="label", thresh=float(probs.min()))
    assert found.columns.tolist() == ["id", "tags"]
    assert found.id.tolist() == ["0", "1", "2"]
    assert sum(len(cell.split()) for cell in found.tags) == 5


def test_dropout_later(tmp_path):
    x, y = two_class_arrays(8, 64)
    data = ImageClassifierData.from_arrays(None, (x, y), tfms=tfms_from_stats(imagenet_stats, 64), bs=4)
    learn = ConvLearner.pretrained("squeezenet1_1", data, weights=None, progress=False, path=tmp_path)
    assert list(learn.set_dropout(0.1).values()) == [0.1, 0.1]
    assert list(learn.set_dropout([0.2, 0.3]).values()) == [0.2, 0.3]
    learn.export(tmp_path / "model.zip")
    again = load_learner(tmp_path / "model.zip")
    assert [m.p for m in again.model.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.3]
    before = learn.predict_batch([x[0]])[0].probability
    learn.set_dropout(0.0)
    learn.export(tmp_path / "model.zip")
    assert load_learner(tmp_path / "model.zip").predict_batch([x[0]])[0].probability == pytest.approx(before)
    for wrong, told in (([0.1], "2 dropout layers"), (1.0, r"\[0, 1\)")):
        with pytest.raises(ValueError, match=told):
            learn.set_dropout(wrong)
    for odd in ("0.5", None, True, ["0.5", "0.5"], [[0.1], [0.1, 0.2]]):
        with pytest.raises(TypeError, match="p must be a probability"):
            learn.set_dropout(odd)
    with pytest.raises(ValueError, match="no dropout layers"):
        set_dropout(nn.Linear(2, 2), 0.5)


def test_going_on_with_what_is_wrong():
    labels = two_class_arrays(24)[1]
    labels[:5] = ["red", "blue", "red", "blue", "red"]  # the other way round
    learn = arrays_learner(labels=labels)
    probs = learn.predict_proba()  # the same pictures
    wrong = np.flatnonzero(probs.argmax(1) != learn.data.val_y)
    assert 0 < len(wrong) < 24
    data = learn.misclassified()
    assert np.array_equal(data.trn_ds.items, learn.data.trn_ds.items[wrong])
    assert np.array_equal(data.trn_y, learn.data.trn_y[wrong])
    assert len(learn.data.trn_ds) == 24
    learn.set_data(data)
    assert len(learn.data.trn_ds) == len(wrong)


def test_labels_are_wrong_by_the_thresholds_of_the_calibration():
    learn = arrays_learner(15, [["a"], ["a", "b"], []] * 5)
    chances = learn.predict_proba()
    with pytest.warns(UserWarning, match="15 rows"):
        found = learn.calibrate()
    middle = float(np.median(chances))
    for thresholds in ((0.0, 0.0), (1.0, 1.0), (middle, 0.0)):
        learn.calibration = replace(found, temperature=1.0, thresholds=thresholds)
        wrong = ((chances >= thresholds) != (learn.data.trn_y > 0.5)).any(1)
        assert np.array_equal(learn.misclassified().trn_y, learn.data.trn_y[wrong])


def test_only_some_pictures(learn):
    data = learn.data
    fewer = data.only([3, 0, 5])
    assert fewer.trn_ds.files == [data.trn_ds.files[i] for i in (3, 0, 5)]
    assert fewer.trn_y.tolist() == data.trn_y[[3, 0, 5]].tolist()
    assert sum(len(y) for _, y in fewer.train_dl) == 3
    assert fewer.val_ds is data.val_ds
    assert len(data.only(data.trn_y == 1).trn_ds) == 4
    for wrong, told in (([8], "no training picture 8"), ([], "at least one"), ([0.5], "numbers of training")):
        with pytest.raises(ValueError, match=told):
            data.only(wrong)


def test_baseline_on_pixels():
    learn = arrays_learner(40)
    found = learn.baseline()
    assert found.name == "logistic regression on pixels"
    assert found.metrics["accuracy"] > 0.9 > found.reference.metrics["accuracy"]
    assert found.learner.metrics["accuracy"] == pytest.approx(learn.evaluate()["accuracy"])
    assert found.predictions.shape == (40, 2)
    tags = arrays_learner(12, [["a"], ["a", "b"], []] * 4).baseline()
    assert list(tags.metrics) == list(tags.learner.metrics)
    assert tags.metrics["valid_loss"] < tags.reference.metrics["valid_loss"]


def test_baseline_on_activations(data_dir, tmp_path):
    source = link_slice(data_dir("dogscats"), tmp_path, 24)
    data = ImageClassifierData.from_paths(source, tfms=tfms_from_model("mobilenet_v2", 96), num_workers=0)
    weights = data_dir("weights") / "mobilenet_v2.pth"
    learn = ConvLearner.pretrained("mobilenet_v2", data, weights=weights, path=tmp_path, progress=False)
    found = learn.baseline()
    assert found.name == "logistic regression on activations of the body"
    assert found.metrics["accuracy"] > 0.8
    assert not learn.precompute
    learn.precompute = True
    assert learn.baseline().metrics == found.metrics
