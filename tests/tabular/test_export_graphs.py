"""Networks for tables as graphs: coded rows in, the user's units out."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from tests.core.exported import both_files, by_onnx, session_of
from zoo_tabular import AutoencoderData, ColumnarModelData


def frame(n=120):
    rng = np.random.default_rng(0)
    shop = rng.choice(list("abc"), n)
    size, rain = rng.normal(size=n), rng.normal(size=n)
    rain[::9] = np.nan
    return pd.DataFrame({"shop": shop, "size": size, "rain": rain})


def targets(df):
    return np.exp(df["size"] + (df["shop"] == "a") + 5)


def coded(learn, rows):
    return tuple(part.to(kind) for part, kind in zip(next(iter(learn.data.batches_from_raw(rows))),
                                                     (torch.int64, torch.float32), strict=True))  # fmt: skip


@pytest.mark.parametrize("transform", ["none", "log", "log1p", "standardize", ["log", "standardize"]])
def test_answers_are_in_the_units_of_the_target(transform, tmp_path):
    df = frame()
    y = targets(df).rename("sales")
    if isinstance(transform, list):
        y = pd.DataFrame({"sales": y, "loss": -y})
    data = ColumnarModelData.from_data_frame(
        tmp_path, range(90, 120), df, y, ["shop"], 32, target_transform=transform
    )
    learn = data.get_learner(szs=[8], progress=False, seed=0, device="cpu")
    learn.fit(1e-2, 2)
    path, _ = both_files(learn, tmp_path)
    rows = df.head(7)
    (found,) = by_onnx(path, coded(learn, rows))
    truth = np.asarray(learn.predict_batch(rows))
    np.testing.assert_allclose(found.reshape(truth.shape), truth, rtol=1e-4)
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert json.loads(told["values"]) == (["sales", "loss"] if isinstance(transform, list) else ["sales"])
    inputs = {one["name"]: one["names"] for one in json.loads(told["inputs"])}
    assert inputs == {"categories": ["shop"], "numbers": data.processor.number_names_}
    assert "rain" in inputs["numbers"]


@pytest.mark.parametrize("kept", [["shop"], ["size", "rain"]])
def test_classes_of_categories_or_of_numbers_alone(kept, tmp_path):
    df = frame()
    y = np.where(df["size"] > 0, "big", "small")
    cats = [name for name in kept if name == "shop"]
    numbers = [name for name in kept if name != "shop"]
    data = ColumnarModelData.from_data_frame(
        tmp_path, range(90, 120), df[kept], y, cats, 32, cont_flds=numbers, is_reg=False
    )
    learn = data.get_learner(szs=[8], progress=False, seed=0, device="cpu")
    learn.fit(1e-2, 1)
    path, _ = both_files(learn, tmp_path)
    (found,) = by_onnx(path, coded(learn, df.head(5)))
    answers = learn.predict_batch(df.head(5))
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == data.classes == ["big", "small"]
    assert [data.classes[i] for i in found.argmax(1)] == [one.label for one in answers]


def test_rebuilt_rows(tmp_path):
    data = AutoencoderData.from_frame(tmp_path, range(90, 120), frame(), ["shop"], bs=32)
    learn = data.get_autoencoder(3, [8], progress=False, seed=0, device="cpu")
    learn.fit(1e-2, 1)
    path, _ = both_files(learn, tmp_path)
    told = json.loads(session_of(path).get_modelmeta().custom_metadata_map["outputs"])
    assert told[0]["meaning"].startswith("the row as the network rebuilds it")
