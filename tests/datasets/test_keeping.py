"""Verifying and removing, the registry, and the commands."""

import hashlib
import json
import re

import pytest
from typer.testing import CliRunner

from tests.datasets.server import listing, serving, zipped
from zoo.cli.data_sets import data_app
from zoo.datasets import Dataset, DatasetError, File, available, get, local_dataset, register, remove, verify
from zoo.datasets.registry import _known

ZIP = zipped({"train/a.txt": b"alpha", "train/b.txt": b"beta", "test/c.txt": b"gamma"})


@pytest.fixture
def fruit(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZOO_DATASETS_MIRROR", raising=False)
    with serving() as server:
        server.files["fruit.zip"] = ZIP
        file = File(name="fruit.zip", urls=(f"{server.url}/fruit.zip",), size=len(ZIP))
        register(
            Dataset(name="fruit", about="Fruit", terms="no terms", page="", files=(file,), holds=("train",))
        )
        yield server
    _known.clear()


def test_verify_tells_missing_changed_and_added(fruit, tmp_path):
    folder = get("fruit", tmp_path)
    found = verify("fruit", tmp_path)
    assert (found.ok, found.files, found.missing, found.changed, found.added) == (True, 3, (), (), ())
    (folder / "train" / "a.txt").write_text("ALPHA")
    (folder / "test" / "c.txt").unlink()
    (folder / "model.pt").write_text("mine")
    found = verify("fruit", tmp_path)
    assert not found.ok
    assert (found.files, found.missing, found.changed) == (1, ("test/c.txt",), ("train/a.txt",))
    assert found.added == ("model.pt",)


def test_remove_takes_what_get_brought_and_nothing_else(fruit, tmp_path):
    folder = get("fruit", tmp_path)
    (folder / "train" / "mine.txt").write_text("mine")
    (folder / "train" / "a.txt").write_text("changed by me")
    found = remove("fruit", tmp_path)
    assert (found.files, found.kept) == (2, ("train/a.txt", "train/mine.txt"))
    assert listing(folder) == {"train": "folder", "train/a.txt": "changed by me", "train/mine.txt": "mine"}


def test_remove_leaves_the_checksums_unless_they_shall_be_forgotten(fruit, tmp_path):
    get("fruit", tmp_path)
    assert remove("fruit", tmp_path).files == 3
    assert set(listing(tmp_path)) == {".zoo", ".zoo/fruit.json", ".zoo/fruit.lock"}
    remove("fruit", tmp_path, forget=True)
    assert set(listing(tmp_path)) == {".zoo", ".zoo/fruit.lock"}
    with pytest.raises(FileNotFoundError, match="is not in"):
        remove("fruit", tmp_path)


def test_remove_takes_half_a_download_but_not_what_was_put_there_by_hand(fruit, tmp_path):
    place = tmp_path / "fruit.files"
    place.mkdir()
    for name in ("fruit.zip", "fruit.zip.part", "fruit.zip.part.json"):
        (place / name).write_text("{}")
    remove("fruit", tmp_path)
    assert listing(place) == {"fruit.zip": "{}"}


def test_a_folder_of_the_users_is_neither_verified_nor_removed(fruit, tmp_path):
    (tmp_path / "fruit" / "train").mkdir(parents=True)
    for action in (verify, remove):
        with pytest.raises(DatasetError, match="was not unpacked by"):
            action("fruit", tmp_path)
    assert (tmp_path / "fruit" / "train").is_dir()


def test_the_registry_is_whole():
    sets = available()
    assert {"ml-latest-small", "imdb", "wikitext-2", "mnist", "cifar10", "pets", "rossmann"} <= set(sets)
    for name, one in sets.items():
        assert one.name == name
        assert all([one.about, one.terms, one.holds])
        assert one.page.startswith("http")
        assert bool(one.by_hand) == (not all(file.urls for file in one.files))
        for file in one.files:
            assert all(url.endswith(f"/{file.name}") for url in file.urls)
            assert file.sha256 or file.md5 or file.size or one.by_hand


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "../x"}, "no name of a file"),
        ({"name": "a", "sha256": "abc"}, "64 hexadecimal digits"),
        ({"name": "a", "sha256": "A" * 64}, "in lower case"),
        ({"name": "a", "urls": ("file:///etc/passwd",)}, "begins with https"),
    ],
)
def test_files_that_cannot_be_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        File(**options)


def test_sets_that_cannot_be_are_refused(fruit):
    files = (File(name="a.zip"),)
    rest = {"about": "", "terms": "", "page": "", "holds": ()}
    for name in ("..", "a/b", ".hidden", "x.files", ""):
        with pytest.raises(ValueError, match="cannot be the name"):
            Dataset(name=name, files=files, **rest)
    with pytest.raises(ValueError, match="each of another name"):
        Dataset(name="a", files=files * 2, **rest)
    with pytest.raises(ValueError, match="there is a public data set 'mnist'"):
        register(Dataset(name="MNIST", files=files, **rest))


def test_local_data_points_to_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"`zoo data get mnist --folder {re.escape(str(tmp_path))}`"):
        local_dataset(tmp_path, "mnist")


def run(*arguments, code=0):
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    if isinstance(result.exception, (ValueError, OSError)):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_commands_from_get_to_remove(fruit, tmp_path):
    where = ("--folder", tmp_path)
    rows = {row["name"]: row for row in json.loads(run("list", *where, "--json"))["sets"]}
    assert rows["fruit"] == {
        "name": "fruit", "here": None, "bytes": len(ZIP), "about": "Fruit", "terms": "no terms", "page": "",
        "by_hand": False,
    }  # fmt: skip
    assert rows["rossmann"]["by_hand"]
    path = str(tmp_path / "fruit")
    assert json.loads(run("get", "fruit", *where, "--json")) == {"name": "fruit", "path": path}
    assert run("get", "fruit", *where) == f"{path}\n"
    assert run("where", "fruit", *where) == f"{path}\n"
    assert re.search(r"^fruit +0\.0 MB +yes +Fruit +no terms", run("list", *where), re.MULTILINE)
    assert re.search(r"^rossmann +by hand +Rossmann", run("list", *where), re.MULTILINE)
    assert run("verify", "fruit", *where).startswith("3 files in")
    (tmp_path / "fruit" / "train" / "a.txt").write_text("changed")
    told = json.loads(run("verify", "fruit", *where, "--json", code=1))
    assert (told["ok"], told["changed"], told["path"]) == (False, ["train/a.txt"], path)
    told = json.loads(run("remove", "fruit", *where, "--forget", "--json"))
    assert (told["files"], told["kept"]) == (2, ["train/a.txt"])


def test_the_commands_fail_in_one_line(fruit, tmp_path):
    for arguments, kind, reason in (
        (("get", "fruti"), ValueError, "did you mean 'fruit'"),
        (("get", "rossmann", "--folder", tmp_path), ValueError, "accept the rules"),
        (("where", "fruit", "--folder", tmp_path), FileNotFoundError, "zoo data get fruit"),
        (("verify", "fruit", "--folder", tmp_path), FileNotFoundError, "zoo data get fruit"),
        (("remove", "fruit", "--folder", tmp_path), FileNotFoundError, "zoo data get fruit"),
    ):
        with pytest.raises(kind, match=reason) as told:
            run(*arguments)
        assert "\n" not in str(told.value)


def test_a_mirror_can_be_given_on_the_line(fruit, tmp_path):
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "fruit.zip").write_bytes(ZIP)
    run("get", "fruit", "--folder", tmp_path, "--mirror", tmp_path / "share")
    assert fruit.requests == []
    record = json.loads((tmp_path / ".zoo" / "fruit.json").read_text())
    assert record["files"]["fruit.zip"]["sha256"] == hashlib.sha256(ZIP).hexdigest()
