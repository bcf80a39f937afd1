"""Which columns a model relies on: how much worse it gets when a column is shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from zoo.data.loaders.seeding import preserve_rng
from zoo.ensemble import Ensemble
from zoo.errors import did_you_mean, some
from zoo.inspect.plots import figure
from zoo.metrics import metric_name, streaming
from zoo.predictor import Predictor
from zoo_tabular.frames.frame_checks import name_list
from zoo_tabular.reasons.answers import counted, raw_outputs, told
from zoo_tabular.reasons.encoded_rows import TableRows, check_learner, encoded_rows, places, sampled
from zoo_tabular.reasons.metric_direction import higher_is_better as judged


@dataclass(frozen=True)
class Importance:
    """What `permutation_importance` found.

    Attributes:
        frame: one row a column or group, the most important first: `mean` is the increase of the error when
            it is shuffled, `std` its standard deviation over the repeats, `low` and `high` the limits of the
            95% interval.
        metric: name of the error.
        baseline: the metric with nothing shuffled.
        n_rows: rows it was measured on.
        n_repeats: shufflings of every column.
        higher_is_better: whether the metric falls when the error rises.
    """

    frame: pd.DataFrame
    metric: str
    baseline: float
    n_rows: int
    n_repeats: int
    higher_is_better: bool

    def plot(self, ax: Axes | None = None, *, top: int = 20) -> Axes:
        """Horizontal bars with intervals, the most important column at the top.

        Args:
            ax: where to draw.
            top: draw so many rows.

        Returns:
            The axes.
        """
        shown = self.frame.head(top)[::-1]
        ax = figure(7.5, 1.4 + 0.27 * len(shown)).add_subplot() if ax is None else ax
        clear = (shown["low"] > 0).to_numpy()
        mean = shown["mean"].to_numpy()
        whiskers = np.vstack([mean - shown["low"].to_numpy(), shown["high"].to_numpy() - mean]).clip(0)
        ax.barh(
            [str(name) for name in shown.index], mean, xerr=whiskers, height=0.7,
            color=np.where(clear, "C0", "0.75"), error_kw={"ecolor": "0.3", "elinewidth": 1, "capsize": 2},
        )  # fmt: skip
        ax.axvline(0, color="0.3", lw=0.8)
        ax.margins(y=0.01)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
        verb = "falls" if self.higher_is_better else "rises"
        left_out = len(self.frame) - len(shown)
        more = f"; {left_out} more not shown" if left_out else ""
        ax.set_xlabel(
            f"{self.metric} {verb} by ... when this column is shuffled (unshuffled: {told(self.baseline)})\n"
            f"lines: 95% intervals; grey: may be no more than chance{more}"
        )
        ax.set_title(f"What the model relies on ({counted(self.n_rows)})", fontsize="medium")
        return ax

    def __repr__(self) -> str:
        verb = "decrease" if self.higher_is_better else "increase"
        head = (
            f"{verb} of {self.metric} ({told(self.baseline)} on {counted(self.n_rows)}) "
            f"when a column is shuffled, with 95% intervals"
        )
        return f"{head}\n{self.frame.to_string(float_format=told)}"


def permutation_importance(
    learn: Predictor | Ensemble,
    df: pd.DataFrame | None = None,
    target: Any = None,
    *,
    metric: Any = None,
    higher_is_better: bool | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    columns: Sequence[str] | None = None,
    n_repeats: int = 5,
    n_rows: int | None = 10_000,
    n_bootstrap: int = 200,
    blocks: Any = None,
    seed: int = 0,
) -> Importance:
    """How much the error rises when a column is shuffled (Breiman 2001; Fisher, Rudin & Dominici 2019).

    Shuffling breaks what ties a column to the target and to all other columns, and leaves its distribution.
    Columns that say the same share their importance: neither alone is missed. Shuffle such columns together
    with `groups`. The rows are encoded once; a number is shuffled together with its `_na` column.

    The interval tells what other rows of the same kind, and other shufflings, might have given: the limits
    are percentiles of a bootstrap in which rows are drawn with replacement. A shuffled row is made of two,
    the one it is and the one that its value comes from, and counts as often as both were drawn (Arcones &
    Giné 1992 on statistics of pairs). Rows of one day or one store err together, which makes intervals too
    narrow; `blocks` draws whole days or stores instead. Under some 30 blocks, take limits as rough.

    Args:
        learn: a learner of a table, also a loaded one, or an `Ensemble` of such.
        df: raw rows; the learner's validation rows by default.
        target: the target of `df`: a column of it, or values.
        metric: `(predictions, targets) -> number` on the model's scale, a streaming metric, or a function of
            scikit-learn; the first one of the learner by default.
        higher_is_better: whether high values of the metric are good; by default as the metric's name tells,
            such as "..._error" and "..._score". A name that does not tell needs it.
        groups: columns to shuffle together by the name of the group.
        columns: measure these alone (columns that are in no group, and names of groups); all by default.
        n_repeats: shufflings of every column.
        n_rows: measure on so many rows drawn at random; all for None.
        n_bootstrap: draws for the interval.
        blocks: one value a row, such as `df["Date"]`: rows that share it are drawn together.
        seed: of rows, shufflings and draws.

    Raises:
        ValueError: for unknown columns, a column in two groups, rows without targets, fewer than two rows, a
            metric whose direction is not known.

    Example:
        >>> from zoo_tabular import ColumnarModelData
        >>> df = pd.DataFrame({"Kind": list("ab") * 20, "Sales": [1.0, 9.0] * 20})
        >>> md = ColumnarModelData.from_data_frame(".", range(20, 40), df, "Sales", ["Kind"], bs=10)
        >>> found = permutation_importance(md.get_learner(szs=[4], device="cpu"))
        >>> found.frame.columns.tolist()
        ['mean', 'std', 'low', 'high']
    """
    where = "permutation_importance"
    for name, value, least in (("n_repeats", n_repeats, 1), ("n_bootstrap", n_bootstrap, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{where}: {name} must be at least {least}, got {value!r}")
    features = _features(learn, groups, columns, where)
    if df is not None and target is None:
        raise ValueError(f"{where}: the target of df is needed to measure errors: give target as well")
    everything = encoded_rows(learn, df, target, where)
    chosen = sampled(len(everything), n_rows, seed)
    rows = everything.take(chosen)
    if len(rows) < 2:
        raise ValueError(f"{where}: shuffling needs at least two rows, there are {len(rows)}")
    score = _Score(learn, metric, higher_is_better, where)
    targets = rows.first.targets
    if targets is None:
        raise ValueError(f"{where}: these rows have no targets")
    numbered = _block_numbers(blocks, len(everything), chosen, where)
    orders = [np.random.default_rng([seed, repeat]).permutation(len(rows)) for repeat in range(n_repeats)]

    plain = raw_outputs(learn, lambda data: [(rows.of(data).codes, rows.of(data).numbers)])
    table = {}
    with preserve_rng(), warnings.catch_warnings():  # whatever a metric draws leaves no trace
        baseline = score(plain, targets)
        warnings.simplefilter("ignore")  # of draws without a rare class, which are left out
        base = [
            np.mean([score(plain[drawn], targets[drawn]) for drawn in draw])
            for draw in _resamples(numbered, orders, n_bootstrap, seed)
        ]
        for name, members in features.items():
            outputs = raw_outputs(learn, partial(_shuffled, rows, orders, members)).split(len(rows))
            rises = score.sign * (np.array([score(part, targets) for part in outputs]) - baseline)
            drawn = [
                np.mean([score(part[d], targets[d]) for part, d in zip(outputs, draw, strict=True)]) - before
                for draw, before in zip(_resamples(numbered, orders, n_bootstrap, seed), base, strict=True)
            ]
            known = score.sign * np.array(drawn)[np.isfinite(drawn)]
            low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
            table[name] = (rises.mean(), rises.std(ddof=1) if n_repeats > 1 else np.nan, low, high)
    frame = pd.DataFrame.from_dict(table, orient="index", columns=["mean", "std", "low", "high"])
    frame = frame.sort_values("mean", ascending=False, kind="stable").rename_axis("column")
    return Importance(frame, score.name, baseline, len(rows), n_repeats, score.sign < 0)


class _Score:
    """A metric of any kind as a number of raw outputs and targets.

    Attributes:
        sign: 1 when the error is the metric, -1 when a high value is good.
    """

    def __init__(self, learn: Any, metric: Any, higher_is_better: bool | None, where: str) -> None:
        if metric is None:
            if not learn.metrics:
                raise ValueError(f"{where}: the learner has no metric: give one as metric=")
            metric = learn.metrics[0]
        self.meter = streaming(metric)
        self.name = metric_name(metric)
        if higher_is_better is None:
            higher_is_better = judged(metric, self.name)
        if higher_is_better is None:
            raise ValueError(
                f"{where}: whether high values of the metric {self.name!r} are good is not clear from its "
                "name: say so with higher_is_better=True or higher_is_better=False"
            )
        self.sign = -1.0 if higher_is_better else 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        if not len(outputs):  # a draw without rows
            return float("nan")
        self.meter.reset()
        self.meter.update(outputs, targets)
        found = float(self.meter.compute())
        self.meter.reset()
        return found


def _features(
    learn: Any, groups: Mapping[str, Sequence[str]] | None, columns: Sequence[str] | None, where: str
) -> dict[str, list[str]]:
    """The columns that are shuffled together, by name."""
    processor = check_learner(learn, where)
    found: dict[str, list[str]] = {}
    grouped: dict[str, str] = {}
    for group, members in (groups or {}).items():
        together = name_list(members, f"{where}: group {group!r}")
        for name in together:
            if name in grouped:
                raise ValueError(f"{where}: column {name!r} is in the groups {grouped[name]!r} and {group!r}")
            grouped[name] = group
            places(processor, name, where)  # tells of an unknown one
        if not together:
            raise ValueError(f"{where}: the group {group!r} has no columns")
        found[str(group)] = together
    for name in processor.feature_names_in_:
        if name not in grouped:
            if name in found:
                raise ValueError(f"{where}: the group {name!r} has the name of a column that is not in it")
            found[name] = [name]
    if columns is None:
        return found
    wanted = name_list(columns, f"{where}: columns")
    unknown = [name for name in wanted if name not in found]
    if unknown:
        hint = f": it is in the group {grouped[unknown[0]]!r}" if unknown[0] in grouped else ""
        raise ValueError(
            f"{where}: no column or group {unknown[0]!r}{hint or did_you_mean(unknown[0], found)}; "
            f"there are {some(found, 12)}"
        )
    return {name: found[name] for name in wanted}


def _shuffled(
    rows: TableRows, orders: Sequence[np.ndarray], columns: Sequence[str], data: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows as `data` code them, once for every order, with some columns taken from other rows."""
    own, found = rows.of(data), [places(data.processor, name, "shuffle") for name in columns]
    codes = [place for in_codes, _ in found for place in in_codes]
    numbers = [place for _, in_numbers in found for place in in_numbers]
    for order in orders:
        mixed_codes, mixed_numbers = own.codes, own.numbers
        if codes:
            mixed_codes = own.codes.copy()
            mixed_codes[:, codes] = own.codes[order][:, codes]
        if numbers:
            mixed_numbers = own.numbers.copy()
            mixed_numbers[:, numbers] = own.numbers[order][:, numbers]
        yield mixed_codes, mixed_numbers


def _block_numbers(blocks: Any, n: int, chosen: np.ndarray, where: str) -> np.ndarray:
    """The number of the block of every chosen row; every row is one of its own by default."""
    if blocks is None:
        return np.arange(len(chosen))
    values = pd.Series(np.asarray(blocks))
    if len(values) != n:
        raise ValueError(f"{where}: blocks has {len(values)} values for {n} rows")
    numbered = pd.factorize(values[chosen], use_na_sentinel=False)[0]
    if not numbered.any():
        raise ValueError(
            f"{where}: all {len(chosen)} rows are in one block, {told(values.iloc[chosen[0]])}; "
            "intervals need several blocks to draw from"
        )
    return numbered


def _resamples(
    blocks: np.ndarray, orders: Sequence[np.ndarray], n_bootstrap: int, seed: int
) -> Iterator[list[Tensor]]:
    """Bootstrap draws of as many blocks as there are: for every order the shuffled rows, each as often as the
    block it is in times the block that its value comes from."""
    rng = np.random.default_rng([seed, len(blocks)])
    n_blocks = int(blocks.max()) + 1
    rows = np.arange(len(blocks))
    for _ in range(n_bootstrap):
        times = np.bincount(rng.integers(0, n_blocks, n_blocks), minlength=n_blocks)[blocks]
        yield [torch.from_numpy(np.repeat(rows, times * times[order])) for order in orders]
