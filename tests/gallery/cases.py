"""A small trained learner of every class, the fit that trained it, and raw inputs for it."""

from __future__ import annotations

import contextlib
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch

from tests.core.helpers import DigitsNet, digits
from zoo import Callback, Learner, ModelData, TensorLoader, get_cv_idxs, set_seed

OPTIONS: dict[str, Any] = {"device": "cpu", "progress": False, "seed": 0, "precision": "fp32"}


@dataclass
class Case:
    """A learner as it is before its fit, that fit, and raw inputs."""

    learn: Learner
    fit: Callable[..., Any]
    raw: Any
    every: int = 4


class Ended(Exception):
    """The process of a fit came to its end."""


class EndAt(Callback):
    """Ends a fit in the middle of an epoch."""

    order = 1000

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def after_batch(self, state: Any) -> None:
        if state.training and state.batches_before + state.batch_index + 1 == self.batch:
            raise Ended


def core(path: Path) -> Case:
    x, y = digits()
    data = ModelData(
        TensorLoader(x[:500], y[:500], bs=64, shuffle=True), TensorLoader(x[500:600], y[500:600]), path=path
    )
    learn = Learner(data, DigitsNet(16), **OPTIONS)
    return Case(learn, lambda **o: learn.fit([1e-3, 3e-3, 1e-2], 2, cycle_len=1, **o), None)


def pictures(path: Path) -> Case:
    """The weights of the body have two values a layer, so that they pack well."""
    from zoo.vision import ConvLearner, ImageClassifierData, tfms_from_model

    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.integers(0, 120, (40, 40, 40, 3)).astype("uint8")
    x[y == 1, 10:30, 10:30] += 100
    names = np.array(["plain", "square"])[y]
    data = ImageClassifierData.from_arrays(
        path, (x[:32], names[:32]), (x[32:], names[32:]), bs=4,
        tfms=tfms_from_model("squeezenet1_1", 64), num_workers=0,
    )  # fmt: skip
    learn = ConvLearner.pretrained(
        "squeezenet1_1", data, weights=None, xtra_fc=[6], ps=[0.1, 0.1], path=path, **OPTIONS
    )
    signs = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in learn.model.body.parameters():
            size = 0.0 if param.ndim == 1 else (2 / param[0].numel()) ** 0.5
            param.copy_((torch.rand(param.shape, generator=signs) < 0.5).float().mul(2).sub(1).mul(size))
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), [x[0], x[33], x[38]])


def _table(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "Store": rng.integers(1, 30, n),
            "Kind": rng.choice(["a", "b", "c", None], n, p=[0.5, 0.3, 0.15, 0.05]),
            "Promo": rng.random(n) < 0.4,
            "Distance": np.where(rng.random(n) < 0.1, np.nan, rng.gamma(2, 500, n)),
        }
    )
    table["Sales"] = np.exp(7 + 0.02 * table["Store"] + 0.3 * table["Promo"] + rng.normal(0, 0.1, n))
    table["Size"] = np.where(table["Sales"] > table["Sales"].median(), "large", "small")
    return table


_ROWS = [
    {"Store": 3, "Kind": "a", "Promo": True, "Distance": 800.0},
    {"Store": 999, "Kind": "never seen", "Promo": False, "Distance": None},
    {"Store": 17, "Kind": None, "Promo": True, "Distance": 1e6},
]
_CATS = ["Store", "Kind", "Promo"]


def table_values(path: Path) -> Case:
    from zoo_tabular import ColumnarModelData

    data = ColumnarModelData.from_data_frame(
        path, range(340, 400), _table().drop(columns="Size"), "Sales", _CATS, 32, target_transform="log",
        min_count=5, seed=0,
    )  # fmt: skip
    learn = data.get_learner(emb_drop=0.1, szs=[12, 8], drops=[0.1, 0.1], y_range=(5, 10), **OPTIONS)
    return Case(learn, lambda **o: learn.fit(1e-2, 2, cycle_len=1, cycle_mult=2, **o), _ROWS)


def table_classes(path: Path) -> Case:
    from zoo_tabular import ColumnarModelData

    data = ColumnarModelData.from_data_frame(
        path, range(340, 400), _table().drop(columns="Sales"), "Size", _CATS, 32, is_reg=False, seed=0
    )
    learn = data.get_learner(szs=[12], use_bn=False, clip_cont=3.0, **OPTIONS)
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), _ROWS)


def table_streamed(path: Path) -> Case:
    from zoo_tabular import ColumnarModelData

    folder = path / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    table = _table().drop(columns="Size").assign(held=np.arange(400) >= 340)
    pq.write_table(pa.Table.from_pandas(table), folder / "rows.parquet", row_group_size=50)
    data = ColumnarModelData.from_parquet(
        path, ds.field("held"), folder, "Sales", _CATS, 32, cont_flds=["Distance"], target_transform="log",
        seed=0, buffer_rows=128,
    )  # fmt: skip
    learn = data.get_learner(szs=[12], **OPTIONS)
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), _ROWS)


def table_autoencoder(path: Path) -> Case:
    from zoo_tabular.autoencoder import AutoencoderData

    data = AutoencoderData.from_frame(
        path, range(340, 400), _table().drop(columns=["Sales", "Size"]), _CATS, 32, seed=0
    )
    learn = data.get_autoencoder(3, [12], **OPTIONS)
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), _ROWS)


def _sentences(n: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    words = {"bad": ["awful", "poor", "Dull"], "good": ["great", "fine", "lovely"]}
    labels = [("bad", "good")[i % 2] for i in range(n)]
    texts = [
        " ".join([*rng.choice(list("abcdefg"), 4 + i % 5), *rng.choice(words[label], 3)]) + "."
        for i, label in enumerate(labels)
    ]
    return texts, labels


def language_model(path: Path) -> Case:
    from zoo_text import Field, LanguageModelData
    from zoo_text.data.running_text import LanguageModelLoader

    texts, _ = _sentences(160)
    data = LanguageModelData.from_texts(
        Field(), texts[:130], texts[130:], bs=4, bptt=20, min_freq=1, path=path
    )
    # what was measured then: in as many columns as training, the rest of the text left out
    data.valid_dl = LanguageModelLoader(np.concatenate(data.field.encode(texts[130:])), 4, 20)
    learn = data.get_model(None, 10, 12, 2, dropouth=0.1, wdrop=0.1, **OPTIONS)
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), ["a b great", "c"])


def text_classes(path: Path) -> Case:
    from zoo_text import Field, TextData

    texts, labels = _sentences(160)
    data = TextData.from_texts(
        Field(), (texts[:120], labels[:120]), (texts[120:], labels[120:]), bs=16, min_freq=1, path=path
    )
    learn = data.get_model(None, 10, 12, 2, **OPTIONS)
    return Case(
        learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o), ["a b great lovely", "Awful. Dull unheard"]
    )


def _ratings(path: Path, **options: Any) -> Case:
    from zoo_collab import CollabFilterDataset

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"who": rng.integers(1, 40, 600), "film": rng.integers(500, 520, 600)}
    ).drop_duplicates()
    frame["stars"] = (1 + (frame["who"] + frame["film"]) % 5).astype(float)
    table = CollabFilterDataset.from_data_frame(path, frame, "who", "film", "stars")
    learn = table.get_learner(4, get_cv_idxs(len(table)), bs=32, **options, **OPTIONS)
    return Case(learn, lambda **o: learn.fit_one_cycle(2, 2e-2, **o), [(1, 501), (7, 519), (10**6, 502)])


def ratings_dot(path: Path) -> Case:
    return _ratings(path)


def ratings_network(path: Path) -> Case:
    return _ratings(path, hidden=[8], dropouts=[0.1])


CASES: dict[str, Callable[[Path], Case]] = {
    make.__name__: make
    for make in (
        core, pictures, table_values, table_classes, table_streamed, table_autoencoder, language_model,
        text_classes, ratings_dot, ratings_network,
    )
}  # fmt: skip


def plain(answers: Any) -> Any:
    """Answers as JSON holds them."""
    if isinstance(answers, list | tuple):
        return [plain(one) for one in answers]
    if isinstance(answers, dict):
        return {str(key): plain(value) for key, value in answers.items()}
    if hasattr(answers, "probabilities"):
        return {"label": plain(answers.label), "probabilities": plain(answers.probabilities)}
    if isinstance(answers, np.ndarray | torch.Tensor):
        return answers.tolist()
    return answers.item() if isinstance(answers, np.generic) else answers


def answers(learn: Any, raw: Any) -> Any:
    """What a learner says to raw inputs, in the way of its domain."""
    if raw is None:
        return plain(learn.predict_array(digits()[0][:5]))
    if type(learn).__name__ == "LanguageLearner":
        return [learn.generate(text, 8, seed=0) for text in raw]
    if type(learn).__name__ == "CollabLearner":
        return {
            "ratings": plain(learn.predict_batch(raw)),
            "lists": plain(learn.recommend([3, 10**6], n=4)["item"].to_numpy()),
        }
    return plain(learn.predict_batch(raw))


def losses(rows: list[dict[str, Any]]) -> list[float]:
    return [row["valid_loss"] for row in rows]


def write(name: str, folder: Path) -> None:
    """Train a case, end its fit in the middle, let it go on, and keep all files and what they give."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / name
        path.mkdir()
        set_seed(0)
        case = CASES[name](path)
        try:
            case.fit(checkpoint_every=case.every, callbacks=[EndAt(2 * case.every + 1)])
        except Ended:
            pass
        else:
            raise RuntimeError(f"{name}: the fit was over before it should have been ended")
        _pack(path / "models", folder / name / "checkpoint.tar.xz")
        set_seed(0)
        whole = CASES[name](path / "whole")
        rows = whole.fit()
        learn = whole.learn
        learn.save("weights")
        learn.export(path / "export" / "folder")
        learn.export(path / "export" / "file.zip")
        if hasattr(learn, "save_encoder"):
            learn.save_encoder("encoder")
        kept = [("models", path / "whole" / "models"), ("export", path / "export")]
        with contextlib.suppress(TypeError):  # data that are streamed cannot be saved
            kept.append(("prepared", learn.data.save(path / "prepared")))
        for kind, where in kept:
            _pack(where, folder / name / f"{kind}.tar.xz")
        expected = {
            "answers": answers(learn, whole.raw),
            "losses": losses(rows),
            "valid_loss": learn.evaluate()["valid_loss"],
        }
        (folder / name / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def _pack(source: Path, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz", preset=9) as packed:
        packed.add(source, source.name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[2:] or CASES:
        write(each, Path(sys.argv[1]))
        print(each, flush=True)
