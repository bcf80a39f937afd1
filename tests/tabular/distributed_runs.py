"""What the tests of streamed tables in several processes run in each of them, and in one to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch

from tests.core.distributed_runs import told
from zoo import distributed, set_seed
from zoo_tabular import ColumnarModelData


def write(folder: Path) -> Path:
    """Rows of several row groups."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"Store": rng.integers(0, 9, 700), "Distance": rng.normal(size=700)})
    frame["Sales"] = 0.3 * frame["Store"] - frame["Distance"] + rng.normal(size=700)
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame), folder / "sales.parquet", row_group_size=60)
    return folder


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def streamed(path: Path) -> dict[str, Any]:
    """Batches that are cut into unequal shares; validation rows streamed as well."""
    set_seed(0)
    folder = write(path / f"rows{distributed.rank()}")
    data = ColumnarModelData.from_parquet(
        path, ds.field("Distance") > 0.9, folder, "Sales", ["Store"], 33, seed=1, buffer_rows=90,
        cat_dropout=0.0,
    )  # fmt: skip
    data.train_dl.seed += distributed.rank()  # as if every process had drawn its own order
    learn = data.get_learner(szs=(16,), opt_fn=sgd, device="cpu", progress=False)
    learn.fit(0.02, 2)
    return {**told(learn), "predicted": torch.from_numpy(learn.predict())}


RUNS = {"streamed": streamed}
