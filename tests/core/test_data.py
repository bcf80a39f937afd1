import gc
import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from zoo import DatasetLoader, Learner, ModelData, TensorLoader, get_cv_idxs
from zoo.data import SampleKey, device_batches
from zoo.data.loaders.seeding import epoch_order, preserve_rng


class Noisy(Dataset):
    """Rows whose value depends on the row's own seed."""

    def __len__(self):
        return 20

    def __getitem__(self, key):
        draw = (
            torch.rand(1, generator=torch.Generator().manual_seed(key.seed))
            if isinstance(key, SampleKey)
            else 0
        )
        return torch.tensor([float(key)]) + draw, int(key)


def rows(loader):
    return [target.tolist() for *_, target in loader]


def flat(batches):
    return [row for batch in batches for row in batch]


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    x = torch.arange(10)
    loader = TensorLoader(x, x, bs=4, shuffle=True, seed=3)
    first, again = rows(loader), rows(loader)
    loader.set_epoch(1)
    second = rows(loader)
    assert first == again
    assert first != second
    assert sorted(flat(second)) == list(range(10))
    assert torch.equal(epoch_order(10, 3, 1), torch.tensor(flat(second)))


def test_a_loader_can_start_at_any_batch():
    x = torch.arange(10)
    for loader in (
        TensorLoader(x, x, bs=3, shuffle=True, seed=3),
        DatasetLoader(Noisy(), bs=3, shuffle=True, seed=3),
    ):
        loader.set_epoch(4)
        everything = rows(loader)
        loader.set_epoch(4, start_batch=2)
        assert rows(loader) == everything[2:]


def test_augmentation_does_not_depend_on_the_number_of_workers():
    def values(workers, epoch):
        loader = DatasetLoader(Noisy(), bs=6, shuffle=True, seed=7, num_workers=workers)
        loader.set_epoch(epoch)
        return torch.cat([x for x, _ in loader])

    assert torch.equal(values(0, 0), values(2, 0))
    assert not torch.equal(values(0, 0), values(0, 1))


def test_iterating_does_not_draw_from_the_global_generator():
    for loader in (
        TensorLoader(torch.arange(4), torch.arange(4), shuffle=True),
        DatasetLoader(Noisy(), shuffle=True),
    ):
        before = torch.get_rng_state()
        list(loader)
        assert torch.equal(before, torch.get_rng_state())


def test_seed_comes_from_the_global_generator():
    def seed():
        torch.manual_seed(5)
        return TensorLoader(torch.arange(4), torch.arange(4), shuffle=True).seed

    assert seed() == seed()


def test_numpy_and_memory_mapped_arrays_are_read_without_copying_them_whole(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    loader = TensorLoader(mapped, np.arange(6), bs=4, shuffle=True, seed=1)
    for x, y in loader:
        assert torch.equal(x[:, 0], (2 * y).float())
    own = np.zeros(3, np.float32)
    TensorLoader(own, own).tensors[0][0] = 5
    assert own[0] == 5


def test_bad_loaders_are_refused():
    with pytest.raises(ValueError, match=r"same number of rows, got \[3, 4\]"):
        TensorLoader(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="no rows"):
        TensorLoader(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="bs must be at least 1"):
        TensorLoader(torch.zeros(3), bs=0)
    with pytest.raises(ValueError, match="no rows"):
        DatasetLoader([])


def test_batch_transform_runs_after_the_move_with_its_own_generator():
    def jitter(batch, training, generator):
        x, y = batch
        return (x + torch.rand(len(x), generator=generator) if training else x), y

    loader = TensorLoader(torch.zeros(6), torch.arange(6), bs=2, batch_transform=jitter, seed=1)
    once = torch.cat([x for x, _ in device_batches(loader, torch.device("cpu"), True)])
    again = torch.cat([x for x, _ in device_batches(loader, torch.device("cpu"), True)])
    plain = torch.cat([x for x, _ in device_batches(loader, torch.device("cpu"), False)])
    assert torch.equal(once, again)
    assert (once > 0).all()
    assert (plain == 0).all()
    assert len(set(once.tolist())) == 6


def test_plans_choose_the_batches_and_predictions_come_back_in_order():
    class Longest:
        def __len__(self):
            return 2

        def batches(self, epoch, seed):
            return [[3, 1], [0, 2]]

    data = TensorDataset(torch.arange(4.0)[:, None], torch.arange(4))
    loader = DatasetLoader(data, plan=Longest())
    assert rows(loader) == [[3, 1], [0, 2]]
    assert loader.order.tolist() == [3, 1, 0, 2]
    from zoo import Learner

    learn = Learner(ModelData(loader, loader), torch.nn.Linear(1, 4), device="cpu", progress=False)
    _, targets = learn.predict_with_targs()
    assert targets.tolist() == [0, 1, 2, 3]


def test_preserve_rng_covers_all_generators():
    import random

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    with preserve_rng():
        inside = draw()
    assert draw() == inside


def test_get_cv_idxs_is_fixed_by_its_seed():
    a, b = get_cv_idxs(1000), get_cv_idxs(1000)
    assert (a == b).all()
    assert len(set(a.tolist())) == 200
    assert set(get_cv_idxs(1000, seed=1)) != set(a)
    assert len(get_cv_idxs(10, val_pct=0)) == 0
    with pytest.raises(ValueError, match="share between 0 and 1"):
        get_cv_idxs(10, val_pct=20)


def test_repr_tells_the_sizes():
    loader = DataLoader(TensorDataset(torch.zeros(5), torch.zeros(5)))
    assert (
        repr(ModelData(loader, TensorLoader(torch.zeros(3), torch.zeros(3)))) == "ModelData(train 5, valid 3)"
    )


def test_a_dropped_loader_goes_at_once_and_takes_its_workers_along():
    loader = DatasetLoader(list(zip(torch.arange(20.0), torch.arange(20), strict=True)), 4, num_workers=1)
    batches = iter(loader)
    next(batches)
    workers = loader._loader._iterator._workers
    gone = weakref.ref(loader)
    gc.disable()
    try:
        del loader, batches
        assert gone() is None
        assert all(worker.exitcode is not None for worker in workers)
    finally:
        gc.enable()


def test_predictions_of_a_shuffled_loader_are_in_order_also_after_several_epochs():
    x = torch.arange(50.0)[:, None]
    loader = TensorLoader(x, x, bs=8, shuffle=True, seed=1)
    learn = Learner(ModelData(loader, loader), torch.nn.Linear(1, 1), device="cpu", progress=False)
    learn.fit(1e-3, 3)
    assert loader.epoch == 2
    assert np.array_equal(learn.predict_with_targs()[1], x.numpy())
    assert loader.epoch == 2


@pytest.mark.parametrize("gathered", [1, 200, 10_000])
@pytest.mark.parametrize("drop_last", [False, True])
def test_rows_are_gathered_in_the_same_batches_however_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch, gathered: int, drop_last: bool
) -> None:
    x, y = torch.arange(46.0).view(23, 2), torch.arange(23)
    loader = TensorLoader(x, y, bs=4, shuffle=True, seed=3, drop_last=drop_last)
    order = loader.order
    assert order is not None
    monkeypatch.setattr("zoo.data.loaders.tensor_loader.GATHER_BYTES", gathered)
    for start in (0, 2):
        loader.set_epoch(0, start)
        batches = list(loader)
        assert [len(target) for _, target in batches] == [4] * (5 - start) + ([] if drop_last else [3])
        rows = torch.cat([target for _, target in batches])
        assert torch.equal(rows, order[start * 4 : start * 4 + len(rows)])
        assert torch.equal(torch.cat([part for part, _ in batches]), x[rows])
