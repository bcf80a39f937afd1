"""Duplicates by content, by look and by features; odd pictures."""

import time

import numpy as np
import pytest
from PIL import Image

from tests.vision.helpers import gradient
from zoo.vision import ConvLearner, ImageClassifierData, find_duplicates, odd_pictures, tfms_from_model
from zoo.vision.seeing.duplicates import nearest_earlier
from zoo.vision.seeing.looks import Looks, difference_hash, look_at
from zoo.vision.seeing.oddities import neighbour_distance


def photo(seed, height=48, width=60):
    """Smooth random blots, as different from each other as photos."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "valid"):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(4):
                seed = 100 * (part == "valid") + 10 * (label == "dog") + i
                Image.fromarray(photo(seed)).save(tmp_path / part / label / f"{i}.png")
    return tmp_path


def pairs(table):
    return {
        (a.rsplit("/", 2)[-1], b.rsplit("/", 2)[-1], kind)
        for a, b, kind in table[["file", "twin", "kind"]].values
    }


def test_equal_contents_and_near_ones_across_the_split_and_with_other_labels(folder):
    source = folder / "train" / "cat" / "0.png"
    (folder / "valid" / "dog" / "leak.png").write_bytes(source.read_bytes())
    small = Image.open(folder / "train" / "dog" / "1.png").resize((30, 24))
    small.save(folder / "valid" / "dog" / "small.jpg", quality=60)
    Image.open(source).point(lambda v: v // 2 + 20).save(folder / "train" / "cat" / "darker.png")
    data = ImageClassifierData.from_paths(folder, tfms=tfms_from_model("resnet18", 32), num_workers=0)
    found = find_duplicates(data)
    assert pairs(found) == {
        ("leak.png", "0.png", "exact"),
        ("small.jpg", "1.png", "near"),
        ("darker.png", "0.png", "near"),
    }
    leak = found[found.file.str.endswith("leak.png")].iloc[0]
    assert (leak.part, leak.twin_part, leak.label, leak.twin_label, leak.distance) == (
        "valid",
        "train",
        "dog",
        "cat",
        0,
    )
    assert found.kind.tolist() == sorted(found.kind, key=["exact", "near"].index)
    assert len(find_duplicates(folder)) == len(found)
    none = find_duplicates(data, max_distance=0.0)
    assert none.kind.tolist() == ["exact"]
    assert not len(find_duplicates([folder / "train" / "cat" / "1.png", folder / "train" / "cat" / "2.png"]))


def test_blank_pictures_are_alike_only_in_one_colour():
    pictures = [np.full((30, 30, 3), value, np.uint8) for value in (0, 255, 254)]
    found = find_duplicates(pictures)
    assert found[["file", "twin"]].values.tolist() == [["picture 2", "picture 1"]]


def test_ten_thousand_pictures_in_seconds():
    rng = np.random.default_rng(0)
    n = 10_000
    hashes = rng.integers(0, 2**63, (n, 4)).astype(np.uint64)
    hashes[7777] = hashes[5] ^ np.uint64(1)
    digests = [bytes(str(i), "ascii") for i in range(n)]
    digests[9000] = digests[1]
    looks = Looks(
        digests,
        hashes,
        np.zeros((n, 8, 8, 3), np.uint8),
        np.ones((n, 2), int),
        np.ones(n),
        np.full(n, 50.0),
        {},
    )
    parts = np.where(np.arange(n) < 8000, "train", "valid")
    started = time.process_time()
    found = nearest_earlier(parts, looks, None, 0.1)
    assert time.process_time() - started < 30
    assert {(row, twin, exact) for row, twin, _, exact in found} == {(7777, 5, False), (9000, 1, True)}


def test_mirrored_pictures_are_found_by_features(data_dir, tmp_path):
    photos = sorted((data_dir("dogscats") / "train" / "cats").iterdir())[:36]
    weights = data_dir("weights") / "mobilenet_v2.pth"
    (tmp_path / "train" / "cats").mkdir(parents=True)
    for file in photos:
        (tmp_path / "train" / "cats" / file.name).symlink_to(file)
    mirrored = Image.open(photos[3]).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (tmp_path / "train" / "dogs").mkdir()
    mirrored.save(tmp_path / "train" / "dogs" / "mirrored.png")
    large = Image.open(photos[5])
    large.resize((large.width // 8, large.height // 8)).save(tmp_path / "train" / "dogs" / "small.png")
    data = ImageClassifierData.from_paths(
        tmp_path, val_name=None, tfms=tfms_from_model("mobilenet_v2", 96), bs=16, num_workers=0
    )
    learn = ConvLearner.pretrained("mobilenet_v2", data, weights=weights, path=tmp_path, progress=False)
    mirror, small = ("mirrored.png", photos[3].name, "near"), ("small.png", photos[5].name, "near")
    found = find_duplicates(learn, max_distance=0.3)
    assert pairs(found) == {mirror, small}
    assert dict(zip(found.file.str[-8:], found.by, strict=True)) == {
        "ored.png": "features",
        "mall.png": "look",
    }
    assert pairs(find_duplicates(learn, by="look")) == {small}
    assert mirror in pairs(find_duplicates(learn, by="features", max_distance=0.3))
    assert learn.precompute is False


def test_wrong_arguments():
    with pytest.raises(ValueError, match="needs a learner"):
        find_duplicates([gradient()], by="features")
    with pytest.raises(ValueError, match="by must be"):
        find_duplicates([gradient()], by="hash")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_distance"):
        find_duplicates([gradient()], max_distance=2)
    with pytest.raises(TypeError, match="expected a learner"):
        find_duplicates(3)
    with pytest.raises(ValueError, match="no pictures"):
        find_duplicates([])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_duplicates("no such folder")


def test_looks_of_broken_missing_turned_and_grey_pictures(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.fromarray(gradient(40, 60)).save(tmp_path / "turned.jpg", exif=_turned())
    grey = np.zeros((10, 20), np.float32)
    looks = look_at(
        [tmp_path / "broken.jpg", tmp_path / "turned.jpg", tmp_path / "none.jpg", grey, np.zeros((4, 4, 7))]
    )
    assert set(looks.broken) == {0, 2}
    assert "does not exist" in looks.broken[2]
    assert looks.sizes.tolist() == [[0, 0], [60, 40], [0, 0], [10, 20], [4, 4]]


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_hash_sees_through_scale_and_light():
    one = Image.fromarray(photo(0)).convert("L")
    other = one.resize((200, 160)).point(lambda v: v // 2 + 30)
    apart = np.bitwise_count(difference_hash(one) ^ difference_hash(other)).sum()
    unlike = np.bitwise_count(
        difference_hash(one) ^ difference_hash(Image.fromarray(photo(1)).convert("L"))
    ).sum()
    assert apart < 16
    assert unlike > 80


def test_odd_pictures(folder):
    Image.new("RGB", (60, 48), (5, 5, 5)).save(folder / "train" / "cat" / "black.png")
    Image.fromarray(photo(50, 10, 400)).save(folder / "train" / "cat" / "strip.png")
    (folder / "train" / "cat" / "cut.png").write_bytes(b"\x89PNG nothing")
    found = odd_pictures(folder)
    assert [file.rsplit("/", 1)[-1] for file in found.file] == ["cut.png", "black.png", "strip.png"]
    assert found.why.tolist()[1:] == ["blank, dark", "odd shape (400 x 10)"]
    assert len(odd_pictures(folder, 1)) == 1


def test_rows_far_from_all_others():
    values = np.eye(8, dtype=np.float32)[[0, 0, 0, 0, 0, 0, 0, 5]]
    assert neighbour_distance(values, 3).round(3).tolist() == [0.0] * 7 + [1.0]
