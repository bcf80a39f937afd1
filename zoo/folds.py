"""Cross-validation: every row is predicted by a learner that has not seen it."""

from __future__ import annotations

import json
import logging
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from zoo.data.fingerprint import fingerprint, is_same
from zoo.data.loaders.seeding import mix_seeds, seeded
from zoo.distributed.group import write_once
from zoo.ensemble import Ensemble
from zoo.errors import some
from zoo.inspect.calibration import Calibration
from zoo.learner import Learner
from zoo.storage.archive import load_metadata, load_state, save_state
from zoo.storage.weights import load_weights

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("zoo")

MakeLearner = Callable[[np.ndarray, np.ndarray, int], Learner]
Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CrossValidation:
    """What `zoo.cross_validate` gives; print it.

    Attributes:
        predictions: out-of-fold answers in the order of the rows, in the form of `learn.predict()`; NaN for
            rows that no fold validates on.
        fold: the fold that validates on each row, -1 for none.
        scores: one row a fold with what `learn.evaluate()` gives, then their mean and standard deviation.
        learners: one a fold.
    """

    predictions: np.ndarray
    fold: np.ndarray
    scores: pd.DataFrame
    learners: list[Learner]

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the rows that no fold validates on."""
        return np.flatnonzero(self.fold < 0)

    def ensemble(self) -> Ensemble:
        """The learners of all folds as one, for new raw rows."""
        return Ensemble(self.learners)

    def __repr__(self) -> str:
        lines = [self.scores.round(5).to_string()]
        if len(self.missing):
            lines.append(
                f"{len(self.missing):,} of {len(self.fold):,} rows are in no fold: they have no predictions"
            )
        return "\n".join(lines)


def cross_validate(
    make_learner: MakeLearner,
    rows: Any,
    folds: Any = 5,
    *,
    fit: Callable[[Learner], Any],
    y: Any = None,
    groups: Any = None,
    path: str | Path | None = None,
    seed: int = 0,
) -> CrossValidation:
    """Train one learner a fold and predict every row by the one that has not seen it.

    Args:
        make_learner: `(train_rows, valid_rows, fold) -> Learner`, a new one for every fold. The two arrays
            are row numbers; whatever is learned of data (levels, means, vocabularies) has to be learned of
            the training rows in here. The validation rows are given, and must come, in ascending order.
        rows: how many there are, or a frame or array of them.
        folds: a number (shuffled; whole groups together with `groups`, classes in shares as equal as groups
            allow with `y`); a splitter of scikit-learn, such as `TimeSeriesSplit(5)`; or a list with the
            validation rows of each fold, or with pairs (training rows, validation rows).
        fit: trains a learner, such as `lambda learn: learn.fit_one_cycle(5, 1e-2)`.
        y: classes of the rows (whole numbers, also as floats, or names), for folds that look at them; a
            splitter may take other values.
        groups: of the rows, for folds that look at them.
        path: a folder for what each fold gave. Run again after whatever ended it, folds that are there are
            not trained again. Each answers its validation rows once more, so that one of other data is
            refused; a warning tells where `fit` or `make_learner` is another function than it was.
        seed: of the shuffling, and with the fold's number of everything random in making and fitting its
            learner. Generators are afterwards as before.

    Returns:
        Predictions out of fold, scores, the learners and their ensemble.

    Raises:
        ValueError: for folds that overlap or do not fit the rows, and for files at `path` of other folds, of
            other targets, or whose learner answers otherwise than it did.

    Example:
        >>> import zoo
        >>> x = torch.arange(40.0)[:, None] / 40
        >>> def make(train, valid, fold):
        ...     data = zoo.ModelData(*(zoo.TensorLoader(x[part], 3 * x[part]) for part in (train, valid)))
        ...     return zoo.Learner(data, torch.nn.Linear(1, 1), device="cpu", progress=False)
        >>> found = cross_validate(make, 40, 4, fit=lambda learn: learn.fit(0.1, 1))
        >>> found.predictions.shape, list(found.scores.index)
        ((40, 1), [0, 1, 2, 3, 'mean', 'std'])
    """
    return run_folds(
        make_learner, rows, folds, fit=fit, y=y, groups=groups, path=path, seed=seed, made_of=make_learner
    )


def run_folds(
    make_learner: MakeLearner,
    rows: Any,
    folds: Any,
    *,
    fit: Callable[[Learner], Any],
    y: Any,
    groups: Any,
    path: str | Path | None,
    seed: int,
    made_of: Any,
) -> CrossValidation:
    """What `cross_validate` does.

    Args:
        made_of: what the learners follow from; files of folds that followed from other things are told.
    """
    import pandas as pd

    n = int(rows) if isinstance(rows, int | np.integer) else len(rows)
    table = None if isinstance(rows, int | np.integer) else rows
    parts = fold_rows(n, folds, y=y, groups=groups, seed=seed, table=table)
    origin = {} if path is None else {"zoo.fit": fingerprint(fit), "zoo.made_of": fingerprint(made_of)}
    learners: list[Learner] = []
    scores: list[dict[str, float]] = []
    predictions = np.empty(0)
    fold_of = np.full(n, -1)
    for number, (train, valid) in enumerate(parts):
        with seeded(mix_seeds(seed, number) % 2**32):
            learn = make_learner(train.copy(), valid.copy(), number)
            if any(learn is other for other in learners):
                raise ValueError("cross_validate: make_learner must return a new learner for every fold")
            folder = None if path is None else Path(path)
            score, found = _fold(learn, fit, folder, number, (train, valid), origin)
        if len(found) != len(valid):
            raise ValueError(
                f"cross_validate: the learner of fold {number} answers {len(found)} validation rows, the "
                f"fold has {len(valid)}: make_learner must validate on all rows given, in their order"
            )
        if not learners:
            predictions = np.full((n, *found.shape[1:]), np.nan, dtype=found.dtype)
        elif predictions.shape[1:] != found.shape[1:]:
            raise ValueError(
                f"cross_validate: fold {number} predicts {found.shape[1:]} values a row, those before "
                f"{predictions.shape[1:]}: some classes have no rows in some folds; use StratifiedKFold"
            )
        predictions[valid], fold_of[valid] = found, number
        learn.opt = None  # its averages would fill the memory of as many models again
        learners.append(learn)
        scores.append(score)
    each = pd.DataFrame(scores)
    both = pd.DataFrame([each.mean(), each.std()], index=["mean", "std"])
    return CrossValidation(predictions, fold_of, pd.concat([each, both]), learners)


def _fold(
    learn: Learner,
    fit: Callable[[Learner], Any],
    path: Path | None,
    number: int,
    rows: Rows,
    origin: Mapping[str, str],
) -> tuple[dict[str, float], np.ndarray]:
    """Scores and predictions of one fold, trained or read."""
    file = None if path is None else path / f"fold_{number}.safetensors"
    mark = str(zlib.crc32(b"".join(part.astype("int64").tobytes() + b"|" for part in rows)))
    if file is not None and file.is_file():
        return _read(file, learn, mark, origin)
    fit(learn)
    if learn._fits._is_open:  # Ctrl-C ended the fit cleanly: half a fold is none
        raise KeyboardInterrupt(f"cross_validate was interrupted in fold {number}")
    score = learn.evaluate()
    found, targets = learn.predict_with_targs()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        calibration = None if learn.calibration is None else learn.calibration.to_dict()
        told = {
            "zoo.kind": "fold", "zoo.model": type(learn.model).__name__, "zoo.rows": mark,
            "zoo.scores": json.dumps(score), "zoo.calibration": json.dumps(calibration), **origin,
        }  # fmt: skip
        tensors = {f"model.{name}": value for name, value in learn.model.state_dict().items()}
        tensors["predictions"] = torch.from_numpy(np.ascontiguousarray(found))
        if isinstance(targets, np.ndarray) and targets.dtype.kind in "biuf":
            tensors["targets"] = torch.from_numpy(np.ascontiguousarray(targets))
        write_once(file, lambda: save_state(file, tensors, told))
    return score, found


def _read(
    file: Path, learn: Learner, mark: str, origin: Mapping[str, str]
) -> tuple[dict[str, float], np.ndarray]:
    """Scores and predictions of a fold that was trained before, if it is this one."""
    begin_anew = "use another path, or delete it to train the fold anew"
    kept = load_metadata(file)
    if kept.get("zoo.rows") != mark:
        raise ValueError(f"{file} is of another fold or of other rows: {begin_anew}")
    tensors = load_state(file)
    found = tensors.pop("predictions").numpy()
    targets = tensors.pop("targets", None)
    weights = {name.removeprefix("model."): value for name, value in tensors.items()}
    load_weights(learn.model, weights, str(file), kept)
    calibration = json.loads(kept.get("zoo.calibration", "null"))
    learn.calibration = None if calibration is None else Calibration.from_dict(calibration)
    now, truth = learn.predict_with_targs()
    if targets is not None and not _close(targets.numpy(), truth, 1e-5):
        raise ValueError(f"{file} was trained on other targets of the same rows: {begin_anew}")
    if not _close(found, now, 0.02):
        raise ValueError(
            f"{file}: the learner that was trained then answers otherwise now, so inputs, columns or options "
            f"of the data or the model are others: {begin_anew}"
        )
    for key, what in (("zoo.fit", "fit is another function"), ("zoo.made_of", "data or options are others")):
        if key in kept and not is_same(kept[key], origin[key]):
            warnings.warn(
                f"{file} is taken as it is, though {what} than when it was trained; {begin_anew}",
                stacklevel=5,
            )
    log.info("%s: the fold was read", file)
    return json.loads(kept["zoo.scores"]), found


def _close(kept: np.ndarray, now: Any, tolerance: float) -> bool:
    """Whether values are equal up to a share of their own size and of their spread."""
    if not isinstance(now, np.ndarray) or kept.shape != now.shape:
        return False
    finite = kept[np.isfinite(kept)]
    spread = float(finite.std()) if len(finite) else 0.0
    return np.allclose(kept, now, rtol=tolerance, atol=tolerance * spread, equal_nan=True)


def fold_rows(
    n: int, folds: Any, *, y: Any = None, groups: Any = None, seed: int = 0, table: Any = None
) -> list[Rows]:
    """Training and validation rows of every fold, checked; arguments as of `cross_validate`.

    Args:
        table: the rows, for splitters that look at them.

    Example:
        >>> [valid.tolist() for _, valid in fold_rows(4, [[0, 1], [2, 3]])]
        [[0, 1], [2, 3]]
    """
    for name, values in (("y", y), ("groups", groups)):
        if values is not None and len(values) != n:
            raise ValueError(f"cross_validate: {name} has {len(values)} values for {n} rows")
    if groups is not None and pd.isna(np.asarray(groups, dtype=object)).any():
        missing = np.flatnonzero(pd.isna(np.asarray(groups, dtype=object)))
        raise ValueError(
            f"cross_validate: groups has no value in row {missing[0]} ({len(missing)} such rows): give each "
            "of them a group, or leave them out"
        )
    if isinstance(folds, bool):
        raise TypeError("cross_validate: folds is a number, a splitter of scikit-learn or a list, got a bool")
    if isinstance(folds, int | np.integer):
        folds = _splitter(int(folds), n, y, groups, seed)
    if isinstance(folds, str) or not (hasattr(folds, "split") or isinstance(folds, Iterable)):
        raise TypeError(
            "cross_validate: folds is a number, a splitter of scikit-learn or a list of row numbers, got "
            f"{type(folds).__name__}"
        )
    if hasattr(folds, "split"):
        parts = _split_by(folds, np.empty((n, 0)) if table is None else table, y, groups)
    else:
        parts = [_pair(one, n) for one in folds]
    checked = [(np.asarray(train), np.asarray(valid)) for train, valid in parts]
    _check(checked, n)
    return [(train, np.sort(valid)) for train, valid in checked]


def _split_by(splitter: Any, table: Any, y: Any, groups: Any) -> list[Any]:
    try:
        return list(splitter.split(table, y, groups))
    except (TypeError, ValueError) as error:
        lacking = [name for name, values in (("y", y), ("groups", groups)) if values is None]
        if lacking:
            needs = " or ".join(lacking)
            error.add_note(f"cross_validate: {type(splitter).__name__} may need {needs}, not given")
        raise


def _splitter(count: int, n: int, y: Any, groups: Any, seed: int) -> Any:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if not 2 <= count <= n:
        raise ValueError(f"cross_validate: folds must lie between 2 and the {n} rows, got {count}")
    if groups is not None:
        several = len(set(np.asarray(groups).tolist()))
        if several < count:
            raise ValueError(f"cross_validate: {count} folds need as many groups, there are {several}")
    if y is None:
        kind: Any = KFold if groups is None else GroupKFold
    else:
        _check_classes(np.asarray(y))
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    return kind(count, shuffle=True, random_state=seed)


def _check_classes(y: np.ndarray) -> None:
    numbers = y.dtype.kind == "f"
    if y.ndim != 1 or (numbers and not (y == np.floor(y)).all()):
        what = "numbers with fractions or gaps" if y.ndim == 1 else f"values of shape {y.shape}"
        raise ValueError(
            "cross_validate: y holds one class a row, for a number of folds with classes in equal shares; "
            f"got {what}: leave y out, or give classes (such as bins of the numbers)"
        )


def _pair(one: Any, n: int) -> tuple[Any, Any]:
    """Training and validation rows; the training rows are all others where only the latter are given."""
    if isinstance(one, tuple) and len(one) == 2 and all(np.ndim(part) == 1 for part in one):
        return one
    valid = np.asarray(one)
    if valid.dtype == bool and valid.shape == (n,):
        valid = np.flatnonzero(valid)
    return np.setdiff1d(np.arange(n), valid), valid


def _check(parts: Sequence[Rows], n: int) -> None:
    if not parts:
        raise ValueError("cross_validate: there are no folds")
    seen = np.full(n, -1)
    for number, pair in enumerate(parts):
        for name, rows in zip(("training", "validation"), pair, strict=True):
            if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
                raise ValueError(
                    f"cross_validate: the {name} rows of fold {number} must be row numbers, at least one"
                )
            if rows.min() < 0 or rows.max() >= n:
                raise ValueError(
                    f"cross_validate: the {name} rows of fold {number} must lie in 0..{n - 1}, got "
                    f"{rows.min()}..{rows.max()}"
                )
        train, valid = pair
        both = np.intersect1d(train, valid)
        if len(both):
            raise ValueError(f"cross_validate: fold {number} trains and validates on rows {some(both)}")
        again = valid[seen[valid] >= 0]
        if len(again) or len(np.unique(valid)) < len(valid):
            raise ValueError(
                f"cross_validate: rows {some(again if len(again) else valid)} of fold {number} are validated "
                "on more than once: every row needs one prediction"
            )
        seen[valid] = number
