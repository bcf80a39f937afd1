"""Features without targets: rows that are their own target, and the learner that repairs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.loaders.seeding import seeded
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.model_data import ModelData
from zoo.data.ports import Units
from zoo.engine.layer_groups import GroupSpec
from zoo.keywords import completed, takes
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_tabular.data.columnar import ColumnarModelData
from zoo_tabular.frames.features import feature_names
from zoo_tabular.frames.frame_checks import check_frame
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.splits import split_rows
from zoo_tabular.learner import TabularLearner
from zoo_tabular.model.autoencoder import AutoencoderModel, ReconstructionLoss, SwapNoise


class AutoencoderData(ColumnarModelData):
    """Rows of a table that are their own target; made by `from_frame`."""

    domain: ClassVar[str] = "tabular_autoencoder"
    noise_kind: ClassVar[Any] = SwapNoise

    @classmethod
    def from_frame(
        cls,
        path: str | Path,
        val_idxs: Sequence[int] | np.ndarray | None,
        df: pd.DataFrame,
        cat_flds: Sequence[str],
        bs: int = 128,
        *,
        cont_flds: Sequence[str] | None = None,
        swap_noise: float = 0.15,
        min_count: int = 1,
        max_levels: int | None = None,
        seed: int | None = None,
    ) -> AutoencoderData:
        """Data from a frame; arguments as in `ColumnarModelData.from_data_frame`, without a target.

        Args:
            swap_noise: share of the cells that come from other rows. Leave targets out of the columns.
        """
        where = "from_frame"
        check_frame(df, where, empty_ok=False)
        cats, conts = feature_names(df, cat_flds, cont_flds, [], where)
        train_rows, val_rows = split_rows(val_idxs, len(df))
        if not isinstance(bs, int | np.integer) or bs < 2:
            raise ValueError(f"bs is the number of rows per batch and must be at least 2, got {bs!r}")
        processor = TableProcessor(
            cats, conts, min_count=min_count, max_levels=max_levels, na_columns="seen", scale=True
        ).fit(df.iloc[train_rows])
        n = len(train_rows)
        train_dl = TensorLoader(
            *_own_targets(processor, df.iloc[train_rows]), bs=bs, shuffle=True, seed=seed,
            drop_last=n > bs and n % bs == 1, batch_transform=SwapNoise(swap_noise),
        )  # fmt: skip
        valid_dl = (
            TensorLoader(*_own_targets(processor, df.iloc[val_rows]), bs=4096) if len(val_rows) else None
        )
        return cls(train_dl, valid_dl, None, path, processor=processor, task="autoencoder")

    def _target_columns(self, target: Any, n: int) -> dict[str, Any]:
        """None: the rows are their own target."""
        return {}

    @takes(LearnerOptions, LEARNER_DEFAULTS)
    def get_autoencoder(
        self,
        width: int = 16,
        szs: Sequence[int] = (256, 256),
        *,
        layer_groups: GroupSpec | None = None,
        **options: Unpack[LearnerOptions],
    ) -> AutoencoderLearner:
        """A learner around a new `AutoencoderModel`.

        Args:
            width: numbers in the middle: how many features.
            szs: hidden sizes before the middle, mirrored after it.
            layer_groups: as in `Learner`; embeddings, encoder and decoder by default.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, options, "get_autoencoder")
        with seeded(chosen["seed"]):
            model = AutoencoderModel(self.embedding_sizes(), len(self.processor.number_names_), width, szs)
        return AutoencoderLearner(self, model, layer_groups=layer_groups, **chosen)

    def default_loss(self) -> ReconstructionLoss:
        return ReconstructionLoss(
            len(self.processor.number_names_), [column.n_codes for column in self.processor.categories_]
        )

    def default_metrics(self) -> list:
        return []

    def noise_of(self, rate: float) -> SwapNoise:
        """What disturbs a share of each training batch."""
        return SwapNoise(rate)

    def set_test(self, test_df: pd.DataFrame) -> None:
        """Replace the rows that `learn.predict(True)` rebuilds."""
        self.test_dl = TensorLoader(*_own_targets(self.processor, check_frame(test_df, "test_df")), bs=4096)

    def output_units(self) -> Units:
        meaning = (
            "the row as the network rebuilds it: scaled numbers, then scores of the codes of each category"
        )
        return Units(meaning=meaning)

    def decode(self, outputs: Tensor) -> list[dict[str, Any]]:  # type: ignore[override]
        """Rebuilt rows as dicts, in the user's units; a code without a level becomes None."""
        columns: dict[str, list] = {}
        start = len(self.processor.number_names_)
        for column in self.processor.categories_:
            best = outputs[:, start : start + column.n_codes].argmax(1).tolist()
            columns[column.name] = [
                column.levels[code - 1] if 1 <= code <= len(column.levels) else None for code in best
            ]
            start += column.n_codes
        for i, number in enumerate(self.processor.numbers_):
            columns[number.name] = (outputs[:, i].double() * number.std + number.mean).tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _own_targets(processor: TableProcessor, df: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes, numbers = processor.transform_arrays(df)
    return codes, numbers, np.concatenate([numbers, codes.astype("float32")], 1)


class AutoencoderLearner(TabularLearner):
    """Trains an autoencoder and gives the features of rows; made by `AutoencoderData.get_autoencoder`.

    `predict_batch` and `predict_one` give rows as the network remembers them, as dicts.

    Example:
        >>> df = pd.DataFrame({"kind": list("abab") * 8, "size": range(32)})
        >>> data = AutoencoderData.from_frame(".", None, df, ["kind"], bs=16, seed=0)
        >>> learn = data.get_autoencoder(2, [8], seed=0, device="cpu", progress=False)
        >>> rows = learn.fit_one_cycle(2, 0.01)
        >>> learn.features(df).shape, sorted(learn.predict_one({"kind": "a", "size": 3}))
        ((32, 2), ['kind', 'size'])
    """

    domain: ClassVar[str] = "tabular_autoencoder"
    data_class: ClassVar[type[ModelData]] = AutoencoderData
    data: AutoencoderData
    model: AutoencoderModel

    def features(self, items: Any) -> pd.DataFrame:
        """What the narrow middle says about rows.

        Args:
            items: a frame, a dict, a list of dicts, or an array, as for `predict_batch`.

        Returns:
            Float32 columns feature_0, feature_1, ..., with the index of a frame.
        """
        self.model.eval()
        with torch.inference_mode():
            parts = [
                self.model.encode(*(part.to(self.device) for part in batch)).float().cpu().numpy()
                for batch in self.data.batches_from_raw(items)
            ]
        table = np.concatenate(parts)
        index = items.index if isinstance(items, pd.DataFrame) else None
        return pd.DataFrame(table, index=index, columns=[f"feature_{i}" for i in range(table.shape[1])])

    def errors(self, items: Any) -> pd.DataFrame:
        """How badly each cell is rebuilt: odd rows, and what is odd about them.

        Returns:
            One row a row, one column a column that the model rebuilds (`ReconstructionLoss` explains the
            unit); the mean of a row tells how unlike the training rows it is.
        """
        loss = self.data.default_loss()
        parts = []
        for codes, numbers in self.data.batches_from_raw(items):
            outputs = torch.from_numpy(self.predict_array((codes, numbers)))
            parts.append(loss.cells(outputs, torch.cat([numbers, codes.float()], 1)).numpy())
        names = [*self.data.processor.number_names_, *(c.name for c in self.data.processor.categories_)]
        index = items.index if isinstance(items, pd.DataFrame) else None
        return pd.DataFrame(np.concatenate(parts), index=index, columns=names)
