"""What the results say, and that figures are returned and never shown."""

import io
import time

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.vision.helpers import two_class_arrays
from zoo.data.check.label_errors import tell_weak
from zoo.vision import ConvLearner, ImageClassifierData, ImageModelResults, imagenet_stats, tfms_from_stats
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.seeing import label_errors

TRUTH = ["blue", "red", "blue", "red", "blue", "red"]
P_RED = np.array([0.1, 0.8, 0.71, 0.3, 0.45, 0.05])


@pytest.fixture
def data():
    x, y = two_class_arrays(6)
    assert y.tolist() == TRUTH
    return ImageClassifierData.from_arrays(None, (x, y), (x, y), tfms=tfms_from_stats(imagenet_stats, 16))


@pytest.fixture
def results(data):
    return ImageModelResults(data, np.log(np.stack([1 - P_RED, P_RED], 1)))


def test_rows(results):
    assert results.correct.tolist() == [True, True, False, False, True, False]
    assert results.most_correct(n=2).tolist() == [0, 1]
    assert results.most_incorrect().tolist() == [5, 2, 3]
    assert results.most_incorrect("red").tolist() == [5, 3]
    assert results.most_incorrect(0).tolist() == [2]
    assert results.most_uncertain(n=2).tolist() == [4, 3]
    assert sorted(results.random(False)) == [2, 3, 5]


def test_confusion(results):
    assert results.confusion_matrix().tolist() == [[2, 1], [2, 1]]
    assert results.most_confused() == [("red", "blue", 2), ("blue", "red", 1)]
    assert results.most_confused(2) == [("red", "blue", 2)]


def test_every_plot_is_a_figure(results, tmp_path):
    figures = [
        results.plot_confusion_matrix(),
        results.plot_confusion_matrix(normalize=True),
        results.plot_most_correct(),
        results.plot_most_incorrect("red"),
        results.plot_most_uncertain(n=1),
        results.plot_random_correct(),
        results.plot_random_incorrect(),
        results.plot_rows(np.array([], int)),
    ]
    for number, drawn in enumerate(figures):
        assert isinstance(drawn, Figure)
        drawn.savefig(tmp_path / f"{number}.png", dpi=40)
    titles = [axis.get_title() for axis in figures[3].axes]
    assert titles == ["blue 0.95\ntruth: red", "blue 0.70\ntruth: red"]


def test_classes_that_do_not_exist_and_more_than_there_are(results, caplog):
    for label, error in ((7, ValueError), (-1, ValueError), (True, TypeError), (0.5, TypeError)):
        with pytest.raises(error, match="class"):
            results.most_correct(label)
    with pytest.raises(ValueError, match="n must be"):
        results.most_correct(n=0)
    assert not caplog.text
    assert len(results.most_incorrect("red", 5)) == 2
    assert "5 asked for, there are 2 wrong pictures of class 'red'" in caplog.text
    with pytest.raises(ValueError, match="no validation picture 6"):
        results.plot_rows([6])
    with pytest.raises(ValueError, match="needs the network"):
        results.plot_most_incorrect(heat=True)


def test_top_losses_and_tables(results):
    top = results.top_losses(2)
    assert top.row.tolist() == [5, 2]
    assert top.loss.round(3).tolist() == np.round(-np.log([0.05, 0.29]), 3).tolist()
    assert top[["file", "prediction", "truth"]].values.tolist() == [
        ["5", "blue", "red"],
        ["2", "red", "blue"],
    ]
    table = results.per_class().set_index("label")
    assert table.loc["red", ["pictures", "recall"]].tolist() == [3, pytest.approx(1 / 3)]
    assert table.loc["blue", "precision"] == pytest.approx(2 / 4)
    assert results.suspicious_labels().row.tolist() == [5, 2, 3]


def test_a_hundred_and_twenty_classes_stay_readable_and_quick():
    k = 120
    x, y = np.zeros((k, 8, 8, 3), np.uint8), [f"breed {i} of $5 or $6" for i in range(k)]
    tfms = tfms_from_stats(imagenet_stats, 8)
    data = ImageClassifierData.from_arrays(".", (x, y), (x, y), tfms=tfms)
    results = ImageModelResults(data, np.log(np.full((k, k), 1 / k)))
    started = time.process_time()
    drawn = results.plot_confusion_matrix()
    assert time.process_time() - started < 2
    assert drawn.get_size_inches().max() <= 20
    assert not drawn.axes[0].texts
    assert len(drawn.axes[0].get_xticks()) <= 60
    few = results.plot_confusion_matrix(most=10)
    assert "10 most confused of 120" in few.axes[0].get_title()
    few.savefig(io.BytesIO(), dpi=40)  # names with dollar signs are no formulas
    results.plot_most_incorrect(n=2).savefig(io.BytesIO(), dpi=40)
    with pytest.raises(ValueError, match="most must be"):
        results.plot_confusion_matrix(most=1)


def test_the_report_needs_nothing_else(data, tmp_path):
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False)
    page = learn.results().report(tmp_path / "new" / "report.html", 3, heat=True).read_text(encoding="utf8")
    for told in (
        "Classes",
        "Confusion matrix",
        "Most uncertain",
        "Where it looked",
        "data:image/png;base64,",
    ):
        assert told in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "color-scheme: light dark" in page


def test_batches_and_results_of_a_learner(data):
    drawn = data.show_batch(4)
    assert [axis.get_title() in ("blue", "red") for axis in drawn.axes] == [True] * 4
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False)
    assert "truth" in learn.show_results(2).axes[0].get_title()
    results = ImageModelResults.from_learner(learn)
    assert results.probs.shape == (6, 2)
    with pytest.raises(ValueError, match="no test pictures"):
        learn.show_results(is_test=True)


def test_several_labels_and_grey_pictures_are_drawn():
    x, _ = two_class_arrays(4)
    data = ImageClassifierData.from_arrays(None, (x[..., 0], [["a"], ["a", "b"], [], ["b"]]))
    titles = {axis.get_title() for axis in data.show_batch(4).axes}
    assert titles == {"a", "a b", "(none)", "b"}
    with pytest.raises(ValueError, match="one label per picture"):
        ImageModelResults(data, np.zeros((4, 2)))


def test_bad_arguments(data, results):
    with pytest.raises(ValueError, match=r"expected log_probs of shape \(6, 2\)"):
        ImageModelResults(data, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="logarithms of probabilities"):
        ImageModelResults(data, np.full((6, 2), 0.5))
    with pytest.raises(ValueError, match="did you mean 'red'"):
        results.most_correct("rad")


def test_a_judge_that_knows_nothing_says_so(caplog):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 4)), np.repeat([0, 1], 30)
    told = "can tell little about single labels"
    for given, weak in ((rng.permutation(labels), True), (labels, False)):
        caplog.clear()
        shifted = features + 3 * labels[:, None]
        tell_weak(label_errors.out_of_fold(shifted, given, 2), given, "pictures", "body")
        assert (told in caplog.text) == weak
