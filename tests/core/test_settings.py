"""Nothing that a user sets on a learner or on data is ignored in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.core.helpers import digits_learner
from zoo.metrics import accuracy


@pytest.fixture
def learn() -> zoo.Learner:
    return digits_learner()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crit", nn.MSELoss(), "loss_fn"),
        ("bn_freeze", True, "bn_freeze is a method"),
        ("metric", [accuracy], "'metrics'"),
        ("opt_func", torch.optim.SGD, "opt_fn"),
        ("reg_fn", None, "language models"),
        ("lr", 0.1, "rates are given to fit"),
        ("anything", 1, "no setting 'anything'"),
        ("device", "cuda", "settled when it is made"),
        ("activation", None, "activation"),
    ],
)
def test_unknown_settings_of_a_learner_are_refused(
    learn: zoo.Learner, name: str, value: object, message: str
) -> None:
    with pytest.raises(AttributeError, match=message):
        setattr(learn, name, value)


@pytest.mark.parametrize(
    ("name", "message"), [("c", "classes"), ("bs", "with_bs"), ("train_ld", "'train_dl'")]
)
def test_unknown_settings_of_data_are_refused(learn: zoo.Learner, name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        setattr(learn.data, name, 3)


def test_known_settings_work_whenever_they_are_set(learn: zoo.Learner, tmp_path: Path) -> None:
    learn.path = str(tmp_path)
    assert learn.save("a").parent == tmp_path / "models"
    learn.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    learn.metrics = (accuracy,)
    learn.clip, learn.wd, learn.seed = 1.0, 0.1, 3
    assert "accuracy" in learn.fit(0.01, 1)[0]
    assert learn.opt.wds == [0.1] * 3
    learn.precision = "bf16"
    assert learn.precision == "bf16"
    learn.data = digits_learner().data
    learn.data.classes = list("abcdefghij")
    with pytest.raises(ValueError, match="fp33"):
        learn.precision = "fp33"


@pytest.mark.parametrize(("name", "value"), [("metrics", accuracy), ("metrics", "accuracy")])
def test_a_single_metric_is_refused(learn: zoo.Learner, name: str, value: object) -> None:
    with pytest.raises(TypeError, match=r"metrics must be a list, such as \["):
        setattr(learn, name, value)


def test_a_single_callback_is_refused(learn: zoo.Learner) -> None:
    with pytest.raises(TypeError, match=r"must be a list, such as callbacks=\[EMA"):
        learn.callbacks = zoo.callbacks.EMA()


def test_a_loss_with_parameters_is_refused_and_a_frozen_one_is_taken(learn: zoo.Learner) -> None:
    class Perceptual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Linear(10, 3)

        def forward(self, preds: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return self.features(preds).square().mean()

    loss = Perceptual()
    with pytest.raises(ValueError, match="requires_grad_"):
        learn.loss_fn = loss
    learn.loss_fn = loss.requires_grad_(False)
    learn.metrics = []
    assert learn.fit(0.01, 1)[0]["train_loss"] > 0


def test_classes_of_users_may_add_settings_unless_they_look_misspelt() -> None:
    class Own(zoo.ModelData):
        def __init__(self, loader: object) -> None:
            super().__init__(loader)
            self.extra = 1

    loader = zoo.TensorLoader(torch.ones(4, 1), torch.ones(4, 1))
    own = Own(loader)
    own.extra, own.later, own._hidden = 2, 3, 4
    with pytest.raises(AttributeError, match="'valid_dl'"):
        own.vaild_dl = loader

    own.train_dl_note = "mine"


def test_a_class_beside_a_learner_may_set_its_own_attributes(learn: zoo.Learner) -> None:
    class Mix:
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            self.mine = 1

    class Mixed(Mix, zoo.Learner):
        pass

    mixed = Mixed(learn.data, learn.model, progress=False)
    mixed.model_name = "digits"
    assert (mixed.mine, mixed.model_name) == (1, "digits")
    with pytest.raises(AttributeError, match="'metrics'"):
        mixed.metric = []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip", "a"),
        ("clip", -1),
        ("wd", -1),
        ("wd", [0.1]),
        ("seed", "x"),
        ("progress", "no"),
        ("data", None),
        ("groups", [1]),
    ],
)
def test_settings_are_checked_when_they_are_set(learn: zoo.Learner, name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        setattr(learn, name, value)


def test_what_is_no_callback_is_told(learn: zoo.Learner) -> None:
    learn.callbacks.append(3)
    with pytest.raises(TypeError, match="callbacks must be zoo Callback objects, got int"):
        learn.fit(0.1, 1)


def test_unknown_settings_of_loaders_are_refused(learn: zoo.Learner) -> None:
    with pytest.raises(AttributeError, match="'shuffle'"):
        learn.data.train_dl.shufle = False
    learn.data.train_dl.bs = 8
    assert len(learn.data.train_dl) == 150
