"""Folds: what each gives is what a learner made and trained by hand gives."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, StratifiedKFold, TimeSeriesSplit
from torch import nn

from tests.core.helpers import DigitsNet, digits
from zoo import Ensemble, Learner, ModelData, TensorLoader, cross_validate
from zoo.data.fingerprint import fingerprint, is_same
from zoo.data.loaders.seeding import mix_seeds, set_seed
from zoo.folds import fold_rows
from zoo.metrics import accuracy

X, Y = (part[:300] for part in digits())


def make(train: np.ndarray, valid: np.ndarray, fold: int) -> Learner:
    loaders = TensorLoader(X[train], Y[train], bs=32, shuffle=True), TensorLoader(X[valid], Y[valid])
    return Learner(ModelData(*loaders), DigitsNet(), metrics=[accuracy], device="cpu", progress=False)


def fit(learn: Learner) -> None:
    learn.fit_one_cycle(1, 0.02)


def test_predictions_are_those_of_folds_made_by_hand_bit_for_bit() -> None:
    set_seed(7)
    state = torch.get_rng_state()
    found = cross_validate(make, 300, StratifiedKFold(3), fit=fit, y=Y.numpy(), seed=5)
    assert torch.equal(state, torch.get_rng_state())
    assert found.predictions.shape == (300, 10)
    assert not np.isnan(found.predictions).any()
    for fold, (train, valid) in enumerate(StratifiedKFold(3).split(X, Y)):
        set_seed(mix_seeds(5, fold) % 2**32)
        learn = make(train, valid, fold)
        fit(learn)
        assert (found.predictions[valid] == learn.predict()).all()
        assert found.scores.loc[fold].to_dict() == learn.evaluate()
        assert (found.fold[valid] == fold).all()
    folds = found.scores.loc[[0, 1, 2], "accuracy"]
    assert found.scores.loc["mean", "accuracy"] == pytest.approx(folds.mean())
    assert found.scores.loc["std", "accuracy"] == pytest.approx(folds.std())
    mean = found.ensemble()
    assert isinstance(mean, Ensemble)
    assert mean.predict_array(X[:5]).shape == (5, 10)


def test_rows_in_no_fold_have_no_predictions_and_that_is_told() -> None:
    found = cross_validate(make, X, TimeSeriesSplit(2), fit=fit)
    assert found.missing.tolist() == list(range(100))
    assert np.isnan(found.predictions[:100]).all()
    assert not np.isnan(found.predictions[100:]).any()
    assert "100 of 300 rows are in no fold" in repr(found)


def test_folds_that_are_there_are_not_trained_again(tmp_path) -> None:
    whole = cross_validate(make, 300, 3, fit=fit)
    trained = []

    def once(learn: Learner) -> None:
        trained.append(len(trained))
        if len(trained) == 3:
            raise RuntimeError("the machine went off")
        fit(learn)

    with pytest.raises(RuntimeError, match="went off"):
        cross_validate(make, 300, 3, fit=once, path=tmp_path)
    again = cross_validate(make, 300, 3, fit=once, path=tmp_path)
    assert len(trained) == 4
    assert (again.predictions == whole.predictions).all()
    assert again.scores.equals(whole.scores)
    valid = np.flatnonzero(again.fold == 0)
    assert (again.learners[0].predict() == whole.predictions[valid]).all()
    with pytest.raises(ValueError, match=r"fold_0.safetensors is of another fold or of other rows"):
        cross_validate(make, 300, 4, fit=fit, path=tmp_path)


def test_predictions_stand_on_their_rows_whatever_the_order_of_a_fold() -> None:
    given = [part[::-1] for part in np.random.default_rng(0).permutation(300).reshape(2, 150)]
    asked = []

    def by_mask(train: np.ndarray, valid: np.ndarray, fold: int) -> Learner:
        asked.append(valid)
        held = np.isin(np.arange(300), valid)
        return make(train, np.flatnonzero(held), fold)

    found = [cross_validate(by_mask, 300, folds, fit=fit) for folds in (given, [np.sort(f) for f in given])]
    assert (found[0].predictions == found[1].predictions).all()
    assert all((np.diff(valid) > 0).all() for valid in asked)


def test_an_interrupted_fold_is_none(tmp_path) -> None:
    from zoo import Callback

    class Stop(Callback):
        def after_batch(self, state) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validate(make, 300, 3, fit=lambda learn: learn.fit(0.1, 1, callbacks=[Stop()]), path=tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_kinds_of_folds() -> None:
    groups = np.arange(30) // 3
    for train, valid in fold_rows(30, 5, groups=groups):
        assert not set(groups[train]) & set(groups[valid])
    assert len(fold_rows(30, GroupKFold(3), groups=groups)) == 3
    classes = np.arange(30) % 3
    assert all(np.bincount(classes[valid]).tolist() == [2, 2, 2] for _, valid in fold_rows(30, 5, y=classes))
    assert [part.tolist() for part in fold_rows(4, [([0], [1]), ([1, 0], [2])])[1]] == [[1, 0], [2]]
    first, second = fold_rows(20, 4, seed=1), fold_rows(20, 4, seed=1)
    assert all((a[1] == b[1]).all() for a, b in zip(first, second, strict=True))


def shares(values: np.ndarray, folds: int, **options) -> list[int]:
    """Rows with a true value that each fold validates on."""
    return [int(values[valid].sum()) for _, valid in fold_rows(len(values), folds, **options)]


def test_groups_are_shuffled_by_the_seed() -> None:
    groups = np.repeat(np.arange(30), 10)
    first, same, other = (fold_rows(300, 3, groups=groups, seed=seed) for seed in (0, 0, 7))
    for (_, one), (_, two), (_, three) in zip(first, same, other, strict=True):
        assert (one == two).all()
        assert not np.array_equal(one, three)
    with pytest.raises(ValueError, match="31 folds need as many groups, there are 30"):
        fold_rows(300, 31, groups=groups)


def test_classes_are_in_equal_shares_with_groups_and_as_floats() -> None:
    groups = np.repeat(np.arange(30), 10)
    y = (groups % 3 == 0).astype(int)
    for _, valid in fold_rows(300, 3, y=y, groups=groups):
        assert 0.25 < y[valid].mean() < 0.45
    rare = np.zeros(300)
    rare[:15] = 1
    assert shares(rare, 5, y=rare) == shares(rare, 5, y=rare.astype(int)) == [3] * 5
    for wrong in (np.linspace(0, 1, 300), np.r_[np.nan, rare[1:]], np.eye(300)):
        with pytest.raises(ValueError, match="y holds one class a row"):
            fold_rows(300, 5, y=wrong)
        assert len(fold_rows(300, StratifiedKFold(5), y=rare)) == 5


@pytest.mark.parametrize(
    ("folds", "told"),
    [
        (1, "between 2 and the 10 rows"),
        ([[0, 1], [1, 2]], "rows 1 of fold 1 are validated on more than once"),
        ([([0, 1], [1, 2])], "trains and validates on rows 1"),
        ([[0, 12]], r"must lie in 0..9, got 0..12"),
        ([[0.5]], "must be row numbers"),
        ([], "no folds"),
    ],
)
def test_folds_that_do_not_fit(folds, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fold_rows(10, folds)


def test_wrong_things() -> None:
    with pytest.raises(TypeError, match="got str"):
        fold_rows(10, "five")
    with pytest.raises(ValueError, match="y has 3 values for 10 rows"):
        fold_rows(10, 2, y=[0, 1, 0])
    learn = make(np.arange(200), np.arange(200, 300), 0)
    with pytest.raises(ValueError, match="100 validation rows, the fold has 150"):
        cross_validate(lambda *_: learn, 300, 2, fit=fit)
    few = ModelData(TensorLoader(X[:4], Y[:4]), TensorLoader(X[:2], Y[:2]))
    small = [Learner(few, nn.Linear(64, n), device="cpu", progress=False) for n in (10, 11)]
    with pytest.raises(ValueError, match="use StratifiedKFold"):
        cross_validate(lambda train, valid, fold: small[fold], 4, 2, fit=lambda learn: None)


def test_folds_of_other_targets_or_other_inputs_are_refused(tmp_path) -> None:
    cross_validate(make, 300, 3, fit=fit, path=tmp_path)

    def make_of(x: torch.Tensor, y: torch.Tensor):
        def made(train: np.ndarray, valid: np.ndarray, fold: int) -> Learner:
            loaders = TensorLoader(x[train], y[train], bs=32, shuffle=True), TensorLoader(x[valid], y[valid])
            return Learner(ModelData(*loaders), DigitsNet(), metrics=[accuracy], device="cpu", progress=False)

        return made

    with pytest.raises(ValueError, match=r"fold_0.safetensors was trained on other targets of the same rows"):
        cross_validate(make_of(X, 9 - Y), 300, 3, fit=fit, path=tmp_path)
    with pytest.raises(ValueError, match=r"fold_0.safetensors: the learner .* answers otherwise now"):
        cross_validate(make_of(X.flip(1), Y), 300, 3, fit=fit, path=tmp_path)


def test_folds_of_another_fit_are_told(tmp_path) -> None:
    first = cross_validate(make, 300, 2, fit=lambda learn: learn.fit(0.1, 1), path=tmp_path)
    with pytest.warns(UserWarning, match="fit is another function than when it was trained") as told:
        again = cross_validate(make, 300, 2, fit=lambda learn: learn.fit(1e-9, 1), path=tmp_path)
    assert len(told) == 2
    assert (first.predictions == again.predictions).all()


def test_folds_that_were_calibrated_are_so_when_they_are_read(tmp_path) -> None:
    def calibrated(learn: Learner) -> None:
        fit(learn)
        learn.calibrate()

    first, again = (cross_validate(make, 300, [range(220)], fit=calibrated, path=tmp_path) for _ in range(2))
    assert (first.predictions[:220] == again.predictions[:220]).all()
    assert again.learners[0].calibration == first.learners[0].calibration


def test_functions_are_the_same_by_what_they_do() -> None:
    def with_rate(rate: float):
        return lambda learn: learn.fit(rate, 1)

    assert fingerprint(with_rate(0.1)) == fingerprint(with_rate(0.1)) != fingerprint(with_rate(0.2))
    assert fingerprint(partial(fit, learn=1)) != fingerprint(partial(fit, learn=2))
    calls: list[int] = []
    counting = lambda learn: calls.append(1)  # noqa: E731
    before = fingerprint(counting)
    counting(None)
    assert before == fingerprint(counting)
    assert fingerprint(np.arange(3)) != fingerprint(np.array([0, 2, 1]))
    assert is_same("3.1:aa", "3.2:bb")
    assert not is_same("3.2:aa", "3.2:bb")


def test_masks_and_missing_groups() -> None:
    even = np.arange(60) % 2 == 0
    (train, valid), _ = fold_rows(60, [even, ~even])
    assert valid.tolist() == list(range(0, 60, 2))
    assert train.tolist() == list(range(1, 60, 2))
    groups = np.array([None if row == 3 else f"p{row % 9}" for row in range(60)], dtype=object)
    with pytest.raises(ValueError, match=r"groups has no value in row 3 \(1 such rows\)"):
        fold_rows(60, 3, groups=groups)
    with pytest.raises((TypeError, ValueError)) as caught:
        fold_rows(60, StratifiedKFold(3))
    assert "StratifiedKFold may need y or groups, not given" in "".join(caught.value.__notes__)
