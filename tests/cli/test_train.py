"""`zoo train`: from what lies at a path to a run folder, and the script that gives the same."""

import json
import math
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from zoo import load_learner
from zoo.cli.plans import Plan
from zoo.cli.training import find_rate


def test_a_table_leaves_everything_in_its_run_folder(zoo, wine, tmp_path) -> None:
    code, out, err = zoo("train", wine, "--target", "kind", "--epochs", 8, "--out", "run")
    assert code == 0, err
    assert "classification: 3 different whole numbers" in err
    assert "gradient boosting" in out
    assert "this model" in out
    run = tmp_path / "run"
    assert {file.name for file in run.iterdir()} >= {
        "config.json", "train.py", "history.csv", "metrics.json", "model.zip", "report.html"
    }  # fmt: skip
    assert len(pd.read_csv(run / "history.csv")) == 8
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["metrics"]["accuracy"] > 0.85
    assert metrics["baseline"]["name"] == "gradient boosting"
    page = (run / "report.html").read_text()
    assert "what was taken for what" in page
    assert "learning-rate finder" in page
    row = pd.read_csv(wine).drop(columns="kind").iloc[0].to_dict()
    assert load_learner(run / "model.zip", device="cpu").predict_one(row).label == "0"


def test_the_script_and_the_configuration_give_the_same_again(asked, wine, tmp_path) -> None:
    first = asked("train", wine, "--target", "kind", "--epochs", 4, "--out", "a", "--eject", "own.py")
    again = asked("train", "--from", "a", "--out", "b")
    assert again["metrics"] == first["metrics"]
    assert again["lr"] == first["lr"]
    script = (tmp_path / "own.py").read_text().replace(str(tmp_path / "a"), str(tmp_path / "c"))
    (tmp_path / "own.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"'accuracy': {first['metrics']['accuracy']}" in done.stdout
    assert (tmp_path / "c" / "model.zip").exists()


def test_ratings(asked, ratings) -> None:
    found = asked("train", ratings, "--epochs", 4, "--out", "run", "--bs", 64)
    assert found["domain"] == "ratings"
    assert found["metrics"]["rmse"] < 0.9
    lists = asked("recommend", "run", 1, 2, "-n", 3)["lists"]
    assert [(row["user"], row["rank"]) for row in lists] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert all(row["item"] % 2 == row["user"] % 2 for row in lists)


def test_texts_in_folders(asked, reviews) -> None:
    found = asked("train", reviews, "--epochs", 1, "--out", "run")
    assert found["domain"] == "text"
    assert found["metrics"]["accuracy"] > 0.9


def test_small_pictures(asked, pictures) -> None:
    found = asked("train", pictures, "--epochs", 3, "--out", "run")
    assert found["domain"] == "image"
    assert found["metrics"]["accuracy"] > 0.9
    assert found["baseline"]["name"].startswith("logistic regression")
    assert asked("predict", "run", pictures / "dark", "-o", "out.csv")["rows"] == 30
    assert (pd.read_csv("out.csv")["prediction"] == "dark").mean() > 0.9


def test_broken_pictures_are_left_out_and_told(zoo, pictures, tmp_path, caplog) -> None:
    shutil.copytree(pictures, tmp_path / "some")
    (tmp_path / "some" / "dark" / "broken.png").write_bytes(b"no picture")
    code, _, err = zoo("train", "some", "--epochs", 1, "--lr", 0.001, "--out", "run")
    assert code == 0, err
    assert "broken.png" in caplog.text + err


def test_many_tiny_pictures_get_a_network_of_their_own(asked, pictures, monkeypatch) -> None:
    monkeypatch.setattr("zoo.cli.recipes.pictures._MANY", 10)
    found = asked("train", pictures, "--epochs", 12, "--lr", 0.01, "--out", "run")
    assert found["metrics"]["accuracy"] > 0.6


def test_a_table_of_pictures(asked, pictures, tmp_path) -> None:
    files = sorted(pictures.rglob("*.png"))
    frame = pd.DataFrame({"picture": [f"{file.parent.name}/{file.name}" for file in files]})
    table = pictures / "labels.csv"
    frame.assign(light=[file.parent.name == "bright" for file in files]).to_csv(table, index=False)
    try:
        found = asked("train", table, "--epochs", 3, "--out", "run")
    finally:
        table.unlink()
    assert found["domain"] == "image"
    assert found["metrics"]["accuracy"] > 0.9


def test_a_table_joined_with_another(asked, wine, tmp_path) -> None:
    df = pd.read_csv(wine)
    shop = np.arange(len(df)) % 10
    left = df[["alcohol", "kind"]].assign(shop=shop, when=pd.date_range("2021-01-01", periods=len(df)))
    left.to_csv("left.csv", index=False)
    pd.DataFrame({"shop": range(10), "town": [f"t{number % 3}" for number in range(10)]}).to_csv("shops.csv")
    found = asked(
        "train", "left.csv", "--join", "shops.csv", "--target", "kind", "--epochs", 2, "--out", "run"
    )
    script = (tmp_path / "run" / "train.py").read_text()
    assert "how=\"left\", on=['shop']" in script
    assert found["domain"] == "table"
    left.drop(columns="kind").to_csv("new.csv", index=False)
    answered = asked("predict", "run", "new.csv", "--join", "shops.csv", "-o", "answers.csv")
    assert answered["rows"] == len(df)


def test_corrections_of_a_service_are_further_rows(asked, zoo, wine, tmp_path) -> None:
    first = pd.read_csv(wine).drop(columns="kind").iloc[0].to_dict()
    lines = [
        {"id": "1", "model": "wine", "input": first, "answer": {"label": "1"}},
        *({"id": str(i), "model": "wine", "input": first, "truth": 2} for i in range(40)),
    ]
    (tmp_path / "record.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = ("train", wine, "--target", "kind", "--epochs", 15)
    found = asked(*options, "--append", "record.jsonl", "--out", "run", "--eject", "own.py")
    assert "corrected(" in (tmp_path / "own.py").read_text()
    assert load_learner(found["model"], device="cpu").predict_one(first).label == "2"
    assert asked("train", "--from", "run", "--out", "again")["metrics"] == found["metrics"]
    (tmp_path / "record.jsonl").write_text(json.dumps(lines[0]))
    code, _, err = zoo(*options, "--append", "record.jsonl")
    assert code == 2
    assert "holds no corrections" in err


@pytest.mark.parametrize(
    ("valley", "minimum", "lr", "why"),
    [
        (0.004, 0.01, 0.0063, "the finder says"),  # between both
        (0.004, 40.0, 0.004, "the finder says"),
        (1e-6, 40.0, 0.005, "the usual one; the finder says valley 1e-06"),
        (math.nan, math.nan, 0.005, "nothing, its curve is flat"),
    ],
)
def test_the_finder_leads_no_further_than_a_factor_of_three(valley, minimum, lr, why) -> None:
    found = SimpleNamespace(
        suggestions=lambda: {"valley": valley, "minimum/10": minimum}, lrs=[1], interrupted=False
    )
    plan, _ = find_rate(SimpleNamespace(lr_find=lambda: found), Plan("table", {}, usual_lr=0.005))
    assert plan.lr == pytest.approx(lr, rel=0.01)
    assert why in plan.choices[-1].why


def test_two_processes_train_a_run(asked, wine) -> None:
    found = asked("train", wine, "--target", "kind", "--epochs", 3, "--processes", 2, "--out", "run")
    assert found["epochs"] == 3
    assert found["metrics"]["accuracy"] > 0.6


def test_a_time_is_kept(asked, zoo, wine) -> None:
    found = asked("train", wine, "--target", "kind", "--epochs", 100_000, "--seconds", 8, "--out", "run")
    assert 1 <= found["epochs"] < 100_000
    code, _, err = zoo("train", wine, "--target", "kind", "--seconds", 0)
    assert code == 2
    assert "--seconds" in err


def test_an_interrupted_run_goes_on(asked, zoo, wine, tmp_path, monkeypatch) -> None:
    """Ctrl-C in the third epoch keeps the best so far; the same command goes on and ends as without it."""
    from zoo.callbacks import EarlyStopping

    options = ("train", wine, "--target", "kind", "--epochs", 4, "--lr", 0.002)
    whole = asked(*options, "--out", "whole")
    after = EarlyStopping.after_epoch

    def interrupted(self, state):
        after(self, state)
        if state.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EarlyStopping, "after_epoch", interrupted)
        kept = asked(*options, "--out", "cut", "--resume")
    assert kept["epochs"] == 2
    assert (tmp_path / "cut" / "model.zip").exists()
    found = asked(*options, "--out", "cut", "--resume")
    assert found["epochs"] == 4
    assert found["metrics"] == pytest.approx(whole["metrics"], rel=1e-6)


@pytest.mark.parametrize(
    "name", ["it's.csv", 'a """ + open("owned", "w").name + """.csv', "back\\slash\\N{x}.csv", 'q".csv"']
)
def test_the_script_is_whole_whatever_the_file_is_called(name) -> None:
    import ast

    from zoo.cli.plans import Script

    text = Script((), ("return 1",), ("return data",), ("pass",)).text("run", f"What `zoo train {name}")
    tree = ast.parse(text)
    assert ast.get_docstring(tree, clean=False).rstrip() == f"What `zoo train {name}"
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if getattr(call, "id", "") == "open"]


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1"])
def test_a_rate_that_is_none_is_refused_before_anything_is_made(zoo, wine, tmp_path, rate) -> None:
    code, _, err = zoo("train", wine, "--target", "kind", "--lr", rate, "--out", "run")
    assert code == 2
    assert "--lr" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_table_of_pictures_may_be_of_any_kind(zoo, pictures, tmp_path) -> None:
    from zoo.cli.planning import make_plan, script_of
    from zoo.cli.plans import Wishes
    from zoo.cli.script import load_script

    folder = tmp_path / "photos"
    (folder / "files").mkdir(parents=True)
    rows = []
    for file in sorted(pictures.glob("*/*.png"))[::6]:
        name = f"{file.parent.name}-{file.name}"
        (folder / "files" / name).write_bytes(file.read_bytes())
        rows.append((name, file.parent.name))
    df = pd.DataFrame(rows, columns=["name", "label"])
    for ending, options in ((".tsv", {"sep": "\t"}), (".csv", {"sep": ";"}), (".csv.gz", {})):
        df.to_csv(folder / f"table{ending}", index=False, **options)
        plan = make_plan(folder / f"table{ending}", Wishes())
        assert plan.domain == "image"
        data = load_script(script_of(plan, tmp_path, ""), "train.py").data()
        assert data.classes == ["bright", "dark"]
        assert len(data.trn_ds) + len(data.val_ds) == len(df)


def test_a_training_that_runs_away_is_told_in_one_line(zoo, wine) -> None:
    code, _, err = zoo("train", wine, "--target", "kind", "--lr", "1e30", "--out", "run", "--json")
    assert code == 2
    assert err.splitlines()[-1].startswith("zoo: the loss is")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_empty_texts_are_left_out_and_told(reviews, tmp_path, kind) -> None:
    from zoo.cli.planning import make_plan, script_of
    from zoo.cli.plans import Wishes
    from zoo.cli.script import load_script

    texts = [(file.parent.name, file.read_text()) for file in sorted(reviews.glob("*/*.txt"))[::4]]
    rows = [*texts, ("bad", ""), ("good", " \n")]
    if kind == "table":
        source = tmp_path / "reviews.csv"
        pd.DataFrame(rows, columns=["label", "text"]).to_csv(source, index=False)
    else:
        source = tmp_path / "reviews"
        for number, (label, text) in enumerate(rows):
            (source / label).mkdir(parents=True, exist_ok=True)
            (source / label / f"{number}.txt").write_text(text)
    plan = make_plan(source, Wishes(domain="text", text="text" if kind == "table" else None))
    assert any("2 empty files" in one.why or "2 without text" in one.why for one in plan.choices)
    data = load_script(script_of(plan, tmp_path, ""), "train.py").data()
    assert sum(data.check().rows.values()) == len(texts)


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch) -> None:
    from zoo.cli.plans import Plan
    from zoo.cli.run_folder import fresh_folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "now")
    names = [fresh_folder(None, Plan("table", {})).name for _ in range(3)]
    assert names == ["table-now", "table-now-2", "table-now-3"]
