"""What lies below a folder: pictures are found, everything else is told with the reason."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.vision.helpers import two_class_folders
from zoo.vision import ImageClassifierData, tfms_from_stats
from zoo.vision.data.sources.folders import read_class_folders, read_flat_folder
from zoo.vision.files.file_list import FileList
from zoo.vision.files.finding import LOOP, SYSTEM, UNKNOWN, find_pictures, walk_images
from zoo.vision.files.names import on_disk, tell_look_alikes

TFMS = tfms_from_stats(([0.5] * 3, [0.5] * 3), 16)
ACCENTED = "caf\u00e9"


@pytest.fixture
def folders(tmp_path) -> Path:
    return two_class_folders(tmp_path / "d")


def sizes(path: Path):
    data = ImageClassifierData.from_paths(path, tfms=TFMS)
    return data.classes, len(data.trn_ds), len(data.val_ds)


def test_pictures_of_phones_are_told_with_the_remedy(folders, caplog):
    for i in range(20):
        (folders / "train" / "red" / f"IMG_{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with caplog.at_level(logging.INFO):
        assert sizes(folders) == (["blue", "red"], 12, 12)
    (told,) = [r.getMessage() for r in caplog.records]
    assert "20 of a kind that zoo does not read" in told
    assert "(red/IMG_0.HEIC, red/IMG_1.HEIC, red/IMG_10.HEIC and more)" in told
    assert "pillow-heif" in told


def test_a_plugin_makes_heic_a_picture(folders, monkeypatch):
    (folders / "train" / "red" / "a.HEIC").write_bytes(b"x")
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    assert len(find_pictures(folders / "train")[0]) == 13


def test_what_systems_make_is_no_data(folders, caplog):
    for name in (
        "@eaDir",
        "__MACOSX",
        "$RECYCLE.BIN",
        "lost+found",
        "#recycle",
        ".ipynb_checkpoints",
        ".git",
    ):
        for place in ("train", "train/red", "valid/blue"):
            (folders / place / name).mkdir()
            shutil.copy(
                folders / "train" / "red" / os.listdir(folders / "train" / "red")[0],
                folders / place / name / "t.png",
            )
    for name in (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", "notes.txt", "labels.csv"):
        for place in ("train", "train/red"):
            (folders / place / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert sizes(folders) == (["blue", "red"], 12, 12)
    assert caplog.text == ""
    with caplog.at_level(logging.INFO):
        sizes(folders)
    assert "in folders that a system made" in caplog.text


def test_strays_beside_the_class_folders_and_odd_endings(folders, caplog):
    picture = next((folders / "train" / "red").iterdir())
    shutil.copy(picture, folders / "train" / "stray.png")
    shutil.copy(picture, folders / "train" / "red" / "noending")
    shutil.copy(picture, folders / "train" / "red" / "a.png.bak")
    with caplog.at_level(logging.WARNING):
        assert sizes(folders)[1] == 12
    assert "1 pictures beside the class folders (stray.png)" in caplog.text
    assert "2 of a kind that zoo does not read" in caplog.text


def test_links_to_folders_above(folders, caplog):
    (folders / "train" / "red" / "back").symlink_to(folders.resolve())
    (folders / "train" / "red" / "here").symlink_to(folders.resolve() / "train" / "red")
    (folders / "train" / "again").symlink_to("..")
    with caplog.at_level(logging.WARNING):
        assert sizes(folders) == (["blue", "red"], 12, 12)
    assert f"3 {LOOP}" in caplog.text


def test_links_elsewhere_are_followed_once(tmp_path):
    two_class_folders(tmp_path / "other", names=("a", "b"))
    top = tmp_path / "top"
    top.mkdir()
    (top / "one").symlink_to(tmp_path / "other" / "a")
    (top / "two").symlink_to(tmp_path / "other" / "a")
    files, left = find_pictures(top)
    assert len(files) == 12
    assert all("/one/" in str(file) for file in files)
    assert len(left) == 1
    (top / "real").mkdir()
    (top / "real" / "up").symlink_to(tmp_path / "other")
    assert len(find_pictures(top)[0]) == 24


def test_dead_links_and_pipes_are_left_out(folders):
    red = folders / "train" / "red"
    (red / "dead.png").symlink_to("/nowhere/a.png")
    os.mkfifo(red / "pipe.png")
    files, left = find_pictures(red)
    assert len(files) == 6
    assert left.counts == {"links that lead nowhere": 1, "no ordinary files": 1}


def test_a_folder_that_cannot_be_read_is_told(folders, monkeypatch, caplog):
    inner = folders / "train" / "red" / "inner"
    inner.mkdir()
    original = os.scandir

    def failing(path):
        if str(path) == str(inner):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", failing)
    with caplog.at_level(logging.WARNING):
        assert sizes(folders)[1] == 12
    assert "1 folders that cannot be read (red/inner: Permission denied)" in caplog.text


def test_an_empty_class(folders, caplog):
    (folders / "train" / "green").mkdir()
    (folders / "train" / "green" / "a.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"'green' holds no pictures; .*1 of a kind that zoo does not read"):
        read_class_folders(folders / "train")
    with caplog.at_level(logging.WARNING):
        files, y, classes = read_class_folders(folders / "train", allow_empty=True)
    assert (len(files), classes, set(y)) == (12, ["blue", "green", "red"], {0, 2})
    assert "class folder 'green' holds no pictures" in caplog.text


def test_a_few_pictures_are_spread_over_the_folder(folders):
    few, _, _ = read_class_folders(folders / "train", limit=2)
    whole = walk_images(folders / "train" / "blue")
    assert [whole.index(file) for file in few[:2]] == [1, 4]
    again, _, _ = read_class_folders(folders / "train", limit=2)
    assert few == again


def test_the_order_is_that_of_sorted_folders(tmp_path):
    for name in ("b/2.png", "b/1.png", "a/z/1.png", "a/3.png", "0.png", "c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(file.relative_to(tmp_path)) for file in find_pictures(tmp_path)[0]]
    assert found == ["0.png", "c.png", "a/3.png", "a/z/1.png", "b/1.png", "b/2.png"]


class TestNames:
    def test_names_that_are_not_utf8_are_read(self, folders):
        red = folders / "train" / "red"
        shutil.copy(next(red.iterdir()), os.fsencode(red / "caf") + b"\xe9.png")
        data = ImageClassifierData.from_paths(folders, tfms=TFMS)
        assert len(data.trn_ds) == 13
        data.check_files()
        assert len([row for x, _ in data.train_dl for row in x]) == 13

    def test_class_names_that_are_not_utf8_are_refused_when_read(self, folders):
        os.rename(folders / "train" / "red", os.fsencode(folders / "train" / "caf") + b"\xe9")
        with pytest.raises(ValueError, match=r"class folder b'caf\\xe9' is not UTF-8.*Rename it"):
            sizes(folders)

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_class_folders_in_another_composition(self, folders, form):
        other = "NFD" if form == "NFC" else "NFC"
        (folders / "train" / "red").rename(folders / "train" / unicodedata.normalize(form, ACCENTED))
        (folders / "valid" / "red").rename(folders / "valid" / unicodedata.normalize(other, ACCENTED))
        data = ImageClassifierData.from_paths(folders, tfms=TFMS)
        assert data.c == 2
        assert sorted(data.val_y) == sorted(data.trn_y)

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_files_in_another_composition_are_found(self, tmp_path, form):
        other = "NFD" if form == "NFC" else "NFC"
        names = [f"{ACCENTED}{i}.png" for i in range(6)]
        for name in names:
            Image.new("RGB", (4, 4)).save(tmp_path / unicodedata.normalize(form, name))
        wanted = [unicodedata.normalize(other, name) for name in names]
        data = ImageClassifierData.from_names_and_labels(tmp_path, wanted, list("ababab"), tfms=TFMS)
        assert all(Path(name).exists() for part in data.filenames.values() for name in part)
        assert len(data.trn_ds) + len(data.val_ds) == 6

    def test_links_that_lead_nowhere_are_not_there(self, tmp_path):
        (tmp_path / "a.png").touch()
        (tmp_path / "b.png").symlink_to("/nowhere")
        (tmp_path / "c.png").symlink_to(tmp_path / "a.png")
        files = [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")]
        found, exists = on_disk(files)
        assert found == files
        assert exists.tolist() == [True, False, True, False]

    def test_look_alikes_are_told(self, folders, caplog):
        (folders / "train" / "red").rename(folders / "train" / "blue\u200b")
        with caplog.at_level(logging.WARNING):
            read_class_folders(folders / "train")
        assert r"'blue' and 'blue\u200b'" in caplog.text
        assert not tell_look_alikes(["a", "A", "b"], "labels")


class TestFileList:
    def test_it_is_a_sequence_of_paths(self):
        names = ["a/1.jpg", os.fsdecode(b"caf\xe9.jpg"), "\u2600.png", ""]
        files = FileList(names)
        assert list(files) == [Path(name) for name in names]
        assert files[-2] == Path("\u2600.png")
        assert files[np.int64(1)] == Path(names[1])
        assert files[1:3] == names[1:3]
        assert files != names[:3]
        assert Path("a/1.jpg") in files
        assert pickle.loads(pickle.dumps(files)) == files
        assert len(FileList()) == 0
        with pytest.raises(IndexError, match="row 4 of a list of 4"):
            files[4]
        with pytest.raises(IndexError):
            files[-5]

    def test_memory(self):
        files = FileList(f"/some/folder/of/pictures/{i:06d}.jpg" for i in range(10_000))
        assert files.nbytes < 50 * 10_000

    def test_folders_give_it(self, folders):
        assert isinstance(read_flat_folder(folders / "train"), FileList)
        assert isinstance(read_class_folders(folders / "train")[0], FileList)
        assert find_pictures(folders / "train")[1].counts == {}
        assert UNKNOWN != SYSTEM
