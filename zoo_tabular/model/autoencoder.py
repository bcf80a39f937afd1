"""Features without targets: a network that repairs rows learns what a row is in a few numbers.

Rows go in with some cells swapped for those of other rows, and the network must give back the rows as they
were, through a narrow middle; what the middle says about a row are its features. Swap noise as in the winning
entry of the Porto Seguro competition (M. Jahrer 2017, kaggle.com/c/porto-seguro-safe-driver-prediction,
discussion 44629: 15% of the cells); denoising autoencoders by Vincent et al. 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data.loaders import ModelData, TensorLoader
from zoo.losses import Activation
from zoo.storage.registry import register_model
from zoo_tabular.data import ColumnarModelData
from zoo_tabular.frames.features import feature_names
from zoo_tabular.frames.frame_checks import check_frame
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.splits import split_rows
from zoo_tabular.learner import TabularLearner
from zoo_tabular.model.layers import FusedEmbedding


def _example() -> tuple[nn.Module, tuple[Tensor, Tensor], Tensor]:
    model = AutoencoderModel([(5, 3), (4, 2)], 3, 2, [8])
    codes = torch.tensor([[0, 1], [4, 3], [2, 0], [1, 2]])
    numbers = torch.linspace(-1, 1, 12).view(4, 3)
    return model, (codes, numbers), torch.cat([numbers, torch.zeros(4, 9)], 1)


@register_model("tabular.autoencoder", example=_example)
class AutoencoderModel(nn.Module):
    """Embeddings and numbers -> hidden layers -> narrow middle -> hidden layers -> all columns.

    Args:
        emb_szs: (levels, width) of every category column; may be empty.
        n_cont: number columns; may be 0.
        width: numbers in the middle.
        szs: hidden sizes before the middle, mirrored after it; may be empty.

    Shape:
        codes (rows, category columns), numbers (rows, n_cont) -> (rows, n_cont + sum of levels): numbers,
        then scores of the levels of each category.

    Example:
        >>> model = AutoencoderModel([(5, 3)], 2, 4, [8]).eval()
        >>> inputs = torch.zeros(6, 1, dtype=torch.long), torch.zeros(6, 2)
        >>> model(*inputs).shape, model.encode(*inputs).shape
        (torch.Size([6, 7]), torch.Size([6, 4]))
    """

    def __init__(
        self, emb_szs: Sequence[Sequence[int]], n_cont: int, width: int = 16, szs: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        if width < 1 or any(size < 1 for size in szs):
            raise ValueError(f"width and szs must be positive, got {width} and {list(szs)}")
        if n_cont < 0 or (not n_cont and not len(emb_szs)):
            raise ValueError("the model needs at least one category or number column")
        self.n_cont, self.width = n_cont, width
        self.embeddings = FusedEmbedding(emb_szs) if len(emb_szs) else None
        n_in = n_cont + (self.embeddings.out_features if self.embeddings is not None else 0)
        self.encoder = nn.Sequential(*_layers(n_in, szs), nn.Linear(szs[-1] if len(szs) else n_in, width))
        back = list(reversed(szs))
        n_out = n_cont + sum(int(levels) for levels, _ in emb_szs)
        self.decoder = nn.Sequential(*_layers(width, back), nn.Linear(back[-1] if back else width, n_out))

    def encode(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """The middle: features of shape (rows, width)."""
        parts = [] if self.embeddings is None else [self.embeddings(codes)]
        parts += [numbers] if self.n_cont else []
        return self.encoder(torch.cat(parts, 1))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return self.decoder(self.encode(codes, numbers))

    def layer_groups(self) -> dict[str, Any]:
        """Embeddings, then the way to the middle, then the way back."""
        first = {"embeddings": [self.embeddings]} if self.embeddings is not None else {}
        return {**first, "encoder": [self.encoder], "decoder": [self.decoder]}


def _layers(n_in: int, szs: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in szs:
        layers += [nn.Linear(n_in, size), nn.ReLU(), nn.BatchNorm1d(size)]
        n_in = size
    return layers


class ReconstructionLoss(nn.Module):
    """How far rebuilt rows are from the real ones, as the mean over columns.

    Squared error of scaled numbers, cross entropy of categories divided by the logarithm of their levels: a
    network that knows nothing is at about 1 in every column.

    Args:
        n_cont: number columns.
        levels: codes of each category column.

    Shape:
        predictions (rows, n_cont + sum of levels), targets (rows, n_cont + categories); result: a scalar.
    """

    def __init__(self, n_cont: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.n_cont, self.levels = n_cont, list(levels)
        self.activation = Activation("identity")

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return self.cells(preds, targets).mean()

    def cells(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The loss of every cell, shape (rows, n_cont + categories)."""
        preds = preds.float()
        parts = [(preds[:, : self.n_cont] - targets[:, : self.n_cont]).square()]
        scores = preds[:, self.n_cont :].split(self.levels, 1) if self.levels else ()
        for i, part in enumerate(scores):
            wrong = F.cross_entropy(part, targets[:, self.n_cont + i].long(), reduction="none")
            parts.append(wrong[:, None] / math.log(self.levels[i]))
        return torch.cat(parts, 1)


class SwapNoise:
    """Swaps cells of training rows for those of other rows of the batch; the targets stay as they were.

    Args:
        rate: share of the cells.
    """

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"swap_noise is a share of cells, at least 0 and below 1, got {rate}")
        self.rate = rate

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        if not training or not self.rate:
            return batch
        *inputs, target = batch
        return *(self._swap(part, generator) for part in inputs), target

    def _swap(self, part: Tensor, generator: torch.Generator) -> Tensor:
        options = {"generator": generator, "device": part.device}
        others = torch.randint(len(part), part.shape, **options)
        hit = torch.rand(part.shape, **options) < self.rate
        return torch.where(hit, part.gather(0, others), part)


class AutoencoderData(ColumnarModelData):
    """Rows of a table that are their own target; made by `from_frame`."""

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

    def get_autoencoder(
        self, width: int = 16, szs: Sequence[int] = (256, 256), **options: Any
    ) -> AutoencoderLearner:
        """A learner around a new `AutoencoderModel`; `options` as in `Learner`."""
        model = AutoencoderModel(self.embedding_sizes(), len(self.processor.number_names_), width, szs)
        return AutoencoderLearner(self, model, **options)

    def default_loss(self) -> ReconstructionLoss:
        return ReconstructionLoss(
            len(self.processor.number_names_), [column.n_codes for column in self.processor.categories_]
        )

    def default_metrics(self) -> list:
        return []

    def set_test(self, test_df: pd.DataFrame) -> None:
        """Replace the rows that `learn.predict(True)` rebuilds."""
        self.test_dl = TensorLoader(*_own_targets(self.processor, check_frame(test_df, "test_df")), bs=4096)

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
