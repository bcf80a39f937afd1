"""Broken files of every kind are found before a training, named, and left out where that is asked for."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.vision.helpers import gradient, two_class_folders
from zoo.vision import ImageClassifierData, Items, tfms_from_stats, verify_images
from zoo.vision.files import checking
from zoo.vision.files.checking import check, check_before_training, check_headers
from zoo.vision.files.stamps import Remembered

KINDS = {
    ".jpg": ("JPEG", {}),
    ".progressive.jpg": ("JPEG", {"progressive": True}),
    ".mpo.jpg": ("MPO", {}),
    ".png": ("PNG", {}),
    ".gif": ("GIF", {}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {}),
    ".lossless.webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {}),
    ".lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".deflate.tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".jpeg.tif": ("TIFF", {"compression": "jpeg"}),
    ".ppm": ("PPM", {}),
    ".tga": ("TGA", {}),
    ".rle.tga": ("TGA", {"compression": "tga_rle"}),
    ".jp2": ("JPEG2000", {}),
    ".avif": ("AVIF", {}),
}


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    monkeypatch.setattr(checking, "_verdicts", Remembered())
    monkeypatch.setattr(checking, "_scales", Remembered())


def save_all(folder: Path, mode: str = "RGB") -> list[Path]:
    noise = np.random.default_rng(0).integers(0, 255, (60, 61, 3)).astype(np.uint8)
    for ending, (kind, options) in KINDS.items():
        img = Image.fromarray(noise).convert(mode)
        if kind == "GIF" and mode in ("RGB", "L"):
            img = img.quantize()
        if mode == "RGB":
            img.save(folder / f"whole{ending}", kind, **options)
            continue
        with contextlib.suppress(OSError, KeyError, ValueError):  # not every kind holds every mode
            img.save(folder / f"whole{ending}", kind, **options)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "RGBA", "I;16"])
def test_whole_files_are_whole_and_few_are_decoded(tmp_path, mode, monkeypatch):
    decoded = []
    original = checking.open_image
    monkeypatch.setattr(checking, "open_image", lambda path, **k: decoded.append(path) or original(path, **k))
    files = save_all(tmp_path, mode)
    assert check_headers(files) == {}
    assert {file.name for file in decoded} <= {"whole.rle.tga"}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.97])
def test_cut_files_of_all_kinds_are_found(tmp_path, share):
    files = save_all(tmp_path)
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])
    found = check_headers(files)
    assert sorted(file.name for file in set(files) - set(found)) == []
    assert all("\n" not in reason and str(tmp_path) not in reason for reason in found.values())


def test_the_first_bytes_of_all_kinds(tmp_path):
    for file in save_all(tmp_path):
        content = file.read_bytes()
        for begin in (b"", b"<html>", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0" * 40):
            file.write_bytes(begin + content[20:] if begin else b"")
            assert list(check_headers([file])) == [file], (file.name, begin)


def test_long_metadata_before_the_size_of_a_jpeg(tmp_path):
    Image.fromarray(gradient()).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0" + bytes(60000), comment=b"x" * 60000
    )
    assert check_headers([tmp_path / "a.jpg"]) == {}


def test_files_and_links_that_are_not_there(tmp_path):
    (tmp_path / "dead.jpg").symlink_to("/nowhere/3.jpg")
    (tmp_path / "folder.jpg").mkdir()
    found = check_headers([tmp_path / "dead.jpg", tmp_path / "none.jpg", tmp_path / "folder.jpg"])
    assert list(found.values()) == [
        "it is a link to /nowhere/3.jpg, which does not exist", "it does not exist", "it is a folder",
    ]  # fmt: skip


def test_skip_and_raise(tmp_path, caplog):
    files = save_all(tmp_path)
    (tmp_path / "none.jpg").write_bytes(b"")
    files.append(tmp_path / "none.jpg")
    files.append(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match=r"cannot read 2 picture files: .*none\.jpg \(it is empty\); .*skip"):
        check(files)
    with caplog.at_level(logging.WARNING):
        kept = check(files, on_broken="skip", origin="d/train")
    assert kept.tolist() == list(range(len(files) - 2))
    assert len(caplog.records) == 1
    assert f"d/train: 2 of {len(files)} pictures cannot be read and are left out" in caplog.text
    with pytest.raises(ValueError, match="not one picture can be read"):
        check(files[-2:], on_broken="skip")
    with pytest.raises(ValueError, match="on_broken must be"):
        check(files, on_broken="ignore")  # type: ignore[arg-type]


def test_a_verdict_is_kept_while_the_file_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "_verdicts", Remembered(settled=0.0))
    files = save_all(tmp_path)
    looked = []
    original = checking._look
    monkeypatch.setattr(checking, "_look", lambda name, size: looked.append(name) or original(name, size))
    for _ in range(2):
        assert check_headers(files) == {}
    assert len(looked) == len(files)
    times = os.stat(files[0])
    content = files[0].read_bytes()
    files[0].write_bytes(content[:40] + bytes(len(content) - 40))
    os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(check_headers(files)) == [files[0]]
    assert len(looked) == len(files) + 1


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    known = Remembered()
    known.put(os.stat(tmp_path / "a"), "one")
    assert known.get(os.stat(tmp_path / "a")) is None


def test_a_broken_test_picture_does_not_stop_a_training(tmp_path, caplog):
    path = two_class_folders(tmp_path, names=("train", "valid", "test"))
    (path / "test" / "red" / "cut.png").write_bytes(b"nothing")
    data = ImageClassifierData.from_paths(path, tfms=tfms_from_stats(([0.5] * 3,) * 2, 16), test_name="test")
    with caplog.at_level(logging.WARNING):
        data.check_files()
    assert "1 of 13 test pictures cannot be read" in caplog.text
    with pytest.raises(ValueError, match=r"cut\.png"):
        check_before_training([[path / "test" / "red" / "cut.png"]])


def wide_folders(root: Path) -> Path:
    """Class folders with a picture each that needs a range, of floats and of 32 bits, among usual ones."""
    two_class_folders(root)
    values = np.linspace(0, 70000, 1600).reshape(40, 40)
    for name, kind in (("f.tif", np.float32), ("i.tif", np.int32)):
        Image.fromarray(values.astype(kind)).save(root / "train" / "red" / name)
        Image.fromarray((values / 70000).astype(kind)).save(root / "train" / "blue" / name)
    return root


def test_deep_pictures_without_a_known_range_are_told_by_name(tmp_path):
    path = wide_folders(tmp_path)
    files = [path / "train" / "red" / "f.tif", path / "train" / "red" / "i.tif"]
    found = verify_images(path)
    assert list(found) == files
    assert all("pass value_range=(black, white)" in reason for reason in found.values())
    assert verify_images(path, value_range=(0, 70000)) == {}
    assert check_headers(files) == {}  # a range can still be given
    assert list(check_headers(files, ranged=False)) == files
    assert list(check_headers(files, ranged=False)) == files  # from memory
    with pytest.raises(ValueError, match=r"f\.tif \(its float samples reach.*value_range=\(black") as told:
        check_before_training([files], ranged=False)
    assert "Remove" not in str(told.value)
    check_before_training([files])
    (path / "cut.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"value_range.*\. Remove or replace the others"):
        check_before_training([[*files, path / "cut.png"]], ranged=False)


@pytest.mark.parametrize("value_range", [None, (0, 70000)])
def test_deep_pictures_without_a_range_are_skipped_and_told(tmp_path, caplog, value_range):
    path = wide_folders(tmp_path)
    tfms = tfms_from_stats(([0.5] * 3,) * 2, 16, value_range=value_range)
    with caplog.at_level(logging.WARNING):
        data = ImageClassifierData.from_paths(path, tfms=tfms, on_broken="skip", num_workers=0)
    items = Items.from_folder(path / "train")
    assert len(items.check("skip")) == 16
    if value_range is not None:
        assert len(data.trn_ds) == 16
        assert len(items.transform(tfms).check()) == 16
        return
    assert len(data.trn_ds) == 14
    assert "f.tif (its float samples reach" in caplog.text
    assert "pass value_range=(black, white)" in caplog.text
    with pytest.raises(ValueError, match="value_range"):
        items.transform(tfms).check()


def test_a_large_jpeg_is_not_broken_and_a_bomb_is(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400_000)
    Image.new("RGB", (1200, 1000), "red").save(tmp_path / "a.jpg")
    Image.new("RGB", (1200, 1000), "red").save(tmp_path / "a.png")
    for found in (check_headers(sorted(tmp_path.iterdir())), verify_images(tmp_path)):
        assert list(found) == [tmp_path / "a.png"]
        assert "MAX_IMAGE_PIXELS" in found[tmp_path / "a.png"]


def test_bytes_behind_the_end_do_no_harm(tmp_path):
    for file in save_all(tmp_path):
        file.write_bytes(file.read_bytes() + b"x" * 300)
    assert check_headers(sorted(tmp_path.iterdir())) == {}


def test_damaged_tiff_offsets(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    place = (
        content.find(struct.pack("<HHI", 273, 4, 1)) if struct.pack("<HHI", 273, 4, 1) in content else None
    )
    if place is None:
        pytest.skip("Pillow writes the place of the strip in another way")
    content[place + 8 : place + 12] = struct.pack("<I", 10**6)
    (tmp_path / "a.tif").write_bytes(content)
    assert list(check_headers([tmp_path / "a.tif"])) == [tmp_path / "a.tif"]
