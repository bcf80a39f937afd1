"""Training on tables, prediction of raw rows, and a file that a fresh process reads."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.core.processes import fresh
from zoo import Prediction, load_learner
from zoo_tabular import ColumnarModelData, TabularLearner, exp_rmspe, rmspe

EFFECT = {"a": 1.0, "b": 2.0, "c": 4.0}


def table(n: int = 1500) -> pd.DataFrame:
    """Sales = store effect x kind effect x exp(number), with 3% noise."""
    rng = np.random.default_rng(1)
    df = pd.DataFrame(
        {"Store": rng.integers(1, 21, n), "Kind": rng.choice(list("abc"), n), "Promo": rng.random(n)}
    )
    df["Sales"] = 100 * (1 + df["Store"] / 10) * df["Kind"].map(EFFECT) * np.exp(df["Promo"])
    df["Sales"] *= np.exp(rng.normal(0, 0.03, n))
    df.loc[::50, "Promo"] = np.nan
    return df


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TabularLearner:
    torch.manual_seed(0)
    df = table()
    md = ColumnarModelData.from_data_frame(
        tmp_path_factory.mktemp("tabular"), range(1200, 1500), df, "Sales", ["Store", "Kind"], 64,
        test_df=df.drop(columns="Sales")[:70], target_transform="log", seed=0,
    )  # fmt: skip
    learn = md.get_learner(
        emb_drop=0.01, szs=[50, 20], drops=[0.0, 0.01], y_range=(3, 10), progress=False, device="cpu"
    )
    learn.fit_one_cycle(12, 0.01)
    return learn


def test_learns_and_answers_in_sales(trained: TabularLearner) -> None:
    sales, actual = trained.predict_with_targs()
    assert sales.shape == actual.shape == (300,)
    assert np.allclose(actual, table()["Sales"][1200:], rtol=1e-5)
    assert rmspe(sales, actual) < 0.15
    assert trained.history[-1]["exp_rmspe"] == pytest.approx(rmspe(sales, actual), rel=1e-3)
    assert trained.predict(True).shape == (70,)


def test_raw_rows_in_every_form_give_the_same_answers(trained: TabularLearner) -> None:
    df = table()[1200:1260]
    expected = trained.predict()[:60]
    rows = df.to_dict("records")
    for items in (df, df.drop(columns="Sales"), df[df.columns[::-1]], df.set_axis([0] * 60), rows):
        assert np.allclose(trained.predict_batch(items), expected, rtol=1e-5)
    ones = [trained.predict_one(row) for row in rows]
    assert all(isinstance(value, float) for value in ones)
    assert np.allclose(ones, expected, rtol=1e-5)
    assert np.allclose([trained.predict_batch(row)[0] for row in rows], ones, rtol=1e-6)
    del rows[0]["Sales"]
    assert trained.predict_one(rows[0]) == ones[0]
    assert trained.predict_one(df.iloc[0]) == ones[0]


def test_a_fresh_process_predicts_the_same_from_raw_rows(trained: TabularLearner, tmp_path: Path) -> None:
    rows = json.loads(table()[1200:1220].to_json(orient="records"))
    rows[1]["Kind"], rows[2]["Promo"], rows[3]["Store"] = "never seen", None, None
    expected = trained.predict_batch(rows).tolist()
    archive = trained.export(tmp_path / "sales.zip")
    script = (
        "import json, sys, pandas as pd\n"
        "from zoo import load_learner\n"
        "learn = load_learner(sys.argv[1], device='cpu')\n"
        "rows = json.loads(sys.argv[2])\n"
        "ones = [learn.predict_one(row) for row in rows]\n"
        "print(json.dumps([learn.predict_batch(pd.DataFrame(rows)).tolist(), ones]))\n"
    )
    done = fresh(script, tmp_path, str(archive), json.dumps(rows))
    assert done.returncode == 0, done.stderr
    batch, ones = json.loads(done.stdout)
    assert np.allclose(batch, expected, rtol=1e-6)
    assert np.allclose(ones, expected, rtol=1e-5)
    assert "'Kind': 1 ('never seen')" in done.stderr


def test_unknown_category_is_trained_counted_and_can_be_refused(
    trained: TabularLearner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = table().iloc[1].to_dict()
    with caplog.at_level(logging.WARNING, "zoo_tabular"):
        stranger = trained.predict_one(row | {"Store": 999})
        trained.predict_batch(pd.DataFrame([row, row]).assign(Store=999))
    assert [r.getMessage()[-15:] for r in caplog.records] == [
        "'Store': 1 (999)"[-15:],
        "'Store': 2 (999)"[-15:],
    ]
    known = [trained.predict_one(row | {"Store": store}) for store in range(1, 21)]
    assert min(known) < stranger < max(known), "an unknown store is forecast like a store in between"
    learn = load_learner(trained.export(tmp_path / "strict"), device="cpu")
    learn.data.processor.unknown = "error"
    with pytest.raises(ValueError, match=r"'Store': 1 \(999\)"):
        learn.predict_one(row | {"Store": 999})


def test_the_unknown_row_moves_only_with_category_dropout() -> None:
    moved = {}
    for rate in (0.0, 0.05):
        md = ColumnarModelData.from_data_frame(
            ".", None, table(600), "Sales", ["Store", "Kind"], 64, cat_dropout=rate
        )
        learn = md.get_learner(szs=[16], progress=False, device="cpu", wd=0.0)
        unknown = [column.unknown_code for column in md.processor.categories_]
        before = [learn.model.embeddings.table(i)[code].detach().clone() for i, code in enumerate(unknown)]
        learn.fit(0.01, 3)
        after = [learn.model.embeddings.table(i)[code].detach() for i, code in enumerate(unknown)]
        moved[rate] = min((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
    assert moved[0.0] == 0
    assert moved[0.05] > 0.01


def test_classes_of_a_table(tmp_path: Path) -> None:
    df = table(800)
    df["Size"] = np.where(df["Sales"] > 600, "large", "small")
    md = ColumnarModelData.from_data_frame(
        tmp_path,
        range(600, 800),
        df,
        "Size",
        ["Store", "Kind"],
        cont_flds=["Promo"],
        is_reg=False,
        test_df=df[:30],
        seed=0,
    )
    learn = md.get_learner(szs=[32], progress=False, device="cpu")
    learn.fit_one_cycle(8, 0.02)
    assert learn.history[-1]["accuracy"] > 0.85
    answer = learn.predict_one(df.iloc[0].to_dict())
    assert isinstance(answer, Prediction)
    assert answer.label in ("large", "small")
    again = load_learner(learn.export(tmp_path / "size"), device="cpu").predict_batch(df[:5])
    assert [p.label for p in again] == [p.label for p in learn.predict_batch(df[:5])]
    written = learn.write_submission(tmp_path / "sizes.csv", range(30), target_column="Size")
    assert set(written["Size"]) <= {"large", "small"}


@pytest.mark.parametrize("what", ["numbers", "categories", "two targets", "labels"])
def test_other_shapes_of_tables(what: str, tmp_path: Path) -> None:
    df = table(300)
    df["Twice"] = df["Sales"] * 2
    labels = pd.DataFrame({"high": df["Sales"] > 500, "promo": df["Promo"] > 0.5})
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(250, 300), df,
        {"two targets": ["Sales", "Twice"], "labels": labels}.get(what, "Sales"),
        [] if what == "numbers" else ["Kind"],
        cont_flds=[] if what == "categories" else ["Promo"],
        is_multi=what == "labels",
        target_transform=None if what == "labels" else "standardize",
    )  # fmt: skip
    learn = md.get_learner(szs=[8], progress=False, device="cpu")
    learn.lr_find(num_it=5)
    learn.fit(0.01, 1)
    answers = learn.predict()
    assert answers.shape == ((50, 2) if what in ("two targets", "labels") else (50,))
    again = load_learner(learn.export(tmp_path / "model"), device="cpu")
    rows = df.drop(columns=["Sales", "Twice"])[250:]
    if what == "labels":
        assert set(again.predict_batch(rows)[0].probabilities) == {"high", "promo"}
    else:
        assert np.allclose(again.predict_batch(rows), answers, rtol=1e-4)
        assert np.allclose(again.predict_one(rows.iloc[0].to_dict()), answers[0], rtol=1e-4)


def test_submission_file(trained: TabularLearner, tmp_path: Path) -> None:
    written = trained.write_submission(tmp_path / "out.csv", range(1, 71), "Id", "Sales")
    read = pd.read_csv(tmp_path / "out.csv")
    assert list(read.columns) == ["Id", "Sales"]
    assert np.allclose(read["Sales"], trained.predict(True))
    assert read["Id"].tolist() == written["Id"].tolist() == list(range(1, 71))
    trained.write_submission(tmp_path / "out.csv.gz", range(70))
    assert len(pd.read_csv(tmp_path / "out.csv.gz")) == 70
    with pytest.raises(ValueError, match="3 ids for 70 test rows"):
        trained.write_submission(tmp_path / "out.csv", range(3))


def test_headings_of_a_submission_differ(trained: TabularLearner, tmp_path: Path) -> None:
    df = table(60)
    df["Twice"] = df["Sales"] * 2
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(50, 60), df, ["Sales", "Twice"], ["Kind"], cont_flds=["Promo"], test_df=df[:20]
    )
    learn = md.get_learner(szs=[8], progress=False, device="cpu")
    for headings in (["Id", "Twice"], ["Sales", "Sales"]):
        with pytest.raises(ValueError, match="would head more than one column: choose another id_column"):
            learn.write_submission(tmp_path / "out.csv", range(20), "Id", headings)
    with pytest.raises(ValueError, match="'Sales' would head more than one column"):
        trained.write_submission(tmp_path / "out.csv", range(70), "Sales", "Sales")
    assert not (tmp_path / "out.csv").exists()
    written = learn.write_submission(tmp_path / "out.csv", range(20), "Id", ["Sales", "Twice"])
    assert list(written.columns) == ["Id", "Sales", "Twice"]


def test_embeddings_as_a_frame(trained: TabularLearner) -> None:
    frame = trained.embedding("Kind")
    assert frame.index.tolist() == ["a", "b", "c"]
    assert frame.shape == (3, 2)
    with pytest.raises(ValueError, match=r"no category column 'Kin' \(did you mean 'Kind'\?\)"):
        trained.embedding("Kin")


def test_bfloat16_answers_are_close(trained: TabularLearner) -> None:
    exact = trained.predict()
    row = table().iloc[0].to_dict()
    one = trained.predict_one(row)
    trained.to_bf16()
    try:
        assert np.allclose(trained.predict(), exact, rtol=0.1)
        assert trained.predict_one(row) == pytest.approx(one, rel=0.1)
    finally:
        trained.to_fp32()


def test_prediction_errors_say_what_to_do(trained: TabularLearner) -> None:
    df = table()[:3]
    with pytest.raises(ValueError, match="no column 'Kind'"):
        trained.predict_batch(df.drop(columns="Kind"))
    with pytest.raises(ValueError, match="the row has no value for 'Kind'"):
        trained.predict_one({"Store": 1, "Promo": 0.5})
    with pytest.raises(ValueError, match="row 1 has no value for 'Kind'"):
        trained.predict_batch([{"Store": 1, "Promo": 0.5, "Kind": "a"}, {"Store": 1, "Promo": 0.5}])
    with pytest.raises(ValueError, match="the data frame has no rows"):
        trained.predict_batch(df[:0])
    with pytest.raises(TypeError, match="expected a dict of column values, got int"):
        trained.predict_one(5)


def test_metrics_golden_values() -> None:
    assert rmspe([110, 90, 5], [100, 100, 0]) == pytest.approx(0.1)
    assert exp_rmspe(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])) == 0
    logs = np.log([110.0, 90.0]), np.log([100.0, 100.0])
    assert exp_rmspe(*logs) == pytest.approx(0.1)
    assert exp_rmspe(torch.tensor(logs[0]).bfloat16(), torch.tensor(logs[1])) == pytest.approx(0.1, abs=0.05)
    with pytest.raises(ValueError, match="2 predictions for 3 targets"):
        exp_rmspe([1, 2], [1, 2, 3])


@pytest.mark.gpu
def test_trains_on_an_accelerator(tmp_path: Path) -> None:
    md = ColumnarModelData.from_data_frame(tmp_path, range(250, 300), table(300), "Sales", ["Store", "Kind"])
    learn = md.get_learner(szs=[8], progress=False, device="cuda")
    learn.fit(0.01, 2)
    loaded = load_learner(learn.export(tmp_path / "model"), device="cpu")
    assert np.allclose(loaded.predict_batch(table(300)[250:]), learn.predict(), rtol=1e-2)


def test_a_look_at_one_row_in_the_middle_of_training_changes_nothing(tmp_path) -> None:
    from tests.tabular.known import known_frame, known_learner
    from zoo.engine.callback import Callback

    row = known_frame().iloc[1].to_dict()

    class Look(Callback):
        def after_step(self, state) -> None:
            learn.predict_one(row)
            modes.append(state.model.training)

    modes: list[bool] = []
    learn = known_learner(tmp_path)
    learn.fit(0.0, 1, callbacks=[Look()])
    assert modes
    assert all(modes)
    learn.model.train()
    learn.model.output.eval()  # kept so, as a frozen layer may be
    learn.predict_one(row)
    assert learn.model.training
    assert not learn.model.output.training
