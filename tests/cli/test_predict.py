"""`zoo predict`, `check`, `info`, `lr-find`, `generate`: answers of models, and looks at data."""

import pandas as pd
import pytest

from zoo import load_learner


@pytest.fixture(scope="module")
def model(wine, tmp_path_factory):
    from zoo_tabular import ColumnarModelData

    folder = tmp_path_factory.mktemp("model")
    df = pd.read_csv(wine).assign(kind=lambda df: df["kind"].map({0: "a", 1: "b", 2: "c"}))
    df["place"] = ["north", "south"] * (len(df) // 2)
    data = ColumnarModelData.from_frame(df, "kind", path=folder, seed=0, show=False)
    learn = data.get_learner(seed=0, progress=False)
    learn.fit_one_cycle(5, 2e-3)
    return learn.export(folder / "model.zip")


def test_answers_stand_beside_the_columns(asked, zoo, model, wine, monkeypatch, tmp_path) -> None:
    df = pd.read_csv(wine).drop(columns="kind").assign(place="north", prediction="taken")
    df.loc[3, "place"] = "west"
    df.to_csv("new.csv", index=False)
    monkeypatch.setattr("zoo.cli.frames.pieces.__defaults__", (50,))  # several pieces
    found = asked("predict", model, "new.csv", "-o", "out.csv")
    assert found["rows"] == len(df)
    assert any("west" in line for line in found["told"])
    answers = pd.read_csv("out.csv")
    assert list(answers.columns[: df.shape[1]]) == list(df.columns)
    assert list(answers.columns[df.shape[1] :]) == [
        "predicted_prediction",
        "probability",
        "p_a",
        "p_b",
        "p_c",
    ]
    alone = load_learner(model, device="cpu").predict_batch(df)
    assert answers["predicted_prediction"].tolist() == [one.label for one in alone]
    code, _, err = zoo("predict", model, "new.csv", "-o", "out.csv")
    assert code == 0
    assert "west" in err
    df.to_parquet("new.parquet")
    asked("predict", model, "new.parquet", "-o", "other.csv")
    assert pd.read_csv("other.csv").equals(answers)


def test_the_columns_stand_there_as_they_were_written(asked, model, wine, monkeypatch, tmp_path) -> None:
    df = pd.read_csv(wine).drop(columns="kind").assign(place="north")
    df["zip"] = [f"{n:05d}" for n in range(len(df))]
    df["shop"] = [str(n) if n % 3 else "" for n in range(len(df))]
    df["code"] = ["NA", "1e5"] * (len(df) // 2)
    df.to_csv("new.csv", index=False, sep=";")
    pd.DataFrame({"place": ["north"], "lies": [1]}).to_csv("places.csv", index=False)
    monkeypatch.setattr("zoo.cli.frames.pieces.__defaults__", (50,))
    asked("predict", model, "new.csv", "-o", "out.csv", "--join", "places.csv")
    found = pd.read_csv("out.csv", dtype=str, keep_default_na=False)
    for name in ("zip", "shop", "code"):
        assert found[name].tolist() == df[name].tolist(), name
    assert set(found["lies"]) == {"1"}
    assert list(found.columns[: df.shape[1]]) == list(df.columns)


def test_what_cannot_be_predicted_is_told(zoo, model, wine) -> None:
    for words, told in (
        (("predict", model, "none.csv"), "there is nothing at none.csv"),
        (("predict", "none.zip", wine), "there is no model at none.zip"),
        (("predict", wine, wine), "wine.csv"),
        (("predict", model, wine), "no column 'place'"),
        (("recommend", model, "ann"), "is a model of tabular, not a recommender"),
        (("generate", model, "Once"), "is a model of tabular, not a language model"),
    ):
        code, _, err = zoo(*words)
        assert code == 2, words
        assert err.startswith("zoo: ")
        assert err.count("\n") == 1
        assert told in err
    code, out, _ = zoo("predict", model, wine, "-o", "kept.csv")
    assert code == 2
    assert not out


def test_check_finds_what_is_wrong(zoo, asked, wine, tmp_path) -> None:
    code, out, _ = zoo("check", wine, "--target", "kind")
    assert code == 0
    assert "nothing was found" in out
    df = pd.read_csv(wine)
    df.assign(copy=df["kind"] * 2.5).to_csv("leak.csv", index=False)
    code, out, _ = zoo("check", "leak.csv", "--target", "kind", "--page", "page.html")
    assert code == 1
    assert "'copy'" in out
    assert "copy" in (tmp_path / "page.html").read_text()


def test_check_in_every_domain(asked, zoo, ratings, reviews, pictures) -> None:
    for path in (ratings, reviews, pictures):
        code, out, err = zoo("check", path)
        assert code in (0, 1), err
        assert "Rows: train" in out


def test_info_and_rates(asked, model, wine, tmp_path) -> None:
    found = asked("info", model)
    assert found["domain"] == "tabular"
    assert found["numbers"] > 1000
    rates = asked("lr-find", wine, "--target", "kind", "--plot", "curve.png")["suggestions"]
    assert set(rates) == {"steepest", "valley", "minimum/10"}
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_language_model_goes_on(asked, tmp_path) -> None:
    from zoo_text import Field, LanguageModelData

    texts = ["the cat sat on the mat and the dog sat on the cat"] * 40
    frame = pd.DataFrame({"text": texts})
    data = LanguageModelData.from_df(tmp_path, Field(), "text", frame, frame[:4], bs=4, min_freq=1)
    learn = data.get_model(emb_sz=16, n_hid=16, n_layers=1, progress=False)
    learn.export(tmp_path / "words.zip")
    found = asked("generate", "words.zip", "the cat", "-n", 5, "--seed", 1)
    assert found["text"].startswith("the cat")
    assert asked("generate", "words.zip", "the cat", "-n", 5, "--seed", 1) == found


def test_a_card_in_every_form(zoo, asked, model, tmp_path) -> None:
    code, out, _ = zoo("card", model)
    assert code == 0
    assert out.startswith("# model: a model of tabular")
    assert (
        asked("card", model)["sections"]["Inputs and answers"]["category 'place'"] == "2 levels: north, south"
    )
    for name in ("card.md", "card.html"):
        assert zoo("card", model, "-o", name)[0] == 0
        assert "place" in (tmp_path / name).read_text()
    code, _, err = zoo("card", model, "-o", "card.pdf")
    assert code == 2
    assert "written as .md or .html" in err


def test_graphs_are_written_and_checked(asked, zoo, model, tmp_path) -> None:
    found = asked("export", model, "--onnx", "rows.onnx", "--program", "rows.pt2", "--check")
    assert found["same"]
    assert {row["format"] for row in found["checked"]} >= {"onnx", "program"}
    assert (tmp_path / "rows.onnx").stat().st_size > 1000
    code, _, err = zoo("export", model)
    assert code == 2
    assert "what shall be written?" in err


def test_the_file_that_is_read_is_not_replaced(zoo, model, wine, tmp_path) -> None:
    (tmp_path / "new.csv").write_bytes(wine.read_bytes())
    (tmp_path / "link.csv").symlink_to("new.csv")
    for out in ("new.csv", "./link.csv"):
        code, _, err = zoo("predict", model, "new.csv", "-o", out)
        assert code == 2
        assert "is the file that is read" in err
    assert (tmp_path / "new.csv").read_bytes() == wine.read_bytes()
