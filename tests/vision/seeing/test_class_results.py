"""What the results say, and that figures are returned and never shown."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.vision.helpers import two_class_arrays
from zoo.vision import ConvLearner, ImageClassifierData, ImageModelResults, imagenet_stats, tfms_from_stats
from zoo.vision.models.resnet_small import ResNetSmall

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
