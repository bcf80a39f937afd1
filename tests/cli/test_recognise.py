"""What lies at a path, and what is told where nothing can be made of it."""

import shutil

import pandas as pd
import pytest

from zoo.cli import main
from zoo.cli.plans import Mendable, Wishes
from zoo.cli.recognise import recognise


def words(n: int) -> list[str]:
    return [f"a text of more than five words, number {number}, ends here" for number in range(n)]


@pytest.mark.parametrize(
    ("columns", "wishes", "domain"),
    [
        ({"user_id": 1, "item_id": 2, "stars": 3.0}, {}, "ratings"),
        ({"customer": 1, "product": 2}, {}, "ratings"),
        ({"userId": 1, "movieId": 2, "rating": 3.0, "timestamp": 4}, {"target": "timestamp"}, "table"),
        ({"user": 1, "movie": 2, "rating": 3.0, "age": 4, "town": 5, "income": 6}, {}, "table"),
        ({"a": 1, "b": 2, "y": 3}, {"target": "y"}, "table"),
        ({"a": 1, "b": 2, "y": 3}, {"user": "a", "item": "b"}, "ratings"),
        ({"text": "words", "label": 1}, {}, "text"),
        ({"id": "number", "review": "words", "label": 1}, {"target": "label"}, "text"),
        ({"text": "words", "label": 1}, {"domain": "table"}, "table"),
        ({"text": "words", "label": 1}, {"target": "label", "categories": ("text",)}, "table"),
        ({"notes": "words", "a": 1, "b": 2, "c": 3, "d": 1, "y": 2}, {"target": "y"}, "table"),
    ],
)
def test_tables(columns, wishes, domain, tmp_path) -> None:
    made = {"words": words(40), "number": list(range(40))}
    frame = pd.DataFrame({
        name: made[value] if isinstance(value, str) else [value * (row % 7) for row in range(40)]
        for name, value in columns.items()
    })  # fmt: skip
    frame.to_csv(tmp_path / "table.csv", index=False)
    for path in (tmp_path / "table.csv", tmp_path):
        found, what, why = recognise(path, Wishes(**wishes))
        assert (found.name, what) == ("table.csv", domain), why


def test_folders(pictures, reviews) -> None:
    assert recognise(pictures, Wishes())[1] == "image"
    assert recognise(reviews, Wishes())[1] == "text"


def test_nothing_to_learn_from(tmp_path) -> None:
    with pytest.raises(Mendable, match="holds nothing to learn from"):
        recognise(tmp_path, Wishes())
    for name in ("one.csv", "two.csv"):
        pd.DataFrame({"a": [1]}).to_csv(tmp_path / name, index=False)
    with pytest.raises(Mendable, match=r"holds 2 tables: name one of one\.csv, two\.csv"):
        recognise(tmp_path, Wishes())
    with pytest.raises(Mendable, match=r"nothing at .*on\.csv \(did you mean 'one\.csv'\?\)"):
        recognise(tmp_path / "on.csv", Wishes())
    with pytest.raises(Mendable, match=r"--domain is one of .*, not 'tables' \(did you mean 'table'\?\)"):
        recognise(tmp_path / "one.csv", Wishes(domain="tables"))


def test_what_is_said_wrongly_is_one_line(zoo, wine, ratings, tmp_path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "bytes.parquet").write_bytes(b"no parquet")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for said, told in (
        ((wine,), "say which to predict, --target NAME"),
        ((wine, "--target", "knd"), "did you mean 'kind'?"),
        ((wine, "--target", "kind", "--arch", "resnet18"), "--arch is of pictures, and this is a table"),
        ((wine, "--target", "kind", "--drop", "ash", "--numbers", "ash"), "name it once"),
        ((wine, "--target", "kind", "--out", "full"), "is there already and not empty"),
        ((wine, "--target", "kind", "--resume"), "--resume needs --out"),
        ((wine, "--target", "kind", "--join", ratings), "both tables must share a column"),
        ((ratings, "--user", "who"), "--user who"),
        ((ratings, "--size", 64), "--size is of pictures, and this is ratings"),
        (("empty.csv", "--target", "a"), "empty.csv cannot be read as a table"),
        (("rows.csv", "--target", "a"), "rows.csv has no rows"),
        (("bytes.parquet", "--target", "a"), "bytes.parquet cannot be read as a table"),
        (("--from", "full"), "it is no run folder"),
        (("--from", "full", "--target", "a"), "give neither a path nor other options"),
        ((), "which data?"),
    ):
        code, out, err = zoo("train", *said)
        assert code == 2, said
        assert told in err, err
        assert err.rstrip().splitlines()[-1].startswith("zoo: "), err
        assert not out
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_where_an_error_was_raised_is_told_to_those_who_ask(monkeypatch) -> None:
    monkeypatch.setenv("ZOO_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["zoo", "train", "nothing-there"])
    with pytest.raises(Mendable, match="there is nothing at nothing-there"):
        main()


def test_nothing_that_is_said_is_passed_over(zoo, pictures, reviews, wine, tmp_path) -> None:
    shutil.copytree(pictures, tmp_path / "set" / "train")
    shutil.copytree(pictures, tmp_path / "set" / "valid")
    zoo("train", wine, "--target", "kind", "--epochs", 1, "--lr", 0.001, "--out", "run")
    for said, told in (
        (("train", "set", "--valid", 0.3), "--valid and the folder 'valid' both say"),
        (("train", pictures, "--target", "kind"), "--target names a column"),
        (("train", pictures, "--task", "regression"), "--task is of tables and texts"),
        (("train", reviews, "--text", "review"), "--text names a column"),
        (("train", "--from", "run", "--seed", 7), "give neither a path nor other options"),
        (("predict", "run", wine, "--text", "ash"), "--text is of models of texts"),
    ):
        code, _, err = zoo(*said)
        assert code == 2, said
        assert told in err, err


def test_a_table_of_few_rows_is_told(zoo, tmp_path) -> None:
    pd.DataFrame({"a": [1.5, 2, 3], "y": [1.0, 2.5, 3]}).to_csv("few.csv", index=False)
    code, _, err = zoo("train", "few.csv", "--target", "y")
    assert code == 2
    assert "too few to learn and to judge" in err
