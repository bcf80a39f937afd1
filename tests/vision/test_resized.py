"""Shrunken copies of pictures."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vision.helpers import gradient, link_slice, two_class_folders
from zoo.vision import ImageClassifierData, imagenet_stats, tfms_from_stats, transforms_side_on
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.picture_data import ImageData
from zoo.vision.files.finding import find_pictures
from zoo.vision.targets.boxes import BoxTarget
from zoo.vision.targets.maps import MaskTarget, PictureTarget
from zoo.vision.targets.values import PointsTarget

TFMS = tfms_from_stats(imagenet_stats, 24, aug_tfms=transforms_side_on)


def opened(file):
    """A picture whose file is closed."""
    with Image.open(file) as picture:
        picture.load()
        return picture


def photos(root, n=4):
    for split in ("train", "valid"):
        for number, label in enumerate(("cat", "dog")):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(n):
                end = "png" if i == 1 else "jpg"
                Image.fromarray(gradient(80 + 4 * i, 120, 10 * number + i)).save(folder / f"{i}.{end}")
    return root


def data(root, **options):
    return ImageClassifierData.from_paths(root, bs=4, tfms=TFMS, seed=2, num_workers=0, **options)


def test_copies_are_small_alike_and_made_once(tmp_path) -> None:
    whole = data(photos(tmp_path / "d"))
    small = whole.resize(32)
    assert type(small) is ImageClassifierData
    assert small.classes == whole.classes
    assert small.tfms == whole.tfms
    assert small.train_dl.seed == whole.train_dl.seed
    assert small.trn_ds.files[0] == tmp_path / "d/tmp/resized/32/train/cat/0.jpg"
    assert small.trn_ds.files[1].suffix == ".png"
    for before, after in zip(whole.trn_ds.files, small.trn_ds.files, strict=True):
        big, little = opened(before), opened(after)
        assert min(little.size) == 32
        assert little.format == big.format
        wanted = big.convert("RGB").resize(little.size, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(wanted, int) - np.asarray(little, int)).mean() < 2
    np.testing.assert_array_equal(small.trn_y, whole.trn_y)
    stamps = [os.stat(file).st_mtime_ns for file in small.trn_ds.files]
    again = whole.resize(32)
    assert list(again.trn_ds.files) == list(small.trn_ds.files)
    assert [os.stat(file).st_mtime_ns for file in again.trn_ds.files] == stamps
    for (ours, labels), (theirs, same) in zip(whole.train_dl, small.train_dl, strict=True):
        assert torch.equal(labels, same)
        assert (ours.float() - theirs.float()).abs().mean() < 6  # the same views
    assert not list((tmp_path / "d").rglob("*.tmp"))


def test_what_has_changed_is_made_again(tmp_path) -> None:
    root = photos(tmp_path / "d")
    first = data(root).resize(32)
    changed, cut, gone = list(first.trn_ds.files)[:3]
    kept = list(first.trn_ds.files)[3]
    stamp = os.stat(kept).st_mtime_ns
    old = os.stat(root / "train/cat/0.jpg")
    Image.fromarray(255 - gradient(80, 120)).save(root / "train/cat/0.jpg")
    os.utime(root / "train/cat/0.jpg", ns=(old.st_atime_ns, old.st_mtime_ns))  # the times tell nothing
    cut.write_bytes(cut.read_bytes()[:100])
    gone.unlink()
    data(root).resize(32)
    assert np.asarray(opened(changed)).mean() < 140
    opened(cut).load()
    opened(gone).load()
    assert os.stat(kept).st_mtime_ns == stamp
    manifest = root / "tmp/resized/32/copies.json"
    manifest.write_text(manifest.read_text()[:50])
    assert min(opened(data(root).resize(32).trn_ds.files[0]).size) == 32
    assert len(json.loads(manifest.read_text())["files"]) == 16


def test_small_and_deep_pictures_stay_as_they_are(tmp_path) -> None:
    root = photos(tmp_path / "d")
    deep = np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16)
    Image.fromarray(deep).save(root / "train/cat/deep.png")
    Image.fromarray(gradient(20, 30)).save(root / "train/cat/small.jpg")
    files = list(data(root).resize(32).trn_ds.files)
    assert root / "train/cat/deep.png" in files
    assert root / "train/cat/small.jpg" in files


def test_a_turned_photo_is_upright_in_its_copy(tmp_path) -> None:
    root = photos(tmp_path / "d")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(gradient(80, 120)).save(root / "train/cat/0.jpg", exif=exif)
    small = opened(data(root).resize(32).trn_ds.files[0])
    assert small.size == (32, 48)
    assert small.getexif().get(0x112, 1) == 1
    assert np.asarray(small)[:, -8:].mean() > np.asarray(small)[:, :8].mean()  # the bright corner is right


def test_broken_pictures_are_told_by_name(tmp_path) -> None:
    root = photos(tmp_path / "d")
    (root / "train/dog/2.jpg").write_bytes((root / "train/dog/2.jpg").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"cannot read 1 picture file.*dog/2\.jpg"):
        data(root).resize(32)
    assert (root / "tmp/resized/32/train/dog/3.jpg").is_file()  # the others are done


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_sizes_that_are_none(tmp_path, size) -> None:
    with pytest.raises(ValueError, match="whole number of pixels"):
        data(photos(tmp_path / "d")).resize(size)


def test_a_size_below_that_of_the_transforms_is_told(tmp_path) -> None:
    with pytest.warns(UserWarning, match="pictures of 16 pixels are enlarged to the 24"):
        data(photos(tmp_path / "d")).resize(16)


def test_arrays_are_shrunk_in_memory() -> None:
    x = np.stack([gradient(60, 90, seed) for seed in range(6)])
    whole = ImageClassifierData.from_arrays(None, (x, [0, 1] * 3), tfms=TFMS, bs=2)
    small = whole.resize(30)
    assert small.trn_ds.items.shape == (6, 30, 45, 3)
    assert small.trn_ds.items.dtype == np.uint8
    assert np.abs(small.trn_ds.items.mean((1, 2)) - x.mean((1, 2))).max() < 1
    grey = ImageClassifierData.from_arrays(None, (x[..., 0] / np.float32(255), [0, 1] * 3), bs=2)
    assert grey.resize(30).trn_ds.items.shape == (6, 30, 45)


def test_masks_and_points_and_pictures_follow(tmp_path) -> None:
    files, masks = [], []
    for i in range(3):
        picture, mask = gradient(80, 120, i), np.zeros((80, 120), np.uint8)
        mask[20:60, 30:90] = 7
        files.append(tmp_path / f"{i}.jpg")
        masks.append(tmp_path / f"{i}_mask.png")
        Image.fromarray(picture).save(files[-1])
        Image.fromarray(mask).save(masks[-1])
    target = MaskTarget({0: "ground", 7: "pet"})
    small = ImageData(ImageDataset(files, masks, TFMS[0]), target=target, path=tmp_path, tfms=TFMS).resize(40)
    values = np.asarray(opened(small.trn_ds.y[0]))
    assert values.shape == (40, 60)
    assert set(np.unique(values)) == {0, 7}
    assert (values[10:30, 15:45] == 7).all()
    arrays = [np.asarray(opened(mask)) for mask in masks]
    held = ImageData(ImageDataset(files, arrays, TFMS[0]), target=target, path=tmp_path, tfms=TFMS).resize(40)
    np.testing.assert_array_equal(held.trn_ds.y[0], values)

    points = np.array([[[30.0, 20.0], [90.0, 60.0]]] * 3, np.float32)
    located = ImageData(ImageDataset(files, points, TFMS[1]), target=PointsTarget(["a", "b"]), path=tmp_path)
    np.testing.assert_allclose(located.resize(40).trn_ds.y[0], [[15, 10], [45, 30]])

    boxed = [(np.array([[30.0, 20.0, 90.0, 60.0]]), np.array([0]))] * 3
    found = ImageData(ImageDataset(files, boxed, TFMS[1]), target=BoxTarget(["pet"]), path=tmp_path).resize(
        40
    )
    np.testing.assert_allclose(found.trn_ds.y[0][0], [[15, 10, 45, 30]])

    larger = PictureTarget(scale=2)
    pairs = ImageData(ImageDataset(files, files, TFMS[0]), target=larger, path=tmp_path, tfms=TFMS).resize(30)
    assert opened(pairs.trn_ds.files[0]).size == (45, 30)
    assert opened(pairs.trn_ds.y[0]).size == (90, 60)


def test_real_photos_by_links_from_elsewhere(tmp_path, data_dir) -> None:
    root = link_slice(data_dir("dogscats"), tmp_path / "links", 3)
    small = data(root).resize(64)
    sizes = {min(opened(file).size) for file in small.trn_ds.files}
    assert sizes == {64}
    assert next(iter(small.train_dl))[0].shape == (4, 3, 24, 24)


def test_copies_of_other_files_are_not_taken_for_each_other(tmp_path):
    """A GIF is copied as PNG, beside a PNG of that very name."""
    for name, colour in (("a/x.gif", (200, 0, 0)), ("a/x.gif.png", (0, 200, 0)), ("b/y.png", (0, 0, 200))):
        target = tmp_path / "train" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 60), colour).save(target)
    data = ImageClassifierData.from_paths(tmp_path, bs=2, val_name=None, tfms=TFMS).resize(24)
    pixels = [np.asarray(Image.open(file).convert("RGB"))[10, 10] for file in data.trn_ds.files]
    red, green, _ = pixels
    assert red[0] > 150 > red[1]
    assert green[1] > 150 > green[0]


def test_what_was_made_of_pictures_is_no_picture(tmp_path):
    root = two_class_folders(tmp_path / "d", 4)
    before = len(find_pictures(root)[0])
    ImageClassifierData.from_paths(root, bs=2, tfms=TFMS).resize(24)
    found, left = find_pictures(root)
    assert len(found) == before
    assert "folders of what can be made anew (tmp)" in left.text(quiet=True)
    (root / "tmp" / "CACHEDIR.TAG").unlink()  # made by an earlier version
    assert len(find_pictures(root)[0]) == before
    again = ImageClassifierData.from_paths(root / "train", trn_name=".", val_name=None, tfms=TFMS)
    again.resize(24)
    again = ImageClassifierData.from_paths(root / "train", trn_name=".", val_name=None, tfms=TFMS)
    assert list(again.classes) == ["blue", "red"]
