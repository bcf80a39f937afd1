"""What is wrong is said in the user's terms, before anything is computed."""

import numpy as np
import pytest
import torch

import zoo
from tests.vision.helpers import two_class_arrays, two_class_folders
from zoo.losses import CrossEntropyFlat
from zoo.vision import (
    ConvLearner,
    FastNet,
    ImageClassifierData,
    Items,
    download_images,
    imagenet_stats,
    tfms_from_stats,
)

ARCH = "squeezenet1_1"


def pictures(sz, **options):
    x, y = two_class_arrays(8, 40)
    return ImageClassifierData.from_arrays(
        None, (x, y), (x, y), bs=4, tfms=tfms_from_stats(imagenet_stats, sz), num_workers=0, **options
    )


@pytest.mark.parametrize("own", [False, True])
def test_sizes_that_a_model_cannot_read(own, tmp_path):
    data = pictures(64, seed=0)
    options = {"device": "cpu", "progress": False, "path": tmp_path}
    learn = (
        ConvLearner.from_model_data(FastNet(2), data, **options)
        if own
        else ConvLearner.pretrained(ARCH, data, weights=None, **options)
    )
    told = rf"{'FastNet' if own else ARCH} needs pictures of at least \d+ pixels, sz is 2"
    before = [param.clone() for param in learn.model.parameters()]
    with pytest.raises(ValueError, match=told):
        learn.set_data(pictures(2))
    assert learn.data is data
    with pytest.raises(ValueError, match=told):
        learn.fine_tune(1, 1e-3, sizes={0: 2})
    with pytest.raises(ValueError, match=told):
        learn.fit(1e-3, 2, sizes={1: 2})
    assert all(map(torch.equal, before, learn.model.parameters()))
    learn.set_data(pictures(48))
    learn.fit(1e-3, 1, sizes={0: 40})


class TestListsOfNames:
    def test_a_split_by_a_file_in_utf_16(self, tmp_path):
        folder = two_class_folders(tmp_path / "data")
        listing = tmp_path / "valid.txt"
        for encoding, told in (
            ("utf-16", "but in UTF-16: save it as UTF-8"),
            ("latin-1", "is no text in UTF-8"),
        ):
            listing.write_text("000.png\nBär.png", encoding=encoding)
            items = Items.from_folder(folder).split_by_file(listing).label_by_folder()
            with pytest.raises(
                ValueError, match=rf"valid\.txt {told}" if "but" not in told else told
            ) as error:
                items.data()
            assert str(listing) in str(error.value)

    def test_addresses_in_utf_16(self, tmp_path):
        listing = tmp_path / "urls.txt"
        listing.write_text("http://example.com/a.jpg", encoding="utf-16")
        with pytest.raises(ValueError, match=r"urls\.txt is no text in UTF-8, but in UTF-16"):
            download_images(listing, tmp_path / "out")


@pytest.mark.parametrize(
    ("held", "told"), [("body.pth", "such as body.pth in it"), ("a.txt", "there is none")]
)
def test_a_folder_as_weights(tmp_path, held, told):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / held).write_bytes(b"")
    with pytest.raises(IsADirectoryError, match=rf"small' is a folder: give a file of weights, .*{told}"):
        ConvLearner.pretrained(ARCH, pictures(64), weights=tmp_path / "small")


@pytest.mark.parametrize("weight", ["balanced", {"cat": 1}, [1, "a"], [None]])
def test_class_weights_that_are_no_numbers(weight):
    with pytest.raises(TypeError, match=r"weight takes one number a class, got .*data\.class_weights\(\)"):
        CrossEntropyFlat(weight=weight)


@pytest.mark.parametrize("seed", ["a", 1.5, True])
def test_seeds_that_are_none(seed):
    told = "seed is a whole number or None, got"
    with pytest.raises(TypeError, match=told):
        ConvLearner.pretrained(ARCH, pictures(64), weights=None, seed=seed)
    with pytest.raises(TypeError, match=told):
        pictures(64, seed=seed)
    with pytest.raises(TypeError, match=told):
        zoo.TensorLoader(torch.zeros(3), seed=seed)
    pictures(64, seed=np.int64(3))
