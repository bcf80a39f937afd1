"""A learner whose every answer can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from zoo_tabular import ColumnarModelData, TabularLearner

KIND = {"a": -1.0, "b": 0.0, "c": 2.0}
PER_SIZE, MISSING_KIND, UNKNOWN_KIND, MISSING_SIZE = 0.25, 0.5, -0.25, 3.0
NAMES = ["Kind", "Shade"]


def known_frame(n: int = 600) -> pd.DataFrame:
    """Kind and Size tell the target; Noise, Shade and Idle do not."""
    rng = np.random.default_rng(5)
    df = pd.DataFrame(
        {
            "Kind": rng.choice(list("abc"), n),
            "Shade": rng.choice(["dark", "light"], n),
            "Size": rng.normal(10, 4, n).round(2),
            "Noise": rng.normal(0, 1, n),
            "Idle": rng.normal(0, 1, n),
            "Date": pd.date_range("2024-01-01", periods=n, freq="6h"),
        }
    )
    df.loc[::15, "Kind"] = None
    df.loc[::11, "Size"] = np.nan
    df["Sales"] = known_answer(df) + rng.normal(0, 0.1, n)
    return df


def known_answer(df: pd.DataFrame, median: float = 10.0) -> np.ndarray:
    """What the target is without noise."""
    kind = df["Kind"].map(KIND).fillna(MISSING_KIND)
    size = df["Size"].fillna(median) * PER_SIZE + df["Size"].isna() * MISSING_SIZE
    return (20 + kind + size).to_numpy(dtype="float64")


def known_learner(
    path: object, *, noise: float = 0.0, n_out: int = 1, transform: str | None = None
) -> TabularLearner:
    """An untrained linear model of `known_frame` with weights set by hand; it adds `noise` times Noise.

    A second output is minus the first. The last 200 rows are for validation.
    """
    df = known_frame()
    target: object = "Sales"
    if n_out == 2:
        target = pd.DataFrame({"one": df["Sales"], "two": -df["Sales"]})
    md = ColumnarModelData.from_data_frame(
        path,
        range(400, 600),
        df,
        target,
        NAMES,
        64,
        cont_flds=["Size", "Noise", "Idle"],
        target_transform=transform,
    )
    learn = md.get_learner([(3, 1), (2, 1)], szs=[], use_bn=False, emb_drop=0.0, progress=False, device="cpu")
    size, shaken, _ = md.processor.numbers_
    table = torch.tensor([MISSING_KIND, *KIND.values(), 0.0, UNKNOWN_KIND])
    with torch.no_grad():
        learn.model.embeddings.table(0)[:, 0] = table
        learn.model.embeddings.table(1)[:] = 0.0
        weight = torch.tensor([1.0, 1.0, PER_SIZE * size.std, noise * shaken.std, 0.0, MISSING_SIZE])
        sign = torch.tensor([1.0, -1.0])[:n_out]
        learn.model.output.weight[:] = sign[:, None] * weight
        learn.model.output.bias[:] = sign * (20 + PER_SIZE * size.mean + noise * shaken.mean)
    return learn


def state(learn: TabularLearner) -> tuple:
    """Everything that an explanation must leave alone."""
    weights = tuple(value.clone() for value in learn.model.state_dict().values())
    modes = tuple(module.training for module in learn.model.modules())
    return weights, modes, torch.get_rng_state(), np.random.get_state()[1].copy()


def assert_same(before: tuple, after: tuple) -> None:
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])
    assert np.array_equal(before[3], after[3])
