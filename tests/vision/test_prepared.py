"""Pictures on disk: lists of files with labels, or pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.test_prepared import assert_same_batches
from tests.vision.helpers import two_class_arrays
from zoo import load_data
from zoo.storage.archive import ArchiveError
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.transforms.augment import RandomCall, RandomFlip, RandomRotate
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.pairs import tfms_from_stats

TRAIN = ImageTransform(
    (12, 12),
    (0.5,) * 3,
    (0.2,) * 3,
    augment=(RandomFlip(), RandomRotate(5)),
    max_zoom=1.1,
    pad=1,
    crop="random",
)
TFMS = (TRAIN, TRAIN.without_augmentation())


def of_folders(path):
    pixels, labels = two_class_arrays(12)
    for part in ("train", "valid"):
        for row, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = path / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{row}.png")
    return ImageClassifierData.from_paths(path, 5, TFMS, num_workers=0, seed=3)


def of_arrays(path):
    pixels, labels = two_class_arrays(12)
    return ImageClassifierData.from_arrays(
        path, (pixels, labels), (pixels, labels), 5, TFMS, test=pixels, seed=3
    )


@pytest.mark.parametrize("make", [of_folders, of_arrays])
def test_batches_and_augmentation_come_back(tmp_path, make):
    data = make(tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert_same_batches(data, loaded)
    assert (loaded.classes, loaded.tfms, loaded.filenames) == (data.classes, data.tfms, data.filenames)
    np.testing.assert_array_equal(loaded.trn_y, data.trn_y)
    assert loaded.export_state() == data.export_state()


def test_pictures_move_with_the_folder_and_absent_ones_are_named(tmp_path):
    data = of_folders(tmp_path / "old")
    data.save(tmp_path / "old" / "prepared")
    batches = list(data.valid_dl)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = load_data(tmp_path / "new" / "prepared")
    assert len(list(moved.valid_dl)) == len(batches)
    (tmp_path / "new" / "prepared").rename(tmp_path / "prepared")
    with pytest.raises(ArchiveError, match=r"12 of 12 pictures are no longer there.*path="):
        load_data(tmp_path / "prepared")
    assert len(load_data(tmp_path / "prepared", tmp_path / "new").trn_ds) == 12


def test_transforms_of_ones_own_are_refused(tmp_path):
    pixels, labels = two_class_arrays(12)
    own = ImageTransform((12, 12), augment=(RandomCall(lambda picture: picture),))
    data = ImageClassifierData.from_arrays(tmp_path, (pixels, labels), None, 5, (own, None))
    with pytest.raises(TypeError, match="RandomCall is code"):
        data.save(tmp_path / "prepared")


@pytest.mark.parametrize("way", ["dots", "link"])
def test_pictures_move_along_however_their_folder_was_named(tmp_path, monkeypatch, way):
    real = tmp_path / "real"
    for part in ("train", "valid"):
        for kind in "ab":
            (real / part / kind).mkdir(parents=True)
            for number in range(2):
                picture = Image.new("RGB", (8, 8), (40 * number, 90, 10))
                picture.save(real / part / kind / f"{number}.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    if way == "link":
        (tmp_path / "link").symlink_to(real)
    named = "../real" if way == "dots" else tmp_path / "link"
    tfms = tfms_from_stats(([0.5] * 3, [0.25] * 3), 8)
    ImageClassifierData.from_paths(named, 4, tfms, num_workers=0).save(Path(named) / "kept")
    real.rename(tmp_path / "moved")
    again = load_data(tmp_path / "moved" / "kept")
    assert next(iter(again.valid_dl))[0].shape[0] == 4
