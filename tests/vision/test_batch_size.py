"""The search for the largest batch size on pictures."""

import torch
from torch import nn

from tests.core.helpers import same, weights
from tests.vision.helpers import two_class_arrays
from zoo import Callback
from zoo.vision import ConvLearner, ImageClassifierData, tfms_from_stats


class Full(Callback):
    in_finder = True

    def after_predict(self, state):
        if state.rows > 20:
            raise torch.OutOfMemoryError("full")


def test_pictures_are_read_as_in_training_and_nothing_changes(tmp_path):
    x, y = two_class_arrays(41)
    tfms = tfms_from_stats(([0.5] * 3, [0.25] * 3), 16)
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x[:8], y[:8]), bs=4, tfms=tfms, num_workers=0)
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(4, 2))
    learn = ConvLearner.from_model_data(net, data, callbacks=[Full()], device="cpu", progress=False)
    before, loader = weights(net), data.train_dl
    assert learn.find_batch_size().bs == 16
    assert same(before, weights(net))
    assert learn.data.train_dl is loader
    assert learn.find_batch_size(apply=True).bs == data.train_dl.bs == data.bs == 16
    assert data.train_dl.with_bs(8).drop_last  # 41 pictures: the last would stand alone
    assert not data.train_dl.drop_last
    assert len(learn.fit(0.01, 1)) == 1
