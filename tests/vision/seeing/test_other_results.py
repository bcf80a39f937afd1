"""Results for several labels a picture, and for values."""

import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from tests.vision.helpers import two_class_arrays, two_class_folders
from zoo import check_data
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    ImageModelResults,
    ImageTagResults,
    ImageValueResults,
    Items,
    cleaning_page,
    coded_values,
    imagenet_stats,
    suspicious_labels,
    tfms_from_stats,
)
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.seeing.looks import look_at
from zoo.vision.seeing.show_targets import _draw_boxes, colours_of
from zoo.vision.targets.boxes import BoxTarget

TAGS = [["sea"], ["sea", "sky"], ["sky"], [], ["sea", "sky"]]
PROBS = np.array([[0.9, 0.2], [0.8, 0.3], [0.6, 0.7], [0.1, 0.05], [0.3, 0.9]])


@pytest.fixture
def data():
    x, _ = two_class_arrays(5)
    return ImageClassifierData.from_arrays(
        None, (x, TAGS), (x, TAGS), tfms=tfms_from_stats(imagenet_stats, 16), bs=2
    )


def test_labels_each_by_itself(data):
    found = ImageTagResults(data, np.log(PROBS))
    assert found.correct.tolist() == [True, False, False, True, False]
    assert found.most_wrong("sea").tolist() == [4, 2]
    assert found.missed("sea").tolist() == [4]
    assert found.made_up("sea").tolist() == [2]
    assert found.missed("sky").tolist() == [1]
    assert found.most_correct("sky").tolist() == [4, 2]
    table = found.per_label().set_index("label")
    assert table.loc["sea"].round(2).tolist() == [3, 0.5, 0.67, 0.67, 0.67, 0.92]
    top = found.top_losses(1).iloc[0]
    assert (top.row, top.prediction, top.truth) == (1, "sea", "sea sky")
    with pytest.raises(ValueError, match="did you mean 'sea'"):
        found.most_wrong("see")


def test_thresholds(data):
    found = ImageTagResults(data, np.log(PROBS), thresholds=[0.2, 0.25])
    assert found.preds.tolist() == [[True, False], [True, True], [True, True], [False, False], [True, True]]
    best = ImageTagResults(data, np.log(PROBS)).with_best_thresholds(1.0)
    assert best.per_label().f1.tolist() == [pytest.approx(6 / 7), 1.0]
    for wrong in (1.5, [0.5], [0.1, 0.2, 0.3]):
        with pytest.raises(ValueError, match="thresholds is one number"):
            ImageTagResults(data, np.log(PROBS), thresholds=wrong)
    with pytest.raises(ValueError, match="logarithms"):
        ImageTagResults(data, PROBS)


def test_results_of_a_learner_are_of_its_kind(data, tmp_path):
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False)
    found = ImageModelResults.from_learner(learn)
    assert isinstance(found, ImageTagResults)
    page = found.report(tmp_path / "tags.html", 2, heat=True).read_text(encoding="utf8")
    assert "Most wrong in" in page
    assert found.plot_most_wrong("sea").axes
    with warnings.catch_warnings():  # five rows tell little
        warnings.simplefilter("ignore", UserWarning)
        learn.calibrate()
    thresholds = np.asarray(learn.calibration.thresholds)
    assert np.allclose(learn.results().thresholds, thresholds, atol=1e-6)


def values_data(n=6):
    x, _ = two_class_arrays(n)
    data = ImageClassifierData.from_arrays(None, (x, ["a", "b"] * (n // 2)), (x, ["a", "b"] * (n // 2)))
    y = np.stack([np.arange(n), 10.0 * np.arange(n)], 1).astype(np.float32)
    data.trn_ds.y = data.val_ds.y = y
    data.task, data.classes = "regression", None
    return data, y


def test_values(tmp_path):
    data, y = values_data()
    preds = y.copy()
    preds[2, 1] += 30
    found = ImageValueResults(data, preds)
    assert found.most_wrong(1).tolist() == [2]
    assert found.most_wrong()[0] not in found.most_correct(3)
    table = found.per_value().set_index("value")
    assert table.loc["value 0"].tolist() == [0, 0, 0, 1]
    assert table.loc["value 1", ["rmse", "mae", "bias"]].round(2).tolist() == [12.25, 5.0, 5.0]
    top = found.top_losses(1).iloc[0]
    assert (top.row, top["prediction value 1"], top["truth value 1"]) == (2, 50, 20)
    assert "truth: 2, 20" in found.plot_most_wrong(1).axes[0].get_title()
    assert "Nearest to the truth" in found.report(tmp_path / "values.html").read_text(encoding="utf8")
    with pytest.raises(ValueError, match="same shape"):
        ImageValueResults(data, preds[:, :1])


def test_values_of_a_learner_are_in_the_units_of_the_user(tmp_path):
    x, _ = two_class_arrays(24)
    y = x.astype(np.float64).mean((1, 2, 3)) * 1000
    items = Items.from_arrays(x).split_by_random(0.3).label_by(y, target=coded_values(["light"]))
    data = items.transform(tfms_from_stats(imagenet_stats, 16)).data(bs=8)
    learn = ConvLearner.from_model_data(ResNetSmall(1, (4, 8), 1), data, progress=False, seed=0)
    found = learn.results()
    assert isinstance(found, ImageValueResults)
    assert np.allclose(found.targets[:, 0], data.val_y.reshape(-1), rtol=1e-4)
    assert found.names == ["light"]
    base = learn.baseline()
    assert base.metrics["valid_loss"] < base.reference.metrics["valid_loss"]
    assert found.report(tmp_path / "values.html", heat=True).is_file()


def test_targets_that_lie_in_their_pictures(tmp_path):
    x, _ = two_class_arrays(12)
    masks = (x[..., 0] > 100).astype(np.uint8)
    data = Items.from_arrays(x).split_by_random().masks_by(masks, ["a", "b"]).data(bs=4)
    assert check_data(data).rows == {"train": 10, "valid": 2}
    assert cleaning_page(data, tmp_path / "clean.html").is_file()
    learn = ConvLearner.from_model_data(nn.Conv2d(3, 2, 1), data, progress=False)
    with pytest.raises(ValueError, match="of the kind 'segmentation'"):
        learn.results()
    with pytest.raises(ValueError, match="no quick model is known for targets of the kind"):
        learn.baseline()
    with pytest.raises(ValueError, match="answers with pictures"):
        learn.activation_map(x[0])


def test_names_that_are_no_utf_8_are_shown_with_backslashes(tmp_path):
    two_class_folders(tmp_path, 2, names=("train", "valid"))
    strange = os.fsdecode(b"bad\xff.png")
    for part in ("train", "valid"):
        shutil.copy(tmp_path / part / "red" / "001.png", tmp_path / part / "red" / strange)
    (tmp_path / "train" / "blue" / os.fsdecode(b"gone\xff.png")).symlink_to("nowhere.png")
    tfms = tfms_from_stats(imagenet_stats, 16)
    data = ImageClassifierData.from_paths(tmp_path, tfms=tfms, bs=4, num_workers=0, seed=0, on_broken="skip")
    report = str(data.check())
    assert "bad\\xff.png" in report
    assert "blank" not in report
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False, path=tmp_path)
    results = learn.results()
    assert results.top_losses().file.str.endswith("bad\\xff.png").sum() == 1
    assert "bad\\xff.png" in results.report(tmp_path / "r.html").read_text("utf8")
    assert results.suspicious_labels().file.map(str.isascii).all()
    assert suspicious_labels(learn, folds=2).file.map(str.isascii).all()


def test_what_is_told_of_a_broken_file_can_be_printed(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/gone\xff.png")
    assert look_at([name]).broken == {0: f"{tmp_path}/gone\\xff.png does not exist"}


def test_masks_are_drawn_with_the_names_of_their_classes():
    x = np.zeros((4, 16, 16, 3), np.uint8)
    masks = np.tile(np.arange(16, dtype=np.uint8) * 2, (4, 16, 1))
    names = [f"class {i}" for i in range(31)]
    items = Items.from_arrays(x).split_by_rows([0]).masks_by(masks, names)
    drawn = items.transform(tfms_from_stats(imagenet_stats, 16)).data(2).show_batch(2)
    told = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert told == [*names[:24], "and 7 more"]
    assert len(set(colours_of(31))) == 31


def test_of_many_boxes_the_surest_are_drawn():
    axis = Figure().subplots()
    scores = torch.linspace(0, 1, 100)
    boxes = torch.tensor([[1.0, 1.0, 5.0, 5.0]]).repeat(100, 1) + torch.arange(100)[:, None]
    value = {"boxes": boxes, "labels": torch.zeros(100, dtype=torch.long), "scores": scores}
    _draw_boxes(axis, BoxTarget(["thing"]), value)
    assert [text.get_text() for text in axis.texts] == [f"thing {score:.2f}" for score in scores.flip(0)[:15]]
    assert axis.get_title() == " (15 of 70 boxes)"
