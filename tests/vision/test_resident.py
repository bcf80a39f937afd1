"""Pictures that stay in memory are those that are read row by row."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from tests.vision.helpers import gradient, two_class_arrays
from zoo.data.loaders.batches import device_batches
from zoo.data.loaders.seeding import mix_seeds
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    RandomDihedral,
    RandomFlip,
    RandomLighting,
    RandomPerspective,
    RandomRotate,
    RandomTransform,
    imagenet_stats,
    tfms_from_stats,
    transforms_side_on,
    transforms_top_down,
)
from zoo.vision.data.store import FixedStore, RaggedStore, UniformStore, free_memory
from zoo.vision.transforms.batched import batch_views, lit, sample_pixels, seen_row
from zoo.vision.transforms.draws import Draws, draws_agree, mixed_seeds

CPU = torch.device("cpu")
AUGMENT = {
    "none": ([], {}),
    "flip and pad": ([RandomFlip()], {"pad": 4}),
    "dihedral": ([RandomDihedral()], {"pad": 3}),
    "turned": ([RandomRotate(20)], {}),
    "warped": ([RandomPerspective(0.15, p=0.8)], {"max_zoom": 1.3}),
    "lit": ([RandomFlip(), RandomLighting(0.3, 0.3)], {"pad": 2}),
    "all": ([*transforms_top_down, RandomPerspective(0.1, pad_mode="edge")], {"max_zoom": 1.1, "pad": 2}),
}


def data(augment=(), *, n=30, side=24, size=24, bs=8, channels=3, resident=None, balance=False, **options):
    x = np.stack([gradient(side, side + 6, seed) for seed in range(n)])
    x = x if channels == 3 else x[..., 0]
    tfms = tfms_from_stats(imagenet_stats, size, aug_tfms=list(augment), **options)
    labels = (np.arange(n) % 3 == 0).astype(int)
    found = ImageClassifierData.from_arrays(
        None, (x, labels), (x, labels), bs=bs, tfms=tfms, seed=6, balance=balance
    )
    found.resident = resident
    return found


def batches(loader, epoch=0, start=0):
    loader.set_epoch(epoch, start)
    return list(loader)


def test_draws_are_those_of_numpy() -> None:
    assert draws_agree()
    seeds = [mix_seeds(5, 2, row) for row in range(50)]
    assert mixed_seeds(5, 2, np.arange(50)).tolist() == seeds
    draws, everyone = Draws(np.array(seeds, np.uint64)), np.ones(50, bool)
    some = np.arange(50) % 3 == 0
    first, second = draws.integers(np.arange(50) + 1, some), draws.uniform(-1, 2)
    third, last = draws.integers(np.full(50, 3 * 2**30), everyone), draws.random()
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        assert first[row] == (rng.integers(row + 1) if some[row] else 0)
        assert second[row] == rng.uniform(-1, 2)
        assert third[row] == rng.integers(3 * 2**30)
        assert last[row] == rng.random()


@pytest.mark.parametrize("name", AUGMENT)
@pytest.mark.parametrize("crop", ["random", "center", "squash", "letterbox"])
def test_views_of_a_batch_are_those_of_its_rows(name, crop) -> None:
    augment, options = AUGMENT[name]
    for size in ((24, 24), (20, 32)):
        tfm, _ = tfms_from_stats(imagenet_stats, size, aug_tfms=augment, crop=crop, **options)
        sources = np.random.default_rng(1).integers(16, 70, (24, 2))
        seeds = np.array([mix_seeds(3, row) for row in range(24)], np.uint64)
        views = batch_views(tfm, sources, seeds)
        for row in range(24):
            view = tfm.view(tuple(sources[row].tolist()), np.random.default_rng(int(seeds[row])))
            assert tuple(views.scaled[row].tolist()) == view.scaled
            assert views.size == view.size
            np.testing.assert_allclose(views.matrix[row].ravel(), view.matrix, atol=1e-9)
            assert views.on_grid[row] == view.on_grid
            assert ("reflect", "constant", "edge")[views.mode[row]] == view.pad_mode


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENT)
@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "edge"])
def test_pictures_in_memory_are_seen_as_row_by_row(name, channels, pad_mode) -> None:
    augment, options = AUGMENT[name]
    options = {**options, "pad_mode": pad_mode, "channels": channels}
    kept, plain = data(augment, **options), data(augment, resident=False, **options)
    for epoch in (0, 1):
        for (x, y), (wanted, labels) in zip(
            batches(kept.train_dl, epoch), batches(plain.train_dl, epoch), strict=True
        ):
            assert torch.equal(y, labels)
            assert x.dtype == wanted.dtype == torch.uint8
            difference = (x.int() - wanted.int()).abs()
            assert difference.max() <= 1
            assert difference.float().mean() < 0.05
    assert isinstance(kept.train_dl._store, FixedStore if name == "none" else UniformStore)
    for (x, _), (wanted, _) in zip(kept.valid_dl, plain.valid_dl, strict=True):
        assert torch.equal(x, wanted)


def test_scaled_pictures_in_memory() -> None:
    kept, plain = (data(transforms_side_on, side=20, max_zoom=1.2, resident=r) for r in (None, False))
    for (x, _), (wanted, _) in zip(kept.train_dl, plain.train_dl, strict=True):
        assert (x.int() - wanted.int()).abs().max() <= 1
    assert kept.train_dl.resident_bytes == 30 * 20 * 26 * 3
    large = data(transforms_side_on, side=80)  # would be shrunk by more than a half
    next(iter(large.train_dl))
    assert large.train_dl._store is None


@pytest.mark.parametrize("name", ["none", "flip and pad", "all"])
def test_passes_begin_anywhere_and_are_shared(name) -> None:
    augment, options = AUGMENT[name]
    loader = data(augment, **options).train_dl
    whole = batches(loader, 3)
    for ours, theirs in zip(batches(loader, 3, 2), whole[2:], strict=True):
        assert torch.equal(ours[0], theirs[0])
    loader.set_epoch(3)
    loader.share = lambda rows: rows[1::2]
    half = iter(loader)
    loader.share = None
    for ours, theirs in zip(half, whole, strict=True):
        assert torch.equal(ours[0], theirs[0][1::2])
        assert torch.equal(ours[1], theirs[1][1::2])
    other = loader.with_bs(15)
    assert torch.equal(torch.cat([x for x, _ in batches(other, 3)]), torch.cat([x for x, _ in whole]))


def test_balanced_rows_are_seen_anew_alike() -> None:
    kept, plain = (data([RandomFlip()], pad=4, balance=True, resident=r) for r in (None, False))
    for (x, y), (wanted, labels) in zip(kept.train_dl, plain.train_dl, strict=True):
        assert torch.equal(y, labels)
        assert torch.equal(x, wanted)


class Inverted(RandomTransform):
    def draw(self, rng, height, width):
        return True

    def apply(self, item, params):
        return Image.eval(item, lambda v: 255 - v)


def test_code_of_users_goes_row_by_row() -> None:
    kept, plain = (data([RandomFlip(), Inverted()], resident=r) for r in (None, False))
    for (x, _), (wanted, _) in zip(kept.train_dl, plain.train_dl, strict=True):
        assert torch.equal(x, wanted)
    assert kept.train_dl._store is None
    assert not kept.trn_ds.seeds_itself
    assert plain.val_ds.seeds_itself


# ---- files


@pytest.fixture
def photos(tmp_path):
    for split in ("train", "valid"):
        for number, label in enumerate(("cat", "dog")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for i in range(8):
                picture = gradient(70 + 5 * i, 110 - 3 * i, 10 * number + i)
                Image.fromarray(picture).save(folder / f"{i}.jpg", quality=95)
    return tmp_path


def files(root, augment=transforms_side_on, resident=None, workers=0, **options):
    tfms = tfms_from_stats(imagenet_stats, 32, aug_tfms=augment, max_zoom=1.1)
    found = ImageClassifierData.from_paths(root, bs=6, tfms=tfms, seed=2, num_workers=workers, **options)
    found.resident = resident
    return found


def test_files_are_read_once(photos) -> None:
    kept, plain = files(photos), files(photos, resident=False)
    first = batches(kept.train_dl)
    for (x, y), (wanted, labels) in zip(first, batches(plain.train_dl), strict=True):
        assert torch.equal(y, labels)
        assert (x.int() - wanted.int()).abs().float().mean() < 4
    valid = [x for x, _ in kept.valid_dl]
    for x, (wanted, _) in zip(valid, plain.valid_dl, strict=True):
        assert torch.equal(x, wanted)
    assert isinstance(kept.train_dl._store, RaggedStore)
    assert kept.train_dl._store.complete
    for file in photos.rglob("*.jpg"):
        file.unlink()
    for (x, _), (again, _) in zip(first, batches(kept.train_dl), strict=True):
        assert torch.equal(x, again)
    for x, (again, _) in zip(valid, kept.valid_dl, strict=True):
        assert torch.equal(x, again)


def test_one_batch_reads_one_batch_and_workers_change_nothing(photos) -> None:
    kept = files(photos)
    kept.train_dl.set_epoch(1)
    first = next(iter(kept.train_dl))
    assert kept.train_dl._store.known.sum() == 6
    whole = batches(kept.train_dl, 1)
    assert torch.equal(first[0], whole[0][0])
    other = files(photos, workers=1)
    for ours, theirs in zip(batches(other.train_dl, 1), whole, strict=True):
        assert torch.equal(ours[0], theirs[0])


def test_pictures_of_different_sizes_are_seen_on_one_canvas_as_one_by_one(photos) -> None:
    loader = files(photos).train_dl
    list(loader)
    store, rows = loader._store, np.array([3, 0, 15])
    canvas, sizes = store.batch(rows)
    gathered = store.gathered(rows, *canvas.shape[2:])  # as on a GPU
    for row, ours, theirs, (height, width) in zip(rows, canvas, gathered, sizes, strict=True):
        assert torch.equal(ours[:, :height, :width], store.picture(row))
        assert torch.equal(theirs[:, :height, :width], store.picture(row))
    views = batch_views(loader.dataset.tfm, store.full_sizes(rows), mixed_seeds(1, 0, rows))
    together = sample_pixels(canvas.float(), sizes, views)
    for factors in views.lights:
        together = lit(together, factors)
    alone = [seen_row(store.picture(row), views, place)[0] for place, row in enumerate(rows)]
    assert (together.round() - torch.stack(alone)).abs().max() <= 1


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_a_border_of_another_kind_is_not_taken(pad_mode) -> None:
    """A turn by nothing with padding of its own."""
    turn = RandomRotate(0, p=1.0, pad_mode=pad_mode)
    kept, plain = (data([turn], pad=3, pad_mode="edge", resident=r).train_dl for r in (None, False))
    for (x, _), (wanted, _) in zip(kept, plain, strict=True):
        assert (x.int() - wanted.int()).abs().max() <= 1


def test_a_broken_file_is_told_by_name(photos) -> None:
    (photos / "train/dog/3.jpg").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"cannot read picture .*3\.jpg.*row 11"):
        list(files(photos).train_dl)


def test_what_does_not_fit_goes_row_by_row(photos, monkeypatch) -> None:
    monkeypatch.setattr("zoo.vision.data.store.free_memory", lambda: 1e5)
    kept, must = files(photos), files(photos, resident=True)
    for loader in (kept.train_dl, kept.valid_dl, must.train_dl):
        next(iter(loader))
    assert kept.train_dl._store is None
    assert kept.valid_dl._store is None
    assert must.train_dl._store is not None


def test_free_memory_is_the_least_that_is_told(tmp_path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert free_memory(tmp_path / "meminfo", tmp_path) == 2000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_memory(tmp_path / "meminfo", tmp_path) == 600000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path / "none", tmp_path) == 4 * 2**30


def test_the_switch_is_kept(photos, tmp_path_factory) -> None:
    kept = files(photos, resident=False)
    assert kept.resident is False
    assert kept.resize(40).resident is False
    opened = zoo.load_data(kept.save(tmp_path_factory.mktemp("data") / "kept"), path=photos)
    assert opened.resident is False
    automatic = zoo.load_data(files(photos).save(tmp_path_factory.mktemp("data") / "kept"), path=photos)
    assert automatic.resident is None
    for ours, theirs in zip(automatic.train_dl, files(photos).train_dl, strict=True):
        assert torch.equal(ours[0], theirs[0])


def test_another_transform_is_another_store() -> None:
    both = data([RandomFlip()], pad=2)
    batches(both.train_dl)
    both.trn_ds.tfm = tfms_from_stats(imagenet_stats, 16)[1]
    assert next(iter(both.train_dl))[0].shape == (8, 3, 16, 16)


def test_a_training_is_the_same_with_and_without() -> None:
    losses = []
    for resident in (None, False):
        x, y = two_class_arrays(40, 16)
        tfms = tfms_from_stats(imagenet_stats, 16, aug_tfms=[RandomFlip()], pad=2)
        kept = ImageClassifierData.from_arrays(None, (x, y), (x, y), bs=8, tfms=tfms, seed=1)
        kept.resident = resident
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
        learn = ConvLearner.from_model_data(model, kept, device="cpu", progress=False)
        rows = learn.fit_one_cycle(2, 1e-3)
        losses.append([rows[-1]["train_loss"], rows[-1]["valid_loss"]])
    assert losses[0] == losses[1]
    x = next(device_batches(kept.valid_dl, CPU, training=False))[0]
    assert x.dtype == torch.float32


def test_light_leaves_the_picture_that_it_is_given_as_it_is() -> None:
    """Floats that are neither scaled nor moved are shown without a copy until they are lit."""
    tfm = tfms_from_stats(((0.5,), (0.25,)), 24, aug_tfms=[RandomLighting(0.3, 0.3)])[0]
    item = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    before = item.clone()
    views = batch_views(tfm, np.array([[24, 24]]), np.array([1], np.uint64))
    lit_up, _ = seen_row(item, views, 0)
    assert torch.equal(item, before)
    assert not torch.equal(lit_up, before)


def test_only_true_false_and_none_decide(photos) -> None:
    kept = files(photos)
    list(kept.train_dl)
    assert kept.train_dl.resident_bytes > 0
    for wrong in (0, "off", 2.5):
        with pytest.raises(TypeError, match="resident is True"):
            kept.resident = wrong
    kept.resident = False
    assert kept.train_dl.resident_bytes == 0
