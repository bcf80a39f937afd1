"""Ranking metrics: golden values, and cases that other libraries have got wrong."""

import numpy as np
import pytest

from zoo_collab.lists.metrics import (
    METRICS,
    Judged,
    average_precision,
    coverage,
    hit_rate,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)


def judged(lists, liked, gains=None) -> Judged:
    """Lists of items, and of each user a list of liked ones."""
    users = np.repeat(np.arange(len(liked)), [len(one) for one in liked])
    worth = None if gains is None else np.concatenate(gains)
    return Judged.of(np.array(lists), users, np.concatenate([np.array(one, int) for one in liked]), worth)


def test_values_by_hand() -> None:
    one = judged([[5, 2, 9, 4], [1, 2, 3, 4]], [[2, 4, 8], [7]])
    log2 = np.log2
    assert recall(one, 4).tolist() == [2 / 3, 0]
    assert recall(one, 2).tolist() == [1 / 3, 0]
    assert precision(one, 4).tolist() == [0.5, 0]
    assert hit_rate(one, 1).tolist() == [0, 0]
    assert hit_rate(one, 2).tolist() == [1, 0]
    assert reciprocal_rank(one, 4).tolist() == [0.5, 0]
    assert average_precision(one, 4) == pytest.approx([(1 / 2 + 2 / 4) / 3, 0])
    best = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg(one, 4) == pytest.approx([(1 / log2(3) + 1 / log2(5)) / best, 0])


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_a_perfect_list_has_one_and_nothing_has_more(k) -> None:
    """Mean average precision of a perfect list was below one where k is less than what is relevant."""
    one = judged([[3, 1, 2, 4, 5, 6]], [[1, 2, 3]])
    for name in ("ndcg", "map", "mrr", "hit_rate"):
        assert METRICS[name](one, k).tolist() == [1.0]
    assert recall(one, k).tolist() == [min(k, 3) / 3]
    assert precision(one, k).tolist() == [min(k, 3) / k]


def test_graded_gains_of_the_published_example() -> None:
    """Places worth 3, 2, 3, 0, 1, 2, and two more items worth 3 and 2: 6.861 of 8.740."""
    worth = [[3, 2, 3, 1, 2, 3, 2]]
    one = judged([[1, 2, 3, 9, 4, 5]], [[1, 2, 3, 4, 5, 6, 7]], worth)
    assert ndcg(one, 6, "graded")[0] == pytest.approx(0.785, abs=5e-4)
    assert ndcg(one, 6)[0] == pytest.approx(1 - (1 / np.log2(5)) / sum(1 / np.log2(np.arange(2, 8))))
    with pytest.raises(ValueError, match="'binary' or 'graded'"):
        ndcg(one, 6, "exponential")  # type: ignore[arg-type]


def test_an_item_twice_in_a_list_counts_once() -> None:
    one = judged([[2, 2, 2, 1]], [[2, 1]])
    assert one.gains.tolist() == [[1, 0, 0, 1]]
    for metric in METRICS.values():
        assert (metric(one, 4) <= 1).all()
    assert recall(one, 3).tolist() == [0.5]


def test_no_item_and_no_liked_item_count_nothing() -> None:
    one = judged([[4, 0, 0], [4, 5, 6]], [[4, 9], []])
    for metric in METRICS.values():
        assert np.isfinite(metric(one, 3)).all()
        assert metric(one, 3)[1] == 0
    empty = judged(np.zeros((2, 0), int), [[1], [2]])
    for metric in METRICS.values():
        assert metric(empty, 3).tolist() == [0, 0]
    assert coverage(np.array([[4, 0], [4, 7]]), 8) == 0.25
    with pytest.raises(ValueError, match="above 0"):
        judged([[1]], [[1]], [[0.0]])
    with pytest.raises(ValueError, match="comes twice"):
        judged([[1]], [[1, 1]])


def test_random_lists_agree_with_plain_sums() -> None:
    """Formulas written out for each user, as the public evaluators have them."""
    rng = np.random.default_rng(0)
    lists = np.stack([1 + rng.permutation(40)[:12] for _ in range(200)])
    liked = [1 + rng.permutation(40)[: rng.integers(1, 20)] for _ in range(200)]
    worth = [rng.integers(1, 6, len(one)).astype(float) for one in liked]
    one = judged(lists, liked, worth)
    for k in (1, 5, 10, 12):
        for row, (shown, good, value) in enumerate(zip(lists[:, :k], liked, worth, strict=True)):
            gain = dict(zip(good.tolist(), value.tolist(), strict=True))
            places = [place for place, item in enumerate(shown.tolist(), 1) if item in gain]
            assert recall(one, k)[row] == pytest.approx(len(places) / len(good))
            assert precision(one, k)[row] == pytest.approx(len(places) / k)
            found = sum(gain[shown[place - 1]] / np.log2(place + 1) for place in places)
            best = sum(g / np.log2(n + 1) for n, g in enumerate(sorted(value, reverse=True)[:k], 1))
            assert ndcg(one, k, "graded")[row] == pytest.approx(found / best)
            average = sum(number / place for number, place in enumerate(places, 1)) / min(k, len(good))
            assert average_precision(one, k)[row] == pytest.approx(average)
            assert reciprocal_rank(one, k)[row] == pytest.approx(1 / places[0] if places else 0)
