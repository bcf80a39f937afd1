"""Mixtures of pairs, balanced batches, weights of classes."""

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.vision.helpers import two_class_arrays
from zoo.callbacks import Callback, Cutmix, Mixup
from zoo.data.loaders.balanced import BalancedPlan
from zoo.losses import CrossEntropyFlat
from zoo.vision import ConvLearner, ImageClassifierData, imagenet_stats, tfms_from_stats, transforms_top_down


class Seen(Callback):
    """Keeps what the model was given."""

    order = 50

    def __init__(self):
        self.inputs, self.targets, self.losses = [], [], []

    def after_batch(self, state):
        if state.training:
            self.inputs.append(state.inputs[0].clone())
            self.targets.append(state.target.clone())
            self.losses.append(state.loss.item())


def learner(target=None, task="classification", loss_fn=None, n_out=2, seed=3):
    torch.manual_seed(0)
    x = torch.rand(24, 3, 8, 8)
    y = torch.arange(24) % 2 if target is None else target
    data = zoo.ModelData(zoo.TensorLoader(x, y, bs=8, shuffle=True, seed=seed), zoo.TensorLoader(x, y, bs=8))
    data.task = task
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, n_out))
    return zoo.Learner(data, model, device="cpu", progress=False, loss_fn=loss_fn)


@pytest.mark.parametrize("mixing", [Mixup(0.4), Cutmix(1.0)])
def test_draws_are_those_of_seed_epoch_and_batch(mixing) -> None:
    runs = []
    for _ in range(2):
        torch.rand(7)  # what was drawn before does not matter
        seen = Seen()
        learner().fit(1e-30, 2, callbacks=[mixing, seen])
        runs.append(torch.cat(seen.inputs))
    assert torch.equal(*runs)
    first, second = runs[0][:24], runs[0][24:]
    assert not torch.equal(first.sum(0), second.sum(0))
    other = Seen()
    learner(seed=4).fit(1e-30, 2, callbacks=[mixing, other])
    assert not torch.equal(runs[0], torch.cat(other.inputs))


@pytest.mark.parametrize("loss_fn", [None, CrossEntropyFlat(label_smoothing=0.1)])
def test_the_loss_is_that_of_both_targets_by_their_shares(loss_fn) -> None:
    seen, mixing = Seen(), Mixup(0.4)
    shares = []

    class Shares(Callback):
        def after_predict(self, state):
            if state.training:
                shares.append((mixing._share, mixing._other.clone()))

    learn = learner(loss_fn=loss_fn)
    learn.fit(1e-30, 1, callbacks=[mixing, seen, Shares()])
    for x, y, loss, (share, other) in zip(seen.inputs, seen.targets, seen.losses, shares, strict=True):
        preds = learn.model(x)
        expected = share * learn.loss_fn(preds, y) + (1 - share) * learn.loss_fn(preds, other)
        assert loss == pytest.approx(expected.item(), rel=1e-5)
        assert 0 <= share <= 1


def test_cutmix_shares_are_those_of_the_pixels() -> None:
    x = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 10, 12)
    order = torch.tensor([1, 2, 3, 0])
    for seed in range(30):
        rng = np.random.default_rng(seed)
        share = float(rng.beta(1, 1))
        (mixed,), kept = Cutmix().mixed((x,), order, share, rng)
        assert set(mixed[2].unique().tolist()) <= {2.0, 3.0}
        assert (mixed[2] == 2).float().mean().item() == pytest.approx(kept, abs=1e-6)
        assert kept >= share - 0.2
        assert torch.equal(x[0], torch.zeros(3, 10, 12))


@pytest.mark.parametrize(
    ("target", "task", "n_out"),
    [
        ((torch.arange(120).reshape(24, 5) % 3 == 0).float(), "multilabel", 5),
        (torch.linspace(2, 3, 24)[:, None], "regression", 1),
    ],
)
def test_mixup_takes_labels_and_numbers(target, task, n_out) -> None:
    learn = learner(target, task, n_out=n_out)
    before = learn.fit(1e-30, 1)[-1]["valid_loss"]
    rows = learn.fit(2e-3, 8, callbacks=[Mixup(0.2)])
    assert rows[-1]["valid_loss"] < before


def test_cutmix_refuses_what_has_no_share_of_pixels() -> None:
    with pytest.raises(TypeError, match=r"regression.*Mixup takes others"):
        learner(torch.rand(24, 1), "regression", n_out=1).fit(1e-2, 1, callbacks=[Cutmix()])
    flat = zoo.Learner(
        zoo.ModelData(zoo.TensorLoader(torch.rand(8, 3), torch.arange(8) % 2, bs=4)),
        nn.Linear(3, 2),
        device="cpu",
        progress=False,
    )
    with pytest.raises(TypeError, match="N x channels x height x width"):
        flat.fit(1e-2, 1, callbacks=[Cutmix()])


def test_two_cannot_mix_at_once_and_one_can_afterwards() -> None:
    learn = learner()
    with pytest.raises(ValueError, match="Mixup and Cutmix cannot both"):
        learn.fit(1e-2, 1, callbacks=[Mixup(), Cutmix()])
    learn.fit(1e-2, 1, callbacks=[Cutmix()])
    with pytest.raises(ValueError, match="alpha must be a positive number, got 0"):
        Mixup(0)


def test_a_mixed_fit_goes_on_where_it_was_stopped(tmp_path) -> None:
    def run(folder, stop):
        learn = learner()
        learn.path = folder

        class Stop(Callback):
            def before_batch(self, state):
                if state.training and stop and state.epoch == 1 and state.batch_index == 2:
                    raise RuntimeError("stopped")

        try:
            learn.fit_one_cycle(2, 1e-2, callbacks=[Mixup(0.4), Stop()], checkpoint_every=1, resume=True)
        except RuntimeError:
            return None
        return learn.model[1].weight.detach().clone()

    whole = run(tmp_path / "a", False)
    assert run(tmp_path / "b", True) is None
    assert torch.equal(run(tmp_path / "b", False), whole)


# ---- rare classes


def test_balanced_batches_draw_all_classes_alike_and_anew_each_epoch() -> None:
    targets = np.array([0] * 60 + [1] * 25 + [2] * 5)
    plan = BalancedPlan(targets, bs=16)
    first, again, second = (np.concatenate(plan.batches(epoch, 7)) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert np.bincount(targets[first]).tolist() == [30, 30, 30]
    assert np.bincount(first).max() == 6
    assert len(np.unique(first[targets[first] == 0])) == 30  # no picture of a frequent class twice
    assert [len(batch) for batch in plan.batches(0, 7)] == [16] * 5 + [10]
    assert len(plan) == 6
    assert len(plan.with_bs(89)) == 1


def test_rare_labels_are_drawn_more_often() -> None:
    targets = np.zeros((200, 3), np.float32)
    targets[:, 0] = 1
    targets[:10, 1] = 1
    drawn = np.concatenate(BalancedPlan(targets, 32).batches(0, 1))
    assert 0.3 < targets[drawn, 1].mean() < 0.7


def rare(sz=16, **options):
    x, y = two_class_arrays(40)
    keep = np.concatenate([np.flatnonzero(y == "blue"), np.flatnonzero(y == "red")[:4]])
    train, valid = tfms_from_stats(imagenet_stats, sz, aug_tfms=transforms_top_down)
    return ImageClassifierData.from_arrays(
        None, (x[keep], y[keep]), (x, y), bs=8, tfms=(train, valid), seed=5, **options
    )


def test_one_argument_balances_and_the_data_tell() -> None:
    data = rare(balance=True)
    assert repr(data) == "ImageClassifierData(train 24, valid 40, classes balanced)"
    assert repr(rare()) == "ImageClassifierData(train 24, valid 40)"
    targets = torch.cat([target for _, target in data.train_dl])
    assert torch.bincount(targets).tolist() == [12, 12]
    data.train_dl = data.train_dl.with_bs(4)
    assert len(data.train_dl) == 6


def test_cached_activations_are_drawn_as_the_pictures(tmp_path) -> None:
    data = rare(32, balance=True)
    with pytest.warns(UserWarning, match="augmentation"):
        learn = ConvLearner.pretrained(
            "squeezenet1_1", data, weights=None, precompute=True, device="cpu", progress=False,
            path=tmp_path,
        )  # fmt: skip
    cached = learn.data.train_dl
    assert repr(learn.data) == repr(data)
    cached.seed = data.train_dl.seed
    for epoch in (0, 1):
        for loader in (cached, data.train_dl):
            loader.set_epoch(epoch)
        assert torch.equal(cached.order, data.train_dl.order)
        drawn = [target for _, target in cached]
        assert [len(part) for part in drawn] == [8, 8, 8]
        assert torch.equal(torch.cat(drawn), torch.cat([target for _, target in data.train_dl]))
    every, planned = cached.tensors[0], cached.order.split(8)
    assert torch.equal(next(iter(cached))[0], every[planned[0]])
    cached.set_epoch(1, start_batch=2)
    assert torch.equal(torch.cat([rows for rows, _ in cached]), every[planned[2]])
    cached.set_epoch(0)
    assert len(cached.with_bs(4)) == 6
    assert torch.bincount(torch.cat([target for _, target in cached.with_bs(12)])).tolist() == [12, 12]


def test_some_of_the_rows_stay_balanced() -> None:
    data = rare(balance=True)
    fewer = data.only(np.arange(22))
    assert "classes balanced" in repr(fewer)
    assert torch.bincount(torch.cat([target for _, target in fewer.train_dl])).tolist() == [11, 11]


def test_a_row_that_comes_again_is_seen_anew() -> None:
    loader = rare(balance=True).train_dl
    views = {}
    for rows, (pixels, _) in zip(loader.batch_rows(), loader, strict=True):
        for row, picture in zip(rows, pixels, strict=True):
            views.setdefault(row, []).append(picture)
    often = [seen for seen in views.values() if len(seen) > 1]
    assert often
    assert all(not torch.equal(seen[0], seen[1]) for seen in often)
    start = [batch[0] for batch in loader]
    loader.set_epoch(0, 1)
    assert all(torch.equal(a, b[0]) for a, b in zip(start[1:], loader, strict=True))


def test_balanced_data_are_kept(tmp_path) -> None:
    data = rare(balance=True)
    opened = zoo.load_data(data.save(tmp_path / "kept"))
    assert "classes balanced" in repr(opened)
    for ours, theirs in zip(data.train_dl, opened.train_dl, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_class_weights() -> None:
    data = rare()
    assert data.class_weights().tolist() == pytest.approx([24 / 40, 24 / 8])
    assert data.class_weights({"red": 2.0}).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"no class 'rad' .did you mean 'red'"):
        data.class_weights({"rad": 2.0})
    loss = CrossEntropyFlat(weight=data.class_weights(), label_smoothing=0.1)
    learn = ConvLearner.from_model_data(
        nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), data, loss_fn=loss, device="cpu", progress=False
    )
    assert np.isfinite(learn.fit(1e-3, 1)[-1]["valid_loss"])


def test_balance_needs_classes() -> None:
    from zoo.vision.data.dataset import ImageDataset
    from zoo.vision.data.picture_data import ImageData
    from zoo.vision.targets.values import ValueTarget

    values = np.arange(8.0)[:, None]
    rows = ImageDataset(np.zeros((8, 4, 4), np.uint8), values, None, channels=1)
    with pytest.raises(ValueError, match="balance=True needs classes"):
        ImageData(rows, target=ValueTarget.fitted(values), balance=True)
